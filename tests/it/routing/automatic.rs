//! Machines' mail makes nothing (T09), and bounces are logged on the mail that they are about (R18).

use super::office::{NEW, Office, Postbox, mail, with};
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::{Contact, Lead};
use mailroom::model::{EmailId, ItemId};

const ANN: &str = "ann@client.example";
const US: &str = "sales@us.example";

fn sales(office: &Office) -> Postbox {
    let uma = office.employee("Uma");
    office.postbox(US, uma, |_| ())
}

/// A delivery report about a mail, for somebody whom it didn't reach.
fn bounce(about: &str, failed: &str, action: &str, id: &str) -> String {
    let report = format!(
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nIt could not be delivered.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.client.example\r\n\r\n\
         Final-Recipient: rfc822; {failed}\r\nAction: {action}\r\nStatus: 5.1.1\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{about}@mail.example>\r\n--b--\r\n"
    );
    let head = format!(
        "Received: from mx\r\nReturn-Path: <>\r\nFrom: Mail Delivery <mailer-daemon@mx.client.example>\r\nTo: {US}\r\n\
         Subject: Undelivered\r\nMessage-ID: <{id}@mail.example>\r\n"
    );
    head + &report
}

fn is_undeliverable(office: &Office, address: &str) -> bool {
    office.number(&format!(
        "SELECT COUNT(*) FROM item_addresses WHERE is_undeliverable AND address_key = '{address}'"
    )) > 0
}

/// What machines put into the heads of their mail: sixty forms, with what the mail says they are.
fn automatic() -> Vec<(String, &'static str)> {
    let heads = [
        "Auto-Submitted: auto-generated",
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: auto-notified",
        "Auto-Submitted: AUTO-GENERATED",
        "Auto-Submitted: auto-replied; owner-email=x@y",
        "Auto-Submitted: yes",
        "Auto-Submitted: auto-generated (vacation)",
        "auto-submitted: Auto-Replied",
        "Auto-Submitted: x-custom",
        "Precedence: bulk",
        "Precedence: Bulk",
        "Precedence: junk",
        "Precedence: JUNK",
        "Precedence: list",
        "Precedence: auto_reply",
        "X-Auto-Response-Suppress: All",
        "X-Auto-Response-Suppress: OOF",
        "X-Auto-Response-Suppress: DR, AutoReply",
        "X-Autoreply: yes",
        "X-Autorespond: 1",
        "X-Auto-Generated: yes",
        "List-Id: <news.client.example>",
        "List-Id: News of ours <news.client.example>",
        "List-ID: x",
        "Return-Path: <>",
        "Return-Path:  < >",
        "Subject: Automatic reply: Offer",
        "Subject: Auto reply: Offer",
        "Subject: AutoReply: Offer",
        "Subject: Auto-Reply: Offer",
        "Subject: Out of office: Offer",
        "Subject: Out of Office AutoReply: Offer",
        "Subject: Out-of-office: Offer",
        "Subject: Automatische Antwort: Angebot",
        "Subject: Abwesenheitsnotiz: Angebot",
        "Subject: Abwesend: Angebot",
        "Subject: Réponse automatique : Offre",
        "Subject: Absence du bureau : Offre",
        "Subject: Respuesta automática: Oferta",
        "Subject: Resposta automática: Oferta",
        "Subject: Risposta automatica: Offerta",
        "Subject: Automatisch antwoord: Aanbod",
        "Subject: Автоответ: Предложение",
        "Subject: Автоматический ответ: Предложение",
        "Subject: Odpowiedź automatyczna: Oferta",
        "Subject: 自動応答: 見積",
        "From: MAILER-DAEMON@mx.client.example",
        "From: Mailer-Daemon@mx.client.example",
        "From: postmaster@client.example",
        "From: Postmaster <postmaster@client.example>",
        "From: mail-daemon@client.example",
    ];
    let bodies = [
        "Content-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR",
        "Content-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR",
        "Content-Type: text/calendar; method=CANCEL\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR",
        "Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\nCome\r\n--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\n--b--",
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\n\r\nRead\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\nDisposition: manual-action; displayed\r\n--b--",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nLate\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: delayed\r\n--b--",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nGone\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nFinal-Recipient: rfc822; x@y.example\r\nAction: failed\r\n--b--",
        "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nGone\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n--b--",
    ];
    let mut mails = Vec::new();
    for (number, head) in heads.iter().enumerate() {
        let name = head.split(':').next().unwrap();
        let plain = mail(
            &format!("robot{number}@client.example"),
            US,
            "Notice",
            &format!("h{number}"),
        );
        // A head that every mail has replaces it.
        let raw = if ["Subject", "From"].contains(&name) {
            let kept: Vec<&str> = plain
                .split("\r\n")
                .filter(|line| !line.starts_with(&format!("{name}:")))
                .collect();
            format!("{head}\r\n{}", kept.join("\r\n"))
        } else {
            format!("{head}\r\n{plain}")
        };
        mails.push((raw, *head));
    }
    for (number, body) in bodies.iter().enumerate() {
        let raw = mail(
            &format!("machine{number}@client.example"),
            US,
            "Notice",
            &format!("b{number}"),
        );
        let head = raw.split_once("\r\n\r\n").unwrap().0;
        mails.push((format!("{head}\r\n{body}\r\n"), *body));
    }
    let qmail = mail("MAILER-DAEMON@q.example", US, "failure notice", "q");
    let head = qmail.split_once("\r\n\r\n").unwrap().0.to_owned();
    mails.push((format!("{head}\r\n\r\nHi. This is the qmail-send program at q.example.\r\n\r\n<x@y.example>:\r\nNo.\r\n"), "qmail"));
    mails
}

