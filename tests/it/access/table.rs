//! The access table: every field at the root, every field that can be null, every id that an input takes.
//! A field that is not in it fails the build with its name, and so does a line without a field.
//!
//! Each line of a root field is asked by nobody (who is refused) and by a signed-in user who holds no role and no
//! mailbox, in a company full of things that they may not see. What it proves beyond that is the test that it names.

use super::house::{House, type_name};
use super::model::{Id, Kind, World};
use super::worlds::{self, LARGE};
use crate::support::app::On;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};
use futures_util::StreamExt as _;
use mailroom::actions::people::{CreateUser, create_user_as_operator};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

const RANDOM: &str = "r21_r27_random_worlds_look_as_the_model_says";
const MATRIX: &str = "r23_r24_everything_at_each_level";
const OFFICE: &str = "r22_r25_administrators_nobody_and_whoever_changes_settings";
const PAIRS: &str = "r27_hidden_rows_change_no_byte_of_any_answer";
const ROUTING: &str = "r20_r22_simulating_and_rerouting_take_access_to_the_mail";
const QUARANTINE: &str = "r05_quarantined_mail_is_listed_and_tried_again";
const LOG_IN: &str =
    "r27_r45_a_wrong_password_and_an_unknown_account_answer_alike_and_tries_are_counted";
const DRAFTS: &str = "r27_r41_a_draft_is_its_author_s_and_the_mailbox_s_are_those_who_have_access";
const TEMPLATES: &str = "r26_r27_r42_templates_are_seen_by_those_they_are_shared_with_and_filled_with_what_these_may_read";
const SENDERS: &str = "r42_senders_and_signatures_are_used_by_those_they_are_for";
const LIVE: &str = "r29_a_screen_shows_what_the_model_says_after_every_change";

const THREADS: &str = "r40_threads_look_as_the_model_says_on_sqlite";
const SPLIT: &str = "r40_conversations_are_split_merged_and_put_back";
const READS: &str = "r40_each_user_has_read_what_they_have_read";
const ERASE: &str = "r47_a_person_is_erased_with_every_byte";

/// What a field at the root gives to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// Something to anybody, signed in or not: it makes the session, or ends one.
    Anybody,
    /// The same to everybody who is signed in.
    SignedIn,
    /// What the viewer may see; null for the rest (a list of such: nulls).
    Visible,
    /// A list of what the viewer may see; empty and counted as nothing for whoever sees nothing.
    VisibleList,
    /// A stream that is refused as NOT_FOUND where the thing is hidden.
    VisibleStream,
    /// Changes a thing that the viewer sees and has the right to: NOT_FOUND where it is hidden.
    Change,
    /// Makes something, with the right to make it: FORBIDDEN without.
    Make,
    /// Changes rights or settings: administrators (and, where so described, holders of a flag): FORBIDDEN else.
    Rule,
    /// A question for administrators: FORBIDDEN to everybody else.
    Office,
    /// Answers about each thing on its own: `NOT_FOUND` for what is hidden.
    Each,
    /// Is open to all who are signed in; what else is refused has this code.
    Refused(&'static str),
}

struct Line {
    field: &'static str,
    gives: Gives,
    /// The field as it is asked; `$…` stand for ids of things that are hidden.
    asked: &'static str,
    proof: &'static str,
}

const fn line(field: &'static str, gives: Gives, asked: &'static str, proof: &'static str) -> Line {
    Line {
        field,
        gives,
        asked,
        proof,
    }
}

