//! What a timeline is measured beside: one joined statement through the same pools, and serde_json. It knows no rights,
//! seals no ids, and has no query language.

use super::PAGE;
use super::fill::Filled;
use super::load::Load;
use super::peers::Peer;
use actix_web::{App, HttpResponse, HttpServer, web};
use mailroom::model::Time;
use mailroom::store::Store;
use mailroom::store::sql::sql;
use serde::Serialize;

/// The word by which this program serves plain JSON.
pub const COMMAND: &str = "--plain";

/// Starts it over this database.
pub fn start(database_url: &str) -> Peer {
    let program = std::env::current_exe().unwrap();
    Peer::start(&program, &[COMMAND, database_url])
}

/// The pages that the other is asked for.
pub fn load(peer: &Peer, filled: &Filled) -> Load {
    let pages = filled.middles.iter();
    Load::gets(
        pages
            .map(|(item, after)| format!("{}/timeline/{item}/{after}", peer.url()))
            .collect(),
    )
}

#[derive(Serialize)]
struct Item {
    id: String,
    title: String,
}

#[derive(Serialize)]
struct Actor {
    id: String,
    name: String,
    address: String,
    time_zone: String,
}

#[derive(Serialize)]
struct Address {
    name: Option<String>,
    address: String,
}

#[derive(Serialize)]
struct Email {
    id: String,
    direction: String,
    outcome: String,
    subject: String,
    preview: String,
    from: Option<Address>,
    received_at: String,
    message_id: Option<String>,
    version: i64,
}

#[derive(Serialize)]
struct Entry {
    cursor: String,
    id: String,
    at: String,
    item: Item,
    actor: Actor,
    email: Email,
}

type Row = (
    i64,
    i64,
    i64,
    String,
    i64,
    String,
    String,
    String,
    i64,
    String,
    String,
    String,
    String,
    Option<String>,
    Option<String>,
    i64,
    Option<String>,
    i64,
);

fn entry(row: Row) -> Entry {
    #[rustfmt::skip]
    let (position, at, item, title, user, name, address, time_zone, email, direction, outcome, subject, preview,
        from_name, from_address, received_at, message_id, version) = row;
    let text = |micros| {
        chrono::DateTime::from_timestamp_micros(micros)
            .unwrap()
            .to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
    };
    Entry {
        cursor: position.to_string(),
        id: position.to_string(),
        at: text(at),
        item: Item {
            id: item.to_string(),
            title,
        },
        actor: Actor {
            id: user.to_string(),
            name,
            address,
            time_zone,
        },
        email: Email {
            id: email.to_string(),
            direction,
            outcome,
            subject,
            preview,
            from: from_address.map(|address| Address {
                name: from_name,
                address,
            }),
            received_at: text(received_at),
            message_id,
            version,
        },
    }
}

async fn timeline(store: web::Data<Store>, path: web::Path<(i64, i64)>) -> HttpResponse {
    let (item, after) = path.into_inner();
    let rows: Vec<Row> = store
        .read(move |conn| {
            sql("SELECT t.position, t.at, i.id, i.title, u.id, u.name, u.address, u.time_zone, e.id, e.direction, e.outcome, \
                 e.subject, e.preview, e.from_name, e.from_address, e.received_at, g.message_id_header, e.version \
                 FROM timeline_entries t JOIN items i ON i.id = t.item_id JOIN users u ON u.id = t.actor_id \
                 JOIN emails e ON e.id = t.email_id JOIN messages g ON g.id = e.message_id WHERE t.item_id = ")
            .bind(item)
            .push(" AND t.position > ")
            .bind(after)
            .push(" ORDER BY t.position LIMIT ")
            .bind(i64::try_from(PAGE).unwrap())
            .rows(conn)
        })
        .await
        .unwrap();
    let entries: Vec<Entry> = rows.into_iter().map(entry).collect();
    assert_eq!(entries.len(), PAGE);
    HttpResponse::Ok()
        .content_type("application/json")
        .body(serde_json::to_vec(&entries).unwrap())
}

/// Serves until it is ended.
pub fn serve(database_url: &str) {
    let store = Store::open(database_url, Time::from_micros(0)).unwrap();
    actix_web::rt::System::new()
        .block_on(async move {
            let store = web::Data::new(store);
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(store.clone())
                    .route("/timeline/{item}/{after}", web::get().to(timeline))
            })
            .workers(2)
            .bind(("127.0.0.1", 0))
            .unwrap();
            println!("http://{}", server.addrs()[0]);
            server.run().await
        })
        .unwrap();
}
