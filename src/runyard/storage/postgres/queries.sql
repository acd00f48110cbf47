-- Every statement of the PostgreSQL adapter, by name. The names, the values and the columns are those of the SQLite
-- adapter's. Values are `$1` where verbs give a tuple, `:name` where they give them by name. A statement with `unnest`
-- takes any number of rows, a list for each of its columns; where it changes threads, it locks them in their order.
-- Reads of a run select its columns in the order of `runs.Run`, reads of a thread in that of `threads.Thread`, reads of
-- a checkpoint in that of `checkpoints.Checkpoint`.
--
-- A plan is made once in a connection's life, perhaps while the tables are empty. So each statement leaves it one index
-- to go by: `owner || ''` and `hidden + 0` are conditions that no index is searched by, nor one left out for; a scalar
-- subquery is looked up row by row, where EXISTS may read a whole table first; and a list of runs compares and orders by
-- whole rows, `(owner, number) <= (:owner, ...)`, which is the order of one index only.

-- name: insert_thread
-- A new thread, or nothing where the id is taken.
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden)
VALUES (:owner, :thread_id, :now, :now, :metadata, 'idle', :hidden)
ON CONFLICT DO NOTHING
RETURNING 1

-- name: revive_thread
-- A deleted id is used again: its numbers continue, everything else begins anew.
UPDATE threads
SET created_at = :now, updated_at = :now, metadata = :metadata, status = 'idle', head = NULL, asking = 0,
    last_outcome = NULL, floor_seq = last_seq, lease = lease + 1, hidden = 0, origin = NULL, deleted_at = NULL,
    unswept = 1
WHERE owner = :owner AND thread_id = :thread_id AND deleted_at IS NOT NULL
RETURNING 1

-- name: thread
-- A thread's header, hidden ones too.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads
WHERE owner = $1 AND thread_id = $2 AND deleted_at IS NULL

-- name: thread_alone
-- A thread that can be seen, and that no run executes or waits on: its head, its last number, its lease.
SELECT head, last_seq, lease FROM threads
WHERE owner = $1 AND thread_id = $2 AND deleted_at IS NULL AND hidden + 0 = 0 AND NOT EXISTS (
    SELECT 1 FROM runs
    WHERE runs.owner = $1 AND runs.thread_id = $2 AND status IN ('pending', 'running')
)

-- name: thread_alone_of_many
-- The same of many: the place of each among those that are wanted.
SELECT w.place, t.head, t.last_seq, t.lease
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w (owner, thread_id, place)
CROSS JOIN LATERAL (
    SELECT head, last_seq, lease FROM threads
    WHERE owner = w.owner AND thread_id = w.thread_id AND deleted_at IS NULL AND hidden + 0 = 0 AND NOT EXISTS (
        SELECT 1 FROM runs
        WHERE runs.owner = w.owner AND runs.thread_id = w.thread_id AND status IN ('pending', 'running')
    )
    OFFSET 0
) AS t

-- name: search_threads
-- Newest first.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:status::text IS NULL OR status = :status)
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
ORDER BY created_at DESC, thread_id DESC
LIMIT :limit OFFSET :offset

-- name: search_threads_labelled
-- By a text of the metadata: the label leads to few threads, the newest first.
SELECT t.thread_id, t.owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM labels CROSS JOIN LATERAL (
    SELECT * FROM threads WHERE owner = labels.owner AND thread_id = labels.id OFFSET 0
) AS t
WHERE labels.owner = :owner AND kind = 'thread' AND name = :name AND value = :value
  AND deleted_at IS NULL AND hidden = 0 AND (:status::text IS NULL OR status = :status)
  AND readable_json(metadata) @> readable_json(:metadata)
ORDER BY place DESC, id DESC
LIMIT :limit OFFSET :offset

-- name: search_threads_sorted
-- Those that are named, or in another order: all of an owner are looked at.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:ids::text IS NULL OR thread_id IN (SELECT jsonb_array_elements_text(:ids::jsonb)))
  AND (:status::text IS NULL OR status = :status)
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
ORDER BY
    CASE :sort::text WHEN 'thread_id' THEN thread_id WHEN 'status' THEN status END DESC,
    CASE :sort::text WHEN 'thread_id up' THEN thread_id WHEN 'status up' THEN status END,
    CASE :sort::text WHEN 'created_at' THEN created_at WHEN 'updated_at' THEN updated_at
        WHEN 'state_updated_at' THEN coalesce((SELECT c.created_at FROM checkpoints AS c WHERE c.checkpoint_id = head), created_at)
        END DESC,
    CASE :sort::text WHEN 'created_at up' THEN created_at WHEN 'updated_at up' THEN updated_at
        WHEN 'state_updated_at up' THEN coalesce((SELECT c.created_at FROM checkpoints AS c WHERE c.checkpoint_id = head), created_at)
        END,
    created_at DESC, thread_id DESC
LIMIT :limit OFFSET :offset

-- name: count_threads
SELECT count(*)
FROM threads
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:ids::text IS NULL OR thread_id IN (SELECT jsonb_array_elements_text(:ids::jsonb)))
  AND (:status::text IS NULL OR status = :status)
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))

-- name: thread_standing
-- What the rules of a thread's line need to know of it.
SELECT status, head, asking, last_outcome, last_seq, lease, hidden
FROM threads
WHERE owner = $1 AND thread_id = $2 AND deleted_at IS NULL

-- name: numbers
-- A thread's numbers, also of a deleted one: readers that are attached still end in order.
SELECT last_seq, floor_seq FROM threads WHERE owner = $1 AND thread_id = $2

-- name: take_numbers
-- Assigns numbers to events from outside an attempt.
UPDATE threads SET last_seq = last_seq + $1 WHERE owner = $2 AND thread_id = $3 RETURNING last_seq

-- name: take_numbers_fenced
-- The fence: assigns numbers and proves the lease of an attempt.
UPDATE threads SET last_seq = last_seq + $1 WHERE owner = $2 AND thread_id = $3 AND lease = $4 AND deleted_at IS NULL
RETURNING last_seq

-- name: claim_thread
-- A new lease; the number is that of the attempt's last event so far. An open question is answered or given up.
UPDATE threads SET lease = lease + 1, last_seq = last_seq + $1, status = 'busy', asking = 0, updated_at = $2
WHERE owner = $3 AND thread_id = $4
RETURNING lease, last_seq, head

-- name: move_head
-- The thread's state is now another checkpoint.
UPDATE threads SET head = $1, asking = $2, updated_at = $3 WHERE owner = $4 AND thread_id = $5

-- name: end_attempt
-- The lease ends with the attempt: whatever still runs of it can write nothing.
UPDATE threads
SET lease = lease + 1, head = $1, asking = $2, last_outcome = coalesce($3, last_outcome), updated_at = $4
WHERE owner = $5 AND thread_id = $6

-- name: set_thread_status
UPDATE threads SET status = $1, updated_at = greatest(updated_at, $2)
WHERE owner = $3 AND thread_id = $4 AND status <> $5

-- name: show_thread
-- A stateless run that asks keeps its thread, in sight, so that it can be answered.
UPDATE threads SET hidden = 0 WHERE owner = $1 AND thread_id = $2

-- name: merge_thread_metadata
UPDATE threads SET metadata = $1, updated_at = $2 WHERE owner = $3 AND thread_id = $4

-- name: set_ttl
-- A time of its own, from now on, or none.
UPDATE threads SET ttl = :ttl, ttl_strategy = :strategy, cut_at = NULL, updated_at = :now
WHERE owner = :owner AND thread_id = :thread_id

-- name: ttl_of_thread
SELECT ttl, ttl_strategy FROM threads WHERE owner = $1 AND thread_id = $2 AND ttl IS NOT NULL

-- name: bury_thread
-- Out of sight at once; rows go later, by reachability. The events of a run that is kept are not below the floor.
UPDATE threads
SET deleted_at = :now, lease = lease + 1, head = NULL, asking = 0, metadata = '\x7b7d', status = 'idle', unswept = 1,
    ttl = NULL, ttl_strategy = NULL, cut_at = NULL,
    floor_seq = coalesce((SELECT first_seq FROM runs WHERE run_id = :keep), last_seq)
WHERE owner = :owner AND thread_id = :thread_id

-- name: copy_thread
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, head, asking, origin, origin_thread)
SELECT owner, :new_id, :now, :now, metadata, CASE WHEN asking = 1 THEN 'interrupted' ELSE 'idle' END, head, asking, head,
       (SELECT c.thread_id FROM checkpoints AS c WHERE c.checkpoint_id = head)
FROM threads WHERE owner = :owner AND thread_id = :thread_id

-- name: copy_inherited
-- The states of subgraphs are inherited by pointers: the copy's own, and those that the original has inherited.
INSERT INTO inherited (checkpoint_id, owner, thread_id, namespace, source)
SELECT checkpoint_id, owner, :new_id, namespace, thread_id FROM checkpoints
WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0
UNION ALL
SELECT checkpoint_id, owner, :new_id, namespace, source FROM inherited
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0

-- name: copy_pending
-- Writes themselves, for the original removes its own as it goes on. They are few: those no state holds yet.
INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, run_id)
SELECT owner, :new_id, namespace, on_id, task_id, idx, channel, value, path, run_id FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND aside = ''

-- name: insert_run
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                  max_attempts, invocation, base, prior_head, first_seq, stateless, line, due_at, started_at, resumes,
                  strategy, ready, concurrency, worker)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
        CASE WHEN $5 = 'running' THEN current_setting('runyard.worker', true) END)

