ALTER TABLE mailboxes DROP COLUMN read_state_follows_server;
DROP TABLE message_reads;
