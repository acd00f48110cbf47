-- Assistants: each row points to one of its versions, which never change. A default assistant has rows only where its
-- owner has changed it.

CREATE TABLE assistants (
    owner        TEXT NOT NULL,
    assistant_id TEXT NOT NULL,
    version      INTEGER NOT NULL,             -- the one that counts
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (owner, assistant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE assistant_versions (
    owner        TEXT NOT NULL,
    assistant_id TEXT NOT NULL,
    version      INTEGER NOT NULL CHECK (version > 0),
    agent_id     TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    name         TEXT NOT NULL,
    folded       TEXT NOT NULL,                -- the name as searches compare it
    description  TEXT,
    metadata     BLOB NOT NULL,
    config       BLOB NOT NULL,
    context      BLOB NOT NULL,
    PRIMARY KEY (owner, assistant_id, version)
) STRICT, WITHOUT ROWID;

-- Since when an agent has been offered: default assistants are as old.
ALTER TABLE agents ADD COLUMN published_at INTEGER NOT NULL DEFAULT 0;
UPDATE agents SET published_at = updated_at;
