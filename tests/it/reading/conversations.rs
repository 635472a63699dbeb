//! Conversations through the front door (R40): with what they show, split, merged and put back.

use crate::on_both;
use crate::spine::connect;
use crate::support::app::{TestApp, text};
use crate::support::dovecot;
use mailroom::store::sql::sql;
use serde_json::{Value, json};

const ADA: &str = "ada@ours.example";
const OTTO: &str = "otto@ours.example";
const THREADS: &str = "{ threads { nodes { id subject messageCount unreadCount participants { name address }
    lastEmail { preview } emails(first: 9) { nodes { id subject } } changes { id kind by { name } undoneAt } } } }";

/// A mail of a conversation: its number, and that of the mail that it answers.
fn mail(number: u32, answers: Option<u32>, subject: &str, body: &str) -> String {
    let answers = answers.map_or_else(String::new, |answers| {
        format!("In-Reply-To: <m{answers}@client.example>\r\n")
    });
    format!(
        "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:0{number} +0000\r\nFrom: Cleo Client <cleo@client.example>\r\n\
         To: {ADA}\r\nSubject: {subject}\r\nMessage-ID: <m{number}@client.example>\r\n{answers}\
         Date: Mon, 23 Nov 2026 10:00:0{number} +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}"
    )
}

/// The subjects of each conversation's emails, the newest conversation first.
async fn threads(app: &TestApp, token: &str) -> Vec<(String, Vec<String>)> {
    let data = app.data(token, THREADS, json!({})).await;
    let nodes = data["threads"]["nodes"].as_array().unwrap();
    let subjects = |node: &Value| {
        let emails = node["emails"]["nodes"].as_array().unwrap();
        (
            text(&node["id"]),
            emails.iter().map(|email| text(&email["subject"])).collect(),
        )
    };
    nodes.iter().map(subjects).collect()
}

async fn ids_of(app: &TestApp, token: &str) -> Vec<(String, String)> {
    let data = app
        .data(
            token,
            "{ emails(first: 9) { nodes { id subject } } }",
            json!({}),
        )
        .await;
    let nodes = data["emails"]["nodes"].as_array().unwrap();
    nodes
        .iter()
        .map(|email| (text(&email["subject"]), text(&email["id"])))
        .collect()
}

fn subjects(of: &[(String, Vec<String>)]) -> Vec<Vec<&str>> {
    of.iter()
        .map(|(_, emails)| emails.iter().map(String::as_str).collect())
        .collect()
}

