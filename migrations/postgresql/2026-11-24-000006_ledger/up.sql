-- When the server no longer had it. STORED and gone: held for a while, since it may turn up in another folder.
ALTER TABLE placements ADD COLUMN gone_at BIGINT;
-- When it was first set aside.
ALTER TABLE placements ADD COLUMN failed_at BIGINT;
UPDATE placements SET failed_at = 0 WHERE state = 'FAILED';
-- What a label says that stands for a folder, as at Gmail, where all mail lies in one: roles, by commas.
ALTER TABLE placements ADD COLUMN labels TEXT;
CREATE INDEX placements_held ON placements (folder_id) WHERE gone_at IS NOT NULL AND state = 'STORED';
-- Epochs that began without a look in between at which the UIDs were the same.
ALTER TABLE folders ADD COLUMN epochs_in_row BIGINT NOT NULL DEFAULT 0;
-- When somebody asked for a comparison with the server, when one was last made, and what it found before it was put right:
-- counts, and JSON with the UIDs of each folder.
ALTER TABLE mailbox_sync ADD COLUMN reconcile_asked_at BIGINT;
ALTER TABLE mailbox_sync ADD COLUMN reconciled_at BIGINT;
ALTER TABLE mailbox_sync ADD COLUMN missing_here BIGINT;
ALTER TABLE mailbox_sync ADD COLUMN missing_there BIGINT;
ALTER TABLE mailbox_sync ADD COLUMN reconcile_report TEXT;
