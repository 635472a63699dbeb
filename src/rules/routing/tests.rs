use super::fixture::{client, closed, contact, deal, extra, facts, lead};
use super::*;
use EmailOutcome as O;
use ExistingClientRouting::{AlwaysNew, AttachAlways, AttachIfResponsibleInQueue};
use proptest::prelude::*;

/// What came out, without what `creation` proves itself.
#[derive(Debug, PartialEq, Eq)]
enum Goes {
    To(i64, Vec<i64>),
    /// Of several open deals.
    Perhaps(i64, Vec<i64>),
    /// Kinds made, for whom, and the contact that is linked too.
    New(Vec<ItemKind>, i64, Option<i64>),
    /// An extra lead of R15, for whom, and the contact that is linked too.
    Extra(i64, Option<i64>),
    Nowhere(EmailOutcome),
}
use Goes::{Extra, New, Nowhere, Perhaps, To};

fn goes(facts: &RoutingFacts) -> Goes {
    let ids = |ids: Vec<ItemId>| ids.into_iter().map(|id| id.0).collect();
    match route(facts).decision {
        RoutingDecision::Keep(outcome) => Nowhere(outcome),
        RoutingDecision::Attach {
            primary,
            also,
            ambiguous: false,
        } => To(primary.0, ids(also)),
        RoutingDecision::Attach { primary, also, .. } => Perhaps(primary.0, ids(also)),
        RoutingDecision::Create(made) if made.is_extra_lead => {
            assert_eq!(made.items.len(), 1);
            assert_eq!(made.items[0].kind, ItemKind::Lead);
            Extra(made.responsible.0, made.contact.map(|id| id.0))
        }
        RoutingDecision::Create(made) => New(
            made.items.iter().map(|item| item.kind).collect(),
            made.responsible.0,
            made.contact.map(|id| id.0),
        ),
    }
}

fn check(rows: Vec<(&str, RoutingFacts, Goes)>) {
    for (what, facts, expected) in rows {
        assert_eq!(goes(&facts), expected, "{what}: {}", route(&facts).reason);
    }
}

fn with(change: impl FnOnce(&mut RoutingFacts)) -> RoutingFacts {
    let mut facts = facts();
    change(&mut facts);
    facts
}

/// A mail of a client who has contact 70 of this responsible and open deal 40 of user 5.
fn known(responsible: i64, change: impl FnOnce(&mut RoutingFacts)) -> RoutingFacts {
    with(|facts| {
        facts.contacts = vec![contact(70, responsible)];
        facts.open_deals = vec![deal(40, 5)];
        change(facts);
    })
}

fn mode(facts: &mut RoutingFacts, mode: ExistingClientRouting) {
    facts.settings.existing_client_routing = mode;
}

/// The mail answers a saved one that is linked to these.
fn answers(facts: &mut RoutingFacts, items: Vec<CandidateItem>) {
    facts.parent = Some(ParentFacts { items });
}

fn outgoing(facts: &mut RoutingFacts) {
    facts.direction = Direction::Outgoing;
}

#[test]
fn r13_an_unknown_client_makes_what_the_mailbox_makes() {
    use CreatedItem as C;
    use ItemKind::{Contact, Deal, Lead};
    let creates = |incoming, outgoing_creates| {
        with(|facts| {
            facts.settings.incoming_creates = incoming;
            facts.settings.outgoing_creates = outgoing_creates;
        })
    };
    let sends = |incoming, outgoing_creates| RoutingFacts {
        direction: Direction::Outgoing,
        ..creates(incoming, outgoing_creates)
    };
    check(vec![
        ("by default, incoming", facts(), New(vec![Lead], 1, None)),
        (
            "by default, outgoing",
            with(outgoing),
            New(vec![Contact], 1, None),
        ),
        (
            "a deal",
            creates(C::Deal, C::Nothing),
            New(vec![Deal, Contact], 1, None),
        ),
        (
            "a contact",
            creates(C::Contact, C::Nothing),
            New(vec![Contact], 1, None),
        ),
        (
            "nothing",
            creates(C::Nothing, C::Lead),
            Nowhere(O::NothingToCreate),
        ),
        (
            "outgoing, a lead",
            sends(C::Nothing, C::Lead),
            New(vec![Lead], 1, None),
        ),
        (
            "outgoing, a deal",
            sends(C::Nothing, C::Deal),
            New(vec![Deal, Contact], 1, None),
        ),
        (
            "outgoing, nothing",
            sends(C::Lead, C::Nothing),
            Nowhere(O::NothingToCreate),
        ),
        (
            "leads off",
            with(|facts| facts.leads_enabled = false),
            New(vec![Deal, Contact], 1, None),
        ),
    ]);
    for always in [AlwaysNew, AttachAlways] {
        assert_eq!(
            goes(&with(|facts| mode(facts, always))),
            New(vec![Lead], 1, None),
            "{always:?}"
        );
    }
}

