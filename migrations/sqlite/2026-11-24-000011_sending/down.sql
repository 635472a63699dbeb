DELETE FROM timeline_entries WHERE kind = 'SENDING_CHANGED';
ALTER TABLE timeline_entries DROP COLUMN sending;
ALTER TABLE timeline_entries DROP COLUMN draft_id;
DROP TABLE draft_attachments;
DROP TABLE drafts;
