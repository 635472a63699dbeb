//! A connection to a mailbox, from the login on, and the order of what is done on it: every folder is looked at, new mail
//! comes first, then what was there before, in the order in which it was received; then news are waited for.
//! Not for: connecting, and what follows a failure (that is `sitting`).

use super::connection::{Connection, Opening};
use super::fetch::{Batches, Fetching};
use super::folder::{self, Seen};
use super::sitting::Rest;
use super::state::State;
use super::turns::Turn;
use super::{Look, SyncError, epoch, now, reconcile};
use crate::mail::imap::{self, Examined, FolderStatus, Follows, Heard, IdleStart};
use crate::model::mailbox::{Folder, FolderRole, Reconciliation, SyncStage};
use crate::model::{FolderId, MailboxId};
use crate::store::leases::Fence;
use crate::store::ledger::{self, Waiting};
use crate::store::placements::OpenPlacement;
use crate::store::{Store, mailbox_writes, mailboxes, placements};
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
/// Arrived mails that are taken in without a turn: so few are held in memory.
const FEW_MAILS: usize = 50;
const FEW_BYTES: i64 = 4 << 20;
/// With more folders, and a server that can't tell of all in one answer, each is looked at less often.
const FEW_FOLDERS: usize = 5;

/// Longer than anything here waits.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// How many of these mails, from the first, are few enough to be taken in beside what others do.
fn few(lines: &[OpenPlacement]) -> usize {
    let mut bytes = 0_i64;
    lines
        .iter()
        .take(FEW_MAILS)
        .take_while(|line| {
            bytes = bytes.saturating_add(line.size_bytes);
            bytes <= FEW_BYTES
        })
        .count()
}

const fn status_of(examined: &Examined) -> FolderStatus {
    FolderStatus {
        uid_validity: examined.uid_validity,
        uid_next: examined.uid_next,
        exists: Some(examined.exists),
        highest_modseq: examined.highest_modseq,
    }
}

/// What was seen of a folder last.
struct View {
    status: FolderStatus,
    /// When all its UIDs were compared, where the server tells of no changes by itself.
    compared_at: Instant,
}

/// What outlasts a connection.
#[derive(Clone)]
pub(super) struct Kept {
    pub state: State,
    pub batches: Batches,
}

impl Kept {
    pub fn new(store: Store, id: MailboxId, fence: Fence) -> Self {
        Self {
            state: State::new(store, id, fence),
            batches: Batches::default(),
        }
    }
}

/// One connection's work.
pub(super) struct Round {
    look: Look,
    connection: Connection,
    kept: Kept,
    folders: Vec<Folder>,
    views: HashMap<FolderId, View>,
    unstable: HashMap<FolderId, Instant>,
    others_looked_at: Instant,
    /// An epoch began: all is compared once what is new is in.
    is_to_reconcile: bool,
    /// A pass over all folders is under way: what it found is not all taken in yet.
    is_passing: bool,
    has_passed: bool,
    /// When the next pass is due.
    pass_at: Instant,
    /// Where the server idles: until when.
    idles_until: Option<Instant>,
}

impl Round {
    pub fn new(look: Look, connection: Connection, kept: Kept) -> Self {
        Self {
            look,
            connection,
            kept,
            folders: Vec::new(),
            views: HashMap::new(),
            unstable: HashMap::new(),
            others_looked_at: Instant::now(),
            is_to_reconcile: false,
            is_passing: false,
            has_passed: false,
            pass_at: Instant::now(),
            idles_until: None,
        }
    }

    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether everything was taken in once since it connected.
    pub const fn has_passed(&self) -> bool {
        self.has_passed
    }

    /// Says goodbye, where the server listens.
    pub fn end(&mut self) {
        if self.connection.session.end_idle().is_ok() {
            self.connection.session.log_out();
        }
    }

    /// Looks at every folder, takes everything in, and compares with the server where that is due.
    pub fn pass(&mut self) -> Result<(), SyncError> {
        self.begin_pass()?;
        self.finish(&mut Turn::Always).map(drop)
    }

    /// Does what there is to do; what is then waited for.
    pub fn go_on(&mut self, mut turn: Turn<'_>) -> Result<Rest, SyncError> {
        let _looking = tracing::info_span!("sync", mailbox = self.look.mailbox.id.0).entered();
        if let Some(rest) = self.wake(&turn)? {
            return Ok(rest);
        }
        if self.look.signals.is_poked() || Instant::now() >= self.pass_at {
            self.begin_pass()?;
        } else if let Some(watched) = self.watched() {
            // Also after a wait for news: what came between the last look and IDLE would wait for the next mail.
            self.look_at(&watched)?;
        }
        let is_done = self.finish(&mut turn)?;
        if self.look.signals.is_stopped() {
            self.end();
            return Ok(Rest::Over);
        }
        self.rest(is_done)
    }

