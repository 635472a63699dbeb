-- A mail that is sent again although an earlier try may have gone out: whatever becomes of this one, that one still may have.
ALTER TABLE drafts ADD COLUMN may_be_out BOOLEAN NOT NULL DEFAULT FALSE;
