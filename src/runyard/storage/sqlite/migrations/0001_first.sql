-- Times are microseconds since the epoch. JSON is kept as its text in BLOB columns.

CREATE TABLE threads (
    owner        TEXT NOT NULL,
    thread_id    TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    metadata     BLOB NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('idle', 'busy', 'interrupted', 'error')),
    head         TEXT,
    asking       INTEGER NOT NULL DEFAULT 0,   -- whether the head has open questions
    last_outcome TEXT,
    last_seq     INTEGER NOT NULL DEFAULT 0,
    floor_seq    INTEGER NOT NULL DEFAULT 0,
    lease        INTEGER NOT NULL DEFAULT 0,   -- the fencing token: bumped by claim, end and abandonment
    hidden       INTEGER NOT NULL DEFAULT 0,
    origin       TEXT,                         -- the checkpoint that this thread was copied from
    deleted_at   INTEGER,                      -- a tombstone: keeps the numbers, nothing else
    PRIMARY KEY (owner, thread_id),
    CHECK (last_seq >= floor_seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX threads_newest ON threads (owner, created_at, thread_id) WHERE deleted_at IS NULL AND hidden = 0;
CREATE INDEX threads_gone ON threads (deleted_at) WHERE deleted_at IS NOT NULL;
CREATE INDEX threads_origin ON threads (origin) WHERE origin IS NOT NULL;

CREATE TABLE runs (
    number          INTEGER PRIMARY KEY,       -- the order in which runs were accepted
    run_id          TEXT NOT NULL UNIQUE,
    thread_id       TEXT NOT NULL,
    owner           TEXT NOT NULL,
    agent_id        TEXT NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    metadata        BLOB NOT NULL,
    request         BLOB NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 0,
    max_attempts    INTEGER NOT NULL,
    outcome         TEXT CHECK (outcome IN ('completed', 'asked', 'cancelled', 'rolled_back', 'failed', 'timed_out',
                                            'lost', 'abandoned')),
    failure         BLOB,
    cancel          TEXT CHECK (cancel IN ('interrupt', 'rollback')),
    invocation      TEXT NOT NULL,
    base            TEXT,
    prior_head      TEXT,
    last_checkpoint TEXT,
    first_seq       INTEGER NOT NULL,
    last_seq        INTEGER NOT NULL DEFAULT 0,
    stateless       INTEGER NOT NULL DEFAULT 0,
    line            INTEGER NOT NULL,          -- the place in line: when the run joined it
    due_at          INTEGER,                   -- waits for this time; a run that never began holds no place until then
    started_at      INTEGER,
    ended_at        INTEGER,
    resumes         INTEGER NOT NULL DEFAULT 0,
    strategy        TEXT NOT NULL,
    ready           INTEGER NOT NULL DEFAULT 0, -- first in line on a free thread: may be claimed
    concurrency     INTEGER,                   -- the agent's limit when the run was created or claimed last
    expires_at      INTEGER,
    deleted_at      INTEGER,
    CHECK ((status IN ('pending', 'running')) = (ended_at IS NULL)),
    CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CHECK (ready = 0 OR (status = 'pending' AND due_at IS NULL)),
    CHECK (attempt >= 0),
    CHECK (deleted_at IS NULL OR ended_at IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX one_running_run_per_thread ON runs (owner, thread_id) WHERE status = 'running';
CREATE INDEX runs_active ON runs (owner, thread_id, line, number) WHERE status IN ('pending', 'running');
CREATE INDEX runs_ready ON runs (agent_id, line, number) WHERE ready = 1;
CREATE INDEX runs_limited ON runs (agent_id) WHERE status = 'running' AND concurrency IS NOT NULL;
CREATE INDEX runs_due ON runs (due_at) WHERE due_at IS NOT NULL AND status = 'pending';
CREATE INDEX runs_of_thread ON runs (owner, thread_id, number) WHERE deleted_at IS NULL;
CREATE INDEX runs_newest ON runs (owner, number) WHERE deleted_at IS NULL;
CREATE INDEX runs_of_agent ON runs (owner, agent_id, number) WHERE deleted_at IS NULL;
CREATE INDEX runs_rare ON runs (owner, status, number) WHERE status <> 'success' AND deleted_at IS NULL;
CREATE INDEX runs_expired ON runs (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE checkpoints (
    checkpoint_id TEXT NOT NULL UNIQUE,
    owner         TEXT NOT NULL,
    thread_id     TEXT NOT NULL,
    parent_id     TEXT,
    run_id        TEXT,
    created_at    INTEGER NOT NULL,
    step          INTEGER NOT NULL,
    source        TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('full', 'delta')),
    body          BLOB NOT NULL,
    full_size     INTEGER NOT NULL,
    chain_size    INTEGER NOT NULL,
    asked         BLOB,
    gone          INTEGER NOT NULL DEFAULT 0,  -- undone by a rollback or deleted with its thread
    CHECK (kind = 'full' OR parent_id IS NOT NULL)
) STRICT;

CREATE INDEX checkpoints_of_thread ON checkpoints (owner, thread_id, checkpoint_id);
CREATE INDEX checkpoints_gone ON checkpoints (owner, thread_id) WHERE gone = 1;

CREATE TABLE events (
    owner     TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    last_seq  INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    run_id    TEXT,
    at        INTEGER NOT NULL,
    body      BLOB NOT NULL,                   -- all events of one commit and run, in order
    PRIMARY KEY (owner, thread_id, last_seq),
    CHECK (first_seq <= last_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    invocation TEXT NOT NULL,
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    nth        INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    run_id     TEXT NOT NULL,
    body       BLOB NOT NULL,
    PRIMARY KEY (invocation, kind, name, nth)
) STRICT, WITHOUT ROWID;

CREATE INDEX records_of_run ON records (run_id);

CREATE TABLE idempotency (
    owner      TEXT NOT NULL,
    route      TEXT NOT NULL,
    key        TEXT NOT NULL,
    body_hash  TEXT NOT NULL,
    run        BLOB NOT NULL,                  -- the run as created: the answer even after its deletion
    run_id     TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (owner, route, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_oldest ON idempotency (created_at);

CREATE TABLE items (
    owner      TEXT NOT NULL,
    namespace  BLOB NOT NULL,                  -- labels in UTF-8, each ended by a NUL byte
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (owner, namespace, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX items_newest ON items (owner, updated_at);
CREATE INDEX items_expired ON items (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE agents (
    agent_id   TEXT PRIMARY KEY,
    body       BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
