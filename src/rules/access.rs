//! Who sees and does what (R21-R29). One source, two forms: a *decision* for one loaded thing,
//! and a *scope* for lists, which `store` compiles to SQL. Only this file can build a scope.
//! Not for: loading rights (that is `auth`) or SQL.

use crate::model::email::EmailOutcome;
use crate::model::item::{ItemFacts, ItemKind};
use crate::model::people::{PermissionAction, PermissionLevel, RestrictedField, Role, Viewer};
use crate::model::template::{Sender, TemplateSharing};
use crate::model::timeline::Told;
use crate::model::{DepartmentId, EmailId, StageId, UserId};

/// Whether something is allowed, with the reason that decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Allowed, because of this.
    Granted(Grant),
    /// Refused: the widest level that any role gives, which does not reach the item.
    Refused(PermissionLevel),
}

/// Why an item is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Administrators reach everything.
    Administrator,
    /// The level ALL.
    All,
    /// The viewer is responsible.
    Responsible,
    /// The responsible is in the viewer's department.
    SameDepartment,
    /// The responsible is in a department below the viewer's.
    DepartmentBelow,
    /// The item is open to everyone.
    OpenToEveryone,
}

impl Access {
    /// Whether it is allowed.
    pub const fn is_granted(self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

/// May the viewer do this to an item with these facts (R23)?
pub fn decide(viewer: &Viewer, action: PermissionAction, item: &ItemFacts) -> Access {
    if viewer.is_administrator {
        return Access::Granted(Grant::Administrator);
    }
    let level = level_for(viewer, item.kind, action, item.stage_id);
    reach(viewer, level, item).map_or(Access::Refused(level), Access::Granted)
}

/// The widest level that the viewer's roles give for items of this kind in this stage.
/// Within one role a line for the stage itself goes before the line without a stage.
pub fn level_for(
    viewer: &Viewer,
    kind: ItemKind,
    action: PermissionAction,
    stage_id: Option<StageId>,
) -> PermissionLevel {
    viewer
        .roles
        .iter()
        .map(|role| level_in(role, kind, action, stage_id))
        .max()
        .unwrap_or(PermissionLevel::None)
}

/// The level that one role gives for items of this kind in this stage.
pub fn level_in(
    role: &Role,
    kind: ItemKind,
    action: PermissionAction,
    stage_id: Option<StageId>,
) -> PermissionLevel {
    let mut lines = role
        .permissions
        .iter()
        .filter(|line| line.item == kind && line.action == action);
    let general = lines.clone().find(|line| line.stage_id.is_none());
    let exact = stage_id.and_then(|stage| lines.find(|line| line.stage_id == Some(stage)));
    exact
        .or(general)
        .map_or(PermissionLevel::None, |line| line.level)
}

/// What about the item lets this level reach it; the narrowest ground first.
fn reach(viewer: &Viewer, level: PermissionLevel, item: &ItemFacts) -> Option<Grant> {
    if level >= PermissionLevel::Own && item.responsible_id == viewer.user_id {
        return Some(Grant::Responsible);
    }
    if let Some(department) = item.responsible_department_id {
        if level >= PermissionLevel::OwnDepartment && viewer.department_id == Some(department) {
            return Some(Grant::SameDepartment);
        }
        if level >= PermissionLevel::DepartmentAndBelow
            && viewer.departments_below.contains(&department)
        {
            return Some(Grant::DepartmentBelow);
        }
    }
    if level >= PermissionLevel::OpenToEveryone && item.open_to_everyone {
        return Some(Grant::OpenToEveryone);
    }
    (level == PermissionLevel::All).then_some(Grant::All)
}

/// May the viewer see an email in the CRM (R21)? Only if it is linked, and every linked item is readable.
pub fn sees_in_crm(viewer: &Viewer, linked: &[ItemFacts]) -> bool {
    !linked.is_empty()
        && linked
            .iter()
            .all(|item| decide(viewer, PermissionAction::Read, item).is_granted())
}

/// The email that an entry can't be shown without (R21); that one was linked or unlinked shows without it.
pub const fn shown_with(told: &Told) -> Option<EmailId> {
    match told {
        Told::EmailReceived { email_id }
        | Told::EmailSent { email_id }
        | Told::ActivityCompleted { email_id, .. }
        | Told::ActivityReopened { email_id, .. } => Some(*email_id),
        Told::EmailLinked { .. }
        | Told::EmailUnlinked { .. }
        | Told::ItemCreated
        | Told::LeadConverted
        | Told::ResponsibleChanged { .. }
        | Told::StageChanged { .. }
        | Told::NoteAdded { .. }
        | Told::SendingChanged { .. } => None,
    }
}

/// Does an entry of this item's timeline show to the viewer (R21)? The item must be readable; where the entry needs an
/// email ([`shown_with`]), which hangs on these items, that must be visible, and hang on this one.
pub fn sees_entry(viewer: &Viewer, item: &ItemFacts, linked: Option<&[ItemFacts]>) -> bool {
    decide(viewer, PermissionAction::Read, item).is_granted()
        && linked.is_none_or(|linked| {
            linked.iter().any(|on| on.id == item.id) && sees_in_crm(viewer, linked)
        })
}

/// Which fields of items are hidden from the viewer (R26): those that every one of their roles hides.
/// Several roles: the widest wins, so one role that shows a field is enough.
pub fn hidden_fields(viewer: &Viewer) -> Vec<RestrictedField> {
    if viewer.is_administrator || viewer.roles.is_empty() {
        return Vec::new();
    }
    RestrictedField::ALL
        .iter()
        .copied()
        .filter(|field| {
            viewer
                .roles
                .iter()
                .all(|role| role.hidden_fields.contains(field))
        })
        .collect()
}

/// What a user is to a mailbox; facts for the decisions below.
#[derive(Debug, Clone)]
pub struct MailboxHolders {
    pub connector_id: UserId,
    pub user_ids: Vec<UserId>,
    pub department_ids: Vec<DepartmentId>,
}

/// By which way a user has a mailbox's mail (R22).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailboxGround {
    /// The user connected it, or it was handed to them.
    Connector,
    /// It was given to the user.
    GivenToUser,
    /// It was given to the user's department or to one above it.
    GivenToDepartment,
}

/// Access to a mailbox's mail (R22): the connector, or given to the user or a department of theirs.
/// Being an administrator gives none.
pub fn mailbox_ground(viewer: &Viewer, holders: &MailboxHolders) -> Option<MailboxGround> {
    let is_given_to = |department| holders.department_ids.contains(department);
    if holders.connector_id == viewer.user_id {
        Some(MailboxGround::Connector)
    } else if holders.user_ids.contains(&viewer.user_id) {
        Some(MailboxGround::GivenToUser)
    } else if viewer.departments_above.iter().any(is_given_to) {
        Some(MailboxGround::GivenToDepartment)
    } else {
        None
    }
}

/// Whether the user has access to a mailbox's mail, by whichever way.
pub fn has_mailbox(viewer: &Viewer, holders: &MailboxHolders) -> bool {
    mailbox_ground(viewer, holders).is_some()
}

/// Whether the user may send mail as this mailbox (R41): whoever has access to its mail. Administrators manage mailboxes,
/// and write for them only if given access.
pub fn may_send(viewer: &Viewer, holders: &MailboxHolders) -> bool {
    has_mailbox(viewer, holders)
}

/// Whether the user may send under this address as a mailbox that they may send as (R42): the mailbox's own, and that of a
/// sender of the mailbox that is for everybody or for this user.
pub fn may_use_sender(
    user: UserId,
    address: &str,
    (own_address, senders): (&str, &[Sender]),
) -> bool {
    address == own_address
        || senders
            .iter()
            .any(|sender| sender.address == address && may_use(user, sender))
}

/// Whether a sender of a mailbox is for this user (R42).
pub fn may_use(user: UserId, sender: &Sender) -> bool {
    sender.user_id.is_none_or(|alone| alone == user)
}

/// Whether the user may have a mailbox looked at and its mail tried again (R22): whoever has access to it, and
/// administrators, who manage it.
pub fn may_sync_mailbox(viewer: &Viewer, holders: &MailboxHolders) -> bool {
    may_manage_mailbox(viewer, holders.connector_id) || has_mailbox(viewer, holders)
}

/// A mailbox's CRM settings (R25): the connector, administrators, holders of "may change CRM settings".
pub fn may_change_mailbox_settings(viewer: &Viewer, connector_id: UserId) -> bool {
    connector_id == viewer.user_id || may_change_crm_settings(viewer)
}

/// Folders, sharing and secrets of a mailbox (R25): the connector and administrators.
pub fn may_manage_mailbox(viewer: &Viewer, connector_id: UserId) -> bool {
    viewer.is_administrator || connector_id == viewer.user_id
}

/// Roles and the CRM's settings (R23): administrators and holders of the flag.
pub fn may_change_crm_settings(viewer: &Viewer) -> bool {
    viewer.is_administrator || viewer.roles.iter().any(|role| role.may_change_crm_settings)
}

/// A set of stages, for one line of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stages {
    /// Any stage, and none.
    Any,
    /// Exactly this one.
    Only(StageId),
    /// Any but these, and none.
    AnyBut(Vec<StageId>),
}

