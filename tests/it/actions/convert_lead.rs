//! Converting a lead (R36).

use crate::actions::world::{DEAL_NEW, LEAD_CONVERTED, LEAD_NEW, World, new_item};
use mailroom::actions::change::Change;
use mailroom::actions::convert_lead::{self, Becomes, ConvertLead, Converted, NewContact, NewDeal};
use mailroom::actions::fields::Money;
use mailroom::actions::items::{self, CreateItem, UpdateItem};
use mailroom::model::item::ItemKind::{Contact, Deal, Lead};
use mailroom::model::people::PermissionAction::{Create, Read, Update};
use mailroom::model::people::PermissionLevel::{All, Own};
use mailroom::model::people::Viewer;
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{ItemId, UserId};
use mailroom::store;

fn of(lead_id: ItemId) -> ConvertLead {
    ConvertLead {
        lead_id,
        expected_version: None,
        deal: None,
        contact: None,
    }
}

async fn convert(world: &World, viewer: &Viewer, input: ConvertLead) -> Converted {
    convert_lead::convert(&world.actions, viewer, input, None, world.now())
        .await
        .unwrap()
}

async fn lead_of(world: &World, responsible: UserId) -> ItemId {
    let input = CreateItem {
        title: Some("Asks for an offer".into()),
        name: Some("Anna Weber".into()),
        addresses: vec!["anna@weber.example".into(), "weber@home.example".into()],
        source: Some("Web form".into()),
        responsible_id: Some(responsible),
        open_to_everyone: true,
        ..new_item(Lead)
    };
    items::create(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap()
}

on_both_databases! {
async fn r36_a_lead_becomes_a_deal_and_a_contact_and_its_emails_hang_on_the_deal_too(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let boss = world.user("Bob Boss", None, None).await;
    let lead = lead_of(&world, owner).await;
    let elsewhere = world.item(Contact, owner).await;
    let mailbox = world.mailbox(owner);
    let (first, activity) = world.email(mailbox, &[lead]);
    let (second, other_activity) = world.email(mailbox, &[elsewhere, lead]);
    let deal = NewDeal {
        amount: Some(Money {
            amount: "100".into(),
            currency: "EUR".into(),
        }),
        responsible_id: Some(boss),
        ..NewDeal::default()
    };
    let input = ConvertLead {
        deal: Some(Becomes::New(deal)),
        contact: Some(Becomes::New(NewContact::default())),
        ..of(lead)
    };
    let made = convert(&world, &world.admin, input).await;
    let (deal, contact) = (made.deal_id.unwrap(), made.contact_id.unwrap());

    let row = world.get(lead);
    assert_eq!(
        (row.stage_id, row.is_open, row.version),
        (Some(LEAD_CONVERTED), false, 2)
    );
    let row = world.get(deal);
    assert_eq!(
        (row.title.as_str(), row.responsible_id, row.open_to_everyone),
        ("Asks for an offer", boss, true)
    );
    assert_eq!(
        (row.stage_id, row.origin_lead_id),
        (Some(DEAL_NEW), Some(lead))
    );
    assert_eq!(row.amount, Some(("100".into(), "EUR".into())));
    let row = world.get(contact);
    assert_eq!(
        (
            row.title.as_str(),
            row.source.as_deref(),
            row.responsible_id
        ),
        ("Anna Weber", Some("Web form"), owner)
    );
    let read = |ids: &[ItemId]| {
        world
            .store()
            .read_now(|conn| store::items::addresses(conn, ids))
            .unwrap()
    };
    let addresses: Vec<String> = read(&[contact])
        .remove(&contact)
        .unwrap()
        .into_iter()
        .map(|a| a.address)
        .collect();
    assert_eq!(addresses, ["anna@weber.example", "weber@home.example"]);
    let contacts: Vec<i64> = world.rows("SELECT contact_id FROM deal_contacts");
    assert_eq!(contacts, [contact.0]);
    let conversion = world
        .store()
        .read_now(|conn| store::items::conversions(conn, &[lead]))
        .unwrap()
        .remove(0);
    assert_eq!(
        (conversion.by, conversion.deal_id, conversion.contact_id),
        (Some(world.admin.user_id), Some(deal), Some(contact))
    );

    let links = |email: mailroom::model::EmailId| -> Vec<(i64, bool)> {
        let mut found: Vec<(i64, bool)> = world.rows(&format!(
            "SELECT item_id, is_primary FROM email_links WHERE email_id = {} ORDER BY item_id",
            email.0
        ));
        found.sort_unstable();
        found
    };
    let sorted = |mut rows: Vec<(i64, bool)>| {
        rows.sort_unstable();
        rows
    };
    assert_eq!(links(first), sorted(vec![(lead.0, false), (deal.0, true)]));
    assert_eq!(
        links(second),
        sorted(vec![(elsewhere.0, true), (lead.0, false), (deal.0, false)]),
        "its primary item was another"
    );
    let primary: Vec<Option<i64>> = world.rows("SELECT primary_item_id FROM emails ORDER BY id");
    assert_eq!(primary, [Some(deal.0), Some(elsewhere.0)]);
    let history: Vec<(i64, Option<i64>, Option<i64>)> =
        world.rows("SELECT email_id, from_item_id, to_item_id FROM link_changes ORDER BY id");
    assert_eq!(
        history,
        [
            (first.0, None, Some(deal.0)),
            (second.0, None, Some(deal.0))
        ]
    );
    let responsible = |id| {
        world
            .store()
            .read_now(|conn| store::activities::get(conn, id))
            .unwrap()
            .unwrap()
            .responsible_id
    };
    assert_eq!(
        (responsible(activity), responsible(other_activity)),
        (boss, owner)
    );

    assert_eq!(world.told(lead), ["ITEM_CREATED", "LEAD_CONVERTED"]);
    assert_eq!(
        world.told(deal),
        ["ITEM_CREATED", "EMAIL_LINKED", "EMAIL_LINKED"]
    );
    assert_eq!(world.told(contact), ["ITEM_CREATED"]);
    let changes: Vec<String> = world.rows("SELECT kind FROM timeline_changes ORDER BY position");
    assert_eq!(changes.iter().filter(|kind| *kind == "LINKS").count(), 2);
    assert_eq!(changes.iter().filter(|kind| *kind == "ITEM").count(), 1);

    let again = convert_lead::convert(&world.actions, &world.admin, of(lead), None, world.now());
    world
        .refused("again", (Code::AlreadyConverted, "leadId"), again)
        .await;
    let back = UpdateItem {
        stage_id: Change::Set(LEAD_NEW),
        ..UpdateItem::of(Lead, lead)
    };
    let back = items::update(&world.actions, &world.admin, back, world.now());
    world
        .refused("back", (Code::AlreadyConverted, "stageId"), back)
        .await;
}
}

on_both_databases! {
async fn r36_a_lead_becomes_what_there_is(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let lead = lead_of(&world, owner).await;
    let deal = world.item(Deal, owner).await;
    let input = CreateItem {
        addresses: vec!["ANNA@weber.example".into()],
        responsible_id: Some(owner),
        ..new_item(Contact)
    };
    let contact = items::create(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let mailbox = world.mailbox(owner);
    let (both, _) = world.email(mailbox, &[lead, deal]);
    let input = ConvertLead {
        deal: Some(Becomes::Existing(deal)),
        contact: Some(Becomes::Existing(contact)),
        ..of(lead)
    };
    let made = convert(&world, &world.viewer(owner), input).await;
    assert_eq!(
        made,
        Converted {
            lead_id: lead,
            deal_id: Some(deal),
            contact_id: Some(contact)
        }
    );
    assert_eq!(world.get(deal).origin_lead_id, Some(lead));
    let addresses: Vec<String> = world.rows(&format!(
        "SELECT address FROM item_addresses WHERE item_id = {} ORDER BY position",
        contact.0
    ));
    assert_eq!(addresses, ["ANNA@weber.example", "weber@home.example"]);
    let primary: Vec<i64> = world.rows(&format!(
        "SELECT item_id FROM email_links WHERE is_primary AND email_id = {}",
        both.0
    ));
    assert_eq!(primary, [deal.0]);
    assert_eq!(world.told(deal), ["ITEM_CREATED"], "it hung there already");
}
}

on_both_databases! {
async fn r36_a_contact_alone_takes_no_emails_and_neither_means_both(world) {
    let lead = lead_of(&world, world.admin.user_id).await;
    let mailbox = world.mailbox(world.admin.user_id);
    let (email, _) = world.email(mailbox, &[lead]);
    let input = ConvertLead {
        contact: Some(Becomes::New(NewContact {
            name: Some("Anna".into()),
            responsible_id: None,
        })),
        ..of(lead)
    };
    let made = convert(&world, &world.admin, input).await;
    assert_eq!(
        (
            made.deal_id,
            world.get(made.contact_id.unwrap()).title.as_str()
        ),
        (None, "Anna")
    );
    let links: Vec<i64> = world.rows(&format!(
        "SELECT item_id FROM email_links WHERE email_id = {}",
        email.0
    ));
    assert_eq!(links, [lead.0]);

    let plain = CreateItem {
        name: None,
        ..new_item(Lead)
    };
    let plain = items::create(&world.actions, &world.admin, plain, None, world.now())
        .await
        .unwrap();
    let made = convert(&world, &world.admin, of(plain)).await;
    assert_eq!(world.get(made.contact_id.unwrap()).title, "A title");
    assert_eq!(world.get(made.deal_id.unwrap()).title, "A title");
}
}

on_both_databases! {
async fn r36_converting_takes_update_on_the_lead_and_the_right_to_each_target(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let lead = lead_of(&world, owner).await;
    let (deal, contact) = (
        world.item(Deal, owner).await,
        world.item(Contact, owner).await,
    );
    let (read_all, update_all) = (
        [(Lead, Read, All), (Deal, Read, All), (Contact, Read, All)],
        [(Lead, Update, All)],
    );
    let user = async |name: &str, more: &[crate::actions::world::Line]| {
        let lines: Vec<_> = read_all.iter().chain(more).copied().collect();
        let id = world.user_with(name, &lines).await;
        world.viewer(id)
    };
    let none = world.user("Nora None", None, Some(vec![])).await;
    let none = world.viewer(none);
    let reader = user("Rita Reader", &[]).await;
    let converter = user("Carl Converter", &update_all).await;
    let own_maker = user(
        "Max Maker",
        &[update_all[0], (Deal, Create, Own), (Contact, Create, Own)],
    )
    .await;
    let new_deal = |responsible_id| {
        Some(Becomes::New(NewDeal {
            responsible_id,
            ..NewDeal::default()
        }))
    };
    let deal_only = |deal| ConvertLead { deal, ..of(lead) };
    let contact_only = |contact| ConvertLead {
        contact,
        ..of(lead)
    };
    let rows = [
        ("hidden", &none, of(lead), (Code::NotFound, "leadId")),
        ("a reader", &reader, of(lead), (Code::Forbidden, "leadId")),
        ("a deal", &world.admin, of(deal), (Code::NotFound, "leadId")),
        (
            "without create",
            &converter,
            deal_only(new_deal(None)),
            (Code::Forbidden, "deal.create"),
        ),
        (
            "for the lead's responsible",
            &own_maker,
            deal_only(new_deal(None)),
            (Code::Forbidden, "deal.create.responsibleId"),
        ),
        (
            "a contact for the lead's responsible",
            &own_maker,
            contact_only(Some(Becomes::New(NewContact::default()))),
            (Code::Forbidden, "contact.create.responsibleId"),
        ),
        (
            "without update on the deal",
            &converter,
            deal_only(Some(Becomes::Existing(deal))),
            (Code::Forbidden, "deal.existingId"),
        ),
        (
            "without update on the contact",
            &converter,
            contact_only(Some(Becomes::Existing(contact))),
            (Code::Forbidden, "contact.existingId"),
        ),
        (
            "an absent deal",
            &world.admin,
            deal_only(Some(Becomes::Existing(ItemId(-1)))),
            (Code::NotFound, "deal.existingId"),
        ),
        (
            "a contact as deal",
            &world.admin,
            deal_only(Some(Becomes::Existing(contact))),
            (Code::NotFound, "deal.existingId"),
        ),
        (
            "an old version",
            &world.admin,
            ConvertLead {
                expected_version: Some(7),
                ..of(lead)
            },
            (Code::Stale, "expectedVersion"),
        ),
        (
            "a bad amount",
            &world.admin,
            deal_only(Some(Becomes::New(NewDeal {
                amount: Some(Money {
                    amount: "x".into(),
                    currency: "EUR".into(),
                }),
                ..NewDeal::default()
            }))),
            (Code::BadInput, "deal.create.amount.amount"),
        ),
    ];
    for (what, viewer, input, expected) in rows {
        let done = convert_lead::convert(&world.actions, viewer, input, None, world.now());
        world.refused(what, expected, done).await;
    }
    let mine = Some(own_maker.user_id);
    let input = ConvertLead {
        deal: new_deal(mine),
        contact: Some(Becomes::New(NewContact {
            name: None,
            responsible_id: mine,
        })),
        ..of(lead)
    };
    convert(&world, &own_maker, input).await;
}
}
