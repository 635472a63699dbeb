use super::*;
use crate::model::email::EmailOutcome as O;
use Direction::{Incoming, Outgoing};

mod folders;

fn party(address: &str, who: Who) -> Party {
    Party {
        address_key: address.into(),
        name: None,
        who,
        is_excluded: false,
    }
}

fn client_at(address: &str) -> Party {
    party(address, Who::Client)
}

fn excluded(address: &str) -> Party {
    Party {
        is_excluded: true,
        ..client_at(address)
    }
}

fn colleague() -> Party {
    party("colleague@us.example", Who::ActiveUser)
}

fn our_mailbox() -> Party {
    party("sales@us.example", Who::ConnectedMailbox)
}

const NOON: Time = Time::from_seconds(1_715_342_400);

/// A client's ordinary mail in the Inbox, or ours to the client in Sent.
fn mail(direction: Direction) -> ClassifyFacts {
    let is_outgoing = direction == Outgoing;
    let (sender, recipient) = if is_outgoing {
        (our_mailbox(), client_at("ann@client.example"))
    } else {
        (client_at("ann@client.example"), our_mailbox())
    };
    ClassifyFacts {
        folder: FolderFacts {
            is_inbox: !is_outgoing,
            is_sent: is_outgoing,
            ..FolderFacts::default()
        },
        spam_goes_to_inbox: false,
        origin: OriginFacts {
            has_our_message_id: false,
            is_from_own_address: is_outgoing,
            has_received_header: !is_outgoing,
        },
        crm_integration: true,
        sender: Some(sender),
        is_suspicious: false,
        recipients: vec![recipient],
        hides_client: false,
        automatic: None,
        is_reply_to_saved: false,
        is_backfill: false,
        internal_date: NOON,
        save_since: None,
        sender_count_last_hour: 0,
        sender_limit_per_hour: 100,
    }
}

fn with(direction: Direction, change: impl FnOnce(&mut ClassifyFacts)) -> ClassifyFacts {
    let mut facts = mail(direction);
    change(&mut facts);
    facts
}

fn in_folder(direction: Direction, folder: FolderFacts) -> ClassifyFacts {
    with(direction, |facts| facts.folder = folder)
}

/// The outcome that keeps it unsaved; `None`: it is judged further.
fn kept(facts: &ClassifyFacts) -> Option<EmailOutcome> {
    match classify(facts).verdict {
        Verdict::Keep(outcome) => Some(outcome),
        Verdict::Judge { .. } => None,
    }
}

#[test]
fn r4_which_way_a_mail_went() {
    let inbox = FolderFacts {
        is_inbox: true,
        ..FolderFacts::default()
    };
    let sent = FolderFacts {
        is_sent: true,
        ..FolderFacts::default()
    };
    // (what, folder, our Message-ID, from our own address, has a Received header, direction)
    let rows = [
        ("a client's mail", inbox, false, false, true, Incoming),
        (
            "a client's mail, imported without any Received",
            inbox,
            false,
            false,
            false,
            Incoming,
        ),
        ("a mail in Sent", sent, false, true, false, Outgoing),
        (
            "a mail in Sent that looks received",
            sent,
            false,
            false,
            true,
            Outgoing,
        ),
        (
            "ours by its Message-ID, come back",
            inbox,
            true,
            true,
            true,
            Outgoing,
        ),
        (
            "from our address, never received",
            inbox,
            false,
            true,
            false,
            Outgoing,
        ),
        (
            "claims our address, but came from outside",
            inbox,
            false,
            true,
            true,
            Incoming,
        ),
    ];
    for (what, folder, has_our_message_id, is_from_own_address, has_received_header, direction) in
        rows
    {
        let facts = with(Incoming, |facts| {
            facts.folder = folder;
            facts.origin = OriginFacts {
                has_our_message_id,
                is_from_own_address,
                has_received_header,
            };
        });
        assert_eq!(classify(&facts).direction, direction, "{what}");
        assert_eq!(by_hand(&facts).direction, direction, "{what}, by hand");
    }
}