-- name: run
-- A run that is not tombstoned.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs WHERE run_id = $1 AND owner || '' = $2 AND coalesce(deleted_at, 0) = 0

-- name: run_row
-- A run, tombstoned or not, whoever owns it.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs WHERE run_id = $1

-- name: search_runs_of_thread
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs
WHERE (owner, thread_id, number) >= (:owner, :thread_id, 0) AND (owner, thread_id, number) <= (:owner, :thread_id, 9223372036854775807)
  AND deleted_at IS NULL
  AND (:agent_id::text IS NULL OR agent_id = :agent_id)
  AND (:statuses::text IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:outcomes::text IS NULL OR outcome IN (SELECT jsonb_array_elements_text(:outcomes::jsonb)))
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id))
ORDER BY owner DESC, thread_id DESC, number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_of_agent
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs
WHERE (owner, agent_id, number) >= (:owner, :agent_id, 0) AND (owner, agent_id, number) <= (:owner, :agent_id, 9223372036854775807)
  AND deleted_at IS NULL
  AND (:statuses::text IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:outcomes::text IS NULL OR outcome IN (SELECT jsonb_array_elements_text(:outcomes::jsonb)))
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id))
ORDER BY owner DESC, agent_id DESC, number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_of_status
-- One status that is not success: such runs are few, and have an index of their own.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs
WHERE owner = :owner AND status = :status AND status <> 'success' AND deleted_at IS NULL
  AND (:outcomes::text IS NULL OR outcome IN (SELECT jsonb_array_elements_text(:outcomes::jsonb)))
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs
WHERE (owner, number) >= (:owner, 0) AND (owner, number) <= (:owner, 9223372036854775807) AND deleted_at IS NULL
  AND (:statuses::text IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:outcomes::text IS NULL OR outcome IN (SELECT jsonb_array_elements_text(:outcomes::jsonb)))
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id))
ORDER BY owner DESC, number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_labelled
-- By a text of the metadata: the label leads to few runs, the newest first.
SELECT run_id, thread_id, runs.owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM labels JOIN runs ON runs.number = labels.place
WHERE labels.owner = :owner AND kind = 'run' AND name = :name AND value = :value AND coalesce(deleted_at, 0) = 0
  AND (:agent_id::text IS NULL OR agent_id = :agent_id)
  AND (:statuses::text IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
  AND (:outcomes::text IS NULL OR outcome IN (SELECT jsonb_array_elements_text(:outcomes::jsonb)))
  AND readable_json(metadata) @> readable_json(:metadata)
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id))
ORDER BY place DESC LIMIT :limit OFFSET :offset

-- name: labelled_threads
SELECT id FROM labels WHERE owner = :owner AND kind = 'thread' AND name = :name AND value = :value LIMIT :limit

-- name: search_runs_of_threads
-- Of each of a few threads as many runs as are asked for, and the newest of those.
SELECT run_id, of_thread.thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
       max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq,
       stateless, line, due_at, started_at, ended_at
FROM jsonb_array_elements_text(:threads::jsonb) AS among (thread_id) CROSS JOIN LATERAL (
    SELECT * FROM runs
    WHERE (owner, thread_id, number) >= (:owner, among.thread_id, 0)
      AND (owner, thread_id, number) <= (:owner, among.thread_id, 9223372036854775807)
      AND deleted_at IS NULL
      AND (:agent_id::text IS NULL OR agent_id = :agent_id)
      AND (:statuses::text IS NULL OR status IN (SELECT jsonb_array_elements_text(:statuses::jsonb)))
      AND (:outcomes::text IS NULL OR outcome IN (SELECT jsonb_array_elements_text(:outcomes::jsonb)))
      AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
      AND (SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
           WHERE t.owner = :owner AND t.thread_id = among.thread_id)
    ORDER BY owner DESC, thread_id DESC, number DESC LIMIT :limit::bigint + :offset::bigint
) AS of_thread
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: line
-- The runs of a thread that execute or wait, in their order.
SELECT number, run_id, status, ready, resumes, due_at, attempt, cancel
FROM runs
WHERE owner = $1 AND thread_id = $2 AND status IN ('pending', 'running')
ORDER BY line, number

-- name: pending
-- What is active without what executes: both are counted in indexes that hold nothing else.
SELECT (SELECT count(*) FROM runs WHERE status IN ('pending', 'running'))
     - (SELECT count(*) FROM runs WHERE status = 'running')

-- name: pending_of_owner
SELECT (SELECT count(*) FROM runs WHERE owner = $1 AND status IN ('pending', 'running'))
     - (SELECT count(*) FROM runs WHERE owner = $2 AND status = 'running')

-- name: make_ready
-- A suspect is ready too, but not for everybody: see `ready_apart`.
UPDATE runs SET ready = CASE WHEN losses >= 2 THEN 2 ELSE 1 END
WHERE number = $1 AND status || '' = 'pending' AND due_at IS NULL

-- name: not_ready
-- Nobody may claim what is no longer first in line.
UPDATE runs SET ready = 0 WHERE number = $1

-- name: ready
-- What can be claimed of one agent's runs, and since when: a run becomes ready when it joins the line, or when its
-- thread is left to it.
SELECT runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at, runs.metadata,
       request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint,
       first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       number, lease, threads.last_seq, head, greatest(line, threads.updated_at)
FROM runs
JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
WHERE agent_id = $1 AND ready = 1 ORDER BY line, number LIMIT $2
FOR NO KEY UPDATE SKIP LOCKED

-- name: ready_apart
-- Runs that are suspected of ending the server, those that did least often first.
SELECT runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at, runs.metadata,
       request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint,
       first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       number, lease, threads.last_seq, head, NULL::bigint
FROM runs
JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
WHERE ready = 2 ORDER BY losses, line, number LIMIT 50
FOR NO KEY UPDATE SKIP LOCKED

-- name: on_probation
-- The suspect that executes.
SELECT run_id FROM runs WHERE status = 'running' AND losses >= 2 LIMIT 1

-- name: acquit
UPDATE runs SET losses = 0 WHERE run_id = $1 AND status || '' = 'running'

-- name: count_loss
UPDATE runs SET losses = losses + $1 WHERE run_id = $2

-- name: running_of_agent
-- Of an agent with a limit.
SELECT count(*) FROM runs
WHERE agent_id = $1 AND status = 'running' AND concurrency IS NOT NULL

-- name: due
-- Delayed runs whose time has come.
SELECT number, run_id, owner, thread_id, attempt, strategy, due_at FROM runs
WHERE due_at IS NOT NULL AND status = 'pending' AND due_at <= $1 ORDER BY due_at LIMIT 200
FOR NO KEY UPDATE SKIP LOCKED

-- name: join_line
UPDATE runs SET due_at = NULL, line = coalesce($1, line) WHERE number = $2

-- name: next_due
SELECT min(due_at) FROM runs WHERE due_at IS NOT NULL AND status = 'pending'

-- name: request_cancel
UPDATE runs SET cancel = $1, updated_at = $2 WHERE run_id = $3 AND status || '' = 'running'

-- name: note_request
UPDATE runs SET request = $1 WHERE run_id = $2

-- name: attempt_standing
-- All that the end of an attempt needs to know, while the attempt holds its lease: the run, its thread's last number and
-- head, and whether other runs of the thread are active.
SELECT runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at, runs.metadata,
       request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint,
       first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       threads.last_seq, head,
       EXISTS (
           SELECT 1 FROM runs AS others
           WHERE others.owner = runs.owner AND others.thread_id = runs.thread_id
             AND others.status IN ('pending', 'running') AND others.run_id <> runs.run_id
       )
FROM runs JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
WHERE runs.run_id = $1 AND runs.status || '' = 'running' AND threads.lease = $2 AND threads.deleted_at IS NULL

-- name: attempt_standing_of_many
-- The same of many: the place of each among those that are wanted.
SELECT w.place, runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at,
       runs.metadata, request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head,
       last_checkpoint, first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       threads.last_seq, head,
       (
           SELECT count(*) FROM runs AS others
           WHERE others.owner = runs.owner AND others.thread_id = runs.thread_id
             AND others.status IN ('pending', 'running') AND others.run_id <> runs.run_id
       ) > 0
FROM runs
JOIN unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS w (run_id, lease, place) ON runs.run_id = w.run_id
JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
WHERE runs.status || '' = 'running' AND threads.lease + 0 = w.lease AND threads.deleted_at IS NULL

-- name: end_run
-- Guarded: a run ends once.
UPDATE runs
SET status = :status, outcome = :outcome, failure = :failure, last_seq = :last_seq, ended_at = :now, updated_at = :now,
    ready = 0, due_at = NULL, expires_at = :expires_at, deleted_at = :deleted_at,
    last_checkpoint = coalesce(:last_checkpoint, last_checkpoint)
WHERE run_id = :run_id AND status || '' IN ('pending', 'running')
RETURNING 1

-- name: requeue_run
UPDATE runs
SET status = 'pending', due_at = :due_at, updated_at = :now, attempt = attempt - :refund,
    last_checkpoint = coalesce(:last_checkpoint, last_checkpoint)
WHERE run_id = :run_id AND status || '' = 'running'
RETURNING 1

