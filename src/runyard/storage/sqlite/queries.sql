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
                         concurrency, status, attempt, ready, due_at, started_at, thread_status, last_seq, events,
                         thread_metadata)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

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
WHERE owner = ? AND thread_id = ? AND deleted_at IS NULL

-- name: thread_alone
-- A thread that can be seen, and that no run executes or waits on: its head, its last number, its lease.
SELECT head, last_seq, lease FROM threads
WHERE owner = ?1 AND thread_id = ?2 AND deleted_at IS NULL AND hidden = 0 AND NOT EXISTS (
    SELECT 1 FROM runs INDEXED BY runs_active
    WHERE runs.owner = ?1 AND runs.thread_id = ?2 AND status IN ('pending', 'running')
)

-- name: search_threads
-- Newest first.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads INDEXED BY threads_newest
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:status IS NULL OR status = :status)
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY created_at DESC, thread_id DESC
LIMIT :limit OFFSET :offset

-- name: search_threads_labelled
-- By a text of the metadata: the label leads to few threads, the newest first.
SELECT threads.thread_id, threads.owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden,
       floor_seq, asking
FROM labels CROSS JOIN threads ON threads.owner = labels.owner AND threads.thread_id = labels.id
WHERE labels.owner = :owner AND kind = 'thread' AND name = :name AND value = :value
  AND deleted_at IS NULL AND hidden = 0 AND (:status IS NULL OR status = :status) AND contains(metadata, :metadata)
ORDER BY place DESC, id DESC
LIMIT :limit OFFSET :offset

-- name: search_threads_sorted
-- Those that are named, or in another order: all of an owner are looked at.
SELECT thread_id, owner, created_at, updated_at, metadata, status, head, last_seq, lease, hidden, floor_seq, asking
FROM threads INDEXED BY threads_newest
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:ids IS NULL OR thread_id IN (SELECT value FROM json_each(:ids)))
  AND (:status IS NULL OR status = :status)
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY
    CASE :sort WHEN 'thread_id' THEN thread_id WHEN 'status' THEN status END DESC,
    CASE :sort WHEN 'thread_id up' THEN thread_id WHEN 'status up' THEN status END,
    CASE :sort WHEN 'created_at' THEN created_at WHEN 'updated_at' THEN updated_at
        WHEN 'state_updated_at' THEN coalesce((SELECT c.created_at FROM checkpoints AS c WHERE c.checkpoint_id = head), created_at)
        END DESC,
    CASE :sort WHEN 'created_at up' THEN created_at WHEN 'updated_at up' THEN updated_at
        WHEN 'state_updated_at up' THEN coalesce((SELECT c.created_at FROM checkpoints AS c WHERE c.checkpoint_id = head), created_at)
        END,
    created_at DESC, thread_id DESC
LIMIT :limit OFFSET :offset

-- name: count_threads
SELECT count(*)
FROM threads INDEXED BY threads_newest
WHERE owner = :owner AND deleted_at IS NULL AND hidden = 0
  AND (:ids IS NULL OR thread_id IN (SELECT value FROM json_each(:ids)))
  AND (:status IS NULL OR status = :status)
  AND (:metadata IS NULL OR contains(metadata, :metadata))

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

-- name: set_ttl
-- A time of its own, from now on, or none.
UPDATE threads SET ttl = :ttl, ttl_strategy = :strategy, cut_at = NULL, updated_at = :now
WHERE owner = :owner AND thread_id = :thread_id

-- name: ttl_of_thread
SELECT ttl, ttl_strategy FROM threads WHERE owner = ? AND thread_id = ? AND ttl IS NOT NULL

-- name: bury_thread
-- Out of sight at once; rows go later, by reachability. The events of a run that is kept are not below the floor.
UPDATE threads
SET deleted_at = :now, lease = lease + 1, head = NULL, asking = 0, metadata = x'7b7d', status = 'idle', unswept = 1,
    ttl = NULL, ttl_strategy = NULL, cut_at = NULL,
    floor_seq = coalesce((SELECT first_seq FROM runs WHERE run_id = :keep), last_seq)
WHERE owner = :owner AND thread_id = :thread_id

-- name: copy_thread
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, head, asking, origin, origin_thread)
SELECT owner, :new_id, :now, :now, metadata, CASE WHEN asking THEN 'interrupted' ELSE 'idle' END, head, asking, head,
       (SELECT c.thread_id FROM checkpoints AS c WHERE c.checkpoint_id = head)
FROM threads WHERE owner = :owner AND thread_id = :thread_id

-- name: copy_inherited
-- The states of subgraphs are inherited by pointers: the copy's own, and those that the original has inherited.
INSERT INTO inherited (checkpoint_id, owner, thread_id, namespace, source)
SELECT checkpoint_id, owner, :new_id, namespace, thread_id FROM checkpoints INDEXED BY checkpoints_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0
UNION ALL
SELECT checkpoint_id, owner, :new_id, namespace, source FROM inherited INDEXED BY inherited_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0

-- name: copy_pending
-- Writes themselves, for the original removes its own as it goes on. They are few: those no state holds yet.
INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, run_id)
SELECT owner, :new_id, namespace, on_id, task_id, idx, channel, value, path, run_id FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND aside = ''

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
  AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                                  AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_of_agent
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_of_agent
WHERE owner = :owner AND agent_id = :agent_id AND deleted_at IS NULL
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                                  AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_of_status
-- One status that is not success: such runs are few, and have an index of their own.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_rare
WHERE owner = :owner AND status = :status AND status <> 'success' AND deleted_at IS NULL
  AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                                  AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM runs INDEXED BY runs_newest
WHERE owner = :owner AND deleted_at IS NULL
  AND (:statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses)))
  AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes)))
  AND (:metadata IS NULL OR contains(metadata, :metadata))
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                                  AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_runs_labelled
-- By a text of the metadata: the label leads to few runs, the newest first.
SELECT run_id, thread_id, runs.owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM labels CROSS JOIN runs ON runs.number = labels.place
WHERE labels.owner = :owner AND kind = 'run' AND name = :name AND value = :value AND deleted_at IS NULL
  AND (:agent_id IS NULL OR agent_id = :agent_id)
  AND (:statuses IS NULL OR status IN (SELECT json_each.value FROM json_each(:statuses)))
  AND (:outcomes IS NULL OR outcome IN (SELECT json_each.value FROM json_each(:outcomes)))
  AND contains(metadata, :metadata)
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                                  AND contains(t.metadata, :within)))
ORDER BY place DESC LIMIT :limit OFFSET :offset

-- name: labelled_threads
SELECT id FROM labels WHERE owner = :owner AND kind = 'thread' AND name = :name AND value = :value LIMIT :limit