/// The items of one kind and some stages that the viewer reaches, up to a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeLine {
    kind: ItemKind,
    stages: Stages,
    level: PermissionLevel,
}

impl ScopeLine {
    /// The kind that the line is about.
    pub const fn kind(&self) -> ItemKind {
        self.kind
    }
    /// The stages that the line is about.
    pub const fn stages(&self) -> &Stages {
        &self.stages
    }
    /// How far the viewer reaches; never `None`.
    pub const fn level(&self) -> PermissionLevel {
        self.level
    }
}

/// The items that a viewer may read (or export …): plain data that `store` compiles to SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemScope {
    everything: bool,
    viewer_id: UserId,
    department_id: Option<DepartmentId>,
    departments_below: Vec<DepartmentId>,
    lines: Vec<ScopeLine>,
}

impl ItemScope {
    /// Whether nothing is filtered at all.
    pub const fn is_everything(&self) -> bool {
        self.everything
    }
    /// The viewer, for the levels that compare with the responsible.
    pub const fn viewer_id(&self) -> UserId {
        self.viewer_id
    }
    /// The viewer's department.
    pub const fn department_id(&self) -> Option<DepartmentId> {
        self.department_id
    }
    /// The viewer's department and those below.
    pub fn departments_below(&self) -> &[DepartmentId] {
        &self.departments_below
    }
    /// An item is in the scope if one of these lines reaches it.
    pub fn lines(&self) -> &[ScopeLine] {
        &self.lines
    }
}

