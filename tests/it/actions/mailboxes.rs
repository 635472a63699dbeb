//! A mailbox's settings, folders, holders and end (R25).

use crate::actions::world::{World, new_role};
use mailroom::actions::change::Change;
use mailroom::actions::mail_secret::MailSecret;
use mailroom::actions::mailbox_folders::{self, FoldersChange};
use mailroom::actions::mailbox_settings::{self, SettingsChange};
use mailroom::actions::roles::{self, CreateRole};
use mailroom::actions::share_mailbox::{self, TransferMailbox};
use mailroom::model::mailbox::{CreatedItem, Folder, FolderRole, MailboxSettings, SyncStage};
use mailroom::model::people::Viewer;
use mailroom::model::refusal::ErrorCode as Code;
use mailroom::model::{DepartmentId, FolderId, MailboxId, UserId};
use mailroom::rules::access;
use mailroom::store;

/// The people around a mailbox.
struct Around {
    connector: Viewer,
    /// Access was given to them.
    shared: Viewer,
    /// Holds "may change CRM settings".
    flag: Viewer,
    stranger: Viewer,
}

async fn around(world: &World) -> (MailboxId, Around) {
    let connector = world.user("Connie Connector", None, None).await;
    let shared = world.user("Sam Shared", None, None).await;
    let stranger = world.user("Stan Stranger", None, None).await;
    let input = CreateRole {
        may_change_crm_settings: true,
        ..new_role("Office")
    };
    let role = roles::create_role(&world.actions, &world.admin, input, None, world.now())
        .await
        .unwrap();
    let flag = world.user("Flora Flag", None, Some(vec![role])).await;
    let id = world.mailbox(connector);
    let given = (id, vec![shared, connector], vec![]);
    share_mailbox::share(&world.actions, &world.viewer(connector), given, world.now())
        .await
        .unwrap();
    let people = Around {
        connector: world.viewer(connector),
        shared: world.viewer(shared),
        flag: world.viewer(flag),
        stranger: world.viewer(stranger),
    };
    (id, people)
}

fn settings(world: &World, id: MailboxId) -> MailboxSettings {
    world
        .store()
        .read_now(|conn| store::mailboxes::settings(conn, id))
        .unwrap()
        .unwrap()
}

fn topics(world: &World) -> String {
    world
        .rows::<String>("SELECT topics FROM outbox ORDER BY position DESC LIMIT 1")
        .remove(0)
}

on_both_databases! {
async fn r25_settings_are_the_connectors_administrators_and_holders_of_the_flag(world) {
    let (id, people) = around(&world).await;
    let change = || SettingsChange {
        incoming_creates: Change::Set(CreatedItem::Deal),
        ..SettingsChange::default()
    };
    let update = |viewer, change| {
        mailbox_settings::update(&world.actions, viewer, (id, None), change, world.now())
    };
    let before = settings(&world, id).version;
    for (count, viewer) in (1..).zip([&people.connector, &people.flag, &world.admin]) {
        update(viewer, change()).await.unwrap();
        assert_eq!(settings(&world, id).version, before + count);
        assert!(topics(&world).contains(&format!("mailbox:{}", id.0)));
    }
    for (what, viewer, expected) in [
        ("shared", &people.shared, (Code::Forbidden, "mailboxId")),
        (
            "a stranger",
            &people.stranger,
            (Code::NotFound, "mailboxId"),
        ),
    ] {
        world
            .refused(what, expected, update(viewer, change()))
            .await;
    }
    let absent = mailbox_settings::update(
        &world.actions,
        &world.admin,
        (MailboxId(-1), None),
        change(),
        world.now(),
    );
    world
        .refused("absent", (Code::NotFound, "mailboxId"), absent)
        .await;
}
}

