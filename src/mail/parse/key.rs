//! The key by which copies of one message are known (R7, T39). A Message-ID alone is never enough: it can be
//! missing, repeated or forged. Not for: identity of placements (that is folder, UIDVALIDITY and UID).

use super::headers::Head;

/// Raised when the recipe changes, so that old and new keys never meet by chance.
const RECIPE: &str = "mailroom content key 1";

/// How much text is hashed at once.
const BLOCK_BYTES: usize = 16 * 1024;

pub(super) fn content_hasher() -> blake3::Hasher {
    blake3::Hasher::new()
}

/// Adds a decoded leaf. Servers and gateways change line ends and add empty lines at the end of texts.
pub(super) fn add_part(hasher: &mut blake3::Hasher, media_type: &str, decoded: &[u8]) {
    add(hasher, media_type.as_bytes());
    if !media_type.starts_with("text/") {
        add(hasher, decoded);
        return;
    }
    // Gathered into blocks, since hashing line by line takes ten times as long.
    let mut block: Vec<u8> = Vec::with_capacity(2 * BLOCK_BYTES);
    for line in decoded.trim_ascii_end().split(|&byte| byte == b'\n') {
        block.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        block.push(b'\n');
        if block.len() >= BLOCK_BYTES {
            hasher.update(&block);
            block.clear();
        }
    }
    hasher.update(&block);
}

/// Length first, so that no two sequences of fields look alike.
fn add(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    hasher.update(&length.to_be_bytes());
    hasher.update(bytes);
}

/// The key of a mail; without a Message-ID, that of its bytes.
pub(super) fn of_content(raw: &[u8], head: &Head, content_hash: &blake3::Hash) -> [u8; 32] {
    let Some(message_id) = &head.message_id else {
        return of_raw(raw);
    };
    let mut hasher = blake3::Hasher::new_derive_key(RECIPE);
    add(&mut hasher, b"message");
    add(&mut hasher, message_id.as_bytes());
    for author in &head.from {
        add(&mut hasher, author.address.to_lowercase().as_bytes());
    }
    let date = head.date.map_or(i64::MIN, |date| date.micros());
    add(&mut hasher, &date.to_be_bytes());
    add(&mut hasher, head.subject.as_bytes());
    add(&mut hasher, content_hash.as_bytes());
    *hasher.finalize().as_bytes()
}

pub(super) fn of_raw(raw: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(RECIPE);
    add(&mut hasher, b"raw");
    add(&mut hasher, raw);
    *hasher.finalize().as_bytes()
}
