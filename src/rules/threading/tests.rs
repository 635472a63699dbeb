use super::*;
use proptest::prelude::*;

const ANN: &str = "ann@client.example";
const SALES: &str = "sales@us.example";
const STRANGER: &str = "mallory@elsewhere.example";

/// A stored message: its id, its thread and whether it is saved. Ann and Sales talk about chairs in it.
fn message(id: i64, thread: i64, is_saved: bool) -> ThreadCandidate {
    ThreadCandidate {
        message_id: MessageId(id),
        thread_id: ThreadId(thread),
        subject_base: "chairs".into(),
        participants: vec![ANN.into(), SALES.into()],
        is_saved,
    }
}

/// A new message of Ann's about chairs.
fn from_ann(in_reply_to: Vec<ThreadCandidate>, references: Vec<ThreadCandidate>) -> ThreadFacts {
    ThreadFacts {
        in_reply_to,
        references,
        bounce: None,
        subject_base: "chairs".into(),
        sender_key: Some(ANN.into()),
        sender_is_ours: false,
    }
}

fn about(subject: &str, facts: ThreadFacts) -> ThreadFacts {
    ThreadFacts {
        subject_base: subject.into(),
        ..facts
    }
}

fn from(sender: Option<&str>, facts: ThreadFacts) -> ThreadFacts {
    ThreadFacts {
        sender_key: sender.map(Into::into),
        ..facts
    }
}

fn from_ours(facts: ThreadFacts) -> ThreadFacts {
    ThreadFacts {
        sender_is_ours: true,
        ..from(Some("bob@us.example"), facts)
    }
}

#[test]
fn r17_in_reply_to_is_trusted_and_references_under_the_same_subject() {
    let seen = || vec![message(1, 10, true)];
    let other = || vec![message(2, 20, true)];
    // (what, facts, the thread that is joined)
    let rows = [
        ("a first mail", from_ann(vec![], vec![]), None),
        ("a reply", from_ann(seen(), vec![]), Some(10)),
        (
            "a reply under another subject",
            about("tables", from_ann(seen(), vec![])),
            Some(10),
        ),
        (
            "references alone, same subject",
            from_ann(vec![], seen()),
            Some(10),
        ),
        (
            "references alone, another subject",
            about("tables", from_ann(vec![], seen())),
            None,
        ),
        (
            "a reply to one, with references to another",
            from_ann(seen(), other()),
            Some(10),
        ),
        (
            "several references: the nearest",
            from_ann(vec![], vec![message(2, 20, true), message(1, 10, true)]),
            Some(20),
        ),
    ];
    for (what, facts, thread) in rows {
        assert_eq!(choose_thread(&facts).thread, thread.map(ThreadId), "{what}");
    }
}

#[test]
fn r17_a_stranger_does_not_join_a_thread_by_naming_it() {
    let seen = || vec![message(1, 10, true)];
    // (what, facts, whether it joins)
    let rows = [
        ("Ann's reply", from_ann(seen(), seen()), true),
        (
            "a stranger's reply",
            from(Some(STRANGER), from_ann(seen(), seen())),
            false,
        ),
        (
            "a stranger's references",
            from(Some(STRANGER), from_ann(vec![], seen())),
            false,
        ),
        (
            "a mail without a sender",
            from(None, from_ann(seen(), seen())),
            false,
        ),
        (
            "a colleague who is new to the thread",
            from_ours(from_ann(seen(), vec![])),
            true,
        ),
        (
            "a colleague's references under another subject",
            about("tables", from_ours(from_ann(vec![], seen()))),
            false,
        ),
    ];
    for (what, facts, joins) in rows {
        let choice = choose_thread(&facts);
        assert_eq!(choice.thread.is_some(), joins, "{what}: {}", choice.reason);
        assert_eq!(choice.parent.is_some(), joins, "{what}");
        assert_eq!(choice.is_reply_to_saved, joins, "{what}");
    }
}

#[test]
fn r17_of_repeated_ids_the_one_counts_in_whose_thread_the_sender_takes_part() {
    let forged = ThreadCandidate {
        participants: vec![STRANGER.into(), SALES.into()],
        ..message(1, 10, true)
    };
    let choice = choose_thread(&from_ann(vec![forged, message(2, 20, true)], vec![]));
    assert_eq!(choice.thread, Some(ThreadId(20)));
    assert_eq!(choice.parent, Some(MessageId(2)));
}

