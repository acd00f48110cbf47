-- What items mean, for searches by meaning: unit vectors, made by whoever puts an item. They go when its value does.

CREATE TABLE vectors (
    owner     TEXT NOT NULL,
    namespace BLOB NOT NULL,                   -- as in `items`
    key       TEXT NOT NULL,
    number    INTEGER NOT NULL,                -- among those of the item, from 1
    vector    BLOB NOT NULL CHECK (length(vector) > 0 AND length(vector) % 4 = 0),  -- 32-bit floats, little-endian
    PRIMARY KEY (owner, namespace, key, number)
) STRICT;                                      -- with rows by number: those of a key hold no more than a kilobyte each

CREATE TRIGGER items_changed AFTER UPDATE OF value ON items BEGIN
    DELETE FROM vectors WHERE owner = OLD.owner AND namespace = OLD.namespace AND key = OLD.key;
END;

CREATE TRIGGER items_gone AFTER DELETE ON items BEGIN
    DELETE FROM vectors WHERE owner = OLD.owner AND namespace = OLD.namespace AND key = OLD.key;
END;
