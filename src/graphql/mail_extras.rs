//! What an email carries beside its words, as clients see it: links, invitations, ways to leave a list.
//! Not for: reading it out of the mail (that is `actions::read_mail`).

use async_graphql::{Enum, SimpleObject};

use super::email::Address;
use super::scalars::DateTime;
use crate::actions::read_mail;
use crate::view;

/// A link in an email's body.
#[derive(SimpleObject)]
pub struct BodyLink {
    /// Its address.
    url: String,
    /// The host that it leads to, as it is reached; null for mail and telephone.
    host: Option<String>,
    /// What is written on it.
    text: String,
    /// Whether it says that it leads elsewhere, hides its host behind a name, or has a host of letters that look like others.
    is_misleading: bool,
}

impl From<view::Link> for BodyLink {
    fn from(link: view::Link) -> Self {
        Self {
            url: link.url,
            host: link.host,
            text: link.text,
            is_misleading: link.is_misleading,
        }
    }
}

/// How to leave the list that an email came by.
#[derive(SimpleObject)]
pub struct Unsubscribe {
    /// A page of the sender; null where there is none.
    url: Option<String>,
    /// A `mailto:` address; null where there is none.
    mailto: Option<String>,
    /// Whether a POST of `List-Unsubscribe=One-Click` to the page is enough.
    is_one_click: bool,
}

impl From<read_mail::Unsubscribe> for Unsubscribe {
    fn from(found: read_mail::Unsubscribe) -> Self {
        Self {
            url: found.url,
            mailto: found.mailto,
            is_one_click: found.is_one_click,
        }
    }
}

/// An event that an email invites to, changes or cancels, as its sender says.
#[derive(SimpleObject)]
pub struct Invitation {
    /// What it asks, as calendars call it: `REQUEST`, `CANCEL`, `REPLY`, `PUBLISH` …
    method: String,
    /// By what calendars know the event.
    uid: Option<String>,
    /// What it is called.
    summary: Option<String>,
    /// Where it takes place.
    location: Option<String>,
    /// What it is about.
    description: Option<String>,
    /// When it begins.
    starts: Option<InvitationMoment>,
    /// When it ends.
    ends: Option<InvitationMoment>,
    /// Whether it happens more than once.
    is_repeated: bool,
    /// Who invites.
    organizer: Option<Address>,
    /// Who is invited; at most 100.
    attendees: Vec<InvitationAttendee>,
}

impl From<read_mail::Invitation> for Invitation {
    fn from(found: read_mail::Invitation) -> Self {
        Self {
            method: found.method,
            uid: found.uid,
            summary: found.summary,
            location: found.location,
            description: found.description,
            starts: found.starts.map(InvitationMoment::from),
            ends: found.ends.map(InvitationMoment::from),
            is_repeated: found.is_repeated,
            organizer: found.organizer.as_ref().map(Address::from),
            attendees: found
                .attendees
                .into_iter()
                .map(InvitationAttendee::from)
                .collect(),
        }
    }
}

/// When an event begins or ends.
#[derive(SimpleObject)]
pub struct InvitationMoment {
    /// As the calendar's clock shows it: `2026-11-23T10:00:00`, or `2026-11-23` for a whole day.
    local: String,
    /// The zone of that clock, as it is named; null where it is UTC or none is said.
    zone: Option<String>,
    /// The moment; null for a whole day, and where the zone is not known.
    at: Option<DateTime>,
}

impl From<read_mail::Moment> for InvitationMoment {
    fn from(found: read_mail::Moment) -> Self {
        Self {
            local: found.local,
            zone: found.zone,
            at: found.at.map(DateTime),
        }
    }
}

/// Somebody who is invited.
#[derive(SimpleObject)]
pub struct InvitationAttendee {
    /// Their name and address.
    who: Address,
    /// Their answer so far: `ACCEPTED`, `DECLINED`, `TENTATIVE`, `NEEDS-ACTION` …; null where none is said.
    answer: Option<String>,
}

impl From<read_mail::Attendee> for InvitationAttendee {
    fn from(found: read_mail::Attendee) -> Self {
        Self {
            who: Address::from(&found.who),
            answer: found.answer,
        }
    }
}

/// A format beyond plain MIME. What is signed or encrypted is shown as what it is; the files in the others are attachments of
/// the email. New values may be added.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::actions::read_mail::SpecialFormat")]
pub enum SpecialFormat {
    /// Signed with OpenPGP; the signature is not checked.
    PgpSigned,
    /// Encrypted with OpenPGP.
    PgpEncrypted,
    /// Signed with S/MIME; the signature is not checked.
    SmimeSigned,
    /// Encrypted with S/MIME.
    SmimeEncrypted,
    /// Wrapped as Outlook does: `winmail.dat`. Its files are attachments, and its letter is the body where there is no other;
    /// it is listed itself only if something in it could not be read.
    Tnef,
    /// Files written into the text. They are attachments, and the text is shown without them.
    Uuencoded,
}
