//! Senders that are killed at any moment: each mail still goes out at most once, and none is forgotten.
//! `MAILROOM_TEST_LONG=1`: 500 mails and 200 kills.

use super::desk::{Desk, hurry};
use crate::on_both;
use crate::support::app::{On, PATIENCE, TestApp};
use mailroom::clock;
use mailroom::store::sql::{Row, sql};
use mailroom::store::{Store, StoreError};
use rand::Rng;
use serde_json::json;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mailroom");

/// Mails, and kills.
fn size() -> (usize, usize) {
    if std::env::var_os("MAILROOM_TEST_LONG").is_some() {
        (500, 200)
    } else {
        (40, 10)
    }
}

/// A process that ends with the test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ended_already = self.0.wait();
    }
}

fn launch(app: &TestApp) -> Process {
    let command = match app.on() {
        On::Sqlite => "serve",
        On::Postgresql => "worker",
    };
    let child = Command::new(PROGRAM)
        .arg(command)
        .envs(app.environment())
        .env("MAILROOM_LOG", "error")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

fn rows<T: Row>(store: &Store, query: &'static str) -> Vec<T> {
    store.read_now(|conn| sql(query).rows(conn)).unwrap()
}

/// The leases of a process that was killed run out. Time is not what is tested here.
fn let_leases_run_out(store: &Store) {
    let done = store.write_now(clock::now(), |tx| {
        sql("UPDATE leases SET expires_at = 0").run(tx.conn)?;
        Ok::<_, StoreError>(())
    });
    done.unwrap();
}

on_both! {
    async fn r41_a_sender_that_is_killed_at_random_moments_sends_each_mail_at_most_once_and_forgets_none(app) {
        let (mails, kills_wanted) = size();
        let desk = Desk::new(&app).await;
        for number in 0..mails {
            let draft = desk.draft(&app, &format!("n{number}@client.example"), &format!("Mail {number}")).await;
            let input = json!({ "draftId": draft, "undoSeconds": 120 });
            app.make(&app.admin, "sendEmail", input, "draft { id }").await;
        }
        app.stop().await;
        desk.smtp.state().takes = Duration::from_millis(4);
        let url = app.environment().into_iter().find(|(name, _)| *name == "DATABASE_URL").unwrap().1;
        let store = Store::open(&url, clock::now()).unwrap();
        let open = "SELECT COUNT(*) FROM drafts WHERE state IN ('QUEUED', 'SENDING')";
        let mut kills = 0;
        let started = Instant::now();
        while rows::<i64>(&store, open)[0] > 0 {
            hurry(&store);
            let process = launch(&app);
            let life = Duration::from_millis(rand::rng().random_range(150..1500));
            let until = Instant::now() + if kills < kills_wanted { life } else { PATIENCE };
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while Instant::now() < until && rows::<i64>(&store, open)[0] > 0 {
                pace.tick().await;
                if kills >= kills_wanted {
                    hurry(&store);
                }
            }
            drop(process);
            let_leases_run_out(&store);
            kills += 1;
            assert!(kills <= kills_wanted + 5, "{} mails wait after {:?}", rows::<i64>(&store, open)[0], started.elapsed());
        }
        let mut unknown = 0;
        let found: Vec<(String, String)> = rows(&store, "SELECT content, state FROM drafts");
        assert_eq!(found.len(), mails);
        for (content, state) in found {
            let content: serde_json::Value = serde_json::from_str(&content).unwrap();
            let to = content["to"][0]["address"].as_str().unwrap().to_owned();
            let copies = desk.smtp.taken_for(&to).len();
            match state.as_str() {
                "SENT" => assert_eq!(copies, 1, "{to} was sent"),
                "UNKNOWN" => {
                    unknown += 1;
                    assert!(copies <= 1, "{to} got {copies} copies");
                }
                other => panic!("{to} is {other}"),
            }
        }
        println!("{kills} kills, {unknown} of {mails} mails UNKNOWN, {:?}", started.elapsed());
        let doubled = "SELECT COUNT(*) FROM (SELECT 1 FROM timeline_entries WHERE kind = 'EMAIL_SENT' GROUP BY item_id, message_id HAVING COUNT(*) > 1) AS d";
        assert_eq!(rows::<i64>(&store, doubled), [0]);
        let sent = "SELECT COUNT(*) FROM emails";
        assert_eq!(rows::<i64>(&store, sent)[0], i64::try_from(mails - unknown).unwrap());
    }
}
