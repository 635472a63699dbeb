//! What the rules decide, with the reasons: plain data between `rules`, `actions` and `store`.
//! Not for: the facts that a rule needs (they stand beside the rule).

use super::email::{Direction, EmailOutcome, RelinkRefusal, RoutingStep};
use super::item::ItemKind;
use super::refusal::ErrorCode;
use super::{ItemId, MessageId, ThreadId, Time, UserId};
use crate::text_enum;
use serde::{Deserialize, Serialize};

text_enum! {
    /// Whose an address is.
    Who {
        /// A person outside: neither of the two below.
        Client = "CLIENT",
        /// An active user's.
        ActiveUser = "ACTIVE_USER",
        /// A connected mailbox's or its alias.
        ConnectedMailbox = "CONNECTED_MAILBOX",
    }
}

impl Who {
    /// Whether it belongs to our own people (R12).
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::ActiveUser | Self::ConnectedMailbox)
    }
}

/// One person of a mail, as the rules see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The address in the form that is compared.
    pub address_key: String,
    /// The display name, if there is one.
    pub name: Option<String>,
    pub who: Who,
    /// The address or its domain is on the exclusion list (R18).
    pub is_excluded: bool,
}

/// What the folder, the people and the mailbox's settings say about a mail, before any item is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classification {
    pub direction: Direction,
    pub verdict: Verdict,
    /// The rules that were tried, in order.
    pub steps: Vec<RoutingStep>,
    /// What decided, in one sentence.
    pub reason: String,
}

/// Whether a mail is to be judged further.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It stays in the mailbox view, unsaved, with this outcome.
    Keep(EmailOutcome),
    /// It is client mail: routing decides. Incoming: the client is the sender; outgoing: the first client among the recipients.
    Judge {
        client: Party,
        /// The other clients among the recipients of an outgoing mail.
        other_clients: Vec<Party>,
    },
}

/// Whether a mail may be saved by hand (R11, R12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandClassification {
    pub direction: Direction,
    pub verdict: HandVerdict,
    pub steps: Vec<RoutingStep>,
}

/// The answer to saving by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandVerdict {
    /// Refused with this code (`INTERNAL_EMAIL`).
    Refused(ErrorCode),
    /// It may be saved. Without a client (a mail without sender or recipients) it needs a named target.
    Judge {
        client: Option<Party>,
        other_clients: Vec<Party>,
    },
}

/// Which conversation a new message joins (R17).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadChoice {
    /// `None`: it begins a thread of its own.
    pub thread: Option<ThreadId>,
    /// The message it answers: the nearest saved one of that thread that it names, else the nearest.
    pub parent: Option<MessageId>,
    /// Whether that message is saved to the CRM.
    pub is_reply_to_saved: bool,
    /// It is a delivery report about that message, which we sent (R18).
    pub is_report: bool,
    pub reason: String,
}

/// Which threads are found to belong to a message that came after the messages that name it (R17).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// Each of these threads, with all its messages, moves into the thread of the message that came late. Links stay.
    pub threads_to_move: Vec<ThreadId>,
    pub into: ThreadId,
    pub reason: String,
}

text_enum! {
    /// Who got an item although the queue had nobody to give it to (R14).
    Fallback { None = "NONE", Connector = "CONNECTOR", Administrator = "ADMINISTRATOR" }
}

/// Whose turn it is (R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `None` only where there is no active user at all who could be responsible.
    pub responsible: Option<UserId>,
    /// To be written together with the item; the old pointer where a fallback was taken.
    pub new_pointer: i64,
    pub fallback: Fallback,
}

/// Where a judged mail goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routing {
    pub decision: RoutingDecision,
    /// The rules that were tried, in order.
    pub steps: Vec<RoutingStep>,
    /// What decided, in one sentence that names no item.
    pub reason: String,
}

/// What is done with a judged mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoutingDecision {
    /// It stays unsaved, with this outcome.
    Keep(EmailOutcome),
    /// It joins what exists.
    Attach {
        primary: ItemId,
        /// Linked too: the client's contact.
        also: Vec<ItemId>,
        /// Two or more open deals could have been meant (R16).
        ambiguous: bool,
    },
    /// It makes something.
    Create(Creation),
}