-- name: search_runs_of_threads
-- Of each of a few threads as many runs as are asked for, and the newest of those.
SELECT run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, max_attempts,
       outcome, failure, cancel, invocation, base, prior_head, last_checkpoint, first_seq, last_seq, stateless, line,
       due_at, started_at, ended_at
FROM json_each(:threads) CROSS JOIN runs ON runs.number IN (
    SELECT number FROM runs AS r INDEXED BY runs_of_thread
    WHERE r.owner = :owner AND r.thread_id = json_each.value AND r.deleted_at IS NULL
      AND (:agent_id IS NULL OR r.agent_id = :agent_id)
      AND (:statuses IS NULL OR r.status IN (SELECT value FROM json_each(:statuses)))
      AND (:outcomes IS NULL OR r.outcome IN (SELECT value FROM json_each(:outcomes)))
      AND (:metadata IS NULL OR contains(r.metadata, :metadata))
    ORDER BY r.number DESC LIMIT :limit + :offset)
WHERE EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = :owner AND t.thread_id = json_each.value
              AND contains(t.metadata, :within))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: line
-- The runs of a thread that execute or wait, in their order.
SELECT number, run_id, status, ready, resumes, due_at, attempt, cancel
FROM runs INDEXED BY runs_active
WHERE owner = ? AND thread_id = ? AND status IN ('pending', 'running')
ORDER BY line, number

-- name: pending
-- What is active without what executes: both are counted in indexes that hold nothing else.
SELECT (SELECT count(*) FROM runs INDEXED BY runs_active WHERE status IN ('pending', 'running'))
     - (SELECT count(*) FROM runs INDEXED BY one_running_run_per_thread WHERE status = 'running')

-- name: pending_of_owner
SELECT (SELECT count(*) FROM runs INDEXED BY runs_active WHERE owner = ? AND status IN ('pending', 'running'))
     - (SELECT count(*) FROM runs INDEXED BY one_running_run_per_thread WHERE owner = ? AND status = 'running')

-- name: make_ready
-- A suspect is ready too, but not for everybody: see `ready_apart`.
UPDATE runs SET ready = CASE WHEN losses >= 2 THEN 2 ELSE 1 END WHERE number = ? AND status = 'pending' AND due_at IS NULL

-- name: not_ready
-- Nobody may claim what is no longer first in line.
UPDATE runs SET ready = 0 WHERE number = ?

-- name: ready
-- What can be claimed of one agent's runs, and since when: a run becomes ready when it joins the line, or when its
-- thread is left to it.
SELECT runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at, runs.metadata,
       request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint,
       first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       number, lease, threads.last_seq, head, max(line, threads.updated_at)
FROM runs INDEXED BY runs_ready
CROSS JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
WHERE agent_id = ? AND ready = 1 ORDER BY line, number LIMIT ?

-- name: ready_apart
-- Runs that are suspected of ending the server, those that did least often first.
SELECT runs.run_id, runs.thread_id, runs.owner, agent_id, runs.status, runs.created_at, runs.updated_at, runs.metadata,
       request, attempt, max_attempts, outcome, failure, cancel, invocation, base, prior_head, last_checkpoint,
       first_seq, runs.last_seq, stateless, line, due_at, started_at, ended_at,
       number, lease, threads.last_seq, head, NULL
FROM runs INDEXED BY runs_apart
CROSS JOIN threads ON threads.owner = runs.owner AND threads.thread_id = runs.thread_id
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

-- name: begin_next
INSERT INTO begin_next (owner, thread_id, run_id, agent_id, now, metadata, request, max_attempts, head, first_seq, lease,
                        strategy, last_seq, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: begin_waiting
INSERT INTO begin_waiting (owner, thread_id, run_id, number, now, lease, last_seq, attempt, concurrency, base, prior_head,
                           started_at, events)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: due
-- Delayed runs whose time has come.
SELECT number, run_id, owner, thread_id, attempt, strategy, due_at FROM runs INDEXED BY runs_due
WHERE due_at IS NOT NULL AND status = 'pending' AND due_at <= ? ORDER BY due_at LIMIT 200

-- name: join_line
UPDATE runs SET due_at = NULL, line = coalesce(?, line) WHERE number = ?

-- name: next_due
SELECT min(due_at) FROM runs INDEXED BY runs_due WHERE due_at IS NOT NULL AND status = 'pending'

-- name: move_on
INSERT INTO move_on (owner, thread_id, run_id, head, now) VALUES (?, ?, ?, ?, ?)

-- name: request_cancel
UPDATE runs SET cancel = ?, updated_at = ? WHERE run_id = ? AND status = 'running'

-- name: note_request
UPDATE runs SET request = ? WHERE run_id = ?

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
                       last_checkpoint, asking, thread_status, first_seq, last_seq, events, cancel, hidden)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

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
-- Everything that held a lease when the server stopped. There is one worker, without a name.
SELECT number, run_id, owner, thread_id, attempt, max_attempts, cancel, losses, '' FROM runs WHERE status = 'running'

-- name: holds
-- Whether an attempt has its lease.
SELECT 1 FROM threads WHERE owner = ? AND thread_id = ? AND lease = ? AND deleted_at IS NULL

-- name: insert_checkpoint
INSERT INTO checkpoints (owner, checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body,
                         full_size, chain_size, asked, namespace)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: put_checkpoint
-- From outside any attempt.
INSERT INTO checkpoints (owner, checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body,
                         full_size, chain_size, asked, namespace, outside)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)

-- name: checkpoint
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked,
       namespace
FROM checkpoints WHERE checkpoint_id = ? AND owner = ?

-- name: checkpoint_sizes
-- What a thread's checkpoints take, in rows and bytes.
SELECT count(*), coalesce(sum(length(body) + coalesce(length(asked), 0)), 0)
FROM checkpoints WHERE owner = :owner AND thread_id = :thread_id AND gone = 0

-- name: write_sizes
-- The same of what tasks gave on top of them.
SELECT count(*), coalesce(sum(length(value)), 0)
FROM pending_writes WHERE owner = :owner AND thread_id = :thread_id AND aside = ''

-- name: place_of_checkpoint
-- What reading on from a checkpoint needs to know.
SELECT rowid, thread_id, namespace, gone, parent_id FROM checkpoints WHERE checkpoint_id = ? AND owner = ?

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
-- A thread's own checkpoints of one namespace, newest first, below a place in their order.
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked,
       namespace
FROM checkpoints INDEXED BY checkpoints_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND gone = 0 AND rowid < :below
ORDER BY rowid DESC LIMIT :limit

