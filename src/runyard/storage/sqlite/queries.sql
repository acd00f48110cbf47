-- Every statement of the SQLite adapter, by name. Reads of a run select its columns in the order of `runs.Run`, reads
-- of a thread in that of `threads.Thread`, reads of a checkpoint in that of `checkpoints.Checkpoint`.

-- name: insert_thread
-- A new thread, or nothing where the id is taken.
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden)
VALUES (:owner, :thread_id, :now, :now, :metadata, 'idle', :hidden)
ON CONFLICT DO NOTHING
RETURNING 1

-- name: begin_alone
INSERT INTO begin_alone (owner, thread_id, run_id, agent_id, now, metadata, request, max_attempts, stateless, strategy,
                         concurrency, status, attempt, ready, due_at, started_at, thread_status, last_seq, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: revive_thread
-- A deleted id is used again: its numbers continue, everything else begins anew.
UPDATE threads
SET created_at = :now, updated_at = :now, metadata = :metadata, status = 'idle', head = NULL, asking = 0,
    last_outcome = NULL, floor_seq = last_seq, lease = lease + 1, hidden = 0, origin = NULL, deleted_at = NULL
WHERE owner = :owner AND thread_id = :thread_id AND deleted_at IS NOT NULL
RETURNING 1

-- name: thread
-- A thread's header, hidden ones too.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads
WHERE owner = ? AND thread_id = ? AND deleted_at IS NULL

-- name: search_threads
-- Newest first.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads INDEXED BY threads_newest
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:status IS NULL OR status = :status)
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY created_at DESC, thread_id DESC
LIMIT :limit OFFSET :offset

-- name: thread_standing
-- What the rules of a thread's line need to know of it.
SELECT status, head, asking, last_outcome, last_seq, lease, hidden
FROM threads
WHERE owner = ? AND thread_id = ? AND deleted_at IS NULL

-- name: numbers
-- A thread's numbers, also of a deleted one: readers that are attached still end in order.
SELECT last_seq, floor_seq FROM threads WHERE owner = ? AND thread_id = ?

-- name: take_numbers
-- Assigns numbers to events from outside an attempt.
UPDATE threads SET last_seq = last_seq + ? WHERE owner = ? AND thread_id = ? RETURNING last_seq

-- name: take_numbers_fenced
-- The fence: assigns numbers and proves the lease of an attempt.
UPDATE threads SET last_seq = last_seq + ? WHERE owner = ? AND thread_id = ? AND lease = ? AND deleted_at IS NULL
RETURNING last_seq

-- name: claim_thread
-- A new lease; the number is that of the attempt's last event so far. An open question is answered or given up.
UPDATE threads SET lease = lease + 1, last_seq = last_seq + ?, status = 'busy', asking = 0, updated_at = ?
WHERE owner = ? AND thread_id = ?
RETURNING lease, last_seq, head

-- name: move_head
-- The thread's state is now another checkpoint.
UPDATE threads SET head = ?, asking = ?, updated_at = ? WHERE owner = ? AND thread_id = ?

-- name: end_attempt
-- The lease ends with the attempt: whatever still runs of it can write nothing.
UPDATE threads
SET lease = lease + 1, head = ?, asking = ?, last_outcome = coalesce(?, last_outcome), updated_at = ?
WHERE owner = ? AND thread_id = ?

-- name: set_thread_status
UPDATE threads SET status = ?, updated_at = max(updated_at, ?) WHERE owner = ? AND thread_id = ? AND status <> ?

-- name: show_thread
-- A stateless run that asks keeps its thread, in sight, so that it can be answered.
UPDATE threads SET hidden = 0 WHERE owner = ? AND thread_id = ?

-- name: merge_thread_metadata
UPDATE threads SET metadata = ?, updated_at = ? WHERE owner = ? AND thread_id = ?

-- name: bury_thread
-- Out of sight at once; rows go later, by reachability. The events of a run that is kept are not below the floor.
UPDATE threads
SET deleted_at = :now, lease = lease + 1, head = NULL, asking = 0, metadata = x'7b7d', status = 'idle',
    floor_seq = coalesce((SELECT first_seq FROM runs WHERE run_id = :keep), last_seq)
WHERE owner = :owner AND thread_id = :thread_id

-- name: copy_thread
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, head, asking, origin)
SELECT owner, :new_id, :now, :now, metadata, CASE WHEN asking THEN 'interrupted' ELSE 'idle' END, head, asking, head
FROM threads WHERE owner = :owner AND thread_id = :thread_id

-- name: insert_run
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                  max_attempts, invocation, base, prior_head, first_seq, stateless, line, due_at, started_at, resumes,
                  strategy, ready, concurrency)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: run
-- A run that is not tombstoned.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs WHERE run_id = ? AND owner = ? AND deleted_at IS NULL

