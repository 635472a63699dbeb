//! Counts what was delivered and what became of it; tells what was lost.
//! Not for: asking the installation (`run`), nor for showing it (`screen`).

use super::letters::{Expectation, Letter};
use crate::model::email::EmailOutcome;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A mail in a mailbox: the mailbox's address and the Message-ID without angle brackets.
pub type Place = (String, String);

/// One mail that the mail server has taken.
#[derive(Debug, Clone)]
struct Delivered {
    subject: String,
    expectation: Option<Expectation>,
    /// For mail of the live part: when the server had taken it.
    live_since: Option<Instant>,
}

/// The whole account.
#[derive(Debug, Default)]
pub struct Tally {
    delivered: BTreeMap<Place, Delivered>,
    recorded: BTreeMap<Place, EmailOutcome>,
    /// Time from delivery to the timeline of each live mail that reached it.
    delays: Vec<Duration>,
}

impl Tally {
    /// A mail was delivered; `live_since` if its way to the timeline is to be measured.
    pub fn deliver(&mut self, letter: &Letter, live_since: Option<Instant>) {
        let place = (letter.to_mailbox.clone(), letter.message_id.clone());
        let (subject, expectation) = (letter.subject.clone(), letter.expectation);
        self.delivered.insert(
            place,
            Delivered {
                subject,
                expectation,
                live_since,
            },
        );
    }

    /// The installation has recorded an outcome.
    pub fn record(&mut self, mailbox: &str, message_id: &str, outcome: EmailOutcome) {
        self.recorded
            .insert((mailbox.to_owned(), message_id.to_owned()), outcome);
    }

    /// An entry about this mail came over the subscription; only the first counts.
    pub fn on_timeline(&mut self, message_id: &str, now: Instant) {
        let same = self
            .delivered
            .iter_mut()
            .filter(|((_, id), _)| id == message_id);
        if let Some(since) = same.filter_map(|(_, mail)| mail.live_since.take()).min() {
            self.delays.push(now.saturating_duration_since(since));
        }
    }

    /// How many mails were delivered; one mail in two mailboxes counts twice.
    pub fn delivered_count(&self) -> usize {
        self.delivered.len()
    }

    /// How many of those have an outcome.
    pub fn recorded_count(&self) -> usize {
        self.delivered
            .keys()
            .filter(|place| self.recorded.contains_key(*place))
            .count()
    }

    /// Delivered mails without an outcome.
    pub fn missing(&self) -> Vec<&Place> {
        self.delivered
            .keys()
            .filter(|place| !self.recorded.contains_key(*place))
            .collect()
    }

    /// Mails that became something else than the demo foresaw: subject and outcome.
    pub fn unexpected(&self) -> Vec<(&str, EmailOutcome)> {
        let judged = self.delivered.iter().filter_map(|(place, mail)| {
            Some((mail, *self.recorded.get(place)?)).filter(|(mail, outcome)| {
                mail.expectation
                    .is_some_and(|expected| !expected.outcomes.contains(outcome))
            })
        });
        judged
            .map(|(mail, outcome)| (mail.subject.as_str(), outcome))
            .collect()
    }

    /// Count of each outcome, of delivered mails alone.
    pub fn outcomes(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for outcome in self
            .delivered
            .keys()
            .filter_map(|place| self.recorded.get(place))
        {
            *counts.entry(outcome.as_text()).or_insert(0) += 1;
        }
        counts
    }

    /// Median and longest time from delivery to timeline, in milliseconds.
    pub fn delays_milliseconds(&self) -> Option<(u128, u128)> {
        let mut delays: Vec<u128> = self.delays.iter().map(Duration::as_millis).collect();
        delays.sort_unstable();
        Some((*delays.get(delays.len() / 2)?, *delays.last()?))
    }

    /// The one line for programs.
    pub fn summary(&self, mail_server: Option<&str>, seconds: u64, is_interrupted: bool) -> Value {
        let outcomes = self.outcomes();
        let delays = self.delays_milliseconds();
        json!({
            "delivered": self.delivered_count(),
            "recorded": self.recorded_count(),
            "saved": outcomes.get(EmailOutcome::Saved.as_text()).copied().unwrap_or(0),
            "lost": self.missing().len(),
            "unexpected": self.unexpected().len(),
            "outcomes": outcomes,
            "live": {
                "onTimeline": self.delays.len(),
                "medianMilliseconds": delays.map(|(median, _)| u64::try_from(median).unwrap_or(u64::MAX)),
                "maxMilliseconds": delays.map(|(_, longest)| u64::try_from(longest).unwrap_or(u64::MAX)),
            },
            "mailServer": mail_server,
            "seconds": seconds,
            "interrupted": is_interrupted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::letters::Kind;
    use super::*;
    use crate::model::Time;

    fn letter(mailbox: &str, id: &str) -> Letter {
        Letter {
            to_mailbox: mailbox.to_owned(),
            folder: None,
            from: "a@b.example".to_owned(),
            raw: Vec::new(),
            message_id: id.to_owned(),
            subject: "Hello".to_owned(),
            date: Time::from_seconds(0),
            kind: Kind::Client,
            expectation: Some(Expectation {
                outcomes: &[EmailOutcome::Saved],
            }),
        }
    }

    #[test]
    fn what_has_no_outcome_in_its_mailbox_is_missing() {
        let mut tally = Tally::default();
        tally.deliver(&letter("sales@a", "1"), None);
        tally.deliver(&letter("support@a", "1"), None);
        tally.deliver(&letter("sales@a", "2"), None);
        tally.record("sales@a", "1", EmailOutcome::Saved);
        tally.record("sales@a", "2", EmailOutcome::Automatic);
        tally.record("sales@a", "never delivered", EmailOutcome::Saved);
        assert_eq!(tally.missing(), [&("support@a".to_owned(), "1".to_owned())]);
        assert_eq!(tally.unexpected(), [("Hello", EmailOutcome::Automatic)]);
        let summary = tally.summary(None, 3, false);
        assert_eq!(summary["delivered"], 3);
        assert_eq!(summary["lost"], 1);
        assert_eq!(summary["saved"], 1);
    }

    #[test]
    fn a_mail_reaches_the_timeline_once() {
        let mut tally = Tally::default();
        let start = Instant::now();
        tally.deliver(&letter("sales@a", "1"), Some(start));
        tally.deliver(&letter("sales@a", "old"), None);
        tally.on_timeline("1", start + Duration::from_millis(40));
        tally.on_timeline("1", start + Duration::from_millis(900));
        tally.on_timeline("old", start + Duration::from_millis(900));
        assert_eq!(tally.delays_milliseconds(), Some((40, 40)));
    }
}
