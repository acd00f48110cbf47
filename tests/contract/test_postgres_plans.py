"""PostgreSQL: what a claim, a write, a read or the first page of a list costs does not grow with the history.

A connection plans a statement once and keeps the plan, and nobody knows what the tables held then: nothing, on the
first day. So each plan has to search an index, whether the tables are empty, small or large, with statistics or
without; and the rows that are visited are those of a short history, also by plans that were made before there was any.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from postgres_server import Postgres

from runyard.storage.postgres.connection import PACKAGE, connect
from runyard.storage.postgres.schema import migrate
from runyard.storage.postgres.statements import statements

STATEMENTS = statements(PACKAGE)
SHORT, LONG = 200, 2000
THREAD = {"owner": "", "thread_id": "t1"}
ANY = {"owner": "", "statuses": None, "outcomes": None, "within": None, "limit": 10, "offset": 0}
LIST = {**ANY, "metadata": None}
LABELLED = {**ANY, "metadata": b'{"user":"u7"}', "name": "user", "value": "u7"}

READS: dict[str, Any] = {
    "search_runs": LIST,
    "search_runs_of_thread": {**LIST, **THREAD, "agent_id": None},
    "search_runs_of_agent": {**LIST, "agent_id": "a"},
    "search_runs_of_status": {**LIST, "status": "error"},
    "search_runs_of_threads": {**LIST, "agent_id": None, "within": b'{"user":"u7"}', "threads": '["t1", "t2"]'},
    "labelled_threads": {"owner": "", "name": "user", "value": "u7", "limit": 200},
    "search_threads": {**LIST, "status": None},
    "search_runs_labelled": {**LABELLED, "agent_id": None, "statuses": None},
    "search_threads_labelled": {**LABELLED, "status": None},
    "history": {**THREAD, "namespace": "", "below": 2**63 - 1, "limit": 10},
    "run": ("r7", ""),
    "run_row": ("r7",),
    "run_of_many": ([""], ["r7"]),
    "thread": ("", "t1"),
    "checkpoint_sizes": THREAD,
    "write_sizes": THREAD,
    "thread_alone": ("", "t2"),
    "thread_alone_of_many": ([""], ["t2"]),
    "thread_of_many": ([""], ["t1"]),
    "thread_standing": ("", "t1"),
    "numbers": ("", "t1"),
    "numbers_of_many": ([""], ["t1"]),
    "state_of_many": ([""], ["t1"], ["c1-1"], [True]),
    "line": ("", "t1"),
    "ready": ("a", 10),
    "running_of_agent": ("limited",),
    "due": (1,),
    "next_due": (),
    "holds": ("", "t1", 0),
    "known_key": ("", "create_run", "k7"),
    "checkpoint": ("c1-1", ""),
    "chain": ("c1-1",),
    "place_of_checkpoint": ("c1-1", ""),
    "readable": {**THREAD, "checkpoint_id": "c1-1", "undone": True},
    "inner_history": {**THREAD, "namespace": "node:1", "before": None, "limit": 10},
    "inherited": {**THREAD, "namespace": "node:1", "before": None, "limit": 10},
    "pending_writes": ("", "t1", "", "c1-1"),
    "laid_aside": {**THREAD, "run_id": "r7"},
    "has_inner": THREAD,
    "newest_own": ("", "t1"),
    "threads_of_run": {"owner": "", "id": "r7"},
    "log": ("", "t1", 0, 32),
    "nested_of_run": ("", "t1", 0, "r7"),
    "records": ("r7",),
    "get_item": ("", b"n\0", "k7", 1),
    "next_namespace": ("", b"", b"\xff"),
    "attempt_standing": ("x7", 1),
    "attempt_standing_of_many": (["x7"], [1]),
    "expired_runs": (1,),
    "old_runs": {"trimmed": 0, "before": 1, "limit": 50},
    "untrimmed_runs": (1, 50),
    "idle_threads": {**THREAD, "cut": 0, "updated_at": 0, "before": 1, "limit": 10},
    "expired_threads": {**THREAD, "expires_at": 0, "now": 1, "limit": 10},
    "ttl_of_thread": ("", "t1"),
    "lasting_states": THREAD,
    "outliving_run": THREAD,
    "started_later": {**THREAD, "run_id": "r7"},
    "delivery": ("d7", ""),
    "delivery_of_run": {"owner": "", "run_id": "r7", "within": None},
    "notice": ("d7", ""),
}
WRITES: dict[str, Any] = {
    "take_numbers": (1, "", "t1"),
    "take_numbers_fenced": (1, "", "x7", 1),
    "claim_thread": (1, 1, "", "t1"),
    "make_ready": (2000007,),
    "request_cancel": ("interrupt", 1, "x7"),
    "end_run": {
        "run_id": "x7", "status": "success", "outcome": "completed", "failure": None, "last_seq": 1, "now": 1,
        "expires_at": None, "deleted_at": None, "last_checkpoint": None,
    },
    "requeue_run": {"run_id": "x7", "due_at": None, "now": 1, "refund": 0, "last_checkpoint": None},
    "begin_next": (
        [""], ["t2"], ["new"], ["a"], [1], [b"{}"], [b"{}"], [3], [None], [10], [1], ["reject"], [12], [b"[]"],
    ),
    "begin_waiting": ([""], ["q7"], ["q7"], [2000007], [1], [1], [1], [1], [None], [None], [None], [1], [b"[]"]),
    "end_alone": (
        [""], ["x7"], ["x7"], [1], [1], ["success"], ["completed"], [None], [9], [None], [None], [0], ["idle"], [1],
        [2], [b"[]"], [None], [0],
    ),
    "move_on": ([""], ["x7"], ["x7"], ["c"], [1]),
    "bury_run": {"run_id": "r7", "now": 1, "outcome": None, "expires_at": 1},
    "bury_runs_of_thread": {**THREAD, "now": 1, "keep": None},
    "expire_runs_of_thread": {**THREAD, "now": 1, "limit": 50},
    "delete_run": ("r7",),
    "delete_events_of_run": {**THREAD, "run_id": "r17", "first_seq": 0, "last_seq": 9, "limit": 50},
    "forget_records_of_run": {"run_id": "r7", "limit": 50},
    "mark_unswept": THREAD,
    "raise_floor": THREAD,
    "set_ttl": {**THREAD, "ttl": 1, "strategy": "delete", "now": 1},
    "cut_checkpoints": {**THREAD, "keep": "[]", "limit": 50},
    "cut_inherited": {**THREAD, "keep": "[]", "limit": 50},
    "mark_cut": THREAD,
    "take_deliveries": {"host": "h", "now": 1, "until": 2, "limit": 10},
    "settle_delivery": {
        "delivery_id": "d7", "lease": 0, "delivered_at": 1, "parked_at": None, "status": 200, "error": None,
    },
}  # fmt: skip
WHOLE = {
    "active_by_agent", "agents", "due_hosts", "executing", "figures", "forget_workers", "lost", "next_due",
    "next_firing", "offered", "on_probation", "pending", "published_at", "ready_apart", "ready_by_agent",
    "recall_deliveries", "settled_deliveries", "suspects_by_agent", "unswept_threads", "waiting_by_agent",
}  # fmt: skip
"""Those that read an index to its end: it holds what is active or to be done and nothing else, or the table is a small
one; and the figures, for people, which count everything."""
SKIPPED = {"delete_delivery"}
"""Those that may search an index by another than its first column, which PostgreSQL skips through."""

FILL = Path(__file__).with_name("long_history.sql").read_text()


class Scan(NamedTuple):
    """How a table is read. `visited`: rows that were looked at."""

    table: str
    index: str
    condition: str
    visited: int


def scans(plan: dict[str, Any]) -> Iterator[Scan]:
    if plan["Node Type"] in ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"):
        rows = sum(
            plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
        )
        yield Scan(
            plan.get("Relation Name", ""),
            plan.get("Index Name", ""),
            plan.get("Index Cond", ""),
            rows * plan.get("Actual Loops", 1),
        )
    for below in plan.get("Plans", ()):
        yield from scans(below)


class Planner:
    """A connection that has prepared every statement, and keeps its plans."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._types: dict[str, list[str]] = {}

    async def prepare(self) -> None:
        for name, statement in STATEMENTS.items():
            await self._connection.execute(f"PREPARE {name}_ AS {statement.sql}")
        rows = await self._connection.fetch("SELECT name, parameter_types::text[] FROM pg_prepared_statements")
        self._types = {row[0][:-1]: row[1] for row in rows if row[0].endswith("_")}

    async def plan(self, name: str, values: Any = None) -> list[Scan]:
        """How it reads; executed, and undone, where there are values."""
        types = self._types[name]
        bound = [None] * len(types) if values is None else STATEMENTS[name].bound(values)
        if values is not None and not isinstance(values, dict):
            bound = list(values)  # those of many rows are lists already
        given = ", ".join(f"{literal(value)}::{type}" for value, type in zip(bound, types, strict=True))
        how = "FORMAT JSON" if values is None else "ANALYZE, TIMING OFF, FORMAT JSON"
        transaction = self._connection.transaction()
        await transaction.start()
        told = await self._connection.fetchval(f"EXPLAIN ({how}) EXECUTE {name}_{f'({given})' if types else ''}")
        await transaction.rollback()
        return [*scans(json.loads(told)[0]["Plan"])]


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(literal, value))}]"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'::bytea"
    return "'" + str(value).replace("'", "''") + "'"


