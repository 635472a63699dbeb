DROP TABLE erased_mails;
ALTER TABLE mailboxes DROP COLUMN retention_days;
DROP TABLE thread_change_messages;
DROP TABLE thread_changes;
