//! Waiting for news with IDLE, in our own loop: the crate's hangs when an untagged line precedes the `+`, and
//! can't be interrupted. Not for: deciding how often to ask where IDLE is missing.

use super::response;
use super::session::{Ended, ImapSession, ended, out_of_step};
use crate::mail::error::{MailError, MailStep};
use std::io;
use std::time::{Duration, Instant};

/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(500);

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

/// Why the waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleEnd {
    /// The folder has changed; list it.
    Changed,
    TimedOut,
    Stopped,
    /// The server refused IDLE; poll instead.
    Unsupported,
}

impl ImapSession {
    /// Waits until the open folder changes, the time is over, or `stop` says so (looked at twice a second).
    /// News that came since the last listing ends it at once.
    pub fn idle(
        &mut self,
        timeout: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<IdleEnd, MailError> {
        if self.has_news() {
            return Ok(IdleEnd::Changed);
        }
        let tag = self.send("IDLE")?;
        self.set_timeout(TICK)?;
        self.wire().lock().set_idle(true);
        let waited = self.wait_for_news(&tag, timeout, stop);
        self.wire().lock().set_idle(false);
        self.set_timeout(self.read_timeout())?;
        match waited? {
            IdleEnd::Unsupported => Ok(IdleEnd::Unsupported),
            end => {
                self.end_idle(&tag)?;
                Ok(end)
            }
        }
    }

    fn set_timeout(&self, timeout: Duration) -> Result<(), MailError> {
        self.wire()
            .lock()
            .set_read_timeout(timeout)
            .map_err(|error| MailError::from_io(&error, MailStep::Protocol))
    }

    fn wait_for_news(
        &self,
        tag: &str,
        timeout: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Result<IdleEnd, MailError> {
        let step = MailStep::Protocol;
        let begun = Instant::now();
        let mut is_idling = false;
        loop {
            let mut line = Vec::new();
            match self.wire().lock().read_line(&mut line) {
                Ok(()) => {}
                Err(error) if is_tick(&error) => {
                    if !is_idling {
                        // Before the `+` there is no idling that DONE could end.
                        if begun.elapsed() >= self.read_timeout() {
                            return Err(MailError::TimedOut { step });
                        }
                    } else if stop() {
                        return Ok(IdleEnd::Stopped);
                    } else if begun.elapsed() >= timeout {
                        return Ok(IdleEnd::TimedOut);
                    }
                    continue;
                }
                Err(error) => return Err(MailError::from_io(&error, step)),
            }
            if line.starts_with(b"+") {
                is_idling = true;
            } else if let Some(rest) = line.strip_prefix(b"* ") {
                self.hear(rest)?;
            } else if let Some((found, rest)) = response::split_tagged(&line) {
                return refused(found, tag, rest);
            } else {
                return Err(MailError::Protocol {
                    step,
                    what: "malformed line",
                });
            }
            if is_idling && self.has_news() {
                return Ok(IdleEnd::Changed);
            }
            // A server that never falls silent must not keep us from looking up.
            if is_idling && (stop() || begun.elapsed() >= timeout) {
                return Ok(if stop() {
                    IdleEnd::Stopped
                } else {
                    IdleEnd::TimedOut
                });
            }
        }
    }

    fn hear(&self, rest: &[u8]) -> Result<(), MailError> {
        let step = MailStep::Protocol;
        if response::is_bye(rest) {
            return Err(response::busy(rest, step).unwrap_or(MailError::ConnectionLost { step }));
        }
        self.wire().lock().note(rest);
        Ok(())
    }

    fn end_idle(&mut self, tag: &str) -> Result<(), MailError> {
        let step = MailStep::Protocol;
        let mut wire = self.wire().lock();
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
fn refused(found: &[u8], tag: &str, rest: &[u8]) -> Result<IdleEnd, MailError> {
    if found != tag.as_bytes() {
        return Err(out_of_step());
    }
    match ended(rest, "IDLE")? {
        Ended::Refused(error @ MailError::Busy { .. }) => Err(error),
        Ended::Refused(_) => Ok(IdleEnd::Unsupported),
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
