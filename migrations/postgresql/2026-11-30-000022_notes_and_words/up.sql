-- An item's notes are read anew with each of them, to be indexed: of its whole history they are few.
CREATE INDEX timeline_entries_notes ON timeline_entries (item_id, position) WHERE kind = 'NOTE_ADDED';
