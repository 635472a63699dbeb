//! Searches among many mails, which are taken in from files first, and beside `notmuch` over the same files.

use super::common::server::{ADMINISTRATOR, Server, Setting};
use super::common::vocabulary::{any_word, word};
use super::common::{Asked, Figures, on_its_own};
use super::load::Load;
use super::{SERVERS_CORE, pin};
use mailroom::cli::demo::private_server::PrivateFolder;
use mailroom::model::Time;
use mailroom::store::sql::sql;
use mailroom::store::{Store, StoreError, search_index};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Mails of a folder: thousands of files in one are slow to list.
const MAILS_A_FOLDER: u64 = 10_000;
/// Clients who wrote them.
const CLIENTS: u64 = 3_000;
/// One of so many leads is the salesperson's own.
const OWN_OF: i64 = 20;
/// How long is waited for the index, which goes on behind what is taken in.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is looked for: words, so that `notmuch` understands it alike.
const PLAIN: [&str; 4] = ["a word of many mails", "of some", "of few", "two words"];

/// What people look at of what was found.
const SEARCH: &str = "query($q: String!) { search(query: $q, first: 20) { nodes { found { __typename ... on Email { id subject \
    receivedAt from { name address } } } snippets { zone parts { text isHit } } } } }";
/// The mails alone.
const SEARCH_IDS: &str = "query($q: String!) { search(query: $q, first: 20) { nodes { found { ... on Email { messageId } } } } }";

fn text(rng: &mut StdRng, words: u64) -> String {
    let mut text = String::new();
    for number in 0..words {
        let separator = if number % 12 == 11 { "\r\n" } else { " " };
        let _infallible = write!(text, "{}{separator}", any_word(rng.random()));
    }
    text
}

/// Writes them as files, in Maildirs.
fn write_mails(folder: &Path, count: u64) {
    let mut rng = StdRng::seed_from_u64(1);
    for number in 0..count {
        let place = folder.join(format!("{}/cur", number / MAILS_A_FOLDER));
        if number % MAILS_A_FOLDER == 0 {
            for name in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(place.with_file_name(name)).unwrap();
            }
        }
        let client = rng.random_range(0..CLIENTS);
        let subject = text(&mut rng, 5);
        let words = rng.random_range(40..200);
        let body = text(&mut rng, words);
        let (day, minute) = (number / 1440 % 28 + 1, number % 1440);
        let mail = format!(
            "From: Client {client} <client{client}@client.example>\r\nTo: sales@ours.example\r\nSubject: {}\r\nMessage-ID: <{number}@client.example>\r\n\
             Date: {day} Oct 2026 {:02}:{:02}:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n",
            subject.trim_end(),
            minute / 60,
            minute % 60,
        );
        std::fs::write(place.join(format!("{number}:2,S")), mail).unwrap();
    }
}

fn plain_queries() -> Vec<String> {
    let queries = [
        word(1),
        word(500),
        word(15_000),
        format!("{} {}", word(500), word(900)),
    ];
    assert_eq!(queries.len(), PLAIN.len());
    queries.to_vec()
}

/// What else people type.
fn other_queries() -> Vec<String> {
    vec![
        format!("\"{} {}\"", word(1), word(2)),
        format!("{}*", word(900).chars().take(4).collect::<String>()),
        format!("{} from:client7", word(20)),
        format!("{} in:lead", word(30)),
        format!("{} -{}", word(40), word(500)),
        "from:client7".to_owned(),
    ]
}

/// A salesperson who reads their own leads; their address.
fn make_salesperson(server: &Server, setting: &Setting, store: &Store) -> String {
    let address = "sam@ours.example";
    server.run(
        setting,
        &["user", "create", "--name", "Sam", "--address", address],
    );
    let written = store.write_now(Time::from_seconds(1), |tx| {
        let who = "(SELECT id FROM users WHERE address_key = 'sam@ours.example')";
        for statement in [
            format!("UPDATE items SET responsible_id = {who} WHERE id % {OWN_OF} = 0"),
            "INSERT INTO roles (id, name, may_change_crm_settings, created_at, version) VALUES (77, 'One', FALSE, 1, 1)".to_owned(),
            "INSERT INTO role_permissions (role_id, item_kind, action, level) VALUES (77, 'LEAD', 'READ', 'OWN')".to_owned(),
            format!("INSERT INTO role_users (role_id, user_id) SELECT 77, id FROM users WHERE id = {who}"),
        ] {
            sql(statement).run(tx.conn)?;
        }
        Ok::<_, StoreError>(())
    });
    written.unwrap();
    address.to_owned()
}

/// Measures one client's searches.
pub async fn measure(figures: &mut Figures, settings: &[&Setting], asked: &Asked) {
    let mails = asked.number("mails", 1_000_000);
    let files = PrivateFolder::create("mails").unwrap();
    let maildir = files.path().join("mails");
    write_mails(&maildir, mails);
    println!("{mails} mails are written");
    for setting in settings {
        measure_ours(figures, setting, &maildir, mails).await;
    }
    measure_notmuch(figures, files.path());
    for (number, what) in PLAIN.iter().enumerate() {
        for setting in settings {
            let name = format!("search_{}_plain_{number}", setting.name);
            let notmuch = format!("search_notmuch_plain_{number}_p50_ms");
            println!("{number} is {what}");
            figures.put_ratio(
                &format!("{name}_vs_notmuch"),
                &format!("{name}_p50_ms"),
                &notmuch,
            );
        }
    }
}

