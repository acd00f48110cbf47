"""PostgreSQL: a sweep takes what is too old in small transactions, and what rows leave behind when they go is cleaned.

That the statements of a sweep search indexes is proven with all others (`test_postgres_plans`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres

from runyard.storage.contract import Keep, Retention
from runyard.storage.postgres.connection import PACKAGE, connect
from runyard.storage.postgres.statements import statements
from runyard.storage.postgres.transaction import Transaction, Work
from runyard.storage.verbs import retention as retention_verbs
from runyard.storage.verbs.retention import BATCH, PAGE, STAGES

STATEMENTS = statements(PACKAGE)
FILL = Path(__file__).with_name("long_history.sql").read_text()
NOW = 10
ALL_BEFORE = Keep(keys_before=NOW, runs_before=NOW, events_before=NOW, threads_before=NOW)
MOST = BATCH + 4 * PAGE
"""Rows of a transaction: a candidate costs a few beside those that go with it, its mark, its thread's header."""
LASTING = {"schema_versions", "agents", "assistants", "assistant_versions"}
"""Tables whose rows stay."""

_TOUCHED = """
SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::integer FROM pg_stat_xact_user_tables WHERE relname <> 'labels'
"""


@pytest.fixture
def on_database(postgres: Postgres) -> Callable[[Callable[[Any], Awaitable[None]]], None]:
    """Runs a case on a connection to a database with the schema and no rows."""

    async def whole(case: Callable[[Any], Awaitable[None]]) -> None:
        connection = await connect(await postgres.emptied(), "tests")
        try:
            await case(connection)
        finally:
            await connection.close()

    return lambda case: asyncio.run(whole(case))


OnDatabase = Callable[[Callable[[Any], Awaitable[None]]], None]


async def sweep(connection: Any, keep: Keep) -> tuple[Retention, list[int]]:
    """A whole sweep, and the rows that each of its transactions touched; labels come and go with their runs."""
    total, touched, number = Retention(), [], 0
    for stage in STAGES:
        place: Any = retention_verbs.BEGINNING
        while place is not None:
            number += 1
            work = Work(connection, STATEMENTS, ("sweep", number))
            await work.begin()
            before = await connection.fetchval(_TOUCHED)
            removed, place = await stage(Transaction(work, None), NOW, keep, place)
            touched.append(await connection.fetchval(_TOUCHED) - before)
            await work.commit()
            total = total + removed
    return total, touched


def test_no_transaction_of_a_sweep_touches_more_than_a_batch(on_database: OnDatabase) -> None:
    async def case(connection: Any) -> None:
        await connection.execute(FILL.replace(":n", "500"))
        await connection.execute("UPDATE items SET expires_at = 1")
        removed, touched = await sweep(connection, ALL_BEFORE)
        assert removed.runs == removed.keys == removed.items == 500
        assert len(touched) > 500 / BATCH
        assert max(touched) <= MOST
        left = "SELECT count(*) FROM runs WHERE status NOT IN ('pending', 'running')"
        assert await connection.fetchval(left) == 0

    on_database(case)


def test_one_long_run_goes_in_batches_too(on_database: OnDatabase) -> None:
    async def case(connection: Any) -> None:
        await connection.execute(FILL.replace(":n", "20"))
        await connection.execute(
            "INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) "
            "SELECT '', 't1', 100 + n, 100 + n, 'r12', 1, '[]' FROM generate_series(0, 1999) n; "
            "UPDATE threads SET last_seq = 9999 WHERE thread_id = 't1'; "
            "UPDATE runs SET last_seq = 2099 WHERE run_id = 'r12'"
        )
        _, touched = await sweep(connection, Keep(keys_before=0, runs_before=NOW))
        assert max(touched) <= MOST
        assert await connection.fetchval("SELECT count(*) FROM events WHERE run_id = 'r12'") == 0

    on_database(case)


def test_histories_are_cut_in_batches_too(on_database: OnDatabase) -> None:
    async def case(connection: Any) -> None:
        await connection.execute(
            "INSERT INTO threads "
            "(owner, thread_id, created_at, updated_at, metadata, status, head, ttl, ttl_strategy) "
            "SELECT '', 't' || n, 1, 1, '{}', 'idle', 'c' || n || '-599', 1, 'keep_latest' "
            "FROM generate_series(0, 1) n; "
            "INSERT INTO checkpoints "
            "(checkpoint_id, owner, thread_id, parent_id, created_at, step, source, kind, body, full_size, chain_size) "
            "SELECT 'c' || n || '-' || i, '', 't' || n, 'c' || n || '-' || (i - 1), 1, 0, 'step', "
            "CASE i WHEN 0 THEN 'full' ELSE 'delta' END, '{}', 2, 0 "
            "FROM generate_series(0, 1) n, generate_series(0, 599) i ORDER BY n, i"
        )
        removed, touched = await sweep(connection, Keep(keys_before=0))
        assert removed == Retention(cut=2)
        assert max(touched) <= MOST
        rows = await connection.fetch("SELECT checkpoint_id, kind FROM checkpoints ORDER BY 1")
        assert [tuple(row) for row in rows] == [("c0-599", "full"), ("c1-599", "full")]

    on_database(case)


def test_tables_whose_rows_come_and_go_are_cleaned_early_and_at_once(on_database: OnDatabase) -> None:
    async def case(connection: Any) -> None:
        rows = await connection.fetch(
            "SELECT relname, coalesce(reloptions, '{}') FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"
        )
        settings = {name: dict(option.split("=") for option in options) for name, options in rows}
        assert set(settings) > LASTING
        for table in set(settings) - LASTING:
            assert float(settings[table]["autovacuum_vacuum_scale_factor"]) <= 0.02, table
            assert settings[table]["autovacuum_vacuum_cost_delay"] == "0", table

    on_database(case)


def test_numbers_are_taken_without_writing_to_an_index(on_database: OnDatabase) -> None:
    async def case(connection: Any) -> None:
        await connection.execute(FILL.replace(":n", "100"))
        work = Work(connection, STATEMENTS, ("numbers", 1))
        for _ in range(40):
            await work.fetch("take_numbers_fenced", (1, "", "x7", 1))
        updates, hot = await connection.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'threads'"
        )
        await work.commit()
        assert updates == 40
        assert hot >= 20  # a page holds so many of them until they can be pruned

    on_database(case)
