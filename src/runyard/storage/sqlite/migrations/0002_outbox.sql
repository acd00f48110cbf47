-- Webhooks on their way: a row per run that ended and has one, written with its end.

CREATE TABLE outbox (
    number       INTEGER PRIMARY KEY,
    delivery_id  TEXT NOT NULL UNIQUE,         -- the message's id with the receiver, the same on every try
    owner        TEXT NOT NULL,
    run_id       TEXT NOT NULL UNIQUE,         -- a run ends once
    thread_id    TEXT NOT NULL,
    url          TEXT NOT NULL,
    host         TEXT NOT NULL,                -- deliveries to one host share its places
    created_at   INTEGER NOT NULL,
    began_at     INTEGER NOT NULL,             -- when trying began: at the run's end, or when it was re-sent
    due_at       INTEGER,                      -- the next try; while one is under way, the end of its lease
    lease        INTEGER NOT NULL DEFAULT 0,   -- the fencing number: bumped by every try
    sending      INTEGER NOT NULL DEFAULT 0 CHECK (sending IN (0, 1)),
    attempts     INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    attempted_at INTEGER,
    delivered_at INTEGER,
    parked_at    INTEGER,
    last_status  INTEGER,
    last_error   TEXT,
    CHECK ((due_at IS NOT NULL) + (delivered_at IS NOT NULL) + (parked_at IS NOT NULL) = 1),
    CHECK (sending = 0 OR due_at IS NOT NULL),
    CHECK (delivered_at IS NULL OR (last_status BETWEEN 200 AND 299 AND last_error IS NULL))
) STRICT;

CREATE INDEX outbox_due ON outbox (host, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_sending ON outbox (number) WHERE sending = 1;
CREATE INDEX outbox_newest ON outbox (owner, number);
CREATE INDEX outbox_pending ON outbox (owner, number) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_parked ON outbox (owner, number) WHERE parked_at IS NOT NULL;
CREATE INDEX outbox_settled ON outbox (coalesce(delivered_at, parked_at)) WHERE due_at IS NULL;

-- What they tell. Apart from the rows above, which every try writes: these may be large, and are written once.
CREATE TABLE notices (
    number    INTEGER PRIMARY KEY,             -- that of the row in outbox
    run       BLOB NOT NULL,                   -- the run as it ended
    state     BLOB NOT NULL,                   -- the state it left, one JSON object
    questions BLOB NOT NULL                    -- its open questions, a JSON array
) STRICT;