on_both_databases! {
async fn r14_a_queue_is_never_empty_and_holds_active_users(world) {
    let (id, people) = around(&world).await;
    let gone = world.user("Gerd Gone", None, None).await;
    world.deactivate(gone).await;
    let (one, two) = (people.shared.user_id, people.stranger.user_id);
    let update = |version, change| {
        mailbox_settings::update(
            &world.actions,
            &people.connector,
            (id, version),
            change,
            world.now(),
        )
    };
    let queue = |ids: &[UserId]| SettingsChange {
        queue: Change::Set(ids.to_vec()),
        ..SettingsChange::default()
    };
    let before = settings(&world, id).version;
    update(Some(before), queue(&[one, two, one])).await.unwrap();
    assert_eq!(settings(&world, id).queue, [one, two, one]);
    let pointer = |world: &World| {
        world
            .rows::<i64>("SELECT queue_pointer FROM mailboxes")
            .remove(0)
    };
    world
        .store()
        .write_now::<_, store::StoreError>(world.now(), |tx| {
            store::mailbox_writes::update_queue_pointer(tx, id, 1)
        })
        .unwrap();
    update(None, queue(&[one, two])).await.unwrap();
    assert_eq!(pointer(&world), 1, "it is still her turn");
    update(None, queue(&[two, one])).await.unwrap();
    assert_eq!(pointer(&world), 0, "it is still her turn");

    let with = |change: SettingsChange| change;
    let rows = [
        (
            "an empty queue",
            None,
            queue(&[]),
            (Code::BadInput, "settings.queueUserIds"),
        ),
        (
            "no queue",
            None,
            with(SettingsChange {
                queue: Change::Clear,
                ..SettingsChange::default()
            }),
            (Code::BadInput, "settings.queueUserIds"),
        ),
        (
            "a deactivated user",
            None,
            queue(&[one, gone]),
            (Code::BadInput, "settings.queueUserIds"),
        ),
        (
            "an absent user",
            None,
            queue(&[UserId(-1)]),
            (Code::NotFound, "settings.queueUserIds"),
        ),
        (
            "an old version",
            Some(before),
            queue(&[one]),
            (Code::Stale, "expectedVersion"),
        ),
        (
            "null",
            None,
            with(SettingsChange {
                crm_integration: Change::Clear,
                ..SettingsChange::default()
            }),
            (Code::BadInput, "settings.crmIntegration"),
        ),
        (
            "no pattern",
            None,
            with(SettingsChange {
                always_new_lead_for: Change::Set(vec!["a b".into()]),
                ..SettingsChange::default()
            }),
            (Code::BadInput, "settings.alwaysNewLeadFor"),
        ),
    ];
    for (what, version, change, expected) in rows {
        world.refused(what, expected, update(version, change)).await;
    }
}
}

