-- Traces are kept packed: see src/store/traces.
ALTER TABLE routing_traces ALTER COLUMN trace TYPE BYTEA USING convert_to(trace, 'UTF8');