class Seen(NamedTuple):
    """Plans of all statements as the tables were, and what the statements with values have visited."""

    plans: dict[str, dict[str, list[Scan]]]
    visited: dict[tuple[str, str, int], int]
    first: dict[str, str]
    """The first column of each index."""


@pytest.fixture(scope="module")
def seen(postgres: Postgres) -> Seen:
    return asyncio.run(look(postgres))


async def look(postgres: Postgres) -> Seen:
    plans: dict[str, dict[str, list[Scan]]] = {}
    visited: dict[tuple[str, str, int], int] = {}
    first: dict[str, str] = {}
    for size in (SHORT, LONG):
        url = await postgres.empty()
        connection = await connect(url, "tests")
        await migrate(connection)
        planner = Planner(connection)
        await planner.prepare()
        if size == LONG:
            plans["no rows"] = {name: await planner.plan(name) for name in STATEMENTS}
        await connection.execute(FILL.replace(":n", str(size)))
        first = {row[0]: row[1] for row in await connection.fetch(_FIRST_COLUMNS)}
        for when in ("planned early", "planned late"):
            for name, values in {**READS, **WRITES}.items():
                scanned = await planner.plan(name, values)
                visited[name, when, size] = sum(scan.visited for scan in scanned)
            await connection.execute("ANALYZE")  # which has plans made anew
        plans[f"{size} runs"] = {name: await planner.plan(name) for name in STATEMENTS}
        await connection.close()
        await postgres.drop(url)
    return Seen(plans, visited, first)


