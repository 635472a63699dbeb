//! Which item a mail joins, and when it joins none (R15, R16).

use super::*;

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
fn r15_where_mail_never_joins_it_makes_what_a_new_client_s_makes_but_no_second_contact() {
    use CreatedItem as C;
    let makes = |creates, has_contact: bool| {
        with(|facts| {
            mode(facts, AlwaysNew);
            facts.settings.incoming_creates = creates;
            facts.leads = vec![lead(30, 1)];
            if has_contact {
                facts.contacts = vec![contact(70, 1)];
            }
        })
    };
    check(vec![
        (
            "a contact of a client known by a lead alone",
            makes(C::Contact, false),
            New(vec![ItemKind::Contact], 1, None),
        ),
        (
            "a lead where there is a contact",
            makes(C::Contact, true),
            Extra(1, Some(70)),
        ),
        ("a lead", makes(C::Lead, false), Extra(1, None)),
        (
            "nothing",
            makes(C::Nothing, true),
            Nowhere(O::NothingToCreate),
        ),
    ]);
}

#[test]
fn r16_a_reply_on_one_of_the_client_s_deals_is_linked_to_that_deal_s_contact() {
    let of = |deal: CandidateItem, contact: i64| CandidateItem {
        contact_id: Some(ItemId(contact)),
        ..deal
    };
    let two_contacts = |change: fn(&mut RoutingFacts)| {
        with(|facts| {
            facts.contacts = vec![contact(70, 1), contact(71, 1)];
            facts.open_deals = vec![of(deal(40, 1), 70), of(deal(41, 1), 71)];
            change(facts);
        })
    };
    check(vec![
        (
            "a reply: the parent's items say no contact",
            two_contacts(|facts| answers(facts, vec![deal(41, 1)])),
            To(41, vec![71]),
        ),
        (
            "a reply on a deal of somebody else's",
            two_contacts(|facts| answers(facts, vec![deal(45, 1)])),
            To(45, vec![70]),
        ),
        ("the newest", two_contacts(|_| ()), Perhaps(41, vec![71])),
    ]);
}
