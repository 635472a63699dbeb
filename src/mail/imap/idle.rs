//! Waiting for news with IDLE, by our own reading: the crate's hangs when an untagged line precedes the `+`, and keeps a
//! thread for each connection. Not for: deciding how often to ask where IDLE is missing.

use super::response;
use super::session::{Ended, ImapSession, ended, out_of_step};
use crate::mail::error::{MailError, MailStep};
use std::io;
use std::time::{Duration, Instant};

/// How often a server that does not answer is given up, or not.
const TICK: Duration = Duration::from_millis(500);
/// Lines that are heard at once.
const LINES_AT_ONCE: usize = 1000;

/// Whether a read waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocking {
    UntilTimeout,
    Never,
}

/// How long a server keeps IDLE before it forgets it, or cuts the connection: IDLE is issued anew before that.
pub fn idle_for(host: &str) -> Duration {
    /// Servers are known to forget it after 5 minutes, though the standard says 30.
    const USUAL: Duration = Duration::from_secs(4 * 60);
    let host = host.to_ascii_lowercase();
    let is_at = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    if ["163.com", "126.com", "yeah.net", "rambler.ru"]
        .iter()
        .any(|domain| is_at(domain))
    {
        Duration::from_secs(55)
    } else if ["yahoo.com", "yahoo.co.jp", "aol.com"]
        .iter()
        .any(|domain| is_at(domain))
    {
        Duration::from_secs(3 * 60)
    } else {
        USUAL
    }
}

/// Whether waiting for news began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleStart {
    /// Whatever comes on the connection is worth hearing.
    Idling,
    /// The folder has changed since it was last listed: there is nothing to wait for.
    Changed,
    /// The server refused IDLE; poll instead.
    Unsupported,
}

/// What was heard while waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The folder has changed; list it.
    Changed,
    Nothing,
    /// The server will not go on idling; poll instead. The idling is over.
    Unsupported,
}

impl ImapSession {
    /// Begins to wait for the open folder to change. Until [`ImapSession::end_idle`] no other command may be given; the
    /// connection needs no thread meanwhile: whoever sees that bytes have come calls [`ImapSession::hear`].
    ///
    /// # Errors
    /// Whatever ends the session.
    pub fn begin_idle(&mut self) -> Result<IdleStart, MailError> {
        if self.has_news() {
            return Ok(IdleStart::Changed);
        }
        let tag = self.send("IDLE")?;
        self.set_timeout(TICK)?;
        self.wire().lock().set_idle(true);
        let is_idling = self.wait_for_go_ahead(&tag)?;
        self.set_timeout(self.read_timeout())?;
        if !is_idling {
            self.wire().lock().set_idle(false);
            return Ok(IdleStart::Unsupported);
        }
        self.set_blocking(Blocking::Never)?;
        self.set_idle_tag(Some(tag));
        // What came before the `+` or together with it is read already: nobody who watches the connection would see it.
        match self.hear(Duration::ZERO)? {
            Heard::Nothing => Ok(IdleStart::Idling),
            Heard::Unsupported => Ok(IdleStart::Unsupported),
            Heard::Changed => {
                self.end_idle()?;
                Ok(IdleStart::Changed)
            }
        }
    }

    /// Hears what came since it last did, waiting for at most `wait` where nothing has.
    ///
    /// # Errors
    /// Whatever ends the session.
    pub fn hear(&mut self, wait: Duration) -> Result<Heard, MailError> {
        let Some(tag) = self.idle_tag() else {
            return Ok(Heard::Changed);
        };
        if !wait.is_zero() {
            self.set_timeout(wait)?;
            self.set_blocking(Blocking::UntilTimeout)?;
        }
        let heard = self.hear_lines(&tag)?;
        if !wait.is_zero() {
            self.set_timeout(self.read_timeout())?;
            self.set_blocking(Blocking::Never)?;
        }
        if heard == Heard::Unsupported {
            self.set_blocking(Blocking::UntilTimeout)?;
            self.set_idle_tag(None);
            self.wire().lock().set_idle(false);
        }
        Ok(heard)
    }

    fn set_timeout(&self, timeout: Duration) -> Result<(), MailError> {
        self.wire()
            .lock()
            .set_read_timeout(timeout)
            .map_err(|error| MailError::from_io(&error, MailStep::Protocol))
    }

    fn set_blocking(&self, blocking: Blocking) -> Result<(), MailError> {
        self.wire()
            .lock()
            .set_nonblocking(blocking == Blocking::Never)
            .map_err(|error| MailError::from_io(&error, MailStep::Protocol))
    }

