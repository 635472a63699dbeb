-- Packed traces can't be read by what was before: they go.
DROP TABLE routing_traces;
CREATE TABLE routing_traces (
  email_id BIGINT NOT NULL PRIMARY KEY REFERENCES emails (id) ON DELETE CASCADE,
  trace TEXT NOT NULL,
  settings_version BIGINT NOT NULL,
  judged_at BIGINT NOT NULL DEFAULT 0
);
