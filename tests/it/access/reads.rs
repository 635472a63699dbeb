//! What users have read, as the model knows it (R40): by their own word, else by that of the mailboxes that they have.

use super::house::{folder_of, is_outgoing};
use super::model::{Id, World};
use std::collections::BTreeSet;

fn is_seen_there(email: Id) -> bool {
    email % 2 == 0
}

fn is_gone(email: Id) -> bool {
    email % 7 == 0
}

fn follows_server(mailbox: Id) -> bool {
    mailbox % 3 != 0
}

/// What a user said of a message themselves.
fn said_of(user: Id, message: Id) -> Option<bool> {
    [Some(true), Some(false), None, None][(user * 5 + message) as usize % 4]
}

/// What a world's servers show and its users said.
pub fn statements(world: &World) -> Vec<String> {
    let placed = world.emails.iter().map(|(id, email)| {
        format!(
            "INSERT INTO placements (id, folder_id, epoch, uid, state, size_bytes, is_seen, is_backfill, tries, email_id, gone_at) \
             VALUES ({}, {}, 1, {id}, 'STORED', 1, {}, FALSE, 0, {id}, {})",
            id + 700_000,
            folder_of(email.mailbox),
            is_seen_there(*id),
            if is_gone(*id) { "5" } else { "NULL" },
        )
    });
    let follows = world.mailboxes.keys().map(|id| {
        let follows = follows_server(*id);
        format!("UPDATE mailboxes SET read_state_follows_server = {follows} WHERE id = {id}")
    });
    let messages: BTreeSet<Id> = world.emails.values().map(|email| email.message).collect();
    let mut said: Vec<String> = placed.chain(follows).collect();
    for user in world.users.keys() {
        for message in &messages {
            if let Some(is_read) = said_of(*user, *message) {
                said.push(format!(
                    "INSERT INTO message_reads (user_id, message_id, is_read, at) VALUES ({user}, {message}, {is_read}, 5)"
                ));
            }
        }
    }
    said
}

/// Whether a user has not read a message that came in and that they see.
pub fn is_unread(world: &World, user: Id, message: Id) -> bool {
    if let Some(is_read) = said_of(user, message) {
        return !is_read && !is_outgoing(message);
    }
    let there: Vec<Id> = world
        .emails
        .iter()
        .filter(|(_, email)| email.message == message && follows_server(email.mailbox))
        .filter(|(_, email)| world.has_mailbox(user, email.mailbox))
        .map(|(id, _)| *id)
        .collect();
    let is_new = |id: &Id| !is_seen_there(*id) && !is_gone(*id);
    !is_outgoing(message) && (there.is_empty() || there.iter().any(is_new))
}
