//! A connection to a mailbox, from the login on, and the order of what is done on it: every folder is looked at, new mail
//! comes first, then what was there before, in the order in which it was received; then it waits for news.
//! Not for: connecting, and what follows a failure (that is `sync`).

use super::connection::Connection;
use super::fetch::{Batches, Fetching};
use super::folder::{self, Seen};
use super::state::State;
use super::{Look, SyncError, epoch, now, reconcile};
use crate::mail::imap::{self, FolderStatus, Follows, IdleEnd};
use crate::model::FolderId;
use crate::model::mailbox::{Folder, FolderRole, Reconciliation, SyncStage};
use crate::store::ledger::{self, Waiting};
use crate::store::placements::OpenPlacement;
use crate::store::{mailbox_writes, mailboxes, placements};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines of new mail that are fetched before the folders are looked at again.
const ARRIVED_MAX: i64 = 4000;
/// Lines of the backfill that are planned at once: sorting them is what a plan costs.
const PLANNED_MAX: i64 = 20_000;
/// New mail is looked for this often during the backfill.
const SLICE: Duration = Duration::from_secs(2);
/// A folder whose UIDs begin anew each time is looked at this often only.
const UNSTABLE_EVERY: Duration = Duration::from_secs(600);
/// With more folders, and a server that can't tell of all in one answer, each is looked at less often.
const FEW_FOLDERS: usize = 5;

/// What was seen of a folder last.
struct View {
    status: FolderStatus,
    /// When all its UIDs were compared, where the server tells of no changes by itself.
    compared_at: Instant,
}

/// One connection's work.
pub(super) struct Round<'a> {
    look: Look<'a>,
    connection: Connection,
    state: &'a mut State,
    batches: &'a mut Batches,
    folders: Vec<Folder>,
    views: HashMap<FolderId, View>,
    unstable: HashMap<FolderId, Instant>,
    others_looked_at: Instant,
    /// An epoch began: all is compared once what is new is in.
    is_to_reconcile: bool,
}

impl<'a> Round<'a> {
    pub fn new(
        look: Look<'a>,
        connection: Connection,
        state: &'a mut State,
        batches: &'a mut Batches,
    ) -> Self {
        Self {
            look,
            connection,
            state,
            batches,
            folders: Vec::new(),
            views: HashMap::new(),
            unstable: HashMap::new(),
            others_looked_at: Instant::now(),
            is_to_reconcile: false,
        }
    }

    /// Says goodbye.
    pub fn end(self) {
        self.connection.session.log_out();
    }

    /// Looks at every folder, takes everything in, and compares with the server where that is due.
    pub fn pass(&mut self) -> Result<(), SyncError> {
        self.reload()?;
        if self.views.is_empty() {
            self.state.stage(SyncStage::Backfill)?;
        }
        self.look_at_all()?;
        self.fetch_arrived()?;
        self.backfill()?;
        self.settle()?;
        if self.is_reconciling_due()? && self.reconcile()? {
            self.fetch_arrived()?;
            self.backfill()?;
            self.settle()?;
        }
        if self.look.signals.is_stopped() {
            return Ok(());
        }
        if self.unstable.is_empty() {
            self.state.watching()?;
        } else {
            self.state.failed(&imap::unstable());
        }
        Ok(())
    }

    /// The mailbox and its folders as users have them now.
    fn reload(&mut self) -> Result<(), SyncError> {
        let id = self.look.mailbox.id;
        let found = self.look.services.store.read_now(|conn| {
            let mailbox = mailboxes::get(conn, id)?;
            Ok((mailbox, mailboxes::folders(conn, id)?))
        })?;
        let (mailbox, mut folders) = found;
        self.look.mailbox = mailbox
            .filter(|mailbox| mailbox.is_connected)
            .ok_or_else(|| SyncError::Gone("the mailbox is disconnected".to_owned()))?;
        folders.retain(|folder| folder.is_synced);
        self.folders = folders;
        Ok(())
    }

    /// Takes in what is new and changed in every folder; those that one answer says are as they were are passed over.
    fn look_at_all(&mut self) -> Result<(), SyncError> {
        self.others_looked_at = Instant::now();
        let statuses = if self.views.is_empty() {
            None
        } else {
            self.connection.session.statuses()?
        };
        for folder in self.folders.clone() {
            if self.look.signals.is_stopped() {
                return Ok(());
            }
            let status = statuses.as_ref().and_then(|statuses| {
                let raw_path = self.connection.raw_path(&folder)?;
                statuses.get(raw_path)
            });
            if status.is_some_and(|status| self.is_as_it_was(&folder, status)) {
                continue;
            }
            self.look_at(&folder)?;
        }
        Ok(())
    }

    /// Whether a folder is as it was at the last look, by a status that tells everything.
    fn is_as_it_was(&self, folder: &Folder, status: &FolderStatus) -> bool {
        let is_told = status.uid_validity.is_some()
            && status.uid_next.is_some()
            && status.exists.is_some()
            && status.highest_modseq.is_some();
        let view = self.views.get(&folder.id);
        let every = self.look.services.times.compare_every;
        is_told
            && view.is_some_and(|view| {
                let is_followed = match self.connection.session.follows() {
                    Follows::Qresync => true,
                    // What is gone shows in the count; what is gone while as much has come, only in a comparison.
                    Follows::Condstore => view.compared_at.elapsed() < every,
                    Follows::Nothing => false,
                };
                is_followed && view.status == *status
            })
    }

