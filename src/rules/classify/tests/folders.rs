//! What lies in the folders for spam, Trash, Drafts and Sent (R3).

use super::*;

#[test]
fn r3_spam_trash_and_drafts_hold_mail_back() {
    let folder = FolderFacts::default();
    let spam = FolderFacts {
        is_spam_folder: true,
        ..folder
    };
    let trash = FolderFacts {
        is_trash: true,
        ..folder
    };
    let drafts = FolderFacts {
        is_drafts: true,
        ..folder
    };
    // (what, mail, the outcome that keeps it)
    let rows = [
        ("a client's mail in the Inbox", mail(Incoming), None),
        ("in a folder of its own", in_folder(Incoming, folder), None),
        (
            "in the folder that spam goes to",
            in_folder(Incoming, spam),
            Some(O::SpamFolder),
        ),
        ("in Trash", in_folder(Incoming, trash), Some(O::TrashFolder)),
        (
            "in Drafts",
            in_folder(Incoming, drafts),
            Some(O::DraftsFolder),
        ),
        (
            "our draft to a client",
            in_folder(Outgoing, drafts),
            Some(O::DraftsFolder),
        ),
        (
            "our mail, thrown away",
            in_folder(Outgoing, trash),
            Some(O::TrashFolder),
        ),
        (
            "our mail that lies in Junk",
            in_folder(Outgoing, spam),
            Some(O::SpamFolder),
        ),
        ("our mail in Sent", mail(Outgoing), None),
        (
            "spam goes to Trash",
            in_folder(
                Incoming,
                FolderFacts {
                    is_spam_folder: true,
                    ..trash
                },
            ),
            Some(O::SpamFolder),
        ),
        (
            "in Sent, whatever else Sent is said to be",
            in_folder(
                Outgoing,
                FolderFacts {
                    is_sent: true,
                    is_spam_folder: true,
                    is_trash: true,
                    is_drafts: true,
                    is_inbox: true,
                },
            ),
            None,
        ),
    ];
    for (what, facts, outcome) in rows {
        assert_eq!(kept(&facts), outcome, "{what}");
    }
}

#[test]
fn r3_where_spam_goes_to_the_inbox_nothing_that_comes_in_is_saved() {
    let spam_to_inbox = |direction, folder| {
        with(direction, |facts| {
            facts.folder = folder;
            facts.spam_goes_to_inbox = true;
        })
    };
    let inbox = FolderFacts {
        is_inbox: true,
        is_spam_folder: true,
        ..FolderFacts::default()
    };
    let sent = FolderFacts {
        is_sent: true,
        ..FolderFacts::default()
    };
    let trash = FolderFacts {
        is_trash: true,
        ..FolderFacts::default()
    };
    let other = FolderFacts::default();
    // (what, mail, the outcome that keeps it)
    let rows = [
        (
            "a client's mail in the Inbox",
            spam_to_inbox(Incoming, inbox),
            Some(O::SpamFolder),
        ),
        (
            "a client's mail that a filter put elsewhere",
            spam_to_inbox(Incoming, other),
            Some(O::SpamFolder),
        ),
        (
            "a client's mail in Trash tells the nearer reason",
            spam_to_inbox(Incoming, trash),
            Some(O::TrashFolder),
        ),
        (
            "sent mail is saved all the same",
            spam_to_inbox(Outgoing, sent),
            None,
        ),
        (
            "our mail that a program filed in the Inbox",
            spam_to_inbox(Outgoing, inbox),
            None,
        ),
    ];
    for (what, facts, outcome) in rows {
        assert_eq!(kept(&facts), outcome, "{what}");
        let is_refused_by_hand = matches!(by_hand(&facts).verdict, HandVerdict::Refused(_));
        assert!(!is_refused_by_hand, "{what}: saving by hand still works");
    }
}
