//! Whose turn it is to become responsible for a new item (R14).
//! Not for: locking the queue or writing the pointer; that happens in the transaction that makes the item.

use crate::model::UserId;
use crate::model::decisions::{Fallback, Turn};
use serde::{Deserialize, Serialize};

/// One place of a queue. A user who stands there twice has two turns a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueMember {
    pub user_id: UserId,
    pub is_active: bool,
}

/// The connector of the mailbox, who stands in where the queue is unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connector {
    pub user_id: UserId,
    pub is_active: bool,
}

/// A mailbox's queue as it stands under its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFacts {
    /// In the order of the queue.
    pub members: Vec<QueueMember>,
    /// The place (counted from 0) whose turn is next. It is read modulo the queue's length, so that it stays good when
    /// the queue is made shorter; only a turn moves it, to the place after the one that got the item.
    pub pointer: i64,
    pub connector: Connector,
    /// Active administrators, the one to fall back on first.
    pub administrators: Vec<UserId>,
}

impl QueueFacts {
    /// Whether the user is one of the queue's active users (R15).
    pub fn has_active(&self, user_id: UserId) -> bool {
        self.members
            .iter()
            .any(|member| member.is_active && member.user_id == user_id)
    }
}

/// The next active user in order; no usable user in the queue: the connector, else an administrator.
pub fn next_turn(facts: &QueueFacts) -> Turn {
    match next_member(facts) {
        Some((place, user_id)) => Turn {
            responsible: Some(user_id),
            new_pointer: place_after(facts, place),
            fallback: Fallback::None,
        },
        None if facts.connector.is_active => Turn {
            responsible: Some(facts.connector.user_id),
            new_pointer: facts.pointer,
            fallback: Fallback::Connector,
        },
        None => Turn {
            responsible: facts.administrators.first().copied(),
            new_pointer: facts.pointer,
            fallback: Fallback::Administrator,
        },
    }
}

/// The first active member from the pointer on, going round once, with their place.
fn next_member(facts: &QueueFacts) -> Option<(usize, UserId)> {
    let length = i64::try_from(facts.members.len()).ok()?;
    let start = facts.pointer.checked_rem_euclid(length)?;
    let start = usize::try_from(start).ok()?;
    let from_start = facts.members.iter().enumerate().skip(start);
    let before_start = facts.members.iter().enumerate().take(start);
    from_start
        .chain(before_start)
        .find(|(_, member)| member.is_active)
        .map(|(place, member)| (place, member.user_id))
}

/// The place after this one, going round.
fn place_after(facts: &QueueFacts, place: usize) -> i64 {
    let next = place.saturating_add(1);
    let wrapped = if next >= facts.members.len() { 0 } else { next };
    i64::try_from(wrapped).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONNECTOR: UserId = UserId(100);
    const ADMINISTRATOR: UserId = UserId(200);

    /// A queue of users 1, 2, 3 …; `true` is active.
    fn queue(active: &[bool], pointer: i64) -> QueueFacts {
        QueueFacts {
            members: active
                .iter()
                .zip(1..)
                .map(|(&is_active, id)| QueueMember {
                    user_id: UserId(id),
                    is_active,
                })
                .collect(),
            pointer,
            connector: Connector {
                user_id: CONNECTOR,
                is_active: true,
            },
            administrators: vec![ADMINISTRATOR, UserId(201)],
        }
    }

    #[test]
    fn r14_the_next_active_user_in_order_becomes_responsible() {
        // (what, queue, responsible, new pointer)
        let rows = [
            ("the first turn", queue(&[true, true, true], 0), 1, 1),
            ("the second turn", queue(&[true, true, true], 1), 2, 2),
            (
                "the last turn of a round",
                queue(&[true, true, true], 2),
                3,
                0,
            ),
            (
                "an inactive user is skipped",
                queue(&[true, false, true], 1),
                3,
                0,
            ),
            ("skipping goes round", queue(&[true, false, false], 1), 1, 1),
            ("alone in the queue", queue(&[true], 0), 1, 0),
            (
                "a queue that was made shorter",
                queue(&[true, true], 5),
                2,
                0,
            ),
            (
                "a pointer below zero goes round too",
                queue(&[true, true, true], -1),
                3,
                0,
            ),
        ];
        for (what, facts, responsible, new_pointer) in rows {
            let turn = next_turn(&facts);
            assert_eq!(turn.responsible, Some(UserId(responsible)), "{what}");
            assert_eq!(turn.new_pointer, new_pointer, "{what}");
            assert_eq!(turn.fallback, Fallback::None, "{what}");
        }
    }

    #[test]
    fn r14_an_unusable_queue_falls_back_and_keeps_its_pointer() {
        let nobody_active = queue(&[false, false], 1);
        let without_connector = QueueFacts {
            connector: Connector {
                user_id: CONNECTOR,
                is_active: false,
            },
            ..nobody_active.clone()
        };
        let without_anyone = QueueFacts {
            administrators: vec![],
            ..without_connector.clone()
        };
        // (what, queue, responsible, fallback)
        let rows = [
            (
                "nobody in it is active",
                nobody_active,
                Some(CONNECTOR),
                Fallback::Connector,
            ),
            (
                "nobody is in it",
                queue(&[], 1),
                Some(CONNECTOR),
                Fallback::Connector,
            ),
            (
                "the connector has left",
                without_connector,
                Some(ADMINISTRATOR),
                Fallback::Administrator,
            ),
            (
                "everybody has left",
                without_anyone,
                None,
                Fallback::Administrator,
            ),
        ];
        for (what, facts, responsible, fallback) in rows {
            let turn = next_turn(&facts);
            assert_eq!(turn.responsible, responsible, "{what}");
            assert_eq!(turn.fallback, fallback, "{what}");
            assert_eq!(turn.new_pointer, 1, "{what}: the pointer stays");
        }
    }

    #[test]
    fn r15_only_active_users_of_the_queue_count() {
        let facts = queue(&[true, false], 0);
        // (user, are they one of the queue's active users)
        for (user, counts) in [(1, true), (2, false), (3, false), (CONNECTOR.0, false)] {
            assert_eq!(facts.has_active(UserId(user)), counts, "user {user}");
        }
    }

    proptest! {
        #[test]
        fn r14_turns_are_exact(active in prop::collection::vec(any::<bool>(), 1..12), start in -20_i64..20, rounds in 1_usize..5) {
            let usable: Vec<i64> = active.iter().zip(1..).filter(|(is_active, _)| **is_active).map(|(_, id)| id).collect();
            prop_assume!(!usable.is_empty());
            let mut facts = queue(&active, start);
            let mut turns = Vec::new();
            for _ in 0..usable.len() * rounds {
                let turn = next_turn(&facts);
                turns.push(turn.responsible.unwrap().0);
                facts.pointer = turn.new_pointer;
            }
            // Everybody has had exactly as many turns as there were rounds, and each round has the same order.
            for id in &usable {
                prop_assert_eq!(turns.iter().filter(|turn| *turn == id).count(), rounds);
            }
            let first: Vec<i64> = turns.iter().take(usable.len()).copied().collect();
            for round in turns.chunks(usable.len()) {
                prop_assert_eq!(round, first.as_slice());
            }
        }
    }
}
