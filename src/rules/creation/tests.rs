use super::*;
use crate::model::decisions::Fallback;
use crate::model::{ItemId, UserId};
use crate::rules::routing::fixture::{client, contact, facts};

fn made(facts: &RoutingFacts, wanted: CreatedItem) -> Creation {
    match create(facts, wanted, LeadKind::Ordinary).decision {
        RoutingDecision::Create(creation) => creation,
        other => panic!("expected something to be made, not {other:?}"),
    }
}

fn kinds(creation: &Creation) -> Vec<ItemKind> {
    creation.items.iter().map(|item| item.kind).collect()
}

#[test]
fn r13_what_is_made() {
    use CreatedItem as C;
    use ItemKind::{Contact, Deal, Lead};
    // (what, wanted, leads enabled, the client has a contact, kinds made)
    let rows = [
        ("a lead", C::Lead, true, false, vec![Lead]),
        (
            "a lead beside the contact there is",
            C::Lead,
            true,
            true,
            vec![Lead],
        ),
        (
            "a deal, with a contact",
            C::Deal,
            true,
            false,
            vec![Deal, Contact],
        ),
        (
            "a deal on the contact there is",
            C::Deal,
            true,
            true,
            vec![Deal],
        ),
        ("a contact", C::Contact, true, false, vec![Contact]),
        (
            "leads off: a deal and a contact for a lead",
            C::Lead,
            false,
            false,
            vec![Deal, Contact],
        ),
        (
            "leads off: a deal on the contact there is",
            C::Lead,
            false,
            true,
            vec![Deal],
        ),
        (
            "leads off: deals are as ever",
            C::Deal,
            false,
            false,
            vec![Deal, Contact],
        ),
        (
            "leads off: so are contacts",
            C::Contact,
            false,
            false,
            vec![Contact],
        ),
    ];
    for (what, wanted, leads_enabled, is_known, expected) in rows {
        let facts = RoutingFacts {
            leads_enabled,
            contacts: if is_known {
                vec![contact(7, 1)]
            } else {
                vec![]
            },
            ..facts()
        };
        let creation = made(&facts, wanted);
        assert_eq!(kinds(&creation), expected, "{what}");
        assert_eq!(creation.contact, is_known.then_some(ItemId(7)), "{what}");
    }
}

#[test]
fn r13_the_title_is_the_subject_and_the_name_the_display_name() {
    let long = "chair ".repeat(100);
    // (what, subject, display name, the lead's title, its name, the contact's name)
    let rows = [
        (
            "all is there",
            "Chairs",
            Some("Ann Smith"),
            "Chairs",
            Some("Ann Smith"),
            "Ann Smith",
        ),
        (
            "a reply keeps its mark",
            "Re: Chairs",
            Some("Ann"),
            "Re: Chairs",
            Some("Ann"),
            "Ann",
        ),
        (
            "no subject",
            "",
            Some("Ann Smith"),
            "Email from Ann Smith",
            Some("Ann Smith"),
            "Ann Smith",
        ),
        (
            "an empty subject",
            " \t\r\n",
            Some("Ann"),
            "Email from Ann",
            Some("Ann"),
            "Ann",
        ),
        (
            "no name",
            "Chairs",
            None,
            "Chairs",
            None,
            "ann@client.example",
        ),
        (
            "an empty name",
            "Chairs",
            Some("  "),
            "Chairs",
            None,
            "ann@client.example",
        ),
        (
            "neither",
            "",
            None,
            "Email from ann@client.example",
            None,
            "ann@client.example",
        ),
        (
            "in one line",
            "Chairs\r\nBcc: x\0y",
            Some("A\tB"),
            "Chairs Bcc: x y",
            Some("A B"),
            "A B",
        ),
    ];
    for (what, subject, name, title, lead_name, contact_name) in rows {
        let mut facts = facts();
        facts.subject = subject.into();
        facts.client = client(name);
        let lead = &made(&facts, CreatedItem::Lead).items[0];
        assert_eq!(
            (lead.title.as_str(), lead.name.as_deref()),
            (title, lead_name),
            "{what}"
        );
        assert_eq!(lead.source.as_deref(), Some("Sales mailbox"), "{what}");
        let with_deal = made(&facts, CreatedItem::Deal).items;
        assert_eq!(
            (with_deal[0].title.as_str(), &with_deal[0].name),
            (title, &None),
            "{what}"
        );
        assert_eq!(with_deal[1].name.as_deref(), Some(contact_name), "{what}");
        assert_eq!(with_deal[1].title, contact_name, "{what}");
    }
    let mut facts = facts();
    facts.subject = long;
    let title = &made(&facts, CreatedItem::Lead).items[0].title;
    assert!(
        title.chars().count() <= TITLE_CHARS_MAX && title.ends_with('…'),
        "{title}"
    );
}

#[test]
fn r14_the_next_in_the_queue_is_responsible_and_the_pointer_moves_only_when_something_is_made() {
    let mut facts = facts();
    facts.queue.pointer = 1;
    let creation = made(&facts, CreatedItem::Lead);
    assert_eq!((creation.responsible, creation.new_pointer), (UserId(2), 2));
    assert_eq!(creation.fallback, Fallback::None);

    for member in &mut facts.queue.members {
        member.is_active = false;
    }
    let creation = made(&facts, CreatedItem::Lead);
    assert_eq!((creation.responsible, creation.new_pointer), (UserId(9), 1));
    assert_eq!(creation.fallback, Fallback::Connector);

    facts.queue.connector.is_active = false;
    facts.queue.administrators.clear();
    let kept = create(&facts, CreatedItem::Lead, LeadKind::Ordinary);
    assert_eq!(
        kept.decision,
        RoutingDecision::Keep(EmailOutcome::NothingToCreate)
    );
    assert_eq!(
        kept.remark,
        Some("no active user is there to be responsible")
    );
}

#[test]
fn r15_only_leads_can_be_extra() {
    // (what, leads enabled, whether it is an extra lead)
    for (what, leads_enabled, is_extra) in
        [("a lead", true, true), ("a deal instead", false, false)]
    {
        let facts = RoutingFacts {
            leads_enabled,
            ..facts()
        };
        let made = create(&facts, CreatedItem::Lead, LeadKind::Extra).decision;
        let RoutingDecision::Create(creation) = made else {
            panic!("{what}: nothing was made");
        };
        assert_eq!(creation.is_extra_lead, is_extra, "{what}");
    }
}

#[test]
fn r18_automatic_mail_makes_nothing_unless_somebody_saves_it() {
    // (what, automatic, by hand, outcome that keeps it)
    let rows = [
        ("a person's mail", None, false, None),
        (
            "a newsletter",
            Some("list"),
            false,
            Some(EmailOutcome::Automatic),
        ),
        ("a newsletter saved by hand", Some("list"), true, None),
    ];
    for (what, automatic, by_hand, outcome) in rows {
        let facts = RoutingFacts {
            automatic: automatic.map(Into::into),
            by_hand,
            ..facts()
        };
        let kept = match create(&facts, CreatedItem::Lead, LeadKind::Ordinary).decision {
            RoutingDecision::Keep(outcome) => Some(outcome),
            _ => None,
        };
        assert_eq!(kept, outcome, "{what}");
    }
}
