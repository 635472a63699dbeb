//! Leads, deals and contacts by hand; notes.

use crate::actions::world::{
    DEAL_NEW, DEAL_WON, LEAD_CONVERTED, LEAD_IN_PROCESS, LEAD_JUNK, LEAD_NEW, World, everything,
    new_item, new_role,
};
use mailroom::actions::change::Change;
use mailroom::actions::fields::Money;
use mailroom::actions::items::{self, CreateItem, UpdateItem};
use mailroom::actions::notes;
use mailroom::actions::roles::{self, CreateRole, PermissionLine};
use mailroom::model::item::ItemKind::{self, Contact, Deal, Lead};
use mailroom::model::people::PermissionAction::{Create, Read, Update};
use mailroom::model::people::PermissionLevel::{self, All, OpenToEveryone, Own, OwnDepartment};
use mailroom::model::people::{RestrictedField, Viewer};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{ItemId, StageId, UserId};
use mailroom::store;

const ABSENT: ItemId = ItemId(-1);

fn euros(amount: &str) -> Money {
    Money {
        amount: amount.into(),
        currency: "EUR".into(),
    }
}

on_both_databases! {
async fn r23_making_an_item_takes_create_on_it_as_it_will_be(world) {
    let sales = world.department("Sales", None).await;
    let colleague = world.user("Carl Colleague", Some(sales), None).await;
    let stranger = world.user("Stan Stranger", None, None).await;
    // (level, open to everyone, for herself, for a colleague, for a stranger)
    let rows = [
        (PermissionLevel::None, false, false, false, false),
        (Own, false, true, false, false),
        (OwnDepartment, false, true, true, false),
        (OwnDepartment, true, true, true, false),
        (OpenToEveryone, true, true, true, true),
        (OpenToEveryone, false, true, true, false),
        (All, false, true, true, true),
    ];
    for (number, (level, open_to_everyone, herself, by_colleague, by_stranger)) in
        rows.into_iter().enumerate()
    {
        let lines = [(Deal, Create, level)];
        let role = world.role(&lines).await;
        let id = world
            .user(&format!("Eve {number}"), Some(sales), Some(vec![role]))
            .await;
        let eve = world.viewer(id);
        for (whose, allowed) in [
            (None, herself),
            (Some(colleague), by_colleague),
            (Some(stranger), by_stranger),
        ] {
            let what = format!("{level:?}, open {open_to_everyone}, for {whose:?}");
            let input = CreateItem {
                responsible_id: whose,
                open_to_everyone,
                ..new_item(Deal)
            };
            let done = items::create(&world.actions, &eve, input, None, world.now());
            if allowed {
                let deal = world.get(done.await.expect(&what));
                assert_eq!(
                    (deal.responsible_id, deal.stage_id, deal.is_open),
                    (whose.unwrap_or(id), Some(DEAL_NEW), true)
                );
                assert_eq!(world.told(deal.id), ["ITEM_CREATED"], "{what}");
            } else {
                let field = if herself { "responsibleId" } else { "" };
                world.refused(&what, (Code::Forbidden, field), done).await;
            }
        }
    }
}
}