-- name: bury_run
UPDATE runs SET deleted_at = :now, outcome = coalesce(:outcome, outcome), expires_at = :expires_at, updated_at = :now
WHERE run_id = :run_id AND ended_at IS NOT NULL

-- name: bury_runs_of_thread
UPDATE runs SET deleted_at = :now, expires_at = :now WHERE number = ANY (ARRAY(
    SELECT number FROM runs
    WHERE (owner, thread_id, number) >= (:owner, :thread_id, 0)
      AND (owner, thread_id, number) <= (:owner, :thread_id, 9223372036854775807)
      AND deleted_at IS NULL AND ended_at IS NOT NULL AND run_id IS DISTINCT FROM :keep
    ORDER BY owner, thread_id, number))

-- name: started_later
-- Whether another run of the thread began after this one.
SELECT 1 FROM runs
WHERE (owner, thread_id, number) > (:owner, :thread_id, (SELECT number FROM runs WHERE run_id = :run_id))
  AND (owner, thread_id, number) <= (:owner, :thread_id, 9223372036854775807)
  AND deleted_at IS NULL AND started_at IS NOT NULL
ORDER BY owner, thread_id, number LIMIT 1

-- name: executing
-- Everything that executes on a worker which is not alive, with that worker.
SELECT number, run_id, owner, thread_id, attempt, max_attempts, cancel, losses, coalesce(worker, '') FROM runs
WHERE status = 'running' AND NOT EXISTS (
    SELECT 1 FROM workers WHERE worker_id = runs.worker AND expires_at > clock_timestamp()
)

-- name: join_worker
-- Whoever was dead begins anew.
INSERT INTO workers (worker_id, host, process, version, agents, expires_at)
VALUES ($1, $2, $3, $4, $5, clock_timestamp() + make_interval(secs => $6))
ON CONFLICT (worker_id) DO UPDATE SET expires_at = excluded.expires_at, agents = excluded.agents

-- name: renew_worker
-- Nothing where the lease has ended: its runs may be another's by now.
UPDATE workers SET expires_at = clock_timestamp() + make_interval(secs => $2)
WHERE worker_id = $1 AND expires_at > clock_timestamp()
RETURNING 1

-- name: leave_worker
DELETE FROM workers WHERE worker_id = $1

-- name: lost
-- Whether there is anything to recover, or a worker to forget.
SELECT 1 WHERE EXISTS (SELECT 1 FROM workers WHERE expires_at <= clock_timestamp()) OR EXISTS (
    SELECT 1 FROM runs WHERE status = 'running' AND NOT EXISTS (
        SELECT 1 FROM workers WHERE worker_id = runs.worker AND expires_at > clock_timestamp()
    )
)

-- name: forget_workers
DELETE FROM workers WHERE expires_at <= clock_timestamp() AND NOT EXISTS (
    SELECT 1 FROM runs WHERE status = 'running' AND worker = workers.worker_id
)

-- name: offered
-- The agents that workers which are alive can execute.
SELECT DISTINCT unnest(agents) FROM workers WHERE expires_at > clock_timestamp()

-- name: holds
-- Whether an attempt has its lease.
SELECT 1 FROM threads WHERE owner = $1 AND thread_id = $2 AND lease = $3 AND deleted_at IS NULL

-- name: numbers_of_many
-- What `numbers` tells, of many threads.
SELECT threads.owner, threads.thread_id, last_seq, floor_seq
FROM threads JOIN unnest($1::text[], $2::text[]) AS w (owner, thread_id)
  ON threads.owner = w.owner AND threads.thread_id = w.thread_id

-- name: run_of_many
-- What `run` tells, of many runs.
SELECT runs.run_id, thread_id, runs.owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
       max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq,
       stateless, line, due_at, started_at, ended_at
FROM runs JOIN unnest($1::text[], $2::text[]) AS w (owner, run_id)
  ON runs.run_id = w.run_id AND runs.owner || '' = w.owner
WHERE coalesce(deleted_at, 0) = 0

-- name: thread_of_many
-- What `thread` tells, of many threads.
SELECT threads.thread_id, threads.owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden,
       floor_seq, asking
FROM threads JOIN unnest($1::text[], $2::text[]) AS w (owner, thread_id)
  ON threads.owner = w.owner AND threads.thread_id = w.thread_id
WHERE deleted_at IS NULL

-- name: state_of_many
-- What `readable`, `chain` and `checkpoint` tell, of many checkpoints: the place of each among those that are wanted.
SELECT w.place, chain.kinds, chain.bodies, c.checkpoint_id, c.thread_id, c.parent_id, c.run_id, c.created_at, c.step,
       c.source, c.kind, c.body, c.full_size, c.chain_size, c.asked, c.namespace
FROM checkpoints AS c
JOIN unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) WITH ORDINALITY
    AS w (owner, thread_id, checkpoint_id, undone, place)
  ON c.checkpoint_id = w.checkpoint_id AND c.owner || '' = w.owner
CROSS JOIN LATERAL (
    WITH RECURSIVE chain (parent_id, kind, body, depth) AS (
        SELECT c.parent_id, c.kind, c.body, 0
        UNION ALL
        SELECT above.parent_id, above.kind, above.body, chain.depth + 1
        FROM chain JOIN checkpoints AS above ON above.checkpoint_id = chain.parent_id
        WHERE chain.kind = 'delta'
    )
    SELECT array_agg(kind ORDER BY depth DESC) AS kinds, array_agg(body ORDER BY depth DESC) AS bodies FROM chain
) AS chain
WHERE c.thread_id || '' = w.thread_id
  AND (c.gone = 0 OR w.undone AND (SELECT true FROM runs AS r WHERE r.run_id = c.run_id))
   OR (SELECT true FROM inherited AS i
       WHERE i.checkpoint_id = w.checkpoint_id AND i.owner = w.owner AND i.thread_id = w.thread_id AND i.gone = 0)

-- name: put_checkpoint
-- From outside any attempt.
INSERT INTO checkpoints (owner, checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body,
                         full_size, chain_size, asked, namespace, outside)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1)

-- name: checkpoint
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked,
       namespace
FROM checkpoints WHERE checkpoint_id = $1 AND owner || '' = $2

-- name: checkpoint_sizes
-- What a thread's checkpoints take, in rows and bytes.
SELECT count(*), coalesce(sum(length(body) + coalesce(length(asked), 0)), 0)::bigint
FROM checkpoints WHERE owner = :owner AND thread_id = :thread_id AND gone = 0

-- name: write_sizes
-- The same of what tasks gave on top of them.
SELECT count(*), coalesce(sum(length(value)), 0)::bigint
FROM pending_writes WHERE owner = :owner AND thread_id = :thread_id AND aside = ''

-- name: place_of_checkpoint
-- What reading on from a checkpoint needs to know.
SELECT number, thread_id, namespace, gone, parent_id FROM checkpoints WHERE checkpoint_id = $1 AND owner || '' = $2

-- name: chain
-- From a checkpoint up to the nearest full one.
WITH RECURSIVE chain (checkpoint_id, parent_id, kind, body, depth) AS (
    SELECT checkpoint_id, parent_id, kind, body, 0 FROM checkpoints WHERE checkpoint_id = $1
    UNION ALL
    SELECT above.checkpoint_id, above.parent_id, above.kind, above.body, chain.depth + 1
    FROM chain JOIN checkpoints AS above ON above.checkpoint_id = chain.parent_id
    WHERE chain.kind = 'delta'
)
SELECT kind, body FROM chain ORDER BY depth DESC

-- name: history
-- A thread's own checkpoints of one namespace, newest first, below a place in their order.
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked,
       namespace
FROM checkpoints
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND gone = 0 AND number < :below
ORDER BY number DESC LIMIT :limit

-- name: inner_history
-- The same of a subgraph's namespace, below an id.
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked,
       namespace
FROM checkpoints
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND namespace > '' AND gone = 0
  AND (:before::text IS NULL OR checkpoint_id < :before)
ORDER BY checkpoint_id DESC LIMIT :limit

-- name: inherited
-- Those that a copy has from the threads that it was made from.
SELECT c.checkpoint_id, c.thread_id, c.parent_id, c.run_id, c.created_at, c.step, c.source, c.kind, c.body,
       c.full_size, c.chain_size, c.asked, c.namespace
FROM inherited AS i
JOIN checkpoints AS c ON c.checkpoint_id = i.checkpoint_id
WHERE i.owner = :owner AND i.thread_id = :thread_id AND i.namespace = :namespace AND i.gone = 0
  AND (:before::text IS NULL OR i.checkpoint_id < :before)
ORDER BY i.checkpoint_id DESC LIMIT :limit

-- name: inner_namespaces
SELECT namespace FROM checkpoints
WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0
UNION
SELECT namespace FROM inherited
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0

-- name: lineage
-- A checkpoint and those it came from, newest first.
WITH RECURSIVE lineage (checkpoint_id, parent_id, depth) AS (
    SELECT checkpoint_id, parent_id, 1 FROM checkpoints WHERE checkpoint_id = :from
    UNION ALL
    SELECT above.checkpoint_id, above.parent_id, lineage.depth + 1
    FROM lineage JOIN checkpoints AS above ON above.checkpoint_id = lineage.parent_id
    WHERE lineage.depth < :limit
)
SELECT c.checkpoint_id, c.thread_id, c.parent_id, c.run_id, c.created_at, c.step, c.source, c.kind, c.body,
       c.full_size, c.chain_size, c.asked, c.namespace
