//! What goes with a person outside who is erased (R47). Of mails the same is said as a condition (`store::persons`): they
//! go with the person in whose mails nobody else outside stands.

use std::collections::BTreeSet;

/// Whose something written is, as far as one person outside is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// It is for them, and for nobody else outside.
    Theirs,
    /// It is for others outside as well.
    Shared,
    /// It is not for them.
    Others,
}

/// Whose something is that is written to these recipients. `person` are the person's addresses, `ours` those of the
/// recipients that are or were of our own people and mailboxes.
pub fn whose(person: &[String], recipients: &BTreeSet<String>, ours: &[String]) -> Whose {
    if person.iter().all(|address| !recipients.contains(address)) {
        return Whose::Others;
    }
    let is_other = |address: &String| !person.contains(address) && !ours.contains(address);
    if recipients.iter().any(is_other) {
        Whose::Shared
    } else {
        Whose::Theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r47_what_is_for_a_person_alone_goes_with_them() {
        let person = [
            "cleo@client.example".to_owned(),
            "c@home.example".to_owned(),
        ];
        let ours = ["ada@ours.example".to_owned()];
        // (recipients, whose)
        let rows: [(&[&str], Whose); 6] = [
            (&["cleo@client.example"], Whose::Theirs),
            (&["cleo@client.example", "c@home.example"], Whose::Theirs),
            (&["c@home.example", "ada@ours.example"], Whose::Theirs),
            (
                &["cleo@client.example", "dan@client.example"],
                Whose::Shared,
            ),
            (&["dan@client.example", "ada@ours.example"], Whose::Others),
            (&[], Whose::Others),
        ];
        for (recipients, expected) in rows {
            let all = recipients.iter().map(|&address| address.to_owned());
            let found = whose(&person, &all.collect(), &ours);
            assert_eq!(found, expected, "{recipients:?}");
        }
    }
}
