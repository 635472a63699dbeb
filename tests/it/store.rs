//! The database itself: migrations, and mail from files byte for byte.

use crate::on_both;
use crate::support::postgres::TestDatabase;
use mailroom::actions::import_mail::{ImportFolder, Imported, import_now, mailbox_for_files};
use mailroom::clock;
use mailroom::mail::mbox::StoredMail;
use mailroom::store::{Store, db};
use serde_json::{Value, json};

fn up_down_up(url: &str) {
    let store = Store::open(url, clock::now()).unwrap();
    store.with_writer(db::revert_all).unwrap();
    store.with_writer(db::migrate).unwrap();
    drop(store);
    Store::open(url, clock::now()).unwrap();
}

#[test]
fn migrations_go_up_down_and_up_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    up_down_up(&format!(
        "sqlite:{}",
        folder.path().join("m.sqlite").display()
    ));
}

#[test]
fn migrations_go_up_down_and_up_postgresql() {
    up_down_up(&TestDatabase::empty().url());
}

/// Imports mails into a file mailbox; what became of them, and every email as the administrator sees it.
async fn import(
    app: &crate::support::app::TestApp,
    mails: Vec<StoredMail>,
) -> (Imported, Vec<Value>) {
    let admin = app.viewer_id(&app.admin).await;
    let codec = app.app().store.codec().clone();
    let connector = mailroom::model::UserId(codec.open_id_of("User", &admin).unwrap());
    let (store, raw) = (app.app().store.clone(), app.app().raw.clone());
    let imported = tokio::task::spawn_blocking(move || {
        let now = clock::now();
        let mailbox =
            mailbox_for_files(&store, "files@ours.example", Some(connector), now).unwrap();
        let folder = ImportFolder::named("INBOX");
        import_now(
            &store,
            &raw,
            (mailbox, &folder),
            &mut mails.into_iter(),
            now,
        )
        .unwrap()
    })
    .await
    .unwrap();
    let mut found = Vec::new();
    let mut after = Value::Null;
    loop {
        let query = "query ($after: Cursor) { emails(first: 50, after: $after) { pageInfo { hasNextPage endCursor }
          nodes { id outcome subject preview bodyText bodyHtml rawUrl attachments { name size url } } } }";
        let data = app.data(&app.admin, query, json!({ "after": after })).await;
        found.extend(data["emails"]["nodes"].as_array().unwrap().clone());
        if data["emails"]["pageInfo"]["hasNextPage"] != true {
            return (imported, found);
        }
        after = data["emails"]["pageInfo"]["endCursor"].clone();
    }
}

/// Every mail is stored with an outcome and found again byte for byte; a second import changes nothing.
async fn nothing_is_lost(app: &crate::support::app::TestApp, mails: Vec<StoredMail>) {
    let (count, raws): (usize, Vec<Vec<u8>>) = (
        mails.len(),
        mails.iter().map(|mail| mail.raw.clone()).collect(),
    );
    let (first, emails) = import(app, mails.clone()).await;
    assert_eq!(first.quarantined, 0, "{first:?}");
    assert_eq!(usize::try_from(first.stored + first.known).unwrap(), count);
    assert_eq!(emails.len(), usize::try_from(first.stored).unwrap());
    let http = reqwest::Client::new();
    let mut kept = std::collections::HashSet::new();
    for email in &emails {
        assert!(email["outcome"].is_string(), "{email:#}");
        let response = http
            .get(email["rawUrl"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{email:#}");
        assert_eq!(
            response.headers()["content-disposition"]
                .to_str()
                .unwrap()
                .split(';')
                .next(),
            Some("attachment")
        );
        kept.insert(response.bytes().await.unwrap().to_vec());
    }
    let store = app.app().store.clone();
    let raw = app.app().raw.clone();
    for mail in &raws {
        let hash = mailroom::store::raw::hash_of(mail);
        let bytes = raw.get(&store, &hash).await.unwrap();
        assert_eq!(&bytes[..], &mail[..]);
    }
    let (second, again) = import(app, mails).await;
    assert_eq!((second.stored, second.quarantined), (0, 0));
    assert_eq!(again.len(), emails.len());
}

on_both! {
    async fn r5_every_imported_mail_has_an_outcome_and_is_kept_byte_for_byte(app) {
        let mut mails: Vec<StoredMail> = crate::support::odd_mails()
            .into_iter()
            .map(|raw| StoredMail { raw, date: None, is_seen: None })
            .collect();
        mails.extend(crate::support::real_mails::real_mails());
        println!("{} mails", mails.len());
        nothing_is_lost(&app, mails).await;
    }
}
