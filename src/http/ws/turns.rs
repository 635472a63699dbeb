//! The running operations of one socket, and whose turn it is to speak. Each that has something to
//! say is heard before any is heard twice, so a busy stream never silences a quiet one.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::stream::{BoxStream, StreamExt as _};

use crate::auth::AuthRefusal;
use crate::graphql::api::{ApiResponse, OperationKind};

/// What an operation brings forth.
#[derive(Debug)]
pub enum Event {
    Response(ApiResponse),
    /// The socket's token no longer opens a session.
    TokenRefused(AuthRefusal),
}

/// One running operation.
pub struct Operation {
    pub id: String,
    pub kind: OperationKind,
    pub events: BoxStream<'static, Event>,
}

/// What came of a turn; the operation has ended where that is said.
#[derive(Debug)]
pub enum Turn {
    Event { id: String, event: Event },
    Ended { id: String },
}

/// The operations, the one whose turn comes next in front.
#[derive(Default)]
pub struct Turns {
    operations: VecDeque<Operation>,
}

impl Turns {
    pub fn contains(&self, id: &str) -> bool {
        self.operations.iter().any(|operation| operation.id == id)
    }

    /// How many subscriptions run (`true`), or how many queries and mutations.
    pub fn count(&self, of: Lasting) -> usize {
        self.operations
            .iter()
            .filter(|operation| Lasting::of(operation.kind) == of)
            .count()
    }

    pub fn add(&mut self, operation: Operation) {
        self.operations.push_back(operation);
    }

    /// Stops an operation; an unknown id is nothing.
    pub fn remove(&mut self, id: &str) {
        self.operations.retain(|operation| operation.id != id);
    }

    pub fn clear(&mut self) {
        self.operations.clear();
    }

    /// Waits for the next that has something to say. Safe to drop half-way: nothing is lost.
    pub async fn next(&mut self) -> Turn {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        for _ in 0..self.operations.len() {
            let Some(mut operation) = self.operations.pop_front() else {
                break;
            };
            match operation.events.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => {
                    let id = operation.id.clone();
                    self.operations.push_back(operation);
                    return Poll::Ready(Turn::Event { id, event });
                }
                Poll::Ready(None) => return Poll::Ready(Turn::Ended { id: operation.id }),
                Poll::Pending => self.operations.push_back(operation),
            }
        }
        Poll::Pending
    }
}

/// The two sorts of operations that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    Subscription,
    SingleResult,
}

impl Lasting {
    pub const fn of(kind: OperationKind) -> Self {
        match kind {
            OperationKind::Subscription => Self::Subscription,
            OperationKind::Query | OperationKind::Mutation => Self::SingleResult,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn always_ready(id: &str) -> Operation {
        let response = ApiResponse {
            body: r#"{"data":{}}"#.to_owned(),
            errors: None,
            refused: None,
            retry_after_seconds: None,
            has_data: true,
        };
        Operation {
            id: id.to_owned(),
            kind: OperationKind::Subscription,
            events: stream::repeat_with(move || Event::Response(response.clone())).boxed(),
        }
    }

    #[tokio::test]
    async fn streams_that_are_always_ready_take_turns() {
        let mut turns = Turns::default();
        turns.add(always_ready("a"));
        turns.add(always_ready("b"));
        let mut heard = [0, 0];
        for _ in 0..2_000 {
            let Turn::Event { id, .. } = turns.next().await else {
                panic!("ended")
            };
            heard[usize::from(id == "b")] += 1;
        }
        assert_eq!(heard, [1_000, 1_000]);
    }

    #[tokio::test]
    async fn an_operation_ends_once_and_is_gone() {
        let mut turns = Turns::default();
        turns.add(Operation {
            id: "a".to_owned(),
            kind: OperationKind::Query,
            events: stream::empty().boxed(),
        });
        assert!(turns.contains("a"));
        assert!(matches!(turns.next().await, Turn::Ended { id } if id == "a"));
        assert!(!turns.contains("a"));
        assert_eq!(turns.count(Lasting::SingleResult), 0);
    }
}
