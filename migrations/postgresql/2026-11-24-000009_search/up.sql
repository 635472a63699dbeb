-- Searching: documents of mails and items, the words that they have, and what waits to be indexed. All of it is made of
-- other tables and of raw mail, so that backups leave it out.

-- How the index was made: by another version than the program's it is made anew.
CREATE TABLE search_state (id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL);
INSERT INTO search_state (id, version) VALUES (1, 0);

CREATE TABLE search_docs (
  id BIGINT NOT NULL PRIMARY KEY,  -- by time: seconds since 1970, then the lower bits of what it is about
  kind TEXT NOT NULL,              -- EMAIL, LEAD, DEAL, CONTACT
  subject_id BIGINT NOT NULL,      -- the email's or the item's
  at BIGINT NOT NULL,              -- when the email was received, or the item made
  words tsvector NOT NULL          -- with the zones as weights
);
CREATE UNIQUE INDEX search_docs_subject ON search_docs (kind, subject_id);
CREATE INDEX search_docs_words ON search_docs USING gin (words);

-- What waits to be indexed, filled by the transactions that make or change it: nothing is left out, whatever ends when.
CREATE TABLE search_queue (
  seq BIGINT NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind TEXT NOT NULL,              -- EMAIL or ITEM
  subject_id BIGINT NOT NULL,
  tries BIGINT NOT NULL
);

CREATE FUNCTION search_emails_came() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) SELECT 'EMAIL', id, 0 FROM came;
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_emails_came AFTER INSERT ON emails REFERENCING NEW TABLE AS came
  FOR EACH STATEMENT EXECUTE FUNCTION search_emails_came();

-- What is taken out of a mail is found no more from that moment on.
CREATE FUNCTION search_email_changed() RETURNS trigger AS $$
BEGIN
  DELETE FROM search_docs WHERE kind = 'EMAIL' AND subject_id = NEW.id;
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('EMAIL', NEW.id, 0);
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_email_changed AFTER UPDATE OF raw_hash ON emails
  FOR EACH ROW WHEN (NEW.raw_hash <> OLD.raw_hash) EXECUTE FUNCTION search_email_changed();

CREATE FUNCTION search_emails_went() RETURNS trigger AS $$
BEGIN
  DELETE FROM search_docs d USING went WHERE d.kind = 'EMAIL' AND d.subject_id = went.id;
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_emails_went AFTER DELETE ON emails REFERENCING OLD TABLE AS went
  FOR EACH STATEMENT EXECUTE FUNCTION search_emails_went();

CREATE FUNCTION search_items_came() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) SELECT 'ITEM', id, 0 FROM came;
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_items_came AFTER INSERT ON items REFERENCING NEW TABLE AS came
  FOR EACH STATEMENT EXECUTE FUNCTION search_items_came();

CREATE FUNCTION search_item_changed() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.id, 0);
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_item_changed AFTER UPDATE OF title, name, company ON items
  FOR EACH ROW EXECUTE FUNCTION search_item_changed();

CREATE FUNCTION search_items_went() RETURNS trigger AS $$
BEGIN
  DELETE FROM search_docs d USING went WHERE d.kind = went.kind AND d.subject_id = went.id;
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_items_went AFTER DELETE ON items REFERENCING OLD TABLE AS went
  FOR EACH STATEMENT EXECUTE FUNCTION search_items_went();

CREATE FUNCTION search_addresses_came() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) SELECT DISTINCT 'ITEM', item_id, 0 FROM came;
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_addresses_came AFTER INSERT ON item_addresses REFERENCING NEW TABLE AS came
  FOR EACH STATEMENT EXECUTE FUNCTION search_addresses_came();

CREATE FUNCTION search_address_changed() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.item_id, 0);
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_address_changed AFTER UPDATE OF address ON item_addresses
  FOR EACH ROW EXECUTE FUNCTION search_address_changed();

CREATE FUNCTION search_addresses_went() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) SELECT DISTINCT 'ITEM', item_id, 0 FROM went;
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_addresses_went AFTER DELETE ON item_addresses REFERENCING OLD TABLE AS went
  FOR EACH STATEMENT EXECUTE FUNCTION search_addresses_went();

CREATE FUNCTION search_note_came() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', NEW.item_id, 0);
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_note_came AFTER INSERT ON timeline_entries
  FOR EACH ROW WHEN (NEW.kind = 'NOTE_ADDED') EXECUTE FUNCTION search_note_came();

CREATE FUNCTION search_note_changed() RETURNS trigger AS $$
BEGIN
  INSERT INTO search_queue (kind, subject_id, tries) VALUES ('ITEM', OLD.item_id, 0), ('ITEM', NEW.item_id, 0);
  RETURN NULL;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER search_note_changed AFTER UPDATE OF note, item_id ON timeline_entries
  FOR EACH ROW WHEN (NEW.kind = 'NOTE_ADDED') EXECUTE FUNCTION search_note_changed();