/// What a mail makes (R13).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// The first is the primary item, all are linked. A deal and its new contact come together.
    pub items: Vec<NewItemPlan>,
    /// The client's contact that there is already: linked too, and put on a new deal.
    pub contact: Option<ItemId>,
    /// Of all the new items.
    pub responsible: UserId,
    /// A lead that R15 makes for one mail of a known client; it doesn't count towards the client's responsible.
    pub is_extra_lead: bool,
    /// The queue's pointer after this turn; to be written in the same transaction.
    pub new_pointer: i64,
    pub fallback: Fallback,
}

/// One item to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewItemPlan {
    pub kind: ItemKind,
    pub title: String,
    /// Leads and contacts; always there for contacts.
    pub name: Option<String>,
    /// Leads and contacts.
    pub source: Option<String>,
}

/// The activity that a saved mail makes (R33).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityPlan {
    pub activity: PlannedActivity,
    pub reason: String,
}

/// An open to-do, or one that is done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlannedActivity {
    /// Open, with a deadline.
    Scheduled { deadline: Time },
    /// Nothing is left to do.
    Completed,
}

/// When a mail was received, and which of the two dates that is (R32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedAt {
    pub time: Time,
    pub reason: DateReason,
}

text_enum! {
    /// Why the header's Date or the server's INTERNALDATE was taken.
    DateReason {
        /// The Date header is believable.
        Header = "HEADER",
        /// INTERNALDATE: there is no Date that can be read.
        Absent = "ABSENT",
        /// INTERNALDATE: Date lies before 1990.
        Before1990 = "BEFORE_1990",
        /// INTERNALDATE: Date lies more than a day after it.
        Ahead = "AHEAD",
    }
}

/// Whether a change of an email's links is allowed (R34).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkVerdict {
    Allowed,
    Refused(LinkRefusal),
}

text_enum! {
    /// Why a change of an email's links is refused.
    LinkRefusal {
        NotSaved = "NOT_SAVED", Forbidden = "FORBIDDEN", NotLinked = "NOT_LINKED", NotOnADeal = "NOT_ON_A_DEAL",
        AlreadyLinked = "ALREADY_LINKED", ConvertedLead = "CONVERTED_LEAD", LastLink = "LAST_LINK",
    }
}

impl LinkRefusal {
    /// The contract's code. It has none for a move from or to what is no deal: that is bad input.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NotSaved => ErrorCode::NotSaved,
            Self::Forbidden => ErrorCode::Forbidden,
            Self::NotLinked => ErrorCode::NotLinked,
            Self::NotOnADeal => ErrorCode::BadInput,
            Self::AlreadyLinked => ErrorCode::AlreadyLinked,
            Self::ConvertedLead => ErrorCode::ConvertedLead,
            Self::LastLink => ErrorCode::LastLink,
        }
    }

    /// A sentence for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotSaved => "The email is not saved to the CRM.",
            Self::Forbidden => "You may not change every item that this concerns.",
            Self::NotLinked => "The email is not linked to this item.",
            Self::NotOnADeal => {
                "An email is moved from one deal to another; to other items it is linked."
            }
            Self::AlreadyLinked => "The email is linked to this item already.",
            Self::ConvertedLead => {
                "The email also hangs on the lead that the deal was converted from, so it stays on both."
            }
            Self::LastLink => "This is the email's last link; it stays.",
        }
    }
}

/// Whether an email can be moved, told beforehand (`email.canRelink`, `link.canMove`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelinkVerdict {
    pub allowed: bool,
    /// `None` exactly where it is allowed.
    pub refusal: Option<RelinkRefusal>,
}

impl RelinkVerdict {
    /// It can be moved.
    pub const ALLOWED: Self = Self {
        allowed: true,
        refusal: None,
    };

    /// It can't, because of this.
    pub const fn refused(refusal: RelinkRefusal) -> Self {
        Self {
            allowed: false,
            refusal: Some(refusal),
        }
    }
}
