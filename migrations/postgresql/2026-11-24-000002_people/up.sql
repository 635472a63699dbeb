-- People, stages and removal: versions for what is changed by several hands, stages that history still names,
-- histories of links that can't be taken back, exports, and an audit log that only grows.

ALTER TABLE departments ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE stages ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
-- Timeline entries name stages for ever, so that a deleted one keeps its row.
ALTER TABLE stages ADD COLUMN deleted_at BIGINT;
CREATE INDEX items_stage ON items (stage_id, id);

-- An item of the change is gone or was merged: it can't be taken back.
ALTER TABLE link_changes ADD COLUMN is_void BOOLEAN NOT NULL DEFAULT FALSE;
-- Deleting an item looks for what names it.
CREATE INDEX link_changes_from_item ON link_changes (from_item_id);
CREATE INDEX link_changes_to_item ON link_changes (to_item_id);
CREATE INDEX items_origin_lead ON items (origin_lead_id);
CREATE INDEX lead_conversions_contact ON lead_conversions (contact_id);
CREATE INDEX timeline_entries_other_item ON timeline_entries (other_item_id) WHERE other_item_id IS NOT NULL;

-- What a signed address of an export stands for; the rows themselves are read at the download.
CREATE TABLE exports (
  id BIGINT NOT NULL PRIMARY KEY,
  user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  item_kind TEXT NOT NULL,
  filter TEXT NOT NULL,            -- JSON
  expires_at BIGINT NOT NULL
);
CREATE INDEX exports_expiry ON exports (expires_at);

CREATE INDEX audit_log_actor ON audit_log (actor_id, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE INDEX audit_log_target ON audit_log (target, id);
CREATE FUNCTION audit_log_only_grows() RETURNS trigger AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only';
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER audit_log_is_not_updated BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_only_grows();
CREATE TRIGGER audit_log_is_not_deleted BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_log_only_grows();
CREATE TRIGGER audit_log_is_not_emptied BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_log_only_grows();
