DROP INDEX placements_old;
DROP INDEX placements_gone;
