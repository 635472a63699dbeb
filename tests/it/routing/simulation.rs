//! What would have become of the mail under other settings (R20), with nothing written.

use super::generate::{self, Event, Lies};
use super::office::{NEW, NINE, Office, Postbox, answering, mail, with};
use super::replay::is_long;
use crate::actions::world::everything;
use crate::support::app::On;
use async_graphql::{Request, Variables};
use mailroom::actions::ActionError;
use mailroom::actions::change::Change;
use mailroom::actions::crm_settings::UpdateCrmSettings;
use mailroom::actions::mailbox_settings::SettingsChange;
use mailroom::actions::simulate_routing::{Lists, Simulate, SimulatedMail, Simulation, simulate};
use mailroom::auth::accounts::Accounts;
use mailroom::auth::keys::Keys;
use mailroom::bus::Bus;
use mailroom::graphql::api::Caller;
use mailroom::graphql::{Services, schema};
use mailroom::live::{Hub, Live};
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::Lead;
use mailroom::model::mailbox::{CreatedItem, ExistingClientRouting};
use mailroom::model::people::{PermissionLevel, Session};
use mailroom::model::refusal::ErrorCode;
use mailroom::model::{EmailId, UserId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const ANN: &str = "ann@client.example";
const US: &str = "sales@us.example";

fn wish(postbox: &Postbox) -> Simulate {
    Simulate {
        mailbox: postbox.id,
        since: None,
        before: None,
        settings: SettingsChange::default(),
        crm: UpdateCrmSettings::default(),
        lists: Lists::Everything,
        skip: 0,
        limit: usize::MAX,
    }
}

fn run(office: &Office, user: UserId, wish: Simulate) -> Simulation {
    let before = office.dump();
    let found = office
        .act(simulate(&office.actions, &office.viewer(user), wish))
        .unwrap();
    assert!(before == office.dump(), "a simulation wrote");
    found
}

/// Asks the schema as this user.
fn ask(office: &Office, user: UserId, query: &str, variables: Value) -> Value {
    office.act(async {
        let keys = Keys::load_or_make(&office.folder().join("mailroom.key")).unwrap();
        let store = office.store().clone();
        let services = Services {
            store: store.clone(),
            actions: office.actions.clone(),
            accounts: Arc::new(Accounts::new(store.clone(), &keys, "http://127.0.0.1")),
            live: Live::new(store.clone(), Hub::start(&Bus::memory())),
            mail: mailroom::actions::read_mail::MailReader::new(store, office.raw.clone()),
            file_urls: Arc::new(|_file| None),
            public_url: "http://127.0.0.1".into(),
            clock: mailroom::clock::now,
        };
        let session = Session {
            viewer: Arc::new(office.viewer(user)),
            expires_at: None,
        };
        let request = Request::new(query)
            .variables(Variables::from_json(variables))
            .data(Caller(Some(session)));
        serde_json::to_value(schema(services).execute(request).await).unwrap()
    })
}

on_each! {
    fn r20_a_simulation_shows_what_would_differ_and_takes_turns_in_memory(office) {
        let (uma, vic) = (office.employee("Uma"), office.employee("Vic"));
        let sales = office.postbox(US, uma, |settings| {
            settings.queue = vec![uma, vic];
            settings.existing_client_routing = ExistingClientRouting::AlwaysNew;
        });
        let ids: Vec<EmailId> = [(ANN, "a1"), (ANN, "a2"), ("bob@x.example", "b1"), (ANN, "a3"), ("cat@x.example", "c1")]
            .iter()
            .map(|(from, id)| office.receive(&sales, &mail(from, US, id, id)))
            .collect();
        assert_eq!(office.count(Lead), 5);
        let settings = SettingsChange {
            existing_client_routing: Change::Set(ExistingClientRouting::AttachAlways),
            ..SettingsChange::default()
        };
        let found = run(&office, uma, Simulate { settings, ..wish(&sales) });
        assert_eq!((found.judged, found.is_complete), (5, true));
        let lead = |id: EmailId| office.item_of(id);
        let would: Vec<_> = found
            .mails
            .iter()
            .map(|mail| (mail.email_id, mail.would.items[0].id, mail.would.responsible_id.unwrap(), mail.differs))
            .collect();
        // Ann's later mails join her first lead, so the turns of the others move up.
        let expected = [
            (ids[0], lead(ids[0]), uma, false),
            (ids[1], lead(ids[0]), uma, true),
            (ids[2], lead(ids[2]), vic, true),
            (ids[3], lead(ids[0]), uma, true),
            (ids[4], lead(ids[4]), uma, false),
        ];
        assert_eq!(would, expected);
        assert_eq!(found.differing, 3);
        assert_eq!(found.mails[1].was.items[0].id, lead(ids[1]));
        assert_eq!(found.mails[1].would.trace.reason, "it joins the client's open lead");
        // Only differences, page by page.
        let page = |skip| {
            let settings = SettingsChange {
                existing_client_routing: Change::Set(ExistingClientRouting::AttachAlways),
                ..SettingsChange::default()
            };
            run(&office, uma, Simulate { settings, lists: Lists::Differences, skip, limit: 2, ..wish(&sales) })
        };
        let pages = [page(0), page(2)];
        let listed: Vec<EmailId> = pages.iter().flat_map(|page| &page.mails).map(|mail| mail.email_id).collect();
        assert_eq!(listed, [ids[1], ids[2], ids[3]]);
        assert_eq!((pages[0].has_more, pages[1].has_more), (true, false));
    }

    fn r20_mail_that_was_kept_unsaved_is_judged_to_the_end(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |settings| settings.crm_integration = false);
        let contact = office.contact("known@x.example", uma);
        office.receive(&sales, &mail("known@x.example", US, "Hi", "k"));
        office.receive(&sales, &mail(ANN, US, "First", "a1"));
        office.receive(&sales, &with(&answering("a1"), ANN, US, "Re: First", "a2"));
        office.arrive(&sales, sales.spam, &mail("eve@x.example", US, "Win", "s"), NEW);
        let settings = SettingsChange { crm_integration: Change::Set(true), ..SettingsChange::default() };
        let found = run(&office, uma, Simulate { settings, ..wish(&sales) });
        let would: Vec<(O, usize)> = found.mails.iter().map(|mail| (mail.would.outcome, mail.would.items.len())).collect();
        assert_eq!(would, [(O::Saved, 1), (O::Saved, 1), (O::Saved, 1), (O::SpamFolder, 0)]);
        assert_eq!(found.mails[0].would.items[0].id, contact);
        // The lead is the simulation's own; the reply joins it.
        let lead = &found.mails[1].would.items[0];
        assert_eq!(lead.simulated, Some((Lead, "First".to_owned())));
        assert_eq!(found.mails[2].would.items[0].id, lead.id);
        assert_eq!(found.mails[2].would.trace.reason, "the reply stays on the open item of the email that it answers");
        assert_eq!(found.differing, 3);
    }

    fn r20_what_people_saved_stays_and_a_period_bounds_what_is_judged(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |_| ());
        let lead = office.lead("other@x.example", uma);
        let id = office.arrive(&sales, sales.spam, &mail(ANN, US, "Hi", "one"), NEW);
        let viewer = office.viewer(uma);
        let target = mailroom::actions::save_email::Target::Item(lead);
        office.act(mailroom::actions::save_email::save(&office.actions, &viewer, id, target, None, office.now())).unwrap();
        let settings = SettingsChange { crm_integration: Change::Set(false), ..SettingsChange::default() };
        let found = run(&office, uma, Simulate { settings: settings.clone(), ..wish(&sales) });
        assert_eq!((found.judged, found.differing), (1, 0));
        assert_eq!(found.mails[0].would.items[0].id, lead);
        let since = Simulate { settings: settings.clone(), since: Some(NINE.plus_seconds(1)), ..wish(&sales) };
        let before = Simulate { settings, before: Some(NINE.plus_seconds(1)), ..wish(&sales) };
        assert_eq!(run(&office, uma, since).judged, 0);
        assert_eq!(run(&office, uma, before).judged, 1);
    }

    fn r20_r25_simulating_takes_the_right_to_change_settings_and_access_to_the_mail(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |_| ());
        let vic = office.employee("Vic");
        let code = |user: UserId| match office.act(simulate(&office.actions, &office.viewer(user), wish(&sales))) {
            Ok(_) => None,
            Err(ActionError::Refused(refusals)) => Some(refusals[0].code),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(code(uma), None);
        assert_eq!(code(vic), Some(ErrorCode::NotFound));
        assert_eq!(code(office.admin.user_id), Some(ErrorCode::Forbidden), "settings, but not the mail");
        for user in [vic, office.admin.user_id] {
            office.write(&format!("INSERT INTO mailbox_users (mailbox_id, user_id) VALUES ({}, {})", sales.id.0, user.0));
        }
        assert_eq!(code(vic), Some(ErrorCode::Forbidden), "the mail, but not the settings");
        assert_eq!(code(office.admin.user_id), None);
        let settings = SettingsChange { queue: Change::Set(vec![]), ..SettingsChange::default() };
        let refused = office.act(simulate(&office.actions, &office.viewer(uma), Simulate { settings, ..wish(&sales) }));
        let Err(ActionError::Refused(refusals)) = refused else { panic!("an empty queue was simulated") };
        assert_eq!((refusals[0].code, refusals[0].field.as_slice()), (ErrorCode::BadInput, &["settings".to_owned(), "queueUserIds".to_owned()][..]));
    }

    fn r20_r22_the_answer_is_cut_to_what_the_viewer_may_read(office) {
        let uma = office.employee("Uma");
        let vic = office.employee("Vic");
        let sales = office.postbox(US, uma, |settings| settings.queue = vec![vic]);
        office.receive(&sales, &mail(ANN, US, "Secret", "one"));
        let mailbox = office.store().codec().seal_id("Mailbox", sales.id.0);
        let query = "query ($input: SimulateRoutingInput!) { simulateRouting(input: $input) { judged differing isComplete
            pageInfo { hasNextPage endCursor } userErrors { code field }
            mails { differs email { subject } was { outcome items { kind title isNew item { id } } responsible { name } trace { reason } }
              would { outcome items { kind title isNew item { id } } responsible { name } trace { reason steps { saw } } } } } }";
        let input = json!({ "mailboxId": mailbox, "onlyDifferences": false, "settings": { "incomingCreates": "CONTACT" } });
        // Uma may read her own items only; the lead is Vic's.
        let answer = ask(&office, uma, query, json!({ "input": input }));
        let found = &answer["data"]["simulateRouting"];
        assert_eq!(found["judged"], 1, "{answer:#}");
        let simulated = &found["mails"][0];
        assert_eq!(simulated["email"]["subject"], "Secret");
        assert_eq!(simulated["was"], json!({ "outcome": "SAVED", "items": [], "responsible": null, "trace": null }));
        // What would be made is no item yet.
        let would = &simulated["would"];
        assert_eq!(would["items"], json!([{ "kind": "CONTACT", "title": ANN, "isNew": true, "item": null }]));
        assert_eq!(would["responsible"]["name"], "Vic");
        assert_eq!(would["trace"]["reason"], "it makes what the mailbox makes of a new client's mail");
        // Whoever reads all sees all.
        let role = office.act(office.role(&everything(PermissionLevel::All)));
        office.write(&format!("INSERT INTO role_users (role_id, user_id) VALUES ({}, {})", role.0, uma.0));
        let answer = ask(&office, uma, query, json!({ "input": input }));
        let was = &answer["data"]["simulateRouting"]["mails"][0]["was"];
        assert_eq!((&was["items"][0]["title"], &was["responsible"]["name"]), (&json!("Secret"), &json!("Vic")), "{answer:#}");
        let input = json!({ "mailboxId": mailbox, "settings": { "queueUserIds": [] } });
        let answer = ask(&office, uma, query, json!({ "input": input }));
        assert_eq!(answer["data"]["simulateRouting"]["userErrors"][0]["field"], json!(["settings", "queueUserIds"]), "{answer:#}");
        // Rerouting answers for each email, in its order.
        let email = office.store().codec().seal_id("Email", office.number("SELECT id FROM emails"));
        let mutation = "mutation ($input: RerouteEmailsInput!) { rerouteEmails(input: $input) { results { emailId email { outcome } outcome } userErrors { code } } }";
        let input = json!({ "emailIds": [email, "Email_none"] });
        let answer = ask(&office, uma, mutation, json!({ "input": input }));
        let results = &answer["data"]["rerouteEmails"]["results"];
        assert_eq!(results, &json!([
            { "emailId": email, "email": { "outcome": "SAVED" }, "outcome": "UNCHANGED" },
            { "emailId": "Email_none", "email": null, "outcome": "NOT_FOUND" },
        ]), "{answer:#}");
    }
}