-- name: inner_history
-- The same of a subgraph's namespace, below an id.
SELECT checkpoint_id, thread_id, parent_id, run_id, created_at, step, source, kind, body, full_size, chain_size, asked,
       namespace
FROM checkpoints INDEXED BY checkpoints_inner
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND namespace > '' AND gone = 0
  AND (:before IS NULL OR checkpoint_id < :before)
ORDER BY checkpoint_id DESC LIMIT :limit

-- name: inherited
-- Those that a copy has from the threads that it was made from.
SELECT c.checkpoint_id, c.thread_id, c.parent_id, c.run_id, c.created_at, c.step, c.source, c.kind, c.body,
       c.full_size, c.chain_size, c.asked, c.namespace
FROM inherited AS i INDEXED BY inherited_of_thread
CROSS JOIN checkpoints AS c ON c.checkpoint_id = i.checkpoint_id
WHERE i.owner = :owner AND i.thread_id = :thread_id AND i.namespace = :namespace AND i.gone = 0
  AND (:before IS NULL OR i.checkpoint_id < :before)
ORDER BY i.checkpoint_id DESC LIMIT :limit

-- name: inner_namespaces
SELECT namespace FROM checkpoints INDEXED BY checkpoints_inner
WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0
UNION
SELECT namespace FROM inherited INDEXED BY inherited_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0

-- name: lineage
-- A checkpoint and those it came from, newest first.
WITH RECURSIVE lineage (checkpoint_id, parent_id, depth) AS (
    SELECT checkpoint_id, parent_id, 0 FROM checkpoints WHERE checkpoint_id = :from
    UNION ALL
    SELECT above.checkpoint_id, above.parent_id, lineage.depth + 1
    FROM lineage JOIN checkpoints AS above ON above.checkpoint_id = lineage.parent_id
    LIMIT :limit
)
SELECT c.checkpoint_id, c.thread_id, c.parent_id, c.run_id, c.created_at, c.step, c.source, c.kind, c.body,
       c.full_size, c.chain_size, c.asked, c.namespace
FROM lineage JOIN checkpoints AS c ON c.checkpoint_id = lineage.checkpoint_id
ORDER BY lineage.depth

-- name: belongs
-- Whether a checkpoint is among the thread's own states, or those that it was copied from.
SELECT EXISTS (SELECT 1 FROM checkpoints WHERE checkpoint_id = :checkpoint_id AND owner = :owner
               AND thread_id = :thread_id AND gone = 0 AND namespace = '')
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
SELECT EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.checkpoint_id = :checkpoint_id AND c.owner = :owner
               AND c.thread_id = :thread_id
               AND (c.gone = 0 OR :undone AND EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = c.run_id)))
    OR EXISTS (SELECT 1 FROM inherited AS i WHERE i.checkpoint_id = :checkpoint_id AND i.owner = :owner
               AND i.thread_id = :thread_id AND i.gone = 0)

-- name: pending_writes
-- What tasks gave on top of a state.
SELECT namespace, on_id, task_id, idx, channel, value, path, run_id FROM pending_writes
WHERE owner = ? AND thread_id = ? AND namespace = ? AND on_id = ? AND aside = ''

-- name: has_inner
SELECT EXISTS (SELECT 1 FROM checkpoints INDEXED BY checkpoints_of_thread
               WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0)
    OR EXISTS (SELECT 1 FROM pending_writes
               WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND aside = '')
    OR EXISTS (SELECT 1 FROM inherited INDEXED BY inherited_of_thread
               WHERE owner = :owner AND thread_id = :thread_id AND gone = 0)

-- name: give
-- What a task of a graph gave on top of a state; without a value, that it is settled.
INSERT INTO give (owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, run_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: undo_pending
DELETE FROM pending_writes WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id

-- name: laid_aside
-- What a run has settled or replaced of others.
SELECT namespace, on_id, task_id, idx FROM pending_writes INDEXED BY pending_writes_aside
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
UPDATE OR REPLACE pending_writes SET aside = :heir
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND on_id = :on_id AND task_id = :task_id
  AND idx = :idx AND aside = :run_id

-- name: forget_aside
DELETE FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND namespace = :namespace AND on_id = :on_id AND task_id = :task_id
  AND idx = :idx AND aside = :run_id

-- name: forget_pending
DELETE FROM pending_writes WHERE owner = ? AND thread_id = ?

-- name: origin
SELECT origin FROM threads WHERE owner = ? AND thread_id = ? AND deleted_at IS NULL

-- name: undo_checkpoints
-- Those of subgraphs too.
UPDATE checkpoints SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id AND gone = 0

-- name: head_row
SELECT thread_id, gone, asked IS NOT NULL FROM checkpoints WHERE checkpoint_id = ?

-- name: newest_own
-- The last that was stored of a thread's own states.
SELECT checkpoint_id FROM checkpoints INDEXED BY checkpoints_of_thread
WHERE owner = ? AND thread_id = ? AND namespace = '' AND gone = 0 ORDER BY rowid DESC LIMIT 1

-- name: threads_of_run
-- Where a run may have left states: on its thread, and wherever some were put for it from outside.
SELECT thread_id FROM runs WHERE run_id = :id AND owner = :owner
UNION ALL
SELECT thread_id FROM checkpoints INDEXED BY checkpoints_outside
WHERE owner = :owner AND run_id = :id AND outside = 1 AND run_id IS NOT NULL

-- name: forget_run_checkpoints
UPDATE checkpoints INDEXED BY checkpoints_of_thread SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND run_id = :run_id AND gone = 0 AND checkpoint_id IS NOT :spared

-- name: prune_checkpoints
UPDATE checkpoints INDEXED BY checkpoints_of_thread SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
  AND checkpoint_id NOT IN (SELECT value FROM json_each(:keep))

-- name: prune_inherited
UPDATE inherited INDEXED BY inherited_of_thread SET gone = 1
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
  AND checkpoint_id NOT IN (SELECT value FROM json_each(:keep))

-- name: lasting_states
-- What later runs go on from: the head, and the newest state of each subgraph that has one from run to run. The
-- namespaces of the others name a task, which is over.
SELECT '', head FROM threads WHERE owner = :owner AND thread_id = :thread_id AND head IS NOT NULL
UNION ALL
SELECT namespace, max(checkpoint_id) FROM checkpoints INDEXED BY checkpoints_inner
WHERE owner = :owner AND thread_id = :thread_id AND namespace > '' AND gone = 0 AND instr(namespace, ':') = 0
GROUP BY namespace
UNION ALL
SELECT namespace, max(checkpoint_id) FROM inherited INDEXED BY inherited_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND gone = 0 AND instr(namespace, ':') = 0
GROUP BY namespace

-- name: cut_checkpoints
-- The newest of a namespace first: nothing that is left is built on them, but what is kept.
UPDATE checkpoints SET gone = 1 WHERE rowid IN (
    SELECT rowid FROM checkpoints INDEXED BY checkpoints_of_thread
    WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
      AND checkpoint_id NOT IN (SELECT value FROM json_each(:keep))
    ORDER BY namespace DESC, rowid DESC LIMIT :limit)

-- name: cut_inherited
UPDATE inherited SET gone = 1 WHERE (checkpoint_id, owner, thread_id) IN (
    SELECT checkpoint_id, owner, thread_id FROM inherited INDEXED BY inherited_of_thread
    WHERE owner = :owner AND thread_id = :thread_id AND gone = 0
      AND checkpoint_id NOT IN (SELECT value FROM json_each(:keep))
    LIMIT :limit)

-- name: built_on_undone
-- Checkpoints that are there, on top of one that was undone.
SELECT c.checkpoint_id, c.kind FROM checkpoints AS c INDEXED BY checkpoints_of_thread
CROSS JOIN checkpoints AS above ON above.checkpoint_id = c.parent_id
WHERE c.owner = :owner AND c.thread_id = :thread_id AND c.gone = 0
  AND above.owner = :owner AND above.thread_id = :thread_id AND above.gone = 1

-- name: store_whole
UPDATE checkpoints SET kind = 'full', body = :body, full_size = :size, chain_size = 0
WHERE checkpoint_id = :checkpoint_id

-- name: forget_pending_of_undone
-- Writes on what was undone, but for those on states that others go by the names of.
DELETE FROM pending_writes
WHERE owner = :owner AND thread_id = :thread_id AND on_id NOT IN (SELECT value FROM json_each(:names)) AND (
    EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.checkpoint_id = on_id AND c.owner = :owner
            AND c.thread_id = :thread_id AND c.gone = 1)
    OR EXISTS (SELECT 1 FROM inherited AS i WHERE i.checkpoint_id = on_id AND i.owner = :owner
               AND i.thread_id = :thread_id AND i.gone = 1))

