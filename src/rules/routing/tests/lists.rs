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
            "a reply to mail on a closed deal",
            excluded(|facts| answers(facts, vec![closed(deal(41, 1))])),
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
