//! A small LMTP client (RFC 2033), for the demo and the tests to deliver mail to a private server. Blocking.
//! Not for: sending users' mail; that is SMTP's.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For connecting and for each single read and write.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A reply's line has at most 512 bytes by RFC 5321.
const REPLY_BYTES_MAX: u64 = 4096;

/// Lines of one reply.
const REPLY_LINES_MAX: usize = 64;

/// Why a delivery failed.
#[derive(Debug, thiserror::Error)]
pub enum LmtpError {
    #[error("the LMTP server could not be reached or hung up")]
    Connection(#[from] io::Error),
    #[error("the LMTP server answered {code} to {command}")]
    Refused { command: &'static str, code: u16 },
    #[error("the LMTP server's answer can't be understood")]
    Malformed,
    #[error("an address holds characters that no address has")]
    BadAddress,
}

/// A connection that mails are delivered over, one after another.
#[derive(Debug)]
pub struct LmtpClient {
    reader: BufReader<TcpStream>,
}

impl LmtpClient {
    /// Connects and says hello.
    pub fn connect(server: SocketAddr) -> Result<Self, LmtpError> {
        let socket = TcpStream::connect_timeout(&server, TIMEOUT)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.set_write_timeout(Some(TIMEOUT))?;
        socket.set_nodelay(true)?;
        let mut client = Self {
            reader: BufReader::new(socket),
        };
        client.expect("greeting", 220)?;
        client.command("LHLO", "LHLO localhost", 250)?;
        Ok(client)
    }

    /// Delivers one mail to some recipients. `from` may be empty, as for a bounce. Line ends become CRLF, as the
    /// protocol wants; all other bytes stay. Fails if any recipient is refused, but delivers to the others.
    pub fn deliver(
        &mut self,
        raw: &[u8],
        from: &str,
        recipients: &[&str],
    ) -> Result<(), LmtpError> {
        let is_good = |address: &&str| {
            !address.contains(|letter: char| letter.is_control() || "<> ".contains(letter))
        };
        if !is_good(&from) || !recipients.iter().all(is_good) {
            return Err(LmtpError::BadAddress);
        }
        self.command("MAIL FROM", &format!("MAIL FROM:<{from}>"), 250)?;
        let mut accepted = 0;
        let mut refused = None;
        for recipient in recipients {
            match self.command("RCPT TO", &format!("RCPT TO:<{recipient}>"), 250) {
                Ok(()) => accepted += 1,
                Err(error @ LmtpError::Refused { .. }) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        if accepted == 0 {
            self.command("RSET", "RSET", 250)?;
            return Err(refused.unwrap_or(LmtpError::BadAddress));
        }
        self.command("DATA", "DATA", 354)?;
        self.reader.get_mut().write_all(&dotted(raw))?;
        // Each accepted recipient gets a reply of its own.
        for _ in 0..accepted {
            match self.expect("DATA", 250) {
                Err(error @ LmtpError::Refused { .. }) => refused = Some(error),
                other => other?,
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Ends the connection politely.
    pub fn quit(mut self) -> Result<(), LmtpError> {
        self.command("QUIT", "QUIT", 221)
    }

    fn command(&mut self, name: &'static str, line: &str, expected: u16) -> Result<(), LmtpError> {
        self.reader
            .get_mut()
            .write_all(format!("{line}\r\n").as_bytes())?;
        self.expect(name, expected)
    }

    fn expect(&mut self, command: &'static str, expected: u16) -> Result<(), LmtpError> {
        for _ in 0..REPLY_LINES_MAX {
            let mut line = Vec::new();
            Read::by_ref(&mut self.reader)
                .take(REPLY_BYTES_MAX)
                .read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Err(LmtpError::Connection(io::ErrorKind::UnexpectedEof.into()));
            }
            let code = line
                .get(..3)
                .and_then(|code| std::str::from_utf8(code).ok())
                .and_then(|code| code.parse().ok());
            let code: u16 = code.ok_or(LmtpError::Malformed)?;
            if line.get(3) == Some(&b'-') {
                continue;
            }
            return if code == expected {
                Ok(())
            } else {
                Err(LmtpError::Refused { command, code })
            };
        }
        Err(LmtpError::Malformed)
    }
}

/// The mail as it goes over the wire: CRLF line ends, dots doubled at line starts, and the final dot.
fn dotted(raw: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(raw.len() + raw.len() / 32 + 8);
    for line in raw.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        let content = line
            .strip_suffix(b"\n")
            .map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        wire.extend_from_slice(content);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn lines_are_dotted_and_ended_as_the_protocol_wants() {
        let rows: [(&str, &str); 6] = [
            ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
            ("a\nb", "a\r\nb\r\n.\r\n"),
            (".\r\n..a\r\n", "..\r\n...a\r\n.\r\n"),
            ("a\n.\nb\n", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\rb\n", "a\rb\r\n.\r\n"),
            ("", ".\r\n"),
        ];
        for (raw, expected) in rows {
            assert_eq!(
                String::from_utf8(dotted(raw.as_bytes())).unwrap(),
                expected,
                "{raw:?}"
            );
        }
    }

    /// A server that refuses one recipient; returns what it was told.
    fn serve(listener: TcpListener) -> String {
        let (socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut socket = socket;
        socket.write_all(b"220-hello\r\n220 there\r\n").unwrap();
        let mut told = String::new();
        let mut is_data = false;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                return told;
            }
            told.push_str(&line);
            let reply: &[u8] = match line.trim_end() {
                "." if is_data => {
                    is_data = false;
                    b"250 ok\r\n"
                }
                _ if is_data => b"",
                "DATA" => {
                    is_data = true;
                    b"354 go\r\n"
                }
                "QUIT" => b"221 bye\r\n",
                "RCPT TO:<nobody@x>" => b"550 no such user\r\n",
                _ => b"250 ok\r\n",
            };
            socket.write_all(reply).unwrap();
        }
    }

    #[test]
    fn a_refused_recipient_is_told_and_the_others_get_the_mail() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || serve(listener));
        let mut client = LmtpClient::connect(address).unwrap();
        client
            .deliver(b"Subject: a\n\n.dot\n", "a@x", &["b@x"])
            .unwrap();
        let refused = client.deliver(b"Subject: b\n", "", &["nobody@x", "b@x"]);
        assert!(
            matches!(
                refused,
                Err(LmtpError::Refused {
                    command: "RCPT TO",
                    code: 550
                })
            ),
            "{refused:?}"
        );
        assert!(matches!(
            client.deliver(b"", "a@x>\r\nRSET", &["b@x"]),
            Err(LmtpError::BadAddress)
        ));
        client.quit().unwrap();
        let told = server.join().unwrap();
        assert!(
            told.contains("DATA\r\nSubject: a\r\n\r\n..dot\r\n.\r\n"),
            "{told}"
        );
        assert!(
            told.contains(
                "MAIL FROM:<>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nSubject: b\r\n.\r\n"
            ),
            "{told}"
        );
    }
}
