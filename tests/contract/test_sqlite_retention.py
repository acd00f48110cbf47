"""SQLite: a sweep costs what it removes, and takes it in bites that nobody has to wait for.

The plans search indexes and sort nothing; a look that finds nothing costs the same whatever the history; and no
transaction of a sweep touches more than about a batch of rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from runyard.storage.contract import Keep, Retention
from runyard.storage.migrate import migrations, named_queries
from runyard.storage.sqlite.connection import PACKAGE, connect, migrate
from runyard.storage.sqlite.writer import Transaction
from runyard.storage.verbs import retention as retention_verbs
from runyard.storage.verbs.retention import BATCH, PAGE, STAGES
from runyard.storage.verbs.transaction import at_once

QUERIES = named_queries(PACKAGE)
THREAD = {"owner": "", "thread_id": "t1"}
RETENTION: dict[str, Any] = {
    "expired_threads": {**THREAD, "expires_at": 1, "now": 9, "limit": 50},
    "idle_threads": {**THREAD, "cut": 0, "updated_at": 1, "before": 9, "limit": 50},
    "lasting_states": THREAD,
    "cut_checkpoints": {**THREAD, "keep": "[]", "limit": 50},
    "cut_inherited": {**THREAD, "keep": "[]", "limit": 50},
    "mark_cut": THREAD,
    "old_runs": {"trimmed": 0, "before": 9, "limit": 50},
    "untrimmed_runs": (9, 50),
    "expired_runs": (9,),
    "hold_run": (9, 1),
    "mark_trimmed": (1,),
    "oldest_events": {**THREAD, "last_seq": 9, "before": 9, "limit": 50},
    "delete_events_up_to": ("", "t1", 9),
    "set_floor": (9, "", "t1"),
    "raise_floor": THREAD,
    "delete_events_of_run": {**THREAD, "run_id": "r1", "first_seq": 0, "last_seq": 9, "limit": 50},
    "forget_records_of_run": {"run_id": "r1", "limit": 50},
    "delete_run": ("r1",),
    "hidden_thread": THREAD,
    "delete_hidden_thread": THREAD,
    "expire_runs_of_thread": {**THREAD, "now": 1, "limit": 50},
    "cron_to_come": ("", "t1"),
    "delete_crons_of_thread": ("", "t1"),
    "unswept_threads": (50,),
    "mark_unswept": THREAD,
    "park_thread": THREAD,
    "outliving_run": THREAD,
    "copy_of_thread": THREAD,
    "copy_of_undone": THREAD,
    "delete_undone_checkpoints": {**THREAD, "limit": 50},
    "delete_events_of_thread": {**THREAD, "limit": 50},
    "delete_checkpoints_of_thread": {**THREAD, "limit": 50},
    "delete_pending_of_thread": {**THREAD, "limit": 50},
    "delete_aside_of_run": {**THREAD, "run_id": "r1", "limit": 50},
    "delete_inherited_of_thread": {**THREAD, "limit": 50},
    "release_sources": THREAD,
    "release_origin": THREAD,
    "forget_origin": THREAD,
    "revived": THREAD,
    "delete_expired_items": {"now": 1, "limit": 50},
    "delete_old_keys": {"before": 1, "limit": 50},
    "forget_trace": ("r1",),
    "active_by_agent": (),
    "ready_by_agent": (),
}
OLD, NEW = 10, 1000
ALL_BEFORE = Keep(keys_before=OLD + 1, runs_before=OLD, events_before=OLD, threads_before=OLD)


def filled(path: Path, runs: int, *, at: int, events: int = 1) -> Any:
    """So many finished runs on threads of ten each, with events, a record and a checkpoint each; items and keys."""
    connection: Any = connect(path)
    migrate(connection)
    numbers = [(n,) for n in range(runs)]
    with connection:
        connection.executemany(
            f"INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, last_seq) "
            f"VALUES ('', 't' || ?, 1, {at}, x'7b7d', 'idle', 1000000)",
            numbers[: max(1, runs // 10)],
        )
        connection.executemany(
            "INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, "
            "max_attempts, invocation, first_seq, last_seq, line, strategy, ended_at, outcome) "
            f"SELECT 'r' || ?1, 't' || (?1 / 10), '', 'a', 'success', 1, 1, x'7b7d', x'7b7d', 3, 'r' || ?1, "
            f"?1 % 10 * 10000, ?1 % 10 * 10000 + {events}, 1, 'reject', {at}, 'completed'",
            numbers,
        )
        connection.executemany(
            "INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) "
            "VALUES ('', 't' || (?1 / 10), ?1 % 10 * 10000 + ?2, ?1 % 10 * 10000 + ?2, 'r' || ?1, 1, x'5b5d')",
            [(n, event) for n in range(runs) for event in range(1, events + 1)],
        )
        connection.executemany(
            "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, run_id, created_at, step, source, kind, body, "
            "full_size, chain_size) SELECT 'c' || ?1, '', 't' || (?1 / 10), 'r' || ?1, 1, 0, 'step', 'full', x'7b7d', "
            "2, 0",
            numbers,
        )
        connection.executemany(
            "INSERT INTO records (invocation, kind, name, nth, place, run_id, body) "
            "SELECT 'r' || ?1, 'step', 's', 1, 1, 'r' || ?1, x'31'",
            numbers,
        )
        connection.executemany(
            "INSERT INTO items (owner, namespace, key, value, created_at, updated_at, expires_at) "
            f"VALUES ('', x'6e00', 'k' || ?, x'7b7d', 1, 1, {at})",
            numbers,
        )
        connection.executemany(
            "INSERT INTO idempotency (owner, route, key, body_hash, run, run_id, created_at) "
            f"VALUES ('', 'create_run', 'k' || ?, 'h', x'00', 'r', {at})",
            numbers,
        )
    return connection


def sweep(connection: Any, keep: Keep) -> tuple[Retention, list[int]]:
    """A whole sweep, and the rows that each of its transactions touched."""
    total, touched = Retention(), []
    for stage in STAGES:
        place: Any = retention_verbs.BEGINNING
        while place is not None:
            before = connection.total_changes()
            with connection:
                removed, place = at_once(stage(Transaction(connection, QUERIES), 2 * OLD, keep, place))
            touched.append(connection.total_changes() - before)
            total = total + removed
    return total, touched


def steps(connection: Any, keep: Keep) -> int:
    """The steps that SQLite's machine takes for a sweep."""
    told: list[dict[str, Any]] = []
    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, told.append)
    sweep(connection, keep)
    connection.trace_v2(0, None)
    return sum(entry["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"] for entry in told)


