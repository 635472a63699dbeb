//! What administrators ask about rights, exports, counters, and fields that are hidden.

use crate::actions::world::{DEAL_NEW, World, new_item, new_role};
use mailroom::actions::activities;
use mailroom::actions::change::Change;
use mailroom::actions::convert_lead::{self, ConvertLead};
use mailroom::actions::explain_access::{self, Explanation, Subject};
use mailroom::actions::export_items::{self, Asked};
use mailroom::actions::fields::Money;
use mailroom::actions::items::{self, CreateItem, UpdateItem};
use mailroom::actions::roles::{self, CreateRole, PermissionLine, UpdateRole};
use mailroom::model::item::ItemKind::{self, Contact, Deal, Lead};
use mailroom::model::people::PermissionAction::{Create, Export, Read, Update};
use mailroom::model::people::PermissionLevel::{self, All, None as Nothing, OpenToEveryone, Own};
use mailroom::model::people::{RestrictedField, Viewer};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{EmailId, ItemId, StageId, UserId};
use mailroom::rules::access::MailboxGround;
use mailroom::rules::access::{self, Access, Grant, Surface};
use mailroom::store::items::ItemFilter;
use mailroom::store::page::PageRequest;
use mailroom::store::{self, emails};

async fn explain(world: &World, user: UserId, subject: Subject) -> Explanation {
    explain_access::explain(&world.actions, &world.admin, (user, subject), world.now())
        .await
        .unwrap()
}

on_both_databases! {
async fn r28_an_item_is_explained_by_role_level_stage_and_ground(world) {
    let line = |level, stage_id: Option<StageId>| PermissionLine { item: Deal, action: Read, level, stage_id };
    let make = |permissions| {
        let role = CreateRole { permissions, ..new_role("A role") };
        roles::create_role(&world.actions, &world.admin, role, None, world.now())
    };
    let narrow = make(vec![line(Own, None)]).await.unwrap();
    let staged = make(vec![line(Nothing, None), line(OpenToEveryone, Some(DEAL_NEW))]).await.unwrap();
    let user = world.user("Eve Employee", None, Some(vec![narrow, staged])).await;
    let mine = world.item(Deal, user).await;
    let theirs = world.item(Deal, world.admin.user_id).await;
    let input = CreateItem { open_to_everyone: true, ..new_item(Deal) };
    let open = items::create(&world.actions, &world.admin, input, None, world.now()).await.unwrap();
    let rows: [(&str, ItemId, Result<Grant, PermissionLevel>); 3] = [
        ("one's own", mine, Ok(Grant::Responsible)),
        ("somebody else's", theirs, Err(OpenToEveryone)),
        ("an open one", open, Ok(Grant::OpenToEveryone)),
    ];
    for (what, item, expected) in rows {
        let found = explain(&world, user, Subject::Item(item)).await;
        assert_eq!(found.is_visible, expected.is_ok(), "{what}");
        let read = found.items[0].actions[0];
        let access = match expected {
            Ok(grant) => Access::Granted(grant),
            Err(level) => Access::Refused(level),
        };
        assert_eq!(read.access, access, "{what}");
        let decided = read.line.unwrap();
        assert_eq!((decided.role_id, decided.stage_id), (staged, Some(DEAL_NEW)), "{what}");
        let update = found.items[0].actions[1];
        assert_eq!((update.action, update.access), (Update, Access::Refused(Nothing)), "{what}");
        assert!(!found.summary.is_empty());
    }
    let found = explain(&world, world.admin.user_id, Subject::Item(theirs)).await;
    assert!(found.items[0].actions.iter().all(|it| it.access == Access::Granted(Grant::Administrator)));

    let viewer = world.viewer(user);
    let ask = |viewer: &Viewer, user, subject| {
        let (actions, viewer) = (world.actions.clone(), viewer.clone());
        let now = world.now();
        async move { explain_access::explain(&actions, &viewer, (user, subject), now).await }
    };
    let about = Subject::Item(mine);
    world.refused("an employee, about themselves", (Code::Forbidden, ""), ask(&viewer, user, about)).await;
    world.refused("an absent user", (Code::NotFound, "userId"), ask(&world.admin, UserId(-1), about)).await;
    world.refused("an absent item", (Code::NotFound, "itemId"), ask(&world.admin, user, Subject::Item(ItemId(-1)))).await;
    world.refused("an absent email", (Code::NotFound, "emailId"), ask(&world.admin, user, Subject::Email(EmailId(-1)))).await;
    let logged: Vec<String> = world.rows("SELECT target FROM audit_log WHERE action = 'explainAccess' ORDER BY id");
    assert_eq!(logged.len(), 4, "asking is logged: {logged:?}");
    assert_eq!(logged[0], format!("deal {}", mine.0));
    world.deactivate(user).await;
    let found = explain(&world, user, Subject::Item(mine)).await;
    assert!(!found.is_visible && found.items.is_empty());
}
}

