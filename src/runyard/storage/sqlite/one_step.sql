-- The verbs that every run needs, each as one statement: an INSERT into a view whose trigger does all its rows.
-- A statement gives the interpreter lock away and has to get it back, which under load costs more than its rows do.
-- The views and triggers live in the writer's connection, not in the file.

CREATE TEMP VIEW begin_alone AS
SELECT NULL AS owner, NULL AS thread_id, NULL AS run_id, NULL AS agent_id, NULL AS now, NULL AS metadata,
       NULL AS request, NULL AS max_attempts, NULL AS stateless, NULL AS strategy, NULL AS concurrency,
       NULL AS status, NULL AS attempt, NULL AS ready, NULL AS due_at, NULL AS started_at, NULL AS thread_status,
       NULL AS last_seq, NULL AS events, NULL AS thread_metadata;

-- A run on a new hidden thread. Its first attempt, if it has begun, holds lease 1.
CREATE TEMP TRIGGER begin_alone_rows INSTEAD OF INSERT ON begin_alone BEGIN
    INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden, last_seq, lease)
    VALUES (NEW.owner, NEW.thread_id, NEW.now, NEW.now, NEW.thread_metadata, NEW.thread_status, 1, NEW.last_seq, NEW.attempt);

    INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                      max_attempts, invocation, first_seq, stateless, line, due_at, started_at, strategy, ready,
                      concurrency)
    VALUES (NEW.run_id, NEW.thread_id, NEW.owner, NEW.agent_id, NEW.status, NEW.now, NEW.now, NEW.metadata,
            NEW.request, NEW.attempt, NEW.max_attempts, NEW.run_id, 0, NEW.stateless, coalesce(NEW.due_at, NEW.now),
            NEW.due_at, NEW.started_at, NEW.strategy, NEW.ready, NEW.concurrency);

    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    VALUES (NEW.owner, NEW.thread_id, NEW.last_seq, 1, NEW.run_id, NEW.now, NEW.events);
END;

CREATE TEMP VIEW begin_next AS
SELECT NULL AS owner, NULL AS thread_id, NULL AS run_id, NULL AS agent_id, NULL AS now, NULL AS metadata,
       NULL AS request, NULL AS max_attempts, NULL AS head, NULL AS first_seq, NULL AS lease, NULL AS strategy,
       NULL AS last_seq, NULL AS events;

-- A run that executes at once on a thread that nothing is in line on. An open question is given up.
CREATE TEMP TRIGGER begin_next_rows INSTEAD OF INSERT ON begin_next BEGIN
    UPDATE threads SET lease = NEW.lease, last_seq = NEW.last_seq, status = 'busy', asking = 0, updated_at = NEW.now
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id AND lease = NEW.lease - 1 AND last_seq = NEW.first_seq
      AND deleted_at IS NULL AND head IS NEW.head;
    SELECT RAISE(ABORT, 'the thread has moved on') WHERE changes() = 0;

    INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                      max_attempts, invocation, base, prior_head, first_seq, stateless, line, started_at, strategy,
                      ready)
    VALUES (NEW.run_id, NEW.thread_id, NEW.owner, NEW.agent_id, 'running', NEW.now, NEW.now, NEW.metadata,
            NEW.request, 1, NEW.max_attempts, NEW.run_id, NEW.head, NEW.head, NEW.first_seq, 0, NEW.now, NEW.now,
            NEW.strategy, 0);

    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    VALUES (NEW.owner, NEW.thread_id, NEW.last_seq, NEW.first_seq + 1, NEW.run_id, NEW.now, NEW.events);
END;

CREATE TEMP VIEW move_on AS
SELECT NULL AS owner, NULL AS thread_id, NULL AS run_id, NULL AS head, NULL AS now;

-- An attempt has come to another state.
CREATE TEMP TRIGGER move_on_rows INSTEAD OF INSERT ON move_on BEGIN
    UPDATE threads SET head = NEW.head, asking = 0, updated_at = NEW.now
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id;
    UPDATE runs SET last_checkpoint = NEW.head, updated_at = NEW.now WHERE run_id = NEW.run_id;
END;

CREATE TEMP VIEW begin_waiting AS
SELECT NULL AS owner, NULL AS thread_id, NULL AS run_id, NULL AS number, NULL AS now, NULL AS lease, NULL AS last_seq,
       NULL AS attempt, NULL AS concurrency, NULL AS base, NULL AS prior_head, NULL AS started_at, NULL AS events;

