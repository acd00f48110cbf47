-- How often in a row the server died while the run executed. From 2 on the run is suspected of ending the server, and
-- executes apart from others of its kind: `ready` is 2 for it instead of 1.

ALTER TABLE runs ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;

CREATE INDEX runs_apart ON runs (losses, line, number) WHERE ready = 2;
CREATE INDEX runs_on_probation ON runs (run_id) WHERE status = 'running' AND losses >= 2;
