//! The rules applied again (R3, R20, R24).

use super::office::{NEW, Office, Postbox, mail};
use crate::actions::world::everything;
use mailroom::actions::reroute_emails::{EMAILS_MAX, Rerouted, reroute};
use mailroom::actions::save_email::{Target, save};
use mailroom::actions::{ActionError, relink};
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::{Contact, Lead};
use mailroom::model::people::{PermissionLevel, Viewer};
use mailroom::model::refusal::ErrorCode;
use mailroom::model::{EmailId, UserId};

const ANN: &str = "ann@client.example";
const US: &str = "sales@us.example";

/// Uma's mailbox; she may do everything.
fn sales(office: &Office) -> (Postbox, UserId) {
    let uma = office.employee("Uma");
    let role = office.act(office.role(&everything(PermissionLevel::All)));
    office.write(&format!(
        "INSERT INTO role_users (role_id, user_id) VALUES ({}, {})",
        role.0, uma.0
    ));
    (office.postbox(US, uma, |_| ()), uma)
}

fn again(office: &Office, viewer: &Viewer, ids: &[EmailId]) -> Vec<Rerouted> {
    let done = office.act(reroute(
        &office.actions,
        viewer,
        ids.to_vec(),
        None,
        office.now(),
    ));
    done.unwrap()
        .into_iter()
        .map(|(_id, rerouted)| rerouted)
        .collect()
}