/// Thousands of letters, users who come and go, items that are closed and change hands: under the same settings nothing
/// differs, and nothing is written.
fn nothing_differs_under_the_same_settings(on: On, letters: usize) {
    let office = Office::new(on);
    let (users, boxes) = generate::open(&office);
    for event in generate::events(7, letters) {
        match event {
            Event::Batch(at, letters) => {
                let postbox = &boxes[at];
                let mails: Vec<_> = letters
                    .iter()
                    .map(|letter| (letter.folder(postbox), letter.raw(), letter.how()))
                    .collect();
                office.deliver_all(postbox, &mails, office.now());
            }
            Event::Active(user, is_active) => office.write(&format!(
                "UPDATE users SET is_active = {is_active} WHERE id = {}",
                users[user].0
            )),
            Event::Close(number) | Event::Reassign(number, _) | Event::Contact(number, _) => {
                office.write(&format!(
                    "UPDATE items SET is_open = FALSE WHERE kind <> 'CONTACT' AND id % 17 = {}",
                    number % 17
                ));
            }
            Event::Switch(..) => {}
        }
    }
    for user in &users {
        office.write(&format!(
            "UPDATE users SET is_active = TRUE WHERE id = {}",
            user.0
        ));
    }
    let mut judged = 0;
    for (postbox, setting) in boxes.iter().zip(generate::settings()) {
        let begun = std::time::Instant::now();
        let found = run(&office, users[setting.connector], wish(postbox));
        println!(
            "{}: {} mails in {:?}",
            setting.address,
            found.judged,
            begun.elapsed()
        );
        let differing: Vec<&SimulatedMail> =
            found.mails.iter().filter(|mail| mail.differs).collect();
        assert!(differing.is_empty(), "{:#?}", differing[0]);
        assert_eq!(found.differing, 0);
        judged += found.judged;
    }
    assert!(judged >= letters * 9 / 10, "{judged}");
}