-- name: run_row
-- A run, tombstoned or not, whoever owns it.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs WHERE run_id = ?

-- name: search_runs_of_thread
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND deleted_at IS NULL
  AND (:agent_id IS NULL OR agent_id = :agent_id)
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_of_agent
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_of_agent
WHERE owner = :owner AND agent_id = :agent_id AND deleted_at IS NULL
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_of_status
-- One status that is not success: such runs are few, and have an index of their own.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_rare
WHERE owner = :owner AND status = :status AND status <> 'success' AND deleted_at IS NULL
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_newest
WHERE owner = :owner AND deleted_at IS NULL
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: line
-- The runs of a thread that execute or wait, in their order.
SELECT number, run_id, status, ready, resumes, due_at, attempt, cancel
FROM runs INDEXED BY runs_active
WHERE owner = ? AND thread_id = ? AND status IN ('pending', 'running')
ORDER BY line, number

-- name: make_ready
-- A suspect is ready too, but not for everybody: see `ready_apart`.
UPDATE runs SET ready = CASE WHEN losses >= 2 THEN 2 ELSE 1 END WHERE number = ? AND status = 'pending' AND due_at IS NULL

-- name: not_ready
-- Nobody may claim what is no longer first in line.
UPDATE runs SET ready = 0 WHERE number = ?

-- name: ready
-- What can be claimed of one agent's runs.
SELECT number, run_id, owner, thread_id FROM runs INDEXED BY runs_ready
WHERE agent_id = ? AND ready = 1 ORDER BY line, number LIMIT ?

-- name: ready_apart
-- Runs that are suspected of ending the server, those that did least often first.
SELECT number, run_id, owner, thread_id, agent_id FROM runs INDEXED BY runs_apart
WHERE ready = 2 ORDER BY losses, line, number LIMIT 50

-- name: on_probation
-- The suspect that executes.
SELECT run_id FROM runs INDEXED BY runs_on_probation WHERE status = 'running' AND losses >= 2 LIMIT 1

-- name: acquit
UPDATE runs SET losses = 0 WHERE run_id = ? AND status = 'running'

-- name: count_loss
UPDATE runs SET losses = losses + ? WHERE run_id = ?

-- name: running_of_agent
-- Of an agent with a limit.
SELECT count(*) FROM runs INDEXED BY runs_limited
WHERE agent_id = ? AND status = 'running' AND concurrency IS NOT NULL

-- name: claim_run
-- The attempt is counted here; the first one fixes what the run builds on.
UPDATE runs
SET status = 'running', ready = 0, attempt = attempt + 1, updated_at = :now, concurrency = :concurrency,
    prior_head = CASE WHEN started_at IS NULL THEN :head ELSE prior_head END,
    base = CASE WHEN started_at IS NULL THEN coalesce(base, :head) ELSE base END,
    started_at = coalesce(started_at, :now)
WHERE number = :number AND status = 'pending' AND ready > 0
RETURNING 1

-- name: due
-- Delayed runs whose time has come.
SELECT number, run_id, owner, thread_id, attempt, strategy, due_at FROM runs INDEXED BY runs_due
WHERE due_at IS NOT NULL AND status = 'pending' AND due_at <= ? ORDER BY due_at LIMIT 200

-- name: join_line
UPDATE runs SET due_at = NULL, line = coalesce(?, line) WHERE number = ?

-- name: next_due
SELECT min(due_at) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL AND status = 'pending'

-- name: set_last_checkpoint
UPDATE runs SET last_checkpoint = ?, updated_at = ? WHERE run_id = ?

-- name: request_cancel
UPDATE runs SET cancel = ?, updated_at = ? WHERE run_id = ? AND status = 'running'

-- name: attempt_standing
-- All that the end of an attempt needs to know, while the attempt holds its lease: the run, its thread's last number and
-- head, and whether other runs of the thread are active.
SELECT runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at, runs.metadata,
       request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint,
       first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       threads.last_seq, head,
       EXISTS (
           SELECT 1 FROM runs AS others INDEXED BY runs_active
           WHERE others.owner = runs.owner AND others.thread_id = runs.thread_id
             AND others.status IN ('pending', 'running') AND others.run_id <> runs.run_id
       )
FROM runs CROSS JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
WHERE runs.run_id = ? AND runs.status = 'running' AND threads.lease = ? AND threads.deleted_at IS NULL

