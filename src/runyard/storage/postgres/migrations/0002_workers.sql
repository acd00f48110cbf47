-- Several servers on one database: a run tells who executes it, a worker what it can execute. Both are read by those
-- who know of them only, so that servers of before go on meanwhile.

ALTER TABLE runs ADD COLUMN worker text COLLATE "C";  -- who executes it, or did so last
ALTER TABLE workers ADD COLUMN agents text[] NOT NULL DEFAULT '{}';
