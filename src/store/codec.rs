//! Opaque ids and cursors. An id is a sealed 64-bit number (no counter shows, a made-up one never opens);
//! a cursor is sealed for one viewer and list. Both are deterministic: the same row has the same text.
//! Not for: rights. An id that opens still has to be asked for under a scope.

use super::page::{Key, KeyPart};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

/// Seals with the installation's keys.
#[derive(Clone)]
pub struct Codec {
    id_key: [u8; 32],
    cursor_key: [u8; 32],
}

/// Numbers of a key that are sealed by a tag and a mask, and bytes of that tag.
const NUMBERS_MAX: usize = 2;
const TAG_BYTES: usize = 16;

/// A cursor longer than this is none of ours: the longest title and two numbers fit.
const CURSOR_CHARS_MAX: usize = 4096;

impl Codec {
    /// With two keys of 32 bytes each.
    pub fn new(id_key: &[u8], cursor_key: &[u8]) -> Option<Self> {
        Some(Self {
            id_key: id_key.try_into().ok()?,
            cursor_key: cursor_key.try_into().ok()?,
        })
    }

    /// A word that tells this installation from others that share a server with it.
    pub fn installation(&self) -> String {
        let hash = blake3::derive_key("mailroom 2026 name of the installation", &self.id_key);
        blake3::Hash::from_bytes(hash)
            .to_hex()
            .chars()
            .take(12)
            .collect()
    }

    /// What signs the Message-IDs of mails that we send. It lies with the installation, so that every process, and a
    /// restored copy, knows its own mail.
    pub fn message_id_key(&self) -> [u8; 32] {
        blake3::derive_key("mailroom 2026 message ids", &self.id_key)
    }

    /// `Deal_` and 22 characters.
    pub fn seal_id(&self, type_name: &str, id: i64) -> String {
        let tag = self.id_tag(type_name, id);
        let mask = self.id_mask(type_name, tag);
        let mut bytes = [0_u8; 16];
        let (front, back) = bytes.split_at_mut(8);
        front.copy_from_slice(&tag);
        back.copy_from_slice(&(id ^ mask).to_le_bytes());
        let mut sealed = String::with_capacity(type_name.len().saturating_add(23));
        sealed.push_str(type_name);
        sealed.push('_');
        URL_SAFE_NO_PAD.encode_string(bytes, &mut sealed);
        sealed
    }

