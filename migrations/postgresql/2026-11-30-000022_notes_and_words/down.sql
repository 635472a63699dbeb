DROP INDEX timeline_entries_notes;
