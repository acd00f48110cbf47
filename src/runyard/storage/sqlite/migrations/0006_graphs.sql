-- The states of graphs: those of subgraphs stand beside the thread's own, and what tasks give is kept until the
-- checkpoint of their step is there. The order of a history is that in which it was stored: the ids of graphs'
-- checkpoints do not compare with others.

ALTER TABLE checkpoints ADD COLUMN namespace TEXT NOT NULL DEFAULT '';

DROP INDEX checkpoints_of_thread;
CREATE INDEX checkpoints_of_thread ON checkpoints (owner, thread_id, namespace);
CREATE INDEX checkpoints_inner ON checkpoints (owner, thread_id, namespace, checkpoint_id) WHERE namespace > '';

CREATE TABLE pending_writes (
    owner     TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    on_id     TEXT NOT NULL,                   -- the name of the state on top of which it was given
    task_id   TEXT NOT NULL,
    idx       INTEGER NOT NULL,
    run_id    TEXT NOT NULL,                   -- a run's write hides that of an earlier one, and a rollback shows it again
    channel   TEXT NOT NULL,
    value     BLOB NOT NULL,
    path      TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (owner, thread_id, namespace, on_id, task_id, idx, run_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_writes_of_run ON pending_writes (run_id);
