//! The visible state of a mailbox's sync (R8): written when it changes, and now and then to show that it lives.

use super::write_fenced;
use crate::clock;
use crate::mail::{MailError, MailStep};
use crate::model::MailboxId;
use crate::model::mailbox::{MailboxWarning, SyncError, SyncStage};
use crate::store::leases::Fence;
use crate::store::{Store, StoreError, mailbox_writes};

#[derive(Clone)]
pub(super) struct State {
    store: Store,
    id: MailboxId,
    fence: Fence,
    stage: Option<SyncStage>,
    /// Whether it is told that mail can't be stored; `None`: whoever had the mailbox before may have told so.
    is_told_full: Option<bool>,
    /// Mail could not be stored when that was tried last.
    is_full: bool,
    /// Mail was stored since that was asked last.
    has_stored: bool,
}

impl State {
    pub fn new(store: Store, id: MailboxId, fence: Fence) -> Self {
        Self {
            store,
            id,
            fence,
            stage: None,
            is_told_full: None,
            is_full: false,
            has_stored: false,
        }
    }

    /// Says which stage it is at, if that is new.
    pub fn stage(&mut self, stage: SyncStage) -> Result<(), StoreError> {
        // A mailbox that was watched before stays WATCHING while it is looked through again.
        let is_rest = self.stage == Some(SyncStage::Watching) && stage == SyncStage::Backfill;
        if self.stage == Some(stage) || is_rest {
            return Ok(());
        }
        self.put(stage, None)
    }

    /// The login went through: an earlier refusal is history.
    pub fn logged_in(&mut self) -> Result<(), StoreError> {
        let id = self.id;
        write_fenced(&self.store, &self.fence, |tx| {
            // Whoever had the mailbox before may have left this behind.
            mailbox_writes::delete_warning(tx, id, MailboxWarning::SyncStuck)?;
            mailbox_writes::delete_warning(tx, id, MailboxWarning::LoginRefused)
        })
    }

    /// Whether mail could not be stored when that was tried last.
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// There is nowhere to store mail. Where the database can't be told either, this process remembers it.
    pub fn unstored(&mut self) {
        let now = clock::now();
        self.is_full = true;
        self.store.note_full(now);
        if self.is_told_full == Some(true) && self.stage == Some(SyncStage::Retrying) {
            return;
        }
        let id = self.id;
        let told = SyncError::of_storage(now);
        let stage = SyncStage::Retrying;
        let outcome = write_fenced(&self.store, &self.fence, |tx| {
            mailbox_writes::put_sync_state(tx, id, stage, Some(Some(&told)))?;
            mailbox_writes::put_warning(tx, id, MailboxWarning::StorageFull).map(drop)
        });
        match outcome {
            Ok(()) => {
                self.stage = Some(stage);
                self.is_told_full = Some(true);
            }
            Err(error) => {
                tracing::debug!(mailbox = id.0, %error, "the sync state could not be written");
            }
        }
    }

    /// Whether mail was stored since this was asked last.
    pub const fn take_stored(&mut self) -> bool {
        std::mem::replace(&mut self.has_stored, false)
    }

    /// Mail was stored: that it could not be is history.
    pub fn stored(&mut self) -> Result<(), StoreError> {
        self.is_full = false;
        self.has_stored = true;
        self.store.note_stored();
        if self.is_told_full == Some(false) {
            return Ok(());
        }
        let id = self.id;
        write_fenced(&self.store, &self.fence, |tx| {
            mailbox_writes::delete_warning(tx, id, MailboxWarning::StorageFull)
        })?;
        self.is_told_full = Some(false);
        Ok(())
    }

    /// Everything is taken in; the time of success is written each time.
    pub fn watching(&mut self) -> Result<(), StoreError> {
        self.stored()?;
        self.put(SyncStage::Watching, Some(None))
    }

    /// Says what went wrong and what to do about it. A store that can't be written to is only logged: the sync itself tells of it.
    pub fn failed(&mut self, error: &MailError) {
        let stage = if error.is_temporary() {
            SyncStage::Retrying
        } else {
            SyncStage::NeedsAttention
        };
        let told = SyncError {
            code: error.step().error_code().to_owned(),
            message: error.to_string(),
            advice: error.advice().to_owned(),
            at: clock::now(),
        };
        tracing::warn!(mailbox = self.id.0, %error, "the sync failed");
        let is_login = error.step() == MailStep::Login && !error.is_temporary();
        let id = self.id;
        let outcome = self.put(stage, Some(Some(&told))).and_then(|()| {
            if !is_login {
                return Ok(());
            }
            write_fenced(&self.store, &self.fence, |tx| {
                mailbox_writes::put_warning(tx, id, MailboxWarning::LoginRefused).map(drop)
            })
        });
        if let Err(error) = outcome {
            tracing::error!(mailbox = self.id.0, %error, "the sync state could not be written");
        }
    }

    fn put(
        &mut self,
        stage: SyncStage,
        error: Option<Option<&SyncError>>,
    ) -> Result<(), StoreError> {
        let id = self.id;
        write_fenced(&self.store, &self.fence, |tx| {
            mailbox_writes::put_sync_state(tx, id, stage, error)
        })?;
        self.stage = Some(stage);
        Ok(())
    }
}