on_each! {
    fn t09_sixty_automatic_mails_make_no_item(office) {
        let sales = sales(&office);
        let mails = automatic();
        assert_eq!(mails.len(), 60);
        let batch: Vec<_> = mails.iter().map(|(raw, _)| (sales.inbox, raw.clone(), NEW)).collect();
        office.deliver_all(&sales, &batch, office.now());
        let outcomes: Vec<(String, Option<String>, String)> =
            office.rows("SELECT outcome, automatic, subject FROM emails ORDER BY id");
        for ((outcome, automatic, subject), (_, what)) in outcomes.iter().zip(&mails) {
            assert_eq!(outcome, "AUTOMATIC", "{what} ({automatic:?}, {subject})");
        }
        assert_eq!(outcomes.len(), 60);
        assert_eq!(office.number("SELECT COUNT(*) FROM items"), 0);
        assert_eq!(office.pointer(&sales), 0);
        // What people write is not automatic.
        for (number, head) in ["Auto-Submitted: no", "Precedence: first-class", "X-Auto-Response-Suppress: None", "Return-Path: <ann@client.example>"].iter().enumerate() {
            let id = office.receive(&sales, &with(&format!("{head}\r\n"), &format!("person{number}@client.example"), US, "Question", &format!("p{number}")));
            assert_eq!(office.outcome(id), O::Saved, "{head}");
        }
    }

    fn r18_automatic_mail_of_a_client_joins_but_makes_nothing(office) {
        let sales = sales(&office);
        let first = office.receive(&sales, &mail(ANN, US, "Chairs", "one"));
        let note = office.receive(&sales, &with("Auto-Submitted: auto-replied\r\n", ANN, US, "Away", "two"));
        assert_eq!(office.kept(note).items, office.kept(first).items);
    }

    fn r18_a_bounce_is_logged_on_the_mail_it_answers_and_marks_the_address(office) {
        let sales = sales(&office);
        let contact = office.contact(ANN, office.admin.user_id);
        let sent = office.send(&sales, &mail(US, ANN, "Offer", "offer"));
        let on = office.kept(sent).items;
        let version = office.get(contact).version;
        assert!(!is_undeliverable(&office, ANN));
        let report = office.receive(&sales, &bounce("offer", ANN, "failed", "bounce"));
        assert_eq!(office.kept(report).items, on, "{}", office.reason(report));
        assert_eq!(office.thread(report), office.thread(sent));
        assert!(is_undeliverable(&office, ANN));
        assert_eq!(office.get(contact).version, version + 1, "whoever edits an older state is told");
        assert_eq!(office.told(on[0]).last().unwrap(), "EMAIL_RECEIVED");
        assert_eq!(office.count(Lead), 0);
        // A delay marks nothing, and a second report changes nothing more.
        let again = office.receive(&sales, &bounce("offer", ANN, "failed", "again"));
        assert_eq!(office.kept(again).items, on);
        assert_eq!(office.get(contact).version, version + 1);
    }

    fn r18_a_bounce_is_logged_whatever_the_settings_say_and_on_what_is_closed(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |settings| {
            settings.replies_follow_thread = false;
            settings.existing_client_routing = mailroom::model::mailbox::ExistingClientRouting::AlwaysNew;
        });
        let lead = office.lead(ANN, uma);
        let sent = office.send(&sales, &mail(US, ANN, "Offer", "offer"));
        assert_eq!(office.kept(sent).items, [lead]);
        office.close(lead);
        let report = office.receive(&sales, &bounce("offer", ANN, "failed", "bounce"));
        assert_eq!(office.kept(report).items, [lead]);
        assert!(is_undeliverable(&office, ANN), "a lead's address is marked too");
    }

    fn r18_a_forged_bounce_marks_nothing_and_joins_nothing(office) {
        let sales = sales(&office);
        office.contact(ANN, office.admin.user_id);
        office.contact("bob@client.example", office.admin.user_id);
        let theirs = office.receive(&sales, &mail(ANN, US, "Question", "theirs"));
        let sent = office.send(&sales, &mail(US, ANN, "Offer", "offer"));
        // (what, mail)
        let rows = [
            ("about a mail that we never sent", bounce("unknown", ANN, "failed", "a")),
            ("about a mail that we got", bounce("theirs", ANN, "failed", "b")),
            ("about somebody whom that mail did not go to", bounce("offer", "bob@client.example", "failed", "c")),
            ("a delay", bounce("offer", ANN, "delayed", "d")),
        ];
        for (what, raw) in rows {
            let id = office.receive(&sales, &raw);
            assert_eq!(office.outcome(id), O::Automatic, "{what}");
            assert_ne!(office.thread(id), office.thread(sent), "{what}");
            assert_ne!(office.thread(id), office.thread(theirs), "{what}");
        }
        // In the folder that spam goes to, even a true one marks nothing.
        office.arrive(&sales, sales.spam, &bounce("offer", ANN, "failed", "e"), NEW);
        assert_eq!(office.number("SELECT COUNT(*) FROM item_addresses WHERE is_undeliverable"), 0);
    }

    fn r17_r18_a_bounce_that_comes_before_the_mail_it_is_about(office) {
        let sales = sales(&office);
        let contact = office.contact(ANN, office.admin.user_id);
        let report = office.receive(&sales, &bounce("offer", ANN, "failed", "bounce"));
        assert_eq!(office.outcome(report), O::Automatic);
        assert!(!is_undeliverable(&office, ANN));
        // Our mail is found in Sent a little later.
        let sent = office.send(&sales, &mail(US, ANN, "Offer", "offer"));
        assert_eq!(office.kept(sent).items, [contact]);
        assert!(is_undeliverable(&office, ANN));
        assert_eq!(office.thread(report), office.thread(sent));
        assert_eq!(office.kept(report).items, [contact], "{}", office.reason(report));
        // One that a stranger writes under the same id is not gathered.
        let forged = office.receive(&sales, &bounce("later", "bob@client.example", "failed", "forged"));
        let later = office.send(&sales, &mail(US, ANN, "Offer", "later"));
        assert_eq!(office.outcome(forged), O::Automatic);
        assert_ne!(office.thread(forged), office.thread(later));
    }

    fn r18_r22_a_new_address_begins_unmarked(office) {
        let sales = sales(&office);
        let sent = office.send(&sales, &mail(US, ANN, "Offer", "offer"));
        let contact: ItemId = office.item_of(sent);
        assert_eq!(office.get(contact).kind, Contact);
        let _report: EmailId = office.receive(&sales, &bounce("offer", ANN, "failed", "bounce"));
        assert!(is_undeliverable(&office, ANN));
        office.contact("new@client.example", office.admin.user_id);
        assert!(!is_undeliverable(&office, "new@client.example"));
    }
}
