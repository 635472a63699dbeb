DROP TABLE search_words;
DROP INDEX timeline_entries_notes;
