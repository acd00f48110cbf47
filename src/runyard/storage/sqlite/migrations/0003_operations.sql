-- Retention finds its work in indexes of what there is to do, and the trace of a run outlives its server.

-- A run on a thread goes by its age, its events perhaps before it. One that goes at a time of its own is not in here.
ALTER TABLE runs ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;   -- its events were removed before it
CREATE INDEX runs_ended ON runs (trimmed, ended_at) WHERE ended_at IS NOT NULL AND expires_at IS NULL;

-- Threads on which nothing happens. Those with an open question wait for their answer, however long.
CREATE INDEX threads_idle ON threads (updated_at) WHERE deleted_at IS NULL AND hidden = 0 AND status IN ('idle', 'error');

-- Threads that may have rows nobody can reach: deleted ones, and those of which a run was undone.
ALTER TABLE threads ADD COLUMN unswept INTEGER NOT NULL DEFAULT 0;
UPDATE threads SET unswept = 1
WHERE deleted_at IS NOT NULL
   OR EXISTS (SELECT 1 FROM checkpoints AS c INDEXED BY checkpoints_gone
              WHERE c.owner = threads.owner AND c.thread_id = threads.thread_id AND c.gone = 1);
CREATE INDEX threads_unswept ON threads (owner, thread_id) WHERE unswept = 1;
DROP INDEX threads_gone;

-- A copy keeps the thread that it was made from from being swept, until it has been swept itself.
ALTER TABLE threads ADD COLUMN origin_thread TEXT;                -- the thread of the checkpoint `origin`
UPDATE threads SET origin_thread = (SELECT c.thread_id FROM checkpoints AS c WHERE c.checkpoint_id = threads.origin)
WHERE origin IS NOT NULL;
CREATE INDEX threads_copied ON threads (owner, origin_thread) WHERE origin_thread IS NOT NULL;
DROP INDEX threads_origin;

-- Where a run's spans belong, for the attempts to come. Only runs that are traced have a row.
CREATE TABLE traces (
    run_id  TEXT PRIMARY KEY,
    context TEXT NOT NULL                      -- W3C: the traceparent of the span that created the run
) STRICT, WITHOUT ROWID;