on_both_databases! {
async fn items_are_made_with_what_their_kind_has(world) {
    let make = |input| items::create(&world.actions, &world.admin, input, None, world.now());
    let addresses = [
        "Anna.Weber@Example.org",
        "<anna@b.example>",
        "ANNA.WEBER@example.org",
    ];
    let contact = CreateItem {
        addresses: addresses.map(str::to_owned).to_vec(),
        phones: vec!["+49 30 1234".into()],
        company: Some("Weber".into()),
        ..new_item(Contact)
    };
    let contact = make(contact).await.unwrap();
    let row = world.get(contact);
    assert_eq!(
        (
            row.title.as_str(),
            row.name.as_deref(),
            row.is_open,
            row.stage_id
        ),
        ("A name", Some("A name"), true, None)
    );
    let found: Vec<(String, String)> =
        world.rows("SELECT address, address_key FROM item_addresses ORDER BY position");
    assert_eq!(
        found,
        [
            (
                "Anna.Weber@Example.org".to_owned(),
                "anna.weber@example.org".to_owned()
            ),
            ("anna@b.example".to_owned(), "anna@b.example".to_owned()),
        ]
    );
    let deal = CreateItem {
        amount: Some(euros("007.50")),
        stage_id: Some(DEAL_WON),
        contact_ids: vec![contact, contact],
        ..new_item(Deal)
    };
    let deal = world.get(make(deal).await.unwrap());
    assert_eq!(
        (deal.amount, deal.is_open),
        (Some(("7.50".into(), "EUR".into())), false)
    );
    let lead = world.get(make(new_item(Lead)).await.unwrap());
    assert_eq!((lead.stage_id, lead.is_open), (Some(LEAD_NEW), true));

    let rows = [
        (
            "no title",
            CreateItem {
                title: None,
                ..new_item(Lead)
            },
            (Code::BadInput, "title"),
        ),
        (
            "a long title",
            CreateItem {
                title: Some("x".repeat(501)),
                ..new_item(Lead)
            },
            (Code::BadInput, "title"),
        ),
        (
            "no name",
            CreateItem {
                name: Some(" ".into()),
                ..new_item(Contact)
            },
            (Code::BadInput, "name"),
        ),
        (
            "no address",
            CreateItem {
                addresses: vec!["anna".into()],
                ..new_item(Contact)
            },
            (Code::BadInput, "addresses"),
        ),
        (
            "too many addresses",
            CreateItem {
                addresses: (0..51).map(|n| format!("a{n}@b.example")).collect(),
                ..new_item(Lead)
            },
            (Code::BadInput, "addresses"),
        ),
        (
            "no phone",
            CreateItem {
                phones: vec!["none".into()],
                ..new_item(Contact)
            },
            (Code::BadInput, "phones"),
        ),
        (
            "no amount",
            CreateItem {
                amount: Some(euros("1,5")),
                ..new_item(Deal)
            },
            (Code::BadInput, "amount.amount"),
        ),
        (
            "a debt",
            CreateItem {
                amount: Some(euros("-1")),
                ..new_item(Deal)
            },
            (Code::BadInput, "amount.amount"),
        ),
        (
            "no currency",
            CreateItem {
                amount: Some(Money {
                    currency: "eur".into(),
                    ..euros("1")
                }),
                ..new_item(Deal)
            },
            (Code::BadInput, "amount.currency"),
        ),
        (
            "a lead's stage",
            CreateItem {
                stage_id: Some(LEAD_NEW),
                ..new_item(Deal)
            },
            (Code::BadInput, "stageId"),
        ),
        (
            "an absent stage",
            CreateItem {
                stage_id: Some(StageId(-1)),
                ..new_item(Deal)
            },
            (Code::NotFound, "stageId"),
        ),
        (
            "an absent contact",
            CreateItem {
                contact_ids: vec![ABSENT],
                ..new_item(Deal)
            },
            (Code::NotFound, "contactIds"),
        ),
        (
            "a lead as contact",
            CreateItem {
                contact_ids: vec![lead.id],
                ..new_item(Deal)
            },
            (Code::NotFound, "contactIds"),
        ),
        (
            "an absent responsible",
            CreateItem {
                responsible_id: Some(UserId(-1)),
                ..new_item(Deal)
            },
            (Code::NotFound, "responsibleId"),
        ),
    ];
    for (what, input, expected) in rows {
        world.refused(what, expected, make(input)).await;
    }
}
}

fn of(world: &World, id: ItemId) -> UpdateItem {
    UpdateItem::of(world.get(id).kind, id)
}

on_both_databases! {
async fn r23_r27_changing_takes_update_and_what_is_hidden_is_absent(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    for kind in [Lead, Deal, Contact] {
        let item = world.item(kind, owner).await;
        let field = match kind {
            Lead => "leadId",
            Deal => "dealId",
            Contact => "contactId",
        };
        let change = |id| UpdateItem {
            name: Change::Set("New".into()),
            ..UpdateItem::of(kind, id)
        };
        let update = |viewer: Viewer, id| {
            let (actions, now) = (world.actions.clone(), world.now());
            async move { items::update(&actions, &viewer, change(id), now).await }
        };
        let reader = world
            .user_with(&format!("R {kind:?}"), &[(kind, Read, All)])
            .await;
        let writer = world
            .user_with(
                &format!("W {kind:?}"),
                &[(kind, Read, All), (kind, Update, All)],
            )
            .await;
        let blind = world
            .user_with(&format!("B {kind:?}"), &[(kind, Update, All)])
            .await;
        let none = world
            .user_with(&format!("N {kind:?}"), &everything(PermissionLevel::None))
            .await;
        update(world.viewer(owner), item).await.unwrap();
        update(world.viewer(writer), item).await.unwrap();
        assert_eq!(world.get(item).version, 3);
        let rows = [
            (
                "seen, but not to change",
                reader,
                item,
                (Code::Forbidden, field),
            ),
            ("hidden", none, item, (Code::NotFound, field)),
            (
                "hidden, though to change",
                blind,
                item,
                (Code::NotFound, field),
            ),
            ("absent", none, ABSENT, (Code::NotFound, field)),
        ];
        for (what, user, id, expected) in rows {
            world
                .refused(what, expected, update(world.viewer(user), id))
                .await;
        }
        let other_kind = if kind == Lead { Deal } else { Lead };
        let id_field = if kind == Lead { "dealId" } else { "leadId" };
        let done = items::update(
            &world.actions,
            &world.admin,
            UpdateItem::of(other_kind, item),
            world.now(),
        );
        world
            .refused("of another kind", (Code::NotFound, id_field), done)
            .await;
    }
}
}

