//! Passwords: argon2id, a limit on how many are hashed at once, and the same work for unknown users.
//! Not for: counting failed log-ins.

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::Semaphore;

/// Memory of one hash in KiB, passes and lanes: the least that OWASP names for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes at once: each takes 19 MiB and a core for some 20 ms; two cores are what a small server has.
static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Shorter ones are guessed too soon (NIST SP 800-63B).
pub const CHARS_MIN: usize = 8;
/// Longer ones are no passwords, but work for the hash.
pub const BYTES_MAX: usize = 1024;

/// The hash of a password that nobody knows, made with the parameters above: what an unknown user's is compared with.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LWhhcy10aGlzIQ$2dV5F0E5cd1q0XxXwQ6QEGsTQK0Xb9nq2nE4bq5oQ1E";

/// Why a password can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PasswordError {
    /// Its caller can mend it; the text is for people.
    #[error("{0}")]
    Unfit(String),
    /// The hash failed, which no password causes.
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// Whether a new password may be used.
///
/// # Errors
/// `Unfit` with a sentence for people.
pub fn check(password: &SecretString) -> Result<(), PasswordError> {
    let text = password.expose_secret();
    if text.chars().count() < CHARS_MIN {
        return Err(PasswordError::Unfit(format!(
            "A password has at least {CHARS_MIN} characters."
        )));
    }
    if text.len() > BYTES_MAX {
        return Err(PasswordError::Unfit(format!(
            "A password has at most {BYTES_MAX} bytes."
        )));
    }
    Ok(())
}

/// Hashes a new password on a thread for blocking work, two at once.
///
/// # Errors
/// `Unfit` where [`check`] says so.
pub async fn hash(password: &SecretString) -> Result<String, PasswordError> {
    check(password)?;
    let password = password.clone();
    on_blocking_thread(move || hash_now(&password)).await?
}

/// Hashes a new password on this thread; for the command line.
///
/// # Errors
/// `Unfit` where [`check`] says so.
pub fn hash_now(password: &SecretString) -> Result<String, PasswordError> {
    check(password)?;
    let salt = SaltString::generate(&mut OsRng);
    hasher()?
        .hash_password(password.expose_secret().as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError::Failed(error.to_string()))
}

/// Whether this is the password that was hashed. Without a hash (an unknown user, or one without a password)
/// the same work is done, and the answer is no.
///
/// # Errors
/// `Failed` where a stored hash can't be read.
pub async fn verify(password: &SecretString, stored: Option<&str>) -> Result<bool, PasswordError> {
    if password.expose_secret().len() > BYTES_MAX {
        return Ok(false);
    }
    let password = password.clone();
    let known = stored.is_some();
    let stored = stored.unwrap_or(NOBODYS).to_owned();
    let fits = on_blocking_thread(move || {
        let parsed =
            PasswordHash::new(&stored).map_err(|error| PasswordError::Failed(error.to_string()))?;
        Ok(hasher()?
            .verify_password(password.expose_secret().as_bytes(), &parsed)
            .is_ok())
    })
    .await?;
    Ok(fits? && known)
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| PasswordError::Failed(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PasswordError> {
    let failed = |error: &dyn std::fmt::Display| PasswordError::Failed(error.to_string());
    let permit = AT_ONCE.acquire().await.map_err(|error| failed(&error))?;
    // The permit goes along: a caller that gives up does not let a third hash start.
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    })
    .await
    .map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_alone_and_nobody_fits_nobodys() {
        let right = SecretString::from("correct horse");
        let hash = hash(&right).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        for (password, stored, fits) in [
            ("correct horse", Some(hash.as_str()), true),
            ("correct horsf", Some(hash.as_str()), false),
            ("", Some(hash.as_str()), false),
            ("correct horse", None, false),
        ] {
            let found = verify(&SecretString::from(password), stored).await;
            assert_eq!(found, Ok(fits), "{password}");
        }
    }

    #[test]
    fn nobodys_hash_costs_as_much_as_anybodys() {
        let parsed = PasswordHash::new(NOBODYS).unwrap();
        let params = Params::try_from(&parsed).unwrap();
        assert_eq!(
            (params.m_cost(), params.t_cost(), params.p_cost()),
            (MEMORY_KIB, PASSES, LANES)
        );
        assert_eq!(parsed.hash.unwrap().len(), 32);
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        for (password, fits) in [
            ("1234567", false),
            ("12345678", true),
            ("äöüäöüäö", true),
            (&"x".repeat(1025), false),
        ] {
            assert_eq!(check(&SecretString::from(password)).is_ok(), fits);
        }
    }
}
