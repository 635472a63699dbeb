//! The to-do that a saved message makes (R30-R33).

use super::{ActivityId, MessageId, Time, UserId};
use crate::text_enum;

text_enum! {
    /// Whether the to-do is open.
    ActivityState { Scheduled = "SCHEDULED", Completed = "COMPLETED" }
}

/// One per message, shared by its emails, shown on every linked item.
#[derive(Debug, Clone)]
pub struct Activity {
    pub id: ActivityId,
    pub message_id: MessageId,
    pub responsible_id: UserId,
    pub state: ActivityState,
    pub scheduled_at: Time,
    pub deadline: Option<Time>,
    pub completed_at: Option<Time>,
    pub completed_by: Option<UserId>,
    pub version: i64,
}

impl Activity {
    /// The time shown: when it was scheduled, once completed, when it was completed (R32).
    pub fn shown_time(&self) -> Time {
        match (self.state, self.completed_at) {
            (ActivityState::Completed, Some(at)) => at,
            _ => self.scheduled_at,
        }
    }
}