on_both_databases! {
async fn r2_r3_folders_are_the_connectors_and_administrators(world) {
    let (id, people) = around(&world).await;
    let other = world.mailbox(people.connector.user_id);
    let folders = |id| -> Vec<Folder> {
        world
            .store()
            .read_now(|conn| store::mailboxes::folders(conn, id))
            .unwrap()
    };
    let by = |path: &str| {
        folders(id)
            .into_iter()
            .find(|folder| folder.path == path)
            .unwrap()
            .id
    };
    let (inbox, sent, spam) = (by("INBOX"), by("Sent"), by("Spam"));
    let update =
        |viewer, change| mailbox_folders::update(&world.actions, viewer, id, change, world.now());
    let none = FoldersChange::default;
    let change = FoldersChange {
        spam: Change::Set(inbox),
        trash: Change::Set(spam),
        sync: vec![(sent, false)],
        ..none()
    };
    update(&people.connector, change).await.unwrap();
    let now: Vec<_> = folders(id)
        .into_iter()
        .map(|folder| (folder.path, folder.role, folder.is_synced))
        .collect();
    assert!(
        now.contains(&("Spam".to_owned(), Some(FolderRole::Trash), true)),
        "{now:?}"
    );
    assert!(
        now.contains(&("Sent".to_owned(), Some(FolderRole::Sent), false)),
        "{now:?}"
    );
    let mailbox = |world: &World| {
        world
            .store()
            .read_now(|conn| store::mailboxes::get(conn, id))
            .unwrap()
            .unwrap()
    };
    assert_eq!(mailbox(&world).spam_folder_id, Some(inbox));
    assert!(topics(&world).contains(&format!("mailbox:{}", id.0)));
    update(
        &world.admin,
        FoldersChange {
            spam: Change::Clear,
            ..none()
        },
    )
    .await
    .unwrap();
    assert_eq!(mailbox(&world).spam_folder_id, None, "spam goes nowhere");

    let foreign = folders(other)[0].id;
    let rows = [
        (
            "shared",
            &people.shared,
            none(),
            (Code::Forbidden, "mailboxId"),
        ),
        (
            "the flag",
            &people.flag,
            none(),
            (Code::Forbidden, "mailboxId"),
        ),
        (
            "a stranger",
            &people.stranger,
            none(),
            (Code::NotFound, "mailboxId"),
        ),
        (
            "another mailbox's folder",
            &people.connector,
            FoldersChange {
                spam: Change::Set(foreign),
                ..none()
            },
            (Code::NotFound, "spamFolderId"),
        ),
        (
            "an absent folder",
            &people.connector,
            FoldersChange {
                sync: vec![(FolderId(-1), true)],
                ..none()
            },
            (Code::NotFound, "sync"),
        ),
        (
            "two parts",
            &people.connector,
            FoldersChange {
                sent: Change::Set(spam),
                drafts: Change::Set(spam),
                ..none()
            },
            (Code::BadInput, "draftsId"),
        ),
        (
            "no Inbox",
            &people.connector,
            FoldersChange {
                inbox: Change::Clear,
                ..none()
            },
            (Code::BadInput, "inboxId"),
        ),
    ];
    for (what, viewer, change, expected) in rows {
        world.refused(what, expected, update(viewer, change)).await;
    }
}
}

on_both_databases! {
async fn r22_sharing_gives_and_takes_access_and_the_connector_keeps_theirs(world) {
    let (id, people) = around(&world).await;
    let sales = world.department("Sales", None).await;
    let eve = world.user("Eve Employee", Some(sales), None).await;
    let has = |world: &World, user| {
        let holders = world
            .store()
            .read_now(|conn| store::mailboxes::holders(conn, id))
            .unwrap()
            .unwrap();
        access::has_mailbox(&world.viewer(user), &holders)
    };
    assert!(has(&world, people.shared.user_id) && !has(&world, eve));
    let share = |viewer, users: Vec<UserId>, departments: Vec<DepartmentId>| {
        share_mailbox::share(
            &world.actions,
            viewer,
            (id, users, departments),
            world.now(),
        )
    };
    let epoch = world.store().read_now(store::roles::rights_epoch).unwrap();
    share(&world.admin, vec![], vec![sales]).await.unwrap();
    assert!(
        !has(&world, people.shared.user_id)
            && has(&world, eve)
            && has(&world, people.connector.user_id)
    );
    assert!(
        !has(&world, world.admin.user_id),
        "administrators read mail only if given access"
    );
    assert!(world.store().read_now(store::roles::rights_epoch).unwrap() > epoch);
    share(&people.connector, vec![people.shared.user_id], vec![])
        .await
        .unwrap();

    let gone = world.user("Gerd Gone", None, None).await;
    world.deactivate(gone).await;
    let rows = [
        (
            "shared",
            &people.shared,
            vec![],
            vec![],
            (Code::Forbidden, "mailboxId"),
        ),
        (
            "the flag",
            &people.flag,
            vec![],
            vec![],
            (Code::Forbidden, "mailboxId"),
        ),
        (
            "a stranger",
            &people.stranger,
            vec![],
            vec![],
            (Code::NotFound, "mailboxId"),
        ),
        (
            "a deactivated user",
            &people.connector,
            vec![gone],
            vec![],
            (Code::BadInput, "userIds"),
        ),
        (
            "an absent user",
            &people.connector,
            vec![UserId(-1)],
            vec![],
            (Code::NotFound, "userIds"),
        ),
        (
            "an absent department",
            &people.connector,
            vec![],
            vec![DepartmentId(-1)],
            (Code::NotFound, "departmentIds"),
        ),
    ];
    for (what, viewer, users, departments, expected) in rows {
        world
            .refused(what, expected, share(viewer, users, departments))
            .await;
    }
}
}