#[test]
fn r15_attach_if_the_responsible_is_in_the_queue() {
    check(vec![
        (
            "in the queue: it joins, whoever is the deal's responsible",
            known(1, |_| ()),
            To(40, vec![70]),
        ),
        (
            "not in the queue: a new lead for the next in it",
            known(5, |_| ()),
            Extra(1, Some(70)),
        ),
        (
            "in the queue, but inactive",
            known(3, |_| ()),
            Extra(1, Some(70)),
        ),
        (
            "the connector, who is not in the queue",
            known(9, |_| ()),
            Extra(1, Some(70)),
        ),
        (
            "the next in the queue has the turn",
            known(5, |facts| facts.queue.pointer = 1),
            Extra(2, Some(70)),
        ),
        (
            "nothing is made: no lead here either",
            known(5, |facts| {
                facts.settings.incoming_creates = CreatedItem::Nothing
            }),
            Nowhere(O::NothingToCreate),
        ),
        (
            "it is a lead, whatever new clients make",
            known(5, |facts| {
                facts.settings.incoming_creates = CreatedItem::Contact
            }),
            Extra(1, Some(70)),
        ),
        (
            "leads off: a deal on the contact there is",
            known(5, |facts| facts.leads_enabled = false),
            New(vec![ItemKind::Deal], 1, Some(70)),
        ),
        (
            "our own mail to the client joins, since the rule is about mail from clients",
            known(5, outgoing),
            To(40, vec![70]),
        ),
    ]);
}

#[test]
fn r15_each_mail_of_a_client_outside_the_queue_makes_its_own_lead() {
    let mut facts = known(5, |_| ());
    let mut responsible = Vec::new();
    for id in 100..104 {
        let RoutingDecision::Create(made) = route(&facts).decision else {
            panic!("mail {id} joined");
        };
        responsible.push(made.responsible.0);
        facts.queue.pointer = made.new_pointer;
        facts.leads.push(extra(lead(id, made.responsible.0)));
    }
    assert_eq!(
        responsible,
        [1, 2, 1, 2],
        "several items with different responsibles"
    );
}

#[test]
fn r15_the_clients_responsible() {
    let leads = |leads: Vec<CandidateItem>| with(|facts| facts.leads = leads);
    check(vec![
        (
            "the contact's, before any lead's",
            with(|facts| {
                facts.contacts = vec![contact(70, 5)];
                facts.leads = vec![lead(30, 1)];
            }),
            Extra(1, Some(70)),
        ),
        (
            "of two contacts, the older one's",
            with(|facts| facts.contacts = vec![contact(71, 5), contact(70, 1)]),
            To(70, vec![]),
        ),
        (
            "without a contact, the oldest lead's",
            leads(vec![lead(31, 5), lead(30, 1)]),
            To(31, vec![]),
        ),
        (
            "the oldest lead's, though a newer one is in the queue",
            leads(vec![lead(30, 5), lead(31, 1)]),
            Extra(1, None),
        ),
        (
            "a closed lead counts too",
            leads(vec![closed(lead(30, 5)), lead(31, 1)]),
            Extra(1, None),
        ),
        (
            "a lead that R15 made doesn't",
            leads(vec![extra(lead(30, 5)), lead(31, 1)]),
            To(31, vec![]),
        ),
        (
            "nor does it make its responsible the client's",
            leads(vec![extra(lead(30, 1)), lead(31, 5)]),
            Extra(1, None),
        ),
        (
            "with such leads alone, nobody is responsible: as for a new client",
            leads(vec![extra(lead(30, 1))]),
            New(vec![ItemKind::Lead], 1, None),
        ),
        (
            "in the queue, but all is closed: as for a new client",
            leads(vec![closed(lead(30, 1))]),
            New(vec![ItemKind::Lead], 1, None),
        ),
    ]);
}