FROM lineage JOIN checkpoints AS c ON c.checkpoint_id = lineage.checkpoint_id
ORDER BY lineage.depth

-- name: belongs
-- Whether a checkpoint is among the thread's own states, or those that it was copied from.
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE checkpoint_id = :checkpoint_id AND owner || '' = :owner
               AND thread_id || '' = :thread_id AND gone = 0 AND namespace = '')
    OR EXISTS (
        WITH RECURSIVE lineage (checkpoint_id, parent_id) AS (
            SELECT c.checkpoint_id, c.parent_id FROM threads AS t
            JOIN checkpoints AS c ON c.checkpoint_id = t.origin
            WHERE t.owner = :owner AND t.thread_id = :thread_id
            UNION ALL
            SELECT above.checkpoint_id, above.parent_id
            FROM lineage JOIN checkpoints AS above ON above.checkpoint_id = lineage.parent_id
        )
        SELECT 1 FROM lineage WHERE checkpoint_id = :checkpoint_id
    )

-- name: readable
-- Whether a checkpoint was made on the thread, or is a subgraph's that it has inherited. One that was undone can be
-- read by its id while there is a record of its run, whose events name it.
SELECT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.checkpoint_id = :checkpoint_id AND c.owner || '' = :owner
               AND c.thread_id || '' = :thread_id
               AND (c.gone = 0 OR :undone::boolean AND EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = c.run_id)))
    OR EXISTS (SELECT 1 FROM inherited AS i WHERE i.checkpoint_id = :checkpoint_id AND i.owner = :owner
               AND i.thread_id = :thread_id AND i.gone = 0)

-- name: pending_writes
-- What tasks gave on top of a state.
SELECT namespace, on_id, task_id, idx, channel, value, path, run_id FROM pending_writes
WHERE owner = $1 AND thread_id = $2 AND namespace = $3 AND on_id = $4 AND aside = ''

-- name: has_inner
SELECT EXISTS (SELECT 1 FROM checkpoints
               WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0)
    OR EXISTS (SELECT 1 FROM pending_writes
               WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND aside = '')
    OR EXISTS (SELECT 1 FROM inherited
               WHERE owner = :owner AND thread_id = :thread_id AND gone = 0)

-- name: undo_pending
DELETE FROM pending_writes WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id

-- name: laid_aside
-- What a run has settled or replaced of others.
SELECT namespace, on_id, task_id, idx FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND aside = :run_id AND aside <> ''

-- name: given_after
-- What came under a key next after a run had laid aside what was there: who gave it, and who laid that aside. One that
-- counts is the last.
SELECT later.run_id, later.aside
FROM pending_writes AS later LEFT JOIN runs AS by ON by.run_id = later.aside
WHERE later.owner = :owner AND later.thread_id = :thread_id AND later.namespace = :namespace AND later.on_id = :on_id
  AND later.task_id = :task_id AND later.idx = :idx AND later.aside <> :run_id
  AND (later.aside = ''
       OR (by.started_at, by.number) > (SELECT r.started_at, r.number FROM runs AS r WHERE r.run_id = :run_id))
ORDER BY later.aside = '', by.started_at, by.number LIMIT 1

-- name: hand_on
-- What a run had laid aside is laid aside by another, or counts again (empty).
SELECT lay_aside(:owner, :thread_id, :namespace, :on_id, :task_id, :idx, :heir, :run_id, NULL)

-- name: forget_aside
DELETE FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND on_id = :on_id AND task_id = :task_id
  AND idx = :idx AND aside = :run_id

-- name: forget_pending
DELETE FROM pending_writes WHERE owner = $1 AND thread_id = $2

-- name: origin
SELECT origin FROM threads WHERE owner = $1 AND thread_id = $2 AND deleted_at IS NULL

-- name: undo_checkpoints
-- Those of subgraphs too.
UPDATE checkpoints SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id AND gone = 0

-- name: head_row
SELECT thread_id, gone, asked IS NOT NULL FROM checkpoints WHERE checkpoint_id = $1

-- name: newest_own
-- The last that was stored of a thread's own states.
SELECT checkpoint_id FROM checkpoints
WHERE owner = $1 AND thread_id = $2 AND namespace = '' AND gone = 0 ORDER BY number DESC LIMIT 1

-- name: threads_of_run
-- Where a run may have left states: on its thread, and wherever some were put for it from outside.
SELECT thread_id FROM runs WHERE run_id = :id AND owner = :owner
UNION ALL
SELECT thread_id FROM checkpoints
WHERE owner = :owner AND run_id = :id AND outside = 1 AND run_id IS NOT NULL

-- name: forget_run_checkpoints
UPDATE checkpoints SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id AND gone = 0
  AND checkpoint_id IS DISTINCT FROM :spared

-- name: prune_checkpoints
UPDATE checkpoints SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
  AND checkpoint_id NOT IN (SELECT jsonb_array_elements_text(:keep::jsonb))

-- name: prune_inherited
UPDATE inherited SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
  AND checkpoint_id NOT IN (SELECT jsonb_array_elements_text(:keep::jsonb))

-- name: lasting_states
-- What later runs go on from: the head, and the newest state of each subgraph that has one from run to run. The
-- namespaces of the others name a task, which is over.
SELECT '', head FROM threads WHERE owner = :owner AND thread_id = :thread_id AND head IS NOT NULL
UNION ALL
SELECT namespace, max(checkpoint_id) FROM checkpoints
WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0 AND strpos(namespace, ':') = 0
GROUP BY namespace
UNION ALL
SELECT namespace, max(checkpoint_id) FROM inherited
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0 AND strpos(namespace, ':') = 0
GROUP BY namespace

-- name: cut_checkpoints
-- The newest of a namespace first: nothing that is left is built on them, but what is kept.
UPDATE checkpoints SET gone = 1 WHERE checkpoint_id = ANY (ARRAY(
    SELECT checkpoint_id FROM checkpoints
    WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
      AND checkpoint_id NOT IN (SELECT jsonb_array_elements_text(:keep::jsonb))
    ORDER BY namespace DESC, number DESC LIMIT :limit))

-- name: cut_inherited
UPDATE inherited SET gone = 1 WHERE (checkpoint_id, owner, thread_id) IN (
    SELECT checkpoint_id, owner, thread_id FROM inherited
    WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
      AND checkpoint_id NOT IN (SELECT jsonb_array_elements_text(:keep::jsonb))
    LIMIT :limit)

-- name: built_on_undone
-- Checkpoints that are there, on top of one that was undone.
SELECT c.checkpoint_id, c.kind FROM checkpoints AS c
JOIN checkpoints AS above ON above.checkpoint_id = c.parent_id
WHERE c.owner = :owner AND c.thread_id = :thread_id AND c.gone = 0
  AND above.owner = :owner AND above.thread_id = :thread_id AND above.gone = 1

-- name: store_whole
UPDATE checkpoints SET kind = 'full', body = :body, full_size = :size, chain_size = 0
WHERE checkpoint_id = :checkpoint_id

-- name: forget_pending_of_undone
-- Writes on what was undone, but for those on states that others go by the names of.
DELETE FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND on_id NOT IN (SELECT jsonb_array_elements_text(:names::jsonb)) AND (
    EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.checkpoint_id = on_id AND c.owner = :owner
            AND c.thread_id = :thread_id AND c.gone = 1)
    OR EXISTS (SELECT 1 FROM inherited AS i WHERE i.checkpoint_id = on_id AND i.owner = :owner
               AND i.thread_id = :thread_id AND i.gone = 1))

-- name: set_unswept
UPDATE threads SET unswept = 1 WHERE owner = :owner AND thread_id = :thread_id

-- name: base_of_question
SELECT readable_json(c.asked) ->> 'base' FROM threads AS t
JOIN checkpoints AS c ON c.checkpoint_id = t.head
WHERE t.owner = $1 AND t.thread_id = $2 AND t.asking = 1

-- name: bury_checkpoints
-- Those of a deleted thread, when its id is used again: until then the thread's absence hides them.
UPDATE checkpoints SET gone = 1 WHERE owner = $1 AND thread_id = $2 AND gone = 0

-- name: asked_of
SELECT asked FROM checkpoints WHERE checkpoint_id = $1

-- name: log
-- A part of a thread's log, behind a number.
SELECT first_seq, last_seq, run_id, at, body FROM events
WHERE owner = $1 AND thread_id = $2 AND last_seq > $3 ORDER BY last_seq LIMIT $4

-- name: nested_of_run
-- The pieces of a run's log that tell of subgraphs or sub-agents: those that hold `["nested",`.
SELECT body FROM events
WHERE owner = $1 AND thread_id = $2 AND last_seq > $3 AND run_id = $4
  AND position('\x5b226e6573746564222c'::bytea IN body) > 0
ORDER BY last_seq

-- name: upsert_record
INSERT INTO records (invocation, kind, name, nth, place, run_id, body) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (invocation, kind, name, nth) DO UPDATE SET body = excluded.body

-- name: records
SELECT kind, name, nth, body, place FROM records WHERE invocation = $1 ORDER BY place

-- name: records_of_kind
-- The messages that were put into an invocation, or what its code has taken of them.
SELECT nth, body FROM records WHERE invocation = $1 AND kind = $2 ORDER BY name, nth

-- name: forget_records
DELETE FROM records WHERE run_id = $1

-- name: forget_records_of_run
DELETE FROM records WHERE (invocation, kind, name, nth) IN (
    SELECT invocation, kind, name, nth FROM records WHERE run_id = :run_id LIMIT :limit)

