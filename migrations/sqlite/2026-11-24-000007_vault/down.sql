DROP INDEX placements_raw;
DROP INDEX emails_raw;
ALTER TABLE mailboxes DROP COLUMN erased_at;
ALTER TABLE crm_settings DROP COLUMN erase_after_days;
DROP TABLE mailbox_grants;
DROP TABLE sealing_key;
