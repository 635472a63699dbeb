//! Conversations (R17): who joins, who only says so, and parents that come late (T01, T02).

use super::office::{Office, Postbox, answering, mail, with};
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::Lead;

const ANN: &str = "ann@client.example";
const US: &str = "sales@us.example";

fn sales(office: &Office) -> Postbox {
    let uma = office.employee("Uma");
    office.postbox(US, uma, |_| ())
}

fn referring(id: &str) -> String {
    format!("References: <{id}@mail.example>\r\n")
}

on_each! {
    fn r17_in_reply_to_joins_references_only_under_the_same_subject(office) {
        let sales = sales(&office);
        let first = office.receive(&sales, &mail(ANN, US, "Offer", "first"));
        // (what, header, subject, whether it joins)
        let rows = [
            ("a reply", answering("first"), "Re: Offer", true),
            ("a reply under another subject", answering("first"), "Something else", true),
            ("References, the same subject", referring("first"), "AW: [Fwd: Offer]", true),
            ("References, the same subject in Chinese", referring("first"), "回复：Offer", true),
            ("References, another subject", referring("first"), "Another offer", false),
            ("a mail that was never seen", answering("unknown"), "Re: Offer", false),
            ("nothing", String::new(), "Re: Offer", false),
        ];
        for (number, (what, header, subject, joins)) in rows.into_iter().enumerate() {
            let id = office.receive(&sales, &with(&header, ANN, US, subject, &format!("m{number}")));
            assert_eq!(office.thread(id) == office.thread(first), joins, "{what}");
        }
    }

    fn r17_a_parent_that_comes_late_gathers_its_children_and_moves_no_link(office) {
        let sales = sales(&office);
        let child = office.receive(&sales, &with(&answering("late"), ANN, US, "Re: Offer", "child"));
        let cousin = office.receive(&sales, &with(&referring("late"), ANN, US, "Re: Offer", "cousin"));
        let other = office.receive(&sales, &with(&referring("late"), ANN, US, "Weather", "other"));
        let before: Vec<_> = [child, cousin, other].map(|id| office.kept(id)).into();
        assert_ne!(office.thread(child), office.thread(cousin));
        let late = office.send(&sales, &mail(US, ANN, "Offer", "late"));
        assert_eq!(office.thread(child), office.thread(late));
        assert_eq!(office.thread(cousin), office.thread(late));
        assert_ne!(office.thread(other), office.thread(late), "another subject");
        let after: Vec<_> = [child, cousin, other].map(|id| office.kept(id)).into();
        assert_eq!(before, after);
        let threads = office.number("SELECT COUNT(*) FROM threads t WHERE NOT EXISTS (SELECT 1 FROM messages g WHERE g.thread_id = t.id)");
        assert_eq!(threads, 0, "no empty thread is left");
    }

    fn t02_a_stranger_who_names_a_message_joins_nothing_and_changes_nothing(office) {
        let sales = sales(&office);
        let first = office.receive(&sales, &mail(ANN, US, "Offer", "first"));
        let ours = office.send(&sales, &with(&answering("first"), US, ANN, "Re: Offer", "ours"));
        let lead = office.item_of(first);
        assert_eq!(office.item_of(ours), lead);
        let told = office.told(lead);
        let forged = [
            with(&answering("first"), "eve@x.example", US, "Re: Offer", "f1"),
            with(&answering("ours"), "eve@x.example", US, "Re: Offer", "f2"),
            with(&format!("{}{}", answering("ours"), referring("first")), "\"ann@client.example\" <eve@x.example>", US, "Re: Offer", "f3"),
            with(&answering("ours"), "eve@x.example, ann@client.example", US, "Re: Offer", "f4"),
            with(&format!("{}Cc: {ANN}\r\n", answering("ours")), "eve@x.example", US, "Re: Offer", "f5"),
            with(&format!("{}Reply-To: {ANN}\r\nSender: {ANN}\r\n", answering("ours")), "eve@x.example", US, "Re: Offer", "f6"),
        ];
        for raw in forged {
            let id = office.receive(&sales, &raw);
            assert_ne!(office.thread(id), office.thread(first), "{raw}");
            assert!(!office.kept(id).items.contains(&lead), "{raw}");
        }
        assert_eq!(office.told(lead), told, "nothing shows on the lead");
        // Nor can a stranger write the parent that our mail names.
        let orphan = office.send(&sales, &with(&answering("missing"), US, ANN, "Re: Deal", "orphan"));
        let thread = office.thread(orphan);
        let by_eve = office.receive(&sales, &mail("eve@x.example", US, "Deal", "missing"));
        assert_eq!(office.thread(orphan), thread);
        assert_ne!(office.thread(by_eve), thread);
    }

    fn t01_ids_that_look_like_ours_make_nobody_one_of_us(office) {
        let sales = sales(&office);
        let ours = office.send(&sales, &mail(US, ANN, "Offer", "v1.b3BhcXVl.0123456789abcdef0123456789abcdef"));
        let leads = office.count(Lead);
        // Old forms, truncated ones, those of another mailbox, repeated ones: none is ours, none joins.
        let ids: Vec<String> = (0..120)
            .map(|number| match number % 4 {
                0 => format!("notify-{number}-1-1795510800"),
                1 => format!("v1.b3BhcXVl.{number:032x}"),
                2 => format!("v1.b3BhcXVl.{number}"),
                _ => format!("v1.{number}.0123456789abcdef0123456789abcdef"),
            })
            .collect();
        let mails: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(number, id)| {
                let from = format!("eve{number}@x.example");
                let header = answering("v1.b3BhcXVl.0123456789abcdef0123456789abcdef");
                (sales.inbox, with(&header, &from, US, "Re: Offer", id), crate::routing::office::NEW)
            })
            .collect();
        office.deliver_all(&sales, &mails, office.now());
        let outgoing = office.number("SELECT COUNT(*) FROM emails WHERE direction = 'OUTGOING'");
        assert_eq!(outgoing, 1, "no id makes a mail ours");
        let joined = office.number(&format!(
            "SELECT COUNT(*) FROM messages WHERE thread_id = {}",
            office.thread(ours)
        ));
        assert_eq!(joined, 1);
        assert_eq!(office.count(Lead), leads + 120, "each is a stranger's first mail");
    }

    fn r17_r18_a_reply_of_an_excluded_client_is_saved(office) {
        let sales = sales(&office);
        let first = office.receive(&sales, &mail(ANN, US, "Offer", "first"));
        office.write(&format!("INSERT INTO crm_exclusions (pattern) VALUES ('{ANN}')"));
        let reply = office.receive(&sales, &with(&answering("first"), ANN, US, "Re: Offer", "reply"));
        assert_eq!(office.kept(reply).items, office.kept(first).items);
        let fresh = office.receive(&sales, &mail(ANN, US, "Something new", "fresh"));
        assert_eq!(office.outcome(fresh), O::Excluded);
    }
}
