//! Mail that is no conversation: newsletters, bounces, out-of-office, invitations, spam, colleagues, suppliers.
//! Not for: what a client writes and we answer (`conversation`).

use super::super::clients::Client;
use super::super::company::{Company, DOMAIN, EXCLUDED_DOMAIN, Mailbox, Person};
use super::charset::Charset;
use super::compose::{Draft, Party};
use super::conversation::{Correspondent, received};
use super::files;
use super::{Expectation, Kind, Letter, Pen};
use crate::model::Time;
use crate::model::email::EmailOutcome;

/// Automatic mail never makes an item; whether it is noted on an item that exists is up to the rules (R18).
const AUTOMATIC: &[EmailOutcome] = &[EmailOutcome::Automatic, EmailOutcome::Saved];
const NEVER_SAVED: &[EmailOutcome] = &[EmailOutcome::Automatic];
const SAVED: &[EmailOutcome] = &[EmailOutcome::Saved];
const INTERNAL: &[EmailOutcome] = &[EmailOutcome::Internal];
const SPAM: &[EmailOutcome] = &[EmailOutcome::SpamFolder];
const EXCLUDED: &[EmailOutcome] = &[EmailOutcome::Excluded];

/// The letter of a draft that comes in.
fn incoming(
    draft: &Draft,
    mailbox: &Mailbox,
    kind: Kind,
    outcomes: &'static [EmailOutcome],
) -> Letter {
    Letter {
        to_mailbox: mailbox.address(),
        folder: None,
        from: draft.from.address.clone(),
        raw: draft.to_bytes(),
        message_id: draft.message_id.clone(),
        subject: draft.subject.clone(),
        date: draft.date,
        kind,
        expectation: Some(Expectation { outcomes }),
    }
}

/// A draft from somebody outside to a mailbox, with the trace of its way.
fn from_outside(pen: &mut Pen, from: Party, mailbox: &Mailbox, subject: &str, at: Time) -> Draft {
    let domain = from
        .address
        .rsplit('@')
        .next()
        .unwrap_or("mail.example")
        .to_owned();
    let id = pen.message_id(&domain);
    let mut draft = Draft::new(from, Party::new("", &mailbox.address()), subject, at, &id);
    draft
        .trace
        .push(("Received", received(pen, &domain, &mailbox.address(), at)));
    draft
}

fn mailbox_named(company: &Company, login: &str) -> Option<&'static Mailbox> {
    company
        .mailboxes
        .iter()
        .find(|mailbox| mailbox.login == login)
}

fn any_mailbox(pen: &mut Pen, company: &Company) -> Option<&'static Mailbox> {
    pen.dice.pick(company.mailboxes)
}

fn any_contact(pen: &mut Pen, company: &Company) -> Option<Client> {
    pen.dice.pick(&company.contacts).cloned()
}

/// One of the letters; an empty list where the company lacks what it takes.
fn one(letter: Option<Letter>) -> Vec<Letter> {
    letter.into_iter().collect()
}

/// A newsletter with List-Id.
pub fn newsletter(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    let issues = [
        (
            "Bar & Boiler Weekly",
            "barandboiler.example",
            "Five grinders under the microscope",
        ),
        (
            "Fachblatt Röstkunst",
            "roestkunst.example",
            "Neue Röstprofile für den Frühling",
        ),
        (
            "Le Fil du Café",
            "lefilducafe.example",
            "Le salon de Lyon en dix stands",
        ),
        (
            "Trade Fair Bulletin",
            "tradefairs.example",
            "Early-bird stands end on Friday",
        ),
    ];
    one((|| {
        let mailbox = any_mailbox(pen, company)?;
        let (name, domain, subject) = *pen.dice.pick(&issues)?;
        let number = pen.dice.between(100, 999);
        let from = Party::new(name, &format!("news@{domain}"));
        let mut draft = from_outside(pen, from, mailbox, &format!("{subject} – #{number}"), at);
        draft.charset = Charset::Latin1;
        draft.extra.push(("List-Id", format!("<news.{domain}>")));
        draft.extra.push((
            "List-Unsubscribe",
            format!("<https://{domain}/unsubscribe/{number}>"),
        ));
        draft.extra.push(("Precedence", "bulk".to_owned()));
        draft.text = format!(
            "{subject}\n\nRead it at https://{domain}/issues/{number}\n\nYou get this since you asked for it."
        );
        draft.html = Some(format!(
            "<html><body><h1>{subject}</h1><p><a href=\"https://{domain}/issues/{number}\">Read the issue</a></p>\
             <img src=\"https://{domain}/open.gif?n={number}\" width=\"1\" height=\"1\" alt=\"\"></body></html>"
        ));
        Some(incoming(&draft, mailbox, Kind::Newsletter, NEVER_SAVED))
    })())
}

