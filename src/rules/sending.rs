//! What becomes of a mail that a server was asked to take (R41): at most one copy, and no silence.
//! Not for: speaking to servers.

use crate::model::Time;
use crate::model::draft::{SendingFailure, SendingState};

/// The first wait before it is tried again; it doubles.
const RETRY_FIRST_SECONDS: i64 = 60;
/// The longest wait between two tries.
const RETRY_LONGEST_SECONDS: i64 = 3600;
/// After so many tries, within about half a day, whoever wrote it should hear of it.
const TRIES_MAX: i64 = 16;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The server took the mail.
    Taken,
    /// It certainly did not take it, and may do so later.
    NotNow(Vec<SendingFailure>),
    /// It refused, for good.
    Refused(Vec<SendingFailure>),
    /// It had the whole mail, and did not say what became of it.
    Ambiguous,
}

/// Where the mail stands after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Sent,
    /// Tried again at this moment.
    Again(Time, Vec<SendingFailure>),
    Failed(Vec<SendingFailure>),
    /// Never tried again by itself; with why the last try did not take it, where that is known.
    Unknown(Vec<SendingFailure>),
}

/// What is known of a mail besides how an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// How often it was tried since it was put on its way.
    pub tries: i64,
    /// A try before that may have gone out: it was sent again by somebody who knew so.
    pub may_be_out: bool,
}

/// What comes after an attempt.
pub fn next(attempt: Attempt, tried: Tried, now: Time) -> Next {
    match attempt {
        Attempt::Taken => Next::Sent,
        Attempt::NotNow(why) if tried.tries < TRIES_MAX => {
            Next::Again(now.plus_seconds(doubled(tried.tries)), why)
        }
        // That this try reached nobody says nothing about the one before.
        Attempt::NotNow(why) | Attempt::Refused(why) if tried.may_be_out => Next::Unknown(why),
        Attempt::NotNow(why) | Attempt::Refused(why) => Next::Failed(why),
        Attempt::Ambiguous => Next::Unknown(Vec::new()),
    }
}

/// The wait after the `tries`th try.
fn doubled(tries: i64) -> i64 {
    let doubled = RETRY_FIRST_SECONDS << tries.saturating_sub(1).clamp(0, 10);
    doubled.min(RETRY_LONGEST_SECONDS)
}

/// When a copy that could not be put into Sent is put there again, after the `tries`th try; `None`: the mail stays without,
/// in the CRM it is all the same. A mail that is not in the CRM yet, since it could not be stored, is never given up.
pub fn copy_again(tries: i64, is_stored: bool, now: Time) -> Option<Time> {
    (tries < TRIES_MAX || !is_stored).then(|| now.plus_seconds(doubled(tries)))
}

/// Where a mail stands that is taken back while it waits.
pub const fn taken_back(may_be_out: bool) -> SendingState {
    if may_be_out {
        SendingState::Unknown
    } else {
        SendingState::Draft
    }
}

/// Whether what is written may be changed in this state.
pub const fn may_edit(state: SendingState) -> bool {
    matches!(state, SendingState::Draft | SendingState::Failed)
}

/// Whether a mail in this state may be put on its way. One that may have gone out goes out again only where somebody who
/// knows that says so.
pub const fn may_send(state: SendingState, even_if_it_may_have_gone_out: bool) -> bool {
    match state {
        SendingState::Draft | SendingState::Failed => true,
        SendingState::Unknown => even_if_it_may_have_gone_out,
        SendingState::Queued | SendingState::Sending | SendingState::Sent => false,
    }
}

/// Where a mail stands that waits to be sent, or that a server may be taking.
pub const ON_ITS_WAY: [SendingState; 2] = [SendingState::Queued, SendingState::Sending];

/// Whether it may be deleted: not while a server may be taking it. What was sent stays as the record of it.
pub const fn may_delete(state: SendingState) -> bool {
    matches!(
        state,
        SendingState::Draft | SendingState::Queued | SendingState::Failed | SendingState::Unknown
    )
}

/// Whether the mail provider puts what it sends into Sent by itself; a copy from us would be a second one.
pub fn keeps_sent_by_itself(imap_host: &str) -> bool {
    let host = imap_host.trim_end_matches('.').to_ascii_lowercase();
    let is_within = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    [
        "gmail.com",
        "googlemail.com",
        "office365.com",
        "outlook.com",
        "hotmail.com",
    ]
    .into_iter()
    .any(is_within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r41_what_comes_after_an_attempt() {
        let now = Time::from_seconds(1_000);
        let later = |seconds| Next::Again(now.plus_seconds(seconds), Vec::new());
        let unknown = || Next::Unknown(Vec::new());
        let rows = [
            (Attempt::Taken, 1, Next::Sent),
            (Attempt::Ambiguous, 1, unknown()),
            (Attempt::Refused(Vec::new()), 1, Next::Failed(Vec::new())),
            (Attempt::NotNow(Vec::new()), 1, later(60)),
            (Attempt::NotNow(Vec::new()), 2, later(120)),
            (Attempt::NotNow(Vec::new()), 15, later(3600)),
            (Attempt::NotNow(Vec::new()), 16, Next::Failed(Vec::new())),
        ];
        for (attempt, tries, expected) in rows {
            let tried = |may_be_out| Tried { tries, may_be_out };
            let found = next(attempt.clone(), tried(false), now);
            assert_eq!(found, expected, "{attempt:?} {tries}");
            // Nothing that fails after makes it certain that an earlier try did not go out.
            let expected = match expected {
                Next::Failed(_) => unknown(),
                other => other,
            };
            assert_eq!(
                next(attempt.clone(), tried(true), now),
                expected,
                "{attempt:?} {tries}"
            );
        }
        assert_eq!(taken_back(true), SendingState::Unknown);
        assert_eq!(taken_back(false), SendingState::Draft);
    }

    #[test]
    fn r41_copies_wait_twice_as_long_each_time_and_end_once_the_mail_is_stored() {
        let now = Time::from_seconds(1_000);
        let rows = [(1, Some(60)), (2, Some(120)), (15, Some(3600)), (16, None)];
        for (tries, seconds) in rows {
            let expected = seconds.map(|seconds| now.plus_seconds(seconds));
            assert_eq!(copy_again(tries, true, now), expected, "{tries}");
        }
        let hourly = Some(now.plus_seconds(3600));
        assert_eq!(copy_again(1_000, false, now), hourly, "not stored");
    }

    #[test]
    fn r41_providers_that_keep_sent_mail_get_no_copy() {
        for host in ["imap.gmail.com", "outlook.office365.com", "IMAP.Gmail.com."] {
            assert!(keeps_sent_by_itself(host), "{host}");
        }
        for host in ["mail.ours.example", "notgmail.com", "127.0.0.1"] {
            assert!(!keeps_sent_by_itself(host), "{host}");
        }
    }

    #[test]
    fn r41_what_may_have_gone_out_goes_out_again_only_where_somebody_says_so() {
        for &state in SendingState::ALL {
            let may = may_send(state, false);
            assert_eq!(may, may_edit(state), "{state:?}");
            let is_unknown = state == SendingState::Unknown;
            assert_eq!(may_send(state, true), may || is_unknown, "{state:?}");
            let is_out = matches!(state, SendingState::Sending | SendingState::Sent);
            assert_eq!(may_delete(state), !is_out, "{state:?}");
        }
    }
}