async fn measure_ours(figures: &mut Figures, setting: &Setting, maildir: &Path, mails: u64) {
    let (_database, own_setting) = on_its_own(setting);
    let setting = &Setting {
        redis_url: None,
        ..own_setting
    };
    let folders: Vec<String> = (0..mails.div_ceil(MAILS_A_FOLDER))
        .map(|number| maildir.join(number.to_string()).display().to_string())
        .collect();
    let mut arguments = vec!["import", "--mailbox", "sales@ours.example"];
    arguments.extend(["--connector", ADMINISTRATOR]);
    arguments.extend(folders.iter().map(String::as_str));
    let mut started = Instant::now();
    let server = Server::start_after(setting, |run| {
        started = Instant::now();
        println!("{}", run(&arguments));
        figures.put(
            &format!("search_{}_taken_in_per_second", setting.name),
            mails as f64 / started.elapsed().as_secs_f64(),
        );
        started = Instant::now();
    })
    .await;
    let url = setting
        .database_url
        .clone()
        .unwrap_or_else(|| server.sqlite_url());
    let name = setting.name;
    let store = Store::open(&url, Time::from_seconds(1)).unwrap();
    loop {
        let standing = store.read_now(|conn| search_index::standing(conn, 1));
        if standing.unwrap() == search_index::Standing::UpToDate {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the index is never complete");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    figures.put(
        &format!("search_{name}_indexed_per_second"),
        mails as f64 / started.elapsed().as_secs_f64(),
    );
    let salesperson = make_salesperson(&server, setting, &store);
    if setting.database_url.is_some() {
        // It would do so by itself after a while.
        let analyzed = store.with_writer(|conn| sql("ANALYZE").run(conn).map(drop));
        analyzed.unwrap();
    }
    drop(store);
    pin(server.server_pid(), SERVERS_CORE);
    let administrator = server.token().to_owned();
    let salesperson = server.token_of(setting, &salesperson);
    for (who, token) in [("all", administrator), ("own", salesperson)] {
        let load = |query: &str, queries: Vec<String>| {
            let bodies = queries
                .into_iter()
                .map(|q| json!({ "query": query, "variables": { "q": q } }).to_string());
            Load::posts(server.graphql_url(), &token, bodies.collect())
        };
        let mut everything = plain_queries();
        everything.extend(other_queries());
        // Each by itself first: where time goes.
        for (number, query) in everything.iter().enumerate() {
            let one = load(SEARCH, vec![query.clone()]);
            let measured = one.run(1, Duration::from_secs(2)).await;
            println!(
                "{name}, {who}: {number} {query:?}: p50 {:.2} ms, p99 {:.2} ms, {:.0} bytes",
                measured.median_ms, measured.p99_ms, measured.bytes_each
            );
        }
        let measured = load(SEARCH, everything)
            .run(1, Duration::from_secs(10))
            .await;
        figures.put(&format!("search_{name}_{who}_p50_ms"), measured.median_ms);
        figures.put(&format!("search_{name}_{who}_p99_ms"), measured.p99_ms);
        if who == "own" {
            for (number, query) in plain_queries().into_iter().enumerate() {
                let measured = load(SEARCH_IDS, vec![query])
                    .run(1, Duration::from_secs(2))
                    .await;
                let name = format!("search_{name}_plain_{number}");
                figures.put(&format!("{name}_p50_ms"), measured.median_ms);
                figures.put(&format!("{name}_p99_ms"), measured.p99_ms);
            }
        }
    }
    drop(server.stop());
}

/// Asks notmuch's library for the newest twenty of each, in one process; prints milliseconds as JSON.
const ASK_NOTMUCH: &str = "
import itertools, json, sys, time, notmuch2
database = notmuch2.Database(sys.argv[1])
found = []
for query in sys.argv[2:]:
    times, until = [], time.monotonic() + 2
    while time.monotonic() < until or len(times) < 20:
        began = time.perf_counter()
        messages = database.messages(query, sort=notmuch2.Database.SORT.NEWEST_FIRST)
        ids = [message.messageid for message in itertools.islice(messages, 20)]
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    found.append([times[len(times) // 2], times[(len(times) - 1) * 99 // 100], len(ids)])
print(json.dumps(found))
";

fn measure_notmuch(figures: &mut Figures, folder: &Path) {
    let config = folder.join("notmuch-config");
    let mails = folder.join("mails");
    let written = format!(
        "[database]\npath={}\n[user]\nname=Ada\nprimary_email=ada@ours.example\n[new]\ntags=\n",
        mails.display()
    );
    std::fs::write(&config, written).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .env("NOTMUCH_CONFIG", &config)
            .stdin(Stdio::null())
            .output();
        output
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let has_library = run("/usr/bin/python3", &["-c", "import notmuch2"]);
    if run("notmuch", &["--version"]).is_none() || has_library.is_none() {
        println!("no notmuch with its Python library: nothing is compared with it");
        return;
    }
    let started = Instant::now();
    run("notmuch", &["new", "--quiet"]).unwrap();
    figures.put(
        "search_notmuch_indexed_seconds",
        started.elapsed().as_secs_f64(),
    );
    let (queries, place) = (plain_queries(), mails.display().to_string());
    let mut arguments = vec!["-c", ASK_NOTMUCH, &place];
    arguments.extend(queries.iter().map(String::as_str));
    let answer = run("/usr/bin/python3", &arguments).unwrap();
    let found: Value = serde_json::from_str(&answer).unwrap();
    for (number, times) in found.as_array().unwrap().iter().enumerate() {
        let name = format!("search_notmuch_plain_{number}");
        figures.put(&format!("{name}_p50_ms"), times[0].as_f64().unwrap());
        figures.put(&format!("{name}_p99_ms"), times[1].as_f64().unwrap());
        assert!(times[2].as_u64().unwrap() > 0, "{answer}");
    }
}