-- name: end_alone
INSERT INTO end_alone (owner, thread_id, run_id, lease, now, status, outcome, failure, expires_at, head,
                       last_checkpoint, asking, thread_status, first_seq, last_seq, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: end_run
-- Guarded: a run ends once.
UPDATE runs
SET status = :status, outcome = :outcome, failure = :failure, last_seq = :last_seq, ended_at = :now, updated_at = :now,
    ready = 0, due_at = NULL, expires_at = :expires_at, deleted_at = :deleted_at,
    last_checkpoint = coalesce(:last_checkpoint, last_checkpoint)
WHERE run_id = :run_id AND status IN ('pending', 'running')
RETURNING 1

-- name: requeue_run
UPDATE runs
SET status = 'pending', due_at = :due_at, updated_at = :now, attempt = attempt - :refund,
    last_checkpoint = coalesce(:last_checkpoint, last_checkpoint)
WHERE run_id = :run_id AND status = 'running'
RETURNING 1

-- name: bury_run
UPDATE runs SET deleted_at = :now, outcome = coalesce(:outcome, outcome), expires_at = :expires_at, updated_at = :now
WHERE run_id = :run_id AND ended_at IS NOT NULL

-- name: bury_runs_of_thread
UPDATE runs SET deleted_at = :now, expires_at = :now WHERE owner = :owner AND thread_id = :thread_id
  AND deleted_at IS NULL AND ended_at IS NOT NULL AND run_id IS NOT :keep

-- name: started_later
-- Whether another run of the thread began after this one.
SELECT 1 FROM runs INDEXED BY runs_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND deleted_at IS NULL AND started_at IS NOT NULL
  AND number > (SELECT number FROM runs WHERE run_id = :run_id) LIMIT 1

-- name: executing
-- Everything that held a lease when the server stopped.
SELECT run_id, owner, thread_id, attempt, max_attempts, cancel, losses FROM runs WHERE status = 'running'
ORDER BY number

-- name: insert_checkpoint
INSERT INTO checkpoints (owner, checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body,
                         full_size, chain_size, asked)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: checkpoint
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked
FROM checkpoints WHERE checkpoint_id = ? AND owner = ?

-- name: chain
-- From a checkpoint up to the nearest full one.
WITH RECURSIVE chain (checkpoint_id, parent_id, kind, body, depth) AS (
    SELECT checkpoint_id, parent_id, kind, body, 0 FROM checkpoints WHERE checkpoint_id = ?
    UNION ALL
    SELECT above.checkpoint_id, above.parent_id, above.kind, above.body, chain.depth + 1
    FROM chain JOIN checkpoints AS above ON above.checkpoint_id = chain.parent_id
    WHERE chain.kind = 'delta'
)
SELECT kind, body FROM chain ORDER BY depth DESC

-- name: history
-- A thread's own checkpoints, newest first.
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked
FROM checkpoints INDEXED BY checkpoints_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0 AND (:before IS NULL OR checkpoint_id < :before)
ORDER BY checkpoint_id DESC LIMIT :limit

-- name: lineage
-- A checkpoint and those it came from, newest first, from `before` on (exclusive).
WITH RECURSIVE lineage (checkpoint_id, parent_id, depth) AS (
    SELECT checkpoint_id, parent_id, 0 FROM checkpoints WHERE checkpoint_id = :origin
    UNION ALL
    SELECT above.checkpoint_id, above.parent_id, lineage.depth + 1
    FROM lineage JOIN checkpoints AS above ON above.checkpoint_id = lineage.parent_id
)
SELECT c.checkpoint_id, c.thread_id, c.parent_id, c.run_id, c.created_at, c.step, c.source, c.kind, c.body,
       c.full_size, c.chain_size, c.asked
FROM lineage JOIN checkpoints AS c ON c.checkpoint_id = lineage.checkpoint_id
WHERE :before IS NULL OR c.checkpoint_id < :before
ORDER BY lineage.depth LIMIT :limit

-- name: belongs
-- Whether a checkpoint is the thread's own, or among those that it was copied from.
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE checkpoint_id = :checkpoint_id AND owner = :owner
               AND thread_id = :thread_id AND gone = 0)
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

-- name: origin
SELECT origin FROM threads WHERE owner = ? AND thread_id = ?

-- name: undo_checkpoints
UPDATE checkpoints SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id AND gone = 0

-- name: bury_checkpoints
UPDATE checkpoints SET gone = 1 WHERE owner = ? AND thread_id = ? AND gone = 0

-- name: asked_of
SELECT asked FROM checkpoints WHERE checkpoint_id = ?

-- name: insert_events
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: events
SELECT first_seq, last_seq, run_id, at, body FROM events
WHERE owner = ? AND thread_id = ? AND last_seq > ? ORDER BY last_seq

-- name: delete_events
DELETE FROM events WHERE owner = ? AND thread_id = ? AND last_seq BETWEEN ? AND ? AND run_id = ?