/// A mail of ours to an address that is no more, and what the other server says to it.
pub fn bounce(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    let both = (|| {
        let mailbox = mailbox_named(company, "sales")?;
        let client = any_contact(pen, company)?;
        let person = Correspondent::from(&client);
        let gone = format!("old.{}@{}", pen.dice.between(10, 9999), person.domain());
        let ours = Party::new("Tarn & Vale", &mailbox.address());
        let sent_id = pen.message_id(DOMAIN);
        let subject = "Your service contract ends soon";
        let mut sent = Draft::new(ours.clone(), Party::new("", &gone), subject, at, &sent_id);
        sent.text =
            "Hello,\n\nyour service contract ends next month. Shall we renew it?\n\nTarn & Vale"
                .to_owned();
        let mut outgoing = incoming(&sent, mailbox, Kind::Answer, SAVED);
        outgoing.folder = Some("Sent");

        let host = format!("mx.{}", person.domain());
        let later = at.plus_seconds(4);
        let id = pen.message_id(&host);
        let from = Party::new("Mail Delivery System", &format!("MAILER-DAEMON@{host}"));
        let mut report = Draft::new(
            from,
            Party::new("", &mailbox.address()),
            "Undelivered Mail Returned to Sender",
            later,
            &id,
        );
        report.trace.push((
            "Received",
            received(pen, person.domain(), &mailbox.address(), later),
        ));
        report
            .extra
            .push(("Auto-Submitted", "auto-replied".to_owned()));
        let raw = report_bytes(&report, &host, &gone, &sent);
        let mut letter = incoming(&report, mailbox, Kind::Bounce, AUTOMATIC);
        letter.raw = raw;
        letter.from = String::new();
        Some(vec![outgoing, letter])
    })();
    both.unwrap_or_default()
}

/// The delivery report (RFC 3464): for people, for programs, and the returned headers.
fn report_bytes(report: &Draft, host: &str, recipient: &str, sent: &Draft) -> Vec<u8> {
    let whole = String::from_utf8_lossy(&report.to_bytes()).into_owned();
    // The draft's own part headers give way to those of the report.
    let head = whole
        .split("Content-Type:")
        .next()
        .unwrap_or_default()
        .to_owned();
    let boundary = format!(
        "=_report_{}",
        report.message_id.split('.').next().unwrap_or("0")
    );
    let sent = String::from_utf8_lossy(&sent.to_bytes()).into_owned();
    let returned = sent.split("\r\n\r\n").next().unwrap_or_default();
    format!(
        "{head}Content-Type: multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         This is the mail system at host {host}.\r\n\r\nYour message could not be delivered.\r\n\r\n\
         <{recipient}>: 550 5.1.1 User unknown\r\n\r\n\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; {host}\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 User unknown\r\n\r\n\
         --{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n{returned}\r\n\r\n--{boundary}--\r\n"
    )
    .into_bytes()
}

/// A contact is away.
pub fn out_of_office(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    let texts = [
        (
            "Automatic reply: away until Monday",
            "Thank you for your mail. I am away until Monday and answer then.",
        ),
        (
            "Abwesenheitsnotiz",
            "Vielen Dank für Ihre Nachricht. Ich bin bis Montag nicht im Haus.",
        ),
        (
            "Réponse automatique : absence",
            "Je suis absent jusqu'à lundi et vous répondrai à mon retour.",
        ),
    ];
    one((|| {
        let mailbox = mailbox_named(company, "sales")?;
        let client = any_contact(pen, company)?;
        let (subject, text) = *pen.dice.pick(&texts)?;
        let mut draft = from_outside(
            pen,
            Party::new(client.name, &client.address),
            mailbox,
            subject,
            at,
        );
        draft
            .extra
            .push(("Auto-Submitted", "auto-replied".to_owned()));
        draft
            .extra
            .push(("X-Auto-Response-Suppress", "All".to_owned()));
        draft.text = text.to_owned();
        Some(incoming(&draft, mailbox, Kind::OutOfOffice, AUTOMATIC))
    })())
}

/// A contact invites us to a meeting.
pub fn invitation(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    one((|| {
        let mailbox = mailbox_named(company, "sales")?;
        let client = any_contact(pen, company)?;
        let subject = "Invitation: tasting and site visit";
        let mut draft = from_outside(
            pen,
            Party::new(client.name, &client.address),
            mailbox,
            subject,
            at,
        );
        let clock = |seconds: i64| {
            let moment = chrono::DateTime::from_timestamp(seconds, 0);
            moment.map_or_else(String::new, |moment| {
                moment.format("%Y%m%dT%H%M%SZ").to_string()
            })
        };
        let start = at.seconds() + i64::from(pen.dice.between(2, 12)) * 24 * 3600;
        draft.text = "You are invited to a tasting and a look at the new bar.".to_owned();
        draft.calendar = Some(files::invitation(
            &draft.message_id,
            &client.address,
            &mailbox.address(),
            "Tasting and site visit",
            &clock(start),
            &clock(start + 3600),
        ));
        Some(incoming(&draft, mailbox, Kind::Invitation, AUTOMATIC))
    })())
}

