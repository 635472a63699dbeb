//! Whose turn it is (R14) and one item for one client (R16), under workers that run at once and workers that are killed.

use super::office::{NEW, NINE, Office, Postbox, mail};
use crate::support::app::On;
use mailroom::actions::ingest::{Arrival, Taken, ingest_now};
use mailroom::model::item::ItemKind::Lead;
use mailroom::model::{FolderId, MailboxId, UserId};
use mailroom::store::raw::RawStore;
use mailroom::store::{Store, placements};
use rand::Rng;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Barrier;

const US: &str = "sales@us.example";

/// A mailbox whose queue is Uma, Vic and Wim.
fn sales(office: &Office) -> (Postbox, Vec<UserId>) {
    let queue: Vec<UserId> = ["Uma", "Vic", "Wim"]
        .iter()
        .map(|name| office.employee(name))
        .collect();
    let sales = office.postbox(US, queue[0], |settings| settings.queue.clone_from(&queue));
    (sales, queue)
}

/// The mail of the n-th client.
fn first_mail(number: i64) -> String {
    mail(
        &format!("client{number}@x.example"),
        US,
        &format!("Request {number}"),
        &format!("n{number}"),
    )
}

/// In the order of commits, each lead went to the next in the queue, and nobody was left out.
fn turns_are_exact(office: &Office, sales: &Postbox, queue: &[UserId], leads: i64) {
    let made: Vec<i64> = office.rows(
        "SELECT i.responsible_id FROM timeline_entries t JOIN items i ON i.id = t.item_id \
         WHERE t.kind = 'ITEM_CREATED' AND i.kind = 'LEAD' ORDER BY t.position",
    );
    let expected: Vec<i64> = queue
        .iter()
        .map(|user| user.0)
        .cycle()
        .take(made.len())
        .collect();
    assert_eq!(made, expected);
    assert_eq!(i64::try_from(made.len()).unwrap(), leads);
    assert_eq!(office.pointer(sales), leads % 3);
}

on_each! {
    fn r14_turns_are_exact_under_eight_workers_at_once(office) {
        let (sales, queue) = sales(&office);
        let workers = 8;
        let mails = 15;
        let start = Barrier::new(workers);
        std::thread::scope(|scope| {
            for worker in 0..workers {
                let (office, sales, start) = (&office, &sales, &start);
                scope.spawn(move || {
                    start.wait();
                    let numbers: Vec<usize> = (0..mails).map(|number| worker * mails + number).collect();
                    for part in numbers.chunks(1 + worker % 3) {
                        let batch: Vec<_> = part
                            .iter()
                            .map(|number| (sales.inbox, first_mail(i64::try_from(*number).unwrap()), NEW))
                            .collect();
                        for taken in office.deliver_all(sales, &batch, office.now()) {
                            assert!(matches!(taken, Taken::Stored(..)), "{taken:?}");
                        }
                    }
                });
            }
        });
        turns_are_exact(&office, &sales, &queue, 120);
    }

    fn r16_two_first_mails_of_one_client_at_once_make_one_item(office) {
        let (sales, _queue) = sales(&office);
        let rounds = 12;
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for side in 0..2 {
                let (office, sales, start) = (&office, &sales, &start);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let raw = mail(&format!("c{round}@x.example"), US, "Hello", &format!("r{round}s{side}"));
                        start.wait();
                        office.receive(sales, &raw);
                    }
                });
            }
        });
        assert_eq!(office.count(Lead), rounds);
        assert_eq!(office.number("SELECT COUNT(*) FROM emails WHERE outcome = 'SAVED'"), 2 * rounds);
        assert_eq!(office.pointer(&sales), rounds % 3);
    }

    fn r14_the_connector_is_told_once_when_nobody_in_the_queue_is_there(office) {
        let (sales, queue) = sales(&office);
        let told = |office: &Office| office.number(&format!(
            "SELECT COUNT(*) FROM outbox WHERE topics LIKE '%mailbox%{}%'", sales.id.0
        ));
        let active = |user: UserId, is_active: bool| {
            office.write(&format!("UPDATE users SET is_active = {is_active} WHERE id = {}", user.0));
        };
        let responsible = |number| office.kept(office.receive(&sales, &first_mail(number))).responsible;
        assert_eq!(responsible(1), Some(queue[0]));
        active(queue[1], false);
        active(queue[2], false);
        assert_eq!(responsible(2), Some(queue[0]), "those who are not there are passed over");
        assert_eq!(office.warnings(&sales), Vec::<String>::new());
        // Nobody is: the connector (who has left too), so an administrator. Once told, it is known.
        active(queue[0], false);
        let before = told(&office);
        for number in 3..6 {
            assert_eq!(responsible(number), Some(office.admin.user_id));
        }
        assert_eq!(office.warnings(&sales), ["QUEUE_UNUSABLE"]);
        assert_eq!(told(&office), before + 1, "told once");
        assert_eq!(office.pointer(&sales), 1, "nobody has had a turn");
        // A connector who is there stands in.
        office.write(&format!("UPDATE mailboxes SET connector_id = {} WHERE id = {}", office.admin.user_id.0, sales.id.0));
        let kim = office.employee("Kim");
        office.write(&format!("UPDATE mailboxes SET connector_id = {} WHERE id = {}", kim.0, sales.id.0));
        assert_eq!(responsible(6), Some(kim));
        // The queue is good again: the warning goes, and the turn is where it was.
        active(queue[1], true);
        assert_eq!(responsible(7), Some(queue[1]));
        assert_eq!(office.warnings(&sales), Vec::<String>::new());
    }

    fn r14_nothing_made_takes_no_turn(office) {
        let (sales, _queue) = sales(&office);
        office.receive(&sales, &first_mail(1));
        assert_eq!(office.pointer(&sales), 1);
        office.receive(&sales, &mail("client1@x.example", US, "More", "more"));
        office.receive(&sales, &crate::routing::office::with("Precedence: bulk\r\n", "news@x.example", US, "News", "news"));
        assert_eq!(office.pointer(&sales), 1);
    }
}

