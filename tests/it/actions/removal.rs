//! Emails that were saved by mistake, items that are deleted, contacts that are one person.

use crate::actions::world::{World, new_item};
use mailroom::actions::activities;
use mailroom::actions::convert_lead::{self, ConvertLead};
use mailroom::actions::delete_item::{self, DeleteItem};
use mailroom::actions::items::{self, CreateItem, UpdateItem};
use mailroom::actions::merge_contacts::{self, MergeContacts};
use mailroom::actions::relink;
use mailroom::actions::remove_email::{self, RemoveEmail};
use mailroom::actions::save_email::{self, Target};
use mailroom::actions::{ActionResult, change::Change};
use mailroom::model::activity::ActivityState::{Completed, Scheduled};
use mailroom::model::email::EmailOutcome;
use mailroom::model::item::ItemKind::{self, Contact, Deal, Lead};
use mailroom::model::people::PermissionAction::{Delete, Read, Update};
use mailroom::model::people::PermissionLevel::{All, Own};
use mailroom::model::people::Viewer;
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{EmailId, ItemId, LinkChangeId};
use mailroom::store;

const fn removal(email_id: EmailId) -> RemoveEmail {
    RemoveEmail {
        email_id,
        expected_version: None,
    }
}

async fn remove(world: &World, viewer: &Viewer, email: EmailId) -> ActionResult<EmailId> {
    remove_email::remove(&world.actions, viewer, removal(email), None, world.now()).await
}

const fn deletion(kind: ItemKind, id: ItemId) -> DeleteItem {
    DeleteItem {
        kind,
        id,
        expected_version: None,
    }
}

async fn delete(
    world: &World,
    viewer: &Viewer,
    kind: ItemKind,
    id: ItemId,
) -> ActionResult<ItemId> {
    delete_item::delete(
        &world.actions,
        viewer,
        deletion(kind, id),
        None,
        world.now(),
    )
    .await
}

fn email(world: &World, id: EmailId) -> mailroom::model::email::Email {
    world
        .store()
        .read_now(|conn| store::emails::get(conn, id))
        .unwrap()
        .unwrap()
}

fn links(world: &World, id: EmailId) -> Vec<ItemId> {
    world
        .store()
        .read_now(|conn| store::links::of_emails(conn, &[id]))
        .unwrap()
        .into_iter()
        .map(|link| link.item_id)
        .collect()
}

fn activity(world: &World, id: EmailId) -> mailroom::model::activity::Activity {
    let message = email(world, id).message_id;
    world
        .store()
        .read_now(|conn| store::activities::of_messages(conn, &[message]))
        .unwrap()
        .remove(0)
}

fn last_change(world: &World, id: EmailId) -> LinkChangeId {
    let changes = world
        .store()
        .read_now(|conn| store::links::changes(conn, id))
        .unwrap();
    changes.last().unwrap().id
}