#[test]
fn r15_attach_always_and_always_new() {
    let always = |responsible, change: fn(&mut RoutingFacts)| {
        known(responsible, |facts| {
            mode(facts, AttachAlways);
            change(facts);
        })
    };
    let new = |responsible, change: fn(&mut RoutingFacts)| {
        known(responsible, |facts| {
            mode(facts, AlwaysNew);
            change(facts);
        })
    };
    check(vec![
        (
            "always: it joins, the responsible in the queue",
            always(1, |_| ()),
            To(40, vec![70]),
        ),
        (
            "always: it joins, the responsible elsewhere",
            always(5, |_| ()),
            To(40, vec![70]),
        ),
        (
            "always: it joins a lead that R15 made",
            always(5, |facts| {
                facts.contacts.clear();
                facts.open_deals.clear();
                facts.leads = vec![extra(lead(30, 1))];
            }),
            To(30, vec![]),
        ),
        ("new: it never joins", new(1, |_| ()), Extra(1, Some(70))),
        (
            "new: nor does it, the responsible elsewhere",
            new(5, |_| ()),
            Extra(1, Some(70)),
        ),
        (
            "new: a deal on the contact there is",
            new(1, |facts| {
                facts.settings.incoming_creates = CreatedItem::Deal
            }),
            New(vec![ItemKind::Deal], 1, Some(70)),
        ),
        (
            "new: no second contact of one person",
            new(1, |facts| {
                facts.settings.incoming_creates = CreatedItem::Contact
            }),
            Extra(1, Some(70)),
        ),
        (
            "new: nothing",
            new(1, |facts| {
                facts.settings.incoming_creates = CreatedItem::Nothing
            }),
            Nowhere(O::NothingToCreate),
        ),
        (
            "new: our own mail joins",
            new(1, outgoing),
            To(40, vec![70]),
        ),
    ]);
}

#[test]
fn r15_a_reply_stays_on_the_open_item_of_the_mail_it_answers_in_every_mode() {
    let on_deal = || vec![deal(41, 5), contact(70, 1)];
    for each in [AttachIfResponsibleInQueue, AttachAlways, AlwaysNew] {
        for responsible in [1, 5] {
            let reply = known(responsible, |facts| {
                mode(facts, each);
                answers(facts, on_deal());
            });
            assert_eq!(
                goes(&reply),
                To(41, vec![70]),
                "{each:?}, responsible {responsible}"
            );
        }
        let off = known(5, |facts| {
            mode(facts, each);
            answers(facts, on_deal());
            facts.settings.replies_follow_thread = false;
        });
        let without_parent = known(5, |facts| mode(facts, each));
        assert_eq!(
            goes(&off),
            goes(&without_parent),
            "{each:?}: like any other mail"
        );
    }
}

#[test]
fn r15_which_of_the_items_a_reply_stays_on() {
    let reply = |items: Vec<CandidateItem>| known(1, |facts| answers(facts, items));
    check(vec![
        (
            "the deal before the lead",
            reply(vec![lead(30, 1), deal(41, 1)]),
            To(41, vec![70]),
        ),
        (
            "the lead before the contact",
            reply(vec![contact(70, 1), lead(30, 1)]),
            To(30, vec![70]),
        ),
        (
            "the contact, where it hung on it alone",
            reply(vec![contact(70, 1)]),
            To(70, vec![]),
        ),
        (
            "of two deals the one with the newest entry",
            reply(vec![deal(42, 1), deal(41, 1)]),
            To(42, vec![70]),
        ),
        (
            "not a closed deal",
            reply(vec![closed(deal(41, 1))]),
            To(40, vec![70]),
        ),
        (
            "not the contact of a closed deal: the client's open deal",
            reply(vec![closed(deal(41, 1)), contact(70, 1)]),
            To(40, vec![70]),
        ),
        (
            "the lead of a closed deal",
            reply(vec![closed(deal(41, 1)), lead(30, 1)]),
            To(30, vec![70]),
        ),
        (
            "outgoing replies too",
            known(5, |facts| {
                outgoing(facts);
                answers(facts, vec![lead(30, 1)]);
            }),
            To(30, vec![70]),
        ),
        (
            "an unknown client who takes part in the thread",
            with(|facts| answers(facts, vec![deal(41, 1), contact(71, 1)])),
            To(41, vec![]),
        ),
        (
            "a closed lead of an unknown client: as for a new client",
            with(|facts| answers(facts, vec![closed(lead(30, 1))])),
            New(vec![ItemKind::Lead], 1, None),
        ),
    ]);
}

