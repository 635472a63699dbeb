//! Hands mails to a mail server over LMTP (RFC 2033), as the last hop of a real delivery does.
//! Not for: sending mail to clients; that is SMTP, in `mail`.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A server that says nothing for so long is broken: Dovecot answers within milliseconds.
const ANSWER_SECONDS: u64 = 30;

/// Replies longer than this are no LMTP server's; RFC 5321 allows 512.
const REPLY_LINES_MAX: usize = 64;

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LmtpError {
    /// The connection failed.
    #[error("no LMTP connection: {0}")]
    Connection(#[from] io::Error),
    /// The server said no.
    #[error("the mail server refused {step}: {reply}")]
    Refused {
        /// Which command it answered.
        step: String,
        /// What it said.
        reply: String,
    },
    /// An address that can't stand in a command.
    #[error("the address {0:?} can't be written in an LMTP command")]
    Address(String),
}

/// One connection, for many mails.
#[derive(Debug)]
pub struct Lmtp {
    reader: BufReader<TcpStream>,
}

impl Lmtp {
    /// Connects to a server on loopback.
    ///
    /// # Errors
    /// When it does not listen or does not greet.
    pub fn connect(port: u16) -> Result<Self, LmtpError> {
        let place = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let timeout = Duration::from_secs(ANSWER_SECONDS);
        let stream = TcpStream::connect_timeout(&place, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            reader: BufReader::new(stream),
        };
        connection.expect("the connection", '2')?;
        connection.command("LHLO localhost", '2')?;
        Ok(connection)
    }

    /// Delivers one mail to each recipient; `from` is empty for bounces. Bare line feeds become CR LF.
    ///
    /// # Errors
    /// When the server refuses the mail or one of the recipients; the connection stays usable.
    pub fn deliver(
        &mut self,
        raw: &[u8],
        from: &str,
        recipients: &[&str],
    ) -> Result<(), LmtpError> {
        for address in recipients.iter().chain([&from]) {
            if address
                .contains(|character: char| character.is_control() || "<> ".contains(character))
            {
                return Err(LmtpError::Address((*address).to_owned()));
            }
        }
        let taken = self.transaction(raw, from, recipients);
        if matches!(taken, Err(LmtpError::Refused { .. })) {
            self.command("RSET", '2')?;
        }
        taken
    }

    /// Ends the session politely.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub fn quit(mut self) -> Result<(), LmtpError> {
        self.command("QUIT", '2')
    }

    fn transaction(
        &mut self,
        raw: &[u8],
        from: &str,
        recipients: &[&str],
    ) -> Result<(), LmtpError> {
        self.command(&format!("MAIL FROM:<{from}>"), '2')?;
        for recipient in recipients {
            self.command(&format!("RCPT TO:<{recipient}>"), '2')?;
        }
        self.command("DATA", '3')?;
        self.write(&dotted(raw))?;
        // LMTP answers once for each recipient. All answers are read, so that the next command meets its own.
        let answers: Vec<_> = recipients
            .iter()
            .map(|recipient| self.expect(recipient, '2'))
            .collect();
        answers.into_iter().collect()
    }

    fn command(&mut self, line: &str, wanted: char) -> Result<(), LmtpError> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.expect(line, wanted)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LmtpError> {
        let stream = self.reader.get_mut();
        stream.write_all(bytes)?;
        stream.flush()?;
        Ok(())
    }

    /// Reads one reply, of one or more lines.
    fn expect(&mut self, step: &str, wanted: char) -> Result<(), LmtpError> {
        for _ in 0..REPLY_LINES_MAX {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if line.chars().nth(3) == Some('-') {
                continue;
            }
            if line.starts_with(wanted) {
                return Ok(());
            }
            return Err(LmtpError::Refused {
                step: step.to_owned(),
                reply: line.trim_end().to_owned(),
            });
        }
        Err(LmtpError::Connection(io::Error::other(
            "the reply has no end",
        )))
    }
}

/// The mail as DATA carries it: lines end in CR LF, a leading dot is doubled, and a lone dot ends it.
fn dotted(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 32 + 8);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        let text = line
            .strip_suffix(b"\n")
            .map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest));
        out.extend_from_slice(text.unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::dotted;

    #[test]
    fn data_is_dotted_and_ends_in_a_lone_dot() {
        let rows: [(&str, &str); 5] = [
            ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            ("a\nb", "a\r\nb\r\n.\r\n"),
            (".\r\n..x\r\n", "..\r\n...x\r\n.\r\n"),
            ("", ".\r\n"),
            ("a\r\n\r\n.", "a\r\n\r\n..\r\n.\r\n"),
        ];
        for (raw, sent) in rows {
            assert_eq!(
                String::from_utf8(dotted(raw.as_bytes())).unwrap(),
                sent,
                "{raw:?}"
            );
        }
    }
}