#[test]
fn r20_nothing_differs_under_the_same_settings_on_sqlite() {
    nothing_differs_under_the_same_settings(On::Sqlite, if is_long() { 10_000 } else { 1_200 });
}

#[test]
fn r20_nothing_differs_under_the_same_settings_on_postgresql() {
    nothing_differs_under_the_same_settings(On::Postgresql, 300);
}

/// What a simulation foretells is what happens: the same letters, one office judging them under the old settings and
/// simulating the new ones, the other judging them under the new ones.
fn foretells(
    change: impl Fn(&mut SettingsChange, &[UserId]),
    sql: impl Fn(&[UserId]) -> Vec<String>,
) {
    let events = generate::events(99, if is_long() { 2_500 } else { 600 });
    let letters: Vec<_> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Batch(0, letters) => Some(letters),
            _ => None,
        })
        .flatten()
        .filter(|letter| letter.lies != Lies::Trash)
        .collect();
    let deliver = |office: &Office, postbox: &Postbox| -> Vec<Option<EmailId>> {
        let deliver = |letter: &generate::Letter| {
            let mails = [(letter.folder(postbox), letter.raw(), letter.how())];
            match office.deliver_all(postbox, &mails, office.now()).remove(0) {
                mailroom::actions::ingest::Taken::Stored(id, _) => Some(id),
                _ => None,
            }
        };
        letters.iter().map(deliver).collect()
    };
    let (old, new) = (Office::new(On::Sqlite), Office::new(On::Sqlite));
    let (old_users, old_boxes) = generate::open(&old);
    let (new_users, new_boxes) = generate::open(&new);
    let mut settings = SettingsChange::default();
    change(&mut settings, &old_users);
    for statement in sql(&new_users) {
        new.write(&statement);
    }
    let was = deliver(&old, &old_boxes[0]);
    let is = deliver(&new, &new_boxes[0]);
    let found = run(
        &old,
        old_users[1],
        Simulate {
            settings,
            ..wish(&old_boxes[0])
        },
    );
    let would: HashMap<EmailId, &SimulatedMail> = found
        .mails
        .iter()
        .map(|mail| (mail.email_id, mail))
        .collect();
    let place = |users: &[UserId], user: UserId| users.iter().position(|other| *other == user);
    let mut rows = HashMap::new();
    for (was, is) in was.iter().zip(&is) {
        let (Some(was), Some(is)) = (was, is) else {
            continue;
        };
        let (would, kept) = (&would[was].would, new.kept(*is));
        let told = || {
            format!(
                "{}\n{}\n{:?}",
                new.reason(*is),
                would.trace.reason,
                would.items
            )
        };
        assert_eq!(would.outcome.as_text(), kept.outcome, "{}", told());
        assert_eq!(would.items.len(), kept.items.len(), "{}", told());
        if let Some(primary) = would.items.first() {
            let row = *rows.entry(primary.id).or_insert(kept.items[0]);
            assert_eq!(row, kept.items[0], "{}", told());
            let responsible = would
                .responsible_id
                .and_then(|user| place(&old_users, user));
            let really = kept.responsible.and_then(|user| place(&new_users, user));
            assert_eq!(responsible, really, "{}", told());
        }
    }
    println!("{} letters, {} differ", letters.len(), found.differing);
    assert!(found.differing > 5, "{}", found.differing);
}