    /// Waits until the server agrees to idle; false where it will not.
    fn wait_for_go_ahead(&self, tag: &str) -> Result<bool, MailError> {
        let step = MailStep::Protocol;
        let begun = Instant::now();
        loop {
            let mut line = Vec::new();
            match self.wire().lock().read_line(&mut line) {
                Ok(()) => {}
                // Before the `+` there is no idling that DONE could end.
                Err(error) if is_tick(&error) && begun.elapsed() < self.read_timeout() => continue,
                Err(error) if is_tick(&error) => return Err(MailError::TimedOut { step }),
                Err(error) => return Err(MailError::from_io(&error, step)),
            }
            if line.starts_with(b"+") {
                return Ok(true);
            }
            if !self.hear_line(&line, tag)? {
                return Ok(false);
            }
            // A server that never falls silent must not keep us here.
            if begun.elapsed() >= self.read_timeout() {
                return Err(MailError::TimedOut { step });
            }
        }
    }

    fn hear_lines(&self, tag: &str) -> Result<Heard, MailError> {
        for _ in 0..LINES_AT_ONCE {
            let mut line = Vec::new();
            if self.has_news() {
                return Ok(Heard::Changed);
            }
            match self.wire().lock().read_line(&mut line) {
                Ok(()) => {}
                Err(error) if is_tick(&error) => return Ok(Heard::Nothing),
                Err(error) => return Err(MailError::from_io(&error, MailStep::Protocol)),
            }
            if !line.starts_with(b"+") && !self.hear_line(&line, tag)? {
                return Ok(Heard::Unsupported);
            }
        }
        // A server that never falls silent must not keep us here; what it has said more is read with a look.
        Ok(Heard::Changed)
    }

    /// Takes one line in; false where it ends the idling.
    fn hear_line(&self, line: &[u8], tag: &str) -> Result<bool, MailError> {
        if let Some(rest) = line.strip_prefix(b"* ") {
            self.note(rest)?;
            Ok(true)
        } else if let Some((found, rest)) = response::split_tagged(line) {
            refused(found, tag, rest)?;
            Ok(false)
        } else {
            Err(MailError::Protocol {
                step: MailStep::Protocol,
                what: "malformed line",
            })
        }
    }

    fn note(&self, rest: &[u8]) -> Result<(), MailError> {
        let step = MailStep::Protocol;
        if response::is_bye(rest) {
            return Err(response::busy(rest, step).unwrap_or(MailError::ConnectionLost { step }));
        }
        self.wire().lock().note(rest);
        Ok(())
    }

    /// Ends the waiting, if there is any: other commands may follow.
    ///
    /// # Errors
    /// Whatever ends the session.
    pub fn end_idle(&mut self) -> Result<(), MailError> {
        let step = MailStep::Protocol;
        let Some(tag) = self.idle_tag() else {
            return Ok(());
        };
        self.set_idle_tag(None);
        self.set_blocking(Blocking::UntilTimeout)?;
        let mut wire = self.wire().lock();
        wire.set_idle(false);
        wire.send(b"DONE\r\n")
            .map_err(|error| MailError::from_io(&error, step))?;
        let begun = Instant::now();
        loop {
            let mut line = Vec::new();
            wire.read_line(&mut line)
                .map_err(|error| MailError::from_io(&error, step))?;
            if let Some(rest) = line.strip_prefix(b"* ") {
                if response::is_bye(rest) {
                    return Err(MailError::ConnectionLost { step });
                }
                wire.note(rest);
            } else if let Some((found, rest)) = response::split_tagged(&line) {
                // NO after DONE changes nothing: the idling is over.
                return if found == tag.as_bytes() {
                    ended(rest, "IDLE").map(drop)
                } else {
                    Err(out_of_step())
                };
            }
            if begun.elapsed() >= self.read_timeout() {
                return Err(MailError::TimedOut { step });
            }
        }
    }
}

/// A tagged line before DONE: the server will not idle, or has stopped by itself.
fn refused(found: &[u8], tag: &str, rest: &[u8]) -> Result<(), MailError> {
    if found != tag.as_bytes() {
        return Err(out_of_step());
    }
    match ended(rest, "IDLE")? {
        Ended::Refused(error @ MailError::Busy { .. }) => Err(error),
        Ended::Refused(_) => Ok(()),
        Ended::Ok => Err(MailError::Protocol {
            step: MailStep::Protocol,
            what: "IDLE ended by the server",
        }),
    }
}

fn is_tick(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