-- name: known_key
SELECT body_hash, run, run_id FROM idempotency WHERE owner = $1 AND route = $2 AND key = $3

-- name: put_item
INSERT INTO items (owner, namespace, key, value, created_at, updated_at, expires_at, ttl)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (owner, namespace, key) DO UPDATE
SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
    ttl = excluded.ttl,
    created_at = CASE WHEN items.expires_at <= excluded.updated_at THEN excluded.created_at ELSE items.created_at END

-- name: put_vectors
-- As many vectors of an item as are given behind one another.
INSERT INTO vectors (owner, namespace, key, number, vector)
SELECT :owner, :namespace, :key, number,
    (:vectors::real[])[(number - 1) * cardinality(:vectors::real[]) / :count + 1 :
                       number * cardinality(:vectors::real[]) / :count]
FROM generate_series(1, :count::integer) AS numbers (number)

-- name: get_item
SELECT namespace, key, value, created_at, updated_at, ttl FROM items
WHERE owner = $1 AND namespace = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $4)

-- name: touch_item
-- An item that is kept for a time is kept for that time from now.
UPDATE items SET expires_at = :now + ttl
WHERE owner = :owner AND namespace = :namespace AND key = :key AND ttl IS NOT NULL AND expires_at > :now

-- name: delete_item
DELETE FROM items WHERE owner = $1 AND namespace = $2 AND key = $3 AND (expires_at IS NULL OR expires_at > $4)
RETURNING 1

-- name: search_items
-- Everything of an owner, updated last first.
SELECT namespace, key, value, created_at, updated_at, ttl FROM items
WHERE owner = :owner AND (expires_at IS NULL OR expires_at > :now)
  AND (:within::bytea IS NULL OR readable_json(value) @> readable_json(:within))
ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset

-- name: search_items_below
-- The items below a namespace, updated last first.
SELECT namespace, key, value, created_at, updated_at, ttl FROM (
    SELECT * FROM items
    WHERE owner = :owner AND namespace >= :low AND namespace < :high AND (expires_at IS NULL OR expires_at > :now)
      AND (:within::bytea IS NULL OR readable_json(value) @> readable_json(:within))
    OFFSET 0
) AS below
ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset

-- name: search_by_meaning
-- The items below a namespace that have vectors of the same length, nearest first. The best of an item's vectors counts.
SELECT items.namespace, items.key, value, created_at, updated_at, ttl, near.score
FROM (
    SELECT namespace, key, max(nearness(vector, :meaning::real[])) AS score FROM vectors
    WHERE owner = :owner AND namespace >= :low AND namespace < :high
      AND cardinality(vector) = cardinality(:meaning::real[])
    GROUP BY namespace, key
    OFFSET 0
) AS near
JOIN items ON items.owner = :owner AND items.namespace = near.namespace AND items.key = near.key
WHERE (expires_at IS NULL OR expires_at > :now)
  AND (:within::bytea IS NULL OR readable_json(value) @> readable_json(:within))
ORDER BY near.score DESC, updated_at DESC, items.namespace, items.key LIMIT :limit OFFSET :offset

-- name: rank_by_meaning
-- The same without what is in them, for whoever has more to ask of that than what fields are equal to.
SELECT items.namespace, items.key, near.score
FROM (
    SELECT namespace, key, max(nearness(vector, :meaning::real[])) AS score FROM vectors
    WHERE owner = :owner AND namespace >= :low AND namespace < :high
      AND cardinality(vector) = cardinality(:meaning::real[])
    GROUP BY namespace, key
    OFFSET 0
) AS near
JOIN items ON items.owner = :owner AND items.namespace = near.namespace AND items.key = near.key
WHERE (expires_at IS NULL OR expires_at > :now)
  AND (:within::bytea IS NULL OR readable_json(value) @> readable_json(:within))
  AND (:equal::bytea IS NULL OR readable_json(value) @> readable_json(:equal))
ORDER BY near.score DESC, updated_at DESC, items.namespace, items.key LIMIT :limit OFFSET :offset

-- name: pgvector
-- Where the database has pgvector, as it stands in statements.
SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'vector'

-- name: items_at
SELECT namespace, key, value, created_at, updated_at, ttl
FROM items JOIN unnest(:namespaces::bytea[], :keys::text[]) AS wanted (namespace, key) USING (namespace, key)
WHERE owner = :owner AND (expires_at IS NULL OR expires_at > :now)

-- name: next_namespace
-- The first namespace above another and below a limit: listing jumps from one to the next and never reads the items
-- between.
SELECT namespace FROM items WHERE owner = $1 AND namespace > $2 AND namespace < $3 ORDER BY namespace LIMIT 1

-- name: alive_in_namespace
SELECT 1 FROM items WHERE owner = $1 AND namespace = $2 AND (expires_at IS NULL OR expires_at > $3) LIMIT 1

-- name: alive_in_namespace_within
SELECT 1 FROM items
WHERE owner = :owner AND namespace = :namespace AND (expires_at IS NULL OR expires_at > :now)
  AND readable_json(value) @> readable_json(:within) LIMIT 1