on_both_databases! {
async fn r28_an_email_is_explained_by_each_item_and_its_mailbox(world) {
    let user = world.user("Eve Employee", None, None).await;
    let (mine, theirs) = (world.item(Deal, user).await, world.item(Contact, world.admin.user_id).await);
    let of_admin = world.mailbox(world.admin.user_id);
    let hidden = world.saved_email(of_admin, &[mine, theirs]).await;
    let seen = world.saved_email(of_admin, &[mine]).await;
    let found = explain(&world, user, Subject::Email(hidden)).await;
    assert!(!found.is_visible);
    let decided: Vec<(ItemId, bool)> = found.items.iter().map(|it| (it.item_id, it.actions[0].access.is_granted())).collect();
    assert!(decided.contains(&(mine, true)) && decided.contains(&(theirs, false)), "{decided:?}");
    assert!(found.mailbox.unwrap().ground.is_none());
    assert!(explain(&world, user, Subject::Email(seen)).await.is_visible);
    let own = world.mailbox(user);
    let kept = world.unsaved_email(own, "cleo@client.example");
    let found = explain(&world, user, Subject::Email(kept)).await;
    assert!(found.is_visible && found.items.is_empty());
    assert_eq!(found.mailbox.unwrap().ground, Some(MailboxGround::Connector));
}
}

on_both_databases! {
async fn r21_mail_that_its_responsible_does_not_see_is_listed(world) {
    let user = world.user("Eve Employee", None, None).await;
    let left = world.user("Lea Left", None, None).await;
    let (mine, theirs) = (world.item(Deal, user).await, world.item(Contact, world.admin.user_id).await);
    let lefts = world.item(Deal, left).await;
    let mailbox = world.mailbox(world.admin.user_id);
    let seen = world.saved_email(mailbox, &[mine]).await;
    let hidden = world.saved_email(mailbox, &[mine, theirs]).await;
    let by_admin = world.saved_email(mailbox, &[theirs, mine]).await;
    let of_left = world.saved_email(mailbox, &[lefts]).await;
    world.deactivate(left).await;
    let listed = |limit, after| {
        let page = PageRequest { limit, backward: false, after, before: None };
        world.store().read_now(|conn| {
            let scope = access::emails(&world.admin, Surface::Crm);
            let mut answering = Vec::new();
            for user in emails::responsible_users(conn)? {
                let viewer = store::roles::load_viewer(conn, user)?;
                answering.push((user, viewer.map(|viewer| access::emails(&viewer, Surface::Crm))));
            }
            let page = emails::list_hidden_from_responsible(conn, &scope, &answering, &page)?;
            let count = emails::count_hidden_from_responsible(conn, &scope, &answering, 10)?;
            Ok((page, count))
        }).unwrap()
    };
    let (page, count) = listed(10, None);
    let ids: Vec<EmailId> = page.rows.iter().map(|(_key, email)| email.id).collect();
    assert_eq!(ids, [of_left, hidden], "neither {seen:?} nor {by_admin:?}");
    assert_eq!(count, (2, true));
    let (first, _count) = listed(1, None);
    assert!(first.has_next);
    let (second, _count) = listed(1, Some(first.rows[0].0.clone()));
    assert_eq!((second.rows[0].1.id, second.has_next), (hidden, false));
}
}

on_both_databases! {
async fn r33_counters_count_what_is_left_to_do_and_seen(world) {
    let user = world.user("Eve Employee", None, None).await;
    let (mine, theirs) = (world.item(Deal, user).await, world.item(Contact, world.admin.user_id).await);
    let mailbox = world.mailbox(world.admin.user_id);
    let first = world.saved_email(mailbox, &[mine]).await;
    world.saved_email(mailbox, &[mine]).await;
    world.saved_email(mailbox, &[mine, theirs]).await;
    world.saved_email(mailbox, &[theirs]).await;
    let counters = |user, now| {
        let scope = access::emails(&world.viewer(user), Surface::Crm);
        let found = world.store().read_now(|conn| store::activities::counters(conn, &scope, user, now)).unwrap();
        (found.incoming, found.overdue)
    };
    let later = |days: i64| world.now().plus_seconds(days * 86_400);
    assert_eq!(counters(user, world.now()), (2, 0), "the third is hidden by the contact");
    assert_eq!(counters(user, later(30)), (2, 2));
    assert_eq!(counters(world.admin.user_id, later(30)), (1, 1));
    let message = world.store().read_now(|conn| emails::get(conn, first)).unwrap().unwrap().message_id;
    let activity = world.store().read_now(|conn| store::activities::of_messages(conn, &[message])).unwrap()[0].id;
    activities::complete(&world.actions, &world.admin, activity, world.now()).await.unwrap();
    assert_eq!(counters(user, later(30)), (1, 1));
}
}

