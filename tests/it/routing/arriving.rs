//! What arrives, and what becomes of it by itself (R3, R11-R16, R18), and what pretends to be somebody else's (T05, T06).

use super::office::{How, NEW, Office, Postbox, answering, mail, with};
use mailroom::model::EmailId;
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::{Contact, Deal, Lead};
use mailroom::model::mailbox::{CreatedItem, ExistingClientRouting};

const ANN: &str = "Ann Client <ann@client.example>";
const US: &str = "sales@us.example";

fn sales(office: &Office) -> Postbox {
    let uma = office.employee("Uma");
    office.postbox(US, uma, |_| ())
}

on_each! {
    fn r3_what_is_held_back_is_judged_again_when_it_is_moved_and_saved_mail_stays(office) {
        let sales = sales(&office);
        let raw = mail(ANN, US, "Chairs", "one");
        let id = office.arrive(&sales, sales.spam, &raw, NEW);
        assert_eq!(office.outcome(id), O::SpamFolder);
        // Into Trash: still held. Out of it: judged.
        office.arrive(&sales, sales.trash, &raw, NEW);
        assert_eq!(office.outcome(id), O::SpamFolder);
        assert_eq!(office.receive(&sales, &raw), id);
        assert_eq!(office.outcome(id), O::Saved);
        // Back into spam: it stays saved, on its one lead.
        office.arrive(&sales, sales.spam, &raw, NEW);
        assert_eq!(office.outcome(id), O::Saved);
        assert_eq!(office.count(Lead), 1);
        // Where spam goes to the Inbox, nothing that comes in is saved by itself; what is sent is.
        office.write(&format!("UPDATE mailboxes SET spam_folder_id = {}", sales.inbox.0));
        let held = office.receive(&sales, &mail("bob@client.example", US, "Tables", "two"));
        let sent = office.send(&sales, &mail(US, "bob@client.example", "Tables", "three"));
        assert_eq!((office.outcome(held), office.outcome(sent)), (O::SpamFolder, O::Saved));
    }

    fn r11_r12_r13_r18_the_outcome_tells_the_reason(office) {
        let sales = sales(&office);
        office.employee("Vic");
        office.write("INSERT INTO crm_exclusions (pattern) VALUES ('spammy.example')");
        // (what, mail, lies in Sent, outcome)
        let rows = [
            ("a client's first mail", mail(ANN, US, "Chairs", "a"), false, O::Saved),
            ("a colleague's", mail("vic@us.example", US, "Lunch", "b"), false, O::Internal),
            ("ours to a colleague", mail(US, "vic@us.example", "Lunch", "c"), true, O::Internal),
            ("ours to a colleague and a client", mail(US, "vic@us.example, new@client.example", "Offer", "d"), true, O::Saved),
            ("an excluded domain's", mail("x@spammy.example", US, "Win", "e"), false, O::Excluded),
            ("a newsletter", with("List-Id: <n.example>\r\n", "news@list.example", US, "News", "f"), false, O::Automatic),
            ("nobody's", mail("", US, "Hm", "g"), false, O::NothingToCreate),
        ];
        for (what, raw, is_sent, outcome) in rows {
            let folder = if is_sent { sales.sent } else { sales.inbox };
            let id = office.arrive(&sales, folder, &raw, NEW);
            assert_eq!(office.outcome(id), outcome, "{what}: {}", office.reason(id));
        }
        // R13: incoming makes a lead by default, outgoing a contact.
        assert_eq!((office.count(Lead), office.count(Contact)), (1, 1));
        office.write("UPDATE mailboxes SET crm_integration = FALSE");
        let id = office.receive(&sales, &mail("eve@client.example", US, "Desks", "h"));
        assert_eq!(office.outcome(id), O::IntegrationOff);
    }

    fn r15_r16_a_client_s_next_mail_joins_what_the_client_has(office) {
        let sales = sales(&office);
        let uma = office.kept(office.receive(&sales, &mail("x@y.example", US, "x", "x"))).responsible.unwrap();
        let vic = office.employee("Vic");
        let contact = office.contact("ann@client.example", uma);
        let (old, new) = (office.deal(contact, vic), office.deal(contact, uma));
        // Two open deals: the one with the newest entry, and the trace says that it was a choice.
        let first = office.receive(&sales, &mail(ANN, US, "One", "one"));
        assert_eq!(office.kept(first).items, [new, contact]);
        assert!(office.reason(first).contains("AMBIGUOUS"));
        office.close(new);
        let second = office.receive(&sales, &mail(ANN, US, "Two", "two"));
        assert_eq!(office.kept(second).items, [old, contact]);
        assert_eq!(office.kept(second).responsible, Some(vic), "R31: the item's responsible, whoever the client's is");
        assert!(!office.reason(second).contains("AMBIGUOUS"));
        // A reply stays on the deal that it is about, though another one is newer.
        let other = office.deal(contact, vic);
        let reply = office.receive(&sales, &with(&answering("two"), ANN, US, "Re: Two", "three"));
        assert_eq!(office.kept(reply).items, [old, contact]);
        let fresh = office.receive(&sales, &mail(ANN, US, "Four", "four"));
        assert_eq!(office.kept(fresh).items, [old, contact], "the reply's entry is the newest");
        office.close(old);
        let next = office.receive(&sales, &with(&answering("two"), ANN, US, "Re: Two", "five"));
        assert_eq!(office.kept(next).items, [other, contact], "the old deal is closed");
    }

    fn r15_each_mail_of_a_client_outside_the_queue_makes_a_lead_in_turn(office) {
        let (uma, vic) = (office.employee("Uma"), office.employee("Vic"));
        let outsider = office.employee("Oscar");
        let sales = office.postbox(US, uma, |settings| settings.queue = vec![uma, vic]);
        let contact = office.contact("ann@client.example", outsider);
        let made: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|id| office.kept(office.receive(&sales, &mail(ANN, US, "Chairs", id))))
            .collect();
        let responsible: Vec<_> = made.iter().map(|kept| kept.responsible.unwrap()).collect();
        assert_eq!(responsible, [uma, vic, uma]);
        for kept in &made {
            assert_eq!(kept.items[1..], [contact]);
            assert!(office.get(kept.items[0]).is_extra_lead);
        }
        assert_eq!(office.count(Lead), 3);
        // Leads made so don't count: without the contact, nobody is responsible, and a lead that counts is made.
        office.write(&format!("DELETE FROM item_addresses WHERE item_id = {}", contact.0));
        let kept = office.kept(office.receive(&sales, &mail(ANN, US, "Chairs", "d")));
        assert!(!office.get(kept.items[0]).is_extra_lead);
        let joined = office.kept(office.receive(&sales, &mail(ANN, US, "Chairs", "e")));
        assert_eq!(joined.items, kept.items, "now the oldest lead that counts is somebody's of the queue");
    }

    fn r13_with_leads_off_a_contact_and_a_deal_are_made_instead(office) {
        let sales = sales(&office);
        office.write("UPDATE crm_settings SET leads_enabled = FALSE");
        let kept = office.kept(office.receive(&sales, &mail(ANN, US, "Chairs", "one")));
        let kinds: Vec<_> = kept.items.iter().map(|id| office.get(*id).kind).collect();
        assert_eq!(kinds, [Deal, Contact]);
        let (deal, contact) = (office.get(kept.items[0]), office.get(kept.items[1]));
        assert_eq!((deal.title.as_str(), contact.name.as_deref()), ("Chairs", Some("Ann Client")));
        assert_eq!(contact.source.as_deref(), Some("Email"));
        let none = office.receive(&sales, &mail("nameless@client.example", US, "", "two"));
        let kept = office.kept(none);
        assert_eq!(office.get(kept.items[0]).title, "Email from nameless@client.example");
    }

    fn r18_the_list_of_those_who_always_make_a_lead(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |settings| {
            settings.always_new_lead_for = vec!["orders@shop.example".into()];
            settings.existing_client_routing = ExistingClientRouting::AttachAlways;
            settings.incoming_creates = CreatedItem::Contact;
        });
        for id in ["a", "b", "c"] {
            office.receive(&sales, &mail("orders@shop.example", US, "Order", id));
        }
        assert_eq!((office.count(Lead), office.count(Contact)), (3, 0));
    }

    fn t05_a_stranger_who_takes_our_name_hides_nothing(office) {
        let sales = sales(&office);
        office.employee("Boss");
        // (what, From lines, outcome): the mail is always there, in the mailbox view.
        let rows = [
            ("the boss's address", "From: boss@us.example", O::Internal, "nothing verifies"),
            ("his name, another address", "From: Boss <evil@x.example>", O::Saved, "new client"),
            ("his address as a name", "From: \"boss@us.example\" <evil2@x.example>", O::NothingToCreate, "may be forged"),
            ("a second From", "From: evil3@x.example\r\nFrom: boss@us.example", O::NothingToCreate, "may be forged"),
            ("two authors, no Sender", "From: evil4@x.example, boss@us.example", O::NothingToCreate, "may be forged"),
            ("a control character", "From: <boss@us.example\u{1}evil5@x.example>", O::NothingToCreate, "may be forged"),
        ];
        for (number, (what, from, outcome, reason)) in rows.into_iter().enumerate() {
            let raw = mail("@@", US, "Hello", &format!("m{number}")).replacen("From: @@", from, 1);
            let id = office.receive(&sales, &raw);
            assert_eq!(office.outcome(id), outcome, "{what}");
            assert!(office.reason(id).contains(reason), "{what}: {}", office.reason(id));
        }
        assert_eq!(office.number("SELECT COUNT(*) FROM emails"), 6);
        assert_eq!(office.count(Lead), 1);
    }

    fn t06_headers_that_look_like_our_own_words_mean_nothing(office) {
        let sales = sales(&office);
        let lead = office.lead("other@client.example", office.admin.user_id);
        let headers = format!(
            "X-Mailroom-Item: {0}\r\nX-Resolved-Item: Lead {0}\r\nX-Mailroom-Outcome: INTERNAL\r\nX-Original-Sender: other@client.example\r\n",
            lead.0
        );
        let id = office.receive(&sales, &with(&headers, "eve@x.example", US, "Hello", "one"));
        assert!(!office.kept(id).items.contains(&lead));
        assert_eq!(office.outcome(id), O::Saved);
    }

    fn r30_r32_r33_saving_makes_an_entry_and_an_activity(office) {
        let uma = office.employee("Uma");
        let vic = office.employee("Vic");
        let sales = office.postbox(US, uma, |settings| settings.queue = vec![vic]);
        let activity = |id: EmailId| -> (String, i64, Option<i64>) {
            office.one(&format!(
                "SELECT a.state, a.responsible_id, a.deadline FROM activities a JOIN emails e ON e.message_id = a.message_id WHERE e.id = {}",
                id.0
            ))
        };
        let id = office.receive(&sales, &mail(ANN, US, "Chairs", "one"));
        let lead = office.item_of(id);
        assert_eq!(office.told(lead), ["ITEM_CREATED", "EMAIL_RECEIVED"]);
        let actor: i64 = office.number("SELECT actor_id FROM timeline_entries WHERE kind = 'EMAIL_RECEIVED'");
        assert_eq!(actor, uma.0, "R30: the mailbox's connector");
        let (state, responsible, deadline) = activity(id);
        assert_eq!((state.as_str(), responsible, deadline.is_some()), ("SCHEDULED", vic.0, true));
        let read_before = How { is_seen: true, is_backfill: true, ..NEW };
        let id = office.arrive(&sales, sales.inbox, &mail(ANN, US, "Old", "two"), read_before);
        assert_eq!(activity(id).0, "COMPLETED");
        let id = office.send(&sales, &with(&answering("one"), US, "ann@client.example", "Re: Chairs", "three"));
        assert_eq!(activity(id).0, "COMPLETED");
        assert_eq!(office.told(lead).last().unwrap(), "EMAIL_SENT");
    }
}