#[test]
fn r16_the_open_deal_with_the_newest_entry_else_the_open_lead_else_the_contact() {
    let newest_at = |item: CandidateItem, at| CandidateItem {
        newest_entry_at: Time::from_seconds(at),
        ..item
    };
    let of_contact = |item: CandidateItem, contact| CandidateItem {
        contact_id: Some(ItemId(contact)),
        ..item
    };
    check(vec![
        (
            "of two open deals the one with the newest entry",
            known(1, |facts| {
                facts.open_deals = vec![newest_at(deal(40, 1), 900), newest_at(deal(41, 1), 800)]
            }),
            Perhaps(40, vec![70]),
        ),
        (
            "as new: the later deal",
            known(1, |facts| {
                facts.open_deals = vec![newest_at(deal(41, 1), 9), newest_at(deal(40, 1), 9)]
            }),
            Perhaps(41, vec![70]),
        ),
        (
            "closed deals neither count nor make it ambiguous",
            known(1, |facts| facts.open_deals.push(closed(deal(41, 1)))),
            To(40, vec![70]),
        ),
        (
            "a deal before a lead",
            known(1, |facts| facts.leads = vec![lead(99, 1)]),
            To(40, vec![70]),
        ),
        (
            "no open deal: the open lead with the newest entry",
            known(1, |facts| {
                facts.open_deals.clear();
                facts.leads = vec![
                    newest_at(lead(30, 1), 900),
                    lead(31, 1),
                    closed(newest_at(lead(32, 1), 999)),
                ];
            }),
            To(30, vec![70]),
        ),
        (
            "neither: the contact alone",
            known(1, |facts| facts.open_deals.clear()),
            To(70, vec![]),
        ),
        (
            "all closed: the contact alone",
            known(1, |facts| {
                facts.open_deals = vec![closed(deal(40, 1))];
                facts.leads = vec![closed(lead(30, 1))];
            }),
            To(70, vec![]),
        ),
        (
            "of two contacts the one that the deal hangs on is linked",
            known(1, |facts| {
                facts.contacts.push(contact(71, 1));
                facts.open_deals = vec![of_contact(deal(40, 1), 71)];
            }),
            To(40, vec![71]),
        ),
        (
            "not a contact that is not the client's",
            known(1, |facts| {
                facts.open_deals = vec![of_contact(deal(40, 1), 99)]
            }),
            To(40, vec![70]),
        ),
        (
            "outgoing mail to an open lead",
            with(|facts| {
                outgoing(facts);
                facts.leads = vec![lead(30, 5)];
            }),
            To(30, vec![]),
        ),
    ]);
    let ambiguous = known(1, |facts| facts.open_deals.push(deal(41, 1)));
    assert!(route(&ambiguous).reason.starts_with("AMBIGUOUS"));
    assert!(!route(&known(1, |_| ())).reason.contains("AMBIGUOUS"));
}

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

#[test]
fn r20_the_trace_names_the_rules_in_order_and_replays() {
    let facts = known(5, |_| ());
    let routed = route(&facts);
    let rules: Vec<&str> = routed.steps.iter().map(|step| step.rule.as_str()).collect();
    assert_eq!(
        rules,
        [
            FACTS,
            "R18 always a new lead",
            "R15 replies follow their thread",
            "R18 exclusion list",
            "R15 existing clients",
        ]
    );
    assert_eq!(routed.reason, routed.steps[4].decided);
    assert_eq!(trace::items_named(&routed.steps), [ItemId(40), ItemId(70)]);

    let mut replayed: RoutingFacts = trace::facts_seen(&routed.steps, FACTS).unwrap();
    assert_eq!(route(&replayed), routed);
    mode(&mut replayed, AttachAlways);
    assert_eq!(goes(&replayed), To(40, vec![70]), "under changed settings");
}

#[test]
fn r20_what_keeps_a_mail_from_making_something_is_told() {
    let nothing = with(|facts| facts.settings.incoming_creates = CreatedItem::Nothing);
    assert_eq!(
        route(&nothing).reason,
        "it makes what the mailbox makes of a new client's mail; but the mailbox makes nothing"
    );
}