#[test]
fn r12_mail_from_or_to_our_own_people_is_internal() {
    let incoming = |sender: Option<Party>| with(Incoming, |facts| facts.sender = sender);
    let outgoing = |recipients: Vec<Party>| with(Outgoing, |facts| facts.recipients = recipients);
    let ann = || client_at("ann@client.example");
    // (what, mail, whether it is internal)
    let rows = [
        ("from a client", incoming(Some(ann())), false),
        ("from an active user", incoming(Some(colleague())), true),
        (
            "from a connected mailbox",
            incoming(Some(our_mailbox())),
            true,
        ),
        ("from nobody who can be read", incoming(None), false),
        ("to a client", outgoing(vec![ann()]), false),
        ("to a colleague", outgoing(vec![colleague()]), true),
        (
            "to colleagues and mailboxes alone",
            outgoing(vec![colleague(), our_mailbox()]),
            true,
        ),
        (
            "to a colleague, a client in copy",
            outgoing(vec![colleague(), ann()]),
            false,
        ),
        ("to nobody who is named", outgoing(vec![]), false),
        (
            "from a client to our colleague alone",
            with(Incoming, |facts| facts.recipients = vec![colleague()]),
            false,
        ),
    ];
    for (what, facts, is_internal) in rows {
        assert_eq!(kept(&facts) == Some(O::Internal), is_internal, "{what}");
        let refused = by_hand(&facts).verdict == HandVerdict::Refused(ErrorCode::InternalEmail);
        assert_eq!(refused, is_internal, "{what}, by hand");
    }
}

#[test]
fn r12_a_mail_to_our_own_people_that_hides_a_client_is_not_internal() {
    let hiding = |hides_client| {
        with(Outgoing, |facts| {
            facts.recipients = vec![our_mailbox()];
            facts.hides_client = hides_client;
        })
    };
    assert_eq!(kept(&hiding(false)), Some(EmailOutcome::Internal));
    // Whom it hides is not told here: it is saved where its author says.
    assert_eq!(kept(&hiding(true)), Some(EmailOutcome::NothingToCreate));
    let by_hand = by_hand(&hiding(true));
    assert!(matches!(
        by_hand.verdict,
        HandVerdict::Judge { client: None, .. }
    ));
}

#[test]
fn r12_an_outgoing_mail_is_saved_for_the_first_client_among_its_recipients() {
    let facts = with(Outgoing, |facts| {
        facts.recipients = vec![
            colleague(),
            excluded("news@list.example"),
            client_at("bob@client.example"),
            client_at("ann@client.example"),
            client_at("bob@client.example"),
        ];
    });
    let expected = Verdict::Judge {
        client: client_at("bob@client.example"),
        other_clients: vec![client_at("ann@client.example")],
    };
    assert_eq!(classify(&facts).verdict, expected);
}

#[test]
fn r12_the_deepest_reason_goes_first() {
    let spam = FolderFacts {
        is_spam_folder: true,
        ..FolderFacts::default()
    };
    // Each fact alone would keep the mail; they come one after the other, from the last of the ranking to its first.
    let mut facts = mail(Incoming);
    assert_eq!(kept(&facts), None);
    facts.sender_count_last_hour = 100;
    assert_eq!(kept(&facts), Some(O::RateGuard));
    facts.sender = Some(excluded("ann@client.example"));
    assert_eq!(kept(&facts), Some(O::Excluded));
    facts.is_backfill = true;
    facts.save_since = Some(NOON.plus_seconds(1));
    assert_eq!(kept(&facts), Some(O::TooOld));
    facts.crm_integration = false;
    assert_eq!(kept(&facts), Some(O::IntegrationOff));
    facts.folder = spam;
    assert_eq!(kept(&facts), Some(O::SpamFolder));
    facts.sender = Some(colleague());
    assert_eq!(kept(&facts), Some(O::Internal));
}

