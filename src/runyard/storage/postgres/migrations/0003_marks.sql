-- What becomes of a commit whose answer is lost: each transaction of a writer leaves a mark. The number of a transaction
-- would not do, for it may be another's after the database has crashed. A new row each time, because versions of one row
-- would have to be passed over wherever a long transaction keeps dead rows from going.

CREATE TABLE marks (
    writer    text COLLATE "C" NOT NULL,
    number    bigint NOT NULL,                    -- of the writer's transactions, from 1
    marked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (writer, number)
);
