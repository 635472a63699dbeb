//! The private Dovecot's configuration, for 2.3 (Debian 12) and for 2.4 (Debian 13), whose settings have other names.
//! Not for: starting it; that is `dovecot`.

use std::fmt::Write as _;
use std::path::Path;

/// What both configurations say.
#[derive(Debug)]
pub struct Layout<'a> {
    /// Everything lies below it.
    pub folder: &'a Path,
    pub imap_port: u16,
    pub imaps_port: u16,
    pub lmtp_port: u16,
    /// Whether there is a certificate (`certificate.pem` and `key.pem` in the folder).
    pub has_certificate: bool,
    /// User and group by name when an ordinary user starts it; `None` for root, whose Dovecot uses its own users.
    pub started_by: Option<(&'a str, &'a str)>,
    /// Whether it offers COMPRESS=DEFLATE; 2.4 always does.
    pub compresses: bool,
}

/// Folders that every mailbox has from the start, with their special use (RFC 6154).
pub const SPECIAL_FOLDERS: [(&str, &str); 5] = [
    ("Sent", "\\Sent"),
    ("Drafts", "\\Drafts"),
    ("Trash", "\\Trash"),
    ("Junk", "\\Junk"),
    ("Archive", "\\Archive"),
];

/// Connections of one user from one address; tests open many, Dovecot's default is 10.
const CONNECTIONS_PER_USER: u32 = 200;

/// The configuration that the version understands; `version` is what `dovecot --version` prints.
pub fn configuration(version: &str, layout: &Layout<'_>) -> String {
    if is_2_4(version) {
        for_2_4(layout)
    } else {
        for_2_3(layout)
    }
}

/// Whether the settings have the names of 2.4 and later.
fn is_2_4(version: &str) -> bool {
    let mut numbers = version
        .split(['.', ' '])
        .map_while(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(2), numbers.next().unwrap_or(3));
    (major, minor) >= (2, 4)
}

fn for_2_3(layout: &Layout<'_>) -> String {
    let folder = layout.folder.display();
    let mut text = shared(layout);
    let tls = if layout.has_certificate {
        format!("ssl = yes\nssl_cert = <{folder}/certificate.pem\nssl_key = <{folder}/key.pem\n")
    } else {
        "ssl = no\n".to_owned()
    };
    text.push_str(&tls);
    let _infallible = write!(
        text,
        "disable_plaintext_auth = no
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
"
    );
    if layout.compresses {
        text.push_str(
            "mail_plugins = zlib\nprotocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}\n",
        );
    }
    text.push_str(&services(layout));
    text
}

fn for_2_4(layout: &Layout<'_>) -> String {
    let folder = layout.folder.display();
    // These two come first. The oldest 2.4 is named, so that each 2.4 keeps to the defaults that were read for this.
    let mut text = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n".to_owned();
    text.push_str(&shared(layout));
    let tls = if layout.has_certificate {
        format!(
            "ssl = yes\nssl_server_cert_file = {folder}/certificate.pem\nssl_server_key_file = {folder}/key.pem\n"
        )
    } else {
        "ssl = no\n".to_owned()
    };
    text.push_str(&tls);
    let _infallible = write!(
        text,
        "auth_allow_cleartext = yes
mail_driver = maildir
mail_path = ~/Maildir
passdb passwd-file {{
  passwd_file_path = {folder}/users
}}
userdb passwd-file {{
  passwd_file_path = {folder}/users
}}
"
    );
    text.push_str(&services(layout));
    text
}

/// Settings that have the same name in both.
fn shared(layout: &Layout<'_>) -> String {
    let folder = layout.folder.display();
    let mut text = format!(
        "base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
instance_name = mailroom-{imap}
protocols = imap lmtp
listen = 127.0.0.1
auth_mechanisms = plain login
first_valid_uid = 1
first_valid_gid = 1
mail_fsync = never
mail_max_userip_connections = {CONNECTIONS_PER_USER}
lmtp_save_to_detail_mailbox = yes
lda_mailbox_autocreate = yes
recipient_delimiter = +
postmaster_address = postmaster@localhost
",
        imap = layout.imap_port,
    );
    if let Some((user, group)) = layout.started_by {
        let _infallible = write!(
            text,
            "default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\n"
        );
    }
    text
}

/// Services and folders, which are written alike in both.
fn services(layout: &Layout<'_>) -> String {
    // Only root may change the root folder of a process.
    let no_chroot = if layout.started_by.is_some() {
        "  chroot =\n"
    } else {
        ""
    };
    let imaps = if layout.has_certificate {
        layout.imaps_port
    } else {
        0
    };
    let mut text = format!(
        "service imap-login {{
{no_chroot}  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
{no_chroot}}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service imap {{
  process_limit = {CONNECTIONS_PER_USER}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
namespace inbox {{
  inbox = yes
  separator = /
",
        imap = layout.imap_port,
        lmtp = layout.lmtp_port,
    );
    for (name, special_use) in SPECIAL_FOLDERS {
        let _infallible = write!(
            text,
            "  mailbox {name} {{\n    auto = subscribe\n    special_use = {special_use}\n  }}\n"
        );
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout<'static> {
        Layout {
            folder: Path::new("/tmp/x"),
            imap_port: 1143,
            imaps_port: 1993,
            lmtp_port: 1024,
            has_certificate: true,
            started_by: None,
            compresses: false,
        }
    }

    #[test]
    fn the_version_decides_which_names_are_used() {
        let rows = [
            ("2.3.19.1 (9b53102964)", false),
            ("2.3.21", false),
            ("2.4.0 (f0b5a0d)", true),
            ("2.4.1-4 (7d8c0e5600)", true),
            ("3.0.1", true),
            ("unreadable", false),
        ];
        for (version, expected) in rows {
            assert_eq!(is_2_4(version), expected, "{version}");
        }
    }

    #[test]
    fn each_version_gets_its_own_names_only() {
        let (old, new) = (
            configuration("2.3.19", &layout()),
            configuration("2.4.1", &layout()),
        );
        assert!(
            new.starts_with("dovecot_config_version = "),
            "2.4 wants it first"
        );
        for name in [
            "disable_plaintext_auth",
            "mail_location",
            "ssl_cert =",
            "driver = passwd-file",
        ] {
            assert!(old.contains(name) && !new.contains(name), "{name}");
        }
        for name in [
            "auth_allow_cleartext",
            "mail_driver",
            "ssl_server_cert_file",
            "passwd_file_path",
        ] {
            assert!(new.contains(name) && !old.contains(name), "{name}");
        }
        for text in [old, new] {
            assert_eq!(text.matches('{').count(), text.matches('}').count());
            assert!(text.contains("special_use = \\Junk") && text.contains("port = 1993"));
            assert!(
                !text.contains("chroot"),
                "root keeps Dovecot's own separation"
            );
        }
    }

    #[test]
    fn an_ordinary_user_runs_all_of_it_alone() {
        let text = configuration(
            "2.4.1",
            &Layout {
                started_by: Some(("ada", "staff")),
                compresses: false,
                ..layout()
            },
        );
        assert!(
            text.contains("default_login_user = ada\n")
                && text.contains("default_internal_group = staff\n")
        );
        assert_eq!(text.matches("chroot =\n").count(), 2);
    }
}