#[test]
fn r11_the_switch_of_the_mailbox() {
    for direction in [Incoming, Outgoing] {
        let off = with(direction, |facts| facts.crm_integration = false);
        assert_eq!(kept(&mail(direction)), None);
        assert_eq!(kept(&off), Some(O::IntegrationOff));
        assert!(matches!(
            by_hand(&off).verdict,
            HandVerdict::Judge {
                client: Some(_),
                ..
            }
        ));
    }
}

#[test]
fn r4_too_old_is_for_the_backfill_only() {
    // (what, is backfill, seconds from the limit to INTERNALDATE, whether it is too old)
    let rows = [
        ("history before the limit", true, Some(-1), true),
        ("history at the limit", true, Some(0), false),
        ("history after it", true, Some(60), false),
        ("history without a limit", true, None, false),
        (
            "an old mail that arrives now",
            false,
            Some(-1_000_000),
            false,
        ),
    ];
    for (what, is_backfill, from_limit, is_too_old) in rows {
        let facts = with(Incoming, |facts| {
            facts.is_backfill = is_backfill;
            facts.save_since = from_limit.map(|seconds| NOON.plus_seconds(-seconds));
        });
        assert_eq!(kept(&facts) == Some(O::TooOld), is_too_old, "{what}");
    }
}

#[test]
fn r18_excluded_clients_get_no_new_saves_but_replies_to_saved_mail_do() {
    let bad = || excluded("news@list.example");
    let good = || client_at("ann@client.example");
    let incoming = |sender, is_reply_to_saved| {
        with(Incoming, |facts| {
            facts.sender = Some(sender);
            facts.is_reply_to_saved = is_reply_to_saved;
        })
    };
    let outgoing = |recipients| with(Outgoing, |facts| facts.recipients = recipients);
    // (what, mail, whether it is excluded)
    let rows = [
        ("from an excluded address", incoming(bad(), false), true),
        ("its reply to a saved mail", incoming(bad(), true), false),
        ("from another", incoming(good(), false), false),
        ("to an excluded address", outgoing(vec![bad()]), true),
        (
            "to an excluded one and another",
            outgoing(vec![bad(), good()]),
            false,
        ),
        (
            "to a colleague and an excluded address",
            outgoing(vec![colleague(), bad()]),
            true,
        ),
    ];
    for (what, facts, is_excluded) in rows {
        assert_eq!(kept(&facts) == Some(O::Excluded), is_excluded, "{what}");
        assert!(
            matches!(by_hand(&facts).verdict, HandVerdict::Judge { .. }),
            "{what}, by hand"
        );
    }
}

#[test]
fn r18_automatic_mail_is_judged_further_since_it_may_join() {
    for word in ["auto-reply", "list", "bounce", "calendar"] {
        let facts = with(Incoming, |facts| facts.automatic = Some(word.into()));
        assert_eq!(kept(&facts), None, "{word}");
    }
}

#[test]
fn r19_a_flood_from_one_sender_is_held_back() {
    // (what, direction, mails before it within the hour, limit, whether it is held back)
    let rows = [
        ("the first", Incoming, 0, 100, false),
        ("the last that is let through", Incoming, 99, 100, false),
        ("the next", Incoming, 100, 100, true),
        ("the two-thousandth", Incoming, 1_999, 100, true),
        ("the guard is off", Incoming, 1_999, 0, false),
        ("our own campaign", Outgoing, 1_999, 100, false),
    ];
    for (what, direction, count, limit, is_held) in rows {
        let facts = with(direction, |facts| {
            facts.sender_count_last_hour = count;
            facts.sender_limit_per_hour = limit;
        });
        assert_eq!(kept(&facts) == Some(O::RateGuard), is_held, "{what}");
    }
}

