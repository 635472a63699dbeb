use super::fixture::{client, closed, contact, deal, extra, facts, lead};
use super::*;
use EmailOutcome as O;
use ExistingClientRouting::{AlwaysNew, AttachAlways, AttachIfResponsibleInQueue};
use proptest::prelude::*;

mod joining;
mod lists;

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
fn r20_the_trace_names_the_rules_in_order_and_replays() {
    let facts = known(5, |_| ());
    let routed = route(&facts);
    let rules: Vec<&str> = routed.steps.iter().map(|step| step.rule.as_str()).collect();
    assert_eq!(
        rules,
        [
            FACTS,
            "R18 bounces",
            "R18 always a new lead",
            "R15 replies follow their thread",
            "R18 exclusion list",
            "R15 existing clients",
        ]
    );
    assert_eq!(routed.reason, routed.steps[5].decided);
    assert_eq!(trace::items_named(&routed.steps), [ItemId(40), ItemId(70)]);

    let mut replayed: RoutingFacts = trace::facts_seen(&routed.steps, FACTS).unwrap();
    assert_eq!(route(&replayed), routed);
    mode(&mut replayed, AttachAlways);
    assert_eq!(goes(&replayed), To(40, vec![70]), "under changed settings");
}

#[test]
fn r20_items_can_be_left_out() {
    let mut left = known(1, |facts| {
        facts.leads = vec![lead(30, 1), lead(31, 1)];
        answers(facts, vec![deal(40, 5), lead(30, 1)]);
    });
    left.leave_out(&[ItemId(40), ItemId(30)]);
    let ids = |items: &[CandidateItem]| items.iter().map(|item| item.id.0).collect::<Vec<_>>();
    assert_eq!(ids(&left.contacts), [70]);
    assert_eq!(ids(&left.open_deals), [0_i64; 0]);
    assert_eq!(ids(&left.leads), [31]);
    assert_eq!(ids(&left.parent.as_ref().unwrap().items), [0_i64; 0]);
    assert_eq!(goes(&left), To(31, vec![70]));
    left.leave_out(&[ItemId(70)]);
    assert_eq!(goes(&left), To(31, vec![]));
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
        flags in prop::collection::vec(any::<bool>(), 7),
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
        facts.is_report = flags[6];
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
                    prop_assert!(known.iter().any(|item| item.id == *id && (item.is_open || facts.is_report)));
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
