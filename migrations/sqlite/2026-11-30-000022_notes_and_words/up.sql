-- An item's notes are read anew with each of them, to be indexed: of its whole history they are few.
CREATE INDEX timeline_entries_notes ON timeline_entries (item_id, position) WHERE kind = 'NOTE_ADDED';
-- The words of the search index, once for each place where they stand: a search looks up what a beginning may go on as.
CREATE VIRTUAL TABLE search_words USING fts5vocab(search_index, instance);
