//! The sockets of those who follow timelines, read by one thread that takes as little for each event as it can, so that
//! the server is what is measured: a note is known by its number, and nothing is parsed.
//! Not for: opening sockets, asking for notes and judging what was heard (`live` does).

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

/// What stands before the number of a note in its event.
const NOTE: &str = "\"text\":\"note ";
/// Somebody new follows, or nobody follows any more.
const NEWS: Token = Token(usize::MAX);
/// A message is about 300 bytes long.
const READ_AT_ONCE: usize = 64 * 1024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A note that a follower was told of.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    pub note: usize,
    pub follower: usize,
    pub at: Instant,
}

/// Those who follow, numbered as they came; dropping this hangs up for all of them.
pub struct Followers {
    sockets: Option<Sender<std::net::TcpStream>>,
    waker: Waker,
    heard: Arc<Mutex<Vec<Heard>>>,
    reader: Option<JoinHandle<()>>,
}

impl Followers {
    /// Nobody so far.
    pub fn none() -> Self {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), NEWS).unwrap();
        let (sockets, new) = channel();
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let reader = Reader {
            poll,
            new,
            sockets: Vec::new(),
            heard: Arc::clone(&heard),
        };
        Self {
            sockets: Some(sockets),
            waker,
            heard,
            reader: Some(std::thread::spawn(|| reader.read_all())),
        }
    }

    /// Takes the socket of one who has caught up.
    pub fn add(&self, socket: std::net::TcpStream) {
        self.sockets.as_ref().unwrap().send(socket).unwrap();
        self.waker.wake().unwrap();
    }

    /// How many times they have heard of a note.
    pub fn times(&self) -> usize {
        self.heard.lock().unwrap().len()
    }

    /// What they have heard; they begin anew.
    pub fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.sockets = None;
        let woken = self.waker.wake();
        if woken.is_ok()
            && let Some(reader) = self.reader.take()
        {
            // What it panicked of was told by then.
            let _ended = reader.join();
        }
    }
}

struct Socket {
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet.
    begun: Vec<u8>,
}

struct Reader {
    poll: Poll,
    new: Receiver<std::net::TcpStream>,
    sockets: Vec<Socket>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Reader {
    /// Reads until nobody can follow any more.
    fn read_all(mut self) {
        let mut ready = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_AT_ONCE];
        let mut heard = Vec::new();
        loop {
            match self.poll.poll(&mut ready, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled.unwrap(),
            }
            for event in &ready {
                match event.token() {
                    NEWS => match self.take_new() {
                        TryRecvError::Empty => {}
                        TryRecvError::Disconnected => return,
                    },
                    Token(follower) => {
                        let socket = &mut self.sockets[follower];
                        socket.read(&mut buffer, |note, at| {
                            heard.push(Heard { note, follower, at });
                        });
                    }
                }
            }
            self.heard.lock().unwrap().append(&mut heard);
        }
    }

    /// Takes those who have come; why there are no more of them.
    fn take_new(&mut self) -> TryRecvError {
        loop {
            let stream = match self.new.try_recv() {
                Ok(stream) => stream,
                Err(why) => return why,
            };
            let mut stream = TcpStream::from_std(stream);
            let token = Token(self.sockets.len());
            let registry = self.poll.registry();
            registry
                .register(&mut stream, token, Interest::READABLE)
                .unwrap();
            let begun = Vec::new();
            self.sockets.push(Socket { stream, begun });
        }
    }
}

impl Socket {
    /// Reads what there is.
    fn read(&mut self, buffer: &mut [u8], mut hear: impl FnMut(usize, Instant)) {
        loop {
            let length = match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // Who hung up hears no more, and that is noticed by whoever counts.
                Ok(0) | Err(_) => return,
                Ok(length) => length,
            };
            let at = Instant::now();
            let mut came = &buffer[..length];
            let mut joined = std::mem::take(&mut self.begun);
            if !joined.is_empty() {
                joined.extend_from_slice(came);
                came = &joined;
            }
            while let Some((kind, payload, behind)) = frame(came) {
                if let Some(note) = self.note(kind, payload) {
                    hear(note, at);
                }
                came = behind;
            }
            self.begun = came.to_vec();
            // There is no more where there was less than asked for.
            if length < buffer.len() {
                return;
            }
        }
    }

    /// The number of the note that a frame tells of. Signs of life are answered.
    fn note(&mut self, kind: u8, payload: &[u8]) -> Option<usize> {
        match kind {
            TEXT => {
                let text = std::str::from_utf8(payload).unwrap();
                if let Some((_before, number)) = text.split_once(NOTE) {
                    let digits = number.bytes().take_while(u8::is_ascii_digit);
                    return Some(digits.fold(0, |n, digit| n * 10 + usize::from(digit - b'0')));
                }
                match text {
                    ping if ping.contains("\"ping\"") => self.say(TEXT, br#"{"type":"pong"}"#),
                    pong if pong.contains("\"pong\"") => {}
                    other => panic!("a follower was told {other}"),
                }
            }
            PING => self.say(PONG, payload),
            PONG | CLOSE => {}
            other => panic!("a frame of kind {other}"),
        }
        None
    }

    fn say(&mut self, kind: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        // In one piece, under a mask of zeros.
        let mut frame = vec![0x80 | kind, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.stream.write_all(&frame).unwrap();
    }
}

/// The first frame, if all of it is there: its kind, what it says, and what comes behind it.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, length], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xf0, 0x80, "a frame in pieces, or compressed");
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        short @ 0..126 => (usize::from(short), rest),
        _ => panic!("a frame under a mask, or a huge one"),
    };
    let (payload, behind) = rest.split_at_checked(length)?;
    Some((first & 0x0f, payload, behind))
}
