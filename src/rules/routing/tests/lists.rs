//! Listed addresses and machines (R18).

use super::*;

#[test]
fn r18_listed_addresses_make_a_lead_with_each_mail() {
    let listed = |change: fn(&mut RoutingFacts)| {
        known(1, |facts| {
            facts.is_always_new_lead = true;
            change(facts);
        })
    };
    check(vec![
        (
            "whatever there is",
            listed(|_| ()),
            New(vec![ItemKind::Lead], 1, Some(70)),
        ),
        (
            "even a reply",
            listed(|facts| answers(facts, vec![deal(41, 1)])),
            New(vec![ItemKind::Lead], 1, Some(70)),
        ),
        (
            "whatever new clients make",
            listed(|facts| facts.settings.incoming_creates = CreatedItem::Nothing),
            New(vec![ItemKind::Lead], 1, Some(70)),
        ),
        (
            "leads off",
            listed(|facts| facts.leads_enabled = false),
            New(vec![ItemKind::Deal], 1, Some(70)),
        ),
        (
            "but not our mail to them",
            listed(outgoing),
            To(40, vec![70]),
        ),
        (
            "nor automatic mail, which may join",
            listed(|facts| facts.automatic = Some("list".into())),
            To(40, vec![70]),
        ),
        (
            "nor where they are excluded",
            listed(|facts| facts.client.is_excluded = true),
            Nowhere(O::Excluded),
        ),
    ]);
}

#[test]
fn r18_of_an_excluded_client_only_replies_to_saved_mail_are_saved() {
    let excluded = |change: fn(&mut RoutingFacts)| {
        known(1, |facts| {
            facts.client.is_excluded = true;
            change(facts);
        })
    };
    check(vec![
        ("a mail of theirs", excluded(|_| ()), Nowhere(O::Excluded)),
        (
            "a reply",
            excluded(|facts| answers(facts, vec![deal(41, 1)])),
            To(41, vec![70]),
        ),
        (
            "a reply to mail on a closed deal joins the open one",
            excluded(|facts| answers(facts, vec![closed(deal(41, 1))])),
            To(40, vec![70]),
        ),
        (
            "a reply where replies are judged like any other mail",
            excluded(|facts| {
                answers(facts, vec![deal(41, 1)]);
                facts.settings.replies_follow_thread = false;
            }),
            To(40, vec![70]),
        ),
        (
            "a reply that would make something",
            excluded(|facts| {
                answers(facts, vec![closed(deal(41, 1))]);
                mode(facts, AlwaysNew);
            }),
            Nowhere(O::Excluded),
        ),
        (
            "a reply of a client who has nothing to join",
            with(|facts| {
                facts.client.is_excluded = true;
                answers(facts, vec![closed(deal(41, 1))]);
            }),
            Nowhere(O::Excluded),
        ),
        ("our mail to them", excluded(outgoing), Nowhere(O::Excluded)),
        (
            "saved by hand",
            excluded(|facts| facts.by_hand = true),
            To(40, vec![70]),
        ),
    ]);
}

#[test]
fn r18_automatic_mail_may_join_but_makes_nothing() {
    let automatic = |facts: &mut RoutingFacts| facts.automatic = Some("auto-reply".into());
    check(vec![
        (
            "from an unknown client",
            with(automatic),
            Nowhere(O::Automatic),
        ),
        (
            "from a client with an open deal",
            known(1, automatic),
            To(40, vec![70]),
        ),
        (
            "from a client outside the queue",
            known(5, automatic),
            Nowhere(O::Automatic),
        ),
        (
            "a reply from one outside the queue",
            known(5, |facts| {
                automatic(facts);
                answers(facts, vec![deal(41, 1)]);
            }),
            To(41, vec![70]),
        ),
        (
            "where mail never joins",
            known(1, |facts| {
                automatic(facts);
                mode(facts, AlwaysNew);
            }),
            Nowhere(O::Automatic),
        ),
        (
            "saved by hand",
            with(|facts| {
                automatic(facts);
                facts.by_hand = true;
            }),
            New(vec![ItemKind::Lead], 1, None),
        ),
    ]);
}

#[test]
fn r18_a_bounce_is_logged_on_all_items_of_the_mail_it_reports_on() {
    let report = |change: fn(&mut RoutingFacts)| {
        with(|facts| {
            facts.automatic = Some("BOUNCE".into());
            facts.is_report = true;
            answers(facts, vec![deal(41, 1), contact(71, 2)]);
            change(facts);
        })
    };
    check(vec![
        ("on its deal and contact", report(|_| ()), To(41, vec![71])),
        (
            "on what is closed",
            report(|facts| answers(facts, vec![closed(lead(31, 1))])),
            To(31, vec![]),
        ),
        (
            "where replies are judged like any other mail",
            report(|facts| facts.settings.replies_follow_thread = false),
            To(41, vec![71]),
        ),
        (
            "where mail never joins",
            report(|facts| mode(facts, AlwaysNew)),
            To(41, vec![71]),
        ),
        (
            "from a daemon on the list of those who always make a lead",
            report(|facts| facts.is_always_new_lead = true),
            To(41, vec![71]),
        ),
        (
            "from a daemon on the exclusion list",
            report(|facts| facts.client.is_excluded = true),
            To(41, vec![71]),
        ),
        (
            "about a mail that is on no item",
            report(|facts| answers(facts, vec![])),
            Nowhere(O::Automatic),
        ),
        (
            "about a mail that is not saved",
            report(|facts| facts.parent = None),
            Nowhere(O::Automatic),
        ),
        (
            "what reports on nothing is an ordinary reply",
            report(|facts| facts.is_report = false),
            To(41, vec![]),
        ),
    ]);
}

#[test]
fn r19_a_mailbox_makes_so_many_items_an_hour() {
    let made = |made, change: fn(&mut RoutingFacts)| {
        with(|facts| {
            facts.made_this_hour = made;
            change(facts);
        })
    };
    check(vec![
        (
            "the last that is let through",
            made(MADE_PER_HOUR_MAX - 1, |_| ()),
            New(vec![ItemKind::Lead], 1, None),
        ),
        (
            "the next",
            made(MADE_PER_HOUR_MAX, |_| ()),
            Nowhere(O::RateGuard),
        ),
        (
            "the ten-thousandth",
            made(9_999, |_| ()),
            Nowhere(O::RateGuard),
        ),
        (
            "saved by hand",
            made(9_999, |facts| facts.by_hand = true),
            New(vec![ItemKind::Lead], 1, None),
        ),
        (
            "mail that joins makes nothing",
            RoutingFacts {
                made_this_hour: 9_999,
                ..known(1, |_| ())
            },
            To(40, vec![70]),
        ),
        (
            "nothing would be made anyway",
            made(9_999, |facts| {
                facts.settings.incoming_creates = CreatedItem::Nothing
            }),
            Nowhere(O::NothingToCreate),
        ),
    ]);
}
