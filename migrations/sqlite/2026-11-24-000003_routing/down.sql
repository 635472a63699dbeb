DROP TABLE bounce_reports;
ALTER TABLE routing_traces DROP COLUMN judged_at;