/// What the company's spam filter has put into Junk.
pub fn spam(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    let baits = [
        (
            "Your parcel is waiting!!!",
            "Confirm your address within 24 hours or the parcel goes back.",
        ),
        (
            "Rank #1 in 7 days",
            "We have looked at your website and found 34 errors. Cheap links, guaranteed.",
        ),
        (
            "Invoice overdue - final notice",
            "Open the attached document to avoid legal action.",
        ),
        (
            "Hello dear friend",
            "I am the widow of a late banker and need your kind help with a transfer.",
        ),
    ];
    one((|| {
        let mailbox = any_mailbox(pen, company)?;
        let (subject, text) = *pen.dice.pick(&baits)?;
        let domain = format!("promo{}.example", pen.dice.between(10, 99));
        let from = Party::new("Customer Desk", &format!("no-reply@{domain}"));
        let mut draft = from_outside(pen, from, mailbox, subject, at);
        draft.extra.push(("X-Spam-Flag", "YES".to_owned()));
        draft.text = text.to_owned();
        draft.html = Some(format!(
            "<html><body><h2>{subject}</h2><p>{text}</p><a href=\"https://{domain}/x\">CLICK</a></body></html>"
        ));
        let mut letter = incoming(&draft, mailbox, Kind::Spam, SPAM);
        letter.folder = Some("Junk");
        Some(letter)
    })())
}

fn any_person(pen: &mut Pen, company: &Company) -> Option<&'static Person> {
    pen.dice.pick(company.people)
}

/// A colleague writes to a shared mailbox.
pub fn colleague(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    let notes = [
        (
            "Who takes the trade fair?",
            "We need two people on the stand on both days. Who is in?",
        ),
        (
            "Price list from next month",
            "The new list is on the shared drive. Please quote from it from the first on.",
        ),
        (
            "Machine in the showroom",
            "The demo Duo is back from the workshop and works again.",
        ),
    ];
    one((|| {
        let mailbox = any_mailbox(pen, company)?;
        let person = any_person(pen, company)?;
        let (subject, text) = *pen.dice.pick(&notes)?;
        let id = pen.message_id(DOMAIN);
        let from = Party::new(person.name, &person.address());
        let mut draft = Draft::new(from, Party::new("", &mailbox.address()), subject, at, &id);
        draft
            .trace
            .push(("Received", received(pen, DOMAIN, &mailbox.address(), at)));
        draft.text = format!("{text}\n\n{}", person.name);
        Some(incoming(&draft, mailbox, Kind::Colleague, INTERNAL))
    })())
}

/// Sent from a mailbox to colleagues alone.
pub fn note_to_colleague(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    one((|| {
        let mailbox = mailbox_named(company, "support")?;
        let (one, two) = (any_person(pen, company)?, any_person(pen, company)?);
        let id = pen.message_id(DOMAIN);
        let from = Party::new("Tarn & Vale Service", &mailbox.address());
        let mut draft = Draft::new(
            from,
            Party::new(one.name, &one.address()),
            "Valves are back in stock",
            at,
            &id,
        );
        draft.cc.push(Party::new(two.name, &two.address()));
        draft.text = "The valves came in this morning, forty of them.\n\nService".to_owned();
        let mut letter = incoming(&draft, mailbox, Kind::Colleague, INTERNAL);
        letter.folder = Some("Sent");
        Some(letter)
    })())
}

/// One mail of a contact to two of our mailboxes: two emails of one message.
pub fn to_two_mailboxes(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    let both = (|| {
        let (sales, support) = (
            mailbox_named(company, "sales")?,
            mailbox_named(company, "support")?,
        );
        let client = any_contact(pen, company)?;
        let from = Party::new(client.name, &client.address);
        let mut draft = from_outside(pen, from, sales, "Order and repair in one", at);
        draft.cc.push(Party::new("Service", &support.address()));
        draft.text = format!(
            "Hello,\n\nsales: we take the second grinder.\nservice: please collect the old one when you deliver.\n\n{}\n{}",
            client.name, client.company
        );
        Some(vec![
            incoming(&draft, sales, Kind::Client, SAVED),
            incoming(&draft, support, Kind::Client, SAVED),
        ])
    })();
    both.unwrap_or_default()
}

/// A supplier whose mail the company keeps out of its CRM.
pub fn supplier(pen: &mut Pen, company: &Company, at: Time) -> Vec<Letter> {
    one((|| {
        let mailbox = mailbox_named(company, "info")?;
        let number = pen.dice.between(20_000, 29_999);
        let from = Party::new("Paperworks Billing", &format!("billing@{EXCLUDED_DOMAIN}"));
        let mut draft = from_outside(pen, from, mailbox, &format!("Invoice {number}"), at);
        draft.text = format!("Your invoice {number} is attached. It is due in 14 days.");
        let lines = [
            format!("Paperworks - invoice {number}"),
            "Paper, A4, 40 reams".to_owned(),
        ];
        draft
            .attachments
            .push(files::pdf(&format!("invoice-{number}.pdf"), &lines));
        Some(incoming(&draft, mailbox, Kind::Supplier, EXCLUDED))
    })())
}
