-- What is open to everyone is looked up by whoever sees little beside it.
CREATE INDEX items_open_to_everyone ON items (id) WHERE open_to_everyone;
