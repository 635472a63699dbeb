-- Which of the key file's keys seals secrets. Whoever seals holds the row until the commit, so that none is sealed with a key that is on its way out.
CREATE TABLE sealing_key (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), key_id TEXT NOT NULL);

-- What makes new access tokens for a mailbox (OAuth2).
CREATE TABLE mailbox_grants (
  mailbox_id BIGINT NOT NULL PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
  token_url TEXT NOT NULL,
  client_id TEXT NOT NULL,
  client_secret_sealed TEXT,
  refresh_token_sealed TEXT NOT NULL,
  expires_at BIGINT                -- of the access token; NULL: not known
);

-- When what the CRM had not saved was erased, after the mailbox was disconnected.
ALTER TABLE mailboxes ADD COLUMN erased_at BIGINT;
-- Bytes that no mail names any more are looked for by their hash.
CREATE INDEX emails_raw ON emails (raw_hash);
CREATE INDEX placements_raw ON placements (raw_hash) WHERE raw_hash IS NOT NULL;
CREATE INDEX timeline_entries_of_message ON timeline_entries (message_id) WHERE message_id IS NOT NULL;
