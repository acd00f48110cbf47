"""SQLite: what a claim, a read or the first page of a list costs does not grow with the history in the file.

Two proofs. The plans of all statements that requests and claims wait for search an index and sort nothing; and the work
of each, counted by SQLite itself, is the same with a long history as with a short one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from runyard.storage.migrate import named_queries
from runyard.storage.sqlite.connection import PACKAGE, connect, migrate

QUERIES = named_queries(PACKAGE)
SHORT, LONG = 200, 3000
SORTED = ("given_after", "search_runs_of_threads")

ASKED = {"owner": "", "outcomes": None, "metadata": None, "within": None, "limit": 10, "offset": 0}
LISTS: dict[str, dict[str, Any]] = {
    "search_runs": {**ASKED, "statuses": None},
    "search_runs_of_thread": {**ASKED, "thread_id": "t1", "agent_id": None, "statuses": None},
    "search_runs_of_agent": {**ASKED, "agent_id": "a", "statuses": None},
    "search_runs_of_status": {**ASKED, "status": "error"},
    "labelled_threads": {"owner": "", "name": "user", "value": "u7", "limit": 200},
    "search_runs_of_threads": {
        **ASKED, "agent_id": None, "statuses": None, "within": b'{"user":"u1"}', "threads": '["t1", "t2"]',
    },
    "search_threads": {"owner": "", "status": None, "metadata": None, "limit": 10, "offset": 0},
    "search_runs_labelled": {
        **ASKED, "agent_id": None, "statuses": None, "metadata": b'{"user":"u7"}', "name": "user", "value": "u7",
    },
    "search_threads_labelled": {
        "owner": "", "status": None, "metadata": b'{"user":"u7"}', "name": "user", "value": "u7", "limit": 10,
        "offset": 0,
    },
    "history": {"owner": "", "thread_id": "t1", "namespace": "", "below": 2**63 - 1, "limit": 10},
}  # fmt: skip
READS: dict[str, Any] = {
    "run": ("r7", ""),
    "thread": ("", "t1"),
    "checkpoint_sizes": {"owner": "", "thread_id": "t1"},
    "write_sizes": {"owner": "", "thread_id": "t1"},
    "thread_alone": ("", "t2"),
    "numbers": ("", "t1"),
    "line": ("", "t1"),
    "ready": ("a", 10),
    "running_of_agent": ("a",),
    "pending": (),
    "pending_of_owner": ("", ""),
    "due": (1,),
    "next_due": (),
    "expired_runs": (1,),
    "executing": (),
    "next_namespace": ("", b"", b"\xff"),
    "get_item": ("", b"n\0", "k7", 1),
    "touch_item": {"owner": "", "namespace": b"n\0", "key": "k7", "now": 1},
    "known_key": ("", "create_run", "k"),
    "checkpoint": ("c1-1", ""),
    "place_of_checkpoint": ("c1-1", ""),
    "readable": {"owner": "", "thread_id": "t1", "checkpoint_id": "c1-1", "undone": True},
    "inner_history": {"owner": "", "thread_id": "t1", "namespace": "node:1", "before": None, "limit": 10},
    "inherited": {"owner": "", "thread_id": "t1", "namespace": "node:1", "before": None, "limit": 10},
    "pending_writes": ("", "t1", "", "c1-1"),
    "laid_aside": {"owner": "", "thread_id": "t1", "run_id": "r7"},
    "given_after": {
        "owner": "",
        "thread_id": "t1",
        "run_id": "r7",
        "namespace": "",
        "on_id": "c1-1",
        "task_id": "task",
        "idx": 0,
    },
    "has_inner": {"owner": "", "thread_id": "t1"},
    "newest_own": ("", "t1"),
    "threads_of_run": {"owner": "", "id": "r7"},
    "assistant": ("", "as"),
    "cron": ("", "c"),
    "due_crons": {"now": 1, "at": -1, "owner": "", "cron_id": "", "limit": 100},
    "next_firing": (),
}
ALL: dict[str, Any] = {**LISTS, **READS}
EMPTY = (
    *("due", "next_due", "expired_runs", "executing", "running_of_agent", "known_key", "touch_item"),
    *("assistant", "cron", "due_crons"),
)
"""What gives no rows here."""
WHOLE = {
    "executing": ["SCAN runs USING INDEX one_running_run_per_thread"],
    "pending": [
        "SCAN runs USING INDEX runs_active",
        "SCAN runs USING COVERING INDEX one_running_run_per_thread",
    ],
}


def filled(path: Path, runs: int) -> Any:
    """A database with so many finished runs on threads of ten each, an item and three checkpoints a thread; ten of the
    runs failed and one waits."""
    connection: Any = connect(path)
    migrate(connection)
    threads = [(f"t{n}", n) for n in range(runs // 10)]
    with connection:
        connection.executemany(
            "INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status) "
            "VALUES ('', ?, ?, 1, ?, 'idle')",
            [(thread, at, b'{"user":"u%d"}' % at) for thread, at in threads],
        )
        connection.executemany(
            "INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, "
            "max_attempts, invocation, first_seq, line, strategy, ended_at, outcome) VALUES "
            "(?, ?, '', 'a', ?, 1, 1, ?, x'7b7d', 3, 'i', 0, 1, 'reject', 1, 'completed')",
            [
                (
                    f"r{n}",
                    f"t{n // 10}",
                    "error" if n % (runs // 10) == 0 else "success",
                    b'{"user":"u%d"}' % (n // 20),
                )
                for n in range(runs)
            ],
        )
        connection.execute(
            "INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, "
            "max_attempts, invocation, first_seq, line, strategy, ready) VALUES "
            "('waits', 't1', '', 'a', 'pending', 1, 1, x'7b7d', x'7b7d', 3, 'i', 0, 1, 'reject', 1)"
        )
        connection.executemany(
            "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, created_at, step, source, kind, body, "
            "full_size, chain_size) VALUES (?, '', ?, 1, 0, 'step', 'full', x'7b7d', 2, 0)",
            [(f"c{n}-{i}", f"t{n}") for n in range(runs // 10) for i in range(3)],
        )
        connection.executemany(
            "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, created_at, step, source, kind, body, "
            "full_size, chain_size, namespace) VALUES (?, '', ?, 1, 0, 'step', 'full', x'7b7d', 2, 0, 'node:1')",
            [(f"i{n}-{i}", f"t{n}") for n in range(runs // 10) for i in range(3)],
        )
        # Each thread has what the one after it has of a subgraph, as a copy would.
        connection.executemany(
            "INSERT INTO inherited (checkpoint_id, owner, thread_id, namespace, source) "
            "SELECT checkpoint_id, owner, ?, namespace, thread_id FROM checkpoints WHERE checkpoint_id = ?",
            [(f"t{n}", f"i{n + move}-{i}") for n in range(runs // 10 - 1) for i in range(3) for move in (0, 1)],
        )
        connection.executemany(
            "INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, channel, value, path, "
            "run_id) VALUES ('', ?, '', ?, 'task', 0, 'c', x'31', '', 'r')",
            [(f"t{n}", f"c{n}-{i}") for n in range(runs // 10) for i in range(3)],
        )
        connection.execute(
            "INSERT INTO pending_writes (owner, thread_id, namespace, on_id, task_id, idx, aside, channel, value, "
            "path, run_id) SELECT owner, thread_id, namespace, on_id, task_id, idx, 'r7', channel, x'30', '', 'r0' "
            "FROM pending_writes"
        ).fetchall()
        connection.executemany(
            "INSERT INTO items (owner, namespace, key, value, created_at, updated_at) VALUES ('', ?, ?, x'7b7d', 1, ?)",
            [(b"n\0", f"k{n}", n) for n in range(runs)],
        )
    return connection


@pytest.fixture(scope="module")
def work_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], int]:
    """The steps that SQLite's machine takes for a named statement, on a file with a short or a long history."""
    connections = {size: filled(tmp_path_factory.mktemp("plans") / "runyard.db", size) for size in (SHORT, LONG)}

    def count(name: str, size: int) -> int:
        told: list[dict[str, Any]] = []
        connection = connections[size]
        connection.execute(QUERIES[name], ALL[name]).fetchall()
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, told.append)
        rows = connection.execute(QUERIES[name], ALL[name]).fetchall()
        connection.trace_v2(0, None)
        assert name in EMPTY or rows
        return told[-1]["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    return count


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_plan_searches_an_index_and_sorts_nothing(name: str, tmp_path: Path) -> None:
    connection = filled(tmp_path / "runyard.db", 20)
    plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + QUERIES[name], ALL[name]).fetchall()]
    scans = [line for line in plan if line.startswith("SCAN") and "json_each" not in line and "CONSTANT" not in line]
    # An index that holds nothing but what is looked for is read whole.
    assert scans == WHOLE.get(name, [])
    # What was given under one key is sorted, a row per run that laid it aside; and the newest runs of a few threads.
    assert [line for line in plan if "TEMP B-TREE" in line and name not in SORTED] == []
    assert any("INDEX" in line or "PRIMARY KEY" in line for line in plan)


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_work_is_that_of_a_short_history(name: str, work_of: Callable[[str, int], int]) -> None:
    assert work_of(name, LONG) <= work_of(name, SHORT) * 1.2
