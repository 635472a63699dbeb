//! The key file: what signs access tokens and seals secrets. Made at the first start, readable by its owner alone.
//! Every process of an installation uses the same file; a backup without it holds no usable secret.

use crate::store::sealed::Sealer;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::io::Write;
use std::path::Path;
use thiserror::Error;

/// What stands before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file can't be read or made.
    #[error("the key file {0} can't be used: {1}")]
    File(String, std::io::Error),
    /// Others can read it.
    #[error("the key file {0} can be read by others; make it private: chmod 600 {0}")]
    Open(String),
    /// It is none of ours.
    #[error("the key file {0} is not a Mailroom key file")]
    Unknown(String),
}

/// The keys of an installation.
#[derive(Clone)]
pub struct Keys {
    /// Seals the secrets of mailboxes.
    pub sealer: Sealer,
    /// Signs what is handed out for a short time (addresses of files).
    pub url_key: [u8; 32],
    pub(super) private_der: Vec<u8>,
    pub(super) public: Vec<u8>,
    pub(super) key_id: String,
}

impl Keys {
    /// Reads the key file, or makes it.
    ///
    /// # Errors
    /// See [`KeyError`]; a file that others can read is refused.
    pub fn load_or_make(path: &Path) -> Result<Self, KeyError> {
        let name = || path.display().to_string();
        let failed = |error| KeyError::File(name(), error);
        if !path.exists() {
            make(path).map_err(failed)?;
        }
        if is_open_to_others(path).map_err(failed)? {
            return Err(KeyError::Open(name()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let key = |what: &str| -> Option<[u8; 32]> {
            let line = text.lines().find_map(|line| line.strip_prefix(what))?;
            STANDARD_NO_PAD.decode(line.trim()).ok()?.try_into().ok()
        };
        let unknown = || KeyError::Unknown(name());
        let signing = key("signing:").ok_or_else(unknown)?;
        let sealing = key("sealing:").ok_or_else(unknown)?;
        Self::of_seeds(&signing, sealing).ok_or_else(unknown)
    }

    fn of_seeds(signing: &[u8; 32], sealing: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(signing).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        let key_id = blake3::hash(&public).to_hex().chars().take(16).collect();
        Some(Self {
            sealer: Sealer::new(sealing),
            url_key: blake3::derive_key("mailroom 2026 addresses of files", &sealing),
            private_der: [PKCS8_HEAD.as_slice(), signing].concat(),
            public,
            key_id,
        })
    }
}

/// Writes a new file whole or not at all: two processes that start at once agree on one of them.
fn make(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let (signing, sealing): ([u8; 32], [u8; 32]) = (rand::random(), rand::random());
    let text = format!(
        "mailroom keys v1: keep this file private and with your backups\nsigning:{}\nsealing:{}\n",
        STANDARD_NO_PAD.encode(signing),
        STANDARD_NO_PAD.encode(sealing)
    );
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = private_file(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_file_is_made_once_private_and_refused_when_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/mailroom.key");
        let first = Keys::load_or_make(&path).unwrap();
        let second = Keys::load_or_make(&path).unwrap();
        assert_eq!(first.key_id, second.key_id);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Keys::load_or_make(&path), Err(KeyError::Open(_))));
    }
}
