DROP INDEX items_open_to_everyone;