/// The items on which the viewer may do `action`.
pub fn items(viewer: &Viewer, action: PermissionAction) -> ItemScope {
    let mut lines = Vec::new();
    for &kind in ItemKind::ALL {
        let mut named: Vec<StageId> = viewer
            .roles
            .iter()
            .flat_map(|role| &role.permissions)
            .filter(|line| line.item == kind && line.action == action)
            .filter_map(|line| line.stage_id)
            .collect();
        named.sort_unstable();
        named.dedup();
        let mut add = |stages: Stages, level: PermissionLevel| {
            if level > PermissionLevel::None {
                lines.push(ScopeLine {
                    kind,
                    stages,
                    level,
                });
            }
        };
        for &stage in &named {
            add(
                Stages::Only(stage),
                level_for(viewer, kind, action, Some(stage)),
            );
        }
        let rest = if named.is_empty() {
            Stages::Any
        } else {
            Stages::AnyBut(named)
        };
        add(rest, level_for(viewer, kind, action, None));
    }
    ItemScope {
        everything: viewer.is_administrator,
        viewer_id: viewer.user_id,
        department_id: viewer.department_id,
        departments_below: viewer.departments_below.clone(),
        lines,
    }
}

/// By which way an email may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// An item's timeline, emails and activities: R21 alone.
    Crm,
    /// The mailbox view: access to the mailbox alone (R22).
    Mailbox,
    /// `email`, `node`, `emails` and search: either.
    Either,
}

/// The emails that a viewer may see by a way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailScope {
    surface: Surface,
    items: ItemScope,
    mailboxes: MailboxScope,
}

impl EmailScope {
    /// The way.
    pub const fn surface(&self) -> Surface {
        self.surface
    }
    /// Which items are readable, for the CRM way.
    pub const fn items(&self) -> &ItemScope {
        &self.items
    }
    /// Which mailboxes are accessible, for the mailbox way.
    pub const fn mailboxes(&self) -> &MailboxScope {
        &self.mailboxes
    }
}

/// The emails that the viewer sees by this way.
pub fn emails(viewer: &Viewer, surface: Surface) -> EmailScope {
    EmailScope {
        surface,
        items: items(viewer, PermissionAction::Read),
        mailboxes: mailboxes_with_mail(viewer),
    }
}

/// A set of mailboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxScope {
    everything: bool,
    viewer_id: UserId,
    departments_above: Vec<DepartmentId>,
}