/// Every field of Query, Mutation and Subscription.
#[rustfmt::skip]
const ROOT: &[Line] = &[
    line("Query.viewer", Gives::SignedIn, "viewer { id }", RANDOM),
    line("Query.node", Gives::Visible, "node(id: $email) { id }", RANDOM),
    line("Query.nodes", Gives::Visible, "nodes(ids: [$email, $lead, $deal, $contact, $mailbox, $activity, $change, $thread, $entry, $folder, $file]) { id }", RANDOM),
    line("Query.lead", Gives::Visible, "lead(id: $lead) { id }", RANDOM),
    line("Query.deal", Gives::Visible, "deal(id: $deal) { id }", RANDOM),
    line("Query.contact", Gives::Visible, "contact(id: $contact) { id }", RANDOM),
    line("Query.email", Gives::Visible, "email(id: $email) { id }", RANDOM),
    line("Query.mailbox", Gives::Visible, "mailbox(id: $mailbox) { id }", RANDOM),
    line("Query.mailboxes", Gives::VisibleList, "mailboxes { nodes { id } totalCount { value } }", RANDOM),
    line("Query.leads", Gives::VisibleList, "leads { nodes { id } totalCount { value } }", RANDOM),
    line("Query.deals", Gives::VisibleList, "deals { nodes { id } totalCount { value } }", RANDOM),
    line("Query.contacts", Gives::VisibleList, "contacts { nodes { id } totalCount { value } }", RANDOM),
    line("Query.emails", Gives::VisibleList, "emails { nodes { id } totalCount { value } }", RANDOM),
    line("Query.timeline", Gives::VisibleList, "timeline { nodes { id } totalCount { value } }", RANDOM),
    line("Query.users", Gives::SignedIn, "users { nodes { id } }", RANDOM),
    line("Query.departments", Gives::SignedIn, "departments { id }", RANDOM),
    line("Query.roles", Gives::SignedIn, "roles { id }", RANDOM),
    line("Query.leadStages", Gives::SignedIn, "leadStages { id }", PAIRS),
    line("Query.dealStages", Gives::SignedIn, "dealStages { id }", PAIRS),
    line("Query.counters", Gives::SignedIn, "counters { incoming overdue }", "r33_counters_count_what_is_left_to_do_and_seen"),
    line("Query.rateLimit", Gives::SignedIn, "rateLimit { cost }", "t35_a_user_asks_for_so_much_in_a_minute"),
    line("Query.emailsHiddenFromResponsible", Gives::Office, "emailsHiddenFromResponsible { nodes { id } }", "r21_mail_that_its_responsible_does_not_see_is_listed"),
    line("Query.explainAccess", Gives::Office, "explainAccess(userId: $user, itemId: $deal) { __typename }", "r28_explanations_counters_and_the_log_are_for_those_who_may"),
    line("Query.auditLog", Gives::Office, "auditLog { nodes { id } }", "r28_explanations_counters_and_the_log_are_for_those_who_may"),
    line("Query.quarantine", Gives::VisibleList, "quarantine(mailboxId: $mailbox) { nodes { id } totalCount { value } }", QUARANTINE),
    line("Query.simulateRouting", Gives::Change, "simulateRouting(input: { mailboxId: $mailbox }) { userErrors { code } }", ROUTING),
    line("Query.thread", Gives::Visible, "thread(id: $thread) { id }", THREADS),
    line("Query.threads", Gives::VisibleList, "threads { nodes { id } totalCount { value } }", THREADS),
    line("Query.search", Gives::VisibleList, "search(query: \"-nothing\") { nodes { snippets { zone } } totalCount { value } }", "r43_searches_find_what_the_model_says_on_sqlite"),
    line("Query.crmSettings", Gives::SignedIn, "crmSettings { version }", PAIRS),

    line("Query.templates", Gives::VisibleList, "templates { nodes { id } totalCount { value } }", TEMPLATES),
    line("Query.previewTemplate", Gives::Visible, "previewTemplate(templateId: $deal) { subject }", TEMPLATES),
    line("Query.drafts", Gives::VisibleList, "drafts { nodes { id } totalCount { value } }", DRAFTS),

    line("Mutation.logIn", Gives::Anybody, "logIn(input: { address: \"nobody@ours.example\", password: \"not the password\" }) { userErrors { code } }", LOG_IN),
    line("Mutation.refreshLogIn", Gives::Anybody, "refreshLogIn(input: { refreshToken: \"none\" }) { userErrors { code } }", LOG_IN),
    line("Mutation.logOut", Gives::Anybody, "logOut(input: { refreshToken: \"none\" }) { userErrors { code } }", LOG_IN),
    line("Mutation.createDepartment", Gives::Rule, "createDepartment(input: { name: \"x\" }) { userErrors { code } }", OFFICE),
    line("Mutation.createUser", Gives::Rule, "createUser(input: { name: \"x\", address: \"x@ours.example\" }) { userErrors { code } }", OFFICE),
    line("Mutation.updateUser", Gives::Rule, "updateUser(input: { userId: $user, isAdministrator: true }) { userErrors { code } }", OFFICE),
    line("Mutation.createRole", Gives::Rule, "createRole(input: { name: \"x\", permissions: [] }) { userErrors { code } }", OFFICE),
    line("Mutation.updateRole", Gives::Rule, "updateRole(input: { roleId: $role, name: \"x\" }) { userErrors { code } }", OFFICE),
    line("Mutation.assignRoles", Gives::Rule, "assignRoles(input: { holder: { userId: $user }, roleIds: [$role] }) { userErrors { code } }", OFFICE),
    line("Mutation.updateCrmSettings", Gives::Rule, "updateCrmSettings(input: { leadsEnabled: false }) { userErrors { code } }", OFFICE),
    line("Mutation.connectMailbox", Gives::Refused("FORBIDDEN"), "connectMailbox(input: { address: \"x@ours.example\", imap: { host: \"127.0.0.1\" }, secret: { password: \"x\" }, connectorId: $other }) { userErrors { code } }", OFFICE),
    line("Mutation.updateMailboxSettings", Gives::Change, "updateMailboxSettings(input: { mailboxId: $mailbox, settings: { source: \"x\" } }) { userErrors { code } }", OFFICE),
    line("Mutation.updateMailboxFolders", Gives::Change, "updateMailboxFolders(input: { mailboxId: $mailbox }) { userErrors { code } }", OFFICE),
    line("Mutation.shareMailbox", Gives::Change, "shareMailbox(input: { mailboxId: $mailbox, userIds: [$user] }) { userErrors { code } }", OFFICE),
    line("Mutation.transferMailbox", Gives::Change, "transferMailbox(input: { mailboxId: $mailbox, connectorId: $user }) { userErrors { code } }", OFFICE),
    line("Mutation.syncMailbox", Gives::Change, "syncMailbox(input: { mailboxId: $mailbox }) { userErrors { code } }", OFFICE),
    line("Mutation.disconnectMailbox", Gives::Change, "disconnectMailbox(input: { mailboxId: $mailbox }) { userErrors { code } }", OFFICE),
    line("Mutation.reconcileMailbox", Gives::Change, "reconcileMailbox(input: { mailboxId: $mailbox }) { userErrors { code } }", "r09_a_mailbox_is_compared_with_its_server_on_demand"),
    line("Mutation.updateMailboxHistory", Gives::Change, "updateMailboxHistory(input: { mailboxId: $mailbox, history: { days: 0 } }) { userErrors { code } }", "r09_a_mailbox_is_compared_with_its_server_on_demand"),
    line("Mutation.retryEmail", Gives::Change, "retryEmail(input: { quarantinedMailId: $quarantined }) { userErrors { code } }", QUARANTINE),
    line("Mutation.resetPassword", Gives::Anybody, "resetPassword(input: { token: \"none\", password: \"good enough\" }) { userErrors { code } }", "r45_a_link_sets_a_password_once_and_ends_what_was_logged_in"),
    line("Mutation.changePassword", Gives::Refused("FORBIDDEN"), "changePassword(input: { current: \"no password\", new: \"good enough\" }) { userErrors { code } }", "r45_a_password_is_changed_by_whoever_knows_it"),
    line("Mutation.createPasswordReset", Gives::Rule, "createPasswordReset(input: { userId: $user }) { userErrors { code } }", "r45_a_link_sets_a_password_once_and_ends_what_was_logged_in"),
    line("Mutation.updateDepartment", Gives::Rule, "updateDepartment(input: { departmentId: $department, name: \"x\" }) { userErrors { code } }", OFFICE),
    line("Mutation.deleteDepartment", Gives::Rule, "deleteDepartment(input: { departmentId: $department }) { userErrors { code } }", OFFICE),
    line("Mutation.deleteRole", Gives::Rule, "deleteRole(input: { roleId: $role }) { userErrors { code } }", OFFICE),
    line("Mutation.createStage", Gives::Rule, "createStage(input: { item: LEAD, name: \"x\", kind: OPEN }) { userErrors { code } }", OFFICE),
    line("Mutation.updateStage", Gives::Rule, "updateStage(input: { stageId: $stage, name: \"x\" }) { userErrors { code } }", OFFICE),
    line("Mutation.deleteStage", Gives::Rule, "deleteStage(input: { stageId: $stage, moveItemsToStageId: $stage }) { userErrors { code } }", OFFICE),
    line("Mutation.deleteLead", Gives::Change, "deleteLead(input: { leadId: $lead }) { userErrors { code } }", MATRIX),
    line("Mutation.deleteDeal", Gives::Change, "deleteDeal(input: { dealId: $deal }) { userErrors { code } }", MATRIX),
    line("Mutation.deleteContact", Gives::Change, "deleteContact(input: { contactId: $contact }) { userErrors { code } }", MATRIX),
    line("Mutation.mergeContacts", Gives::Change, "mergeContacts(input: { contactId: $contact, mergeContactIds: [$deal] }) { userErrors { code } }", MATRIX),
    line("Mutation.removeEmail", Gives::Change, "removeEmail(input: { emailId: $email }) { userErrors { code } }", MATRIX),
    line("Mutation.exportItems", Gives::Make, "exportItems(input: { items: { leads: {} } }) { userErrors { code } }", "r23_an_export_holds_what_may_be_read_and_exported_at_that_moment"),
    line("Mutation.rerouteEmails", Gives::Each, "rerouteEmails(input: { emailIds: [$email] }) { results { emailId outcome } userErrors { code } }", ROUTING),
    line("Mutation.saveEmail", Gives::Change, "saveEmail(input: { emailId: $email }) { userErrors { code } }", MATRIX),
    line("Mutation.relinkEmail", Gives::Change, "relinkEmail(input: { emailId: $email, fromItemId: $deal, toItemId: $deal }) { userErrors { code } }", MATRIX),
    line("Mutation.linkEmail", Gives::Change, "linkEmail(input: { emailId: $email, toItemId: $deal }) { userErrors { code } }", MATRIX),
    line("Mutation.unlinkEmail", Gives::Change, "unlinkEmail(input: { emailId: $email, fromItemId: $deal }) { userErrors { code } }", MATRIX),
    line("Mutation.undoRelink", Gives::Change, "undoRelink(input: { changeId: $change }) { userErrors { code } }", MATRIX),
    line("Mutation.splitThread", Gives::Change, "splitThread(input: { emailIds: [$email] }) { userErrors { code } }", SPLIT),
    line("Mutation.mergeThreads", Gives::Change, "mergeThreads(input: { threadId: $thread, mergeThreadIds: [$email] }) { userErrors { code } }", SPLIT),
    line("Mutation.undoThreadChange", Gives::Change, "undoThreadChange(input: { threadChangeId: $change }) { userErrors { code } }", SPLIT),
    line("Mutation.markEmail", Gives::Change, "markEmail(input: { emailId: $email, isRead: true }) { userErrors { code } }", READS),
    line("Mutation.markThread", Gives::Change, "markThread(input: { threadId: $thread, isRead: true }) { userErrors { code } }", READS),
    line("Mutation.erasePerson", Gives::Rule, "erasePerson(input: { addresses: [\"x@client.example\"] }) { userErrors { code } }", ERASE),
    line("Mutation.updateMailboxRetention", Gives::Change, "updateMailboxRetention(input: { mailboxId: $mailbox, days: 30 }) { userErrors { code } }", ERASE),
    line("Mutation.createLead", Gives::Make, "createLead(input: { title: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.updateLead", Gives::Change, "updateLead(input: { leadId: $lead, title: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.convertLead", Gives::Change, "convertLead(input: { leadId: $lead }) { userErrors { code } }", MATRIX),
    line("Mutation.createDeal", Gives::Make, "createDeal(input: { title: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.updateDeal", Gives::Change, "updateDeal(input: { dealId: $deal, title: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.createContact", Gives::Make, "createContact(input: { name: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.updateContact", Gives::Change, "updateContact(input: { contactId: $contact, name: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.addNote", Gives::Change, "addNote(input: { itemId: $deal, text: \"x\" }) { userErrors { code } }", MATRIX),
    line("Mutation.completeActivity", Gives::Change, "completeActivity(input: { activityId: $activity }) { userErrors { code } }", MATRIX),
    line("Mutation.reopenActivity", Gives::Change, "reopenActivity(input: { activityId: $activity }) { userErrors { code } }", MATRIX),
    line("Mutation.postponeActivity", Gives::Change, "postponeActivity(input: { activityId: $activity, deadline: \"2030-01-01T00:00:00Z\" }) { userErrors { code } }", MATRIX),

    line("Mutation.createTemplate", Gives::Refused("FORBIDDEN"), "createTemplate(input: { name: \"x\", sharing: ALL }) { userErrors { code } }", TEMPLATES),
    line("Mutation.updateTemplate", Gives::Change, "updateTemplate(input: { templateId: $deal }) { userErrors { code } }", TEMPLATES),
    line("Mutation.deleteTemplate", Gives::Change, "deleteTemplate(input: { templateId: $deal }) { userErrors { code } }", TEMPLATES),
    line("Mutation.updateMailboxSenders", Gives::Change, "updateMailboxSenders(input: { mailboxId: $mailbox, senders: [] }) { userErrors { code } }", SENDERS),
    line("Mutation.updateSignature", Gives::Change, "updateSignature(input: { mailboxId: $mailbox }) { userErrors { code } }", SENDERS),
    line("Mutation.createDraft", Gives::Change, "createDraft(input: { mailboxId: $mailbox }) { userErrors { code } }", DRAFTS),
    line("Mutation.updateDraft", Gives::Change, "updateDraft(input: { draftId: $deal, subject: \"x\" }) { userErrors { code } }", DRAFTS),
    line("Mutation.deleteDraft", Gives::Change, "deleteDraft(input: { draftId: $deal }) { userErrors { code } }", DRAFTS),
    line("Mutation.addDraftAttachment", Gives::Change, "addDraftAttachment(input: { draftId: $deal, name: \"x\", size: 1 }) { userErrors { code } }", DRAFTS),
    line("Mutation.removeDraftAttachment", Gives::Change, "removeDraftAttachment(input: { attachmentId: $deal }) { userErrors { code } }", DRAFTS),
    line("Mutation.sendEmail", Gives::Change, "sendEmail(input: { draftId: $deal }) { userErrors { code } }", DRAFTS),
    line("Mutation.cancelSending", Gives::Change, "cancelSending(input: { draftId: $deal }) { userErrors { code } }", DRAFTS),
    line("Mutation.updateMailboxSending", Gives::Change, "updateMailboxSending(input: { mailboxId: $mailbox }) { userErrors { code } }", DRAFTS),

    line("Subscription.timeline", Gives::VisibleStream, "timeline(itemId: $deal) { __typename }", LIVE),
    line("Subscription.mailboxSync", Gives::VisibleStream, "mailboxSync(mailboxId: $mailbox) { id }", MATRIX),
];