on_both! {
    async fn r40_conversations_are_split_merged_and_put_back(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        for raw in [
            mail(1, None, "Cranes", "Hello Ada,\r\n\r\nwe need cranes.\r\n\r\nBest regards\r\nCleo\r\n"),
            mail(2, Some(1), "Re: Cranes", "Three of them.\r\n\r\nOn 23 Nov 2026, Cleo wrote:\r\n> we need cranes.\r\n"),
            mail(3, Some(2), "Re: Cranes!", "And a truck.\r\n"),
            mail(4, None, "Trucks", "We need a truck.\r\n"),
        ] {
            dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        }
        connect(&app, &dovecot, &token, ADA).await;
        let query = ("{ emails(first: 9) { nodes { id } } }", json!({}));
        app.until(&token, query, |data| data["emails"]["nodes"].as_array().unwrap().len() == 4).await;

        let data = app.data(&token, THREADS, json!({})).await;
        let cranes = &data["threads"]["nodes"][1];
        assert_eq!(cranes["subject"], "Cranes");
        assert_eq!((&cranes["messageCount"], &cranes["unreadCount"]), (&json!(3), &json!(3)));
        assert_eq!(cranes["lastEmail"]["preview"], "And a truck.");
        assert_eq!(cranes["participants"], json!([{ "name": "Cleo Client", "address": "cleo@client.example" }, { "name": null, "address": ADA }]));
        let all = ids_of(&app, &token).await;
        let id = |subject: &str| all.iter().find(|(found, _)| found == subject).unwrap().1.clone();
        let blocks = "query ($id: ID!) { email(id: $id) { bodyBlocks { kind text } } }";
        let data = app.data(&token, blocks, json!({ "id": id("Cranes") })).await;
        let kinds: Vec<&str> = data["email"]["bodyBlocks"].as_array().unwrap().iter().map(|block| block["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["OWN", "SIGNATURE"]);
        let data = app.data(&token, blocks, json!({ "id": id("Re: Cranes") })).await;
        assert_eq!(data["email"]["bodyBlocks"][1]["kind"], "QUOTED");

        // Split.
        let wanted = "thread { id emails(first: 9) { nodes { subject } } } change { id kind by { name } thread { id } undoneAt }";
        let split = app.make(&token, "splitThread", json!({ "emailIds": [id("Re: Cranes!")], "idempotencyKey": "k" }), wanted).await;
        let again = app.make(&token, "splitThread", json!({ "emailIds": [id("Re: Cranes!")], "idempotencyKey": "k" }), wanted).await;
        assert_eq!(split, again);
        assert_eq!(split["change"]["by"]["name"], "Ada Admin");
        let now = threads(&app, &token).await;
        assert_eq!(subjects(&now), [vec!["Trucks"], vec!["Re: Cranes!"], vec!["Cranes", "Re: Cranes"]]);
        // Not all of a conversation, and not of several.
        for emails in [vec![id("Trucks")], vec![id("Trucks"), id("Cranes")]] {
            let refused = app.mutate(&token, "splitThread", json!({ "emailIds": emails }), "thread { id }").await;
            assert_eq!(refused["userErrors"][0]["code"], "BAD_INPUT", "{refused:#}");
        }
        // Merge the truck into the trucks.
        let (trucks, truck) = (now[0].0.clone(), now[1].0.clone());
        let input = json!({ "threadId": trucks, "mergeThreadIds": [truck] });
        let merged = app.make(&token, "mergeThreads", input, wanted).await;
        assert_eq!(merged["thread"]["id"], json!(trucks));
        assert_eq!(subjects(&threads(&app, &token).await), [vec!["Re: Cranes!", "Trucks"], vec!["Cranes", "Re: Cranes"]]);
        // Whoever sees nothing of it finds nothing, and changes nothing.
        let otto = app.user("Otto", "otto@ours.example", false).await;
        let change = text(&merged["change"]["id"]);
        for (verb, input) in [
            ("splitThread", json!({ "emailIds": [id("Cranes")] })),
            ("mergeThreads", json!({ "threadId": trucks, "mergeThreadIds": [now[2].0] })),
            ("undoThreadChange", json!({ "threadChangeId": change })),
        ] {
            let refused = app.mutate(&otto, verb, input, "__typename").await;
            assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND", "{verb}: {refused:#}");
        }
        let node = "query ($id: ID!) { node(id: $id) { id } thread(id: $id) { id } }";
        assert!(app.data(&otto, node, json!({ "id": change })).await["node"].is_null());
        assert_eq!(app.data(&token, node, json!({ "id": change })).await["node"]["id"], json!(change));
        // A change can't be taken back past a later one; in order it can.
        let first = text(&split["change"]["id"]);
        let refused = app.mutate(&token, "undoThreadChange", json!({ "threadChangeId": first }), "change { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE", "{refused:#}");
        for change in [change.clone(), first] {
            app.make(&token, "undoThreadChange", json!({ "threadChangeId": change }), "change { id undoneAt }").await;
        }
        let back = threads(&app, &token).await;
        assert_eq!(subjects(&back), [vec!["Trucks"], vec!["Cranes", "Re: Cranes", "Re: Cranes!"]]);
        let refused = app.mutate(&token, "undoThreadChange", json!({ "threadChangeId": change }), "change { id }").await;
        assert_eq!(refused["userErrors"][0]["code"], "CHANGED_SINCE", "{refused:#}");
        let data = app.data(&token, THREADS, json!({})).await;
        let changes = data["threads"]["nodes"][1]["changes"].as_array().unwrap();
        assert_eq!(changes.iter().map(|change| change["kind"].as_str().unwrap()).collect::<Vec<_>>(), ["SPLIT"]);
        assert!(changes.iter().all(|change| !change["undoneAt"].is_null()));
    }

    async fn r40_nobody_puts_back_what_they_don_t_see(app) {
        let token = app.admin.clone();
        let otto = app.user("Otto", OTTO, false).await;
        let dovecot = dovecot::start(&[ADA, OTTO]);
        let first = mail(1, None, "Cranes", "We need cranes.\r\n");
        for raw in [&first, &mail(2, Some(1), "Re: Cranes", "Three of them.\r\n"), &mail(4, None, "Trucks", "We need a truck.\r\n")] {
            dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        }
        dovecot.append(OTTO, "INBOX", first.as_bytes()).unwrap();
        let query = ("{ threads { nodes { emails(first: 9) { nodes { id } } } } }", json!({}));
        for (token, address, count) in [(&token, ADA, 2), (&otto, OTTO, 1)] {
            connect(&app, &dovecot, token, address).await;
            app.until(token, query.clone(), |data| data["threads"]["nodes"].as_array().unwrap().len() == count).await;
        }
        let now = threads(&app, &token).await;
        let input = json!({ "threadId": now[0].0, "mergeThreadIds": [now[1].0] });
        app.make(&token, "mergeThreads", input, "thread { id }").await;
        assert_eq!(subjects(&threads(&app, &token).await), [vec!["Cranes", "Cranes", "Re: Cranes", "Trucks"]]);
        // Otto has one of the copies of the first mail, and puts back that message.
        let change_of = async |token: &str| {
            let data = app.data(token, THREADS, json!({})).await;
            let changes = data["threads"]["nodes"][0]["changes"].as_array().unwrap().clone();
            let standing: Vec<String> = changes.iter().filter(|change| change["undoneAt"].is_null()).map(|change| text(&change["id"])).collect();
            assert_eq!(standing.len(), 1, "{data:#}");
            standing[0].clone()
        };
        let change = change_of(&otto).await;
        app.make(&otto, "undoThreadChange", json!({ "threadChangeId": change }), "change { undoneAt }").await;
        assert_eq!(subjects(&threads(&app, &token).await), [vec!["Re: Cranes", "Trucks"], vec!["Cranes", "Cranes"]]);
        // Who sees the rest puts that back.
        let rest = change_of(&token).await;
        app.make(&token, "undoThreadChange", json!({ "threadChangeId": rest }), "change { undoneAt }").await;
        assert_eq!(subjects(&threads(&app, &token).await), [vec!["Trucks"], vec!["Cranes", "Cranes", "Re: Cranes"]]);
    }

    async fn r40_a_crowd_in_one_conversation_hides_nobody_in_another(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        for raw in [mail(1, None, "Cranes", "We need cranes.\r\n"), mail(4, None, "Trucks", "We need a truck.\r\n")] {
            dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        }
        connect(&app, &dovecot, &token, ADA).await;
        let query = ("{ emails(first: 9) { nodes { id } } }", json!({}));
        app.until(&token, query, |data| data["emails"]["nodes"].as_array().unwrap().len() == 2).await;
        let crowd = app.app().store.write(mailroom::clock::now(), |tx| {
            sql("WITH RECURSIVE n (x) AS (SELECT 1000 UNION ALL SELECT x + 1 FROM n WHERE x < 7000) \
                 INSERT INTO participants (email_id, role, position, address) \
                 SELECT e.id, 'CC', x, 'c' || x || '@client.example' FROM n, emails e WHERE e.subject = 'Cranes'").run(tx.conn)
        });
        crowd.await.unwrap();
        let data = app.data(&token, THREADS, json!({})).await;
        let counts: Vec<usize> = data["threads"]["nodes"].as_array().unwrap().iter().map(|thread| thread["participants"].as_array().unwrap().len()).collect();
        assert_eq!(counts, [2, 100]);
    }
}
