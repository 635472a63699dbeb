//! Which kinds of rows have ids, and what their types are called. An id that opens still has to be
//! asked for under a scope: opening says what it names, not that the viewer may see it.

use async_graphql::ID;

use super::context::Ask;
use crate::model::item::ItemKind;
use crate::model::timeline::Position;
use crate::model::{
    ActivityId, AttachmentId, AuditId, DepartmentId, DraftAttachmentId, DraftId, EmailId, FolderId,
    ItemId, LinkChangeId, MailboxId, PlacementId, RoleId, SenderId, StageId, TemplateId,
    ThreadChangeId, ThreadId, UserId,
};

/// A row's number that clients know by an opaque id.
pub trait Named: Copy {
    /// The name that the id begins with.
    const TYPE: &'static str;
    /// The number.
    fn number(self) -> i64;
    /// The row with this number.
    fn of(number: i64) -> Self;
}

macro_rules! named {
    ($($id:ident => $name:literal),+ $(,)?) => {$(
        impl Named for $id {
            const TYPE: &'static str = $name;
            fn number(self) -> i64 {
                self.0
            }
            fn of(number: i64) -> Self {
                Self(number)
            }
        }
    )+};
}
named! {
    UserId => "User", DepartmentId => "Department", RoleId => "Role", StageId => "Stage",
    MailboxId => "Mailbox", FolderId => "Folder", EmailId => "Email", AttachmentId => "Attachment",
    LinkChangeId => "LinkChange", ThreadId => "Thread", ActivityId => "Activity",
    Position => "TimelineEntry", AuditId => "AuditEntry", PlacementId => "QuarantinedMail",
    DraftId => "Draft", DraftAttachmentId => "DraftAttachment", TemplateId => "Template", SenderId => "Sender",
    ThreadChangeId => "ThreadChange",
}

/// No row has this number: what a filter names that does not open matches nothing, as what is hidden does (R27).
const NOWHERE: i64 = -1;

/// The name that an item's id begins with.
pub const fn item_type(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::Lead => "Lead",
        ItemKind::Deal => "Deal",
        ItemKind::Contact => "Contact",
    }
}

/// What an id of any type names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnyId {
    User(UserId),
    Department(DepartmentId),
    Role(RoleId),
    Stage(StageId),
    Item(ItemKind, ItemId),
    Mailbox(MailboxId),
    Folder(FolderId),
    Email(EmailId),
    Attachment(AttachmentId),
    LinkChange(LinkChangeId),
    Thread(ThreadId),
    Activity(ActivityId),
    Entry(Position),
    Audit(AuditId),
    Quarantined(PlacementId),
    Draft(DraftId),
    DraftFile(DraftAttachmentId),
    Template(TemplateId),
    ThreadChange(ThreadChangeId),
}

impl Ask {
    /// The id of a row.
    pub fn seal<T: Named>(&self, id: T) -> ID {
        ID(self.codec().seal_id(T::TYPE, id.number()))
    }

    /// The id of an item.
    pub fn seal_item(&self, kind: ItemKind, id: ItemId) -> ID {
        ID(self.codec().seal_id(item_type(kind), id.0))
    }

    /// The row that an id names; `None` for one that was never given out, or for another type.
    pub fn open<T: Named>(&self, id: &ID) -> Option<T> {
        self.codec().open_id_of(T::TYPE, id).map(T::of)
    }

    /// The row that an id in a filter names; one that names none matches nothing.
    pub fn open_for_filter<T: Named>(&self, id: &ID) -> T {
        self.open(id).unwrap_or_else(|| T::of(NOWHERE))
    }

    /// The lead, deal or contact that an id names.
    pub fn open_item(&self, id: &ID) -> Option<(ItemKind, ItemId)> {
        let (type_name, number) = self.codec().open_id(id)?;
        let kind = ItemKind::ALL
            .iter()
            .find(|kind| item_type(**kind) == type_name)?;
        Some((*kind, ItemId(number)))
    }

    /// The item of this kind that an id names.
    pub fn open_item_of(&self, kind: ItemKind, id: &ID) -> Option<ItemId> {
        let (found, item) = self.open_item(id)?;
        (found == kind).then_some(item)
    }

    /// What any id names.
    pub fn open_any(&self, id: &ID) -> Option<AnyId> {
        let (type_name, number) = self.codec().open_id(id)?;
        Some(match type_name {
            "User" => AnyId::User(UserId(number)),
            "Department" => AnyId::Department(DepartmentId(number)),
            "Role" => AnyId::Role(RoleId(number)),
            "Stage" => AnyId::Stage(StageId(number)),
            "Lead" => AnyId::Item(ItemKind::Lead, ItemId(number)),
            "Deal" => AnyId::Item(ItemKind::Deal, ItemId(number)),
            "Contact" => AnyId::Item(ItemKind::Contact, ItemId(number)),
            "Mailbox" => AnyId::Mailbox(MailboxId(number)),
            "Folder" => AnyId::Folder(FolderId(number)),
            "Email" => AnyId::Email(EmailId(number)),
            "Attachment" => AnyId::Attachment(AttachmentId(number)),
            "LinkChange" => AnyId::LinkChange(LinkChangeId(number)),
            "Thread" => AnyId::Thread(ThreadId(number)),
            "Activity" => AnyId::Activity(ActivityId(number)),
            "TimelineEntry" => AnyId::Entry(Position(number)),
            "AuditEntry" => AnyId::Audit(AuditId(number)),
            "ThreadChange" => AnyId::ThreadChange(ThreadChangeId(number)),
            "QuarantinedMail" => AnyId::Quarantined(PlacementId(number)),
            "Draft" => AnyId::Draft(DraftId(number)),
            "DraftAttachment" => AnyId::DraftFile(DraftAttachmentId(number)),
            "Template" => AnyId::Template(TemplateId(number)),
            _ => return None,
        })
    }
}

/// An id that matches nothing, for a filter that names what the viewer may not see.
pub fn nowhere<T: Named>() -> T {
    T::of(NOWHERE)
}

/// The same for items, whose ids are named by their kind.
pub const fn no_item() -> ItemId {
    ItemId(NOWHERE)
}