    /// Ends the waiting for news, unless it is to go on: nothing was heard, and nothing else is due.
    fn wake(&mut self, turn: &Turn<'_>) -> Result<Option<Rest>, SyncError> {
        let Some(until) = self.idles_until else {
            return Ok(None);
        };
        let signals = &self.look.signals;
        let heard = self.connection.session.hear(Duration::ZERO)?;
        let is_told = signals.is_stopped() || signals.is_poked() || turn.is_held();
        if heard == Heard::Nothing && !is_told && Instant::now() < until {
            let connection = self.connection.session.cut_handle();
            return Ok(Some(if self.is_passing {
                Rest::Turn(Some(connection), until)
            } else {
                Rest::News(connection, until)
            }));
        }
        self.idles_until = None;
        self.connection.session.end_idle()?;
        if heard == Heard::Unsupported {
            return Ok(Some(self.poll(until)));
        }
        Ok(None)
    }

    /// What is waited for until there is something to do again.
    fn rest(&mut self, is_done: bool) -> Result<Rest, SyncError> {
        let now = Instant::now();
        let until = now
            + self
                .next_try()?
                .min(self.pass_at.saturating_duration_since(now));
        let rest = self.wait_for_news(until)?;
        Ok(match rest {
            rest if is_done => rest,
            Rest::News(connection, until) => Rest::Turn(Some(connection), until),
            // Where the server tells nothing by itself, new mail is looked for while others have their turn.
            Rest::Time(until) => Rest::Turn(None, until.min(now + SLICE)),
            other => other,
        })
    }

    fn wait_for_news(&mut self, until: Instant) -> Result<Rest, SyncError> {
        let Some(watched) = self.watched() else {
            return Ok(Rest::Time(until));
        };
        // Fetching may have opened another folder, or the look was put off.
        match self.connection.open_again(watched.id)? {
            Opening::WasOpen => {}
            Opening::Opened(examined) if self.is_as_seen(watched.id, &examined) => {}
            // It came while another folder was open, and the server does not tell of it any more.
            Opening::Opened(_examined) => return Ok(Rest::Time(Instant::now())),
            Opening::Another => {
                let tick = Instant::now() + self.look.services.times.tick;
                return Ok(Rest::Time(until.min(tick)));
            }
        }
        Ok(match self.connection.session.begin_idle()? {
            IdleStart::Changed => Rest::Time(Instant::now()),
            IdleStart::Unsupported => self.poll(until),
            IdleStart::Idling => {
                let idle_for = imap::idle_for(&self.look.mailbox.imap.host);
                let until = until.min(Instant::now() + idle_for);
                self.idles_until = Some(until);
                Rest::News(self.connection.session.cut_handle(), until)
            }
        })
    }

    /// The next look, where the server tells nothing by itself.
    fn poll(&self, until: Instant) -> Rest {
        Rest::Time(until.min(Instant::now() + self.look.services.times.poll_every))
    }

    /// Looks at every folder.
    fn begin_pass(&mut self) -> Result<(), SyncError> {
        self.look.signals.take_poke();
        self.reload()?;
        if self.views.is_empty() {
            self.kept.state.stage(SyncStage::Backfill)?;
        }
        self.is_passing = true;
        self.look_at_all()?;
        self.pass_at = Instant::now() + self.others_every();
        Ok(())
    }

    /// Takes in what waits; ends a pass, where one is under way. False where others have the turn that it takes.
    fn finish(&mut self, turn: &mut Turn<'_>) -> Result<bool, SyncError> {
        if !self.take_in(turn)? {
            return Ok(false);
        }
        if !self.is_passing {
            return Ok(true);
        }
        if self.is_reconciling_due()? {
            self.reconcile()?;
            // What was missing, and what came meanwhile: it looked at every folder.
            if !self.take_in(turn)? {
                return Ok(false);
            }
        }
        if self.look.signals.is_stopped() {
            return Ok(true);
        }
        self.is_passing = false;
        self.has_passed = true;
        if self.unstable.is_empty() {
            self.kept.state.watching()?;
        } else {
            self.kept.state.failed(&imap::unstable());
        }
        Ok(true)
    }