on_both_databases! {
async fn r31_a_new_responsible_gets_the_open_activities_of_the_primary_item(world) {
    let (old, new) = (
        world.user("Olga Old", None, None).await,
        world.user("Nils New", None, None).await,
    );
    let deal = world.item(Deal, old).await;
    let other = world.item(Deal, old).await;
    let mailbox = world.mailbox(old);
    let (_, open) = world.email(mailbox, &[deal]);
    let (_, done) = world.email(mailbox, &[deal]);
    let (_, elsewhere) = world.email(mailbox, &[other, deal]);
    mailroom::actions::activities::complete(&world.actions, &world.admin, done, world.now())
        .await
        .unwrap();

    // "Own" may give away what it has, and has it no longer.
    let change = UpdateItem {
        responsible_id: Change::Set(new),
        ..of(&world, deal)
    };
    items::update(
        &world.actions,
        &world.viewer(old),
        change.clone(),
        world.now(),
    )
    .await
    .unwrap();
    let responsible = |id: mailroom::model::ActivityId| {
        world
            .store()
            .read_now(|conn| store::activities::get(conn, id))
            .unwrap()
            .unwrap()
            .responsible_id
    };
    assert_eq!(
        (responsible(open), responsible(done), responsible(elsewhere)),
        (new, old, old)
    );
    assert_eq!(world.told(deal).last().unwrap(), "RESPONSIBLE_CHANGED");
    let before: Vec<String> = world.rows(&format!(
        "SELECT before_json FROM timeline_changes WHERE item_id = {}",
        deal.0
    ));
    assert!(
        before
            .last()
            .unwrap()
            .contains(&format!("\"responsible_id\":{}", old.0))
    );
    let viewer = world.viewer(old);
    let again = items::update(&world.actions, &viewer, change, world.now());
    world
        .refused("given away", (Code::NotFound, "dealId"), again)
        .await;

    world.deactivate(old).await;
    let rows = [
        (
            "a deactivated user",
            Change::Set(old),
            (Code::BadInput, "responsibleId"),
        ),
        (
            "an absent user",
            Change::Set(UserId(-1)),
            (Code::NotFound, "responsibleId"),
        ),
        ("nobody", Change::Clear, (Code::BadInput, "responsibleId")),
    ];
    for (what, responsible_id, expected) in rows {
        let change = UpdateItem {
            responsible_id,
            ..of(&world, deal)
        };
        let done = items::update(&world.actions, &world.admin, change, world.now());
        world.refused(what, expected, done).await;
    }
}
}

on_both_databases! {
async fn r37_stage_changes_are_told_and_close_or_open_the_item(world) {
    let lead = world.item(Lead, world.admin.user_id).await;
    let to = |stage_id| UpdateItem {
        stage_id,
        ..of(&world, lead)
    };
    let update = |change| items::update(&world.actions, &world.admin, change, world.now());
    for (stage, is_open) in [
        (LEAD_IN_PROCESS, true),
        (LEAD_JUNK, false),
        (LEAD_JUNK, false),
        (LEAD_NEW, true),
    ] {
        update(to(Change::Set(stage))).await.unwrap();
        let row = world.get(lead);
        assert_eq!((row.stage_id, row.is_open), (Some(stage), is_open));
    }
    assert_eq!(
        world.told(lead),
        [
            "ITEM_CREATED",
            "STAGE_CHANGED",
            "STAGE_CHANGED",
            "STAGE_CHANGED"
        ]
    );
    let rows = [
        (
            "converted by hand",
            to(Change::Set(LEAD_CONVERTED)),
            (Code::BadInput, "stageId"),
        ),
        (
            "a deal's",
            to(Change::Set(DEAL_NEW)),
            (Code::BadInput, "stageId"),
        ),
        ("none", to(Change::Clear), (Code::BadInput, "stageId")),
        (
            "an old version",
            UpdateItem {
                expected_version: Some(1),
                ..to(Change::Keep)
            },
            (Code::Stale, "expectedVersion"),
        ),
    ];
    for (what, change, expected) in rows {
        world.refused(what, expected, update(change)).await;
    }
}
}

