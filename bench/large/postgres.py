"""PostgreSQL: a long history, made by the database itself, and what a run costs beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

from bench.large.fill import EPOCH, RUNS_PER_THREAD
from bench.postgres.databases import Database, postgres
from runyard.storage.postgres import PostgresStorage

BATCH = 50_000

_THREADS = f"""
INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, last_outcome, last_seq, lease)
SELECT '', 't' || n, {EPOCH} + n, {EPOCH} + n, '{{}}', 'idle', 'completed', 100, 20
FROM generate_series($1::bigint, $2) n
"""
_RUNS = f"""
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                  max_attempts, outcome, invocation, first_seq, last_seq, line, started_at, ended_at, strategy)
SELECT 'r' || n, 't' || n / {RUNS_PER_THREAD}, '', 'measured', CASE WHEN n % 1000 = 7 THEN 'error' ELSE 'success' END,
       {EPOCH} + n, {EPOCH} + n, convert_to('{{"order":"order-' || n || '"}}', 'UTF8'), '{{"input":{{"n":1}}}}', 1, 3,
       CASE WHEN n % 1000 = 7 THEN 'failed' ELSE 'completed' END, 'r' || n, 0, 10, {EPOCH} + n, {EPOCH} + n,
       {EPOCH} + n, 'enqueue'
FROM generate_series($1::bigint, $2) n
"""
_EVENTS = f"""
INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
SELECT '', 't' || n / {RUNS_PER_THREAD}, n % {RUNS_PER_THREAD} * 10 + last, n % {RUNS_PER_THREAD} * 10 + last - 4,
       'r' || n, {EPOCH} + n, convert_to(repeat('x', 300), 'UTF8')
FROM generate_series($1::bigint, $2) n, unnest(ARRAY[5, 10]) last
"""
_CHECKPOINTS = f"""
INSERT INTO checkpoints (checkpoint_id, owner, thread_id, run_id, created_at, step, source, kind, body, full_size,
                         chain_size)
SELECT 'c' || n, '', 't' || n / {RUNS_PER_THREAD}, 'r' || n, {EPOCH} + n, 0, 'step', 'full',
       convert_to(repeat('x', 200), 'UTF8'), 200, 0
FROM generate_series($1::bigint, $2) n
"""


def measured(
    runs: tuple[int, int], compare: Callable[[list[PostgresStorage]], Any], progress: Callable[[str], None]
) -> Any:
    """What `compare` makes of storages on databases with so many finished runs, on a PostgreSQL of its own."""
    with postgres() as url:
        storages: list[PostgresStorage] = []
        for count in runs:
            database = Database(url, f"large{count}").make()
            database.migrate()
            asyncio.run(_fill(database.url, count, progress))
            storages.append(PostgresStorage(database.url))
        return compare(storages)


async def _fill(url: str, runs: int, progress: Callable[[str], None]) -> None:
    connection: Any = await asyncpg.connect(url, server_settings={"synchronous_commit": "off"})
    for statement, count in (
        (_THREADS, max(1, runs // RUNS_PER_THREAD)), (_RUNS, runs), (_EVENTS, runs), (_CHECKPOINTS, runs),
    ):  # fmt: skip
        for first in range(0, count, BATCH):
            progress(f"{runs:,} runs: {statement.split()[2]} {first:,} of {count:,}")
            await connection.execute(statement, first, min(first + BATCH, count) - 1)
    await connection.execute("VACUUM ANALYZE")
    await connection.close()
