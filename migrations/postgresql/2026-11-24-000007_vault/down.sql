DROP INDEX timeline_entries_of_message;
DROP INDEX placements_raw;
DROP INDEX emails_raw;
ALTER TABLE mailboxes DROP COLUMN erased_at;
DROP TABLE mailbox_grants;
DROP TABLE sealing_key;
