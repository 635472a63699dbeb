//! Signs that a program wrote a mail (R18, RFC 3834). Not for: what follows from it.

use super::bounce::BounceFacts;
use super::entity::Tree;
use super::headers::Head;
use crate::text_enum;

text_enum! {
    /// Why a mail is automatic, the most telling sign first.
    AutomaticKind {
        /// A report that a mail was not, or not yet, delivered.
        Bounce = "BOUNCE",
        /// A report that a mail was displayed or deleted.
        DispositionReport = "DISPOSITION_REPORT",
        CalendarInvite = "CALENDAR_INVITE",
        OutOfOffice = "OUT_OF_OFFICE",
        /// Auto-Submitted and its older forms.
        AutoSubmitted = "AUTO_SUBMITTED",
        /// List-Id or Precedence: list.
        List = "LIST",
        /// Precedence: bulk or junk.
        Bulk = "BULK",
        /// An empty Return-Path: nothing may be answered.
        NullSender = "NULL_SENDER",
        /// From a mailer daemon or postmaster.
        SystemSender = "SYSTEM_SENDER",
    }
}

/// How mail programs begin the subject of an absence note, in lower case. The colon tells it from a person's
/// own words.
const ABSENCE_SUBJECTS: [&str; 20] = [
    "automatic reply:",
    "auto reply:",
    "autoreply:",
    "auto-reply:",
    "out of office:",
    "out of office autoreply:",
    "out-of-office:",
    "automatische antwort:",
    "abwesenheitsnotiz:",
    "abwesend:",
    "réponse automatique",
    "absence du bureau",
    "respuesta automática:",
    "resposta automática:",
    "risposta automatica:",
    "automatisch antwoord:",
    "автоответ:",
    "автоматический ответ:",
    "odpowiedź automatyczna:",
    "自動応答:",
];

pub(super) fn judge(
    tree: &Tree<'_>,
    head: &Head,
    bounce: Option<&BounceFacts>,
) -> Option<AutomaticKind> {
    let root = tree.root()?;
    let fields = &root.fields;
    if let Some(bounce) = bounce {
        return Some(if bounce.is_disposition {
            AutomaticKind::DispositionReport
        } else {
            AutomaticKind::Bounce
        });
    }
    if is_invite(tree) {
        return Some(AutomaticKind::CalendarInvite);
    }
    let auto_submitted = fields
        .lower("Auto-Submitted")
        .filter(|value| !value.starts_with("no") && !value.is_empty());
    let precedence = fields.lower("Precedence").unwrap_or_default();
    let is_absence = auto_submitted
        .as_deref()
        .is_some_and(|value| value.starts_with("auto-replied"))
        || precedence == "auto_reply"
        || fields.has("X-Autoreply")
        || fields.has("X-Autorespond")
        || is_absence_subject(&head.subject);
    if is_absence {
        return Some(AutomaticKind::OutOfOffice);
    }
    let suppresses = fields
        .lower("X-Auto-Response-Suppress")
        .is_some_and(|value| value != "none" && !value.is_empty());
    if auto_submitted.is_some() || suppresses || fields.has("X-Auto-Generated") {
        return Some(AutomaticKind::AutoSubmitted);
    }
    if fields.has("List-Id") || precedence == "list" {
        return Some(AutomaticKind::List);
    }
    if precedence == "bulk" || precedence == "junk" {
        return Some(AutomaticKind::Bulk);
    }
    if is_system_sender(head) {
        return Some(AutomaticKind::SystemSender);
    }
    let is_null = fields
        .lower("Return-Path")
        .is_some_and(|path| path.split_whitespace().collect::<String>() == "<>");
    is_null.then_some(AutomaticKind::NullSender)
}

/// An invitation, its answer or its cancelling; a calendar file that a person attached is none.
fn is_invite(tree: &Tree<'_>) -> bool {
    tree.leaves().any(|part| {
        part.media_type == "text/calendar"
            && !part.is_attachment
            && (part.method.is_some() || part.in_alternative || part.around.is_empty())
    })
}

fn is_absence_subject(subject: &str) -> bool {
    let subject = subject.to_lowercase();
    ABSENCE_SUBJECTS
        .iter()
        .any(|start| subject.starts_with(start))
}

fn is_system_sender(head: &Head) -> bool {
    head.from.iter().any(|author| {
        let local = author
            .address
            .split('@')
            .next()
            .unwrap_or_default()
            .to_lowercase();
        ["mailer-daemon", "postmaster", "mail-daemon"].contains(&local.as_str())
    })
}