on_both_databases! {
async fn r23_nobody_moves_an_item_into_a_stage_that_they_may_not_change(world) {
    let line = |action, level, stage_id| PermissionLine {
        item: Deal,
        action,
        level,
        stage_id,
    };
    let input = CreateRole {
        permissions: vec![
            line(Read, All, None),
            line(Update, All, None),
            line(Update, PermissionLevel::None, Some(DEAL_WON)),
        ],
        ..new_role("Not the won ones")
    };
    let role = roles::create_role(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let user = world.user("Eve Employee", None, Some(vec![role])).await;
    let eve = world.viewer(user);
    let deal = world.item(Deal, user).await;
    let change = UpdateItem {
        stage_id: Change::Set(DEAL_WON),
        ..of(&world, deal)
    };
    let done = items::update(&world.actions, &eve, change.clone(), world.now());
    world
        .refused("into it", (Code::Forbidden, "stageId"), done)
        .await;
    items::update(&world.actions, &world.admin, change, world.now())
        .await
        .unwrap();
    let back = UpdateItem {
        stage_id: Change::Set(DEAL_NEW),
        ..of(&world, deal)
    };
    let done = items::update(&world.actions, &eve, back, world.now());
    world
        .refused("out of it", (Code::Forbidden, "dealId"), done)
        .await;
}
}

on_both_databases! {
async fn r26_nobody_writes_a_field_that_is_hidden_from_them(world) {
    let input = CreateRole {
        permissions: [Lead, Deal, Contact]
            .iter()
            .flat_map(|&item| {
                [Read, Create, Update].map(|action| PermissionLine {
                    item,
                    action,
                    level: All,
                    stage_id: None,
                })
            })
            .collect(),
        hidden_fields: RestrictedField::ALL.to_vec(),
        ..new_role("Blind")
    };
    let role = roles::create_role(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let blind = world.user("Bea Blind", None, Some(vec![role])).await;
    let blind = world.viewer(blind);
    let (lead, deal, contact) = (
        world.item(Lead, blind.user_id).await,
        world.item(Deal, blind.user_id).await,
        world.item(Contact, blind.user_id).await,
    );
    let address = || vec!["a@b.example".to_owned()];
    let phone = || vec!["1".to_owned()];
    let updates = [
        (
            "addresses",
            UpdateItem {
                addresses: Change::Set(address()),
                ..of(&world, lead)
            },
        ),
        (
            "addresses",
            UpdateItem {
                addresses: Change::Clear,
                ..of(&world, lead)
            },
        ),
        (
            "amount",
            UpdateItem {
                amount: Change::Set(euros("1")),
                ..of(&world, deal)
            },
        ),
        (
            "addresses",
            UpdateItem {
                addresses: Change::Set(vec![]),
                ..of(&world, contact)
            },
        ),
        (
            "phones",
            UpdateItem {
                phones: Change::Set(phone()),
                ..of(&world, contact)
            },
        ),
    ];
    for (field, change) in updates {
        let done = items::update(&world.actions, &blind, change, world.now());
        world.refused(field, (Code::Forbidden, field), done).await;
    }
    let creates = [
        (
            "addresses",
            CreateItem {
                addresses: address(),
                ..new_item(Lead)
            },
        ),
        (
            "amount",
            CreateItem {
                amount: Some(euros("1")),
                ..new_item(Deal)
            },
        ),
        (
            "addresses",
            CreateItem {
                addresses: address(),
                ..new_item(Contact)
            },
        ),
        (
            "phones",
            CreateItem {
                phones: phone(),
                ..new_item(Contact)
            },
        ),
    ];
    for (field, input) in creates {
        let done = items::create(&world.actions, &blind, input, None, world.now());
        world.refused(field, (Code::Forbidden, field), done).await;
    }
    let change = UpdateItem {
        title: Change::Set("Seen".into()),
        ..of(&world, deal)
    };
    items::update(&world.actions, &blind, change, world.now())
        .await
        .unwrap();
}
}

on_both_databases! {
async fn lists_replace_and_what_is_hidden_stays(world) {
    let user = world.user("Eve Employee", None, None).await;
    let eve = world.viewer(user);
    let mine = world.item(Contact, user).await;
    let another = world.item(Contact, user).await;
    let hidden = world.item(Contact, world.admin.user_id).await;
    let input = CreateItem {
        responsible_id: Some(user),
        contact_ids: vec![hidden, mine],
        ..new_item(Deal)
    };
    let deal = items::create(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let contacts = |world: &World| -> Vec<i64> {
        world.rows(&format!(
            "SELECT contact_id FROM deal_contacts WHERE deal_id = {} ORDER BY position",
            deal.0
        ))
    };
    let change = UpdateItem {
        contact_ids: Change::Set(vec![another]),
        ..of(&world, deal)
    };
    items::update(&world.actions, &eve, change, world.now())
        .await
        .unwrap();
    assert_eq!(contacts(&world), [another.0, hidden.0]);
    let change = UpdateItem {
        contact_ids: Change::Clear,
        ..of(&world, deal)
    };
    items::update(&world.actions, &eve, change, world.now())
        .await
        .unwrap();
    assert_eq!(contacts(&world), [hidden.0]);
    let change = UpdateItem {
        contact_ids: Change::Set(vec![hidden]),
        ..of(&world, deal)
    };
    let done = items::update(&world.actions, &eve, change, world.now());
    world
        .refused("a hidden contact", (Code::NotFound, "contactIds"), done)
        .await;

    let set = |texts: &[&str]| Change::Set(texts.iter().map(|text| (*text).to_owned()).collect());
    let update = |addresses| {
        items::update(
            &world.actions,
            &eve,
            UpdateItem {
                addresses,
                ..UpdateItem::of(Contact, mine)
            },
            world.now(),
        )
    };
    update(set(&["a@b.example", "c@d.example"])).await.unwrap();
    world.store().write_now::<_, store::StoreError>(world.now(), |tx| {
        store::sql::sql("UPDATE item_addresses SET is_undeliverable = TRUE WHERE address_key = 'a@b.example'").run(tx.conn)
    }).unwrap();
    update(set(&["e@f.example", "A@b.example"])).await.unwrap();
    let rows: Vec<(String, bool)> =
        world.rows("SELECT address, is_undeliverable FROM item_addresses ORDER BY position");
    assert_eq!(
        rows,
        [
            ("e@f.example".to_owned(), false),
            ("A@b.example".to_owned(), true)
        ]
    );
}
}

on_both_databases! {
async fn r37_notes_are_written_by_whoever_may_change_the_item(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let reader = world
        .user_with("Rita Reader", &[(ItemKind::Deal, Read, All)])
        .await;
    let stranger = world.user("Stan Stranger", None, None).await;
    let deal = world.item(Deal, owner).await;
    let add = |user, id, text: &str| {
        let (actions, viewer, now, text) = (
            world.actions.clone(),
            world.viewer(user),
            world.now(),
            text.to_owned(),
        );
        async move { notes::add(&actions, &viewer, (id, text), None, now).await }
    };
    let first = add(owner, deal, " Called.\r\nCalls back. ").await.unwrap();
    let second = add(owner, deal, "Again").await.unwrap();
    assert!(second > first);
    let notes: Vec<(i64, String)> = world.rows(
        "SELECT position, note FROM timeline_entries WHERE note IS NOT NULL ORDER BY position",
    );
    assert_eq!(
        notes,
        [
            (first.0, "Called.\nCalls back.".to_owned()),
            (second.0, "Again".to_owned())
        ]
    );
    let rows = [
        ("a reader", reader, deal, "x", (Code::Forbidden, "itemId")),
        (
            "a stranger",
            stranger,
            deal,
            "x",
            (Code::NotFound, "itemId"),
        ),
        (
            "an absent item",
            owner,
            ABSENT,
            "x",
            (Code::NotFound, "itemId"),
        ),
        ("no text", owner, deal, " \n ", (Code::BadInput, "text")),
        ("a bell", owner, deal, "a\u{7}b", (Code::BadInput, "text")),
    ];
    for (what, user, id, text, expected) in rows {
        world.refused(what, expected, add(user, id, text)).await;
    }
}
}

on_both_databases! {
async fn r45_an_update_under_a_key_is_made_once(world) {
    let deal = world.item(ItemKind::Deal, world.admin.user_id).await;
    let change = UpdateItem {
        title: Change::Set("Once".into()),
        expected_version: Some(1),
        idempotency_key: Some("k".into()),
        ..UpdateItem::of(ItemKind::Deal, deal)
    };
    for _time in 0..2 {
        items::update(&world.actions, &world.admin, change.clone(), world.now())
            .await
            .unwrap();
    }
    assert_eq!(world.get(deal).version, 2);
    let other = UpdateItem {
        title: Change::Set("Another".into()),
        ..change
    };
    let refused = items::update(&world.actions, &world.admin, other, world.now());
    let reused = (Code::IdempotencyKeyReused, "idempotencyKey");
    world.refused("another input", reused, refused).await;
}
}