#[test]
fn r15_the_parent_is_the_nearest_saved_message_of_the_thread() {
    // (what, facts, the parent, whether it is saved)
    let rows = [
        (
            "the one that is answered is saved",
            from_ann(vec![message(1, 10, true)], vec![]),
            1,
            true,
        ),
        (
            "no one is saved",
            from_ann(vec![message(1, 10, false)], vec![message(2, 10, false)]),
            1,
            false,
        ),
        (
            "a colleague's internal mail lies between",
            from_ann(
                vec![message(1, 10, false)],
                vec![message(1, 10, false), message(2, 10, true)],
            ),
            2,
            true,
        ),
        (
            "the saved one is of another thread",
            from_ann(vec![message(1, 10, false)], vec![message(2, 20, true)]),
            1,
            false,
        ),
        (
            "by references, the nearest saved",
            from_ann(
                vec![],
                vec![
                    message(1, 10, false),
                    message(2, 10, true),
                    message(3, 10, true),
                ],
            ),
            2,
            true,
        ),
    ];
    for (what, facts, parent, is_saved) in rows {
        let choice = choose_thread(&facts);
        assert_eq!(choice.parent, Some(MessageId(parent)), "{what}");
        assert_eq!(choice.is_reply_to_saved, is_saved, "{what}");
    }
}

#[test]
fn r18_a_bounce_joins_the_mail_that_it_reports_on() {
    let ours = |id, thread, we_sent_it| ReportedMessage {
        message: message(id, thread, true),
        we_sent_it,
    };
    let bounce = |about: Vec<ReportedMessage>, failed: &[&str]| ThreadFacts {
        bounce: Some(BounceFacts {
            about,
            failed_recipient_keys: failed.iter().map(|&key| key.into()).collect(),
        }),
        ..from(Some("mailer-daemon@mx.example"), from_ann(vec![], vec![]))
    };
    // (what, facts, the thread that it joins)
    let rows = [
        (
            "about our mail to Ann",
            bounce(vec![ours(1, 10, true)], &[ANN]),
            Some(10),
        ),
        (
            "about Ann and somebody else",
            bounce(vec![ours(1, 10, true)], &[STRANGER, ANN]),
            Some(10),
        ),
        (
            "about a mail that we never sent",
            bounce(vec![ours(1, 10, false)], &[ANN]),
            None,
        ),
        (
            "about an id that a stranger's mail has too",
            bounce(vec![ours(2, 20, false), ours(1, 10, true)], &[ANN]),
            Some(10),
        ),
        (
            "about somebody who was not in that thread",
            bounce(vec![ours(1, 10, true)], &[STRANGER]),
            None,
        ),
        ("a delay", bounce(vec![ours(1, 10, true)], &[]), None),
        ("about nothing that is known", bounce(vec![], &[ANN]), None),
    ];
    for (what, facts, thread) in rows {
        let choice = choose_thread(&facts);
        assert_eq!(choice.thread, thread.map(ThreadId), "{what}");
        assert_eq!(choice.is_report, thread.is_some(), "{what}");
        assert_eq!(choice.is_reply_to_saved, thread.is_some(), "{what}");
    }
    let unsaved = ReportedMessage {
        message: message(1, 10, false),
        we_sent_it: true,
    };
    let choice = choose_thread(&bounce(vec![unsaved], &[ANN]));
    assert!(choice.is_report && !choice.is_reply_to_saved);
}

#[test]
fn r18_a_report_that_came_before_our_mail_is_gathered() {
    let report = |failed: &[&str]| EarlyChild {
        sender_key: Some("mailer-daemon@mx.example".into()),
        sender_is_ours: false,
        participants: vec!["mailer-daemon@mx.example".into(), SALES.into()],
        failed_recipient_keys: failed.iter().map(|&key| key.into()).collect(),
        ..early_reply()
    };
    let our_mail = || ArrivedMessage {
        sender_key: Some(SALES.into()),
        sender_is_ours: true,
        ..late_parent()
    };
    // (what, what arrived, report, whether it is gathered)
    let rows = [
        ("about our mail to Ann", our_mail(), report(&[ANN]), true),
        (
            "about somebody whom we did not write to",
            our_mail(),
            report(&[STRANGER]),
            false,
        ),
        ("a delay", our_mail(), report(&[]), false),
        (
            "about a mail that is not ours",
            ArrivedMessage {
                sender_is_ours: false,
                ..our_mail()
            },
            report(&[ANN]),
            false,
        ),
        (
            "a report from somebody who takes part is a report all the same",
            our_mail(),
            EarlyChild {
                sender_key: Some(ANN.into()),
                ..report(&[STRANGER])
            },
            false,
        ),
    ];
    for (what, arrived, child, is_gathered) in rows {
        let facts = RepairFacts {
            arrived,
            children: vec![child],
        };
        assert_eq!(
            !repair(&facts).threads_to_move.is_empty(),
            is_gathered,
            "{what}"
        );
    }
}

/// Our reply to a mail of Ann's that has not come yet, alone in thread 20.
fn early_reply() -> EarlyChild {
    EarlyChild {
        thread_id: ThreadId(20),
        subject_base: "chairs".into(),
        is_reply_to: true,
        sender_key: Some(SALES.into()),
        sender_is_ours: true,
        participants: vec![ANN.into(), SALES.into()],
        failed_recipient_keys: vec![],
    }
}

