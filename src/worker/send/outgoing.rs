//! One mail after another of a mailbox, over one connection.

use super::{Open, Sender, SessionKey};
use crate::actions::ingest::{self, Arrival, Taken};
use crate::actions::senders;
use crate::clock;
use crate::mail::MailError;
use crate::mail::compose::{self, Envelope};
use crate::mail::smtp::{self, NotTaken, SmtpSession, SmtpTarget};
use crate::model::draft::{Draft, SendingFailure};
use crate::model::mailbox::{MailServer, Mailbox};
use crate::model::people::PermissionAction;
use crate::model::{FolderId, MailboxId};
use crate::rules::access;
use crate::rules::sending::{Attempt, Next, Tried, next};
use crate::store::drafts::{self, Claimed, Ended};
use crate::store::{StoreError, items, leases, mailboxes, roles};
use crate::worker::sync::SyncError;
use crate::worker::sync::login::{self, Token};
use bytes::Bytes;
use std::time::Duration;

/// What became of a mail must be written; until it is, it is tried again.
const WRITE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// No folder: a mail that was sent lies in none yet.
const NOWHERE: FolderId = FolderId(0);

/// Sends these mails of a mailbox, and writes what became of each.
pub(super) fn send_all(sender: &Sender, id: MailboxId, mails: &[Claimed]) {
    let mut session = sender.pool.take(id).and_then(alive);
    let mut unreached = None;
    for mail in mails {
        if *sender.stop.borrow() {
            // It was not begun: the lease's end gives it back.
            continue;
        }
        // A server that could not be reached, or let nobody in, is not asked again for each.
        let outcome = match &unreached {
            Some(attempt) => Outcome::Over(Attempt::clone(attempt), Bytes::new()),
            None => send(sender, id, mail, (&mut session, &mut unreached)),
        };
        settle(sender, mail, outcome);
    }
    if let Some(open) = session {
        sender.pool.keep(id, open);
    }
}

/// A session for this job: the one that is open, where it was opened as the job wants it and still lives.
fn taken_up(open: Open, key: &SessionKey) -> Option<Open> {
    if open.key != *key {
        open.session.quit();
        return None;
    }
    Some(open)
}

fn alive(mut open: Open) -> Option<Open> {
    open.session.noop().then_some(open)
}

/// What an attempt led to.
enum Outcome {
    /// The attempt is over; with the mail where it went out.
    Over(Attempt, Bytes),
    /// Another has it now, or the database did not answer before the mail was handed over: nothing went out.
    Left,
}

fn whole(reason: impl Into<String>) -> Vec<SendingFailure> {
    vec![SendingFailure {
        recipient: None,
        reason: reason.into(),
        code: None,
    }]
}

fn refused(reason: &str) -> Outcome {
    Outcome::Over(Attempt::Refused(whole(reason)), Bytes::new())
}

/// What is to be sent, and how.
struct Job {
    mailbox: Mailbox,
    server: MailServer,
    envelope: Envelope,
    raw: Bytes,
}

impl Job {
    fn session_key(&self) -> SessionKey {
        SessionKey {
            server: self.server.clone(),
            login: self.mailbox.login.clone(),
            version: self.mailbox.version,
        }
    }
}

fn send(
    sender: &Sender,
    id: MailboxId,
    mail: &Claimed,
    (session, unreached): (&mut Option<Open>, &mut Option<Attempt>),
) -> Outcome {
    let _sending = tracing::info_span!("send_mail", mailbox = id.0, draft = mail.id.0).entered();
    let job = match job(sender, id, mail) {
        Ok(Ok(job)) => job,
        Ok(Err(reason)) => return refused(reason),
        Err(error) => {
            tracing::warn!(draft = mail.id.0, %error, "a mail could not be read to be sent");
            return Outcome::Over(
                Attempt::NotNow(whole("it could not be read at present")),
                Bytes::new(),
            );
        }
    };
    let key = job.session_key();
    let open = match session.take().and_then(|open| taken_up(open, &key)) {
        Some(open) => Ok(open.session),
        None => connect(sender, &job),
    };
    let mut open = match open {
        Ok(open) => open,
        Err(attempt) => {
            *unreached = Some(attempt.clone());
            return Outcome::Over(attempt, Bytes::new());
        }
    };
    let keep = |session: SmtpSession| session.is_usable().then_some(Open { key, session });
    if let Err(why) = open.begin(&job.envelope, job.raw.len()) {
        *session = keep(open);
        return Outcome::Over(attempt(why), Bytes::new());
    }
    // From the commit on it may have gone out: whoever finds it then does not try again.
    match hand_over(sender, mail) {
        Ok(true) => {}
        Ok(false) => return Outcome::Left,
        Err(error) => {
            tracing::warn!(draft = mail.id.0, %error, "a mail could not be handed over");
            return Outcome::Left;
        }
    }
    let finished = open.finish(&job.raw);
    *session = keep(open);
    match finished {
        Ok(()) => Outcome::Over(Attempt::Taken, job.raw),
        Err(why) => Outcome::Over(attempt(why), Bytes::new()),
    }
}