#[test]
fn r12_a_mail_without_a_client_is_kept_but_can_be_saved_by_hand() {
    let rows = [
        ("no sender", with(Incoming, |facts| facts.sender = None)),
        (
            "no recipient",
            with(Outgoing, |facts| facts.recipients = vec![]),
        ),
    ];
    for (what, facts) in rows {
        assert_eq!(kept(&facts), Some(O::NothingToCreate), "{what}");
        let expected = HandVerdict::Judge {
            client: None,
            other_clients: vec![],
        };
        assert_eq!(by_hand(&facts).verdict, expected, "{what}");
    }
}

#[test]
fn r12_a_suspicious_sender_is_told_from_none() {
    let forged = "its sender may be forged, so it is not saved by itself";
    let nobody = "it names no client to save it for";
    // (what, direction, suspicious, reason)
    let rows = [
        ("no sender", Incoming, false, nobody),
        ("a forged sender", Incoming, true, forged),
        ("our own mail to nobody", Outgoing, true, nobody),
    ];
    for (what, direction, is_suspicious, reason) in rows {
        let facts = with(direction, |facts| {
            facts.sender = None;
            facts.recipients = vec![];
            facts.is_suspicious = is_suspicious;
        });
        let found = classify(&facts);
        assert_eq!(kept(&facts), Some(O::NothingToCreate), "{what}");
        assert_eq!(found.reason, reason, "{what}");
    }
}

#[test]
fn r20_the_trace_names_the_rules_in_order_and_replays() {
    let facts = with(Incoming, |facts| facts.crm_integration = false);
    let classified = classify(&facts);
    let rules: Vec<&str> = classified
        .steps
        .iter()
        .map(|step| step.rule.as_str())
        .collect();
    assert_eq!(
        rules,
        [
            FACTS,
            "R4 direction",
            "R12 internal mail",
            "R3 folder",
            "R11 CRM integration"
        ]
    );
    assert_eq!(
        classified.reason,
        "the CRM integration of the mailbox is off"
    );
    let replayed: ClassifyFacts = trace::facts_seen(&classified.steps, FACTS).unwrap();
    assert_eq!(classify(&replayed), classified);
}

#[test]
fn r3_mail_is_judged_again_when_it_leaves_the_folders_that_hold_back() {
    let inbox = FolderFacts {
        is_inbox: true,
        ..FolderFacts::default()
    };
    let spam = FolderFacts {
        is_spam_folder: true,
        ..FolderFacts::default()
    };
    let trash = FolderFacts {
        is_trash: true,
        ..FolderFacts::default()
    };
    let drafts = FolderFacts {
        is_drafts: true,
        ..FolderFacts::default()
    };
    let sent = FolderFacts {
        is_sent: true,
        ..FolderFacts::default()
    };
    for (folder, holds_back) in [
        (inbox, false),
        (sent, false),
        (FolderFacts::default(), false),
        (spam, true),
        (trash, true),
        (drafts, true),
    ] {
        assert_eq!(folder.holds_back(), holds_back, "{folder:?}");
    }
    // (what, outcome so far, where it lies now, whether it is judged again)
    let rows = [
        ("rescued from spam", EmailOutcome::SpamFolder, inbox, true),
        ("taken out of Trash", EmailOutcome::TrashFolder, inbox, true),
        (
            "a draft that was sent",
            EmailOutcome::DraftsFolder,
            sent,
            true,
        ),
        ("from spam to Trash", EmailOutcome::SpamFolder, trash, false),
        ("from Trash to spam", EmailOutcome::TrashFolder, spam, false),
        ("saved, and moved about", EmailOutcome::Saved, inbox, false),
        (
            "internal, and moved about",
            EmailOutcome::Internal,
            inbox,
            false,
        ),
        (
            "removed, and moved about",
            EmailOutcome::Removed,
            inbox,
            false,
        ),
    ];
    for (what, outcome, moved_to, expected) in rows {
        assert_eq!(is_judged_again(outcome, moved_to), expected, "{what}");
    }
}
