-- The states of graphs: those of subgraphs beside the thread's own, and what tasks gave on top of a state.

ALTER TABLE checkpoints ADD COLUMN namespace TEXT NOT NULL DEFAULT '';   -- of a subgraph; empty: the thread's own
ALTER TABLE checkpoints ADD COLUMN outside INTEGER NOT NULL DEFAULT 0;   -- put from outside any attempt

-- A history is in the order in which its rows were stored: the ids of graphs and ours do not compare.
DROP INDEX checkpoints_of_thread;
CREATE INDEX checkpoints_of_thread ON checkpoints (owner, thread_id, namespace);

-- But for a subgraph's: its ids are all of one kind, and one may be stored before that of the step which it belongs to.
CREATE INDEX checkpoints_inner ON checkpoints (owner, thread_id, namespace, checkpoint_id) WHERE namespace > '';

-- A run that is not in `runs` is found by what was put for it. The others cost this index nothing.
CREATE INDEX checkpoints_outside ON checkpoints (owner, run_id) WHERE outside = 1 AND run_id IS NOT NULL;

CREATE TABLE pending_writes (
    owner     TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    namespace TEXT NOT NULL,
    on_id     TEXT NOT NULL,                   -- the id by which the runtime knows the state
    task_id   TEXT NOT NULL,
    idx       INTEGER NOT NULL,
    aside     TEXT NOT NULL DEFAULT '',        -- another run than its own that settled or replaced it; empty: it counts
    channel   TEXT NOT NULL,
    value     BLOB NOT NULL,
    path      TEXT NOT NULL,
    run_id    TEXT NOT NULL,                   -- the run that gave it; empty: from outside
    PRIMARY KEY (owner, thread_id, namespace, on_id, task_id, idx, aside)
) STRICT, WITHOUT ROWID;

CREATE INDEX pending_writes_aside ON pending_writes (owner, thread_id, aside) WHERE aside <> '';

-- What a copied thread has of the states of subgraphs: those that were there when the copy was made.
CREATE TABLE inherited (
    checkpoint_id TEXT NOT NULL,
    owner         TEXT NOT NULL,
    thread_id     TEXT NOT NULL,               -- the copy
    namespace     TEXT NOT NULL,
    source        TEXT NOT NULL,               -- the thread on which the checkpoint was made
    gone          INTEGER NOT NULL DEFAULT 0,  -- not shown any more; what is may be stored as differences to it
    PRIMARY KEY (checkpoint_id, owner, thread_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX inherited_of_thread ON inherited (owner, thread_id, namespace, checkpoint_id);
CREATE INDEX inherited_from ON inherited (owner, source);
