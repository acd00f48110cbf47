-- Crons. `next_at` is the next firing: whoever creates its run moves it on, in the same transaction.

CREATE TABLE crons (
    owner            TEXT NOT NULL,
    cron_id          TEXT NOT NULL,
    assistant_id     TEXT NOT NULL,
    thread_id        TEXT,                     -- NULL: each run has a thread of its own
    schedule         TEXT NOT NULL,
    timezone         TEXT,
    end_time         INTEGER,
    enabled          INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    on_run_completed TEXT CHECK (on_run_completed IN ('delete', 'keep')),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    payload          BLOB NOT NULL,            -- what its runs are asked for
    metadata         BLOB NOT NULL,
    next_at          INTEGER,
    fired_at         INTEGER,                  -- its last firing
    revision         INTEGER NOT NULL,         -- counts changes from outside
    last_error       TEXT,                     -- why the last firing made no run
    PRIMARY KEY (owner, cron_id),
    CHECK (next_at IS NULL OR enabled = 1)
) STRICT, WITHOUT ROWID;

CREATE INDEX crons_due ON crons (next_at, owner, cron_id) WHERE next_at IS NOT NULL;
CREATE INDEX crons_of_thread ON crons (owner, thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX crons_of_assistant ON crons (owner, assistant_id);