on_both_databases! {
async fn r10_a_disconnected_mailbox_has_no_secret_and_can_be_handed_over_with_a_new_one(world) {
    let (id, people) = around(&world).await;
    let disconnect = |viewer| share_mailbox::disconnect(&world.actions, viewer, id, world.now());
    let sync = |viewer| share_mailbox::sync(&world.actions, viewer, id, world.now());
    for viewer in [&people.connector, &people.shared, &world.admin] {
        sync(viewer).await.unwrap();
        assert!(topics(&world).contains(&format!("sync:{}", id.0)));
    }
    for (what, viewer, expected) in [
        ("the flag", &people.flag, (Code::Forbidden, "mailboxId")),
        (
            "a stranger",
            &people.stranger,
            (Code::NotFound, "mailboxId"),
        ),
    ] {
        world.refused(what, expected, sync(viewer)).await;
        world.refused(what, expected, disconnect(viewer)).await;
    }
    world
        .refused(
            "shared",
            (Code::Forbidden, "mailboxId"),
            disconnect(&people.shared),
        )
        .await;
    disconnect(&people.connector).await.unwrap();
    let secrets: Vec<Option<String>> =
        world.rows("SELECT secret_sealed FROM mailboxes UNION SELECT secret_kind FROM mailboxes");
    assert_eq!(secrets, [None]);
    let stage = |world: &World| {
        world
            .store()
            .read_now(|conn| store::mailboxes::sync_state(conn, id))
            .unwrap()
            .stage
    };
    assert_eq!(stage(&world), SyncStage::Stopped);
    world
        .refused(
            "disconnected",
            (Code::BadInput, "mailboxId"),
            sync(&people.connector),
        )
        .await;
    let before = world.dump();
    disconnect(&people.connector).await.unwrap();
    assert_eq!(before, world.dump(), "once is enough");

    let transfer = |viewer, connector_id, secret| {
        let input = TransferMailbox {
            mailbox_id: id,
            connector_id,
            secret,
        };
        share_mailbox::transfer(&world.actions, viewer, input, world.now())
    };
    let (from, to) = (people.connector.user_id, people.shared.user_id);
    let empty = Some(MailSecret::Password("".into()));
    let rows = [
        (
            "shared",
            &people.shared,
            to,
            None,
            (Code::Forbidden, "mailboxId"),
        ),
        (
            "a stranger",
            &people.stranger,
            to,
            None,
            (Code::NotFound, "mailboxId"),
        ),
        (
            "to nobody",
            &world.admin,
            UserId(-1),
            None,
            (Code::NotFound, "connectorId"),
        ),
        (
            "without a secret in it",
            &world.admin,
            to,
            empty,
            (Code::BadInput, "secret"),
        ),
    ];
    for (what, viewer, connector, secret, expected) in rows {
        world
            .refused(what, expected, transfer(viewer, connector, secret))
            .await;
    }
    transfer(
        &world.admin,
        to,
        Some(MailSecret::Password("hunter2".into())),
    )
    .await
    .unwrap();
    let mailbox = world
        .store()
        .read_now(|conn| store::mailboxes::get(conn, id))
        .unwrap()
        .unwrap();
    assert_eq!(
        (mailbox.connector_id, mailbox.is_connected, stage(&world)),
        (to, true, SyncStage::Connecting)
    );
    assert_eq!(
        settings(&world, id).queue,
        [to],
        "the queue was the connector alone"
    );
    let holders = world
        .store()
        .read_now(|conn| store::mailboxes::holders(conn, id))
        .unwrap()
        .unwrap();
    assert!(!access::has_mailbox(&world.viewer(from), &holders));
    assert!(!world.dump().contains("hunter2"));
}
}