    fn look_at(&mut self, folder: &Folder) -> Result<Option<Seen>, SyncError> {
        let waits = self
            .unstable
            .get(&folder.id)
            .is_some_and(|at| at.elapsed() < UNSTABLE_EVERY);
        if waits {
            return Ok(None);
        }
        let view = self.views.get(&folder.id);
        let every = self.look.services.times.compare_every;
        let compared_at = view.map(|view| view.compared_at);
        let is_due = compared_at.is_none_or(|at| at.elapsed() >= every);
        let seen = folder::look_at(&self.look, &mut self.connection, folder, is_due)?;
        self.look.signals.progressed();
        let Some(seen) = seen else { return Ok(None) };
        let status = FolderStatus {
            uid_validity: seen.examined.uid_validity,
            uid_next: seen.examined.uid_next,
            exists: Some(seen.examined.exists),
            highest_modseq: seen.examined.highest_modseq,
        };
        let compared_at = match compared_at {
            Some(at) if !seen.is_compared => at,
            _ => Instant::now(),
        };
        self.views.insert(
            folder.id,
            View {
                status,
                compared_at,
            },
        );
        self.is_to_reconcile |= seen.is_new_epoch;
        if seen.folder.epochs_in_row >= epoch::EPOCHS_MAX {
            self.unstable.insert(folder.id, Instant::now());
        } else {
            self.unstable.remove(&folder.id);
        }
        if let Some(known) = self.folders.iter_mut().find(|known| known.id == folder.id) {
            known.clone_from(&seen.folder);
        }
        if seen.folder.epochs_in_row > 0 {
            self.fetch_open(&seen.folder)?;
        }
        Ok(Some(seen))
    }

    /// Takes in what waits in the open folder: opening it once more could begin another epoch.
    fn fetch_open(&mut self, folder: &Folder) -> Result<(), SyncError> {
        let place = (folder.id, folder.epoch);
        loop {
            let store = &self.look.services.store;
            let open =
                store.read_now(|conn| placements::list_open(conn, place, now(), ARRIVED_MAX))?;
            if open.is_empty() || self.fetch(&open, None)? < open.len() {
                return Ok(());
            }
        }
    }

    fn waiting(&self, which: Waiting, limit: i64) -> Result<Vec<OpenPlacement>, SyncError> {
        let id = self.look.mailbox.id;
        let store = &self.look.services.store;
        Ok(store.read_now(|conn| ledger::list_waiting(conn, id, which, now(), limit))?)
    }

    fn fetch(
        &mut self,
        lines: &[OpenPlacement],
        until: Option<Instant>,
    ) -> Result<usize, SyncError> {
        let mut fetching = Fetching {
            look: &self.look,
            connection: &mut self.connection,
            batches: self.batches,
            until,
        };
        fetching.fetch(lines)
    }

    /// Takes in what came since the mailbox was connected.
    fn fetch_arrived(&mut self) -> Result<(), SyncError> {
        loop {
            let waiting = self.waiting(Waiting::Arrived, ARRIVED_MAX)?;
            if waiting.is_empty() || self.fetch(&waiting, None)? < waiting.len() {
                return Ok(());
            }
        }
    }

    /// Takes in what was there before, in the order in which it was received; new mail goes first whenever it comes.
    fn backfill(&mut self) -> Result<(), SyncError> {
        loop {
            let plan = self.waiting(Waiting::Before, PLANNED_MAX)?;
            let mut rest = plan.as_slice();
            if rest.is_empty() {
                return Ok(());
            }
            while !rest.is_empty() {
                if self.look.signals.is_stopped() {
                    return Ok(());
                }
                if self.look.signals.take_poke() {
                    // What is synced, and how far back, may have been changed: it is planned anew.
                    self.reload()?;
                    self.look_at_all()?;
                    self.fetch_arrived()?;
                    break;
                }
                let done = self.fetch(rest, Some(Instant::now() + SLICE))?;
                if done == 0 {
                    // A folder is another by now: the next look takes that over.
                    return Ok(());
                }
                rest = rest.get(done..).unwrap_or_default();
                self.look_for_arrived()?;
            }
        }
    }

    /// A look for new mail in between.
    fn look_for_arrived(&mut self) -> Result<(), SyncError> {
        if self.others_looked_at.elapsed() >= self.others_every() {
            self.look_at_all()?;
        } else if let Some(watched) = self.watched() {
            self.look_at(&watched)?;
        }
        self.fetch_arrived()
    }

    /// What is held is settled where it turned up elsewhere, or its time is over.
    fn settle(&mut self) -> Result<(), SyncError> {
        let id = self.look.mailbox.id;
        let store = &self.look.services.store;
        if store.read_now(|conn| ledger::has_held(conn, id))? {
            let before = now().plus_seconds(-self.look.services.times.hold_seconds);
            self.look.write(|tx| ledger::settle_held(tx, id, before))?;
        }
        Ok(())
    }