-- name: publish_agent
INSERT INTO agents (agent_id, body, updated_at, published_at) VALUES ($1, $2, $3, $3)
ON CONFLICT (agent_id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at

-- name: agents
SELECT body FROM agents ORDER BY agent_id

-- name: waiting_by_agent
SELECT agent_id, count(*) FROM (
    SELECT agent_id FROM runs WHERE ready = 1
    UNION ALL SELECT agent_id FROM runs WHERE ready = 2)
GROUP BY agent_id

-- name: active_by_agent
-- How many runs are pending and running, of each agent: reads what is active, no history.
SELECT agent_id, status, count(*) FROM runs
WHERE status IN ('pending', 'running') GROUP BY agent_id, status

-- name: ready_by_agent
-- Runs that could be claimed: how many, and since when the oldest.
SELECT agent_id, count(*), min(line) FROM runs WHERE ready = 1 GROUP BY agent_id

-- name: suspects_by_agent
-- The same of those that execute apart; there are few, if any.
SELECT agent_id, count(*), min(line) FROM runs WHERE ready = 2 GROUP BY agent_id

-- name: figures
-- How many rows there are, of which kinds.
SELECT 'threads', count(*) FROM threads
UNION ALL SELECT 'runs', count(*) FROM runs
UNION ALL SELECT 'checkpoints', count(*) FROM checkpoints
UNION ALL SELECT 'pending_writes', count(*) FROM pending_writes
UNION ALL SELECT 'inherited', count(*) FROM inherited
UNION ALL SELECT 'events', count(*) FROM events
UNION ALL SELECT 'items', count(*) FROM items
UNION ALL SELECT 'runs_' || status, count(*) FROM runs WHERE deleted_at IS NULL GROUP BY status

-- name: size
SELECT pg_database_size(current_database())

-- name: prove
-- Writes a row without changing anything: it fails where a write of anything else would.
UPDATE schema_versions SET name = name WHERE number = 1

-- name: expired_runs
-- Runs whose own time has come. The last column: whether the invocation is not over.
SELECT number, run_id, owner, thread_id, first_seq, last_seq, stateless,
       (outcome = 'asked' OR invocation <> run_id) AND (
           (SELECT count(*) FROM threads AS t
            WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id AND t.asking = 1) > 0
           OR (SELECT count(*) FROM runs AS other
               WHERE other.owner = runs.owner AND other.thread_id = runs.thread_id
                 AND other.status IN ('pending', 'running') AND other.invocation = runs.invocation) > 0)
FROM runs
WHERE expires_at IS NOT NULL AND expires_at <= $1 AND ended_at IS NOT NULL LIMIT 50

-- name: old_runs
-- Finished runs on threads, oldest first. The last column as above.
SELECT number, run_id, owner, thread_id, first_seq, last_seq, stateless,
       (outcome = 'asked' OR invocation <> run_id) AND (
           (SELECT count(*) FROM threads AS t
            WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id AND t.asking = 1) > 0
           OR (SELECT count(*) FROM runs AS other
               WHERE other.owner = runs.owner AND other.thread_id = runs.thread_id
                 AND other.status IN ('pending', 'running') AND other.invocation = runs.invocation) > 0)
FROM runs
WHERE trimmed = :trimmed AND ended_at IS NOT NULL AND expires_at IS NULL AND ended_at <= :before
ORDER BY ended_at LIMIT :limit

-- name: hold_run
-- A run that has to stay is looked at again later.
UPDATE runs SET expires_at = $1 WHERE number = $2

-- name: untrimmed_runs
-- Finished runs on threads whose events are still there, oldest first.
SELECT number, owner, thread_id, last_seq FROM runs
WHERE trimmed = 0 AND ended_at IS NOT NULL AND expires_at IS NULL AND ended_at <= $1 ORDER BY ended_at LIMIT $2

-- name: mark_trimmed
UPDATE runs SET trimmed = 1 WHERE number = $1

-- name: oldest_events
-- The beginning of a thread's log, and of each piece whether its run is old enough, or gone.
SELECT e.last_seq,
       (SELECT count(*) FROM runs AS r
        WHERE r.run_id = e.run_id AND (r.ended_at IS NULL OR r.ended_at > :before)) = 0
FROM events AS e
WHERE e.owner = :owner AND e.thread_id = :thread_id AND e.last_seq <= :last_seq ORDER BY e.last_seq LIMIT :limit

-- name: delete_events_up_to
DELETE FROM events WHERE owner = $1 AND thread_id = $2 AND last_seq <= $3

-- name: set_floor
UPDATE threads SET floor_seq = greatest(floor_seq, $1) WHERE owner = $2 AND thread_id = $3

-- name: raise_floor
-- To where the log begins now.
UPDATE threads
SET floor_seq = greatest(floor_seq, coalesce((SELECT e.first_seq - 1 FROM events AS e
                                         WHERE e.owner = threads.owner AND e.thread_id = threads.thread_id
                                         ORDER BY e.last_seq LIMIT 1), last_seq))
WHERE owner = :owner AND thread_id = :thread_id

-- name: delete_events_of_run
DELETE FROM events WHERE (owner, thread_id, last_seq) IN (
    SELECT owner, thread_id, last_seq FROM events
    WHERE owner = :owner AND thread_id = :thread_id AND last_seq BETWEEN :first_seq AND :last_seq AND run_id = :run_id
    LIMIT :limit)

-- name: delete_run
DELETE FROM runs WHERE run_id = $1

-- name: hidden_thread
SELECT 1 FROM threads WHERE owner = :owner AND thread_id = :thread_id AND hidden = 1

-- name: delete_hidden_thread
-- A stateless run's thread goes with it: nobody could name it, and nothing was copied from it.
DELETE FROM threads WHERE owner = :owner AND thread_id = :thread_id AND hidden = 1

-- name: idle_threads
-- Threads without a time of their own on which nothing has happened for long, oldest first, from a place on: those that
-- have been cut since, or the others.
SELECT updated_at, owner, thread_id FROM threads
WHERE deleted_at IS NULL AND hidden = 0 AND status IN ('idle', 'error') AND ttl IS NULL
  AND (CASE WHEN cut_at = updated_at THEN 1 ELSE 0 END) = :cut
  AND updated_at <= :before AND updated_at >= :updated_at
  AND (updated_at, owner, thread_id) > (:updated_at, :owner, :thread_id)
ORDER BY updated_at, owner, thread_id LIMIT :limit

-- name: expired_threads
-- Threads whose own time is over, in its order, from a place on.
SELECT updated_at + ttl, owner, thread_id, ttl_strategy FROM threads
WHERE ttl IS NOT NULL AND deleted_at IS NULL AND (cut_at IS NULL OR cut_at <> updated_at)
  AND (status IN ('idle', 'error') OR (status = 'interrupted' AND ttl_strategy = 'delete'))
  AND updated_at + ttl <= :now AND updated_at + ttl >= :expires_at
  AND (updated_at + ttl, owner, thread_id) > (:expires_at, :owner, :thread_id)
ORDER BY updated_at + ttl, owner, thread_id LIMIT :limit

-- name: mark_cut
-- Its history is its newest state, until it changes.
UPDATE threads SET cut_at = updated_at WHERE owner = :owner AND thread_id = :thread_id

-- name: expire_runs_of_thread
UPDATE runs SET deleted_at = :now, expires_at = :now WHERE number = ANY (ARRAY(
    SELECT number FROM runs
    WHERE (owner, thread_id, number) >= (:owner, :thread_id, 0)
      AND (owner, thread_id, number) <= (:owner, :thread_id, 9223372036854775807)
      AND deleted_at IS NULL
    ORDER BY owner, thread_id, number LIMIT :limit))

-- name: unswept_threads
SELECT owner, thread_id, deleted_at FROM threads WHERE unswept = 1 LIMIT $1

-- name: mark_unswept
-- A run is gone: what only it kept may go now.
UPDATE threads SET unswept = 1
WHERE owner = :owner AND thread_id = :thread_id AND unswept = 0 AND (
    deleted_at IS NOT NULL
    OR (SELECT true FROM checkpoints AS c
        WHERE c.owner = threads.owner AND c.thread_id = threads.thread_id AND c.gone = 1 LIMIT 1))

-- name: park_thread
UPDATE threads SET unswept = 0 WHERE owner = :owner AND thread_id = :thread_id

-- name: outliving_run
-- A run of a deleted thread whose record is kept, with its events and its last state.
SELECT 1 FROM runs
WHERE (owner, thread_id, number) >= (:owner, :thread_id, 0)
  AND (owner, thread_id, number) <= (:owner, :thread_id, 9223372036854775807) AND deleted_at IS NULL
ORDER BY owner, thread_id, number LIMIT 1

-- name: copy_of_thread
-- A copy that lives, or whose own checkpoints are still there.
SELECT 1 FROM threads WHERE owner = :owner AND origin_thread = :thread_id
UNION ALL
SELECT 1 FROM inherited WHERE owner = :owner AND source = :thread_id
LIMIT 1

-- name: copy_of_undone
-- A copy that was made of a state that has been undone since, or of one that came from such a state.
WITH RECURSIVE lineage (checkpoint_id, parent_id, undone) AS (
    SELECT c.checkpoint_id, c.parent_id, c.gone FROM threads AS copy
    JOIN checkpoints AS c ON c.checkpoint_id = copy.origin
    WHERE copy.owner = :owner AND copy.origin_thread = :thread_id
    UNION
    SELECT above.checkpoint_id, above.parent_id, above.gone
    FROM lineage JOIN checkpoints AS above ON above.checkpoint_id = lineage.parent_id
    WHERE lineage.undone = 0
)
SELECT 1 FROM lineage WHERE undone = 1 LIMIT 1

-- name: delete_undone_checkpoints
-- But those of runs whose records, and so events that name them, are still there, and those that a copy has inherited.
DELETE FROM checkpoints WHERE checkpoint_id IN (
    SELECT c.checkpoint_id FROM checkpoints AS c
    WHERE c.owner = :owner AND c.thread_id = :thread_id AND c.gone = 1
      AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = c.run_id)
      AND NOT EXISTS (SELECT 1 FROM inherited AS i WHERE i.checkpoint_id = c.checkpoint_id)
    LIMIT :limit)

-- name: delete_events_of_thread
DELETE FROM events WHERE (owner, thread_id, last_seq) IN (
    SELECT owner, thread_id, last_seq FROM events WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: delete_checkpoints_of_thread
DELETE FROM checkpoints WHERE checkpoint_id IN (
    SELECT checkpoint_id FROM checkpoints
    WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: delete_pending_of_thread
DELETE FROM pending_writes WHERE (owner, thread_id, namespace, on_id, task_id, idx, aside) IN (
    SELECT owner, thread_id, namespace, on_id, task_id, idx, aside FROM pending_writes
    WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: delete_aside_of_run
-- What the run had settled or replaced: without its record it is not rolled back any more.
DELETE FROM pending_writes WHERE (owner, thread_id, namespace, on_id, task_id, idx, aside) IN (
    SELECT owner, thread_id, namespace, on_id, task_id, idx, aside FROM pending_writes
    WHERE owner = :owner AND thread_id = :thread_id AND aside = :run_id AND aside <> '' LIMIT :limit)

-- name: delete_inherited_of_thread
DELETE FROM inherited WHERE (checkpoint_id, owner, thread_id) IN (
    SELECT checkpoint_id, owner, thread_id FROM inherited
    WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: release_origin
-- The thread that this one was copied from may be swept now.
UPDATE threads SET unswept = 1
WHERE owner = :owner AND thread_id = (SELECT origin_thread FROM threads WHERE owner = :owner AND thread_id = :thread_id)

-- name: release_sources
-- The same of the threads from which it has states of subgraphs.
UPDATE threads SET unswept = 1
WHERE owner = :owner AND thread_id = ANY (ARRAY(
    SELECT source FROM inherited WHERE owner = :owner AND thread_id = :thread_id))

-- name: forget_inherited
DELETE FROM inherited WHERE owner = :owner AND thread_id = :thread_id

-- name: forget_origin
UPDATE threads SET unswept = 0, origin = NULL, origin_thread = NULL WHERE owner = :owner AND thread_id = :thread_id

-- name: revived
-- A deleted copy whose id is used again descends from nothing any more, once its old checkpoints are gone.
SELECT 1 FROM threads
WHERE owner = :owner AND thread_id = :thread_id AND origin IS NULL AND coalesce(origin_thread, '') <> ''
  AND NOT EXISTS (SELECT 1 FROM checkpoints AS c
                  WHERE c.owner = threads.owner AND c.thread_id = threads.thread_id AND c.gone = 1)

-- name: delete_expired_items
DELETE FROM items WHERE (owner, namespace, key) IN (
    SELECT owner, namespace, key FROM items
    WHERE expires_at IS NOT NULL AND expires_at <= :now LIMIT :limit)

-- name: delete_old_keys
DELETE FROM idempotency WHERE (owner, route, key) IN (
    SELECT owner, route, key FROM idempotency WHERE created_at < :before LIMIT :limit)

-- name: trace
SELECT context FROM traces WHERE run_id = $1

-- name: forget_trace
DELETE FROM traces WHERE run_id = $1

-- name: insert_delivery
-- Reads of a delivery select its columns in the order of `deliveries.Delivery`.
INSERT INTO outbox (delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at)
VALUES (:delivery_id, :owner, :run_id, :thread_id, :url, :host, :now, :now, :now)
RETURNING number

-- name: insert_notice
INSERT INTO notices (number, run, state, questions) VALUES ($1, $2, $3, $4)

-- name: due_hosts
-- Every host that has deliveries to come, and when the first of them is due: one step into the index per host, however
-- many deliveries wait for it.
WITH RECURSIVE hosts (host) AS (
    SELECT min(host) FROM outbox WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(host) FROM outbox WHERE due_at IS NOT NULL AND host > hosts.host)
    FROM hosts WHERE host IS NOT NULL
)
SELECT host, (SELECT min(due_at) FROM outbox WHERE host = hosts.host AND due_at IS NOT NULL)
FROM hosts WHERE host IS NOT NULL
ORDER BY 2

-- name: take_deliveries
-- Whoever takes a delivery has it until its lease ends. The try is counted here.
UPDATE outbox
SET lease = lease + 1, sending = 1, attempts = attempts + 1, attempted_at = :now, due_at = :until
WHERE delivery_id = ANY (ARRAY(
    SELECT delivery_id FROM outbox
    WHERE host = :host AND due_at IS NOT NULL AND due_at <= :now ORDER BY due_at LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
))
RETURNING delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
          attempted_at, delivered_at, parked_at, last_status, last_error

-- name: settle_delivery
-- Guarded by the lease, as everything that is recorded of a try.
UPDATE outbox
SET due_at = NULL, sending = 0, delivered_at = :delivered_at, parked_at = :parked_at, last_status = :status,
    last_error = :error
WHERE delivery_id = :delivery_id AND lease = :lease AND sending + 0 = 1
RETURNING 1

-- name: retry_delivery
UPDATE outbox SET due_at = :due_at, sending = 0, last_status = :status, last_error = :error
WHERE delivery_id = :delivery_id AND lease = :lease AND sending + 0 = 1
RETURNING 1

-- name: release_delivery
-- The try was cut short, and does not count.
UPDATE outbox SET due_at = $1, sending = 0, attempts = attempts - 1
WHERE delivery_id = $2 AND lease = $3 AND sending + 0 = 1
RETURNING 1

-- name: recall_deliveries
-- Those that a server that is gone was sending: others may be sending theirs.
UPDATE outbox SET due_at = $1, sending = 0 WHERE sending = 1 AND due_at <= $1

-- name: resend_delivery
-- Trying begins anew, at once. One that is being sent at this moment is left alone.
UPDATE outbox SET due_at = :now, began_at = :now, attempts = 0, delivered_at = NULL, parked_at = NULL
WHERE delivery_id = :delivery_id AND owner || '' = :owner AND sending = 0

-- name: delivery
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE delivery_id = $1 AND owner || '' = $2

-- name: notice
SELECT notices.run, state, questions FROM notices
WHERE number = (SELECT number FROM outbox WHERE delivery_id = $1 AND owner || '' = $2)

-- name: search_deliveries
-- Newest first.
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE (owner, number) >= (:owner, 0) AND (owner, number) <= (:owner, 9223372036854775807)
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
        AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at))
ORDER BY owner DESC, number DESC LIMIT :limit OFFSET :offset

-- name: search_deliveries_pending
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE owner = :owner AND due_at IS NOT NULL
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
        AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_deliveries_parked
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE owner = :owner AND parked_at IS NOT NULL
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
        AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_deliveries_delivered
-- Most are delivered: the newest rows hold enough of them.
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE (owner, number) >= (:owner, 0) AND (owner, number) <= (:owner, 9223372036854775807) AND delivered_at IS NOT NULL
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
        AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at))
