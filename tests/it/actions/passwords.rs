//! Passwords: set by one-time links, changed by whoever knows the old one.

use crate::actions::world::{World, new_user};
use mailroom::actions::passwords::{self, PasswordReset};
use mailroom::actions::people::{self, CreateUser};
use mailroom::auth::accounts::{self, Accounts, PASSWORD_LINK_SECONDS};
use mailroom::auth::keys::Keys;
use mailroom::auth::{Authenticator, accounts::LogInError};
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{Time, UserId};
use secrecy::SecretString;

const OLD: &str = "correct horse";
const NEW: &str = "battery staple";

fn accounts_of(world: &World) -> Accounts {
    let keys = Keys::load_or_make(&world.folder().join("mailroom.key")).unwrap();
    Accounts::new(world.store().clone(), &keys, "http://127.0.0.1")
}

/// A user with the old password.
async fn eve(world: &World) -> UserId {
    let input = CreateUser {
        password: Some(SecretString::from(OLD)),
        ..new_user("Eve Employee", None, None)
    };
    people::create_user(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap()
}

async fn logs_in(accounts: &Accounts, password: &str) -> bool {
    // Log-ins are signed and checked by the real clock.
    let now = mailroom::clock::now();
    let password = SecretString::from(password);
    match accounts
        .log_in("Eve.Employee@example.com", &password, now)
        .await
    {
        Ok(_pair) => true,
        Err(LogInError::Refused(refusal)) => {
            assert_eq!(refusal.code, Code::Forbidden);
            false
        }
        Err(LogInError::Store(error)) => panic!("{error}"),
    }
}

async fn link(world: &World, user: UserId, now: Time) -> PasswordReset {
    passwords::create_reset(&world.actions, &world.admin, user, now)
        .await
        .unwrap()
}

on_both_databases! {
async fn r45_a_link_sets_a_password_once_and_ends_what_was_logged_in(world) {
    let accounts = accounts_of(&world);
    let user = eve(&world).await;
    let api_token = accounts::create_api_token(world.store(), user, world.now()).unwrap();
    let before = accounts
        .log_in("Eve.Employee@example.com", &SecretString::from(OLD), mailroom::clock::now())
        .await
        .unwrap();
    assert!(accounts.authenticate(&before.access_token).await.is_ok());
    assert!(accounts.authenticate(&api_token).await.is_ok());

    let reset = link(&world, user, world.now()).await;
    assert!(logs_in(&accounts, OLD).await, "good until the link is used");
    let kept: Vec<Vec<u8>> = world.rows("SELECT token_hash FROM one_time_links WHERE purpose = 'PASSWORD'");
    assert_eq!(kept.len(), 1);
    assert_ne!(kept[0], reset.token.as_bytes(), "only its hash is kept");

    let new = SecretString::from(NEW);
    let set = |token: String, password: SecretString, now| {
        let actions = world.actions.clone();
        async move { passwords::reset(&actions, &token, &password, now).await }
    };
    let over = (Code::Forbidden, "token");
    world.refused("a made-up token", over, set("x".repeat(43), new.clone(), world.now())).await;
    let short = set(reset.token.clone(), SecretString::from("short"), world.now());
    world.refused("a short password", (Code::BadInput, "password"), short).await;
    set(reset.token.clone(), new.clone(), world.now()).await.unwrap();
    world.refused("a used token", over, set(reset.token.clone(), new.clone(), world.now())).await;

    assert!(!logs_in(&accounts, OLD).await);
    assert!(logs_in(&accounts, NEW).await);
    assert!(accounts.authenticate(&before.access_token).await.is_err());
    assert!(accounts.authenticate(&api_token).await.is_err());
    let refreshed = accounts.refresh(&before.refresh_token, mailroom::clock::now()).await;
    assert!(refreshed.is_err());
    let told: Vec<String> = world.rows("SELECT action FROM audit_log WHERE action LIKE '%PasswordReset' OR action = 'resetPassword' ORDER BY id");
    assert_eq!(told, ["createPasswordReset", "resetPassword"]);
}
}

on_both_databases! {
async fn r45_links_are_over_after_their_time_and_with_the_next_one(world) {
    let user = eve(&world).await;
    let new = SecretString::from(NEW);
    let start = world.now();
    let first = link(&world, user, start).await;
    let second = link(&world, user, start).await;
    let third = link(&world, user, start).await;
    assert_eq!(third.expires_at, start.plus_seconds(PASSWORD_LINK_SECONDS));
    let (actions, over) = (&world.actions, (Code::Forbidden, "token"));
    for token in [&first.token, &second.token] {
        world.refused("an earlier link", over, passwords::reset(actions, token, &new, start)).await;
    }
    let late = start.plus_seconds(PASSWORD_LINK_SECONDS);
    world.refused("in the end", over, passwords::reset(actions, &third.token, &new, late)).await;
    let fourth = passwords::create_reset(actions, &world.admin, user, start.plus_seconds(3_599));
    world.refused("a fourth within an hour", (Code::Forbidden, "userId"), fourth).await;
    let fresh = link(&world, user, start.plus_seconds(3_601)).await;

    // Whoever is deactivated sets no password, not even after they are active again.
    world.deactivate(user).await;
    let now = start.plus_seconds(3_700);
    world.refused("deactivated", over, passwords::reset(actions, &fresh.token, &new, now)).await;
    let refused = passwords::create_reset(actions, &world.admin, user, start.plus_seconds(9_000));
    world.refused("a deactivated user", (Code::BadInput, "userId"), refused).await;
    let other = world.user("Olaf Other", None, None).await;
    let viewer = world.viewer(other);
    let refused = passwords::create_reset(actions, &viewer, other, world.now());
    world.refused("an employee, for themselves", (Code::Forbidden, ""), refused).await;
    let refused = passwords::create_reset(actions, &world.admin, UserId(-1), world.now());
    world.refused("an absent user", (Code::NotFound, "userId"), refused).await;
}
}

on_both_databases! {
async fn r45_a_password_is_changed_by_whoever_knows_it(world) {
    let accounts = accounts_of(&world);
    let user = eve(&world).await;
    let viewer = world.viewer(user);
    let api_token = accounts::create_api_token(world.store(), user, world.now()).unwrap();
    let session = accounts
        .log_in("Eve.Employee@example.com", &SecretString::from(OLD), mailroom::clock::now())
        .await
        .unwrap();
    let change = |current: &str, new: &str, now| {
        let (actions, viewer) = (world.actions.clone(), viewer.clone());
        let both = (SecretString::from(current), SecretString::from(new));
        async move { passwords::change(&actions, &viewer, both, now).await }
    };
    world.refused("a short one", (Code::BadInput, "new"), change(OLD, "short", world.now())).await;
    change(OLD, NEW, world.now()).await.unwrap();
    assert!(!logs_in(&accounts, OLD).await);
    assert!(logs_in(&accounts, NEW).await);
    assert!(accounts.authenticate(&session.access_token).await.is_err());
    assert!(accounts.authenticate(&api_token).await.is_ok(), "the operator's stays");

    let start = world.now();
    for _attempt in 0..5 {
        let refused = change(OLD, "something else", start).await;
        assert!(refused.is_err());
    }
    let refused = change(NEW, "something else", start);
    world.refused("the right one, after five wrong ones", (Code::Forbidden, "current"), refused).await;
    let later = start.plus_seconds(16 * 60);
    change(NEW, "something else", later).await.unwrap();
    let failed: Vec<i64> = world.rows("SELECT id FROM audit_log WHERE action = 'failedPasswordChange'");
    assert_eq!(failed.len(), 5);
}
}

on_both_databases! {
async fn r45_whoever_has_no_password_changes_none(world) {
    let user = world.user("Nora None", None, None).await;
    let both = (SecretString::from(OLD), SecretString::from(NEW));
    let viewer = world.viewer(user);
    let refused = passwords::change(&world.actions, &viewer, both, world.now()).await;
    assert!(refused.is_err());
    // A link gives them one.
    let reset = link(&world, user, world.now()).await;
    passwords::reset(&world.actions, &reset.token, &SecretString::from(NEW), world.now())
        .await
        .unwrap();
    let both = (SecretString::from(NEW), SecretString::from(OLD));
    passwords::change(&world.actions, &world.viewer(user), both, world.now())
        .await
        .unwrap();
}
}