    /// Opens any id: its type's name and number. `None` for one that this installation never gave out.
    pub fn open_id<'t>(&self, text: &'t str) -> Option<(&'t str, i64)> {
        let (type_name, sealed) = text.split_once('_')?;
        let bytes: [u8; 16] = URL_SAFE_NO_PAD.decode(sealed).ok()?.try_into().ok()?;
        let tag = *bytes.first_chunk::<8>()?;
        let masked = i64::from_le_bytes(*bytes.last_chunk::<8>()?);
        let id = masked ^ self.id_mask(type_name, tag);
        (self.id_tag(type_name, id) == tag).then_some((type_name, id))
    }

    /// Opens an id of this type.
    pub fn open_id_of(&self, type_name: &str, text: &str) -> Option<i64> {
        let (found, id) = self.open_id(text)?;
        (found == type_name).then_some(id)
    }

    fn id_tag(&self, type_name: &str, id: i64) -> [u8; 8] {
        self.id_hash("tag", type_name, id.to_le_bytes())
    }

    fn id_mask(&self, type_name: &str, tag: [u8; 8]) -> i64 {
        i64::from_le_bytes(self.id_hash("mask", type_name, tag))
    }

    fn id_hash(&self, what: &str, type_name: &str, input: [u8; 8]) -> [u8; 8] {
        let input = [what.as_bytes(), type_name.as_bytes(), &input].concat();
        let hash = blake3::keyed_hash(&self.id_key, &input);
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }

    /// Seals a row's key for one list (`list` names viewer, list and filter).
    pub fn seal_cursor(&self, list: &str, key: &Key) -> String {
        if let Some(bytes) = self.seal_numbers(list, key) {
            return URL_SAFE_NO_PAD.encode(bytes);
        }
        let plain = serde_json::to_vec(key).unwrap_or_default();
        // The nonce is a hash of what is sealed, so that equal rows have equal cursors and no two plain texts share a nonce.
        let mut hasher = blake3::Hasher::new_keyed(&self.cursor_key);
        hasher.update(list.as_bytes());
        hasher.update(&[0]);
        hasher.update(&plain);
        let mut nonce = [0_u8; 24];
        hasher.finalize_xof().fill(&mut nonce);
        let cipher = XChaCha20Poly1305::new(&self.cursor_key.into());
        let payload = Payload {
            msg: &plain,
            aad: list.as_bytes(),
        };
        // Encryption fails only for texts of many gigabytes.
        let sealed = cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .unwrap_or_default();
        URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat())
    }

    /// One or two numbers, which most keys are, sealed as ids are, with a longer tag: each row of a page has a cursor, and
    /// a cipher for any text takes several times as long. Told from that by its length.
    fn seal_numbers(&self, list: &str, key: &Key) -> Option<Vec<u8>> {
        let mut numbers = Vec::with_capacity(NUMBERS_MAX * 8);
        for part in key {
            let KeyPart::Number(number) = part else {
                return None;
            };
            numbers.extend(number.to_le_bytes());
        }
        if !(1..=NUMBERS_MAX).contains(&key.len()) {
            return None;
        }
        let tag = self.numbers_tag(list, &numbers);
        let mut sealed = Vec::with_capacity(TAG_BYTES.saturating_add(numbers.len()));
        sealed.extend(tag);
        sealed.extend(self.masked(&tag, &numbers));
        Some(sealed)
    }

    fn open_numbers(&self, list: &str, sealed: &[u8]) -> Option<Key> {
        let (tag, masked) = sealed.split_first_chunk::<TAG_BYTES>()?;
        let numbers = self.masked(tag, masked);
        if self.numbers_tag(list, &numbers) != *tag {
            return None;
        }
        let (numbers, _rest) = numbers.as_chunks::<8>();
        let number = |bytes: &[u8; 8]| KeyPart::Number(i64::from_le_bytes(*bytes));
        Some(numbers.iter().map(number).collect())
    }

    fn numbers_tag(&self, list: &str, numbers: &[u8]) -> [u8; TAG_BYTES] {
        let input = [b"cursor", list.as_bytes(), &[0], numbers].concat();
        let hash = blake3::keyed_hash(&self.cursor_key, &input);
        hash.as_bytes().first_chunk().copied().unwrap_or_default()
    }

    fn masked(&self, tag: &[u8; TAG_BYTES], numbers: &[u8]) -> Vec<u8> {
        let mask = blake3::keyed_hash(&self.cursor_key, &[b"mask".as_slice(), tag].concat());
        let pairs = numbers.iter().zip(mask.as_bytes());
        pairs.map(|(byte, mask)| byte ^ mask).collect()
    }

    /// Opens a cursor of that list; `None` for any other text.
    pub fn open_cursor(&self, list: &str, text: &str) -> Option<Key> {
        if text.len() > CURSOR_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        if bytes.len() <= TAG_BYTES.saturating_add(NUMBERS_MAX * 8) {
            return self.open_numbers(list, &bytes);
        }
        let (nonce, sealed) = bytes.split_at_checked(24)?;
        let cipher = XChaCha20Poly1305::new(&self.cursor_key.into());
        let payload = Payload {
            msg: sealed,
            aad: list.as_bytes(),
        };
        let plain = cipher.decrypt(XNonce::from_slice(nonce), payload).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec() -> Codec {
        Codec::new(&[1; 32], &[2; 32]).unwrap()
    }

    #[test]
    fn an_id_opens_as_what_it_was_and_as_nothing_else() {
        let codec = codec();
        for id in [0, 1, 77, i64::MAX, -5] {
            let sealed = codec.seal_id("Deal", id);
            assert_eq!(codec.open_id(&sealed), Some(("Deal", id)));
            assert_eq!(codec.open_id_of("Lead", &sealed), None);
            assert_eq!(codec.open_id(&sealed.replace("Deal", "Lead")), None);
        }
        for bad in ["", "Deal", "Deal_", "Deal_AAAAAAAAAAAAAAAAAAAAAA", "_x"] {
            assert_eq!(codec.open_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cursor_opens_only_for_its_own_list() {
        let codec = codec();
        let key = vec![KeyPart::Text("Ünïcode".into()), KeyPart::Number(7)];
        let sealed = codec.seal_cursor("viewer 1, deals", &key);
        assert_eq!(sealed, codec.seal_cursor("viewer 1, deals", &key));
        assert_eq!(codec.open_cursor("viewer 1, deals", &sealed), Some(key));
        assert_eq!(codec.open_cursor("viewer 2, deals", &sealed), None);
        assert_eq!(codec.open_cursor("viewer 1, deals", "AAAA"), None);
    }

    #[test]
    fn a_cursor_of_numbers_is_short_and_opens_as_surely() {
        let codec = codec();
        let keys = [
            vec![KeyPart::Number(7)],
            vec![KeyPart::Number(-1), KeyPart::Number(i64::MAX)],
            vec![KeyPart::Number(0), KeyPart::Number(0)],
            vec![KeyPart::Number(1), KeyPart::Number(2), KeyPart::Number(3)],
        ];
        let mut all = std::collections::HashSet::new();
        for key in keys {
            let sealed = codec.seal_cursor("viewer 1, deals", &key);
            assert!(all.insert(sealed.clone()));
            assert_eq!(codec.open_cursor("viewer 1, deals", &sealed), Some(key));
            assert_eq!(codec.open_cursor("viewer 2, deals", &sealed), None);
            // Neither any bit of it may be another, nor may it end elsewhere.
            let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let text = URL_SAFE_NO_PAD.encode(&other);
                assert_eq!(codec.open_cursor("viewer 1, deals", &text), None, "{bit}");
            }
            for length in 0..bytes.len() {
                let text = URL_SAFE_NO_PAD.encode(&bytes[..length]);
                assert_eq!(codec.open_cursor("viewer 1, deals", &text), None);
            }
        }
    }
}