    fn is_reconciling_due(&mut self) -> Result<bool, SyncError> {
        let id = self.look.mailbox.id;
        let store = &self.look.services.store;
        let (asked, made) = store.read_now(|conn| mailboxes::reconcile_times(conn, id))?;
        let every = self.look.services.times.reconcile_seconds;
        let is_due = made.is_none_or(|made| now() >= made.plus_seconds(every));
        let is_asked = asked.is_some_and(|asked| made.is_none_or(|made| asked >= made));
        Ok(is_due || is_asked || std::mem::take(&mut self.is_to_reconcile))
    }

    /// Compares every folder with the server, puts right what differs, and tells of it; whether anything did.
    fn reconcile(&mut self) -> Result<bool, SyncError> {
        let at = now();
        let (mut missing_here, mut missing_there) = (0, 0);
        let mut differences = Vec::new();
        for folder in self.folders.clone() {
            if self.look.signals.is_stopped() {
                return Ok(false);
            }
            let Some(seen) = self.look_at(&folder)? else {
                continue;
            };
            let session = &mut self.connection.session;
            let found =
                reconcile::compare(&self.look, session, &seen.folder, seen.examined.exists)?;
            missing_here += found.missing_here;
            missing_there += found.missing_there;
            if found.missing_here + found.missing_there > 0 {
                differences.push(found.told);
            }
        }
        let differs = missing_here + missing_there > 0;
        let id = self.look.mailbox.id;
        let found = Reconciliation {
            at,
            missing_here: i64::try_from(missing_here).unwrap_or(i64::MAX),
            missing_there: i64::try_from(missing_there).unwrap_or(i64::MAX),
        };
        tracing::info!(mailbox = id.0, missing_here, missing_there, "reconciled");
        self.look
            .write(|tx| mailbox_writes::put_reconciled(tx, id, &found, &differences))?;
        Ok(differs)
    }

    /// The folder where new mail is waited for.
    fn watched(&self) -> Option<Folder> {
        self.folders
            .iter()
            .find(|folder| matches!(folder.role, Some(FolderRole::Inbox | FolderRole::All)))
            .cloned()
    }

    /// How often folders that nobody watches are looked at.
    fn others_every(&self) -> Duration {
        let times = &self.look.services.times;
        let is_cheap = self.folders.len() <= FEW_FOLDERS
            || self.connection.session.has_capability("LIST-STATUS");
        let every = if is_cheap {
            times.look_at_others
        } else {
            times.look_at_many_others
        };
        // Not all mailboxes of a server at once.
        every.mul_f64(0.9 + 0.2 * rand::random::<f64>())
    }

    /// Waits where new mail comes in, taking in what comes, until it is time to look at the other folders too.
    pub fn watch(&mut self) -> Result<(), SyncError> {
        let until = Instant::now() + self.others_every();
        let signals = self.look.signals;
        let told = || {
            signals.progressed();
            signals.is_stopped() || signals.is_poked()
        };
        let Some(watched) = self.watched() else {
            while !told() && Instant::now() < until {
                signals.wait(self.look.services.times.tick);
            }
            return Ok(());
        };
        let idle_for = imap::idle_for(&self.look.mailbox.imap.host);
        let poll_every = self.look.services.times.poll_every;
        loop {
            // What came between the last look and IDLE would wait for the next mail: look once more first.
            let known = self.folders.iter().find(|folder| folder.id == watched.id);
            let known = known.cloned().unwrap_or_else(|| watched.clone());
            self.look_at(&known)?;
            self.fetch_arrived()?;
            // What did not come at first, and is due again.
            self.backfill()?;
            self.settle()?;
            let left = until
                .saturating_duration_since(Instant::now())
                .min(self.next_try()?);
            if told() || left.is_zero() {
                return Ok(());
            }
            // Fetching may have opened another folder, or the look was put off.
            if !self.connection.open(watched.id)? {
                signals.wait(left.min(self.look.services.times.tick));
                continue;
            }
            match self.connection.session.idle(left.min(idle_for), &told)? {
                IdleEnd::Changed => {}
                IdleEnd::TimedOut => {
                    if Instant::now() >= until {
                        return Ok(());
                    }
                }
                IdleEnd::Stopped => return Ok(()),
                IdleEnd::Unsupported => {
                    let again = Instant::now() + poll_every.min(left);
                    while !told() && Instant::now() < again {
                        signals.wait(self.look.services.times.tick);
                    }
                }
            }
        }
    }

    /// How long until a mail that did not come is asked for again.
    fn next_try(&self) -> Result<Duration, SyncError> {
        let id = self.look.mailbox.id;
        let store = &self.look.services.store;
        let next = store.read_now(|conn| ledger::next_try(conn, id, now()))?;
        Ok(next.map_or(Duration::MAX, |next| {
            let micros = next.micros().saturating_sub(now().micros()).max(0);
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        }))
    }
}
