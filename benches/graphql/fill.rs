//! A database with many timeline entries, written straight into its tables.

use mailroom::model::Time;
use mailroom::store::db::Kind;
use mailroom::store::sql::{Value, insert_all, sql};
use mailroom::store::{Store, StoreError, Tx};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Items that the entries are spread over, at most, and entries that each has at least.
const LEADS_MAX: i64 = 200;
const ENTRIES_MIN: i64 = 200;
/// People who did it: administrators, who see it all.
pub const USERS: i64 = 220;
/// Rows of a statement.
const ROWS: i64 = 5_000;
/// Ids of ours begin here: those of the installation itself are lower.
const FIRST: i64 = 10_000_000;
const MONTH: i64 = 30 * 86_400_000_000;
const BEGINS: i64 = 1_790_000_000_000_000;

/// What there is.
pub struct Filled {
    /// Items, each with a position in the middle of its timeline.
    pub middles: Vec<(i64, i64)>,
}

/// Fills the database behind an installation; the first entries of each timeline lie before `middles`.
pub fn fill(url: &str, entries: i64) -> Filled {
    let leads = (entries / ENTRIES_MIN).clamp(1, LEADS_MAX);
    fill_leads(url, entries, leads);
    // The page behind the first hundred.
    let middles = (0..leads).map(|lead| (FIRST + lead, FIRST + lead + 99 * leads));
    Filled {
        middles: middles.collect(),
    }
}

/// Somebody who reads the leads that they are responsible for, of so many that lie apart.
pub fn fill_for_one(url: &str, entries: i64, (leads, own): (i64, i64)) -> String {
    let store = fill_leads(url, entries, leads);
    let write = store.write_now(Time::from_micros(BEGINS), |tx| {
        let mut run = |text: String| sql(text).run(tx.conn).map(drop);
        run(format!(
            "UPDATE users SET is_administrator = FALSE WHERE id = {FIRST}"
        ))?;
        // They have no mailbox.
        run(format!("UPDATE mailboxes SET connector_id = {FIRST} + 1"))?;
        run(format!("UPDATE items SET responsible_id = {FIRST} + 1"))?;
        let every = leads / own;
        run(format!(
            "UPDATE items SET responsible_id = {FIRST} WHERE id % {every} = 0"
        ))?;
        run(format!(
            "INSERT INTO roles (id, name, may_change_crm_settings, created_at, version) VALUES ({FIRST}, 'One', FALSE, {BEGINS}, 1)"
        ))?;
        run(format!(
            "INSERT INTO role_permissions (role_id, item_kind, action, level) VALUES ({FIRST}, 'LEAD', 'READ', 'OWN')"
        ))?;
        run(format!(
            "INSERT INTO role_users (role_id, user_id) VALUES ({FIRST}, {FIRST})"
        ))
    });
    write
        .map_err(|error: StoreError| error.to_string())
        .unwrap();
    address_of(0)
}