on_each! {
    fn r3_r20_what_was_held_back_is_saved_once_the_setting_is_changed(office) {
        let (sales, uma) = sales(&office);
        office.write(&format!("UPDATE mailboxes SET spam_folder_id = {}", sales.inbox.0));
        let ids: Vec<EmailId> = (0..3)
            .map(|number| office.receive(&sales, &mail(&format!("c{number}@x.example"), US, "Hello", &format!("m{number}"))))
            .collect();
        let viewer = office.viewer(uma);
        assert_eq!(again(&office, &viewer, &ids), [Rerouted::StaysUnsaved; 3]);
        // The setting alone judges nothing again; rerouting does, with the queue.
        office.write(&format!("UPDATE mailboxes SET spam_folder_id = {}", sales.spam.0));
        assert_eq!(office.count(Lead), 0);
        assert_eq!(again(&office, &viewer, &ids), [Rerouted::Saved; 3]);
        assert_eq!(office.count(Lead), 3);
        for id in &ids {
            assert_eq!(office.outcome(*id), O::Saved);
        }
        // And again: nothing changes, to the byte.
        let before = office.dump();
        assert_eq!(again(&office, &viewer, &ids), [Rerouted::Unchanged; 3]);
        assert!(before == office.dump());
    }

    fn r20_every_reason_to_keep_a_mail_can_go(office) {
        let (sales, uma) = sales(&office);
        office.write("UPDATE crm_settings SET sender_limit_per_hour = 1");
        office.write("INSERT INTO crm_exclusions (pattern) VALUES ('out.example')");
        let vic = office.employee("Vic");
        let deliver = |from: &str, id: &str| office.receive(&sales, &mail(from, US, id, id));
        let excluded = deliver("x@out.example", "excluded");
        let _first = deliver("eve@x.example", "first");
        let flood = deliver("eve@x.example", "flood");
        let internal = deliver("vic@us.example", "internal");
        office.write("UPDATE mailboxes SET crm_integration = FALSE");
        let off = deliver("dan@x.example", "off");
        office.write("UPDATE mailboxes SET crm_integration = TRUE, incoming_creates = 'NOTHING'");
        let nothing = deliver("kim@x.example", "nothing");
        let robot = office.receive(&sales, &crate::routing::office::with("Precedence: bulk\r\n", "news@x.example", US, "News", "news"));
        let ids = [excluded, flood, internal, off, nothing, robot];
        let was: Vec<O> = ids.iter().map(|id| office.outcome(*id)).collect();
        assert_eq!(was, [O::Excluded, O::RateGuard, O::Internal, O::IntegrationOff, O::NothingToCreate, O::Automatic]);
        office.write("UPDATE mailboxes SET incoming_creates = 'LEAD'");
        office.write("DELETE FROM crm_exclusions");
        office.write("UPDATE crm_settings SET sender_limit_per_hour = 100");
        office.write(&format!("UPDATE users SET is_active = FALSE WHERE id = {}", vic.0));
        let viewer = office.viewer(uma);
        let done = again(&office, &viewer, &ids);
        assert_eq!(done, [Rerouted::Saved, Rerouted::Saved, Rerouted::Saved, Rerouted::Saved, Rerouted::Saved, Rerouted::StaysUnsaved]);
        // The flood's mail joins the lead that the first one made.
        assert_eq!(office.count(Lead), 5);
    }

    fn r20_r24_what_people_did_stays(office) {
        let (sales, uma) = sales(&office);
        let viewer = office.viewer(uma);
        let lead = office.lead("other@client.example", uma);
        let held = office.arrive(&sales, sales.spam, &mail(ANN, US, "By hand", "hand"), NEW);
        office.act(save(&office.actions, &viewer, held, Target::Item(lead), None, office.now())).unwrap();
        let linked = office.receive(&sales, &mail("bob@client.example", US, "Linked", "linked"));
        office.act(relink::link(&office.actions, &viewer, linked, lead, None, office.now())).unwrap();
        let contact = office.contact("bob@client.example", uma);
        office.deal(contact, uma);
        let before = office.dump();
        assert_eq!(again(&office, &viewer, &[held, linked]), [Rerouted::KeptByHand; 2]);
        assert!(before == office.dump());
    }

    fn r20_r24_saved_mail_moves_where_the_rules_send_it_now(office) {
        let (sales, uma) = sales(&office);
        let viewer = office.viewer(uma);
        let id = office.receive(&sales, &mail(ANN, US, "Chairs", "one"));
        let lead = office.item_of(id);
        // Ann becomes a contact with a deal: now her mail belongs there.
        let contact = office.contact(ANN, uma);
        let deal = office.deal(contact, uma);
        let saved_at = office.number(&format!("SELECT saved_at FROM emails WHERE id = {}", id.0));
        assert_eq!(again(&office, &viewer, &[id]), [Rerouted::Moved]);
        assert_eq!(office.kept(id).items, [deal, contact]);
        assert_eq!(office.told(lead), ["ITEM_CREATED", "EMAIL_RECEIVED", "EMAIL_UNLINKED"]);
        assert_eq!(office.told(deal), ["ITEM_CREATED", "EMAIL_LINKED"]);
        assert_eq!(office.number(&format!("SELECT saved_at FROM emails WHERE id = {}", id.0)), saved_at);
        assert_eq!(office.reason(id), "it joins the client's open deal");
        assert_eq!(again(&office, &viewer, &[id]), [Rerouted::Unchanged]);
        // Where the rules would no longer save it, it stays: taking out is for people.
        office.write(&format!("INSERT INTO crm_exclusions (pattern) VALUES ('{ANN}')"));
        assert_eq!(again(&office, &viewer, &[id]), [Rerouted::StaysSaved]);
        assert_eq!(office.kept(id).items, [deal, contact]);
    }

    fn r20_the_item_that_a_mail_made_alone_is_not_what_it_joins(office) {
        let (sales, uma) = sales(&office);
        let viewer = office.viewer(uma);
        let id = office.receive(&sales, &mail(ANN, US, "Chairs", "one"));
        let lead = office.item_of(id);
        // The same settings make the same again; others make something else.
        assert_eq!(again(&office, &viewer, &[id]), [Rerouted::Unchanged]);
        office.write("UPDATE mailboxes SET incoming_creates = 'CONTACT'");
        assert_eq!(again(&office, &viewer, &[id]), [Rerouted::Moved]);
        let made = office.item_of(id);
        assert_eq!(office.get(made).kind, Contact);
        assert_eq!(office.told(lead).last().unwrap(), "EMAIL_UNLINKED");
        assert_eq!(again(&office, &viewer, &[id]), [Rerouted::Unchanged]);
    }

    fn r24_moving_takes_update_on_each_item_and_create_for_what_is_made(office) {
        use mailroom::model::people::PermissionAction::{Read, Update};
        let (sales, uma) = sales(&office);
        let id = office.receive(&sales, &mail(ANN, US, "Chairs", "one"));
        let contact = office.contact(ANN, uma);
        office.deal(contact, uma);
        let share = |user: UserId| {
            office.write(&format!("INSERT INTO mailbox_users (mailbox_id, user_id) VALUES ({}, {})", sales.id.0, user.0));
            office.viewer(user)
        };
        let all = PermissionLevel::All;
        let lines = |kinds: &[mailroom::model::item::ItemKind]| {
            let read = everything(all).into_iter().filter(|line| line.1 == Read);
            read.chain(kinds.iter().map(|kind| (*kind, Update, all))).collect::<Vec<_>>()
        };
        let nobody = office.act(office.user_with("Nobody", &[]));
        let reader = office.act(office.user_with("Reader", &lines(&[])));
        let half = office.act(office.user_with("Half", &lines(&[Lead, Contact])));
        let before = |office: &Office| office.kept(id);
        let was = before(&office);
        let stranger = office.viewer(nobody);
        assert_eq!(again(&office, &stranger, &[id]), [Rerouted::NotFound]);
        let crm_only = office.viewer(reader);
        assert_eq!(again(&office, &crm_only, &[id]), [Rerouted::Forbidden], "no access to the mailbox");
        for user in [nobody, reader, half] {
            let viewer = share(user);
            let dump = office.dump();
            assert_eq!(again(&office, &viewer, &[id]), [Rerouted::Forbidden], "user {user:?}");
            assert!(dump == office.dump(), "refused, but written");
        }
        assert_eq!(before(&office), was);
        // Unsaved mail takes access to the mailbox alone.
        let held = office.arrive(&sales, sales.spam, &mail("dan@x.example", US, "Hi", "held"), NEW);
        office.write(&format!("UPDATE mailboxes SET spam_folder_id = NULL WHERE id = {}", sales.id.0));
        office.write(&format!("UPDATE folders SET role = NULL WHERE id = {}", sales.spam.0));
        let viewer = office.viewer(nobody);
        assert_eq!(again(&office, &viewer, &[held]), [Rerouted::Saved]);
        // Moving onto something new takes create.
        office.write("UPDATE mailboxes SET incoming_creates = 'CONTACT'");
        let maker = office.act(office.user_with("Mover", &lines(&[Lead, Contact, mailroom::model::item::ItemKind::Deal])));
        let viewer = share(maker);
        assert_eq!(again(&office, &viewer, &[held]), [Rerouted::Forbidden]);
        assert_eq!(again(&office, &office.viewer(uma), &[held]), [Rerouted::Moved]);
    }

    fn r20_a_key_gives_the_same_result_and_bad_input_is_refused(office) {
        let (sales, uma) = sales(&office);
        let viewer = office.viewer(uma);
        let id = office.arrive(&sales, sales.spam, &mail(ANN, US, "Hi", "one"), NEW);
        office.write(&format!("UPDATE mailboxes SET spam_folder_id = NULL WHERE id = {}", sales.id.0));
        let with_key = |ids: Vec<EmailId>| {
            office.act(reroute(&office.actions, &viewer, ids, Some("key".into()), office.now()))
        };
        assert_eq!(with_key(vec![id]).unwrap(), [(id, Rerouted::Saved)]);
        assert_eq!(with_key(vec![id]).unwrap(), [(id, Rerouted::Saved)], "as it was answered");
        let code = |refused: Result<_, ActionError>| match refused {
            Err(ActionError::Refused(refusals)) => refusals[0].code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(with_key(vec![id, EmailId(1)])), ErrorCode::IdempotencyKeyReused);
        let plain = |ids: Vec<EmailId>| code(office.act(reroute(&office.actions, &viewer, ids, None, office.now())));
        assert_eq!(plain(vec![]), ErrorCode::BadInput);
        assert_eq!(plain(vec![id, id]), ErrorCode::BadInput);
        let many = i64::try_from(EMAILS_MAX).unwrap() + 1;
        assert_eq!(plain((0..many).map(EmailId).collect()), ErrorCode::BadInput);
        assert_eq!(again(&office, &viewer, &[EmailId(987_654)]), [Rerouted::NotFound]);
    }
}