on_both_databases! {
async fn r46_a_mail_saved_by_mistake_is_removed_and_can_be_saved_again(world) {
    let owner = world.user("Olaf Owner", None, None).await;
    let (deal, contact) = (world.item(Deal, owner).await, world.item(Contact, owner).await);
    let mailbox = world.mailbox(owner);
    let id = world.saved_email(mailbox, &[deal, contact]).await;
    let saved = email(&world, id);
    assert_eq!(activity(&world, id).state, Scheduled);
    remove(&world, &world.admin, id).await.unwrap();

    let removed = email(&world, id);
    assert_eq!((removed.outcome, removed.saved_at, removed.primary_item_id), (EmailOutcome::Removed, None, None));
    assert!(removed.version > saved.version);
    assert!(links(&world, id).is_empty());
    let closed = activity(&world, id);
    assert_eq!((closed.state, closed.completed_by), (Completed, Some(world.admin.user_id)));
    assert_eq!(world.told(deal).last().unwrap(), "EMAIL_UNLINKED");
    assert_eq!(world.told(contact).last().unwrap(), "EMAIL_UNLINKED");
    let logged: Vec<String> = world.rows("SELECT target FROM audit_log WHERE action = 'removeEmail'");
    assert_eq!(logged, [format!("email {}", id.0)]);
    world.refused("once more", (Code::NotSaved, "emailId"), remove(&world, &world.admin, id)).await;
    let undo = relink::undo(&world.actions, &world.admin, last_change(&world, id), None, world.now());
    world.refused("taken back", (Code::NotSaved, "changeId"), undo).await;

    // By hand again: the to-do begins anew, and the history says that it was linked.
    let target = Target::Item(deal);
    save_email::save(&world.actions, &world.admin, id, target, None, world.now()).await.unwrap();
    let again = email(&world, id);
    assert_eq!(again.outcome, EmailOutcome::Saved);
    assert!(again.saved_at > saved.saved_at);
    let open = activity(&world, id);
    assert_eq!((open.id, open.state, open.completed_at, open.responsible_id), (closed.id, Scheduled, None, owner));
    assert_eq!(Some(open.scheduled_at), again.saved_at);
    assert_eq!(world.told(deal), ["ITEM_CREATED", "EMAIL_RECEIVED", "EMAIL_UNLINKED", "EMAIL_LINKED"]);
}
}

on_both_databases! {
async fn r46_removing_takes_update_on_every_item(world) {
    let user = world.user_with("Una Updater", &[(Deal, Read, All), (Deal, Update, All), (Contact, Read, All), (Contact, Update, Own)]).await;
    let blind = world.user_with("Ben Blind", &[(Deal, Read, All), (Deal, Update, All)]).await;
    let admin = world.admin.user_id;
    let (deal, contact) = (world.item(Deal, admin).await, world.item(Contact, admin).await);
    let mailbox = world.mailbox(admin);
    let both = world.saved_email(mailbox, &[deal, contact]).await;
    let one = world.saved_email(mailbox, &[deal]).await;
    let (user, blind) = (world.viewer(user), world.viewer(blind));
    world.refused("no update on the contact", (Code::Forbidden, "emailId"), remove(&world, &user, both)).await;
    world.refused("hidden by the contact", (Code::NotFound, "emailId"), remove(&world, &blind, both)).await;
    world.refused("an absent one", (Code::NotFound, "emailId"), remove(&world, &user, EmailId(-1))).await;
    let version = email(&world, one).version;
    let stale = RemoveEmail { email_id: one, expected_version: Some(version - 1) };
    let stale = remove_email::remove(&world.actions, &user, stale, None, world.now());
    world.refused("an old version", (Code::Stale, "expectedVersion"), stale).await;
    let key = Some("k".to_owned());
    let input = RemoveEmail { email_id: one, expected_version: Some(version) };
    for _time in 0..2 {
        remove_email::remove(&world.actions, &user, input, key.clone(), world.now()).await.unwrap();
    }
    assert_eq!(email(&world, one).outcome, EmailOutcome::Removed);
}
}

on_both_databases! {
async fn r34_r46_an_email_leaves_a_deal_and_its_converted_lead_together(world) {
    let lead = world.item(Lead, world.admin.user_id).await;
    let mailbox = world.mailbox(world.admin.user_id);
    let id = world.saved_email(mailbox, &[lead]).await;
    let input = ConvertLead { lead_id: lead, expected_version: None, deal: None, contact: None };
    let made = convert_lead::convert(&world.actions, &world.admin, input, None, world.now()).await.unwrap();
    let deal = made.deal_id.unwrap();
    let torn = relink::unlink(&world.actions, &world.admin, id, deal, None, world.now());
    world.refused("unlinking one end", (Code::ConvertedLead, "fromItemId"), torn).await;
    remove(&world, &world.admin, id).await.unwrap();
    assert!(links(&world, id).is_empty());
}
}

