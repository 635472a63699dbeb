-- What users said of mail themselves: read, or unread again. Of all else the mail server's word counts, where the mailbox's
-- settings say so.
CREATE TABLE message_reads (
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  message_id BIGINT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  is_read BOOLEAN NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (user_id, message_id)
);
CREATE INDEX message_reads_message ON message_reads (message_id);
ALTER TABLE mailboxes ADD COLUMN read_state_follows_server BOOLEAN NOT NULL DEFAULT TRUE;
