//! Reports about mail that was sent: what failed, and which mail they answer (RFC 3464, RFC 8098, and the forms
//! of qmail, Exim and Exchange). Not for: marking anybody's address.

use super::bodies::{self, Content};
use super::entity::{Part, Tree};
use super::fields;
use crate::mail::address::AddressKey;

/// A report about more recipients than this is about a list's mail; the first tell enough.
const RECIPIENTS_MAX: usize = 100;

/// What a report says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BounceFacts {
    /// Canonical addresses that the mail did not reach, for good. Empty: a delay, a success or a read receipt.
    pub failed_recipients: Vec<String>,
    /// Of the mail that it is about, without angle brackets.
    pub original_message_id: Option<String>,
    /// It tells that the mail was displayed or deleted, not how it was delivered.
    pub is_disposition: bool,
}

pub(super) fn read(tree: &Tree<'_>, content: &Content) -> Option<BounceFacts> {
    let root = tree.root()?;
    let status = tree.leaves().find(|part| {
        matches!(
            part.media_type.as_str(),
            "message/delivery-status" | "message/global-delivery-status"
        )
    });
    let disposition = tree.leaves().find(|part| {
        matches!(
            part.media_type.as_str(),
            "message/disposition-notification" | "message/global-disposition-notification"
        )
    });
    let is_report = root.media_type == "multipart/report"
        && root
            .report_type
            .as_deref()
            .is_none_or(|kind| kind == "delivery-status" || kind == "disposition-notification");
    let failed_by_header = root.fields.first("X-Failed-Recipients");
    let is_daemon = root
        .fields
        .lower("From")
        .is_some_and(|from| from.contains("mailer-daemon") || from.contains("postmaster@"));
    let is_reported = status.is_some() && (is_report || is_daemon);
    let is_receipt = disposition.is_some() && is_report;
    let is_old_form = is_daemon && (failed_by_header.is_some() || is_qmail(tree, content));
    if !is_reported && !is_receipt && !is_old_form {
        return None;
    }
    let mut facts = BounceFacts {
        is_disposition: status.is_none() && disposition.is_some(),
        ..BounceFacts::default()
    };
    if let Some(part) = status {
        facts.failed_recipients = failed_recipients(&bodies::small_text(part));
    }
    if let Some(field) = failed_by_header.filter(|_| facts.failed_recipients.is_empty()) {
        let text = field.text(&mut Vec::new());
        facts.failed_recipients = canonical(text.split(',').map(str::to_owned));
    }
    if is_qmail(tree, content) && facts.failed_recipients.is_empty() {
        facts.failed_recipients = canonical(qmail_recipients(content));
    }
    facts.original_message_id = disposition
        .and_then(|part| field_of(&bodies::small_text(part), "original-message-id"))
        .or_else(|| original_of(tree))
        .or_else(|| {
            content
                .text
                .as_deref()
                .and_then(|text| field_of(text, "message-id"))
        })
        .and_then(|id| clean_id(&id));
    Some(facts)
}

/// qmail writes plain text with a fixed first line.
fn is_qmail(tree: &Tree<'_>, content: &Content) -> bool {
    let says_so = |text: &str| text.trim_start().starts_with("Hi. This is the");
    tree.parts.len() == 1 && content.text.as_deref().is_some_and(says_so)
}

/// qmail names each recipient on a line of its own: `<gone@firm.example>:`.
fn qmail_recipients(content: &Content) -> impl Iterator<Item = String> {
    let text = content.text.as_deref().unwrap_or_default();
    text.lines().filter_map(|line| {
        let address = line.trim().strip_prefix('<')?.strip_suffix(">:")?;
        Some(address.to_owned())
    })
}

/// The recipients of a delivery status whose action is "failed", one group of lines each: as they are known to the
/// server that gave up, and as we wrote to them where that is another address (a forwarded one).
fn failed_recipients(status: &str) -> Vec<String> {
    let failed = status.split("\n\n").filter(|group| {
        field_of(group, "action").is_some_and(|action| action.trim().eq_ignore_ascii_case("failed"))
    });
    canonical(failed.flat_map(|group| {
        ["final-recipient", "original-recipient"]
            .iter()
            .filter_map(|name| field_of(group, name))
            .map(|recipient| match recipient.split_once(';') {
                Some((_kind, address)) => address.to_owned(),
                None => recipient,
            })
            .collect::<Vec<_>>()
    }))
}

fn canonical(addresses: impl Iterator<Item = String>) -> Vec<String> {
    let keys = addresses.filter_map(|address| AddressKey::parse(&address));
    let mut found: Vec<String> = keys
        .take(RECIPIENTS_MAX)
        .map(AddressKey::into_string)
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The value of the first line that begins with this name, a folded next line included.
fn field_of(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines();
    let value = lines.by_ref().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })?;
    let folded = lines
        .next()
        .filter(|line| line.starts_with([' ', '\t']))
        .unwrap_or_default();
    Some(format!("{value} {}", folded.trim()))
}

/// The Message-ID of the returned mail or its headers.
fn original_of(tree: &Tree<'_>) -> Option<String> {
    let is_original =
        |part: &&Part<'_>| part.is_message() || part.media_type.ends_with("rfc822-headers");
    let part = tree.leaves().find(is_original)?;
    let text = bodies::small_text(part);
    let (fields, _) = fields::read(text.as_bytes(), 0, &|_| false, &mut Vec::new());
    fields
        .first("Message-ID")
        .map(|field| field.text(&mut Vec::new()))
}

fn clean_id(text: &str) -> Option<String> {
    let id = match text.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or_default(),
        None => text.split_whitespace().next().unwrap_or_default(),
    };
    let id: String = id
        .chars()
        .filter(|letter| !letter.is_whitespace() && !letter.is_control())
        .collect();
    (!id.is_empty() && id.len() <= 255).then_some(id)
}