-- name: set_unswept
UPDATE threads SET unswept = 1 WHERE owner = :owner AND thread_id = :thread_id

-- name: base_of_question
SELECT json_extract(CAST(c.asked AS TEXT), '$.base') FROM threads AS t
JOIN checkpoints AS c ON c.checkpoint_id = t.head
WHERE t.owner = ? AND t.thread_id = ? AND t.asking = 1

-- name: bury_checkpoints
-- Those of a deleted thread, when its id is used again: until then the thread's absence hides them.
UPDATE checkpoints SET gone = 1 WHERE owner = ? AND thread_id = ? AND gone = 0

-- name: asked_of
SELECT asked FROM checkpoints WHERE checkpoint_id = ?

-- name: insert_events
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: log
-- A thread's log, behind a number.
SELECT first_seq, last_seq, run_id, at, body FROM events
WHERE owner = ? AND thread_id = ? AND last_seq > ? ORDER BY last_seq

-- name: nested_of_run
-- The pieces of a run's log that tell of subgraphs or sub-agents: those that hold `["nested",`.
SELECT body FROM events
WHERE owner = ? AND thread_id = ? AND last_seq > ? AND run_id = ? AND instr(body, x'5b226e6573746564222c')
ORDER BY last_seq

-- name: upsert_record
INSERT INTO records (invocation, kind, name, nth, place, run_id, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET body = excluded.body

-- name: records
SELECT kind, name, nth, body, place FROM records WHERE invocation = ? ORDER BY place

-- name: records_of_kind
-- The messages that were put into an invocation, or what its code has taken of them.
SELECT nth, body FROM records WHERE invocation = ? AND kind = ? ORDER BY name, nth

-- name: forget_records
DELETE FROM records WHERE run_id = ?

-- name: forget_records_of_run
DELETE FROM records WHERE (invocation, kind, name, nth) IN (
    SELECT invocation, kind, name, nth FROM records INDEXED BY records_of_run WHERE run_id = :run_id LIMIT :limit)

-- name: known_key
SELECT body_hash, run, run_id FROM idempotency WHERE owner = ? AND route = ? AND key = ?

-- name: insert_key
INSERT INTO idempotency (owner, route, key, body_hash, run, run_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: put_item
INSERT INTO items (owner, namespace, key, value, created_at, updated_at, expires_at, ttl) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at, expires_at = excluded.expires_at,
    ttl = excluded.ttl,
    created_at = CASE WHEN items.expires_at <= excluded.updated_at THEN excluded.created_at ELSE items.created_at END

-- name: put_vectors
-- As many vectors of an item as are given behind one another.
INSERT INTO vectors (owner, namespace, key, number, vector)
WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :count)
SELECT :owner, :namespace, :key, number,
    substr(:vectors, (number - 1) * length(:vectors) / :count + 1, length(:vectors) / :count)
FROM numbers

-- name: get_item
SELECT namespace, key, value, created_at, updated_at, ttl FROM items
WHERE owner = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)

-- name: touch_item
-- An item that is kept for a time is kept for that time from now.
UPDATE items SET expires_at = :now + ttl
WHERE owner = :owner AND namespace = :namespace AND key = :key AND ttl IS NOT NULL AND expires_at > :now

-- name: delete_item
DELETE FROM items WHERE owner = ? AND namespace = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?) RETURNING 1

-- name: search_items
-- Everything of an owner, updated last first.
SELECT namespace, key, value, created_at, updated_at, ttl FROM items INDEXED BY items_newest
WHERE owner = :owner AND (expires_at IS NULL OR expires_at > :now) AND (:filter IS NULL OR passes(value, :filter))
  AND (:within IS NULL OR contains(value, :within))
ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset

-- name: search_items_below
-- The items below a namespace, updated last first.
SELECT namespace, key, value, created_at, updated_at, ttl FROM items
WHERE owner = :owner AND namespace >= :low AND namespace < :high AND (expires_at IS NULL OR expires_at > :now)
  AND (:filter IS NULL OR passes(value, :filter))
  AND (:within IS NULL OR contains(value, :within))
ORDER BY updated_at DESC, namespace, key LIMIT :limit OFFSET :offset

-- name: search_by_meaning
-- The items below a namespace that have vectors of the same length, nearest first. The best of an item's vectors counts;
-- one of zeros, which has no direction, is as near as one that stands across.
SELECT items.namespace, items.key, value, created_at, updated_at, ttl, near.score
FROM (
    SELECT namespace, key, max(coalesce(1 - vec_distance_cosine(vector, :meaning), 0)) AS score FROM vectors
    WHERE owner = :owner AND namespace >= :low AND namespace < :high AND length(vector) = length(:meaning)
    GROUP BY namespace, key
) AS near
CROSS JOIN items ON items.owner = :owner AND items.namespace = near.namespace AND items.key = near.key
WHERE (expires_at IS NULL OR expires_at > :now) AND (:filter IS NULL OR passes(value, :filter))
  AND (:within IS NULL OR contains(value, :within))
