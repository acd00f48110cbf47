-- A database after `:n` runs on threads of ten each, all finished, with a tenth as many that execute and that wait.
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, last_seq)
SELECT '', 't' || n, n, 1, convert_to('{"user":"u' || n || '"}', 'UTF8'), 'idle', 10 FROM generate_series(0, :n / 10 - 1) n;
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, max_attempts,
                  invocation, first_seq, line, strategy, ended_at, outcome)
SELECT 'r' || n, 't' || n / 10, '', 'a', CASE WHEN n % (:n / 10) = 0 THEN 'error' ELSE 'success' END, 1, 1,
       convert_to('{"user":"u' || n / 20 || '"}', 'UTF8'), '{}', 3, 'r' || n, 0, 1, 'reject', 1, 'completed'
FROM generate_series(0, :n - 1) n;
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden, lease, last_seq)
SELECT '', k || n, 1, 1, '{}', 'busy', 1, CASE k WHEN 'x' THEN 1 ELSE 0 END, 0
FROM generate_series(0, :n / 10) n, unnest(ARRAY['x', 'q']) k;
INSERT INTO runs (number, run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request,
                  max_attempts, invocation, first_seq, line, strategy, ready)
SELECT CASE k WHEN 'x' THEN 1000000 ELSE 2000000 END + n, k || n, k || n, '', 'b',
       CASE k WHEN 'x' THEN 'running' ELSE 'pending' END, 1, 1, '{}', '{}', 3, k || n, 0, 1, 'reject',
       CASE k WHEN 'x' THEN 0 ELSE 1 END
FROM generate_series(0, :n / 10) n, unnest(ARRAY['x', 'q']) k;
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, max_attempts,
                  invocation, first_seq, line, strategy, ready)
SELECT 'waits' || n, 'q' || n, '', 'a', 'pending', 1, 1, '{}', '{}', 3, 'i', 0, 1, 'reject', 1
FROM generate_series(0, 9) n;
INSERT INTO checkpoints (checkpoint_id, owner, thread_id, created_at, step, source, kind, body, full_size, chain_size,
                         namespace)
SELECT k || n || '-' || i, '', 't' || n, 1, 0, 'step', 'full', '{}', 2, 0, CASE k WHEN 'c' THEN '' ELSE 'node:1' END
FROM generate_series(0, :n / 10 - 1) n, generate_series(0, 2) i, unnest(ARRAY['c', 'i']) k;
INSERT INTO inherited (checkpoint_id, owner, thread_id, namespace, source)
SELECT 'i' || n + m || '-' || i, '', 't' || n, 'node:1', 't' || n + m
FROM generate_series(0, :n / 10 - 2) n, generate_series(0, 2) i, generate_series(0, 1) m;
INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, run_id)
SELECT '', 't' || n, '', 'c' || n || '-' || i, 'task', 0, 'c', '1', '', 'r'
FROM generate_series(0, :n / 10 - 1) n, generate_series(0, 2) i;
INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, aside, channel, value, path, run_id)
SELECT owner, thread_id, namespace, on_id, task_id, idx, 'r7', channel, '0', '', 'r0' FROM pending_writes;
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
SELECT '', 't' || n / 10, 1 + n % 10, 1 + n % 10, 'r' || n, 1, '[]' FROM generate_series(0, :n - 1) n;
INSERT INTO items (owner, namespace, key, value, created_at, updated_at)
SELECT '', '\x6e00', 'k' || n, '{}', 1, n FROM generate_series(0, :n - 1) n;
INSERT INTO records (invocation, kind, name, nth, place, run_id, body)
SELECT 'r' || n, 'step', 's', 1, 1, 'r' || n, '1' FROM generate_series(0, :n - 1) n;
INSERT INTO idempotency (owner, route, key, body_hash, run, run_id, created_at)
SELECT '', 'create_run', 'k' || n, 'h', '', 'r', 1 FROM generate_series(0, :n - 1) n;
INSERT INTO outbox (delivery_id, owner, run_id, thread_id, url, host, created_at, began_at, delivered_at, last_status)
SELECT 'd' || n, '', 'r' || n, 't', 'u', 'h', 1, 1, 1, 200 FROM generate_series(0, :n - 1) n;
