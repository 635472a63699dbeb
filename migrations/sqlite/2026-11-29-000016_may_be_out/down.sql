ALTER TABLE drafts DROP COLUMN may_be_out;
