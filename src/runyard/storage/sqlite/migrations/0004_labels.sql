-- Finding runs and threads by their metadata: one row for each text at the top of it. A search takes the rows of one
-- label, newest first, and compares the rest of its filter with what they lead to.

CREATE TABLE labels (
    owner TEXT NOT NULL,
    kind  TEXT NOT NULL CHECK (kind IN ('run', 'thread')),
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    place INTEGER NOT NULL,                    -- the order of lists: a run's number, a thread's time of creation
    id    TEXT NOT NULL,
    PRIMARY KEY (owner, kind, name, value, place, id)
) STRICT, WITHOUT ROWID;

-- Metadata is JSON text in a BLOB, which SQLite would take for its own binary JSON: hence the casts. A text that is too
-- long for an index is found without one. Nothing is done for metadata that is empty, as it is for most runs.

CREATE TRIGGER runs_labelled AFTER INSERT ON runs WHEN NEW.metadata <> x'7b7d' BEGIN
    INSERT INTO labels (owner, kind, name, value, place, id)
    SELECT NEW.owner, 'run', key, value, NEW.number, NEW.run_id
    FROM json_each(CAST(NEW.metadata AS TEXT)) WHERE type = 'text' AND length(value) <= 200;
END;

CREATE TRIGGER runs_unlabelled AFTER DELETE ON runs WHEN OLD.metadata <> x'7b7d' BEGIN
    DELETE FROM labels
    WHERE owner = OLD.owner AND kind = 'run' AND place = OLD.number
      AND (name, value) IN (SELECT key, value FROM json_each(CAST(OLD.metadata AS TEXT)) WHERE type = 'text');
END;

CREATE TRIGGER threads_labelled AFTER INSERT ON threads WHEN NEW.metadata <> x'7b7d' BEGIN
    INSERT INTO labels (owner, kind, name, value, place, id)
    SELECT NEW.owner, 'thread', key, value, NEW.created_at, NEW.thread_id
    FROM json_each(CAST(NEW.metadata AS TEXT)) WHERE type = 'text' AND length(value) <= 200;
END;

CREATE TRIGGER threads_relabelled AFTER UPDATE OF metadata, created_at ON threads BEGIN
    DELETE FROM labels
    WHERE owner = OLD.owner AND kind = 'thread' AND place = OLD.created_at AND id = OLD.thread_id
      AND (name, value) IN (SELECT key, value FROM json_each(CAST(OLD.metadata AS TEXT)) WHERE type = 'text');
    INSERT INTO labels (owner, kind, name, value, place, id)
    SELECT NEW.owner, 'thread', key, value, NEW.created_at, NEW.thread_id
    FROM json_each(CAST(NEW.metadata AS TEXT)) WHERE type = 'text' AND length(value) <= 200;
END;

CREATE TRIGGER threads_unlabelled AFTER DELETE ON threads WHEN OLD.metadata <> x'7b7d' BEGIN
    DELETE FROM labels
    WHERE owner = OLD.owner AND kind = 'thread' AND place = OLD.created_at AND id = OLD.thread_id
      AND (name, value) IN (SELECT key, value FROM json_each(CAST(OLD.metadata AS TEXT)) WHERE type = 'text');
END;

INSERT INTO labels (owner, kind, name, value, place, id)
SELECT runs.owner, 'run', key, value, number, run_id
FROM runs JOIN json_each(CAST(runs.metadata AS TEXT)) WHERE json_each.type = 'text' AND length(value) <= 200;

INSERT INTO labels (owner, kind, name, value, place, id)
SELECT threads.owner, 'thread', key, value, created_at, thread_id
FROM threads JOIN json_each(CAST(threads.metadata AS TEXT)) WHERE json_each.type = 'text' AND length(value) <= 200;
