//! Searching through the front door (R43): found within seconds, with the places where it stands, and gone when it is gone.

use crate::on_both;
use crate::spine::connect;
use crate::support::app::{TestApp, text};
use crate::support::dovecot;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ADA: &str = "ada@ours.example";
const SEARCH: &str = "query ($q: String!, $typing: Boolean! = false) { search(query: $q, isTyping: $typing) {
    nodes { found { __typename ... on Email { id subject } ... on Lead { id title } ... on Contact { id title } ... on Deal { id title } }
            snippets { zone parts { text isHit } } }
    totalCount { value } facets { kinds { kind count } mailboxes { mailbox { address } count } senders { address count } months { month count } } } }";

/// A mail with HTML, accents, Chinese and a file.
fn rich_mail() -> String {
    format!(
        "Received: from client.example by ours.example; Mon, 23 Nov 2026 10:00:00 +0000\r\nFrom: Zoë Client <zoe@client.example>\r\n\
         To: {ADA}\r\nSubject: =?utf-8?q?Angebot_f=C3=BCr_drei_Kr=C3=A4ne?=\r\nMessage-ID: <rich@client.example>\r\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Guten Tag,</p><p>we need <b>naïve</b> cranes &lt;soon&gt;. 中文邮件也可以。</p><script>hidden()</script>\r\n\
         --b\r\nContent-Type: application/pdf; name=\"blueprint-v2.pdf\"\r\nContent-Disposition: attachment; filename=\"blueprint-v2.pdf\"\r\n\r\nx\r\n--b--\r\n"
    )
}

async fn find(app: &TestApp, token: &str, query: &str) -> Value {
    let data = app.data(token, SEARCH, json!({ "q": query })).await;
    data["search"].clone()
}