on_both_databases! {
async fn r45_a_deleted_item_takes_its_emails_out_of_the_crm_unless_they_hang_elsewhere(world) {
    let (olaf, bob) = (world.user("Olaf Owner", None, None).await, world.user("Bob Boss", None, None).await);
    let (deal, contact) = (world.item(Deal, olaf).await, world.item(Contact, bob).await);
    let mailbox = world.mailbox(olaf);
    let alone = world.saved_email(mailbox, &[deal]).await;
    let both = world.saved_email(mailbox, &[deal, contact]).await;
    let history = last_change(&world, both);
    let first = world.store().read_now(|conn| store::links::changes(conn, both)).unwrap()[0].id;
    assert_eq!(activity(&world, both).responsible_id, olaf);
    delete(&world, &world.admin, Deal, deal).await.unwrap();

    let left: Vec<i64> = world.rows("SELECT id FROM items ORDER BY id");
    assert_eq!(left, [contact.0]);
    assert_eq!(email(&world, alone).outcome, EmailOutcome::Removed);
    assert_eq!(activity(&world, alone).state, Completed);
    let kept = email(&world, both);
    assert_eq!((kept.outcome, kept.primary_item_id), (EmailOutcome::Saved, Some(contact)));
    // R31: its responsible is its item's, today.
    let open = activity(&world, both);
    assert_eq!((open.state, open.responsible_id), (Scheduled, bob));
    let told: Vec<i64> = world.rows(&format!("SELECT position FROM timeline_entries WHERE item_id = {}", deal.0));
    assert!(told.is_empty());
    // The link to the contact can be taken back no more than before; what named the deal alone names nothing now, and
    // is not there for anybody.
    let undo = |change| relink::undo(&world.actions, &world.admin, change, None, world.now());
    world.refused("the deal's link", (Code::NotFound, "changeId"), undo(first)).await;
    world.refused("the last link", (Code::LastLink, "changeId"), undo(history)).await;
    let logged: Vec<String> = world.rows("SELECT detail FROM audit_log WHERE action = 'deleteDeal'");
    assert_eq!(logged, [r#"{"emails":2,"emailsRemoved":1}"#]);
}
}

on_both_databases! {
async fn r45_deleting_takes_the_right_to_it(world) {
    let user = world.user_with("Dora Deleter", &[(Deal, Read, All), (Deal, Delete, Own), (Lead, Delete, All)]).await;
    let mine = world.item(Deal, user).await;
    let (other, hidden) = (world.item(Deal, world.admin.user_id).await, world.item(Lead, world.admin.user_id).await);
    let viewer = world.viewer(user);
    let rows = [
        ("somebody else's", Deal, other, (Code::Forbidden, "dealId")),
        ("one that is hidden, though it may be deleted", Lead, hidden, (Code::NotFound, "leadId")),
        ("an absent one", Deal, ItemId(-1), (Code::NotFound, "dealId")),
        ("one of another kind", Contact, mine, (Code::NotFound, "contactId")),
    ];
    for (what, kind, id, expected) in rows {
        world.refused(what, expected, delete(&world, &viewer, kind, id)).await;
    }
    let stale = DeleteItem { expected_version: Some(9), ..deletion(Deal, mine) };
    let stale = delete_item::delete(&world.actions, &viewer, stale, None, world.now());
    world.refused("an old version", (Code::Stale, "expectedVersion"), stale).await;
    let input = DeleteItem { expected_version: Some(1), ..deletion(Deal, mine) };
    for _time in 0..2 {
        let key = Some("k".to_owned());
        delete_item::delete(&world.actions, &viewer, input, key, world.now()).await.unwrap();
    }
    world.refused("without the key", (Code::NotFound, "dealId"), delete(&world, &viewer, Deal, mine)).await;
}
}

on_both_databases! {
async fn r36_r45_a_conversion_outlives_what_it_made(world) {
    let convert = |lead_id| {
        let input = ConvertLead { lead_id, expected_version: None, deal: None, contact: None };
        convert_lead::convert(&world.actions, &world.admin, input, None, world.now())
    };
    let (first, second) = (world.item(Lead, world.admin.user_id).await, world.item(Lead, world.admin.user_id).await);
    let made = convert(first).await.unwrap();
    delete(&world, &world.admin, Deal, made.deal_id.unwrap()).await.unwrap();
    delete(&world, &world.admin, Contact, made.contact_id.unwrap()).await.unwrap();
    let found = world.store().read_now(|conn| store::items::conversions(conn, &[first])).unwrap();
    assert_eq!((found.len(), found[0].deal_id, found[0].contact_id), (1, None, None));
    world.refused("once more", (Code::AlreadyConverted, "leadId"), convert(first)).await;

    let made = convert(second).await.unwrap();
    let deal = made.deal_id.unwrap();
    let mailbox = world.mailbox(world.admin.user_id);
    let elsewhere = world.item(Deal, world.admin.user_id).await;
    let id = world.saved_email(mailbox, &[deal, second]).await;
    let moved = relink::relink(&world.actions, &world.admin, id, (deal, elsewhere), None, world.now());
    world.refused("while it hangs on the lead", (Code::ConvertedLead, "fromItemId"), moved).await;
    delete(&world, &world.admin, Lead, second).await.unwrap();
    assert_eq!(world.get(deal).origin_lead_id, None);
    relink::relink(&world.actions, &world.admin, id, (deal, elsewhere), None, world.now()).await.unwrap();
}
}

async fn person(
    world: &World,
    addresses: &[&str],
    phones: &[&str],
    company: Option<&str>,
) -> ItemId {
    let input = CreateItem {
        addresses: addresses.iter().map(|it| (*it).to_owned()).collect(),
        phones: phones.iter().map(|it| (*it).to_owned()).collect(),
        company: company.map(str::to_owned),
        ..new_item(Contact)
    };
    items::create(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap()
}

fn merging(contact_id: ItemId, merged: &[ItemId]) -> MergeContacts {
    MergeContacts {
        contact_id,
        merge_contact_ids: merged.to_vec(),
        expected_version: None,
    }
}

on_both_databases! {
async fn r45_contacts_that_are_one_person_become_one(world) {
    let admin = world.admin.user_id;
    let bob = world.user("Bob Boss", None, None).await;
    let into = person(&world, &["a@client.example"], &["1"], None).await;
    let from = person(&world, &["A@client.example", "b@client.example"], &["1", "2"], Some("Weber")).await;
    let third = person(&world, &["c@client.example"], &[], Some("Other")).await;
    let change = UpdateItem { responsible_id: Change::Set(bob), ..UpdateItem::of(Contact, from) };
    items::update(&world.actions, &world.admin, change, world.now()).await.unwrap();
    let deal = |contacts: &[ItemId]| {
        let input = CreateItem { contact_ids: contacts.to_vec(), ..new_item(Deal) };
        items::create(&world.actions, &world.admin, input, None, world.now())
    };
    let (shared, others) = (deal(&[from, into]).await.unwrap(), deal(&[from]).await.unwrap());
    let mailbox = world.mailbox(admin);
    let on_both = world.saved_email(mailbox, &[into, from]).await;
    let on_one = world.saved_email(mailbox, &[from, others]).await;
    let change = last_change(&world, on_one);
    let entries: Vec<i64> = world.rows(&format!("SELECT position FROM timeline_entries WHERE item_id IN ({}, {}, {}) ORDER BY position", into.0, from.0, third.0));
    assert_eq!(activity(&world, on_one).responsible_id, bob);

    let input = MergeContacts { expected_version: Some(1), ..merging(into, &[from, third]) };
    merge_contacts::merge(&world.actions, &world.admin, input, None, world.now()).await.unwrap();
    let left: Vec<i64> = world.rows("SELECT id FROM items WHERE kind = 'CONTACT'");
    assert_eq!(left, [into.0]);
    let row = world.get(into);
    assert_eq!((row.company.as_deref(), row.responsible_id, row.version), (Some("Weber"), admin, 2));
    let addresses: Vec<String> = world.rows(&format!("SELECT address FROM item_addresses WHERE item_id = {} ORDER BY position", into.0));
    assert_eq!(addresses, ["a@client.example", "b@client.example", "c@client.example"]);
    let phones: Vec<String> = world.rows(&format!("SELECT phone FROM item_phones WHERE item_id = {} ORDER BY position", into.0));
    assert_eq!(phones, ["1", "2"]);
    let ties: Vec<(i64, i64)> = world.rows("SELECT deal_id, contact_id FROM deal_contacts ORDER BY deal_id");
    assert_eq!(ties, [(shared.0, into.0), (others.0, into.0)]);
    assert_eq!(links(&world, on_both), [into]);
    assert_eq!(links(&world, on_one).first(), Some(&into), "still the primary one");
    assert_eq!(email(&world, on_one).primary_item_id, Some(into));
    assert_eq!(activity(&world, on_one).responsible_id, admin);
    // Positions stay, and nothing that was told is gone but the second word of one email.
    let now: Vec<i64> = world.rows(&format!("SELECT position FROM timeline_entries WHERE item_id = {} ORDER BY position", into.0));
    assert!(now.iter().all(|position| entries.contains(position)));
    let received: Vec<i64> = world.rows(&format!("SELECT position FROM timeline_entries WHERE item_id = {} AND kind = 'EMAIL_RECEIVED'", into.0));
    assert_eq!(received.len(), 2);
    let undo = relink::undo(&world.actions, &world.admin, change, None, world.now()).await;
    assert!(undo.is_ok(), "a change that names the deal alone is taken back");
    assert_eq!(links(&world, on_one), [into]);
}
}

on_both_databases! {
async fn r45_merging_takes_rights_on_all(world) {
    let lines = [(Contact, Read, All), (Contact, Update, All), (Contact, Delete, Own)];
    let user = world.user_with("Mia Merger", &lines).await;
    let blind = world.user_with("Ben Blind", &[(Contact, Read, Own), (Contact, Update, All), (Contact, Delete, All)]).await;
    let clerk = world.user_with("Carl Clerk", &[(Contact, Read, All), (Contact, Update, Own), (Contact, Delete, All)]).await;
    let (mine, theirs) = (world.item(Contact, user).await, world.item(Contact, world.admin.user_id).await);
    let (bens, carls) = (world.item(Contact, blind).await, world.item(Contact, clerk).await);
    let deal = world.item(Deal, user).await;
    let field = "mergeContactIds";
    let (user, blind, clerk, admin) = (world.viewer(user), world.viewer(blind), world.viewer(clerk), world.admin.clone());
    let rows: Vec<(&str, &Viewer, MergeContacts, (Code, &str))> = vec![
        ("one that can't be deleted", &user, merging(mine, &[theirs]), (Code::Forbidden, field)),
        ("one that is hidden", &blind, merging(bens, &[theirs]), (Code::NotFound, field)),
        ("into one that is hidden", &blind, merging(theirs, &[bens]), (Code::NotFound, "contactId")),
        ("one that can't be changed", &clerk, merging(carls, &[theirs]), (Code::Forbidden, field)),
        ("into one that can't be changed", &clerk, merging(theirs, &[carls]), (Code::Forbidden, "contactId")),
        ("a deal", &admin, merging(mine, &[deal]), (Code::NotFound, field)),
        ("itself", &admin, merging(mine, &[mine]), (Code::BadInput, field)),
        ("nobody", &admin, merging(mine, &[]), (Code::BadInput, field)),
        ("an old version", &admin, MergeContacts { expected_version: Some(7), ..merging(mine, &[theirs]) }, (Code::Stale, "expectedVersion")),
    ];
    for (what, viewer, input, expected) in rows {
        let done = merge_contacts::merge(&world.actions, viewer, input, None, world.now());
        world.refused(what, expected, done).await;
    }
    let many: Vec<String> = (0..49).map(|n| format!("a{n}@client.example")).collect();
    let texts: Vec<&str> = many.iter().map(String::as_str).collect();
    let (full, more) = (person(&world, &texts, &[], None).await, person(&world, &["x@client.example", "y@client.example"], &[], None).await);
    let done = merge_contacts::merge(&world.actions, &admin, merging(full, &[more]), None, world.now());
    world.refused("more addresses than a contact has", (Code::BadInput, field), done).await;
    let key = Some("k".to_owned());
    for _time in 0..2 {
        merge_contacts::merge(&world.actions, &user, merging(theirs, &[mine]), key.clone(), world.now()).await.unwrap();
    }
}
}

on_both_databases! {
async fn r31_a_new_responsible_gets_the_open_activities_of_the_item_alone(world) {
    let (olaf, bob) = (world.user("Olaf Owner", None, None).await, world.user("Bob Boss", None, None).await);
    let (deal, contact) = (world.item(Deal, olaf).await, world.item(Contact, olaf).await);
    let mailbox = world.mailbox(olaf);
    let primary = world.saved_email(mailbox, &[deal, contact]).await;
    let elsewhere = world.saved_email(mailbox, &[contact, deal]).await;
    let done = world.saved_email(mailbox, &[deal]).await;
    activities::complete(&world.actions, &world.admin, activity(&world, done).id, world.now()).await.unwrap();
    let hand_over = |to| UpdateItem { responsible_id: Change::Set(to), ..UpdateItem::of(Deal, deal) };
    items::update(&world.actions, &world.admin, hand_over(bob), world.now()).await.unwrap();
    assert_eq!(activity(&world, primary).responsible_id, bob);
    assert_eq!(activity(&world, elsewhere).responsible_id, olaf, "its primary item is the contact");
    assert_eq!(activity(&world, done).responsible_id, olaf, "it is completed");
    assert_eq!(world.told(deal).last().unwrap(), "RESPONSIBLE_CHANGED");
    // Reopened, it is its item's responsible's of that day.
    activities::reopen(&world.actions, &world.admin, activity(&world, done).id, world.now()).await.unwrap();
    assert_eq!(activity(&world, done).responsible_id, bob);
    world.deactivate(olaf).await;
    let back = items::update(&world.actions, &world.admin, hand_over(olaf), world.now());
    world.refused("to somebody who left", (Code::BadInput, "responsibleId"), back).await;
}
}

on_both_databases! {
async fn r33_the_deadline_is_six_by_the_responsible_s_clock_of_that_day(world) {
    use mailroom::actions::people::{self, UpdateUser};
    let user = world.user("Berta Berlin", None, None).await;
    let change = UpdateUser { time_zone: Change::Set("Europe/Berlin".into()), ..UpdateUser::of(user) };
    people::update_user(&world.actions, &world.admin, change, world.now()).await.unwrap();
    let deal = world.item(Deal, user).await;
    let mailbox = world.mailbox(world.admin.user_id);
    for (now, deadline) in [
        // A Friday; on the Sunday between, clocks are put forward, or back.
        ("2027-03-26T12:00:00Z", "2027-03-29T16:00:00Z"),
        ("2027-10-29T12:00:00Z", "2027-11-01T17:00:00Z"),
        ("2027-07-06T12:00:00Z", "2027-07-07T16:00:00Z"),
    ] {
        let id = world.unsaved_email(mailbox, "cleo@client.example");
        let at = mailroom::model::Time::parse_rfc3339(now).unwrap();
        save_email::save(&world.actions, &world.admin, id, Target::Item(deal), None, at).await.unwrap();
        let found = activity(&world, id).deadline.unwrap();
        assert_eq!(found.to_rfc3339(), deadline, "{now}");
    }
}
}

on_both_databases! {
async fn r34_expected_versions_of_emails_and_activities_are_held_to(world) {
    let (deal, other) = (world.item(Deal, world.admin.user_id).await, world.item(Deal, world.admin.user_id).await);
    let mailbox = world.mailbox(world.admin.user_id);
    let id = world.saved_email(mailbox, &[deal]).await;
    let version = email(&world, id).version;
    let seen = |expected| relink::SeenEmail { email_id: id, expected_version: Some(expected) };
    let stale = (Code::Stale, "expectedVersion");
    let (actions, admin) = (&world.actions, &world.admin);
    world.refused("relink", stale, relink::relink(actions, admin, seen(version - 1), (deal, other), None, world.now())).await;
    world.refused("link", stale, relink::link(actions, admin, seen(version - 1), other, None, world.now())).await;
    relink::link(actions, admin, seen(version), other, None, world.now()).await.unwrap();
    world.refused("unlink", stale, relink::unlink(actions, admin, seen(version), other, None, world.now())).await;
    world.refused("save", stale, save_email::save(actions, admin, seen(version), Target::Rules, None, world.now())).await;
    let open = activity(&world, id);
    let seen = |expected| activities::SeenActivity { activity_id: open.id, expected_version: Some(expected) };
    let later = world.now().plus_seconds(86_400);
    world.refused("complete", stale, activities::complete(actions, admin, seen(9), world.now())).await;
    world.refused("postpone", stale, activities::postpone(actions, admin, (seen(9), later), world.now())).await;
    activities::complete(actions, admin, seen(open.version), world.now()).await.unwrap();
    world.refused("reopen", stale, activities::reopen(actions, admin, seen(open.version), world.now())).await;
    let logged: Vec<String> = world.rows("SELECT action FROM audit_log WHERE action LIKE '%Email' ORDER BY id");
    assert_eq!(logged, ["saveEmail", "linkEmail"]);
}
}

/// Another mailbox's copy of an email, saved on these items.
fn copy_of(world: &World, id: EmailId, items: &[ItemId]) -> EmailId {
    use mailroom::store::email_writes::{self, NewEmail};
    let first = email(world, id);
    let mailbox = world.mailbox(world.admin.user_id);
    let now = world.now();
    let made: Result<EmailId, store::StoreError> = world.store().write_now(now, |tx| {
        let new = NewEmail {
            message_id: first.message_id,
            mailbox_id: mailbox,
            raw_hash: first.raw_hash.clone(),
            direction: first.direction,
            outcome: EmailOutcome::IntegrationOff,
            saved: None,
            from: None,
            subject: "Hello".into(),
            preview: String::new(),
            received_at: now,
            internal_date: now,
            automatic: None,
            problems: String::new(),
            participants: vec![],
            attachments: vec![],
        };
        let copy = EmailId(tx.id()?);
        email_writes::insert_later(tx, copy, new)?;
        tx.flush()?;
        email_writes::update_saved(tx, copy, items[0], first.direction)?;
        for (index, item) in items.iter().enumerate() {
            email_writes::insert_link(tx, (copy, *item), index == 0, now, None)?;
        }
        Ok(copy)
    });
    made.unwrap()
}

on_both_databases! {
async fn r7_r46_the_to_do_stays_open_for_another_mailbox_s_copy(world) {
    let (olaf, bob) = (
        world.user("Olaf Owner", None, None).await,
        world.user("Bob Boss", None, None).await,
    );
    let (deal, contact) = (world.item(Deal, olaf).await, world.item(Contact, bob).await);
    let mailbox = world.mailbox(world.admin.user_id);
    let first = world.saved_email(mailbox, &[deal, contact]).await;
    let copy = copy_of(&world, first, &[contact]);
    assert_eq!(activity(&world, first).responsible_id, olaf);
    remove(&world, &world.admin, first).await.unwrap();
    let open = activity(&world, copy);
    assert_eq!((open.state, open.responsible_id), (Scheduled, bob));
    // The contact told of the message by the email that went; it is told of the copy now. The deal is not.
    let told = world.told(contact);
    assert_eq!(told[told.len() - 2..], ["EMAIL_UNLINKED", "EMAIL_LINKED"]);
    assert_eq!(world.told(deal).last().unwrap(), "EMAIL_UNLINKED");
    remove(&world, &world.admin, copy).await.unwrap();
    assert_eq!(activity(&world, copy).state, Completed);
    // Either one begins it anew.
    save_email::save(&world.actions, &world.admin, first, Target::Item(deal), None, world.now())
        .await
        .unwrap();
    let again = activity(&world, first);
    assert_eq!((again.id, again.state, again.responsible_id), (open.id, Scheduled, olaf));
}
}

/// Done, or refused as it should be; the database never stands in the way.
fn settled<T>(what: &str, done: ActionResult<T>) {
    use mailroom::actions::ActionError;
    if let Err(ActionError::Store(error)) = done {
        panic!("{what}: {error}");
    }
}

async fn scramble(world: &World) {
    let admin = world.admin.user_id;
    let mailbox = world.mailbox(admin);
    for _round in 0..4 {
        let (here, there) = (world.item(Deal, admin).await, world.item(Deal, admin).await);
        let (into, from) = (
            world.item(Contact, admin).await,
            world.item(Contact, admin).await,
        );
        let mut ids = Vec::new();
        for _number in 0..4 {
            ids.push(world.saved_email(mailbox, &[here, from]).await);
        }
        let mut tasks = Vec::new();
        for id in ids {
            let (actions, admin) = (world.actions.clone(), world.admin.clone());
            let (first, second, third) = (world.now(), world.now(), world.now());
            tasks.push(tokio::spawn(async move {
                settled(
                    "relink",
                    relink::relink(&actions, &admin, id, (here, there), None, first).await,
                );
                settled(
                    "unlink",
                    relink::unlink(&actions, &admin, id, from, None, second).await,
                );
                settled(
                    "remove",
                    remove_email::remove(&actions, &admin, removal(id), None, third).await,
                );
            }));
        }
        let (actions, admin, now) = (world.actions.clone(), world.admin.clone(), world.now());
        tasks.push(tokio::spawn(async move {
            settled(
                "delete",
                delete_item::delete(&actions, &admin, deletion(Deal, here), None, now).await,
            );
        }));
        let (actions, admin, now) = (world.actions.clone(), world.admin.clone(), world.now());
        tasks.push(tokio::spawn(async move {
            settled(
                "merge",
                merge_contacts::merge(&actions, &admin, merging(into, &[from]), None, now).await,
            );
        }));
        for task in tasks {
            task.await.unwrap();
        }
    }
    let astray: Vec<i64> = world.rows(
        "SELECT e.id FROM emails e WHERE (e.outcome = 'SAVED') <> EXISTS (SELECT 1 FROM email_links l WHERE l.email_id = e.id) \
         OR (e.primary_item_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM email_links l WHERE l.email_id = e.id AND l.is_primary \
         AND l.item_id = e.primary_item_id)) OR (e.outcome = 'REMOVED' AND e.saved_at IS NOT NULL)",
    );
    assert!(astray.is_empty(), "{astray:?}");
    let left_open: Vec<i64> = world.rows(
        "SELECT a.id FROM activities a WHERE a.state = 'SCHEDULED' AND NOT EXISTS \
         (SELECT 1 FROM emails e WHERE e.message_id = a.message_id AND e.outcome = 'SAVED')",
    );
    assert!(left_open.is_empty(), "{left_open:?}");
    assert_eq!(
        world
            .store()
            .read_now(mailroom::actions::audit::first_broken)
            .unwrap(),
        None
    );
}

on_both_databases! {
async fn r45_items_that_go_while_others_move_their_emails_leave_nothing_astray(world) {
    scramble(&world).await;
}
}