ORDER BY near.score DESC, updated_at DESC, items.namespace, items.key LIMIT :limit OFFSET :offset

-- name: next_namespace
-- The first namespace above another and below a limit: listing jumps from one to the next and never reads the items
-- between.
SELECT namespace FROM items WHERE owner = ? AND namespace > ? AND namespace < ? ORDER BY namespace LIMIT 1

-- name: alive_in_namespace
SELECT 1 FROM items WHERE owner = ? AND namespace = ? AND (expires_at IS NULL OR expires_at > ?) LIMIT 1

-- name: alive_in_namespace_within
SELECT 1 FROM items
WHERE owner = :owner AND namespace = :namespace AND (expires_at IS NULL OR expires_at > :now)
  AND contains(value, :within) LIMIT 1

-- name: publish_agent
INSERT INTO agents (agent_id, body, updated_at, published_at) VALUES (?1, ?2, ?3, ?3)
ON CONFLICT DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at

-- name: agents
SELECT body FROM agents ORDER BY agent_id

-- name: waiting_by_agent
SELECT agent_id, count(*) FROM (
    SELECT agent_id FROM runs INDEXED BY runs_ready WHERE ready = 1
    UNION ALL SELECT agent_id FROM runs INDEXED BY runs_apart WHERE ready = 2)
GROUP BY agent_id

-- name: active_by_agent
-- How many runs are pending and running, of each agent: reads what is active, no history.
SELECT agent_id, status, count(*) FROM runs INDEXED BY runs_active
WHERE status IN ('pending', 'running') GROUP BY agent_id, status

-- name: ready_by_agent
-- Runs that could be claimed: how many, and since when the oldest.
SELECT agent_id, count(*), min(line) FROM runs INDEXED BY runs_ready WHERE ready = 1 GROUP BY agent_id

-- name: suspects_by_agent
-- The same of those that execute apart; there are few, if any.
SELECT agent_id, count(*), min(line) FROM runs INDEXED BY runs_apart WHERE ready = 2 GROUP BY agent_id

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

-- name: expired_runs
-- Runs whose own time has come. The last column: whether the invocation is not over.
SELECT number, run_id, owner, thread_id, first_seq, last_seq, stateless,
       (outcome = 'asked' OR invocation <> run_id) AND (
           EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                   AND t.asking = 1)
           OR EXISTS (SELECT 1 FROM runs AS other INDEXED BY runs_active
                      WHERE other.owner = runs.owner AND other.thread_id = runs.thread_id
                        AND other.status IN ('pending', 'running') AND other.invocation = runs.invocation))
FROM runs INDEXED BY runs_expired
WHERE expires_at IS NOT NULL AND expires_at <= ? AND ended_at IS NOT NULL LIMIT 50

-- name: old_runs
-- Finished runs on threads, oldest first. The last column as above.
SELECT number, run_id, owner, thread_id, first_seq, last_seq, stateless,
       (outcome = 'asked' OR invocation <> run_id) AND (
           EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = runs.owner AND t.thread_id = runs.thread_id
                   AND t.asking = 1)
           OR EXISTS (SELECT 1 FROM runs AS other INDEXED BY runs_active
                      WHERE other.owner = runs.owner AND other.thread_id = runs.thread_id
                        AND other.status IN ('pending', 'running') AND other.invocation = runs.invocation))
FROM runs INDEXED BY runs_ended
WHERE trimmed = :trimmed AND ended_at IS NOT NULL AND expires_at IS NULL AND ended_at <= :before
ORDER BY ended_at LIMIT :limit

-- name: hold_run
-- A run that has to stay is looked at again later.
UPDATE runs SET expires_at = ? WHERE number = ?

-- name: untrimmed_runs
-- Finished runs on threads whose events are still there, oldest first.
SELECT number, owner, thread_id, last_seq FROM runs INDEXED BY runs_ended
WHERE trimmed = 0 AND ended_at IS NOT NULL AND expires_at IS NULL AND ended_at <= ? ORDER BY ended_at LIMIT ?

-- name: mark_trimmed
UPDATE runs SET trimmed = 1 WHERE number = ?

-- name: oldest_events
-- The beginning of a thread's log, and of each piece whether its run is old enough, or gone.
SELECT e.last_seq,
       NOT EXISTS (SELECT 1 FROM runs AS r
                   WHERE r.run_id = e.run_id AND (r.ended_at IS NULL OR r.ended_at > :before))
FROM events AS e
WHERE e.owner = :owner AND e.thread_id = :thread_id AND e.last_seq <= :last_seq ORDER BY e.last_seq LIMIT :limit

-- name: delete_events_up_to
DELETE FROM events WHERE owner = ? AND thread_id = ? AND last_seq <= ?

-- name: set_floor
UPDATE threads SET floor_seq = max(floor_seq, ?) WHERE owner = ? AND thread_id = ?

-- name: raise_floor
-- To where the log begins now.
UPDATE threads
SET floor_seq = max(floor_seq, coalesce((SELECT e.first_seq - 1 FROM events AS e
                                         WHERE e.owner = threads.owner AND e.thread_id = threads.thread_id
                                         ORDER BY e.last_seq LIMIT 1), last_seq))
WHERE owner = :owner AND thread_id = :thread_id

-- name: delete_events_of_run
DELETE FROM events WHERE (owner, thread_id, last_seq) IN (
    SELECT owner, thread_id, last_seq FROM events
    WHERE owner = :owner AND thread_id = :thread_id AND last_seq BETWEEN :first_seq AND :last_seq AND run_id = :run_id
    LIMIT :limit)

-- name: delete_run
DELETE FROM runs WHERE run_id = ?

-- name: hidden_thread
SELECT 1 FROM threads WHERE owner = :owner AND thread_id = :thread_id AND hidden = 1

-- name: delete_hidden_thread
-- A stateless run's thread goes with it: nobody could name it, and nothing was copied from it.
DELETE FROM threads WHERE owner = :owner AND thread_id = :thread_id AND hidden = 1