/// Loads everything; a reason where it may not be sent (any more).
fn job(
    sender: &Sender,
    id: MailboxId,
    mail: &Claimed,
) -> Result<Result<Job, &'static str>, StoreError> {
    let store = &sender.services.sync.store;
    let Some(mailbox) = sender.mailbox(id)?.filter(|mailbox| mailbox.is_connected) else {
        return Ok(Err("the mailbox is not connected any more"));
    };
    let Some(server) = mailbox.smtp.clone() else {
        return Ok(Err("the mailbox has no server that sends"));
    };
    let draft = store.read_now(|conn| drafts::get(conn, mail.id))?;
    let Some(draft) = draft else {
        return Ok(Err("it is gone"));
    };
    if let Some(reason) = not_allowed(sender, &draft, &mailbox)? {
        return Ok(Err(reason));
    }
    let content = &draft.content;
    let all = content.to.iter().chain(&content.cc).chain(&content.bcc);
    let Ok(envelope) = compose::envelope(&content.from, all) else {
        return Ok(Err("it goes to an address that is none"));
    };
    let runtime = tokio::runtime::Handle::current();
    let raw = runtime.block_on(sender.services.sync.raw.get(store, &mail.raw_hash))?;
    Ok(Ok(Job {
        mailbox,
        server,
        envelope,
        raw,
    }))
}

/// Rights may have changed since it was queued.
fn not_allowed(
    sender: &Sender,
    draft: &Draft,
    mailbox: &Mailbox,
) -> Result<Option<&'static str>, StoreError> {
    sender.services.sync.store.read_now(|conn| {
        let Some(author) = roles::load_viewer(conn, draft.author_id)? else {
            return Ok(Some("whoever wrote it has no active account any more"));
        };
        let holders = mailboxes::holders(conn, draft.mailbox_id)?;
        if !holders.is_some_and(|holders| access::may_send(&author, &holders)) {
            return Ok(Some(
                "whoever wrote it may not send as this mailbox any more",
            ));
        }
        let from = &draft.content.from.address;
        if !senders::may_be_from(conn, draft.author_id, mailbox, from)? {
            return Ok(Some(
                "whoever wrote it may not send under its sender's address any more",
            ));
        }
        let Some(item) = draft.item_id else {
            return Ok(None);
        };
        let facts = items::facts(conn, &[item])?;
        let may = |facts| access::decide(&author, PermissionAction::Update, facts).is_granted();
        Ok(if facts.iter().all(may) {
            None
        } else {
            Some("whoever wrote it may not change the item any more")
        })
    })
}

fn hand_over(sender: &Sender, mail: &Claimed) -> Result<bool, StoreError> {
    sender.services.sync.store.write_now(clock::now(), |tx| {
        let held = drafts::hand_over(tx, mail)?;
        leases::hold(tx, &sender.fence)?;
        Ok(held)
    })
}

/// Connects and logs in; a refused access token is made anew once.
fn connect(sender: &Sender, job: &Job) -> Result<SmtpSession, Attempt> {
    match log_in(sender, job, Token::Kept) {
        Ok(session) => Ok(session),
        Err(SyncError::Mail(MailError::LoginRefused)) => {
            log_in(sender, job, Token::Anew).map_err(|error| not_connected(&error))
        }
        Err(error) => Err(not_connected(&error)),
    }
}

fn log_in(sender: &Sender, job: &Job, token: Token) -> Result<SmtpSession, SyncError> {
    let services = &sender.services.sync;
    let secret = login::present_secret(services, &sender.fence, &job.mailbox, token)?;
    let secret = secret.ok_or(MailError::LoginRefused)?;
    Ok(smtp::connect(&SmtpTarget {
        server: job.server.clone(),
        login: job.mailbox.login.clone(),
        secret,
        trust: services.trust.clone(),
        hosts: services.hosts.clone(),
        times: sender.services.times,
    })?)
}

fn not_connected(error: &SyncError) -> Attempt {
    match error {
        SyncError::Mail(error) if error.is_temporary() => Attempt::NotNow(whole(error.to_string())),
        SyncError::Mail(error) => Attempt::Refused(whole(format!("{error}. {}", error.advice()))),
        SyncError::Store(_) => Attempt::NotNow(whole("the mailbox's secret could not be read")),
        SyncError::Gone(reason) => Attempt::Refused(whole(reason.clone())),
    }
}

