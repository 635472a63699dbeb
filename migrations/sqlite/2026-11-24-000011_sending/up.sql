-- Mail that people write: drafts, on their way to an SMTP server, and what became of them.
CREATE TABLE drafts (
  id INTEGER NOT NULL PRIMARY KEY,
  author_id BIGINT NOT NULL REFERENCES users (id),
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id),
  kind TEXT NOT NULL,              -- NEW, REPLY, REPLY_ALL, FORWARD
  original_id BIGINT REFERENCES emails (id) ON DELETE SET NULL,
  item_id BIGINT REFERENCES items (id) ON DELETE SET NULL,
  content TEXT NOT NULL,           -- JSON: sender, recipients, subject, body, what it answers
  state TEXT NOT NULL,
  due_at BIGINT,                   -- when it goes out, or is tried again
  tries BIGINT NOT NULL,
  attempt BIGINT NOT NULL,         -- rises with each claim: what an earlier one learns is not written any more
  claimed_by TEXT,                 -- the lease under which it is being sent
  is_handed_over BOOLEAN NOT NULL, -- from here on nobody knows whether it went out, unless the server says so
  handed_over_at BIGINT,
  message_id_header TEXT UNIQUE,   -- fixed once it is queued, as its bytes are
  content_key BLOB,
  raw_hash BLOB REFERENCES raw_mails (hash),
  failures TEXT NOT NULL,          -- JSON: why it was refused, for each recipient that was
  is_append_wanted BOOLEAN NOT NULL,
  append_at BIGINT,                -- when a copy is put into Sent
  append_tries BIGINT NOT NULL,
  email_id BIGINT REFERENCES emails (id) ON DELETE SET NULL,
  sent_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE INDEX drafts_author ON drafts (author_id, updated_at, id);
CREATE INDEX drafts_due ON drafts (due_at) WHERE state = 'QUEUED';
CREATE INDEX drafts_sending ON drafts (claimed_by) WHERE state = 'SENDING';
CREATE INDEX drafts_append ON drafts (append_at) WHERE is_append_wanted;
CREATE INDEX drafts_handed_over ON drafts (mailbox_id, handed_over_at) WHERE handed_over_at IS NOT NULL;
CREATE INDEX drafts_raw ON drafts (raw_hash) WHERE raw_hash IS NOT NULL;
CREATE INDEX drafts_item ON drafts (item_id) WHERE item_id IS NOT NULL;
CREATE INDEX drafts_email ON drafts (email_id) WHERE email_id IS NOT NULL;
CREATE INDEX drafts_original ON drafts (original_id) WHERE original_id IS NOT NULL;
-- Files that go out with a draft; their bytes lie in the raw store, as mails' do.
CREATE TABLE draft_attachments (
  id INTEGER NOT NULL PRIMARY KEY,
  draft_id BIGINT NOT NULL REFERENCES drafts (id) ON DELETE CASCADE,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  raw_hash BLOB REFERENCES raw_mails (hash) -- NULL until it is uploaded
);
CREATE INDEX draft_attachments_draft ON draft_attachments (draft_id, id);
CREATE INDEX draft_attachments_raw ON draft_attachments (raw_hash) WHERE raw_hash IS NOT NULL;
-- What became of a draft, on the item's timeline.
ALTER TABLE timeline_entries ADD COLUMN draft_id BIGINT;
ALTER TABLE timeline_entries ADD COLUMN sending TEXT;
