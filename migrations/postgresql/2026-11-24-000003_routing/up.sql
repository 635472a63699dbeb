-- When a mail was judged: simulations replay mail in that order.
ALTER TABLE routing_traces ADD COLUMN judged_at BIGINT NOT NULL DEFAULT 0;
-- What delivery reports say: whom a mail of ours didn't reach. Reports can come before the mail that they are about.
CREATE TABLE bounce_reports (
  message_id BIGINT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
  original TEXT NOT NULL,          -- the Message-ID of the mail that it is about
  recipient_key TEXT NOT NULL,     -- a canonical address that it didn't reach
  PRIMARY KEY (message_id, recipient_key)
);
CREATE INDEX bounce_reports_original ON bounce_reports (original);
