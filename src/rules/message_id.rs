//! Message-IDs that we give, signed: `v1.<32 hex digits>.<32 hex digits>@<domain>`. The first half hides which mailbox it
//! was given for, the second signs it with the domain; whoever made one up is no better than anybody else (R4).
//! Not for: believing a mail because of its id. Every recipient of a mail knows its id.

use crate::model::MailboxId;

const VERSION: &str = "v1";

/// An id for a mail of this mailbox. `nonce` is random.
pub fn sign(key: &[u8; 32], mailbox: MailboxId, nonce: [u8; 8], domain: &str) -> String {
    let hidden = (mailbox.0 ^ mask(key, nonce)).to_le_bytes();
    let front = [hex(&nonce), hex(&hidden)].concat();
    format!("{VERSION}.{front}.{}@{domain}", tag(key, &front, domain))
}

/// The mailbox that we gave this id for; `None`: we gave it to nobody. `id` is without angle brackets.
pub fn mailbox_of(key: &[u8; 32], id: &str) -> Option<MailboxId> {
    let (local, domain) = id.rsplit_once('@')?;
    let mut parts = local.split('.');
    let (version, front, said) = (parts.next()?, parts.next()?, parts.next()?);
    if version != VERSION || parts.next().is_some() || front.len() != 32 {
        return None;
    }
    if !is_equal(said.as_bytes(), tag(key, front, domain).as_bytes()) {
        return None;
    }
    let (nonce, hidden) = front.split_at_checked(16)?;
    let nonce = u64::from_str_radix(nonce, 16).ok()?.to_be_bytes();
    let hidden = u64::from_str_radix(hidden, 16).ok()?.to_be_bytes();
    Some(MailboxId(i64::from_le_bytes(hidden) ^ mask(key, nonce)))
}

fn hex(bytes: &[u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(*bytes))
}

fn mask(key: &[u8; 32], nonce: [u8; 8]) -> i64 {
    let hash = keyed(key, &[b"mailbox", &nonce]);
    i64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 8]))
}

fn tag(key: &[u8; 32], front: &str, domain: &str) -> String {
    let domain = domain.to_ascii_lowercase();
    let hash = keyed(key, &[b"sign", front.as_bytes(), b"@", domain.as_bytes()]);
    hash.to_hex().chars().take(32).collect()
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Compares without telling by the time it takes how much is right.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn r04_an_id_of_ours_says_whose_mailbox_it_was_given_for() {
        let id = sign(&KEY, MailboxId(1234), [3; 8], "ours.example");
        assert_eq!(mailbox_of(&KEY, &id), Some(MailboxId(1234)));
        let relabelled = id.replace("ours.example", "OURS.example");
        assert_eq!(mailbox_of(&KEY, &relabelled), Some(MailboxId(1234)));
        let other = sign(&KEY, MailboxId(1234), [4; 8], "ours.example");
        assert_ne!(id, other);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]
        #[test]
        fn r04_no_id_that_was_changed_is_ours(at in 0_usize..83, to in "[ -~]", cut in 0_usize..83, mailbox in 1_i64..1_000_000) {
            let id = sign(&KEY, MailboxId(mailbox), mailbox.to_le_bytes(), "ours.example");
            let mut changed: Vec<char> = id.chars().collect();
            let at = at.min(changed.len() - 1);
            changed[at] = to.chars().next().unwrap();
            let changed: String = changed.into_iter().collect();
            if !changed.eq_ignore_ascii_case(&id) {
                prop_assert_eq!(mailbox_of(&KEY, &changed), None);
            }
            prop_assert_eq!(mailbox_of(&KEY, id.get(..cut.min(id.len() - 1)).unwrap()), None);
            prop_assert_eq!(mailbox_of(&[8; 32], &id), None);
            let moved = id.replace("ours.example", "theirs.example");
            prop_assert_eq!(mailbox_of(&KEY, &moved), None);
        }
    }
}
