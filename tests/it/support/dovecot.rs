//! A private Dovecot for one test: the demo's, which starts in a fraction of a second and goes with the test.

pub use mailroom::cli::demo::dovecot::Dovecot;

/// Starts one with a user for each address.
///
/// # Panics
/// When Dovecot is not installed or does not start.
pub fn start(addresses: &[&str]) -> Dovecot {
    Dovecot::start(addresses)
        .unwrap_or_else(|error| panic!("{error}; `make test` installs what is missing"))
}

mod tests {
    use super::start;
    use mailroom::mail::lmtp::LmtpError;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpStream;
    use std::os::unix::fs::MetadataExt;
    use std::time::{Duration, Instant};

    const ADA: &str = "ada@house.example";
    const BOB: &str = "bob@house.example";

    fn mail(id: &str) -> Vec<u8> {
        format!("From: <x@y.example>\r\nSubject: {id}\r\nMessage-ID: <{id}>\r\n\r\nHello.\r\n")
            .into_bytes()
    }

    /// Speaks IMAP as far as these tests need it.
    struct Imap(BufReader<TcpStream>);

    impl Imap {
        fn log_in(port: u16, user: &str, password: &str) -> Self {
            let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut imap = Self(BufReader::new(stream));
            imap.line();
            let answer = imap.ask(&format!("LOGIN {user} {password}"));
            assert!(answer.last().unwrap().contains("OK"), "{answer:?}");
            imap
        }

        fn line(&mut self) -> String {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line
        }

        fn ask(&mut self, command: &str) -> Vec<String> {
            write!(self.0.get_mut(), "a {command}\r\n").unwrap();
            let mut lines = vec![self.line()];
            while !lines.last().unwrap().starts_with("a ") {
                lines.push(self.line());
            }
            lines
        }
    }

    #[test]
    fn mail_arrives_in_the_mailbox_it_is_addressed_to_and_idle_tells() {
        let dovecot = start(&[ADA, BOB]);
        let mut imap = Imap::log_in(dovecot.imap_port(), ADA, dovecot.password());
        imap.ask("SELECT INBOX");
        write!(imap.0.get_mut(), "b IDLE\r\n").unwrap();
        assert!(imap.line().starts_with('+'));
        let sent = Instant::now();
        dovecot
            .deliver(&mail("1@y.example"), "x@y.example", ADA)
            .unwrap();
        assert_eq!(imap.line(), "* 1 EXISTS\r\n");
        // Dovecot gathers changes for half a second. Its poll, without inotify, takes half a minute.
        assert!(
            sent.elapsed() < Duration::from_secs(10),
            "{:?}",
            sent.elapsed()
        );
        assert_eq!(dovecot.count(BOB, "INBOX").unwrap(), 0);
    }

    #[test]
    fn folders_have_their_special_use_from_the_start() {
        let dovecot = start(&[ADA]);
        let mut imap = Imap::log_in(dovecot.imap_port(), ADA, dovecot.password());
        let listed = imap
            .ask("LIST (SPECIAL-USE) \"\" \"*\" RETURN (SPECIAL-USE)")
            .concat();
        for name in ["Sent", "Drafts", "Trash", "Junk", "Archive"] {
            assert!(
                listed.contains(&format!("\\{name}")) && listed.contains(&format!("\" {name}\r\n")),
                "{listed}"
            );
        }
    }

    #[test]
    fn mails_are_appended_moved_flagged_and_expunged() {
        let dovecot = start(&[ADA]);
        dovecot.append(ADA, "Sent", &mail("1@h")).unwrap();
        dovecot.deliver(&mail("2@h"), "", ADA).unwrap();
        dovecot.add_flag(ADA, "INBOX", "2@h", "\\Seen").unwrap();
        dovecot.move_mail(ADA, "INBOX", "Archive", "2@h").unwrap();
        let count = |folder| dovecot.count(ADA, folder).unwrap();
        assert_eq!((count("INBOX"), count("Archive"), count("Sent")), (0, 1, 1));
        dovecot.expunge(ADA, "Sent", "1@h").unwrap();
        assert_eq!(count("Sent"), 0);
        let mut imap = Imap::log_in(dovecot.imap_port(), ADA, dovecot.password());
        imap.ask("SELECT Archive");
        assert!(imap.ask("FETCH 1 (FLAGS)").concat().contains("\\Seen"));
    }