-- name: idle_threads
-- Threads without a time of their own on which nothing has happened for long, oldest first, from a place on: those that
-- have been cut since, or the others.
SELECT updated_at, owner, thread_id FROM threads INDEXED BY threads_idle
WHERE deleted_at IS NULL AND hidden = 0 AND status IN ('idle', 'error') AND ttl IS NULL
  AND (CASE WHEN cut_at = updated_at THEN 1 ELSE 0 END) = :cut
  AND updated_at <= :before AND updated_at >= :updated_at
  AND (updated_at, owner, thread_id) > (:updated_at, :owner, :thread_id)
ORDER BY updated_at, owner, thread_id LIMIT :limit

-- name: expired_threads
-- Threads whose own time is over, in its order, from a place on.
SELECT updated_at + ttl, owner, thread_id, ttl_strategy FROM threads INDEXED BY threads_expiring
WHERE ttl IS NOT NULL AND deleted_at IS NULL AND (cut_at IS NULL OR cut_at <> updated_at)
  AND (status IN ('idle', 'error') OR (status = 'interrupted' AND ttl_strategy = 'delete'))
  AND updated_at + ttl <= :now AND updated_at + ttl >= :expires_at
  AND (updated_at + ttl, owner, thread_id) > (:expires_at, :owner, :thread_id)
ORDER BY updated_at + ttl, owner, thread_id LIMIT :limit

-- name: mark_cut
-- Its history is its newest state, until it changes.
UPDATE threads SET cut_at = updated_at WHERE owner = :owner AND thread_id = :thread_id

-- name: expire_runs_of_thread
UPDATE runs SET deleted_at = :now, expires_at = :now WHERE number IN (
    SELECT number FROM runs INDEXED BY runs_of_thread
    WHERE owner = :owner AND thread_id = :thread_id AND deleted_at IS NULL LIMIT :limit)

-- name: unswept_threads
SELECT owner, thread_id, deleted_at FROM threads INDEXED BY threads_unswept WHERE unswept = 1 LIMIT ?

-- name: mark_unswept
-- A run is gone: what only it kept may go now.
UPDATE threads SET unswept = 1
WHERE owner = :owner AND thread_id = :thread_id AND unswept = 0 AND (
    deleted_at IS NOT NULL
    OR EXISTS (SELECT 1 FROM checkpoints AS c INDEXED BY checkpoints_gone
               WHERE c.owner = threads.owner AND c.thread_id = threads.thread_id AND c.gone = 1))

-- name: park_thread
UPDATE threads SET unswept = 0 WHERE owner = :owner AND thread_id = :thread_id

-- name: outliving_run
-- A run of a deleted thread whose record is kept, with its events and its last state.
SELECT 1 FROM runs INDEXED BY runs_of_thread
WHERE owner = :owner AND thread_id = :thread_id AND deleted_at IS NULL LIMIT 1

-- name: copy_of_thread
-- A copy that lives, or whose own checkpoints are still there.
SELECT 1 FROM threads INDEXED BY threads_copied WHERE owner = :owner AND origin_thread = :thread_id
UNION ALL
SELECT 1 FROM inherited INDEXED BY inherited_from WHERE owner = :owner AND source = :thread_id
LIMIT 1

-- name: copy_of_undone
-- A copy that was made of a state that has been undone since, or of one that came from such a state.
WITH RECURSIVE lineage (checkpoint_id, parent_id, undone) AS (
    SELECT c.checkpoint_id, c.parent_id, c.gone FROM threads AS copy INDEXED BY threads_copied
    CROSS JOIN checkpoints AS c ON c.checkpoint_id = copy.origin
    WHERE copy.owner = :owner AND copy.origin_thread = :thread_id
    UNION
    SELECT above.checkpoint_id, above.parent_id, above.gone
    FROM lineage CROSS JOIN checkpoints AS above ON above.checkpoint_id = lineage.parent_id
    WHERE lineage.undone = 0
)
SELECT 1 FROM lineage WHERE undone = 1 LIMIT 1

-- name: delete_undone_checkpoints
-- But those of runs whose records, and so events that name them, are still there, and those that a copy has inherited.
DELETE FROM checkpoints WHERE checkpoint_id IN (
    SELECT c.checkpoint_id FROM checkpoints AS c INDEXED BY checkpoints_gone
    WHERE c.owner = :owner AND c.thread_id = :thread_id AND c.gone = 1
      AND NOT EXISTS (SELECT 1 FROM runs AS r WHERE r.run_id = c.run_id)
      AND NOT EXISTS (SELECT 1 FROM inherited AS i WHERE i.checkpoint_id = c.checkpoint_id)
    LIMIT :limit)