_FIRST_COLUMNS = """
SELECT i.relname, coalesce(a.attname::text, '') FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
LEFT JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
"""


@pytest.mark.parametrize("name", sorted(set(STATEMENTS) - WHOLE))
def test_a_plan_searches_an_index_whatever_the_tables_hold(name: str, seen: Seen) -> None:
    for state, plans in seen.plans.items():
        for scan in plans[name]:
            assert scan.index, f"{state}: {scan.table} is read whole"
            assert scan.condition, f"{state}: {scan.index} is read whole"
            assert seen.first[scan.index] in scan.condition or name in SKIPPED, f"{state}: {scan}"


@pytest.mark.parametrize("when", ["planned early", "planned late"])
@pytest.mark.parametrize("name", sorted({**READS, **WRITES}))
def test_the_work_is_that_of_a_short_history(name: str, when: str, seen: Seen) -> None:
    assert seen.visited[name, when, LONG] <= seen.visited[name, when, SHORT] * 1.2


@pytest.mark.parametrize(
    ("name", "index", "by"),
    [("idle_threads", "threads_idle", "CASE WHEN"), ("expired_threads", "threads_expiring", "(updated_at + ttl)")],
)
def test_a_sweep_finds_threads_by_what_is_to_be_done_with_them(name: str, index: str, by: str, seen: Seen) -> None:
    for plans in seen.plans.values():
        (scan,) = plans[name]
        assert (scan.index, by in scan.condition) == (index, True), scan


@pytest.mark.parametrize("name", ["run", "attempt_standing", "begin_next", "begin_waiting", "end_alone", "ready"])
def test_what_is_measured_finds_its_rows(name: str, seen: Seen) -> None:
    assert seen.visited[name, "planned early", SHORT] > 0
