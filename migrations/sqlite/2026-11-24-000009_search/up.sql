-- Searching: documents of mails and items, the words that they have, and what waits to be indexed. All of it is made of
-- other tables and of raw mail, so that backups leave it out.

-- How the index was made: by another version than the program's it is made anew.
CREATE TABLE search_state (id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL);
INSERT INTO search_state (id, version) VALUES (1, 0);

CREATE TABLE search_docs (
  id INTEGER NOT NULL PRIMARY KEY, -- by time: seconds since 1970, then the lower bits of what it is about
  kind TEXT NOT NULL,              -- EMAIL, LEAD, DEAL, CONTACT
  subject_id BIGINT NOT NULL,      -- the email's or the item's
  at BIGINT NOT NULL               -- when the email was received, or the item made
);
CREATE UNIQUE INDEX search_docs_subject ON search_docs (kind, subject_id);
-- Words come ready, with single spaces between them: whatever is no space is a part of one.
CREATE VIRTUAL TABLE search_index USING fts5 (
  title, sender, recipients, text,
  content = '', contentless_delete = 1, prefix = '2 3',
  tokenize = "unicode61 remove_diacritics 0 categories 'L* M* N* P* S* C*'"
);

-- What waits to be indexed, filled by the transactions that make or change it: nothing is left out, whatever ends when.
CREATE TABLE search_queue (
  seq INTEGER NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL,              -- EMAIL or ITEM
  subject_id BIGINT NOT NULL,
  tries BIGINT NOT NULL
);
CREATE TRIGGER search_email_came AFTER INSERT ON emails
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('EMAIL', NEW.id, 0);
END;
-- What is taken out of a mail is found no more from that moment on.
CREATE TRIGGER search_email_changed AFTER UPDATE OF raw_hash ON emails WHEN NEW.raw_hash <> OLD.raw_hash
BEGIN
  DELETE FROM search_index WHERE rowid IN (SELECT id FROM search_docs WHERE kind = 'EMAIL' AND subject_id = NEW.id);
  DELETE FROM search_docs WHERE kind = 'EMAIL' AND subject_id = NEW.id;
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('EMAIL', NEW.id, 0);
END;
CREATE TRIGGER search_email_went AFTER DELETE ON emails
BEGIN
  DELETE FROM search_index WHERE rowid IN (SELECT id FROM search_docs WHERE kind = 'EMAIL' AND subject_id = OLD.id);
  DELETE FROM search_docs WHERE kind = 'EMAIL' AND subject_id = OLD.id;
END;
CREATE TRIGGER search_item_came AFTER INSERT ON items
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.id, 0);
END;
CREATE TRIGGER search_item_changed AFTER UPDATE OF title, name, company ON items
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.id, 0);
END;
CREATE TRIGGER search_item_went AFTER DELETE ON items
BEGIN
  DELETE FROM search_index WHERE rowid IN (SELECT id FROM search_docs WHERE kind = OLD.kind AND subject_id = OLD.id);
  DELETE FROM search_docs WHERE kind = OLD.kind AND subject_id = OLD.id;
END;
CREATE TRIGGER search_address_came AFTER INSERT ON item_addresses
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.item_id, 0);
END;
CREATE TRIGGER search_address_changed AFTER UPDATE OF address ON item_addresses
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.item_id, 0);
END;
CREATE TRIGGER search_address_went AFTER DELETE ON item_addresses
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', OLD.item_id, 0);
END;
CREATE TRIGGER search_note_came AFTER INSERT ON timeline_entries WHEN NEW.kind = 'NOTE_ADDED'
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.item_id, 0);
END;
CREATE TRIGGER search_note_changed AFTER UPDATE OF note, item_id ON timeline_entries WHEN NEW.kind = 'NOTE_ADDED'
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', OLD.item_id, 0), ('ITEM', NEW.item_id, 0);
END;