impl MailboxScope {
    /// Whether nothing is filtered at all.
    pub const fn is_everything(&self) -> bool {
        self.everything
    }
    /// The viewer: as connector, or as one that access was given to.
    pub const fn viewer_id(&self) -> UserId {
        self.viewer_id
    }
    /// Departments through which the viewer has access.
    pub fn departments_above(&self) -> &[DepartmentId] {
        &self.departments_above
    }
}

/// The mailboxes whose mail the viewer may read (R22).
pub fn mailboxes_with_mail(viewer: &Viewer) -> MailboxScope {
    MailboxScope {
        everything: false,
        viewer_id: viewer.user_id,
        departments_above: viewer.departments_above.clone(),
    }
}

/// The mailboxes that the viewer sees listed: those with access, and all for whoever may change their settings (R25).
pub fn mailboxes(viewer: &Viewer) -> MailboxScope {
    MailboxScope {
        everything: may_change_crm_settings(viewer),
        ..mailboxes_with_mail(viewer)
    }
}

/// The drafts of one author, of mailboxes that they have access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftScope {
    mailboxes: MailboxScope,
}

impl DraftScope {
    /// Who wrote them.
    pub const fn author_id(&self) -> UserId {
        self.mailboxes.viewer_id()
    }
    /// For which mailboxes.
    pub const fn mailboxes(&self) -> &MailboxScope {
        &self.mailboxes
    }
}

/// The drafts that the viewer sees: their own, while they may send as the mailbox. A draft quotes mail of it.
pub fn drafts(viewer: &Viewer) -> DraftScope {
    DraftScope {
        mailboxes: mailboxes_with_mail(viewer),
    }
}

/// The templates that a viewer sees: their own, and what is shared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateScope {
    viewer_id: UserId,
    departments_above: Vec<DepartmentId>,
}

impl TemplateScope {
    /// The viewer, as owner.
    pub const fn viewer_id(&self) -> UserId {
        self.viewer_id
    }
    /// Departments with which a template may be shared for the viewer to see it.
    pub fn departments_above(&self) -> &[DepartmentId] {
        &self.departments_above
    }
}

/// The templates that the viewer sees (R42).
pub fn templates(viewer: &Viewer) -> TemplateScope {
    TemplateScope {
        viewer_id: viewer.user_id,
        departments_above: viewer.departments_above.clone(),
    }
}

/// Whether the viewer may change a template that they see: its owner; of those that are shared whoever may change the
/// CRM's settings too.
pub fn may_change_template(viewer: &Viewer, owner: UserId, sharing: TemplateSharing) -> bool {
    owner == viewer.user_id || (sharing != TemplateSharing::Own && may_change_crm_settings(viewer))
}

/// Whether the viewer may share a template so far: with their own department, and with everybody where they may change the
/// CRM's settings.
pub fn may_share_template(viewer: &Viewer, sharing: TemplateSharing) -> bool {
    match sharing {
        TemplateSharing::Own => true,
        TemplateSharing::Department => viewer.department_id.is_some(),
        TemplateSharing::All => may_change_crm_settings(viewer),
    }
}

/// Whether an email with this outcome is in the CRM.
pub const fn is_in_crm(outcome: EmailOutcome) -> bool {
    matches!(outcome, EmailOutcome::Saved)
}

#[cfg(test)]
pub(super) mod fixture;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod tests {
    use super::fixture::{role_on_deals, viewer};
    use super::*;
    use crate::model::{ItemId, MailboxId, SenderId};

    fn role(lines: &[(PermissionAction, PermissionLevel, Option<i64>)]) -> Role {
        role_on_deals(1, lines)
    }

    fn deal(responsible: i64, department: i64, open: bool, stage: i64) -> ItemFacts {
        ItemFacts {
            id: ItemId(5),
            kind: ItemKind::Deal,
            stage_id: Some(StageId(stage)),
            responsible_id: UserId(responsible),
            responsible_department_id: Some(DepartmentId(department)),
            open_to_everyone: open,
        }
    }

    #[test]
    fn r23_each_level_contains_those_before_it() {
        use PermissionLevel as L;
        // (what, item, the narrowest level that reads it)
        let rows = [
            ("one's own", deal(1, 10, false, 1), L::Own),
            ("a colleague's", deal(2, 10, false, 1), L::OwnDepartment),
            (
                "a department below",
                deal(2, 11, false, 1),
                L::DepartmentAndBelow,
            ),
            ("open, elsewhere", deal(2, 99, true, 1), L::OpenToEveryone),
            ("anyone's", deal(2, 99, false, 1), L::All),
        ];
        for (what, item, narrowest) in rows {
            for &level in L::ALL {
                let who = viewer(vec![role(&[(PermissionAction::Read, level, None)])]);
                let granted = decide(&who, PermissionAction::Read, &item).is_granted();
                assert_eq!(granted, level >= narrowest, "{what} at {level:?}");
                assert!(
                    !decide(&who, PermissionAction::Update, &item).is_granted(),
                    "{what}: reading is not updating"
                );
            }
        }
    }