@pytest.mark.parametrize("name", sorted(RETENTION))
def test_the_plan_searches_an_index_and_sorts_nothing(name: str, tmp_path: Path) -> None:
    connection = filled(tmp_path / "runyard.db", 20, at=OLD)
    plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + QUERIES[name], RETENTION[name]).fetchall()]
    assert plan
    # These are read whole: the index holds what is active, or what is to do, and nothing else; or they are what was
    # found, or given.
    whole = {
        "active_by_agent": "runs_active",
        "ready_by_agent": "runs_ready",
        "unswept_threads": "threads_unswept",
        "copy_of_undone": "lineage",
        "cut_checkpoints": "json_each",
        "cut_inherited": "json_each",
    }
    assert [line for line in plan if line.startswith("SCAN") and whole.get(name, "-") not in line] == []
    assert [line for line in plan if "TEMP B-TREE" in line and name != "active_by_agent"] == []


def test_every_statement_of_retention_is_looked_at() -> None:
    source = Path(retention_verbs.__file__).read_text()
    named = {name for name in QUERIES if f'"{name}"' in source}
    assert named - set(RETENTION) == {"line", "bury_run"}  # other verbs have them too, and their plans are proven there


@pytest.mark.parametrize("keep", [ALL_BEFORE, Keep(keys_before=OLD - 1)], ids=["all ages", "no ages"])
def test_a_sweep_that_finds_nothing_costs_the_same_whatever_the_history(keep: Keep, tmp_path: Path) -> None:
    short, long = filled(tmp_path / "short.db", 20, at=NEW), filled(tmp_path / "long.db", 4000, at=NEW)
    assert sweep(long, keep)[0] == Retention()
    assert steps(long, keep) <= steps(short, keep) * 1.2


@pytest.mark.parametrize(
    ("runs", "events"), [(1000, 1), (20, 2000), (1, 3000)], ids=["many runs", "long runs", "one very long run"]
)
def test_no_transaction_of_a_sweep_touches_more_than_a_batch(runs: int, events: int, tmp_path: Path) -> None:
    connection = filled(tmp_path / "runs.db", runs, at=OLD, events=events)
    removed, touched = sweep(connection, Keep(keys_before=0, runs_before=OLD))
    assert removed == Retention(runs=runs, items=runs)
    assert max(touched) <= BATCH + 4 * PAGE
    connection = filled(tmp_path / "threads.db", runs, at=OLD, events=events)
    removed, touched = sweep(connection, ALL_BEFORE)
    assert removed == Retention(runs=runs, events=0, threads=max(1, runs // 10), items=runs, keys=runs)
    for table in ("runs", "events", "checkpoints", "records", "items", "idempotency"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)], table
    # A candidate costs a few rows beside those that are removed with it: its mark, its thread's header.
    assert max(touched) <= BATCH + 4 * PAGE


def test_events_of_many_and_of_long_runs_are_trimmed_in_batches_too(tmp_path: Path) -> None:
    connection = filled(tmp_path / "runyard.db", 100, at=OLD, events=100)
    removed, touched = sweep(connection, Keep(keys_before=0, events_before=OLD))
    assert removed.events == 100
    assert connection.execute("SELECT count(*) FROM events").fetchall() == [(0,)]
    assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(100,)]
    assert max(touched) <= BATCH + 4 * PAGE