-- name: delete_events_of_thread
DELETE FROM events WHERE (owner, thread_id, last_seq) IN (
    SELECT owner, thread_id, last_seq FROM events WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: delete_checkpoints_of_thread
DELETE FROM checkpoints WHERE checkpoint_id IN (
    SELECT checkpoint_id FROM checkpoints INDEXED BY checkpoints_of_thread
    WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: delete_pending_of_thread
DELETE FROM pending_writes WHERE (owner, thread_id, namespace, on_id, task_id, idx, aside) IN (
    SELECT owner, thread_id, namespace, on_id, task_id, idx, aside FROM pending_writes
    WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: delete_aside_of_run
-- What the run had settled or replaced: without its record it is not rolled back any more.
DELETE FROM pending_writes WHERE (owner, thread_id, namespace, on_id, task_id, idx, aside) IN (
    SELECT owner, thread_id, namespace, on_id, task_id, idx, aside FROM pending_writes INDEXED BY pending_writes_aside
    WHERE owner = :owner AND thread_id = :thread_id AND aside = :run_id AND aside <> '' LIMIT :limit)

-- name: delete_inherited_of_thread
DELETE FROM inherited WHERE (checkpoint_id, owner, thread_id) IN (
    SELECT checkpoint_id, owner, thread_id FROM inherited INDEXED BY inherited_of_thread
    WHERE owner = :owner AND thread_id = :thread_id LIMIT :limit)

-- name: release_origin
-- The thread that this one was copied from may be swept now.
UPDATE threads SET unswept = 1
WHERE owner = :owner AND thread_id = (SELECT origin_thread FROM threads WHERE owner = :owner AND thread_id = :thread_id)

-- name: release_sources
-- The same of the threads from which it has states of subgraphs.
UPDATE threads SET unswept = 1
WHERE owner = :owner AND thread_id IN (
    SELECT source FROM inherited INDEXED BY inherited_of_thread WHERE owner = :owner AND thread_id = :thread_id)

-- name: forget_inherited
DELETE FROM inherited WHERE owner = :owner AND thread_id = :thread_id

-- name: forget_origin
UPDATE threads SET unswept = 0, origin = NULL, origin_thread = NULL WHERE owner = :owner AND thread_id = :thread_id

-- name: revived
-- A deleted copy whose id is used again descends from nothing any more, once its old checkpoints are gone.
SELECT 1 FROM threads
WHERE owner = :owner AND thread_id = :thread_id AND origin IS NULL AND origin_thread IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM checkpoints AS c INDEXED BY checkpoints_gone
                  WHERE c.owner = threads.owner AND c.thread_id = threads.thread_id AND c.gone = 1)

-- name: delete_expired_items
DELETE FROM items WHERE (owner, namespace, key) IN (
    SELECT owner, namespace, key FROM items INDEXED BY items_expired
    WHERE expires_at IS NOT NULL AND expires_at <= :now LIMIT :limit)

-- name: delete_old_keys
DELETE FROM idempotency WHERE (owner, route, key) IN (
    SELECT owner, route, key FROM idempotency INDEXED BY idempotency_oldest WHERE created_at < :before LIMIT :limit)

-- name: insert_trace
INSERT INTO traces (run_id, context) VALUES (?, ?)

-- name: trace
SELECT context FROM traces WHERE run_id = ?

-- name: forget_trace
DELETE FROM traces WHERE run_id = ?

-- name: insert_delivery
-- Reads of a delivery select its columns in the order of `deliveries.Delivery`.
INSERT INTO outbox (delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at)
VALUES (:delivery_id, :owner, :run_id, :thread_id, :url, :host, :now, :now, :now)
RETURNING number

-- name: insert_notice
INSERT INTO notices (number, run, state, questions) VALUES (?, ?, ?, ?)

-- name: due_hosts
-- Every host that has deliveries to come, and when the first of them is due: one step into the index per host, however
-- many deliveries wait for it.
WITH RECURSIVE hosts (host) AS (
    SELECT min(host) FROM outbox INDEXED BY outbox_due WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(host) FROM outbox INDEXED BY outbox_due WHERE due_at IS NOT NULL AND host > hosts.host)
    FROM hosts WHERE host IS NOT NULL
)
SELECT host, (SELECT min(due_at) FROM outbox INDEXED BY outbox_due WHERE host = hosts.host AND due_at IS NOT NULL)
FROM hosts WHERE host IS NOT NULL
ORDER BY 2

-- name: take_deliveries
-- Whoever takes a delivery has it until its lease ends. The try is counted here.
UPDATE outbox
SET lease = lease + 1, sending = 1, attempts = attempts + 1, attempted_at = :now, due_at = :until
WHERE number IN (
    SELECT number FROM outbox INDEXED BY outbox_due
    WHERE host = :host AND due_at IS NOT NULL AND due_at <= :now ORDER BY due_at LIMIT :limit
)
RETURNING delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
          attempted_at, delivered_at, parked_at, last_status, last_error

-- name: settle_delivery
-- Guarded by the lease, as everything that is recorded of a try.
UPDATE outbox
SET due_at = NULL, sending = 0, delivered_at = :delivered_at, parked_at = :parked_at, last_status = :status,
    last_error = :error
WHERE delivery_id = :delivery_id AND lease = :lease AND sending = 1
RETURNING 1

-- name: retry_delivery
UPDATE outbox SET due_at = :due_at, sending = 0, last_status = :status, last_error = :error
WHERE delivery_id = :delivery_id AND lease = :lease AND sending = 1
RETURNING 1

-- name: release_delivery
-- The try was cut short, and does not count.
UPDATE outbox SET due_at = ?, sending = 0, attempts = attempts - 1
WHERE delivery_id = ? AND lease = ? AND sending = 1
RETURNING 1

-- name: recall_deliveries
-- Those that a server that is gone was sending.
UPDATE outbox SET due_at = ?, sending = 0 WHERE sending = 1

-- name: resend_delivery
-- Trying begins anew, at once. One that is being sent at this moment is left alone.
UPDATE outbox SET due_at = :now, began_at = :now, attempts = 0, delivered_at = NULL, parked_at = NULL
WHERE delivery_id = :delivery_id AND owner = :owner AND sending = 0

-- name: delivery
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE delivery_id = ? AND owner = ?

-- name: notice
SELECT notices.run, state, questions FROM outbox JOIN notices ON notices.number = outbox.number
WHERE delivery_id = ? AND owner = ?

-- name: search_deliveries
-- Newest first.
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox INDEXED BY outbox_newest WHERE owner = :owner
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
                                  AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_deliveries_pending
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox INDEXED BY outbox_pending WHERE owner = :owner AND due_at IS NOT NULL
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
                                  AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_deliveries_parked
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox INDEXED BY outbox_parked WHERE owner = :owner AND parked_at IS NOT NULL
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
                                  AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: search_deliveries_delivered
-- Most are delivered: the newest rows hold enough of them.
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox INDEXED BY outbox_newest WHERE owner = :owner AND delivered_at IS NOT NULL
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
                                  AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at AND contains(t.metadata, :within)))
ORDER BY number DESC LIMIT :limit OFFSET :offset

-- name: delivery_of_run
-- One at most.
SELECT delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, due_at, lease, sending, attempts,
       attempted_at, delivered_at, parked_at, last_status, last_error
FROM outbox WHERE owner = :owner AND run_id = :run_id
  AND (:within IS NULL OR EXISTS (SELECT 1 FROM threads AS t WHERE t.owner = outbox.owner AND t.thread_id = outbox.thread_id
                                  AND t.deleted_at IS NULL AND t.created_at <= outbox.created_at AND contains(t.metadata, :within)))

-- name: settled_deliveries
SELECT number FROM outbox INDEXED BY outbox_settled
WHERE due_at IS NULL AND coalesce(delivered_at, parked_at) < ? ORDER BY coalesce(delivered_at, parked_at) LIMIT 200

-- name: delete_notice
DELETE FROM notices WHERE number = ?

-- name: delete_delivery
DELETE FROM outbox WHERE number = ?

-- assistants: reads select the columns in the order of `assistants.Assistant`

-- name: insert_assistant
-- A new assistant, or nothing where the id is taken.
INSERT INTO assistants (owner, assistant_id, version, created_at, updated_at)
VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1

-- name: insert_assistant_version
INSERT INTO assistant_versions (owner, assistant_id, version, agent_id, created_at, name, folded, description, metadata,
                                config, context)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: assistant
SELECT assistants.assistant_id, assistants.owner, agent_id, assistants.version, assistants.created_at, updated_at,
       name, description, metadata, config, context
FROM assistants CROSS JOIN assistant_versions AS versions
     ON versions.owner = assistants.owner AND versions.assistant_id = assistants.assistant_id
    AND versions.version = assistants.version
WHERE assistants.owner = ?1 AND assistants.assistant_id = ?2

