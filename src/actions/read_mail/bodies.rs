//! Bodies that were cleaned, kept in memory: who opens a conversation again, or after a colleague, waits for no sanitiser.
//! They are known by the hash of the raw mail and the version of the sanitiser, and the least used go first. No address of
//! a file is kept, since each is for one viewer and a short time: where images stand, their parts' numbers do.
//! Not for: rights, which are judged before anybody asks.

use crate::view::SANITISER_VERSION;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

/// Bodies that are kept: some thousands of usual ones, and little beside what a server needs anyway.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// A larger body is cleaned each time: it would push out what many others read.
const BODY_BYTES_MAX: usize = BYTES_MAX / 16;

/// What an entry takes beside its text, roughly: keys, order, allocations.
const ENTRY_BYTES: usize = 256;

/// A clean body. `None`: the mail has none.
pub(super) struct Body {
    /// The hash of the raw mail.
    mail: Vec<u8>,
    html: Option<String>,
}

/// The hash of the raw mail, and the version of the sanitiser.
type Key = (Vec<u8>, u32);

/// The kept bodies. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Bodies(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bodies: HashMap<Key, (Arc<Body>, u64)>,
    /// The least used first.
    order: BTreeMap<u64, Key>,
    turn: u64,
    bytes: usize,
}

impl Bodies {
    pub(super) fn get(&self, mail: &[u8]) -> Option<Arc<Body>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used(&(mail.to_vec(), SANITISER_VERSION))
    }

    pub(super) fn keep(&self, body: Arc<Body>) {
        if body.bytes() > BODY_BYTES_MAX {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.keep((body.mail.clone(), SANITISER_VERSION), body, BYTES_MAX);
    }
}

impl Kept {
    fn used(&mut self, key: &Key) -> Option<Arc<Body>> {
        let (body, turn) = self.bodies.get_mut(key)?;
        self.turn += 1;
        self.order.remove(turn);
        self.order.insert(self.turn, key.clone());
        *turn = self.turn;
        Some(body.clone())
    }

    fn keep(&mut self, key: Key, body: Arc<Body>, bytes_max: usize) {
        // Two who asked at once both made it.
        if self.used(&key).is_some() {
            return;
        }
        self.turn += 1;
        self.bytes += body.bytes();
        self.order.insert(self.turn, key.clone());
        self.bodies.insert(key, (body, self.turn));
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            if let Some((gone, _)) = self.bodies.remove(&oldest) {
                self.bytes = self.bytes.saturating_sub(gone.bytes());
            }
        }
    }
}

impl Body {
    /// What `clean` makes, which is given the address that stands for a part.
    pub(super) fn make(
        mail: Vec<u8>,
        clean: impl FnOnce(&dyn Fn(usize) -> String) -> Option<String>,
    ) -> Self {
        let html = clean(&|part| format!("{}{part}/", places(&mail)));
        Self { mail, html }
    }

    /// The body with the addresses of its images; where there is none, nothing is loaded.
    pub(super) fn with_addresses(
        &self,
        part_url: &dyn Fn(usize) -> Option<String>,
    ) -> Option<String> {
        let places = places(&self.mail);
        let mut pieces = self.html.as_ref()?.split(places.as_str());
        let mut html = pieces.next()?.to_owned();
        for piece in pieces {
            // Nobody can write the hash of a mail into it: each place was made here.
            let (part, rest) = piece.split_once('/').unwrap_or(("", piece));
            let url = part.parse().ok().and_then(part_url).unwrap_or_default();
            html.push_str(&url.replace('&', "&amp;").replace('"', "&quot;"));
            html.push_str(rest);
        }
        Some(html)
    }

    fn bytes(&self) -> usize {
        self.html.as_ref().map_or(0, String::len) + ENTRY_BYTES
    }
}

/// What an image's address begins with while it is kept.
fn places(mail: &[u8]) -> String {
    let mut text = "/".to_owned();
    for byte in mail {
        if write!(text, "{byte:02x}").is_err() {
            // Writing to a string does not fail.
            break;
        }
    }
    text.push('/');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(number: u8, length: usize) -> Arc<Body> {
        Arc::new(Body::make(vec![number; 32], |_| Some("x".repeat(length))))
    }

    fn key(number: u8) -> Key {
        (vec![number; 32], 1)
    }

    #[test]
    fn r44_the_least_used_bodies_go_where_there_is_no_room() {
        let mut kept = Kept::default();
        let room = 3 * (100 + ENTRY_BYTES);
        let is_kept = |kept: &Kept, number: u8| kept.bodies.contains_key(&key(number));
        for number in 1..=3 {
            kept.keep(key(number), body(number, 100), room);
        }
        assert!(kept.used(&key(1)).is_some());
        assert!(
            kept.used(&(vec![1; 32], 2)).is_none(),
            "another version of the sanitiser"
        );
        kept.keep(key(4), body(4, 100), room);
        kept.keep(key(4), body(4, 100), room);
        assert_eq!(
            [1, 2, 3, 4].map(|number| is_kept(&kept, number)),
            [true, false, true, true]
        );
        assert_eq!((kept.bytes, kept.order.len()), (room, 3));
        // What does not fit at all is not kept, nor is anything else.
        kept.keep(key(5), body(5, room), room);
        assert_eq!((kept.bytes, kept.order.len(), kept.bodies.len()), (0, 0, 0));
    }

    #[test]
    fn r44_a_large_body_pushes_nothing_out() {
        let bodies = Bodies::default();
        bodies.keep(body(1, 100));
        bodies.keep(body(2, BODY_BYTES_MAX));
        assert!(bodies.get(&[1; 32]).is_some());
        assert!(bodies.get(&[2; 32]).is_none());
    }

    #[test]
    fn r44_each_viewer_gets_their_own_addresses() {
        let body = Body::make(vec![7; 32], |place| {
            Some(format!(
                "<img src=\"{}\"><img src=\"{}\"> /07/1/",
                place(1),
                place(12)
            ))
        });
        let addresses = |viewer: &'static str| {
            move |part: usize| (part != 12).then(|| format!("/files/{viewer}?p={part}&\""))
        };
        for viewer in ["ada", "otto"] {
            assert_eq!(
                body.with_addresses(&addresses(viewer)).unwrap(),
                format!("<img src=\"/files/{viewer}?p=1&amp;&quot;\"><img src=\"\"> /07/1/")
            );
        }
        assert_eq!(
            Body::make(vec![7; 32], |_| None).with_addresses(&|_| None),
            None
        );
    }
}
