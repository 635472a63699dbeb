//! To-dos as clients see them. Not for: completing them (`actions::activities`).

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::context::Ask;
use super::email::Email;
use super::item::Item;
use super::loaders::{Activities, ActivityEmails, Emails, Items, Links, MessageActivities};
use super::paging::Listed;
use super::scalars::DateTime;
use super::viewer::User;
use crate::model::ActivityId;
use crate::model::activity::Activity as ActivityRow;
use crate::model::email::Email as EmailFields;

/// The to-do that a saved message makes.
#[derive(Clone)]
pub struct Activity {
    ask: Ask,
    row: Arc<ActivityRow>,
}

impl Activity {
    /// An activity that the viewer may see.
    pub fn new(ask: &Ask, row: Arc<ActivityRow>) -> Self {
        Self {
            ask: ask.clone(),
            row,
        }
    }

    /// The activity with this id, if the viewer sees an email that it is about and may read that email's primary item.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn find(ask: &Ask, id: ActivityId) -> Result<Option<Self>> {
        let Some(row) = ask.load::<Activities>(id).await? else {
            return Ok(None);
        };
        let activity = Self::new(ask, row);
        for email in activity.visible_emails().await? {
            if Email::readable_primary(ask, &email).await?.is_some() {
                return Ok(Some(activity));
            }
        }
        Ok(None)
    }

    /// The activity of an email that the viewer sees, if they may read its primary item.
    ///
    /// # Errors
    /// `INTERNAL` where the store fails.
    pub async fn of_email(ask: &Ask, email: &EmailFields) -> Result<Option<Self>> {
        if Email::readable_primary(ask, email).await?.is_none() {
            return Ok(None);
        }
        let row = ask.load::<MessageActivities>(email.message_id).await?;
        Ok(row.map(|row| Self::new(ask, row)))
    }

    /// The emails that it is about and that the viewer sees: one of the message for each mailbox.
    async fn visible_emails(&self) -> Result<Vec<Arc<EmailFields>>> {
        let ids = self.ask.load::<ActivityEmails>(self.row.id).await?;
        let ids = ids.iter().flat_map(|ids| ids.iter().copied());
        self.ask.load_all::<Emails>(ids).await
    }

    /// A copy of the message that the viewer doesn't see tells nothing of where it hangs.
    async fn readable_items(&self) -> Result<Vec<Item>> {
        let emails = self.visible_emails().await?;
        let ids = emails.iter().map(|email| email.id);
        let links = self.ask.load_all::<Links>(ids).await?;
        let mut linked = Vec::new();
        for link in links.iter().flat_map(|links| links.iter()) {
            if !linked.contains(&link.item_id) {
                linked.push(link.item_id);
            }
        }
        let rows = self.ask.load_all::<Items>(linked).await?;
        Ok(rows
            .into_iter()
            .map(|row| Item::new(&self.ask, row))
            .collect())
    }
}

impl Listed for Activity {
    const CONNECTION: &'static str = "ActivityConnection";
    const EDGE: &'static str = "ActivityEdge";
}

/// The to-do that a saved message makes ("answer this"). There is one for a message, shown on every item that the message is linked to.
#[Object]
impl Activity {
    /// The opaque global id.
    pub async fn id(&self) -> ID {
        self.ask.seal(self.row.id)
    }

    /// Whether it is still to be done.
    async fn state(&self) -> ActivityState {
        self.row.state.into()
    }

    /// Who is to do it: the item's responsible.
    async fn responsible(&self) -> Result<User> {
        User::named(&self.ask, self.row.responsible_id).await
    }

    /// When it was made: when the email got into the CRM.
    async fn scheduled_at(&self) -> DateTime {
        self.row.scheduled_at.into()
    }

    /// Until when it is to be done.
    async fn deadline(&self) -> Option<DateTime> {
        self.row.deadline.map(DateTime)
    }

    /// When it was completed; null while it isn't.
    async fn completed_at(&self) -> Option<DateTime> {
        self.row.completed_at.map(DateTime)
    }

    /// Who completed it; null while it isn't, and where the rules did.
    async fn completed_by(&self) -> Option<Result<User>> {
        User::maybe(&self.ask, self.row.completed_by).await
    }

    /// The email that it is about.
    async fn email(&self) -> Option<Result<Email>> {
        let emails = match self.visible_emails().await {
            Ok(emails) => emails,
            Err(error) => return Some(Err(error)),
        };
        let email = emails.into_iter().next()?;
        Some(Ok(Email::new(&self.ask, email)))
    }

    /// The items that its emails are linked to, as far as the viewer sees those and may read them.
    async fn items(&self) -> Result<Vec<Item>> {
        self.readable_items().await
    }

    /// Rises with every change.
    async fn version(&self) -> i64 {
        self.row.version
    }

    /// The time shown: `scheduledAt` while `SCHEDULED`, `completedAt` once `COMPLETED`.
    async fn time(&self) -> DateTime {
        self.row.shown_time().into()
    }
}

/// How much is left for a user to do.
#[derive(SimpleObject, Debug, Clone, Copy)]
pub struct Counters {
    /// Open to-dos of incoming mail that the user is responsible for and sees.
    incoming: i64,
    /// Open to-dos of theirs whose deadline has passed.
    overdue: i64,
}

impl From<crate::store::activities::Counters> for Counters {
    fn from(found: crate::store::activities::Counters) -> Self {
        Self {
            incoming: found.incoming,
            overdue: found.overdue,
        }
    }
}

/// Whether a to-do is still to be done.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::model::activity::ActivityState")]
pub enum ActivityState {
    /// Still to be done.
    Scheduled,
    /// Done.
    Completed,
}