prop_compose! {
    fn any_items(kind: ItemKind, first_id: i64)(
        rows in prop::collection::vec((1_i64..7, any::<bool>(), any::<bool>(), 0_i64..5), 0..4)
    ) -> Vec<CandidateItem> {
        rows.into_iter().zip(first_id..).map(|((responsible, is_open, is_extra_lead, at), id)| CandidateItem {
            id: ItemId(id),
            kind,
            is_open: is_open || kind == ItemKind::Contact,
            responsible_id: UserId(responsible),
            newest_entry_at: Time::from_seconds(at),
            created_at: Time::from_seconds(at),
            is_extra_lead,
            contact_id: None,
        }).collect()
    }
}

prop_compose! {
    fn any_facts()(
        contacts in any_items(ItemKind::Contact, 10),
        open_deals in any_items(ItemKind::Deal, 20),
        leads in any_items(ItemKind::Lead, 30),
        parent in prop::option::of(any_items(ItemKind::Deal, 40)),
        choices in (0_usize..3, 0_usize..4, 0_usize..4, 0_usize..2),
        flags in prop::collection::vec(any::<bool>(), 6),
    ) -> RoutingFacts {
        let mut facts = facts();
        facts.contacts = contacts;
        facts.open_deals = open_deals;
        facts.leads = leads;
        facts.parent = parent.map(|items| ParentFacts { items });
        facts.settings.existing_client_routing = ExistingClientRouting::ALL[choices.0];
        facts.settings.incoming_creates = CreatedItem::ALL[choices.1];
        facts.settings.outgoing_creates = CreatedItem::ALL[choices.2];
        facts.direction = Direction::ALL[choices.3];
        facts.settings.replies_follow_thread = flags[0];
        facts.leads_enabled = flags[1];
        facts.automatic = flags[2].then(|| "list".to_owned());
        facts.by_hand = flags[3];
        facts.is_always_new_lead = flags[4];
        facts.client.is_excluded = flags[5];
        facts
    }
}

proptest! {
    #[test]
    fn r16_nothing_closed_is_joined_and_what_is_made_has_an_active_responsible(facts in any_facts()) {
        let known: Vec<CandidateItem> = [facts.contacts.clone(), facts.open_deals.clone(), facts.leads.clone()]
            .into_iter()
            .chain(facts.parent.clone().map(|parent| parent.items))
            .flatten()
            .collect();
        match route(&facts).decision {
            RoutingDecision::Attach { primary, also, .. } => {
                for id in also.iter().chain([&primary]) {
                    prop_assert!(known.iter().any(|item| item.id == *id && item.is_open));
                }
                prop_assert!(!also.contains(&primary));
            }
            RoutingDecision::Create(made) => {
                prop_assert!(facts.queue.has_active(made.responsible));
                prop_assert!(!made.items.is_empty());
                prop_assert!(facts.leads_enabled || made.items.iter().all(|item| item.kind != ItemKind::Lead));
                prop_assert!(facts.by_hand || facts.automatic.is_none(), "R18: automatic mail makes nothing");
                prop_assert!(facts.by_hand || !facts.client.is_excluded, "R18: excluded clients make nothing");
                prop_assert!(facts.contacts.is_empty() == made.contact.is_none());
                let contacts = made.items.iter().filter(|item| item.kind == ItemKind::Contact).count();
                prop_assert!(contacts == 0 || facts.contacts.is_empty(), "no second contact of one person");
            }
            RoutingDecision::Keep(outcome) => {
                prop_assert!(matches!(outcome, O::Automatic | O::Excluded | O::NothingToCreate));
            }
        }
    }

    #[test]
    fn r20_every_judgement_replays_from_its_trace(facts in any_facts()) {
        let routed = route(&facts);
        let replayed: RoutingFacts = trace::facts_seen(&routed.steps, FACTS).unwrap();
        prop_assert_eq!(route(&replayed), routed);
    }
}

#[test]
fn r27_no_reason_names_an_item_or_a_person() {
    let mut facts = known(1, |_| ());
    facts.client = client(Some("Ann Smith"));
    let routed = route(&facts);
    for text in routed
        .steps
        .iter()
        .map(|step| &step.decided)
        .chain([&routed.reason])
    {
        let names = text.contains("40") || text.contains("70") || text.contains("Ann");
        assert!(!names, "{text}");
    }
}