/// Ann's mail that comes late, in thread 10.
fn late_parent() -> ArrivedMessage {
    ArrivedMessage {
        thread_id: ThreadId(10),
        subject_base: "chairs".into(),
        sender_key: Some(ANN.into()),
        sender_is_ours: false,
        participants: vec![ANN.into(), SALES.into()],
    }
}

fn moved(arrived: ArrivedMessage, children: Vec<EarlyChild>) -> Vec<i64> {
    let repaired = repair(&RepairFacts { arrived, children });
    assert_eq!(repaired.into, ThreadId(10));
    repaired
        .threads_to_move
        .iter()
        .map(|thread| thread.0)
        .collect()
}

#[test]
fn r17_a_parent_that_comes_late_gathers_its_children() {
    let child = |thread: i64| EarlyChild {
        thread_id: ThreadId(thread),
        ..early_reply()
    };
    let by_references = |subject: &str| EarlyChild {
        is_reply_to: false,
        subject_base: subject.into(),
        ..early_reply()
    };
    // (what, children, the threads that move)
    let rows = [
        ("no child", vec![], vec![]),
        ("our early reply", vec![early_reply()], vec![20]),
        (
            "two children in two threads",
            vec![child(30), child(20)],
            vec![20, 30],
        ),
        (
            "two children in one thread",
            vec![child(20), child(20)],
            vec![20],
        ),
        ("a child that is there already", vec![child(10)], vec![]),
        (
            "references under the same subject",
            vec![by_references("chairs")],
            vec![20],
        ),
        (
            "references under another subject",
            vec![by_references("tables")],
            vec![],
        ),
    ];
    for (what, children, threads) in rows {
        assert_eq!(moved(late_parent(), children), threads, "{what}");
    }
}

#[test]
fn r17_a_stranger_can_neither_write_the_missing_parent_nor_claim_it() {
    let by_stranger = ArrivedMessage {
        sender_key: Some(STRANGER.into()),
        participants: vec![STRANGER.into(), SALES.into()],
        ..late_parent()
    };
    let strangers_child = EarlyChild {
        sender_key: Some(STRANGER.into()),
        sender_is_ours: false,
        participants: vec![STRANGER.into(), SALES.into(), ANN.into()],
        ..early_reply()
    };
    let by_us = ArrivedMessage {
        sender_key: Some("bob@us.example".into()),
        sender_is_ours: true,
        ..late_parent()
    };
    let anns_child = EarlyChild {
        sender_key: Some(ANN.into()),
        sender_is_ours: false,
        ..early_reply()
    };
    // (what, what arrived, child, whether the child's thread moves)
    let rows = [
        (
            "a stranger writes what our reply names",
            by_stranger,
            early_reply(),
            false,
        ),
        (
            "a stranger named Ann's mail before it came",
            late_parent(),
            strangers_child,
            false,
        ),
        (
            "a colleague's mail that Ann answered",
            by_us,
            anns_child,
            true,
        ),
    ];
    for (what, arrived, child, moves) in rows {
        assert_eq!(!moved(arrived, vec![child]).is_empty(), moves, "{what}");
    }
}

proptest! {
    #[test]
    fn r17_whoever_takes_no_part_never_joins(
        in_reply_to in prop::collection::vec((0_i64..5, 0_i64..5, any::<bool>()), 0..5),
        references in prop::collection::vec((0_i64..5, 0_i64..5, any::<bool>()), 0..5),
    ) {
        let stored = |rows: Vec<(i64, i64, bool)>| -> Vec<ThreadCandidate> {
            rows.into_iter().map(|(id, thread, is_saved)| message(id, thread, is_saved)).collect()
        };
        let facts = from(Some(STRANGER), from_ann(stored(in_reply_to), stored(references)));
        prop_assert_eq!(choose_thread(&facts).thread, None);
    }
}

#[test]
fn r17_why_a_mail_joins_nothing_is_told() {
    let other = || {
        about(
            "weather",
            from(Some(ANN), from_ann(vec![], vec![message(1, 10, true)])),
        )
    };
    // (what, facts, reason)
    let rows = [
        (
            "a stranger who names a message",
            from(Some(STRANGER), from_ann(vec![message(1, 10, true)], vec![])),
            "it names a message, but its sender takes no part in that thread",
        ),
        (
            "References under another subject",
            other(),
            "References name a message, but the subject is another or the sender takes no part",
        ),
        (
            "nothing that is known",
            from_ann(vec![], vec![]),
            "it names no message that is known",
        ),
    ];
    for (what, facts, reason) in rows {
        let choice = choose_thread(&facts);
        assert_eq!(
            (choice.thread, choice.reason.as_str()),
            (None, reason),
            "{what}"
        );
    }
}