async fn ask(world: &World, viewer: &Viewer, kind: ItemKind, filter: ItemFilter) -> Asked {
    export_items::ask(&world.actions, viewer, (kind, filter), None, world.now())
        .await
        .unwrap()
}

async fn download(world: &World, user: UserId, asked: Asked) -> Option<String> {
    let now = world.now();
    let mut export = export_items::open(world.store(), (user, asked.id), now)
        .await
        .unwrap()?;
    let mut text = String::new();
    while let Some(part) = export.next().await.unwrap() {
        text.push_str(&part);
    }
    Some(text)
}

on_both_databases! {
async fn r23_an_export_holds_what_may_be_read_and_exported_at_that_moment(world) {
    let role = CreateRole {
        permissions: vec![
            PermissionLine { item: Deal, action: Read, level: OpenToEveryone, stage_id: None },
            PermissionLine { item: Deal, action: Export, level: All, stage_id: None },
            PermissionLine { item: Lead, action: Read, level: All, stage_id: None },
        ],
        ..new_role("Exporter")
    };
    let role = roles::create_role(&world.actions, &world.admin, role, None, world.now()).await.unwrap();
    let user = world.user("Eve Exporter", None, Some(vec![role])).await;
    let viewer = world.viewer(user);
    let make = |title: &str, open_to_everyone| {
        let amount = Some(Money { amount: "12.50".into(), currency: "EUR".into() });
        let input = CreateItem { title: Some(title.into()), amount, open_to_everyone, ..new_item(Deal) };
        items::create(&world.actions, &world.admin, input, None, world.now())
    };
    make("=HYPERLINK(\"x\")", true).await.unwrap();
    make("Hidden", false).await.unwrap();
    let other = make("Plain, \"quoted\"", true).await.unwrap();
    let asked = ask(&world, &viewer, Deal, ItemFilter::default()).await;
    let text = download(&world, user, asked).await.unwrap();
    let lines: Vec<&str> = text.split("\r\n").collect();
    assert_eq!(lines[0], "\u{feff}\"id\",\"title\",\"stage\",\"responsible\",\"isOpen\",\"openToEveryone\",\"createdAt\",\"lastActivityAt\",\"amount\",\"currency\",\"contacts\"");
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[1].contains("\"'=HYPERLINK(\"\"x\"\")\""), "{text}");
    assert!(lines[2].contains("\"Plain, \"\"quoted\"\"\",\"New\",\"Ada Admin\",\"true\",\"true\""), "{text}");
    assert!(lines[2].starts_with(&format!("\"{}\"", world.store().codec().seal_id("Deal", other.0))));
    assert!(!text.contains("Hidden"));

    // What may be read or seen by then counts, not what could be when it was asked for.
    let change = UpdateItem { open_to_everyone: Change::Set(false), ..UpdateItem::of(Deal, other) };
    items::update(&world.actions, &world.admin, change, world.now()).await.unwrap();
    assert!(!download(&world, user, asked).await.unwrap().contains("Plain"));
    assert!(download(&world, world.admin.user_id, asked).await.is_none(), "it is another's");
    let late = export_items::open(world.store(), (user, asked.id), asked.expires_at.plus_seconds(1)).await.unwrap();
    assert!(late.is_none());
    let refused = export_items::ask(&world.actions, &viewer, (Lead, ItemFilter::default()), None, world.now());
    world.refused("no right to export", (Code::Forbidden, ""), refused).await;
    let title = ItemFilter { text: Some("no such thing".into()), ..ItemFilter::default() };
    let none = ask(&world, &viewer, Deal, title).await;
    assert_eq!(download(&world, user, none).await.unwrap().matches("\r\n").count(), 1);
    world.deactivate(user).await;
    assert!(download(&world, user, asked).await.is_none());
    let logged: Vec<String> = world.rows("SELECT action FROM audit_log WHERE target = 'items' ORDER BY id");
    assert_eq!(logged, ["exportItems", "downloadExport", "downloadExport", "exportItems", "downloadExport"]);
}
}