/// Fields that are null where a permission hides what they name, with the test that proves it.
#[rustfmt::skip]
const HIDDEN_AS_NULL: &[(&str, &str)] = &[
    ("Lead.addresses", RANDOM), ("Contact.addresses", RANDOM), ("Contact.phones", RANDOM), ("Deal.amount", RANDOM),
    ("Deal.originLead", RANDOM), ("Lead.conversion", RANDOM), ("LeadConversion.deal", RANDOM), ("LeadConversion.contact", RANDOM),
    ("Email.mailbox", RANDOM), ("Email.responsible", RANDOM), ("Email.activity", RANDOM), ("Email.routingTrace", RANDOM),
    ("Activity.email", RANDOM), ("LinkChange.from", RANDOM), ("LinkChange.to", RANDOM),
    ("EmailLinked.email", RANDOM), ("EmailLinked.from", RANDOM), ("EmailUnlinked.email", RANDOM), ("EmailUnlinked.to", RANDOM),
    ("Mailbox.settings", RANDOM), ("RerouteResult.email", ROUTING), ("RoutingResult.responsible", ROUTING),
    ("Draft.original", DRAFTS), ("Draft.item", DRAFTS), ("Draft.email", DRAFTS), ("SendingChanged.draft", DRAFTS),
    ("RoutingResult.trace", ROUTING), ("SimulatedMail.email", ROUTING), ("ThreadChange.thread", SPLIT),
];