    #[test]
    fn r23_a_stage_line_goes_before_the_general_one_and_the_widest_role_wins() {
        use PermissionLevel as L;
        let narrow = role(&[
            (PermissionAction::Read, L::All, None),
            (PermissionAction::Read, L::None, Some(7)),
        ]);
        let closed = deal(2, 99, false, 7);
        let who = viewer(vec![narrow.clone()]);
        assert!(!decide(&who, PermissionAction::Read, &closed).is_granted());
        assert!(decide(&who, PermissionAction::Read, &deal(2, 99, false, 1)).is_granted());
        let both = viewer(vec![
            narrow,
            role(&[(PermissionAction::Read, L::All, Some(7))]),
        ]);
        assert!(decide(&both, PermissionAction::Read, &closed).is_granted());
    }

    #[test]
    fn r21_every_linked_item_must_be_readable_and_there_must_be_one() {
        let who = viewer(vec![role(&[(
            PermissionAction::Read,
            PermissionLevel::Own,
            None,
        )])]);
        let (mine, theirs) = (deal(1, 10, false, 1), deal(2, 10, false, 1));
        for (linked, sees) in [
            (vec![], false),
            (vec![mine], true),
            (vec![mine, theirs], false),
            (vec![theirs], false),
        ] {
            assert_eq!(sees_in_crm(&who, &linked), sees, "{linked:?}");
        }
    }

    #[test]
    fn r21_an_entry_shows_with_its_item_and_its_email() {
        let who = viewer(vec![role(&[(
            PermissionAction::Read,
            PermissionLevel::Own,
            None,
        )])]);
        let (mine, also_mine) = (deal(1, 10, false, 1), deal(1, 10, false, 1));
        let also_mine = ItemFacts {
            id: ItemId(mine.id.0 + 1),
            ..also_mine
        };
        let theirs = ItemFacts {
            id: ItemId(mine.id.0 + 2),
            ..deal(2, 10, false, 1)
        };
        // (on which timeline, what the email hangs on, shows)
        let rows = [
            (mine, None, true),
            (theirs, None, false),
            (mine, Some(vec![]), false),
            (mine, Some(vec![mine]), true),
            (mine, Some(vec![mine, also_mine]), true),
            (mine, Some(vec![also_mine]), false),
            (mine, Some(vec![mine, theirs]), false),
            (theirs, Some(vec![mine, theirs]), false),
        ];
        for (item, linked, shows) in rows {
            let found = sees_entry(&who, &item, linked.as_deref());
            assert_eq!(found, shows, "{item:?} {linked:?}");
        }
    }

    #[test]
    fn r42_a_sender_is_used_by_those_it_is_for() {
        let sender = |address: &str, user_id: Option<i64>| Sender {
            id: SenderId(1),
            mailbox_id: MailboxId(1),
            name: None,
            address: address.to_owned(),
            user_id: user_id.map(UserId),
        };
        let all = [
            sender("shop@ours.example", None),
            sender("ada@ours.example", Some(1)),
        ];
        // (who, address, may)
        let rows = [
            (1, "sales@ours.example", true),
            (1, "shop@ours.example", true),
            (1, "ada@ours.example", true),
            (2, "ada@ours.example", false),
            (1, "boss@ours.example", false),
        ];
        for (user, address, may) in rows {
            let found = may_use_sender(UserId(user), address, ("sales@ours.example", &all));
            assert_eq!(found, may, "{user} as {address}");
        }
    }

    #[test]
    fn r22_an_administrator_has_no_mailbox_by_being_one() {
        let mut who = viewer(vec![]);
        who.is_administrator = true;
        let mut holders = MailboxHolders {
            connector_id: UserId(2),
            user_ids: vec![],
            department_ids: vec![DepartmentId(11)],
        };
        assert!(!has_mailbox(&who, &holders));
        holders.department_ids = vec![DepartmentId(9)];
        assert!(
            has_mailbox(&who, &holders),
            "given to a department above the viewer's"
        );
    }
}