#[test]
fn r20_a_simulation_foretells_another_mode() {
    foretells(
        |settings, _| {
            settings.existing_client_routing = Change::Set(ExistingClientRouting::AlwaysNew)
        },
        |_| vec!["UPDATE mailboxes SET existing_client_routing = 'ALWAYS_NEW'".to_owned()],
    );
}

#[test]
fn r20_a_simulation_foretells_what_new_clients_make() {
    foretells(
        |settings, _| settings.incoming_creates = Change::Set(CreatedItem::Deal),
        |_| vec!["UPDATE mailboxes SET incoming_creates = 'DEAL'".to_owned()],
    );
}

#[test]
fn r20_a_simulation_foretells_another_queue() {
    foretells(
        |settings, users| settings.queue = Change::Set(vec![users[3], users[1]]),
        |users| {
            let (first, second) = (users[3].0, users[1].0);
            vec![
                "DELETE FROM mailbox_queue WHERE position = 2".to_owned(),
                // Whoever changes a queue keeps whose turn it is: the first user's, who stands second now.
                "UPDATE mailboxes SET queue_pointer = 1".to_owned(),
                format!("UPDATE mailbox_queue SET user_id = {first} WHERE position = 0"),
                format!("UPDATE mailbox_queue SET user_id = {second} WHERE position = 1"),
            ]
        },
    );
}

#[test]
fn r20_a_simulation_foretells_the_integration_switched_off() {
    foretells(
        |settings, _| settings.crm_integration = Change::Set(false),
        |_| vec!["UPDATE mailboxes SET crm_integration = FALSE".to_owned()],
    );
}

#[test]
fn r20_a_simulation_foretells_replies_judged_like_any_other_mail() {
    foretells(
        |settings, _| {
            settings.replies_follow_thread = Change::Set(false);
            settings.existing_client_routing = Change::Set(ExistingClientRouting::AlwaysNew);
            settings.incoming_creates = Change::Set(CreatedItem::Contact);
        },
        |_| {
            vec!["UPDATE mailboxes SET replies_follow_thread = FALSE, existing_client_routing = 'ALWAYS_NEW', incoming_creates = 'CONTACT'".to_owned()]
        },
    );
}