/// What is found, by type and name.
fn names(search: &Value) -> Vec<String> {
    let name = |hit: &Value| {
        let found = &hit["found"];
        let called = found["subject"].as_str().or(found["title"].as_str());
        format!("{} {}", text(&found["__typename"]), called.unwrap())
    };
    search["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect()
}

fn marked(hit: &Value, zone: &str) -> Option<String> {
    let snippets = hit["snippets"].as_array().unwrap();
    let snippet = snippets.iter().find(|snippet| snippet["zone"] == zone)?;
    let part = |part: &Value| {
        if part["isHit"] == json!(true) {
            format!("[{}]", text(&part["text"]))
        } else {
            text(&part["text"])
        }
    };
    Some(
        snippet["parts"]
            .as_array()
            .unwrap()
            .iter()
            .map(part)
            .collect(),
    )
}

/// Asks until the query finds so much.
async fn until_found(app: &TestApp, token: &str, query: &str, count: usize) -> Value {
    let asked = (SEARCH, json!({ "q": query }));
    let data = app.until(token, asked, |data| {
        data["search"]["nodes"].as_array().unwrap().len() == count
    });
    data.await["search"].clone()
}

on_both! {
    async fn r43_mail_is_found_within_seconds_with_the_places_where_it_stands(app) {
        let dovecot = dovecot::start(&[ADA]);
        let token = app.admin.clone();
        connect(&app, &dovecot, &token, ADA).await;
        let delivered = Instant::now();
        dovecot.deliver(rich_mail().as_bytes(), "zoe@client.example", ADA).unwrap();
        let found = until_found(&app, &token, "NAIVE cranes", 1).await;
        let lag = delivered.elapsed();
        println!("delivery to search: {lag:?}");
        assert!(lag < Duration::from_secs(10), "delivery and five seconds: {lag:?}");
        let hit = &found["nodes"][0];
        assert_eq!(hit["found"]["subject"], "Angebot für drei Kräne");
        assert_eq!(marked(hit, "TEXT").unwrap().trim(), "Guten Tag, we need [naïve] [cranes] <soon>. 中文邮件也可以。".to_owned().replace("Tag, ", "Tag,  "));
        // A lead and a contact were made of it.
        until_found(&app, &token, "kräne", 2).await;
        let rows: [(&str, &[&str]); 17] = [
            ("krane", &["Lead Angebot für drei Kräne", "Email Angebot für drei Kräne"]),
            ("ZOE", &["Lead Angebot für drei Kräne", "Email Angebot für drei Kräne"]),
            ("from:zoe", &["Email Angebot für drei Kräne"]),
            ("from:zoe@client.example has:attachment", &["Email Angebot für drei Kräne"]),
            ("to:ada@ours.example cranes", &["Email Angebot für drei Kräne"]),
            ("from:ada", &[]),
            ("blueprint", &["Email Angebot für drei Kräne"]),
            ("blue*", &["Email Angebot für drei Kräne"]),
            ("\"drei kräne\" subject:angebot -from:zoe", &["Lead Angebot für drei Kräne"]),
            ("邮件", &["Email Angebot für drei Kräne"]),
            ("文邮", &["Email Angebot für drei Kräne"]),
            ("邮中", &[]),
            ("hidden", &[]),
            ("in:lead cranes", &["Email Angebot für drei Kräne"]),
            ("in:deal cranes", &[]),
            ("mailbox:ADA@ours.example cranes after:2026-11-23 before:2026-11-24", &["Email Angebot für drei Kräne"]),
            ("cranes after:2026-11-24", &[]),
        ];
        for (query, expected) in rows {
            assert_eq!(names(&find(&app, &token, query).await), expected, "{query}");
        }
        let found = find(&app, &token, "from:zoe").await;
        assert_eq!(marked(&found["nodes"][0], "SENDER").as_deref(), Some("[Zoë] Client <[zoe]@client.example>"));
        assert_eq!(found["facets"]["mailboxes"], json!([{ "mailbox": { "address": ADA }, "count": 1 }]));
        assert_eq!(found["facets"]["senders"], json!([{ "address": "zoe@client.example", "count": 1 }]));
        assert_eq!(found["facets"]["months"], json!([{ "month": "2026-11", "count": 1 }]));
        assert_eq!(found["facets"]["kinds"], json!([{ "kind": "EMAIL", "count": 1 }]));
        // As one types.
        for typed in ["cra", "from:zo", "\"drei kr", "cranes -", "cranes from:"] {
            let data = app.data(&token, SEARCH, json!({ "q": typed, "typing": true })).await;
            assert!(!data["search"]["nodes"].as_array().unwrap().is_empty(), "{typed}");
        }
        assert_eq!(find(&app, &token, "  ").await["totalCount"]["value"], 0);
        // Nobody else finds it.
        let other = app.user("Otto", "otto@ours.example", false).await;
        for query in ["cranes", "krane", "-nothing", "has:attachment", "mailbox:ada@ours.example"] {
            let found = find(&app, &other, query).await;
            assert_eq!((names(&found), &found["totalCount"]["value"]), (vec![], &json!(0)), "{query}");
            assert_eq!(found["facets"]["kinds"], json!([]), "{query}");
        }
    }

    async fn r43_a_query_that_can_t_be_understood_says_where(app) {
        for (query, position, words) in [
            ("offer \"next", 6, "This quote has no end"),
            ("form:ada", 0, "There is no filter"),
            ("a before:soon", 9, "a day, a month or a year"),
        ] {
            let answer = app.ask(&app.admin, SEARCH, json!({ "q": query })).await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{answer:#}");
            assert_eq!(error["extensions"]["position"], position, "{answer:#}");
            assert!(text(&error["message"]).contains(words), "{answer:#}");
        }
    }

    async fn r43_items_are_found_as_they_are_now(app) {
        let token = app.admin.clone();
        let made = app.make(&token, "createContact", json!({ "name": "Grace Hopper", "addresses": ["grace@navy.example"], "company": "Navy" }), "contact { id }").await;
        let contact = text(&made["contact"]["id"]);
        let made = app.make(&token, "createDeal", json!({ "title": "Compiler", "contactIds": [contact] }), "deal { id }").await;
        let deal = text(&made["deal"]["id"]);
        until_found(&app, &token, "compiler", 1).await;
        let found = until_found(&app, &token, "grace@navy.example", 1).await;
        assert_eq!(marked(&found["nodes"][0], "SENDER").as_deref(), Some("[grace@navy.example]"));
        assert_eq!(names(&find(&app, &token, "navy hopper").await), ["Contact Grace Hopper"]);
        // A note, another name, another address.
        app.make(&token, "addNote", json!({ "itemId": deal, "text": "She asked for subroutines." }), "entry { id }").await;
        let found = until_found(&app, &token, "subroutine*", 1).await;
        assert_eq!(marked(&found["nodes"][0], "TEXT").as_deref(), Some("She asked for [subroutines]."));
        app.make(&token, "updateContact", json!({ "contactId": contact, "name": "Amazing Grace", "addresses": ["amazing@navy.example"] }), "contact { id }").await;
        until_found(&app, &token, "amazing@navy.example", 1).await;
        until_found(&app, &token, "hopper", 0).await;
        until_found(&app, &token, "\"grace@navy\"", 0).await;
        // Gone at once.
        app.make(&token, "deleteDeal", json!({ "dealId": deal }), "deletedDealId").await;
        assert_eq!(names(&find(&app, &token, "compiler or subroutines").await), Vec::<String>::new());
    }

    async fn r43_of_very_many_notes_the_newest_are_found(app) {
        let token = app.admin.clone();
        let made = app.make(&token, "createContact", json!({ "name": "Grace Hopper", "addresses": ["grace@navy.example"] }), "contact { id }").await;
        let contact = text(&made["contact"]["id"]);
        for note in ["ha ".repeat(6_000), "ho ".repeat(6_000), "hu ".repeat(6_000), "subroutines".to_owned()] {
            app.make(&token, "addNote", json!({ "itemId": contact, "text": note }), "entry { id }").await;
        }
        let found = until_found(&app, &token, "subroutines", 1).await;
        assert_eq!(marked(&found["nodes"][0], "TEXT").as_deref(), Some("[subroutines]"));
    }

    async fn r43_words_that_begin_so_are_found_whether_few_do_or_very_many(app) {
        let token = app.admin.clone();
        let made = app.make(&token, "createContact", json!({ "name": "Grace Hopper", "addresses": ["grace@navy.example"] }), "contact { id }").await;
        let words: Vec<String> = (0..400).map(|n| format!("typed{n:03}")).collect();
        app.make(&token, "addNote", json!({ "itemId": made["contact"]["id"], "text": words.join(" ") }), "entry { id }").await;
        until_found(&app, &token, "typed000", 1).await;
        for (query, count) in [
            ("typed*", 1),
            ("typed29*", 1),
            ("typed5*", 0),
            ("typed299*", 1),
            ("grac* hopp* typed1*", 1),
            ("-typed29* grace", 0),
            ("-typed5* grace", 1),
            ("subject:typed29*", 0),
            ("subject:hopp*", 1),
            ("hop*", 1),
        ] {
            assert_eq!(find(&app, &token, query).await["nodes"].as_array().unwrap().len(), count, "{query}");
        }
        // As one types.
        for (query, count) in [("\"typed297 typed29", 1), ("\"typed299 typed29", 0), ("\"typed298 typed", 1)] {
            let data = app.data(&token, SEARCH, json!({ "q": query, "typing": true })).await;
            assert_eq!(data["search"]["nodes"].as_array().unwrap().len(), count, "{query}");
        }
    }

    async fn r43_what_a_facet_names_is_found_by_it(app) {
        let token = app.admin.clone();
        let dovecot = dovecot::start(&[ADA]);
        let raw = rich_mail().replace("zoe@client.example", "zoe@bücher.example");
        dovecot.append(ADA, "INBOX", raw.as_bytes()).unwrap();
        connect(&app, &dovecot, &token, ADA).await;
        let found = until_found(&app, &token, "cranes", 1).await;
        let sender = &found["facets"]["senders"][0];
        assert_eq!(sender["count"], 1);
        let query = format!("from:{}", text(&sender["address"]));
        assert_eq!(names(&find(&app, &token, &query).await), ["Email Angebot für drei Kräne"], "{query}");
        for (query, count) in [("after:2026-11-23", 1), ("before:2026-11-24 cranes", 1), ("after:2026-11-24 cranes", 0), ("before:2026-11-23", 0)] {
            assert_eq!(find(&app, &token, query).await["facets"]["senders"].as_array().unwrap().len(), count, "{query}");
        }
    }
}