    /// Takes in what arrived, then what was there before; false where others have the turn that it takes.
    fn take_in(&mut self, turn: &mut Turn<'_>) -> Result<bool, SyncError> {
        let is_done = self.fetch_arrived(turn)? && self.backfill(turn)?;
        self.settle()?;
        Ok(is_done)
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

    /// Whether a folder that was just opened has as many mails as at the last look, and none of another UID.
    fn is_as_seen(&self, id: FolderId, examined: &Examined) -> bool {
        let now = status_of(examined);
        let view = self.views.get(&id).map(|view| view.status);
        view.is_some_and(|then| (then.exists, then.uid_next) == (now.exists, now.uid_next))
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
        let status = status_of(&seen.examined);
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
            batches: &mut self.kept.batches,
            until,
        };
        let done = fetching.fetch(lines)?;
        if done > 0 {
            self.kept.state.stored()?;
        }
        Ok(done)
    }

    /// Takes in what came since the mailbox was connected. Few mails at once take no turn. False where others have it.
    fn fetch_arrived(&mut self, turn: &mut Turn<'_>) -> Result<bool, SyncError> {
        loop {
            let mut waiting = self.waiting(Waiting::Arrived, ARRIVED_MAX)?;
            let few = few(&waiting);
            let is_whole = few == waiting.len();
            if !is_whole && !turn.take() {
                waiting.truncate(few);
                let done = self.fetch(&waiting, None)?;
                if few == 0 || done < few {
                    return Ok(false);
                }
                continue;
            }
            if waiting.is_empty() || self.fetch(&waiting, None)? < waiting.len() {
                return Ok(true);
            }
        }
    }

    /// Takes in what was there before, in the order in which it was received; new mail goes first whenever it comes.
    /// False where others have the turn that it takes.
    fn backfill(&mut self, turn: &mut Turn<'_>) -> Result<bool, SyncError> {
        loop {
            if self.waiting(Waiting::Before, 1)?.is_empty() {
                return Ok(true);
            }
            if !turn.take() {
                return Ok(false);
            }
            let plan = self.waiting(Waiting::Before, PLANNED_MAX)?;
            let mut rest = plan.as_slice();
            while !rest.is_empty() {
                if self.look.signals.is_stopped() {
                    return Ok(true);
                }
                if self.look.signals.take_poke() {
                    // What is synced, and how far back, may have been changed: it is planned anew.
                    self.reload()?;
                    self.look_at_all()?;
                    self.fetch_arrived(turn)?;
                    break;
                }
                let done = self.fetch(rest, Some(Instant::now() + SLICE))?;
                if done == 0 {
                    // A folder is another by now: the next look takes that over.
                    return Ok(true);
                }
                rest = rest.get(done..).unwrap_or_default();
                self.look_for_arrived(turn)?;
                if turn.is_wanted() {
                    return Ok(rest.is_empty());
                }
            }
        }
    }

    /// A look for new mail in between.
    fn look_for_arrived(&mut self, turn: &mut Turn<'_>) -> Result<(), SyncError> {
        if self.others_looked_at.elapsed() >= self.others_every() {
            self.look_at_all()?;
        } else if let Some(watched) = self.watched() {
            self.look_at(&watched)?;
        }
        self.fetch_arrived(turn).map(drop)
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

    /// Compares every folder with the server, puts right what differs, and tells of it.
    fn reconcile(&mut self) -> Result<(), SyncError> {
        let at = now();
        let (mut missing_here, mut missing_there) = (0, 0);
        let mut differences = Vec::new();
        for folder in self.folders.clone() {
            if self.look.signals.is_stopped() {
                return Ok(());
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
        let id = self.look.mailbox.id;
        let found = Reconciliation {
            at,
            missing_here: i64::try_from(missing_here).unwrap_or(i64::MAX),
            missing_there: i64::try_from(missing_there).unwrap_or(i64::MAX),
        };
        tracing::info!(mailbox = id.0, missing_here, missing_there, "reconciled");
        self.look
            .write(|tx| mailbox_writes::put_reconciled(tx, id, &found, &differences))?;
        Ok(())
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

    /// How long until a mail that did not come is asked for again.
    fn next_try(&self) -> Result<Duration, SyncError> {
        let id = self.look.mailbox.id;
        let store = &self.look.services.store;
        let next = store.read_now(|conn| ledger::next_try(conn, id, now()))?;
        Ok(next.map_or(NEVER, |next| {
            let micros = next.micros().saturating_sub(now().micros()).max(0);
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        }))
    }
}