ORDER BY owner DESC, number DESC LIMIT :limit OFFSET :offset

-- name: delivery_of_run
-- One at most.
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE owner || '' = :owner AND run_id = :run_id
  AND (:within::bytea IS NULL OR (
      SELECT readable_json(t.metadata) @> readable_json(:within) FROM threads AS t
      WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
        AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at))

-- name: settled_deliveries
SELECT number FROM outbox
WHERE due_at IS NULL AND coalesce(delivered_at, parked_at) < $1 ORDER BY coalesce(delivered_at, parked_at) LIMIT 200

-- name: delete_notice
DELETE FROM notices WHERE number = $1

-- name: delete_delivery
DELETE FROM outbox WHERE number = $1

-- name: begin_alone
-- A run on a new hidden thread. Its first attempt, if it has begun, holds lease 1.
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::bytea[], $8::integer[],
        $9::smallint[], $10::text[], $11::integer[], $12::text[], $13::integer[], $14::smallint[], $15::bigint[],
        $16::bigint[], $17::text[], $18::bigint[], $19::bytea[], $20::bytea[]
    ) AS w (
        owner, thread_id, run_id, agent_id, now, metadata, request, max_attempts, stateless, strategy, concurrency,
        status, attempt, ready, due_at, started_at, thread_status, last_seq, events, thread_metadata
    )
), thread AS (
    INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden, last_seq, lease)
    SELECT owner, thread_id, now, now, thread_metadata, thread_status, 1, last_seq, attempt FROM wanted
), log AS (
    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    SELECT owner, thread_id, last_seq, 1, run_id, now, events FROM wanted
)
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                  max_attempts, invocation, first_seq, stateless, line, due_at, started_at, strategy, ready,
                  concurrency, worker)
SELECT run_id, thread_id, owner, agent_id, status, now, now, metadata, request, attempt, max_attempts, run_id, 0,
       stateless, coalesce(due_at, now), due_at, started_at, strategy, ready, concurrency,
       CASE WHEN status = 'running' THEN current_setting('runyard.worker', true) END
FROM wanted

-- name: begin_next
-- A run that executes at once on a thread that nothing is in line on. An open question is given up.
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::bytea[], $8::integer[],
        $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::bytea[]
    ) WITH ORDINALITY AS w (
        owner, thread_id, run_id, agent_id, now, metadata, request, max_attempts, head, first_seq, lease, strategy,
        last_seq, events, place
    )
    ORDER BY owner COLLATE "C", thread_id COLLATE "C"
), thread AS (
    UPDATE threads SET lease = w.lease, last_seq = w.last_seq, status = 'busy', asking = 0, updated_at = w.now
    FROM wanted AS w
    WHERE threads.owner = w.owner AND threads.thread_id = w.thread_id AND threads.lease = w.lease - 1
      AND threads.last_seq = w.first_seq AND threads.deleted_at IS NULL AND threads.head IS NOT DISTINCT FROM w.head
    RETURNING w.*
), run AS (
    INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                      max_attempts, invocation, base, prior_head, first_seq, stateless, line, started_at, strategy,
                      ready, worker)
    SELECT run_id, thread_id, owner, agent_id, 'running', now, now, metadata, request, 1, max_attempts, run_id, head,
           head, first_seq, 0, now, now, strategy, 0, current_setting('runyard.worker', true)
    FROM thread ORDER BY place
)
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
SELECT owner, thread_id, last_seq, first_seq + 1, run_id, now, events FROM thread

-- name: begin_waiting
-- An attempt of a run that was in line. A new lease, and one event: that the attempt has begun. An open question is
-- answered or given up.
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::integer[],
        $9::integer[], $10::text[], $11::text[], $12::bigint[], $13::bytea[]
    ) AS w (
        owner, thread_id, run_id, number, now, lease, last_seq, attempt, concurrency, base, prior_head, started_at,
        events
    )
    ORDER BY owner COLLATE "C", thread_id COLLATE "C"
), thread AS (
    UPDATE threads SET lease = w.lease, last_seq = w.last_seq, status = 'busy', asking = 0, updated_at = w.now
    FROM wanted AS w
    WHERE threads.owner = w.owner AND threads.thread_id = w.thread_id AND threads.lease = w.lease - 1
      AND threads.last_seq = w.last_seq - 1
    RETURNING w.*
), run AS (
    UPDATE runs
    SET status = 'running', ready = 0, attempt = w.attempt, updated_at = w.now, concurrency = w.concurrency,
        prior_head = w.prior_head, base = w.base, started_at = w.started_at,
        worker = current_setting('runyard.worker', true)
    FROM thread AS w
    WHERE runs.number = w.number AND runs.status || '' = 'pending' AND runs.ready > 0
    RETURNING w.*
)
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
SELECT owner, thread_id, last_seq, last_seq, run_id, now, events FROM run

-- name: end_alone
-- The end of an attempt whose thread has nothing else in line. Guarded like the verbs that it stands for; where nobody
-- looked at the line, the thread has to be one that no other run can be on (hidden = 1).
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bytea[],
        $9::bigint[], $10::text[], $11::text[], $12::smallint[], $13::text[], $14::bigint[], $15::bigint[],
        $16::bytea[], $17::text[], $18::smallint[]
    ) AS w (
        owner, thread_id, run_id, lease, now, status, outcome, failure, expires_at, head, last_checkpoint, asking,
        thread_status, first_seq, last_seq, events, cancel, hidden
    )
    ORDER BY owner COLLATE "C", thread_id COLLATE "C"
), thread AS (
    UPDATE threads
    SET last_seq = w.last_seq, lease = threads.lease + 1, head = w.head, asking = w.asking, last_outcome = w.outcome,
        status = w.thread_status, updated_at = w.now
    FROM wanted AS w
    WHERE threads.owner = w.owner AND threads.thread_id = w.thread_id AND threads.lease = w.lease
      AND threads.last_seq = w.first_seq - 1 AND threads.deleted_at IS NULL AND threads.hidden >= w.hidden
    RETURNING w.*
), run AS (
    UPDATE runs
    SET status = w.status, outcome = w.outcome, failure = w.failure, last_seq = w.last_seq, ended_at = w.now,
        updated_at = w.now, ready = 0, due_at = NULL, expires_at = w.expires_at, last_checkpoint = w.last_checkpoint
    FROM thread AS w
    WHERE runs.run_id = w.run_id AND runs.status || '' = 'running' AND runs.cancel IS NOT DISTINCT FROM w.cancel
    RETURNING w.*
)
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
SELECT owner, thread_id, last_seq, first_seq, run_id, now, events FROM run