on_both_databases! {
async fn r23_an_export_is_whole_over_many_pages(world) {
    let now = world.now();
    let admin = world.admin.user_id;
    let made: Result<(), store::StoreError> = world.store().write_now(now, |tx| {
        for number in 0..1_001 {
            let new = store::item_writes::NewItem::new(Lead, format!("Lead {number}"), admin);
            store::item_writes::insert(tx, new)?;
        }
        Ok(())
    });
    made.unwrap();
    let asked = ask(&world, &world.admin, Lead, ItemFilter::default()).await;
    let text = download(&world, admin, asked).await.unwrap();
    for number in [0, 499, 500, 999, 1_000] {
        assert_eq!(text.matches(&format!("\"Lead {number}\"")).count(), 1, "{number}");
    }
    assert_eq!(text.matches("\r\n").count(), 1_002);
}
}

on_both_databases! {
async fn r26_hidden_fields_stay_out_of_exports_filters_and_names(world) {
    let hidden = vec![RestrictedField::LeadAddresses, RestrictedField::ContactAddresses, RestrictedField::DealAmount, RestrictedField::ContactPhones];
    let mut permissions = Vec::new();
    for item in [Lead, Deal, Contact] {
        for action in [Read, Create, Update, Export] {
            permissions.push(PermissionLine { item, action, level: All, stage_id: None });
        }
    }
    let role = CreateRole { permissions: permissions.clone(), hidden_fields: hidden, ..new_role("Blind") };
    let role = roles::create_role(&world.actions, &world.admin, role, None, world.now()).await.unwrap();
    let user = world.user("Ben Blind", None, Some(vec![role])).await;
    let viewer = world.viewer(user);
    let address = "secret@client.example".to_owned();
    let make = |kind, amount| {
        let input = CreateItem {
            title: Some("A title".into()),
            name: (kind == Contact).then(|| "A name".into()),
            addresses: if kind == Deal { vec![] } else { vec![address.clone()] },
            phones: if kind == Contact { vec!["0815".into()] } else { vec![] },
            amount,
            ..CreateItem::of(kind)
        };
        items::create(&world.actions, &world.admin, input, None, world.now())
    };
    let lead = make(Lead, None).await.unwrap();
    make(Contact, None).await.unwrap();
    make(Deal, Some(Money { amount: "47.11".into(), currency: "EUR".into() })).await.unwrap();
    for (kind, column) in [(Lead, "addresses"), (Contact, "addresses"), (Contact, "phones"), (Deal, "amount"), (Deal, "currency")] {
        let asked = ask(&world, &viewer, kind, ItemFilter::default()).await;
        let text = download(&world, user, asked).await.unwrap();
        assert!(!text.contains(&format!("\"{column}\"")), "{text}");
        assert!(!text.contains("secret") && !text.contains("0815") && !text.contains("47.11"), "{text}");
        let asked = ask(&world, &world.admin, kind, ItemFilter::default()).await;
        let whole = download(&world, world.admin.user_id, asked).await.unwrap();
        assert!(whole.contains(&format!("\"{column}\"")), "{whole}");
    }
    // An address that is looked for is an answer too.
    let by_address = ItemFilter { address_key: Some(address.clone()), ..ItemFilter::default() };
    let asked = ask(&world, &viewer, Lead, by_address).await;
    assert!(download(&world, user, asked).await.is_none());
    // So is a contact that could be read when it was asked for.
    let contact = world.item(Contact, world.admin.user_id).await;
    let of_contact = ItemFilter { contact_id: Some(contact), ..ItemFilter::default() };
    let asked = ask(&world, &viewer, Deal, of_contact).await;
    assert!(download(&world, user, asked).await.is_some());
    let line = |item| PermissionLine { item, action: Export, level: All, stage_id: None };
    let change = UpdateRole { permissions: Change::Set(vec![line(Deal), line(Lead)]), ..update_of(role) };
    roles::update_role(&world.actions, &world.admin, change, world.now()).await.unwrap();
    assert!(download(&world, user, asked).await.is_none());
    let change = UpdateRole { permissions: Change::Set(permissions), ..update_of(role) };
    roles::update_role(&world.actions, &world.admin, change, world.now()).await.unwrap();
    let viewer = world.viewer(user);
    // So is a name that a contact gets of an address.
    let input = ConvertLead { lead_id: lead, expected_version: None, deal: None, contact: None };
    let made = convert_lead::convert(&world.actions, &viewer, input, None, world.now()).await.unwrap();
    assert_eq!(world.get(made.contact_id.unwrap()).title, "A title");
}
}

fn update_of(role_id: mailroom::model::RoleId) -> UpdateRole {
    UpdateRole {
        role_id,
        expected_version: None,
        name: Change::Keep,
        permissions: Change::Keep,
        hidden_fields: Change::Keep,
        may_change_crm_settings: Change::Keep,
    }
}
