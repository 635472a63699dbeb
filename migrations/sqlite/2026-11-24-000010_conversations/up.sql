-- Conversations that somebody split or merged by hand. Threads come and go, so that nothing refers to their rows.
CREATE TABLE thread_changes (
  id INTEGER NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,              -- SPLIT or MERGE
  at BIGINT NOT NULL,
  by_user_id BIGINT REFERENCES users (id),
  to_thread_id BIGINT NOT NULL,
  undone_at BIGINT
);
CREATE INDEX thread_changes_to ON thread_changes (to_thread_id);
-- The messages that a change moved, each with the thread that it came from.
CREATE TABLE thread_change_messages (
  change_id BIGINT NOT NULL REFERENCES thread_changes (id) ON DELETE CASCADE,
  message_id BIGINT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  from_thread_id BIGINT NOT NULL,
  PRIMARY KEY (change_id, message_id)
);
CREATE INDEX thread_change_messages_from ON thread_change_messages (from_thread_id);
CREATE INDEX thread_change_messages_message ON thread_change_messages (message_id);


-- Days after which mail that is not in the CRM is erased; NULL: never.
ALTER TABLE mailboxes ADD COLUMN retention_days BIGINT;
-- What was erased for good does not come back with the next look at the server: only a hash of it is known.
CREATE TABLE erased_mails (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  content_key BLOB NOT NULL,
  erased_at BIGINT NOT NULL,
  PRIMARY KEY (mailbox_id, content_key)
);