-- name: move_on
-- An attempt has come to another state.
WITH wanted AS (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]
    ) AS w (
        owner, thread_id, run_id, head, now
    )
    ORDER BY owner COLLATE "C", thread_id COLLATE "C"
), thread AS (
    UPDATE threads SET head = w.head, asking = 0, updated_at = w.now FROM wanted AS w
    WHERE threads.owner = w.owner AND threads.thread_id = w.thread_id
)
UPDATE runs SET last_checkpoint = w.head, updated_at = w.now FROM wanted AS w WHERE runs.run_id = w.run_id

-- name: give
-- What tasks of graphs gave on top of a state, in their order; without a value, that it is settled.
SELECT give(w.owner, w.thread_id, w.namespace, w.on_id, w.task_id, w.idx, w.channel, w.value, w.path, w.run_id)
FROM (
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bytea[], $9::text[],
        $10::text[]
    ) WITH ORDINALITY AS w (
        owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, run_id, place
    )
    ORDER BY place
) AS w

-- name: insert_checkpoint
INSERT INTO checkpoints (owner, checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body,
                         full_size, chain_size, asked, namespace)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[],
    $10::bytea[], $11::bigint[], $12::bigint[], $13::bytea[], $14::text[]
) AS w (
    owner, checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size,
    chain_size, asked, namespace
)

-- name: insert_events
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bytea[]
) AS w (
    owner, thread_id, last_seq, first_seq, run_id, at, body
)

-- name: insert_key
INSERT INTO idempotency (owner, route, key, body_hash, run, run_id, created_at)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::bigint[]
) AS w (
    owner, route, key, body_hash, run, run_id, created_at
)

-- name: insert_trace
INSERT INTO traces (run_id, context)
SELECT * FROM unnest(
    $1::text[], $2::text[]
) AS w (
    run_id, context
)

-- assistants: reads select the columns in the order of `assistants.Assistant`

-- name: insert_assistant
-- A new assistant, or nothing where the id is taken.
INSERT INTO assistants (owner, assistant_id, version, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING 1

-- name: insert_assistant_version
INSERT INTO assistant_versions (owner, assistant_id, version, agent_id, created_at, name, folded, description, metadata,
                                config, context)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- name: assistant
SELECT assistants.assistant_id, assistants.owner, agent_id, assistants.version, assistants.created_at, updated_at,
       name, description, metadata, config, context
FROM assistants JOIN assistant_versions AS versions
     ON versions.owner = assistants.owner AND versions.assistant_id = assistants.assistant_id
    AND versions.version = assistants.version
WHERE assistants.owner = $1 AND assistants.assistant_id = $2

-- name: search_assistants
SELECT assistant_id, owner, agent_id, version, created_at, updated_at, name, description, metadata, config, context
FROM (
    SELECT assistants.assistant_id, assistants.owner, agent_id, assistants.version, assistants.created_at, updated_at,
           name, description, metadata, config, context,
           CASE :sort_by::text WHEN 'assistant_id' THEN assistants.assistant_id WHEN 'agent_id' THEN agent_id
                         WHEN 'name' THEN name WHEN 'updated_at' THEN lpad(updated_at::text, 20, '0')
                         ELSE lpad(assistants.created_at::text, 20, '0') END AS place
    FROM assistants JOIN assistant_versions AS versions
         ON versions.owner = assistants.owner AND versions.assistant_id = assistants.assistant_id
        AND versions.version = assistants.version
    WHERE assistants.owner = :owner AND (:agent_id::text IS NULL OR agent_id = :agent_id)
      AND (:name::text IS NULL OR strpos(folded, :name) > 0)
      AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
) AS found
ORDER BY CASE WHEN :descending THEN place END DESC, CASE WHEN :descending THEN NULL ELSE place END, assistant_id
LIMIT :limit OFFSET :offset

-- name: count_assistants
SELECT count(*)
FROM assistants JOIN assistant_versions AS versions
     ON versions.owner = assistants.owner AND versions.assistant_id = assistants.assistant_id
    AND versions.version = assistants.version
WHERE assistants.owner = :owner AND (:agent_id::text IS NULL OR agent_id = :agent_id)
  AND (:name::text IS NULL OR strpos(folded, :name) > 0)
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))

-- name: assistants_among
-- Those of some ids that have a row.
SELECT assistant_id FROM assistants
WHERE owner = :owner AND assistant_id IN (SELECT jsonb_array_elements_text(:ids::jsonb))

-- name: assistant_versions
-- Newest first, each as the assistant was when that version was made.
SELECT assistant_id, owner, agent_id, version, created_at, created_at, name, description, metadata, config, context
FROM assistant_versions
WHERE owner = :owner AND assistant_id = :assistant_id
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
ORDER BY version DESC LIMIT :limit OFFSET :offset

-- name: last_assistant_version
SELECT max(version) FROM assistant_versions WHERE owner = $1 AND assistant_id = $2

-- name: set_assistant_version
-- Makes a version the one that counts, where there is such a version.
UPDATE assistants SET version = $1, updated_at = $2
WHERE owner = $3 AND assistant_id = $4 AND EXISTS (
    SELECT 1 FROM assistant_versions AS versions
    WHERE versions.owner = $3 AND versions.assistant_id = $4 AND versions.version = $1
)
RETURNING 1

-- name: delete_assistant
DELETE FROM assistants WHERE owner = $1 AND assistant_id = $2 RETURNING 1

-- name: delete_assistant_versions
DELETE FROM assistant_versions WHERE owner = $1 AND assistant_id = $2

-- name: delete_crons_of_assistant
DELETE FROM crons WHERE owner = $1 AND assistant_id = $2

-- name: published_at
SELECT agent_id, published_at FROM agents

-- crons: reads select the columns in the order of `crons.Cron`

-- name: insert_cron
INSERT INTO crons (cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed,
                   created_at, updated_at, payload, metadata, next_at, fired_at, revision, last_error)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)

-- name: cron
SELECT cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed, created_at,
       updated_at, payload, metadata, next_at, fired_at, revision, last_error
FROM crons WHERE owner = $1 AND cron_id = $2

-- name: search_crons
SELECT cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed, created_at,
       updated_at, payload, metadata, next_at, fired_at, revision, last_error
FROM (
    SELECT *, CASE :sort_by::text WHEN 'cron_id' THEN cron_id WHEN 'assistant_id' THEN assistant_id
                            WHEN 'thread_id' THEN coalesce(thread_id, '~')
                            WHEN 'updated_at' THEN lpad(updated_at::text, 20, '0')
                            WHEN 'next_run_date' THEN coalesce(lpad(next_at::text, 20, '0'), '~')
                            WHEN 'end_time' THEN coalesce(lpad(end_time::text, 20, '0'), '~')
                            ELSE lpad(created_at::text, 20, '0') END AS place
    FROM crons
    WHERE owner = :owner AND (:assistant_id::text IS NULL OR assistant_id = :assistant_id)
      AND (:thread_id::text IS NULL OR thread_id = :thread_id) AND (:enabled::smallint IS NULL OR enabled = :enabled)
      AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))
) AS found
ORDER BY CASE WHEN :descending THEN place END DESC, CASE WHEN :descending THEN NULL ELSE place END, cron_id
LIMIT :limit OFFSET :offset

-- name: count_crons
SELECT count(*) FROM crons
WHERE owner = :owner AND (:assistant_id::text IS NULL OR assistant_id = :assistant_id)
  AND (:thread_id::text IS NULL OR thread_id = :thread_id) AND (:enabled::smallint IS NULL OR enabled = :enabled)
  AND (:metadata::bytea IS NULL OR readable_json(metadata) @> readable_json(:metadata))

-- name: change_cron
UPDATE crons
SET schedule = :schedule, timezone = :timezone, end_time = :end_time, enabled = :enabled,
    on_run_completed = :on_run_completed, updated_at = :updated_at, payload = :payload, metadata = :metadata,
    next_at = :next_at, fired_at = :fired_at, revision = :revision, last_error = :last_error
WHERE owner = :owner AND cron_id = :cron_id

-- name: delete_cron
DELETE FROM crons WHERE owner = $1 AND cron_id = $2 RETURNING 1

-- name: delete_crons_of_thread
DELETE FROM crons WHERE owner = $1 AND thread_id = $2

-- name: cron_to_come
-- Whether a thread has a cron that is to fire.
SELECT 1 FROM crons WHERE owner = $1 AND thread_id = $2 AND next_at IS NOT NULL LIMIT 1

-- name: due_crons
-- Those whose firing has come, the oldest first, behind one of them.
SELECT cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed, created_at,
       updated_at, payload, metadata, next_at, fired_at, revision, last_error
FROM crons
WHERE next_at IS NOT NULL AND next_at <= :now AND (next_at, owner, cron_id) > (:at, :owner, :cron_id)
ORDER BY next_at, owner, cron_id LIMIT :limit

-- name: next_firing
SELECT min(next_at) FROM crons WHERE next_at IS NOT NULL
