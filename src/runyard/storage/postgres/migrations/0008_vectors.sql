-- What items mean, for searches by meaning: unit vectors, made by whoever puts an item. They go when its value does.

CREATE TABLE vectors (
    owner     text COLLATE "C" NOT NULL,
    namespace bytea NOT NULL,                     -- as in `items`
    key       text COLLATE "C" NOT NULL,
    number    integer NOT NULL,                   -- among those of the item, from 1
    vector    real[] NOT NULL CHECK (cardinality(vector) > 0),
    PRIMARY KEY (owner, namespace, key, number)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

ALTER TABLE vectors ALTER vector SET STORAGE EXTERNAL;    -- there is nothing in them to compress

-- The cosine of the angle between two unit vectors. Where the database has pgvector, statements use that instead.
CREATE FUNCTION nearness(one real[], other real[]) RETURNS double precision IMMUTABLE STRICT PARALLEL SAFE
LANGUAGE sql AS $$
    SELECT sum(pair.one::double precision * pair.other) FROM unnest(one, other) AS pair (one, other)
$$;

CREATE FUNCTION forget_vectors() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM vectors WHERE owner = OLD.owner AND namespace = OLD.namespace AND key = OLD.key;
    RETURN NULL;
END $$;

CREATE TRIGGER items_changed AFTER UPDATE OF value ON items FOR EACH ROW EXECUTE FUNCTION forget_vectors();
CREATE TRIGGER items_gone AFTER DELETE ON items FOR EACH ROW EXECUTE FUNCTION forget_vectors();
