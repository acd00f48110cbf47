-- Assistants: each row points to one of its versions, which never change. A default assistant has rows only where its
-- owner has changed it.

CREATE TABLE assistants (
    owner        text COLLATE "C" NOT NULL,
    assistant_id text COLLATE "C" NOT NULL,
    version      bigint NOT NULL,                 -- the one that counts
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    PRIMARY KEY (owner, assistant_id)
);

CREATE TABLE assistant_versions (
    owner        text COLLATE "C" NOT NULL,
    assistant_id text COLLATE "C" NOT NULL,
    version      bigint NOT NULL CHECK (version > 0),
    agent_id     text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    name         text COLLATE "C" NOT NULL,
    folded       text COLLATE "C" NOT NULL,       -- the name as searches compare it
    description  text COLLATE "C",
    metadata     bytea NOT NULL,
    config       bytea NOT NULL,
    context      bytea NOT NULL,
    PRIMARY KEY (owner, assistant_id, version)
);

-- Since when an agent has been offered: default assistants are as old.
ALTER TABLE agents ADD COLUMN published_at bigint NOT NULL DEFAULT 0;
UPDATE agents SET published_at = updated_at;