/// Fields that are null only where there is nothing: whoever sees the thing sees them.
#[rustfmt::skip]
const NULL_WHERE_ABSENT: &[&str] = &[
    "AccessDecision.ground", "AccessDecision.item", "AccessDecision.role", "AccessDecision.stage", "AccessExplanation.mailbox",
    "AuditEntry.actor", "AuditEntry.targetId", "MailboxDecision.ground", "MailboxDecision.mailbox",
    "Activity.completedAt", "Activity.completedBy", "Activity.deadline", "ActivityCompleted.actor", "ActivityReopened.actor",
    "Address.name", "Attachment.name", "Attachment.url", "Contact.company", "Contact.source", "Department.parent",
    "Email.bodyHtml", "Email.bodyText", "Email.from", "Email.messageId", "Email.rawHeaders", "Email.rawUrl", "Email.savedAt",
    "EmailLink.linkedBy", "EmailLinked.actor", "EmailReceived.actor", "EmailSent.actor", "EmailUnlinked.actor", "Folder.role",
    "ItemCreated.actor", "Lead.name", "Lead.source", "LeadConversion.by", "LeadConverted.actor", "LinkChange.by",
    "Mailbox.spamFolder", "MailboxSettings.saveSince", "NoteAdded.actor", "PageInfo.endCursor", "PageInfo.startCursor",
    "Mailbox.signature", "Sender.name", "Sender.user", "Signature.bodyHtml", "Template.bodyHtml", "TemplatePreview.bodyHtml", "TemplatePreview.problem",
    "Draft.bodyHtml", "Draft.messageId", "Draft.sendAt", "Draft.sentAt", "SendingChanged.actor", "SendingFailure.code", "SendingFailure.recipient",
    "Permission.stage", "RateLimit.limit", "RateLimit.remaining", "RateLimit.resetAt", "RelinkVerdict.reason", "ResponsibleChanged.actor",
    "RoutedItem.item", "StageChanged.actor", "SyncState.lagSeconds",
    "SyncState.lastError", "SyncState.reconciliation", "SyncState.lastSuccessAt", "SyncState.total", "TimelineEntry.actor", "User.avatarUrl",
    "User.department", "UserError.field",
    "Email.bodyBlocks", "Email.bodyLinks", "Email.unsubscribe", "Email.invitation", "Email.specialFormats", "BodyLink.host", "Unsubscribe.url", "Unsubscribe.mailto",
    "Invitation.uid", "Invitation.summary", "Invitation.location", "Invitation.description", "Invitation.starts", "Invitation.ends", "Invitation.organizer",
    "InvitationMoment.zone", "InvitationMoment.at", "InvitationAttendee.answer", "Mailbox.retentionDays", "ThreadChange.by", "ThreadChange.undoneAt",
];

