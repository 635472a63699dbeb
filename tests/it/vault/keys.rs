//! `keys rotate`: online, and at any point to be gone on with.

use crate::on_both;
use crate::spine::connect;
use crate::support::app::TestApp;
use crate::support::dovecot;
use mailroom::auth::key_rotation::{RotationError, Step, prepare_now, rotate_now};
use mailroom::auth::keys::sealing_key_ids;
use mailroom::clock;
use mailroom::store::StoreError;
use mailroom::store::sealed::Place;
use mailroom::store::sql::sql;
use secrecy::ExposeSecret;
use serde_json::json;

const ADA: &str = "ada@ours.example";
const BOB: &str = "bob@ours.example";

/// The mailboxes' numbers and sealed secrets.
async fn sealed(app: &TestApp) -> Vec<(i64, String)> {
    let store = &app.app().store;
    store
        .read(|conn| sql("SELECT id, secret_sealed FROM mailboxes ORDER BY id").rows(conn))
        .await
        .unwrap()
}

const fn place(row: i64) -> Place {
    Place {
        table: "mailboxes",
        row,
        column: "secret_sealed",
    }
}

/// The server that runs opens every secret.
async fn every_secret_opens(app: &TestApp, password: &str) {
    for (row, sealed) in sealed(app).await {
        let opened = app.app().keys.sealer.open(place(row), &sealed).unwrap();
        assert_eq!(opened.expose_secret(), password);
    }
}

/// Rotates as the command does, from another process's point of view; it is ended after the given step.
async fn rotate(app: &TestApp, end_after: Option<Step>) -> Result<u64, RotationError> {
    let config = app.app().config.clone();
    let tool = mailroom::app::App::open(config, mailroom::app::Purpose::Tool)
        .await
        .unwrap();
    tokio::task::spawn_blocking(move || {
        let services = (&tool.store, &tool.keys.sealer);
        let path = tool.config.key_file.as_path();
        rotate_now(services, path, clock::now, &mut |step| {
            if Some(step) == end_after {
                Err(StoreError::Unavailable("ended".to_owned()).into())
            } else {
                Ok(())
            }
        })
        .map(|rotated| rotated.resealed)
    })
    .await
    .unwrap()
}

async fn write(app: &TestApp, statements: Vec<(i64, String)>) {
    let store = &app.app().store;
    store
        .write(clock::now(), move |tx| {
            for (row, sealed) in statements {
                sql("UPDATE mailboxes SET secret_sealed = ")
                    .bind(sealed)
                    .push(" WHERE id = ")
                    .bind(row)
                    .run(tx.conn)?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
}

on_both! {
    async fn a_rotation_that_is_ended_after_any_step_goes_on(app) {
        let dovecot = dovecot::start(&[ADA, BOB]);
        let token = app.admin.clone();
        connect(&app, &dovecot, &token, ADA).await;
        let id = connect(&app, &dovecot, &token, BOB).await;
        let path = app.app().config.key_file.clone();
        let mut seen = sealing_key_ids(&path).unwrap();
        for step in [Step::Added, Step::InUse, Step::Resealed, Step::Dropped] {
            assert!(rotate(&app, Some(step)).await.is_err(), "{step:?}");
            every_secret_opens(&app, dovecot.password()).await;
            let is_over = step == Step::Dropped;
            if !is_over {
                // What the server seals in the middle of a rotation opens after it.
                let owner = app.viewer_id(&token).await;
                let input = json!({ "mailboxId": id, "connectorId": owner, "secret": { "password": dovecot.password() } });
                app.make(&token, "transferMailbox", input, "mailbox { id }").await;
                rotate(&app, None).await.unwrap();
            }
            every_secret_opens(&app, dovecot.password()).await;
            let ids = sealing_key_ids(&path).unwrap();
            assert_eq!(ids.len(), 1, "{step:?}: the old key is gone");
            assert!(!seen.contains(&ids[0]), "{step:?}: the key is a new one");
            let prefix = format!("v1.{}.", ids[0]);
            assert!(sealed(&app).await.iter().all(|(_row, text)| text.starts_with(&prefix)), "{step:?}");
            seen.extend(ids);
        }
        let audited = app.data(&token, "{ auditLog(first: 20, filter: { action: \"rotateKeys\" }) { nodes { action } } }", json!({})).await;
        assert_eq!(audited["auditLog"]["nodes"].as_array().unwrap().len(), 4);
    }

    async fn a_prepared_key_is_used_by_the_next_rotation(app) {
        let path = app.app().config.key_file.clone();
        let store = app.app().store.clone();
        let for_thread = path.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            let first = prepare_now(&store, &for_thread, clock::now()).unwrap();
            assert_eq!(prepare_now(&store, &for_thread, clock::now()).unwrap(), first, "one waits already");
            first
        })
        .await
        .unwrap();
        assert_eq!(sealing_key_ids(&path).unwrap().len(), 2);
        rotate(&app, None).await.unwrap();
        assert_eq!(sealing_key_ids(&path).unwrap(), [prepared]);
    }

    async fn t26_a_secret_in_another_row_does_not_open_and_keeps_the_old_key(app) {
        let dovecot = dovecot::start(&[ADA, BOB]);
        let token = app.admin.clone();
        connect(&app, &dovecot, &token, ADA).await;
        connect(&app, &dovecot, &token, BOB).await;
        let path = app.app().config.key_file.clone();
        let before = sealed(&app).await;
        let [(one, of_one), (two, of_two)] = before.clone().try_into().unwrap();
        write(&app, vec![(one, of_two), (two, of_one)]).await;
        for (row, sealed) in sealed(&app).await {
            assert!(app.app().keys.sealer.open(place(row), &sealed).is_err());
        }
        let refused = rotate(&app, None).await;
        assert!(matches!(refused, Err(RotationError::Unopened(2, _))), "{refused:?}");
        assert_eq!(sealing_key_ids(&path).unwrap().len(), 2, "the old key is kept");
        write(&app, before).await;
        assert_eq!(rotate(&app, None).await.unwrap(), 2);
        assert_eq!(sealing_key_ids(&path).unwrap().len(), 1);
    }
}