-- An attempt of a run that was in line. A new lease, and one event: that the attempt has begun. An open question is
-- answered or given up.
CREATE TEMP TRIGGER begin_waiting_rows INSTEAD OF INSERT ON begin_waiting BEGIN
    UPDATE threads SET lease = NEW.lease, last_seq = NEW.last_seq, status = 'busy', asking = 0, updated_at = NEW.now
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id AND lease = NEW.lease - 1 AND last_seq = NEW.last_seq - 1;
    SELECT RAISE(ABORT, 'the thread has moved on') WHERE changes() = 0;

    UPDATE runs
    SET status = 'running', ready = 0, attempt = NEW.attempt, updated_at = NEW.now, concurrency = NEW.concurrency,
        prior_head = NEW.prior_head, base = NEW.base, started_at = NEW.started_at
    WHERE number = NEW.number AND status = 'pending' AND ready > 0;
    SELECT RAISE(ABORT, 'the run does not wait') WHERE changes() = 0;

    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    VALUES (NEW.owner, NEW.thread_id, NEW.last_seq, NEW.last_seq, NEW.run_id, NEW.now, NEW.events);
END;

CREATE TEMP VIEW end_alone AS
SELECT NULL AS owner, NULL AS thread_id, NULL AS run_id, NULL AS lease, NULL AS now, NULL AS status,
       NULL AS outcome, NULL AS failure, NULL AS expires_at, NULL AS head, NULL AS last_checkpoint, NULL AS asking,
       NULL AS thread_status, NULL AS first_seq, NULL AS last_seq, NULL AS events, NULL AS cancel,
       NULL AS hidden;

-- The end of an attempt whose thread has nothing else in line. Guarded like the verbs that it stands for; where nobody
-- looked at the line, the thread has to be one that no other run can be on (hidden = 1).
CREATE TEMP TRIGGER end_alone_rows INSTEAD OF INSERT ON end_alone BEGIN
    UPDATE threads
    SET last_seq = NEW.last_seq, lease = lease + 1, head = NEW.head, asking = NEW.asking, last_outcome = NEW.outcome,
        status = NEW.thread_status, updated_at = NEW.now
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id AND lease = NEW.lease AND last_seq = NEW.first_seq - 1
      AND deleted_at IS NULL AND hidden >= NEW.hidden;
    SELECT RAISE(ABORT, 'the attempt has lost its lease') WHERE changes() = 0;

    UPDATE runs
    SET status = NEW.status, outcome = NEW.outcome, failure = NEW.failure, last_seq = NEW.last_seq,
        ended_at = NEW.now, updated_at = NEW.now, ready = 0, due_at = NULL, expires_at = NEW.expires_at,
        last_checkpoint = NEW.last_checkpoint
    WHERE run_id = NEW.run_id AND status = 'running' AND cancel IS NEW.cancel;
    SELECT RAISE(ABORT, 'the run has ended already, or is to be cancelled') WHERE changes() = 0;

    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    VALUES (NEW.owner, NEW.thread_id, NEW.last_seq, NEW.first_seq, NEW.run_id, NEW.now, NEW.events);
END;

CREATE TEMP VIEW give AS
SELECT NULL AS owner, NULL AS thread_id, NULL AS namespace, NULL AS on_id, NULL AS task_id, NULL AS idx,
       NULL AS channel, NULL AS value, NULL AS path, NULL AS run_id;

-- What a task of a graph gave on top of a state. What another run has given under that key is laid aside where it is
-- replaced, and comes back when this run is rolled back.
CREATE TEMP TRIGGER give_rows INSTEAD OF INSERT ON give WHEN NEW.value IS NOT NULL BEGIN
    UPDATE OR REPLACE pending_writes SET aside = NEW.run_id
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id AND namespace = NEW.namespace AND on_id = NEW.on_id
      AND task_id = NEW.task_id AND idx = NEW.idx AND aside = '' AND run_id <> NEW.run_id AND idx < 0
      AND NEW.run_id <> '';
    INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, run_id)
    VALUES (NEW.owner, NEW.thread_id, NEW.namespace, NEW.on_id, NEW.task_id, NEW.idx, NEW.channel, NEW.value,
            NEW.path, NEW.run_id)
    ON CONFLICT DO UPDATE SET channel = excluded.channel, value = excluded.value, path = excluded.path,
                              run_id = excluded.run_id
    WHERE idx < 0;
END;

-- Without a value: the write is settled, for a checkpoint holds what it gave. The run's own goes; that of another is
-- laid aside.
CREATE TEMP TRIGGER settle_rows INSTEAD OF INSERT ON give WHEN NEW.value IS NULL BEGIN
    DELETE FROM pending_writes
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id AND namespace = NEW.namespace AND on_id = NEW.on_id
      AND task_id = NEW.task_id AND idx = NEW.idx AND aside = '' AND run_id = NEW.run_id;
    UPDATE OR REPLACE pending_writes SET aside = NEW.run_id
    WHERE owner = NEW.owner AND thread_id = NEW.thread_id AND namespace = NEW.namespace AND on_id = NEW.on_id
      AND task_id = NEW.task_id AND idx = NEW.idx AND aside = '';
END;