/// Ids in inputs of things that can be hidden: each is answered as absent then, with the test that proves it.
#[rustfmt::skip]
const HIDDEN_IDS: &[(&str, &str)] = &[
    ("DeleteLeadInput.leadId", MATRIX), ("DeleteDealInput.dealId", MATRIX), ("DeleteContactInput.contactId", MATRIX),
    ("MergeContactsInput.contactId", MATRIX), ("MergeContactsInput.mergeContactIds", MATRIX), ("RemoveEmailInput.emailId", OFFICE),
    ("AddNoteInput.itemId", MATRIX), ("CompleteActivityInput.activityId", MATRIX), ("ReopenActivityInput.activityId", MATRIX),
    ("PostponeActivityInput.activityId", MATRIX), ("ConvertLeadInput.leadId", MATRIX), ("ConvertToContactInput.existingId", MATRIX),
    ("ConvertToDealInput.existingId", MATRIX), ("CreateDealInput.contactIds", MATRIX), ("UpdateDealInput.contactIds", MATRIX),
    ("UpdateLeadInput.leadId", MATRIX), ("UpdateDealInput.dealId", MATRIX), ("UpdateContactInput.contactId", MATRIX),
    ("LinkEmailInput.emailId", PAIRS), ("LinkEmailInput.toItemId", MATRIX), ("UnlinkEmailInput.emailId", PAIRS),
    ("UnlinkEmailInput.fromItemId", MATRIX), ("RelinkEmailInput.emailId", PAIRS), ("RelinkEmailInput.fromItemId", MATRIX),
    ("RelinkEmailInput.toItemId", MATRIX), ("UndoRelinkInput.changeId", MATRIX), ("SaveEmailInput.emailId", OFFICE),
    ("SaveTargetInput.itemId", MATRIX), ("DealFilter.contactId", RANDOM), ("EmailFilter.itemId", RANDOM),
    ("EmailFilter.mailboxId", RANDOM), ("EmailFilter.threadId", RANDOM),
    ("UpdateMailboxSettingsInput.mailboxId", OFFICE), ("UpdateMailboxFoldersInput.mailboxId", OFFICE),
    ("ShareMailboxInput.mailboxId", OFFICE), ("TransferMailboxInput.mailboxId", OFFICE), ("SyncMailboxInput.mailboxId", OFFICE),
    ("DisconnectMailboxInput.mailboxId", OFFICE), ("RerouteEmailsInput.emailIds", ROUTING),
    ("SimulateRoutingInput.mailboxId", ROUTING), ("RetryEmailInput.quarantinedMailId", QUARANTINE),
    ("ReconcileMailboxInput.mailboxId", "r09_a_mailbox_is_compared_with_its_server_on_demand"),
    ("UpdateMailboxHistoryInput.mailboxId", "r09_a_mailbox_is_compared_with_its_server_on_demand"),
    ("CreateDraftInput.mailboxId", DRAFTS), ("CreateDraftInput.originalId", DRAFTS), ("CreateDraftInput.itemId", DRAFTS),
    ("CreateDraftInput.templateId", TEMPLATES), ("CreateDraftInput.senderId", SENDERS), ("UpdateDraftInput.senderId", SENDERS),
    ("UpdateTemplateInput.templateId", TEMPLATES), ("DeleteTemplateInput.templateId", TEMPLATES),
    ("UpdateMailboxSendersInput.mailboxId", SENDERS), ("UpdateSignatureInput.mailboxId", SENDERS),
    ("UpdateDraftInput.draftId", DRAFTS), ("UpdateDraftInput.itemId", DRAFTS), ("DeleteDraftInput.draftId", DRAFTS),
    ("AddDraftAttachmentInput.draftId", DRAFTS), ("RemoveDraftAttachmentInput.attachmentId", DRAFTS), ("SendEmailInput.draftId", DRAFTS),
    ("CancelSendingInput.draftId", DRAFTS), ("UpdateMailboxSendingInput.mailboxId", DRAFTS),
    ("MarkEmailInput.emailId", READS), ("MarkThreadInput.threadId", READS),
    ("SplitThreadInput.emailIds", SPLIT), ("MergeThreadsInput.threadId", SPLIT), ("MergeThreadsInput.mergeThreadIds", SPLIT),
    ("UndoThreadChangeInput.threadChangeId", SPLIT), ("ThreadFilter.itemId", THREADS), ("ThreadFilter.mailboxId", THREADS),
    ("UpdateMailboxRetentionInput.mailboxId", ERASE),
    // Folders are looked for within the mailbox that is named beside them.
    ("FolderSyncInput.folderId", OFFICE),
    ("UpdateMailboxFoldersInput.spamFolderId", OFFICE),
    ("UpdateMailboxFoldersInput.inboxId", OFFICE),
    ("UpdateMailboxFoldersInput.sentId", OFFICE),
    ("UpdateMailboxFoldersInput.trashId", OFFICE),
    ("UpdateMailboxFoldersInput.draftsId", OFFICE),
];

