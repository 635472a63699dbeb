-- Traces are kept packed: see src/store/traces.
CREATE TABLE packed_traces (
  email_id BIGINT NOT NULL PRIMARY KEY REFERENCES emails (id) ON DELETE CASCADE,
  trace BLOB NOT NULL,             -- packed, or JSON that was kept before
  settings_version BIGINT NOT NULL,
  judged_at BIGINT NOT NULL
);
INSERT INTO packed_traces (email_id, trace, settings_version, judged_at)
  SELECT email_id, CAST(trace AS BLOB), settings_version, judged_at FROM routing_traces;
DROP TABLE routing_traces;
ALTER TABLE packed_traces RENAME TO routing_traces;
