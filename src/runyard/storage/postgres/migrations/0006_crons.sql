-- Crons. `next_at` is the next firing: whoever creates its run moves it on, in the same transaction.

CREATE TABLE crons (
    owner            text COLLATE "C" NOT NULL,
    cron_id          text COLLATE "C" NOT NULL,
    assistant_id     text COLLATE "C" NOT NULL,
    thread_id        text COLLATE "C",            -- NULL: each run has a thread of its own
    schedule         text COLLATE "C" NOT NULL,
    timezone         text COLLATE "C",
    end_time         bigint,
    enabled          smallint NOT NULL CHECK (enabled IN (0, 1)),
    on_run_completed text COLLATE "C" CHECK (on_run_completed IN ('delete', 'keep')),
    created_at       bigint NOT NULL,
    updated_at       bigint NOT NULL,
    payload          bytea NOT NULL,              -- what its runs are asked for
    metadata         bytea NOT NULL,
    next_at          bigint,
    fired_at         bigint,                      -- its last firing
    revision         bigint NOT NULL,             -- counts changes from outside
    last_error       text COLLATE "C",            -- why the last firing made no run
    PRIMARY KEY (owner, cron_id),
    CHECK (next_at IS NULL OR enabled = 1)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

CREATE INDEX crons_due ON crons (next_at, owner, cron_id) WHERE next_at IS NOT NULL;
CREATE INDEX crons_of_thread ON crons (owner, thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX crons_of_assistant ON crons (owner, assistant_id);

-- Each firing replaces a row.
ALTER TABLE crons SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