/// Ids in inputs of users, departments, roles and stages, which everybody who is signed in sees.
#[rustfmt::skip]
const OPEN_IDS: &[&str] = &[
    // Of the audit log, which administrators alone read.
    "AuditFilter.actorId", "AuditFilter.target",
    "CreatePasswordResetInput.userId", "DeleteDepartmentInput.departmentId", "DeleteRoleInput.roleId",
    "DeleteStageInput.moveItemsToStageId", "DeleteStageInput.stageId", "UpdateDepartmentInput.departmentId",
    "UpdateDepartmentInput.parentId", "UpdateStageInput.stageId",
    "SenderInput.userId", "AssignRolesInput.roleIds", "ConnectMailboxInput.connectorId", "ContactFilter.responsibleId", "CreateContactInput.responsibleId",
    "CreateDealInput.responsibleId", "CreateDealInput.stageId", "CreateDepartmentInput.parentId", "CreateLeadInput.responsibleId",
    "CreateUserInput.departmentId", "CreateUserInput.roleIds", "DealFilter.responsibleId", "DealFilter.stageIds",
    "LeadFilter.responsibleId", "LeadFilter.stageIds", "MailboxSettingsInput.queueUserIds", "NewContactInput.responsibleId",
    "NewDealInput.responsibleId", "PermissionInput.stageId", "RoleHolderInput.departmentId", "RoleHolderInput.userId",
    "ShareMailboxInput.departmentIds", "ShareMailboxInput.userIds", "TransferMailboxInput.connectorId",
    "UpdateContactInput.responsibleId", "UpdateDealInput.responsibleId", "UpdateDealInput.stageId", "UpdateLeadInput.responsibleId",
    "UpdateLeadInput.stageId", "UpdateRoleInput.roleId", "UpdateUserInput.departmentId", "UpdateUserInput.userId",
];

const ROOTS: [&str; 3] = ["Query", "Mutation", "Subscription"];

/// The named fields of the schema: at the root, nullable ones of objects, and ids of inputs.
#[derive(Default)]
struct Named {
    root: BTreeSet<String>,
    nullable: BTreeSet<String>,
    ids: BTreeSet<String>,
}

fn base(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => base(inner),
    }
}

fn named() -> Named {
    let document = parse_schema(include_str!("../../../schema.graphql")).unwrap();
    let mut found = Named::default();
    for definition in document.definitions {
        let TypeSystemDefinition::Type(definition) = definition else {
            continue;
        };
        let name = definition.node.name.node.to_string();
        let fields = match &definition.node.kind {
            TypeKind::Object(object) => &object.fields,
            TypeKind::Interface(interface) => &interface.fields,
            TypeKind::InputObject(input) => {
                let ids = input
                    .fields
                    .iter()
                    .filter(|field| base(&field.node.ty.node) == "ID");
                found
                    .ids
                    .extend(ids.map(|field| format!("{name}.{}", field.node.name.node)));
                continue;
            }
            _ => continue,
        };
        for field in fields {
            let at = format!("{name}.{}", field.node.name.node);
            if ROOTS.contains(&name.as_str()) {
                found.root.insert(at);
            } else if field.node.ty.node.nullable && !name.ends_with("Payload") {
                found.nullable.insert(at);
            }
        }
    }
    found
}