-- name: upsert_record
INSERT INTO records (invocation, kind, name, nth, place, run_id, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET body = excluded.body

-- name: records
SELECT kind, name, nth, body, place FROM records WHERE invocation = ? ORDER BY place

-- name: forget_records
DELETE FROM records WHERE run_id = ?

-- name: known_key
SELECT body_hash, run, run_id FROM idempotency WHERE owner = ? AND route = ? AND key = ?

-- name: insert_key
INSERT INTO idempotency (owner, route, key, body_hash, run, run_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: put_item
INSERT INTO items (owner, namespace, key, value, created_at, updated_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
    created_at = CASE WHEN items.expires_at <= excluded.updated_at THEN excluded.created_at ELSE items.created_at END

-- name: get_item
SELECT namespace, key, value, created_at, updated_at FROM items
WHERE owner = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)

-- name: delete_item
DELETE FROM items WHERE owner = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?) RETURNING 1

-- name: search_items
-- Everything of an owner, updated last first.
SELECT namespace, key, value, created_at, updated_at FROM items INDEXED BY items_newest
WHERE owner = :owner AND (expires_at IS NULL OR expires_at > :now) AND (:filter IS NULL OR passes(value, :filter))
ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset

-- name: search_items_below
-- The items below a namespace, updated last first.
SELECT namespace, key, value, created_at, updated_at FROM items
WHERE owner = :owner AND namespace >= :low AND namespace < :high AND (expires_at IS NULL OR expires_at > :now)
  AND (:filter IS NULL OR passes(value, :filter))
ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset

-- name: next_namespace
-- The first namespace above another: listing jumps from one to the next and never reads the items between.
SELECT namespace FROM items WHERE owner = ? AND namespace > ? ORDER BY namespace LIMIT 1

-- name: alive_in_namespace
SELECT 1 FROM items WHERE owner = ? AND namespace = ? AND (expires_at IS NULL OR expires_at > ?) LIMIT 1

-- name: publish_agent
INSERT INTO agents (agent_id, body, updated_at) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at

-- name: agents
SELECT body FROM agents ORDER BY agent_id

-- name: waiting_by_agent
SELECT agent_id, count(*) FROM (
    SELECT agent_id FROM runs INDEXED BY runs_ready WHERE ready = 1
    UNION ALL SELECT agent_id FROM runs INDEXED BY runs_apart WHERE ready = 2)
GROUP BY agent_id

-- name: expired_runs
SELECT run_id, owner, thread_id, first_seq, last_seq, stateless FROM runs INDEXED BY runs_expired
WHERE expires_at IS NOT NULL AND expires_at <= ? AND ended_at IS NOT NULL LIMIT 200

-- name: delete_run
DELETE FROM runs WHERE run_id = ?

-- name: delete_hidden_thread
-- A stateless run's thread goes with it; its checkpoints with it, unless a copy could reach them (none can: hidden).
DELETE FROM threads WHERE owner = ? AND thread_id = ? AND hidden = 1

-- name: delete_checkpoints
DELETE FROM checkpoints WHERE owner = ? AND thread_id = ?

-- name: delete_expired_items
DELETE FROM items WHERE (owner, namespace, key) IN (
    SELECT owner, namespace, key FROM items INDEXED BY items_expired
    WHERE expires_at IS NOT NULL AND expires_at <= ? LIMIT 500)

-- name: delete_old_keys
DELETE FROM idempotency WHERE (owner, route, key) IN (
    SELECT owner, route, key FROM idempotency INDEXED BY idempotency_oldest WHERE created_at < ? LIMIT 500)

-- name: unreachable_checkpoints
-- Checkpoints that are gone, that no event names any more (a run's record may outlive its thread, and its events with
-- it), and from which no living copy descends.
SELECT DISTINCT c.owner, c.thread_id FROM checkpoints AS c
JOIN threads AS t ON t.owner = c.owner AND t.thread_id = c.thread_id
WHERE c.gone = 1 AND t.deleted_at IS NOT NULL AND t.deleted_at <= ?
  AND NOT EXISTS (SELECT 1 FROM runs AS r
                  WHERE r.owner = c.owner AND r.thread_id = c.thread_id AND r.deleted_at IS NULL)
LIMIT 100

-- name: copied_elsewhere
-- Whether a living thread was copied from one of this thread's checkpoints.
SELECT 1 FROM checkpoints AS c JOIN threads AS copy ON copy.origin = c.checkpoint_id
WHERE c.owner = ? AND c.thread_id = ?
  AND (copy.deleted_at IS NULL
       OR EXISTS (SELECT 1 FROM checkpoints AS own WHERE own.owner = copy.owner AND own.thread_id = copy.thread_id))
LIMIT 1

-- name: delete_gone_checkpoints
DELETE FROM checkpoints WHERE owner = ? AND thread_id = ? AND gone = 1

-- name: delete_gone_events
DELETE FROM events WHERE owner = ? AND thread_id = ?
