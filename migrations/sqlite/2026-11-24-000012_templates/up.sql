-- What people don't write anew each time: templates, the names that they write under, and what stands below.
CREATE TABLE templates (
  id INTEGER NOT NULL PRIMARY KEY,
  owner_id BIGINT NOT NULL REFERENCES users (id),
  name TEXT NOT NULL,
  subject TEXT NOT NULL,
  body_text TEXT NOT NULL,
  body_html TEXT,
  sharing TEXT NOT NULL,           -- OWN, DEPARTMENT, ALL
  department_id BIGINT REFERENCES departments (id) ON DELETE SET NULL, -- whose it is shared with, and those below it
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE INDEX templates_order ON templates (name, id);
CREATE INDEX templates_owner ON templates (owner_id);
CREATE INDEX templates_department ON templates (department_id) WHERE department_id IS NOT NULL;
-- Names and addresses that a mailbox's mail may be sent under, beside its own address.
CREATE TABLE mailbox_senders (
  id INTEGER NOT NULL PRIMARY KEY,
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  position BIGINT NOT NULL,
  name TEXT,
  address TEXT NOT NULL,
  user_id BIGINT REFERENCES users (id) ON DELETE CASCADE -- who alone may use it; NULL: whoever may send as the mailbox
);
CREATE INDEX mailbox_senders_mailbox ON mailbox_senders (mailbox_id, position);
CREATE INDEX mailbox_senders_user ON mailbox_senders (user_id) WHERE user_id IS NOT NULL;
CREATE TABLE signatures (
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  mailbox_id BIGINT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
  body_text TEXT NOT NULL,
  body_html TEXT,
  PRIMARY KEY (user_id, mailbox_id)
);
CREATE INDEX signatures_mailbox ON signatures (mailbox_id);