/// Fails with the names that are on one side only.
fn same(what: &str, schema: &BTreeSet<String>, table: impl IntoIterator<Item = &'static str>) {
    let lines: Vec<String> = table.into_iter().map(str::to_owned).collect();
    let table: BTreeSet<String> = lines.iter().cloned().collect();
    assert_eq!(lines.len(), table.len(), "{what}: a line stands twice");
    let missing: Vec<_> = schema.difference(&table).collect();
    let superfluous: Vec<_> = table.difference(schema).collect();
    assert!(
        missing.is_empty() && superfluous.is_empty(),
        "{what}: without a line in the access table: {missing:?}; lines without a field: {superfluous:?}"
    );
}

#[test]
fn r29_every_field_stands_in_the_access_table() {
    let schema = named();
    same(
        "root fields",
        &schema.root,
        ROOT.iter().map(|line| line.field),
    );
    let nullable = HIDDEN_AS_NULL
        .iter()
        .map(|(field, _)| *field)
        .chain(NULL_WHERE_ABSENT.iter().copied());
    same("nullable fields", &schema.nullable, nullable);
    let ids = HIDDEN_IDS
        .iter()
        .map(|(field, _)| *field)
        .chain(OPEN_IDS.iter().copied());
    same("ids in inputs", &schema.ids, ids);
}