fn fill_leads(url: &str, entries: i64, leads: i64) -> Store {
    let now = Time::from_micros(BEGINS + MONTH);
    let store = Store::open(url, now).unwrap();
    // The server's indexer begins by having all that there is wait for it.
    let version =
        || store.read_now(|conn| sql("SELECT version FROM search_state").one::<i64>(conn));
    let waits_since = Instant::now();
    while version().unwrap().unwrap_or_default() == 0 {
        assert!(
            waits_since.elapsed() < Duration::from_secs(30),
            "the indexer does not begin"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    store
        .write_now(now, |tx| write_all(tx, entries, leads))
        .map_err(|error: StoreError| error.to_string())
        .unwrap();
    if store.kind() == Kind::Postgresql {
        // It would do so by itself after a while.
        store
            .with_writer(|conn| sql("ANALYZE").run(conn).map(drop))
            .unwrap();
    }
    store
}

/// Where one of the people gets mail.
pub fn address_of(user: i64) -> String {
    format!("user{user}@ours.example")
}

fn write_all(tx: &mut Tx<'_>, entries: i64, leads: i64) -> Result<(), StoreError> {
    write_people(tx, leads)?;
    let mut done = 0;
    while done < entries {
        let until = (done + ROWS).min(entries);
        write_entries(tx, leads, done..until)?;
        done = until;
    }
    let run = |tx: &mut Tx<'_>, text: String| sql(text).run(tx.conn);
    run(
        tx,
        format!("UPDATE positions SET last = {}", FIRST + entries),
    )?;
    // It is not about searching.
    run(tx, "DELETE FROM search_queue".to_owned())?;
    Ok(())
}

fn write_people(tx: &mut Tx<'_>, leads: i64) -> Result<(), StoreError> {
    let users = (0..USERS).map(|n| {
        let address = address_of(n);
        vec![
            Value::from(FIRST + n),
            format!("Person Number {n}").into(),
            address.as_str().into(),
            address.as_str().into(),
            "Europe/Berlin".into(),
            true.into(),
            true.into(),
            1_i64.into(),
            BEGINS.into(),
            1_i64.into(),
        ]
    });
    let columns = "users (id, name, address, address_key, time_zone, is_active, is_administrator, session_version, created_at, version)";
    insert_all(tx.conn, columns, "", users.collect())?;
    let mailbox = vec![
        FIRST.into(),
        "sales@ours.example".into(),
        "sales@ours.example".into(),
        FIRST.into(),
        "imap.ours.example".into(),
        993_i64.into(),
        "TLS".into(),
        "sales".into(),
        // Disconnected: nobody syncs it.
        BEGINS.into(),
        BEGINS.into(),
        true.into(),
        "LEAD".into(),
        "LEAD".into(),
        "ATTACH_ALWAYS".into(),
        true.into(),
        "Mail".into(),
        false.into(),
        0_i64.into(),
        1_i64.into(),
        BEGINS.into(),
        1_i64.into(),
    ];
    let columns = "mailboxes (id, address, address_key, connector_id, imap_host, imap_port, imap_security, login, disconnected_at, \
        connected_at, crm_integration, incoming_creates, outgoing_creates, existing_client_routing, replies_follow_thread, source, \
        vcard_contacts, queue_pointer, settings_version, created_at, version)";
    insert_all(tx.conn, columns, "", vec![mailbox])?;
    let leads = (0..leads).map(|n| {
        vec![
            (FIRST + n).into(),
            "LEAD".into(),
            format!("Offer to client number {n}").into(),
            (FIRST + n % USERS).into(),
            false.into(),
            true.into(),
            (BEGINS + n).into(),
            (BEGINS + MONTH - n).into(),
            false.into(),
            1_i64.into(),
        ]
    });
    let columns = "items (id, kind, title, responsible_id, open_to_everyone, is_open, created_at, last_activity_at, is_extra_lead, version)";
    insert_all(tx.conn, columns, "", leads.collect())?;
    let raw = vec![vec![7_u8].into(), "none".into(), 0_i64.into(), 0_i64.into()];
    insert_all(
        tx.conn,
        "raw_mails (hash, object_key, byte_offset, byte_length)",
        "",
        vec![raw],
    )?;
    let thread = vec![FIRST.into(), "Offers".into(), BEGINS.into()];
    insert_all(
        tx.conn,
        "threads (id, subject, created_at)",
        "",
        vec![thread],
    )
}

fn write_entries(
    tx: &mut Tx<'_>,
    leads: i64,
    numbers: std::ops::Range<i64>,
) -> Result<(), StoreError> {
    let at = |n: i64| BEGINS + n * 1_000;
    let messages = numbers.clone().map(|n| {
        vec![
            Value::from(FIRST + n),
            n.to_be_bytes().to_vec().into(),
            format!("<{n:08}.offer@client{}.example>", n % leads).into(),
            format!("offer {n}").into(),
            FIRST.into(),
            at(n).into(),
        ]
    });
    let columns =
        "messages (id, content_key, message_id_header, subject_base, thread_id, received_at)";
    insert_all(tx.conn, columns, "", messages.collect())?;
    let emails = numbers.clone().map(|n| {
        let mut preview = String::new();
        for word in 0..12 {
            let _infallible = write!(preview, "what we wrote about {} ", (n + word) % 97);
        }
        vec![
            Value::from(FIRST + n),
            (FIRST + n).into(),
            FIRST.into(),
            vec![7_u8].into(),
            "INCOMING".into(),
            "SAVED".into(),
            format!("Client {}", n % leads).into(),
            format!("client{}@client.example", n % leads).into(),
            format!("Re: offer number {n}, and when it is delivered").into(),
            preview.into(),
            at(n).into(),
            at(n).into(),
            at(n).into(),
            (FIRST + n % leads).into(),
            "".into(),
            1_i64.into(),
        ]
    });
    let columns = "emails (id, message_id, mailbox_id, raw_hash, direction, outcome, from_name, from_address, subject, preview, \
        received_at, internal_date, saved_at, primary_item_id, problems, version)";
    insert_all(tx.conn, columns, "", emails.collect())?;
    let links = numbers.clone().map(|n| {
        vec![
            Value::from(FIRST + n),
            (FIRST + n % leads).into(),
            true.into(),
            at(n).into(),
            at(n).into(),
        ]
    });
    insert_all(
        tx.conn,
        "email_links (email_id, item_id, is_primary, received_at, linked_at)",
        "",
        links.collect(),
    )?;
    let entries = numbers.map(|n| {
        vec![
            Value::from(FIRST + n),
            (FIRST + n % leads).into(),
            "EMAIL_RECEIVED".into(),
            at(n).into(),
            (FIRST + n % USERS).into(),
            (FIRST + n).into(),
            (FIRST + n).into(),
        ]
    });
    let columns = "timeline_entries (position, item_id, kind, at, actor_id, email_id, message_id)";
    insert_all(tx.conn, columns, "", entries.collect())
}