def long_threads(path: Path, threads: int, states: int) -> Any:
    """So many threads whose histories are to be cut, each with so many states."""
    connection: Any = connect(path)
    migrate(connection)
    with connection:
        connection.executemany(
            "INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, head, ttl, ttl_strategy) "
            "VALUES ('', 't' || ?1, 1, 1, x'7b7d', 'idle', 'c' || ?1 || '-' || ?2, 1, 'keep_latest')",
            [(n, states - 1) for n in range(threads)],
        )
        connection.executemany(
            "INSERT INTO checkpoints "
            "(checkpoint_id, owner, thread_id, parent_id, created_at, step, source, kind, body, full_size, chain_size) "
            "VALUES ('c' || ?1 || '-' || ?2, '', 't' || ?1, 'c' || ?1 || '-' || (?2 - 1), 1, 0, 'step', "
            "CASE ?2 WHEN 0 THEN 'full' ELSE 'delta' END, x'7b7d', 2, 0)",
            [(n, state) for n in range(threads) for state in range(states)],
        )
    return connection


@pytest.mark.parametrize(("threads", "states"), [(120, 2), (2, 450)], ids=["many threads", "long histories"])
def test_histories_are_cut_in_batches_and_are_not_found_again(threads: int, states: int, tmp_path: Path) -> None:
    cut, none = long_threads(tmp_path / "cut.db", threads, states), long_threads(tmp_path / "none.db", 0, 0)
    removed, touched = sweep(cut, Keep(keys_before=0))
    assert removed == Retention(cut=threads)
    assert max(touched) <= BATCH + 4 * PAGE
    assert cut.execute("SELECT count(*) FROM checkpoints").fetchall() == [(threads,)]
    assert steps(cut, Keep(keys_before=0)) <= steps(none, Keep(keys_before=0)) * 1.2


def test_all_histories_that_were_cut_by_age_are_not_found_again(tmp_path: Path) -> None:
    keep = Keep(keys_before=0, threads_before=OLD, threads_by="keep_latest")
    short, long = filled(tmp_path / "short.db", 20, at=OLD), filled(tmp_path / "long.db", 1000, at=OLD)
    for connection, threads in ((short, 2), (long, 100)):
        with connection:
            connection.execute("DELETE FROM items")
            connection.execute("UPDATE checkpoints SET gone = 0, run_id = NULL")
        assert sweep(connection, keep)[0].cut == threads
    assert steps(long, keep) <= steps(short, keep) * 1.2


def test_a_database_of_before_is_swept_of_what_it_had_left_behind(tmp_path: Path) -> None:
    """Deleted threads, a copy that holds one of them, and what a rollback undid, as the layout of before had them."""
    connection: Any = connect(tmp_path / "runyard.db")
    before = [
        m
        for m in migrations(PACKAGE)
        if m.number < next(n.number for n in migrations(PACKAGE) if "operations" in n.name)
    ]
    with connection:
        for migration in before:
            connection.execute(migration.sql).fetchall()
        connection.execute(f"PRAGMA user_version={len(before)}").fetchall()
        threads = [("dead", 5, None), ("held", 5, None), ("copy", None, "c-held"), ("lives", None, None)]
        connection.executemany(
            "INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, deleted_at, origin) "
            "VALUES ('', ?, 1, 1, x'7b7d', 'idle', ?, ?)",
            threads,
        )
        connection.executemany(
            "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, run_id, created_at, step, source, kind, body, "
            "full_size, chain_size, gone) VALUES (?, '', ?, 'r', 1, 0, 'step', 'full', x'7b7d', 2, 0, ?)",
            [("c-dead", "dead", 1), ("c-held", "held", 1), ("c-lives", "lives", 0), ("c-undone", "lives", 1)],
        )
    migrate(connection)
    removed, _ = sweep(connection, Keep(keys_before=0))
    assert removed == Retention(threads=1)
    left = connection.execute("SELECT checkpoint_id FROM checkpoints ORDER BY 1").fetchall()
    assert left == [("c-held",), ("c-lives",)]
    with connection:
        connection.execute("UPDATE threads SET deleted_at = 9, unswept = 1 WHERE thread_id = 'copy'").fetchall()
    removed, _ = sweep(connection, Keep(keys_before=0))
    assert removed == Retention(threads=2)
    assert connection.execute("SELECT checkpoint_id FROM checkpoints").fetchall() == [("c-lives",)]