/// All the text of the tests in `tests/it`.
fn tests_text(folder: &std::path::Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_text(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn r29_the_tests_that_the_access_table_names_are_there() {
    let mut text = String::new();
    tests_text(
        &std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"),
        &mut text,
    );
    let all = ROOT.iter().map(|line| (line.field, line.proof));
    for (field, proof) in all
        .chain(HIDDEN_AS_NULL.iter().copied())
        .chain(HIDDEN_IDS.iter().copied())
    {
        let is_there = [format!("fn {proof}"), format!("whole!(\n    {proof},")];
        let is_there = is_there.iter().any(|test| text.contains(test.as_str()));
        assert!(is_there, "{field}: there is no test {proof}");
    }
}

/// A company full of things, and a user who sees none of them; how the ids are called in the table.
struct Company {
    house: House,
    world: World,
    nobody: Id,
}

impl Company {
    fn open(on: On) -> Self {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[5; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut world = worlds::seeds(LARGE)
            .new_tree(&mut runner)
            .unwrap()
            .current()
            .world();
        let nobody = worlds::USER + 900;
        let user = super::model::User {
            department: None,
            is_administrator: false,
        };
        world.users.insert(nobody, user);
        let house = House::with(on, &world);
        Self {
            house,
            world,
            nobody,
        }
    }

    fn item(&self, kind: Kind) -> String {
        let found = self.world.items.iter().find(|(_, item)| item.kind == kind);
        self.house
            .id(type_name(kind), *found.expect("one of each kind").0)
    }

    /// The question with ids in the place of their names.
    fn asked(&self, line: &Line) -> String {
        let id = |name: &str, of: Option<Id>| self.house.id(name, of.expect("there is one"));
        let world = &self.world;
        let email = world.emails.keys().next().copied();
        let mailbox = world.mailboxes.keys().next().copied();
        let ids = [
            ("$lead", self.item(Kind::Lead)),
            ("$deal", self.item(Kind::Deal)),
            ("$contact", self.item(Kind::Contact)),
            ("$email", id("Email", email)),
            (
                "$file",
                id("Attachment", email.map(super::house::attachment_of)),
            ),
            (
                "$thread",
                id(
                    "Thread",
                    world.emails.values().next().map(|email| email.thread),
                ),
            ),
            (
                "$activity",
                id("Activity", world.activities.keys().next().copied()),
            ),
            (
                "$change",
                id("LinkChange", world.changes.keys().next().copied()),
            ),
            (
                "$entry",
                id("TimelineEntry", world.entries.keys().next().copied()),
            ),
            ("$mailbox", id("Mailbox", mailbox)),
            ("$quarantined", id("QuarantinedMail", Some(1))),
            (
                "$folder",
                id("Folder", mailbox.map(super::house::folder_of)),
            ),
            (
                "$department",
                id("Department", world.departments.keys().next().copied()),
            ),
            ("$stage", id("Stage", Some(1))),
            ("$user", id("User", Some(self.nobody))),
            ("$other", id("User", Some(worlds::USER))),
            ("$role", id("Role", world.roles.keys().next().copied())),
        ];
        let mut asked = line.asked.to_owned();
        for (name, id) in ids {
            asked = asked.replace(name, &format!("\"{id}\""));
        }
        let operation = line.field.split('.').next().unwrap().to_lowercase();
        format!("{operation} {{ answer: {asked} }}")
    }

    async fn answer(&self, line: &Line, user: Option<Id>) -> Json {
        let query = self.asked(line);
        let body = if line.field.starts_with("Subscription") {
            self.house
                .watch(user, &query, json!({}))
                .next()
                .await
                .unwrap()
                .body
        } else {
            self.house.bytes(user, &query, json!({})).await
        };
        serde_json::from_str(&body).unwrap()
    }
}

fn codes(answer: &Json) -> Vec<&str> {
    let errors = answer["errors"].as_array().into_iter().flatten();
    errors
        .filter_map(|error| error["extensions"]["code"].as_str())
        .collect()
}

fn refusal(answer: &Json) -> Option<&str> {
    answer["data"]["answer"]["userErrors"][0]["code"].as_str()
}

fn as_the_table_says(gives: Gives, answer: &Json) -> bool {
    let found = &answer["data"]["answer"];
    let no_errors = codes(answer).is_empty();
    match gives {
        Gives::Anybody => no_errors && found.is_object(),
        Gives::SignedIn => no_errors && !found.is_null() && *found != json!([]),
        Gives::Visible => {
            let all_null = |list: &Vec<Json>| list.len() == 11 && list.iter().all(Json::is_null);
            no_errors && (found.is_null() || found.as_array().is_some_and(all_null))
        }
        Gives::VisibleList => {
            no_errors && found["nodes"] == json!([]) && found["totalCount"]["value"] == json!(0)
        }
        Gives::VisibleStream => codes(answer) == ["NOT_FOUND"],
        Gives::Change => no_errors && refusal(answer) == Some("NOT_FOUND"),
        Gives::Make | Gives::Rule => no_errors && refusal(answer) == Some("FORBIDDEN"),
        Gives::Office => codes(answer) == ["FORBIDDEN"],
        Gives::Each => no_errors && found["results"][0]["outcome"] == json!("NOT_FOUND"),
        Gives::Refused(code) => no_errors && refusal(answer) == Some(code),
    }
}

async fn asked_by_nobody(on: On) {
    let company = Company::open(on);
    let mut faults = Vec::new();
    let mut before = String::new();
    // Where passwords are tried goes first: tries are written down, and nothing else is.
    let tries =
        |line: &Line| line.gives == Gives::Anybody || line.field == "Mutation.changePassword";
    let (open, closed): (Vec<&Line>, Vec<&Line>) = ROOT.iter().partition(|line| tries(line));
    for line in open.into_iter().chain(closed) {
        if !tries(line) && before.is_empty() {
            before = company.house.hash();
        }
        let anonymous = company.answer(line, None).await;
        let is_refused =
            codes(&anonymous) == ["UNAUTHENTICATED"] && anonymous["data"]["answer"].is_null();
        if is_refused == (line.gives == Gives::Anybody) {
            faults.push(format!("{} signed out: {anonymous}", line.field));
        }
        let answer = company.answer(line, Some(company.nobody)).await;
        if !as_the_table_says(line.gives, &answer) {
            faults.push(format!(
                "{} gives {:?}, but: {answer}",
                line.field, line.gives
            ));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(
        before,
        company.house.hash(),
        "something refused was written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_r29_every_root_field_refuses_nobody_and_shows_a_stranger_nothing_on_sqlite() {
    asked_by_nobody(On::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_r29_every_root_field_refuses_nobody_and_shows_a_stranger_nothing_on_postgresql() {
    asked_by_nobody(On::Postgresql).await;
}

/// What logging in answers.
async fn log_in(house: &House, address: &str, password: &str) -> String {
    let query = "mutation($a: String!, $p: String!) { logIn(input: { address: $a, password: $p }) { accessToken viewer { id } userErrors { code message field } } }";
    house
        .bytes(None, query, json!({ "a": address, "p": password }))
        .await
}

async fn log_ins(on: On) {
    let house = House::open(on);
    let user = |name: &str| CreateUser {
        name: name.to_owned(),
        address: format!("{name}@ours.example"),
        password: Some("right enough".to_owned().into()),
        department_id: None,
        avatar_url: None,
        time_zone: None,
        is_administrator: false,
        role_ids: None,
    };
    for name in ["anna", "bert"] {
        create_user_as_operator(&house.actions, user(name), super::house::now())
            .await
            .unwrap();
    }
    let done = log_in(&house, "bert@ours.example", "right enough").await;
    assert!(
        done.contains("\"userErrors\":[]") && !done.contains("\"accessToken\":null"),
        "{done}"
    );
    let mut last = String::new();
    for attempt in 0..7 {
        let wrong = log_in(&house, "anna@ours.example", "wrong enough").await;
        let unknown = log_in(&house, "carl@ours.example", "wrong enough").await;
        assert_eq!(wrong, unknown, "attempt {attempt}");
        assert!(wrong.contains("\"accessToken\":null"), "{wrong}");
        last = wrong;
    }
    assert!(last.contains("Too many attempts"), "{last}");
    let right = log_in(&house, "anna@ours.example", "right enough").await;
    assert_eq!(right, last, "the right password is no way around the limit");
    let other = log_in(&house, "bert@ours.example", "right enough").await;
    assert!(
        !other.contains("\"accessToken\":null"),
        "others are not locked out: {other}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn r27_r45_a_wrong_password_and_an_unknown_account_answer_alike_and_tries_are_counted() {
    log_ins(On::Sqlite).await;
    log_ins(On::Postgresql).await;
}
