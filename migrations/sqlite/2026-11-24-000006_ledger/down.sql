ALTER TABLE mailbox_sync DROP COLUMN reconcile_report;
ALTER TABLE mailbox_sync DROP COLUMN missing_there;
ALTER TABLE mailbox_sync DROP COLUMN missing_here;
ALTER TABLE mailbox_sync DROP COLUMN reconciled_at;
ALTER TABLE mailbox_sync DROP COLUMN reconcile_asked_at;
ALTER TABLE folders DROP COLUMN epochs_in_row;
DROP INDEX placements_held;
ALTER TABLE placements DROP COLUMN failed_at;
ALTER TABLE placements DROP COLUMN gone_at;
