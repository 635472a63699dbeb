//! The key file: what signs access tokens and seals secrets. Made at the first start, readable by its owner alone.
//! Every process of an installation uses the same file; a backup without it holds no usable secret.

use crate::store::sealed::{Sealer, key_id};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
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
        let unknown = || KeyError::Unknown(name());
        let (signing, sealing) = parsed(&text).ok_or_else(unknown)?;
        let again = path.to_owned();
        let read_again = move || Some(parsed(&std::fs::read_to_string(&again).ok()?)?.1);
        let sealer = Sealer::new(&sealing, Some(Arc::new(read_again)));
        Self::of_seeds(&signing, sealer).ok_or_else(unknown)
    }

    fn of_seeds(signing: &[u8; 32], sealer: Sealer) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(signing).ok()?;
        let public = pair.public_key().as_ref().to_vec();
        let key_id = blake3::hash(&public).to_hex().chars().take(16).collect();
        Some(Self {
            sealer,
            url_key: blake3::derive_key("mailroom 2026 addresses of files", signing),
            private_der: [PKCS8_HEAD.as_slice(), signing].concat(),
            public,
            key_id,
        })
    }
}

/// The signing key and the sealing keys, of which there is at least one, the newest last.
type Parsed = ([u8; 32], Vec<[u8; 32]>);

fn parsed(text: &str) -> Option<Parsed> {
    let key = |text: &str| -> Option<[u8; 32]> {
        STANDARD_NO_PAD.decode(text.trim()).ok()?.try_into().ok()
    };
    let lines = |what: &'static str| text.lines().filter_map(move |line| line.strip_prefix(what));
    let signing = key(lines("signing:").next()?)?;
    let sealing: Option<Vec<_>> = lines("sealing:").map(key).collect();
    Some((signing, sealing.filter(|keys| !keys.is_empty())?))
}

fn as_text((signing, sealing): &Parsed) -> String {
    let mut text = format!("{HEAD}signing:{}\n", STANDARD_NO_PAD.encode(signing));
    for key in sealing {
        text.push_str("sealing:");
        text.push_str(&STANDARD_NO_PAD.encode(key));
        text.push('\n');
    }
    text
}

const HEAD: &str = "mailroom keys v1: keep this file private and with your backups\n";

/// Whether this is the text of a key file.
pub fn is_key_file(text: &str) -> bool {
    parsed(text).is_some()
}

/// The names of the sealing keys of a key file, the newest last.
///
/// # Errors
/// See [`KeyError`].
pub fn sealing_key_ids(path: &Path) -> Result<Vec<String>, KeyError> {
    Ok(read(path)?.1.iter().map(key_id).collect())
}

/// Adds a new sealing key to the file; its name.
///
/// # Errors
/// See [`KeyError`].
pub fn add_sealing_key(path: &Path) -> Result<String, KeyError> {
    let mut keys = read(path)?;
    let new: [u8; 32] = rand::random();
    keys.1.push(new);
    replace(path, &as_text(&keys))?;
    Ok(key_id(&new))
}

/// Drops every sealing key but this one from the file.
///
/// # Errors
/// See [`KeyError`]; `Unknown` where it isn't in it: then the file stays as it is.
pub fn keep_sealing_key(path: &Path, id: &str) -> Result<(), KeyError> {
    let mut keys = read(path)?;
    keys.1.retain(|key| key_id(key) == id);
    if keys.1.is_empty() {
        return Err(KeyError::Unknown(path.display().to_string()));
    }
    replace(path, &as_text(&keys))
}

/// Writes a key file that is not there yet.
///
/// # Errors
/// `File`, also where it is there.
pub fn write_new(path: &Path, text: &str) -> Result<(), KeyError> {
    place(path, text, |draft| std::fs::hard_link(draft, path))
        .map_err(|error| KeyError::File(path.display().to_string(), error))
}

fn read(path: &Path) -> Result<Parsed, KeyError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| KeyError::File(name(), error))?;
    parsed(&text).ok_or_else(|| KeyError::Unknown(name()))
}

fn replace(path: &Path, text: &str) -> Result<(), KeyError> {
    place(path, text, |draft| std::fs::rename(draft, path))
        .map_err(|error| KeyError::File(path.display().to_string(), error))
}

/// Writes a draft beside the file, puts it in its place, and makes both durable.
fn place(
    path: &Path,
    text: &str,
    put: impl FnOnce(&Path) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("new-{}", std::process::id()));
    // What an earlier process of this number left when it was ended.
    drop(std::fs::remove_file(&draft));
    let mut file = private_file(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let put = put(&draft);
    // A draft that was renamed is gone already.
    drop(std::fs::remove_file(&draft));
    put?;
    std::fs::File::open(folder)?.sync_all()
}

/// Writes a new file whole or not at all: two processes that start at once agree on one of them.
fn make(path: &Path) -> std::io::Result<()> {
    let text = as_text(&(rand::random(), vec![rand::random()]));
    let made = place(path, &text, |draft| std::fs::hard_link(draft, path));
    match made {
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
