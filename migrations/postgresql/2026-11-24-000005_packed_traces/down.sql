-- Packed traces can't be read by what was before: they go.
DELETE FROM routing_traces;
ALTER TABLE routing_traces ALTER COLUMN trace TYPE TEXT USING '';