    #[test]
    fn lmtp_reaches_folders_by_detail_and_goes_on_after_a_refusal() {
        let dovecot = start(&[ADA]);
        let mut lmtp = dovecot.lmtp().unwrap();
        let refused = lmtp.deliver(&mail("1@h"), "x@y.example", &["nobody@house.example"]);
        assert!(
            matches!(refused, Err(LmtpError::Refused { .. })),
            "{refused:?}"
        );
        lmtp.deliver(&mail("2@h"), "x@y.example", &["ada+Junk@house.example"])
            .unwrap();
        lmtp.deliver(b"Subject: dots\n\n.\n..x\n", "", &[ADA])
            .unwrap();
        lmtp.quit().unwrap();
        assert_eq!(dovecot.count(ADA, "Junk").unwrap(), 1);
        let mut imap = Imap::log_in(dovecot.imap_port(), ADA, dovecot.password());
        imap.ask("SELECT INBOX");
        let text = imap.ask("FETCH 1 (BODY.PEEK[TEXT])").concat();
        assert!(text.contains("\r\n.\r\n..x\r\n"), "{text}");
    }

    #[test]
    fn it_comes_back_with_its_mail_after_a_pause() {
        let mut dovecot = start(&[ADA]);
        dovecot.deliver(&mail("1@h"), "", ADA).unwrap();
        let port = dovecot.imap_port();
        dovecot.pause();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        dovecot.resume().unwrap();
        assert_eq!(
            (dovecot.imap_port(), dovecot.count(ADA, "INBOX").unwrap()),
            (port, 1)
        );
    }

    #[test]
    fn its_certificate_is_for_loopback_and_no_authority() {
        let dovecot = start(&[ADA]);
        let Some(path) = dovecot.certificate() else {
            return;
        };
        assert!(dovecot.imaps_port().is_some());
        assert_eq!(
            std::fs::metadata(path.with_file_name("key.pem"))
                .unwrap()
                .mode()
                & 0o077,
            0
        );
        let shown = std::process::Command::new("openssl")
            .args([
                "x509",
                "-noout",
                "-ext",
                "subjectAltName,basicConstraints",
                "-in",
            ])
            .arg(&path)
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(
            shown.contains("IP Address:127.0.0.1") && shown.contains("CA:FALSE"),
            "{shown}"
        );
        let connect = format!("127.0.0.1:{}", dovecot.imaps_port().unwrap());
        let mut client = std::process::Command::new("openssl")
            .args([
                "s_client",
                "-verify_return_error",
                "-quiet",
                "-connect",
                &connect,
                "-CAfile",
            ])
            .arg(&path)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        client
            .stdin
            .take()
            .unwrap()
            .write_all(b"a LOGOUT\r\n")
            .unwrap();
        let verified = client.wait_with_output().unwrap();
        let greeting = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(
            greeting.starts_with("* OK"),
            "{greeting} {}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }

    #[test]
    fn nothing_is_left_of_it() {
        let dovecot = start(&[ADA]);
        let (folder, port) = (dovecot.certificate().unwrap(), dovecot.imap_port());
        drop(dovecot);
        assert!(!folder.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn addresses_that_would_leave_the_folder_are_refused() {
        for address in [
            "../x@y.example",
            "a/b@c.example",
            "a:b@c.example",
            "Upper@c.example",
            ".hidden@c.example",
        ] {
            assert!(super::Dovecot::start(&[address]).is_err(), "{address}");
        }
    }
}
