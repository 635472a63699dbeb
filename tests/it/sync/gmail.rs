//! Gmail shows one mail in many folders: All Mail, Spam and Trash hold all of it, and labels say the rest (R2, R7).

use super::office::{ADDRESS, Office, mail, on_both_stores};
use crate::support::imap_server::{Folder, ImapServer};

on_both_stores! {
    async fn r07_gmail_is_read_from_all_mail_and_its_labels_say_what_was_sent(on) {
        let server = ImapServer::start("IDLE ENABLE CONDSTORE X-GM-EXT-1");
        let all = "[Gmail]/All Mail";
        server.state().folders = vec![
            Folder::new("INBOX", ""),
            Folder::new(all, "\\All"),
            Folder::new("[Gmail]/Drafts", "\\Drafts"),
            Folder::new("[Gmail]/Sent Mail", "\\Sent"),
            Folder::new("[Gmail]/Spam", "\\Junk"),
            Folder::new("[Gmail]/Trash", "\\Trash"),
        ];
        let sent = mail("answer").replace("Cleo <cleo@client.example>", "x").replace(ADDRESS, "cleo@client.example").replace("From: x", &format!("From: {ADDRESS}"));
        // What is being written has been received by nobody.
        let draft = sent.replace("answer", "draft").split_once("\r\n").unwrap().1.to_owned();
        {
            let mut state = server.state();
            state.folder("INBOX").add(mail("question"), 1_700_000_000);
            state.folder(all).add(mail("question"), 1_700_000_000);
            state.folder(all).add(sent, 1_700_000_100);
            state.folder(all).add(draft, 1_700_000_200);
            let mails = &mut state.folder(all).mails;
            (mails[0].labels, mails[1].labels, mails[2].labels) = ("\"\\\\Inbox\" \"\\\\Important\"", "\"\\\\Sent\" foo", "\\Draft");
        }
        let office = Office::over(on, &server).await;
        office.quiet().await;
        let found: Vec<(String, String, String)> = office.rows("SELECT subject, direction, outcome FROM emails ORDER BY id");
        let row = |subject: &str, direction: &str, outcome: &str| (subject.to_owned(), direction.to_owned(), outcome.to_owned());
        assert_eq!(found, [
            row("question", "INCOMING", "SAVED"),
            row("answer", "OUTGOING", "SAVED"),
            row("draft", "OUTGOING", "DRAFTS_FOLDER"),
        ]);
        let opened: Vec<String> = server.state().told.iter().filter(|command| command.starts_with("EXAMINE")).cloned().collect();
        assert!(opened.iter().all(|command| ["All Mail", "Spam", "Trash"].iter().any(|name| command.contains(name))), "{opened:?}");
        assert_eq!(office.reconcile().await, (0, 0));
    }
}