/// What the server said, as the rules want it.
fn attempt(why: NotTaken) -> Attempt {
    match why {
        NotTaken::Broken(error) => Attempt::NotNow(whole(error.to_string())),
        NotTaken::TooLarge => Attempt::Refused(whole("the mail is larger than the server takes")),
        NotTaken::Ambiguous => Attempt::Ambiguous,
        NotTaken::Refused(reply) => {
            let failures = vec![SendingFailure {
                recipient: None,
                reason: reply.meaning().to_owned(),
                code: Some(i64::from(reply.code)),
            }];
            if reply.is_temporary() {
                Attempt::NotNow(failures)
            } else {
                Attempt::Refused(failures)
            }
        }
        NotTaken::Recipients(refused) => {
            let is_for_good = refused
                .iter()
                .any(|(_recipient, reply)| !reply.is_temporary());
            let failures = refused
                .into_iter()
                .map(|(recipient, reply)| SendingFailure {
                    recipient: Some(recipient),
                    reason: reply.meaning().to_owned(),
                    code: Some(i64::from(reply.code)),
                })
                .collect();
            if is_for_good {
                Attempt::Refused(failures)
            } else {
                Attempt::NotNow(failures)
            }
        }
    }
}

/// Writes what became of it, again until it is written: what the server said is known to nobody else.
fn settle(sender: &Sender, mail: &Claimed, outcome: Outcome) {
    let runtime = tokio::runtime::Handle::current();
    loop {
        let written = match &outcome {
            Outcome::Left => give_back(sender, mail),
            Outcome::Over(Attempt::Taken, raw) => take_in(sender, mail, raw),
            Outcome::Over(attempt, _raw) => end(sender, mail, attempt.clone()),
        };
        match written {
            Ok(()) => return,
            Err(error) if *sender.stop.borrow() => {
                tracing::error!(draft = mail.id.0, %error, "what became of a mail was not written");
                return;
            }
            Err(error) => {
                tracing::warn!(draft = mail.id.0, %error, "what became of a mail waits to be written");
                runtime.block_on(tokio::time::sleep(WRITE_AGAIN_AFTER));
            }
        }
    }
}

fn give_back(sender: &Sender, mail: &Claimed) -> Result<(), StoreError> {
    let again = Ended::Again(clock::now(), Vec::new());
    let store = &sender.services.sync.store;
    store.write_now(clock::now(), |tx| drafts::update_ended(tx, mail, &again))
}

fn end(sender: &Sender, mail: &Claimed, attempt: Attempt) -> Result<(), StoreError> {
    let now = clock::now();
    let tried = Tried {
        tries: mail.tries,
        may_be_out: mail.may_be_out,
    };
    let ended = match next(attempt, tried, now) {
        Next::Sent => return Ok(()),
        Next::Again(at, why) => Ended::Again(at, why),
        Next::Failed(why) => Ended::Failed(why),
        Next::Unknown(why) => Ended::Unknown(why),
    };
    tracing::info!(
        draft = mail.id.0,
        tries = mail.tries,
        outcome = name(&ended),
        "a mail did not go out"
    );
    let store = &sender.services.sync.store;
    store.write_now(now, |tx| drafts::update_ended(tx, mail, &ended))
}

const fn name(ended: &Ended) -> &'static str {
    match ended {
        Ended::Again(..) => "again",
        Ended::Failed(_) => "failed",
        Ended::Unknown(_) => "unknown",
    }
}

/// It went out: it is stored and saved as mail that comes in is, which notes that it was sent.
fn take_in(sender: &Sender, mail: &Claimed, raw: &Bytes) -> Result<(), StoreError> {
    let is_stored = store(sender, mail.mailbox_id, raw)?;
    if !is_stored {
        tracing::error!(
            draft = mail.id.0,
            "a sent mail could not be stored, and is again"
        );
    }
    // It went out all the same.
    let services = &sender.services.sync;
    services.store.write_now(clock::now(), |tx| {
        if is_stored {
            drafts::update_sent(tx, mail.id, None, false)
        } else {
            drafts::update_sent_unstored(tx, mail.id)
        }
    })
}

/// Stores a mail that went out, and saves it; whether that could be done.
pub(super) fn store(sender: &Sender, mailbox: MailboxId, raw: &Bytes) -> Result<bool, StoreError> {
    let services = &sender.services.sync;
    let now = clock::now();
    let arrival = Arrival {
        placement: None,
        folder: NOWHERE,
        internal_date: now,
        is_seen: true,
        is_backfill: false,
        labels: Vec::new(),
        raw: raw.clone(),
    };
    let place = (mailbox, None);
    let taken = ingest::ingest_now(&services.store, &services.raw, place, vec![arrival], now)?;
    Ok(!matches!(taken.first(), Some(Taken::Quarantined(_))))
}
