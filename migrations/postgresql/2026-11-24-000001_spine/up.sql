-- The tables of the whole product. Times are microseconds since 1970 (UTC); enums are the contract's own words;
-- ids come from id_blocks, so that rows of many tables can be written in batches without asking for them.

-- ── the installation ──
CREATE TABLE installation (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  id_key BYTEA NOT NULL,          -- seals ids
  cursor_key BYTEA NOT NULL,      -- seals cursors
  created_at BIGINT NOT NULL
);
CREATE TABLE id_blocks (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), next_id BIGINT NOT NULL);
-- The last position given to a timeline entry or change: taken as a transaction's last step, so that positions follow commit order.
CREATE TABLE positions (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), last BIGINT NOT NULL);
CREATE TABLE rights_epoch (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), epoch BIGINT NOT NULL);
CREATE TABLE crm_settings (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  leads_enabled BOOLEAN NOT NULL,
  sender_limit_per_hour BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE TABLE crm_exclusions (pattern TEXT NOT NULL PRIMARY KEY);

-- ── people and rights ──
CREATE TABLE departments (
  id BIGINT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  parent_id BIGINT REFERENCES departments (id)
);
CREATE INDEX departments_parent ON departments (parent_id);
CREATE TABLE users (
  id BIGINT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  address TEXT NOT NULL,
  address_key TEXT NOT NULL UNIQUE,
  password_hash TEXT,
  avatar_url TEXT,
  department_id BIGINT REFERENCES departments (id),
  time_zone TEXT NOT NULL,
  is_active BOOLEAN NOT NULL,
  is_administrator BOOLEAN NOT NULL,
  session_version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE INDEX users_department ON users (department_id, id);
CREATE INDEX users_name ON users (name, id);
CREATE TABLE stages (
  id BIGINT NOT NULL PRIMARY KEY,
  item_kind TEXT NOT NULL,
  name TEXT NOT NULL,
  kind TEXT NOT NULL,
  position BIGINT NOT NULL
);
CREATE TABLE roles (
  id BIGINT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  may_change_crm_settings BOOLEAN NOT NULL,
  built_in TEXT UNIQUE,           -- the word that code knows a built-in role by
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE TABLE role_permissions (
  role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
  item_kind TEXT NOT NULL,
  action TEXT NOT NULL,
  stage_id BIGINT REFERENCES stages (id) ON DELETE CASCADE,
  level TEXT NOT NULL
);
CREATE UNIQUE INDEX role_permissions_line ON role_permissions (role_id, item_kind, action, COALESCE(stage_id, 0));
CREATE TABLE role_hidden_fields (
  role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
  field TEXT NOT NULL,
  PRIMARY KEY (role_id, field)
);
CREATE TABLE role_users (
  role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  PRIMARY KEY (user_id, role_id)
);
CREATE TABLE role_departments (
  role_id BIGINT NOT NULL REFERENCES roles (id) ON DELETE CASCADE,
  department_id BIGINT NOT NULL REFERENCES departments (id) ON DELETE CASCADE,
  PRIMARY KEY (department_id, role_id)
);

-- ── credentials: only hashes of tokens are kept ──
CREATE TABLE refresh_tokens (
  id BIGINT NOT NULL PRIMARY KEY,
  family_id BIGINT NOT NULL,      -- all that one log-in led to; revoked as a whole when one is used twice
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  token_hash BYTEA NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at BIGINT,
  revoked_at BIGINT
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family_id);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE TABLE api_tokens (
  id BIGINT NOT NULL PRIMARY KEY,
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  token_hash BYTEA NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT
);
CREATE TABLE one_time_links (
  id BIGINT NOT NULL PRIMARY KEY,
  purpose TEXT NOT NULL,          -- SETUP or PASSWORD
  user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
  token_hash BYTEA NOT NULL UNIQUE,
  expires_at BIGINT NOT NULL,
  used_at BIGINT
);
CREATE TABLE log_in_attempts (subject TEXT NOT NULL, at BIGINT NOT NULL);
CREATE INDEX log_in_attempts_subject ON log_in_attempts (subject, at);

-- ── mailboxes ──
CREATE TABLE mailboxes (
  id BIGINT NOT NULL PRIMARY KEY,
  address TEXT NOT NULL,
  address_key TEXT NOT NULL,
  connector_id BIGINT NOT NULL REFERENCES users (id),
  imap_host TEXT NOT NULL,
  imap_port BIGINT NOT NULL,
  imap_security TEXT NOT NULL,
  smtp_host TEXT,
  smtp_port BIGINT,
  smtp_security TEXT,
  login TEXT NOT NULL,
  secret_kind TEXT,
  secret_sealed TEXT,             -- NULL once it is disconnected
  disconnected_at BIGINT,
  spam_folder_id BIGINT,
  history_since BIGINT,           -- NULL: everything
  connected_at BIGINT NOT NULL,
  crm_integration BOOLEAN NOT NULL,
  incoming_creates TEXT NOT NULL,
  outgoing_creates TEXT NOT NULL,
  existing_client_routing TEXT NOT NULL,
  replies_follow_thread BOOLEAN NOT NULL,
  source TEXT NOT NULL,
  vcard_contacts BOOLEAN NOT NULL,
  save_since BIGINT,
  queue_pointer BIGINT NOT NULL,
  settings_version BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE UNIQUE INDEX mailboxes_address ON mailboxes (address_key) WHERE disconnected_at IS NULL;
CREATE INDEX mailboxes_order ON mailboxes (address, id);
CREATE TABLE mailbox_aliases (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  address_key TEXT NOT NULL,
  PRIMARY KEY (mailbox_id, address_key)
);
CREATE INDEX mailbox_aliases_address ON mailbox_aliases (address_key);
CREATE TABLE mailbox_queue (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  user_id BIGINT NOT NULL REFERENCES users (id),
  PRIMARY KEY (mailbox_id, position)
);
CREATE TABLE mailbox_always_new_lead (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  pattern TEXT NOT NULL,
  PRIMARY KEY (mailbox_id, pattern)
);
CREATE TABLE mailbox_users (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  PRIMARY KEY (mailbox_id, user_id)
);
CREATE INDEX mailbox_users_user ON mailbox_users (user_id);
CREATE TABLE mailbox_departments (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  department_id BIGINT NOT NULL REFERENCES departments (id) ON DELETE CASCADE,
  PRIMARY KEY (mailbox_id, department_id)
);
CREATE INDEX mailbox_departments_department ON mailbox_departments (department_id);
CREATE TABLE mailbox_sync (
  mailbox_id BIGINT NOT NULL PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
  stage TEXT NOT NULL,
  last_success_at BIGINT,
  error_code TEXT,
  error_message TEXT,
  error_advice TEXT,
  error_at BIGINT
);
CREATE TABLE mailbox_warnings (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  warning TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (mailbox_id, warning)
);
CREATE TABLE folders (
  id BIGINT NOT NULL PRIMARY KEY,
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  path TEXT NOT NULL,
  role TEXT,
  is_synced BOOLEAN NOT NULL,
  epoch BIGINT NOT NULL,
  uid_validity BIGINT,
  discovered_next_uid BIGINT NOT NULL,
  highest_modseq BIGINT,
  is_gone BOOLEAN NOT NULL,
  UNIQUE (mailbox_id, path)
);

-- ── mail ──
CREATE TABLE raw_mails (
  hash BYTEA NOT NULL PRIMARY KEY, -- BLAKE3 of the bytes
  object_key TEXT NOT NULL,        -- the object that holds them
  byte_offset BIGINT NOT NULL,
  byte_length BIGINT NOT NULL
);
CREATE TABLE threads (
  id BIGINT NOT NULL PRIMARY KEY,
  subject TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
-- One logical message, whatever mailboxes hold a copy of it (R7).
CREATE TABLE messages (
  id BIGINT NOT NULL PRIMARY KEY,
  content_key BYTEA NOT NULL UNIQUE,
  message_id_header TEXT,
  subject_base TEXT NOT NULL,
  thread_id BIGINT NOT NULL REFERENCES threads (id),
  received_at BIGINT NOT NULL
);
CREATE INDEX messages_header ON messages (message_id_header);
CREATE INDEX messages_thread ON messages (thread_id, received_at, id);
-- What a message names as its parents, nearest first.
CREATE TABLE message_references (
  message_id BIGINT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  referenced TEXT NOT NULL,
  is_reply_to BOOLEAN NOT NULL,   -- from In-Reply-To
  PRIMARY KEY (message_id, position)
);
CREATE INDEX message_references_referenced ON message_references (referenced);
-- One message of one mailbox.
CREATE TABLE emails (
  id BIGINT NOT NULL PRIMARY KEY,
  message_id BIGINT NOT NULL REFERENCES messages (id),
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id),
  raw_hash BYTEA NOT NULL REFERENCES raw_mails (hash),
  direction TEXT NOT NULL,
  outcome TEXT NOT NULL,
  from_name TEXT,
  from_address TEXT,
  subject TEXT NOT NULL,
  preview TEXT NOT NULL,
  received_at BIGINT NOT NULL,
  internal_date BIGINT NOT NULL,
  saved_at BIGINT,
  primary_item_id BIGINT,
  automatic TEXT,                  -- what makes it automatic, in a word
  problems TEXT NOT NULL,          -- words, by commas
  version BIGINT NOT NULL,
  UNIQUE (mailbox_id, message_id)
);
CREATE INDEX emails_message ON emails (message_id);
CREATE INDEX emails_mailbox ON emails (mailbox_id, received_at, id);
CREATE INDEX emails_received ON emails (received_at, id);
CREATE TABLE placements (
  id BIGINT NOT NULL PRIMARY KEY,
  folder_id BIGINT NOT NULL REFERENCES folders (id) ON DELETE CASCADE,
  epoch BIGINT NOT NULL,
  uid BIGINT NOT NULL,
  state TEXT NOT NULL,             -- NEW, STORED, FAILED, GONE, OLD (before the history that was asked for)
  size_bytes BIGINT NOT NULL,
  internal_date BIGINT,
  is_seen BOOLEAN NOT NULL,
  is_backfill BOOLEAN NOT NULL,
  tries BIGINT NOT NULL,
  next_try_at BIGINT,
  error TEXT,
  raw_hash BYTEA,                  -- of a quarantined mail whose bytes are known
  email_id BIGINT REFERENCES emails (id),
  UNIQUE (folder_id, epoch, uid)
);
CREATE INDEX placements_open ON placements (folder_id, epoch, uid) WHERE state = 'NEW';
CREATE INDEX placements_failed ON placements (folder_id) WHERE state = 'FAILED';
CREATE INDEX placements_email ON placements (email_id);
CREATE TABLE participants (
  email_id BIGINT NOT NULL REFERENCES emails (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  position BIGINT NOT NULL,
  name TEXT,
  address TEXT NOT NULL,
  address_key TEXT,
  PRIMARY KEY (email_id, role, position)
);
CREATE INDEX participants_address ON participants (address_key, email_id);
CREATE TABLE attachments (
  id BIGINT NOT NULL PRIMARY KEY,
  email_id BIGINT NOT NULL REFERENCES emails (id) ON DELETE CASCADE,
  part_index BIGINT NOT NULL,
  name TEXT NOT NULL,
  media_type TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  content_id TEXT,
  is_inline BOOLEAN NOT NULL,
  UNIQUE (email_id, part_index)
);
CREATE TABLE routing_traces (
  email_id BIGINT NOT NULL PRIMARY KEY REFERENCES emails (id) ON DELETE CASCADE,
  trace TEXT NOT NULL,             -- JSON: steps, reason
  settings_version BIGINT NOT NULL
);
CREATE TABLE sender_counts (
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  address_key TEXT NOT NULL,
  hour BIGINT NOT NULL,            -- hours since 1970
  count BIGINT NOT NULL,
  PRIMARY KEY (mailbox_id, address_key, hour)
);

-- ── items ──
CREATE TABLE items (
  id BIGINT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  title TEXT NOT NULL,
  responsible_id BIGINT NOT NULL REFERENCES users (id),
  open_to_everyone BOOLEAN NOT NULL,
  stage_id BIGINT REFERENCES stages (id),
  is_open BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  last_activity_at BIGINT NOT NULL,
  name TEXT,
  source TEXT,
  company TEXT,
  amount TEXT,
  currency TEXT,
  origin_lead_id BIGINT REFERENCES items (id),
  is_extra_lead BOOLEAN NOT NULL,  -- a lead that R15 made for one mail of a known client
  version BIGINT NOT NULL
);
CREATE INDEX items_created ON items (kind, created_at, id);
CREATE INDEX items_activity ON items (kind, last_activity_at, id);
CREATE INDEX items_title ON items (kind, title, id);
CREATE INDEX items_responsible ON items (responsible_id, kind, created_at, id);
CREATE TABLE item_addresses (
  item_id BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  address TEXT NOT NULL,
  address_key TEXT NOT NULL,
  is_undeliverable BOOLEAN NOT NULL,
  PRIMARY KEY (item_id, position),
  UNIQUE (item_id, address_key)
);
CREATE INDEX item_addresses_address ON item_addresses (address_key, item_id);
CREATE TABLE item_phones (
  item_id BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  phone TEXT NOT NULL,
  PRIMARY KEY (item_id, position)
);
CREATE TABLE deal_contacts (
  deal_id BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  contact_id BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  PRIMARY KEY (deal_id, contact_id)
);
CREATE INDEX deal_contacts_contact ON deal_contacts (contact_id, deal_id);
CREATE TABLE lead_conversions (
  lead_id BIGINT NOT NULL PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
  at BIGINT NOT NULL,
  by_user_id BIGINT REFERENCES users (id),
  deal_id BIGINT REFERENCES items (id),
  contact_id BIGINT REFERENCES items (id)
);
CREATE INDEX lead_conversions_deal ON lead_conversions (deal_id);

-- ── links, activities, timeline ──
CREATE TABLE email_links (
  email_id BIGINT NOT NULL REFERENCES emails (id) ON DELETE CASCADE,
  item_id BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  is_primary BOOLEAN NOT NULL,
  received_at BIGINT NOT NULL,     -- the email's, for the item's list
  linked_at BIGINT NOT NULL,
  linked_by BIGINT REFERENCES users (id),
  PRIMARY KEY (email_id, item_id)
);
CREATE INDEX email_links_item ON email_links (item_id, received_at, email_id);
CREATE UNIQUE INDEX email_links_primary ON email_links (email_id) WHERE is_primary;
CREATE TABLE link_changes (
  id BIGINT NOT NULL PRIMARY KEY,
  email_id BIGINT NOT NULL REFERENCES emails (id) ON DELETE CASCADE,
  at BIGINT NOT NULL,
  by_user_id BIGINT REFERENCES users (id),
  from_item_id BIGINT REFERENCES items (id) ON DELETE SET NULL,
  to_item_id BIGINT REFERENCES items (id) ON DELETE SET NULL,
  was_primary BOOLEAN NOT NULL
);
CREATE INDEX link_changes_email ON link_changes (email_id, at, id);
CREATE TABLE activities (
  id BIGINT NOT NULL PRIMARY KEY,
  message_id BIGINT NOT NULL UNIQUE REFERENCES messages (id),
  responsible_id BIGINT NOT NULL REFERENCES users (id),
  state TEXT NOT NULL,
  scheduled_at BIGINT NOT NULL,
  deadline BIGINT,
  completed_at BIGINT,
  completed_by BIGINT REFERENCES users (id),
  version BIGINT NOT NULL
);
CREATE INDEX activities_responsible ON activities (responsible_id, state, deadline, id);
CREATE TABLE timeline_entries (
  position BIGINT NOT NULL PRIMARY KEY,
  item_id BIGINT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  at BIGINT NOT NULL,
  actor_id BIGINT REFERENCES users (id),
  email_id BIGINT REFERENCES emails (id),
  message_id BIGINT REFERENCES messages (id),
  activity_id BIGINT REFERENCES activities (id),
  other_item_id BIGINT,            -- where a link came from or went
  from_user_id BIGINT REFERENCES users (id),
  to_user_id BIGINT REFERENCES users (id),
  from_stage_id BIGINT REFERENCES stages (id),
  to_stage_id BIGINT REFERENCES stages (id),
  note TEXT
);
CREATE INDEX timeline_entries_item ON timeline_entries (item_id, position);
CREATE INDEX timeline_entries_email ON timeline_entries (email_id);
-- One entry an item for one message, whatever mailboxes it came to (R7).
CREATE UNIQUE INDEX timeline_entries_message ON timeline_entries (item_id, message_id) WHERE kind IN ('EMAIL_RECEIVED', 'EMAIL_SENT');
-- What took something off, or put it on, somebody's screen: live streams read it beside the entries (R29, R38).
CREATE TABLE timeline_changes (
  position BIGINT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,              -- LINKS, ITEM, RIGHTS
  at BIGINT NOT NULL,
  email_id BIGINT,
  item_id BIGINT,
  before_json TEXT                 -- the linked items, or the item's facts, as they were
);

-- ── moving parts ──
CREATE TABLE outbox (
  position BIGINT NOT NULL PRIMARY KEY,
  topics TEXT NOT NULL             -- JSON list of what to wake
);
CREATE TABLE jobs (
  id BIGINT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,
  job_key TEXT NOT NULL,
  payload TEXT NOT NULL,
  run_at BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  claimed_until BIGINT,
  last_error TEXT,
  UNIQUE (kind, job_key)
);
CREATE INDEX jobs_run ON jobs (run_at);
CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  holder TEXT NOT NULL,
  fence BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE TABLE idempotency_keys (
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  mutation TEXT NOT NULL,
  idempotency_key TEXT NOT NULL,
  input_hash BYTEA NOT NULL,
  result TEXT NOT NULL,            -- JSON list of ids; the answer is resolved anew
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, mutation, idempotency_key)
);
CREATE TABLE audit_log (
  id BIGINT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  actor_id BIGINT,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL,
  previous_hash BYTEA NOT NULL,
  hash BYTEA NOT NULL
);

-- ── what every installation starts with ──
INSERT INTO id_blocks (id, next_id) VALUES (1, 1000);
INSERT INTO positions (id, last) VALUES (1, 0);
INSERT INTO rights_epoch (id, epoch) VALUES (1, 1);
INSERT INTO crm_settings (id, leads_enabled, sender_limit_per_hour, version) VALUES (1, TRUE, 2000, 1);
INSERT INTO stages (id, item_kind, name, kind, position) VALUES
  (1, 'LEAD', 'New', 'OPEN', 1), (2, 'LEAD', 'In process', 'OPEN', 2), (3, 'LEAD', 'Converted', 'CONVERTED', 3), (4, 'LEAD', 'Junk', 'JUNK', 4),
  (5, 'DEAL', 'New', 'OPEN', 1), (6, 'DEAL', 'Preparation', 'OPEN', 2), (7, 'DEAL', 'Proposal', 'OPEN', 3), (8, 'DEAL', 'Won', 'WON', 4), (9, 'DEAL', 'Lost', 'LOST', 5);
INSERT INTO roles (id, name, may_change_crm_settings, built_in, created_at, version) VALUES (20, 'Employee', FALSE, 'EMPLOYEE', 0, 1);
INSERT INTO role_permissions (role_id, item_kind, action, stage_id, level) VALUES
  (20, 'LEAD', 'READ', NULL, 'OWN'), (20, 'LEAD', 'CREATE', NULL, 'OWN'), (20, 'LEAD', 'UPDATE', NULL, 'OWN'),
  (20, 'DEAL', 'READ', NULL, 'OWN'), (20, 'DEAL', 'CREATE', NULL, 'OWN'), (20, 'DEAL', 'UPDATE', NULL, 'OWN'),
  (20, 'CONTACT', 'READ', NULL, 'OWN'), (20, 'CONTACT', 'CREATE', NULL, 'OWN'), (20, 'CONTACT', 'UPDATE', NULL, 'OWN');
