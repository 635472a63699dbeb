//! vCards make contacts (R19).

use super::office::{Office, Postbox, mail};
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::Contact;

const US: &str = "sales@us.example";

fn card(name: &str, address: &str) -> String {
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{name}\r\nEMAIL:{address}\r\nTEL:+49 30 1234\r\nORG:Client Ltd\r\nEND:VCARD\r\n"
    )
}

fn introducing(from: &str, cards: &str, id: &str) -> String {
    let plain = mail(from, US, "Meet them", id);
    let head = plain.split_once("\r\n\r\n").unwrap().0;
    format!(
        "{head}\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n--b\r\nContent-Type: text/vcard; name=them.vcf\r\n\
         Content-Disposition: attachment\r\n\r\n{cards}--b--\r\n"
    )
}

fn sales(office: &Office, wanted: bool) -> Postbox {
    let uma = office.employee("Uma");
    office.postbox(US, uma, |settings| settings.vcard_contacts = wanted)
}

fn contacts(office: &Office) -> Vec<String> {
    office.rows("SELECT name FROM items WHERE kind = 'CONTACT' ORDER BY id")
}

on_each! {
    fn r19_a_vcard_makes_a_contact_once(office) {
        let sales = sales(&office, true);
        let vic = office.employee("Vic");
        office.write(&format!("UPDATE mailbox_queue SET user_id = {}", vic.0));
        let id = office.receive(&sales, &introducing("ann@client.example", &card("Bob Boss", "Bob@Client.example"), "one"));
        assert_eq!(contacts(&office), ["Bob Boss"]);
        let (company, source, responsible): (Option<String>, Option<String>, i64) =
            office.one("SELECT company, source, responsible_id FROM items WHERE kind = 'CONTACT'");
        assert_eq!((company.as_deref(), source.as_deref()), (Some("Client Ltd"), Some("Email")));
        assert_eq!(responsible, vic.0, "whoever answers for the mail");
        let phone: String = office.one("SELECT phone FROM item_phones");
        assert_eq!(phone, "+49 30 1234");
        assert_eq!(office.kept(id).items.len(), 1, "the mail stays on its lead alone");
        // Again, from somebody else, under another name: it is the same person.
        office.receive(&sales, &introducing("eve@client.example", &card("Robert", "bob@client.example"), "two"));
        assert_eq!(contacts(&office), ["Bob Boss"]);
        // The turn was the lead's alone.
        assert_eq!(office.pointer(&sales), 0);
        // From now on Bob is known.
        let from_bob = office.receive(&sales, &mail("bob@client.example", US, "Hello", "three"));
        let primary = office.kept(from_bob).items[0];
        assert_eq!(office.get(primary).kind, Contact);
    }

    fn r19_our_own_people_excluded_ones_and_bad_cards_make_no_contact(office) {
        let sales = sales(&office, true);
        office.employee("Vic");
        office.write("INSERT INTO crm_exclusions (pattern) VALUES ('spammy.example')");
        let cards = [
            card("Vic", "vic@us.example"),
            card("Our mailbox", US),
            card("Excluded", "x@spammy.example"),
            card("No address", "none"),
            "BEGIN:VCARD\r\nEMAIL:never@ends.example\r\n".to_owned(),
        ];
        let id = office.receive(&sales, &introducing("ann@client.example", &cards.concat(), "one"));
        assert_eq!(office.outcome(id), O::Saved);
        assert_eq!(contacts(&office), Vec::<String>::new());
    }

    fn r19_only_saved_mail_introduces_and_only_where_it_is_wanted(office) {
        let sales = sales(&office, false);
        office.receive(&sales, &introducing("ann@client.example", &card("Bob", "bob@client.example"), "one"));
        office.write("UPDATE mailboxes SET vcard_contacts = TRUE");
        let held = introducing("dan@client.example", &card("Bob", "bob@client.example"), "two");
        office.arrive(&sales, sales.spam, &held, crate::routing::office::NEW);
        assert_eq!(contacts(&office), Vec::<String>::new());
        office.receive(&sales, &held);
        assert_eq!(contacts(&office), ["Bob"], "moved out of spam, it is saved and introduces him");
    }

    fn r19_a_client_s_own_card_makes_the_client_s_contact(office) {
        let sales = sales(&office, true);
        let first = office.receive(&sales, &introducing("ann@client.example", &card("Ann Client", "ann@client.example"), "one"));
        let lead = office.item_of(first);
        let second = office.kept(office.receive(&sales, &mail("ann@client.example", US, "More", "two")));
        assert_eq!(second.items[0], lead);
        assert_eq!(office.get(second.items[1]).name.as_deref(), Some("Ann Client"));
        assert_eq!(office.get(second.items[1]).responsible_id, office.get(lead).responsible_id);
    }
}