/// Where a worker of another process works.
const WORK: &str = "MAILROOM_TEST_WORK";
/// Mails that the workers take in, and workers at once.
const MAILS: i64 = 96;

/// Takes in what waits in a folder, of every so-manieth UID, a few at a time, and says so after each batch.
fn work(
    store: &Store,
    raw: &RawStore,
    (mailbox, folder): (MailboxId, FolderId),
    (worker, workers): (i64, i64),
) {
    loop {
        let open = store
            .read_now(|conn| placements::list_open(conn, (folder, 1), NINE, MAILS))
            .unwrap();
        let mine: Vec<_> = open
            .into_iter()
            .filter(|line| line.uid % workers == worker)
            .take(3)
            .collect();
        if mine.is_empty() {
            return;
        }
        let arrivals = mine
            .iter()
            .map(|line| Arrival {
                placement: Some(line.id),
                folder,
                internal_date: NINE,
                is_seen: false,
                is_backfill: false,
                labels: Vec::new(),
                raw: first_mail(line.uid).into_bytes().into(),
            })
            .collect();
        ingest_now(store, raw, (mailbox, None), arrivals, NINE).unwrap();
        println!("\nbatch");
        std::io::stdout().flush().unwrap();
    }
}

/// A worker that the tests below run in processes of their own; run as a test, it works in this one.
#[test]
fn r14_a_worker_takes_in_what_waits() {
    if let Ok(work_at) = std::env::var(WORK) {
        let parts: Vec<&str> = work_at.split('|').collect();
        let number = |place: usize| parts[place].parse::<i64>().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Store::open(parts[0], NINE).unwrap();
        let raw = RawStore::open(parts[1], runtime.handle().clone()).unwrap();
        work(
            &store,
            &raw,
            (MailboxId(number(2)), FolderId(number(3))),
            (number(4), number(5)),
        );
        return;
    }
    let office = Office::new(On::Sqlite);
    let (sales, queue) = sales(&office);
    let waiting: Vec<_> = (0..9).map(|_| (sales.inbox, String::new(), NEW)).collect();
    office.place(&waiting);
    work(office.store(), &office.raw, (sales.id, sales.inbox), (0, 1));
    turns_are_exact(&office, &sales, &queue, 9);
}

struct Worker {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Worker {
    fn start(office: &Office, sales: &Postbox, (worker, workers): (i64, i64)) -> Self {
        let raw = office.folder().join("raw");
        let work_at = format!(
            "{}|{}|{}|{}|{worker}|{workers}",
            office.url(),
            raw.display(),
            sales.id.0,
            sales.inbox.0
        );
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "routing::queue::r14_a_worker_takes_in_what_waits",
                "--exact",
                "--nocapture",
            ])
            .env(WORK, work_at)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        Self { process, said }
    }

    /// Waits for so many batches; `false`: it came to its end before.
    fn wait_for(&mut self, batches: usize) -> bool {
        let mut seen = 0;
        let mut line = String::new();
        while seen < batches {
            line.clear();
            if self.said.read_line(&mut line).unwrap() == 0 {
                return false;
            }
            seen += usize::from(line.trim() == "batch");
        }
        true
    }
}

/// Kills workers in the middle of their work, and starts others in their place, until all is done.
fn turns_stay_exact_under_kills(on: On, workers: i64, kills: usize) {
    let office = Office::new(on);
    let (sales, queue) = sales(&office);
    let waiting: Vec<_> = (0..MAILS)
        .map(|_| (sales.inbox, String::new(), NEW))
        .collect();
    office.place(&waiting);
    let mut dice = rand::rng();
    let mut running: Vec<(i64, Worker)> = (0..workers)
        .map(|worker| (worker, Worker::start(&office, &sales, (worker, workers))))
        .collect();
    let mut killed = 0;
    while let Some((worker, mut process)) = running.pop() {
        let is_at_work = process.wait_for(dice.random_range(1..3));
        if is_at_work && killed < kills {
            // Somewhere in its next batch.
            let breath = std::time::Duration::from_micros(dice.random_range(0..20_000));
            std::thread::park_timeout(breath);
            process.process.kill().unwrap();
            process.process.wait().unwrap();
            killed += 1;
            running.insert(
                0,
                (worker, Worker::start(&office, &sales, (worker, workers))),
            );
        } else {
            while process.wait_for(1) {}
            assert!(process.process.wait().unwrap().success());
        }
    }
    println!("{killed} killed");
    assert!(killed > 0);
    let states: Vec<(String, i64)> =
        office.rows("SELECT state, COUNT(*) FROM placements GROUP BY state");
    assert_eq!(states, [("STORED".to_owned(), MAILS)]);
    assert_eq!(
        office.number("SELECT COUNT(*) FROM emails WHERE outcome = 'SAVED'"),
        MAILS
    );
    turns_are_exact(&office, &sales, &queue, MAILS);
}

#[test]
fn r14_turns_stay_exact_when_workers_are_killed_on_postgresql() {
    turns_stay_exact_under_kills(On::Postgresql, 8, 12);
}

#[test]
fn r14_turns_stay_exact_when_the_worker_is_killed_on_sqlite() {
    turns_stay_exact_under_kills(On::Sqlite, 1, 6);
}
