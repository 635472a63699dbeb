//! Floods (R19, T10): from one sender, and from ten thousand.

use super::office::{How, NEW, NINE, Office, mail};
use mailroom::actions::ingest::Taken;
use mailroom::model::email::EmailOutcome as O;
use mailroom::model::item::ItemKind::Lead;
use mailroom::model::mailbox::ExistingClientRouting;

const US: &str = "sales@us.example";

fn outcomes(taken: &[Taken]) -> Vec<O> {
    taken
        .iter()
        .map(|taken| match taken {
            Taken::Stored(_, outcome) => *outcome,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn flood(
    office: &Office,
    postbox: &super::office::Postbox,
    from: impl Fn(usize) -> String,
    count: usize,
    how: How,
) -> Vec<O> {
    let mut all = Vec::new();
    let numbers: Vec<usize> = (0..count).collect();
    for part in numbers.chunks(500) {
        let mails: Vec<_> = part
            .iter()
            .map(|number| {
                let from = from(*number);
                let id = format!("{from}-{number}-{}", how.at.seconds());
                (
                    postbox.inbox,
                    mail(&from, US, "Buy", &id.replace('@', ".")),
                    how,
                )
            })
            .collect();
        all.extend(outcomes(&office.deliver_all(postbox, &mails, office.now())));
    }
    all
}

on_each! {
    fn r19_a_flood_from_one_sender_makes_one_item_and_one_warning(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |_| ());
        office.write("UPDATE crm_settings SET sender_limit_per_hour = 20");
        let found = flood(&office, &sales, |_| "eve@x.example".to_owned(), 60, NEW);
        let held = found.iter().filter(|outcome| **outcome == O::RateGuard).count();
        assert_eq!(held, 40, "exactly those above the limit");
        assert!(found[..20].iter().all(|outcome| *outcome == O::Saved));
        assert_eq!(office.count(Lead), 1);
        assert_eq!(office.warnings(&sales), ["SENDER_RATE_GUARD"]);
        // Others, the next hour, and our own mail are let through.
        let other = flood(&office, &sales, |_| "ann@client.example".to_owned(), 1, NEW);
        let later = How { at: NINE.plus_seconds(3_600), ..NEW };
        let next = flood(&office, &sales, |_| "eve@x.example".to_owned(), 1, later);
        assert_eq!((other[0], next[0]), (O::Saved, O::Saved));
    }

    fn r19_where_each_mail_makes_a_lead_the_limit_holds_too(office) {
        let uma = office.employee("Uma");
        let sales = office.postbox(US, uma, |settings| {
            settings.existing_client_routing = ExistingClientRouting::AlwaysNew;
        });
        office.write("UPDATE crm_settings SET sender_limit_per_hour = 5");
        flood(&office, &sales, |_| "eve@x.example".to_owned(), 20, NEW);
        assert_eq!(office.count(Lead), 5);
        assert_eq!(office.number("SELECT COUNT(*) FROM emails"), 20, "all mails are stored");
    }
}

/// Two thousand items within an hour, whoever sends: the rest waits, unsaved, to be seen by its outcome. A backfill is
/// no flood, whatever its dates.
fn t10_ten_thousand_forged_senders(on: crate::support::app::On, senders: usize) {
    let office = Office::new(on);
    let uma = office.employee("Uma");
    let sales = office.postbox(US, uma, |_| ());
    let made = mailroom::rules::routing::MADE_PER_HOUR_MAX;
    // All but the last hundred of the hour's items are counted already.
    office.write(&format!(
        "INSERT INTO sender_counts (mailbox_id, address_key, hour, count) VALUES ({}, '', {}, {})",
        sales.id.0,
        NINE.seconds() / 3_600,
        made - 100
    ));
    let from = |number: usize| format!("forged{number}@x{number}.example");
    let found = flood(&office, &sales, from, senders, NEW);
    assert_eq!(
        found.iter().filter(|outcome| **outcome == O::Saved).count(),
        100
    );
    assert!(found[100..].iter().all(|outcome| *outcome == O::RateGuard));
    assert_eq!(office.count(Lead), 100);
    assert_eq!(office.warnings(&sales), ["SENDER_RATE_GUARD"]);
    assert_eq!(
        office.number("SELECT COUNT(*) FROM emails"),
        i64::try_from(senders).unwrap()
    );
    // What joins is let through, and so is the backfill of the same hour.
    let joins = flood(&office, &sales, |_| "forged1@x1.example".to_owned(), 1, NEW);
    let old = How {
        is_backfill: true,
        ..NEW
    };
    let backfill = flood(
        &office,
        &sales,
        |number| format!("old{number}@y.example"),
        3,
        old,
    );
    assert_eq!((joins[0], backfill[2]), (O::Saved, O::Saved));
}

#[test]
fn t10_a_mailbox_makes_so_many_items_an_hour_on_sqlite() {
    let senders = if super::replay::is_long() {
        10_000
    } else {
        300
    };
    t10_ten_thousand_forged_senders(crate::support::app::On::Sqlite, senders);
}

#[test]
fn t10_a_mailbox_makes_so_many_items_an_hour_on_postgresql() {
    t10_ten_thousand_forged_senders(crate::support::app::On::Postgresql, 300);
}