-- name: search_assistants
SELECT assistant_id, owner, agent_id, version, created_at, updated_at, name, description, metadata, config, context
FROM (
    SELECT assistants.assistant_id, assistants.owner, agent_id, assistants.version, assistants.created_at, updated_at,
           name, description, metadata, config, context,
           CASE :sort_by WHEN 'assistant_id' THEN assistants.assistant_id WHEN 'agent_id' THEN agent_id
                         WHEN 'name' THEN name WHEN 'updated_at' THEN printf('%020d', updated_at)
                         ELSE printf('%020d', assistants.created_at) END AS place
    FROM assistants CROSS JOIN assistant_versions AS versions
         ON versions.owner = assistants.owner AND versions.assistant_id = assistants.assistant_id
        AND versions.version = assistants.version
    WHERE assistants.owner = :owner AND (:agent_id IS NULL OR agent_id = :agent_id)
      AND (:name IS NULL OR instr(folded, :name) > 0)
      AND (:metadata IS NULL OR contains(metadata, :metadata))
) AS found
ORDER BY CASE WHEN :descending THEN place END DESC, CASE WHEN :descending THEN NULL ELSE place END, assistant_id
LIMIT :limit OFFSET :offset

-- name: count_assistants
SELECT count(*)
FROM assistants CROSS JOIN assistant_versions AS versions
     ON versions.owner = assistants.owner AND versions.assistant_id = assistants.assistant_id
    AND versions.version = assistants.version
WHERE assistants.owner = :owner AND (:agent_id IS NULL OR agent_id = :agent_id)
  AND (:name IS NULL OR instr(folded, :name) > 0)
  AND (:metadata IS NULL OR contains(metadata, :metadata))

-- name: assistants_among
-- Those of some ids that have a row.
SELECT assistant_id FROM assistants
WHERE owner = :owner AND assistant_id IN (SELECT value FROM json_each(:ids))

-- name: assistant_versions
-- Newest first, each as the assistant was when that version was made.
SELECT assistant_id, owner, agent_id, version, created_at, created_at, name, description, metadata, config, context
FROM assistant_versions
WHERE owner = :owner AND assistant_id = :assistant_id
  AND (:metadata IS NULL OR contains(metadata, :metadata))
ORDER BY version DESC LIMIT :limit OFFSET :offset

-- name: last_assistant_version
SELECT max(version) FROM assistant_versions WHERE owner = ?1 AND assistant_id = ?2

-- name: set_assistant_version
-- Makes a version the one that counts, where there is such a version.
UPDATE assistants SET version = ?1, updated_at = ?2
WHERE owner = ?3 AND assistant_id = ?4 AND EXISTS (
    SELECT 1 FROM assistant_versions AS versions
    WHERE versions.owner = ?3 AND versions.assistant_id = ?4 AND versions.version = ?1
)
RETURNING 1

-- name: delete_assistant
DELETE FROM assistants WHERE owner = ?1 AND assistant_id = ?2 RETURNING 1

-- name: delete_assistant_versions
DELETE FROM assistant_versions WHERE owner = ?1 AND assistant_id = ?2

-- name: delete_crons_of_assistant
DELETE FROM crons WHERE owner = ?1 AND assistant_id = ?2

-- name: published_at
SELECT agent_id, published_at FROM agents

-- crons: reads select the columns in the order of `crons.Cron`

-- name: insert_cron
INSERT INTO crons (cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed,
                   created_at, updated_at, payload, metadata, next_at, fired_at, revision, last_error)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: cron
SELECT cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed, created_at,
       updated_at, payload, metadata, next_at, fired_at, revision, last_error
FROM crons WHERE owner = ?1 AND cron_id = ?2

-- name: search_crons
SELECT cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed, created_at,
       updated_at, payload, metadata, next_at, fired_at, revision, last_error
FROM (
    SELECT *, CASE :sort_by WHEN 'cron_id' THEN cron_id WHEN 'assistant_id' THEN assistant_id
                            WHEN 'thread_id' THEN coalesce(thread_id, '~')
                            WHEN 'updated_at' THEN printf('%020d', updated_at)
                            WHEN 'next_run_date' THEN iif(next_at IS NULL, '~', printf('%020d', next_at))
                            WHEN 'end_time' THEN iif(end_time IS NULL, '~', printf('%020d', end_time))
                            ELSE printf('%020d', created_at) END AS place
    FROM crons
    WHERE owner = :owner AND (:assistant_id IS NULL OR assistant_id = :assistant_id)
      AND (:thread_id IS NULL OR thread_id = :thread_id) AND (:enabled IS NULL OR enabled = :enabled)
      AND (:metadata IS NULL OR contains(metadata, :metadata))
) AS found
ORDER BY CASE WHEN :descending THEN place END DESC, CASE WHEN :descending THEN NULL ELSE place END, cron_id
LIMIT :limit OFFSET :offset

-- name: count_crons
SELECT count(*) FROM crons
WHERE owner = :owner AND (:assistant_id IS NULL OR assistant_id = :assistant_id)
  AND (:thread_id IS NULL OR thread_id = :thread_id) AND (:enabled IS NULL OR enabled = :enabled)
  AND (:metadata IS NULL OR contains(metadata, :metadata))

-- name: change_cron
UPDATE crons
SET schedule = :schedule, timezone = :timezone, end_time = :end_time, enabled = :enabled,
    on_run_completed = :on_run_completed, updated_at = :updated_at, payload = :payload, metadata = :metadata,
    next_at = :next_at, fired_at = :fired_at, revision = :revision, last_error = :last_error
WHERE owner = :owner AND cron_id = :cron_id

-- name: delete_cron
DELETE FROM crons WHERE owner = ?1 AND cron_id = ?2 RETURNING 1

-- name: delete_crons_of_thread
DELETE FROM crons WHERE owner = ?1 AND thread_id = ?2

-- name: cron_to_come
-- Whether a thread has a cron that is to fire.
SELECT 1 FROM crons WHERE owner = ?1 AND thread_id = ?2 AND next_at IS NOT NULL LIMIT 1

-- name: due_crons
-- Those whose firing has come, the oldest first, behind one of them.
SELECT cron_id, owner, assistant_id, thread_id, schedule, timezone, end_time, enabled, on_run_completed, created_at,
       updated_at, payload, metadata, next_at, fired_at, revision, last_error
FROM crons INDEXED BY crons_due
WHERE next_at IS NOT NULL AND next_at <= :now AND (next_at, owner, cron_id) > (:at, :owner, :cron_id)
ORDER BY next_at, owner, cron_id LIMIT :limit

-- name: next_firing
SELECT min(next_at) FROM crons INDEXED BY crons_due WHERE next_at IS NOT NULL
