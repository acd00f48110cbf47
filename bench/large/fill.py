"""A database with a long history, written past the server: a million runs take minutes instead of hours.

The rows are those that the server writes: each run is finished, has its thread, its events in two chunks and a
checkpoint. What is listed by status is rare, as it is in life: one run in a thousand failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from runyard.checkpoints import render
from runyard.events import Entry, ValuesPointer, encode, entry
from runyard.storage.sqlite.connection import connect, migrate
from runyard.storage.verbs.line import running_entry, terminal_entries

RUNS_PER_THREAD = 10
EVENTS_PER_RUN = 10
BATCH = 5000
EPOCH = 1_700_000_000_000_000
"""Microseconds: when the history begins; a run a second."""

_encode = msgspec.json.encode


def run_id(number: int) -> str:
    """The id of a run of the history."""
    return f"00000000-0000-7000-8000-{number:012x}"


def thread_id(number: int) -> str:
    """The id of a thread of the history."""
    return f"00000000-0000-7000-9000-{number:012x}"


def checkpoint_id(number: int) -> str:
    """The id of the checkpoint that a run of the history left."""
    return f"00000000-0000-7000-a000-{number:012x}"


def fill(path: Path, runs: int, progress: Callable[[str], None]) -> None:
    """So many runs, a thread for ten of them, ten events each, and as many items in the store as runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection: Any = connect(path, synchronous="normal")
    migrate(connection)
    connection.execute("PRAGMA synchronous=OFF").fetchall()
    tables: list[tuple[str, str, Callable[[int], Iterator[tuple[Any, ...]]], int]] = [
        ("threads", _THREAD, _threads, runs // RUNS_PER_THREAD),
        ("runs", _RUN, _runs, runs),
        ("events", _EVENTS, _events, runs),
        ("checkpoints", _CHECKPOINT, _checkpoints, runs),
        ("items", _ITEM, _items, runs),
    ]
    for name, statement, rows, count in tables:
        waiting = rows(count)
        for done in range(0, count, BATCH):
            progress(f"{runs:,} runs: {name} {done:,} of {count:,}")
            with connection:
                connection.executemany(statement, (next(waiting) for _ in range(min(BATCH, count - done))))
        connection.wal_checkpoint(mode=3)
    connection.close()


_THREAD = (
    "INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, head, last_outcome, last_seq, "
    "lease) VALUES ('', ?, ?, ?, ?, 'idle', ?, 'completed', ?, ?)"
)
_RUN = (
    "INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt, "
    "max_attempts, outcome, invocation, last_checkpoint, first_seq, last_seq, line, started_at, ended_at, strategy) "
    "VALUES (?, ?, '', 'noop', ?, ?, ?, ?, ?, 1, 3, ?, ?, ?, ?, ?, ?, ?, ?, 'enqueue')"
)
_EVENTS = (
    "INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) VALUES ('', ?, ?, ?, ?, ?, ?), "
    "('', ?, ?, ?, ?, ?, ?)"
)
_CHECKPOINT = (
    "INSERT INTO checkpoints (checkpoint_id, owner, thread_id, parent_id, run_id, created_at, step, source, kind, "
    "body, full_size, chain_size) "
    "VALUES (?, '', ?, ?, ?, ?, ?, 'step', 'full', ?, ?, 0)"
)
_ITEM = "INSERT INTO items (owner, namespace, key, value, created_at, updated_at) VALUES ('', ?, ?, ?, ?, ?)"


def _threads(count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(count):
        last = number * RUNS_PER_THREAD + RUNS_PER_THREAD - 1
        at = EPOCH + number * RUNS_PER_THREAD * 1_000_000
        metadata = _encode({"user": f"user-{number % 50}", "room": f"room-{number}"})
        yield (
            thread_id(number),
            at,
            at,
            metadata,
            checkpoint_id(last),
            RUNS_PER_THREAD * EVENTS_PER_RUN,
            2 * RUNS_PER_THREAD,
        )


def _runs(count: int) -> Iterator[tuple[Any, ...]]:
    request = _encode({"input": {"question": "what was it that they asked?", "n": 1}})
    for number in range(count):
        at = EPOCH + number * 1_000_000
        failed = number % 1000 == 7
        first = number % RUNS_PER_THREAD * EVENTS_PER_RUN
        metadata = _encode({"user": f"user-{number % 50}", "order": f"order-{number}"})
        yield (
            run_id(number), thread_id(number // RUNS_PER_THREAD), "error" if failed else "success", at, at, metadata,
            request, "failed" if failed else "completed", run_id(number), checkpoint_id(number), first,
            first + EVENTS_PER_RUN, at, at, at,
        )  # fmt: skip


def _events(count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(count):
        run, at = run_id(number), EPOCH + number * 1_000_000
        first = number % RUNS_PER_THREAD * EVENTS_PER_RUN + 1
        begun: list[Entry] = [entry("input", {}), running_entry(run, "noop", 1, None)]
        middle = [entry("custom", {"payload": f"event {n} of the run"}) for n in range(EVENTS_PER_RUN - 5)]
        ended = [
            *middle,
            entry("updates", {"noop": {"n": number}}),
            entry("values", ValuesPointer(checkpoint_id(number))),
            *terminal_entries(run, "completed", None),
        ]
        thread, last = thread_id(number // RUNS_PER_THREAD), first + EVENTS_PER_RUN - 1
        yield (
            thread, first + 1, first, run, at, encode(begun),
            thread, last, first + 2, run, at, encode(ended),
        )  # fmt: skip


def _checkpoints(count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(count):
        body = render({"n": str(number).encode(), "text": b'"' + b"x" * 150 + b'"'})
        place = number % RUNS_PER_THREAD
        yield (
            checkpoint_id(number), thread_id(number // RUNS_PER_THREAD), checkpoint_id(number - 1) if place else None,
            run_id(number), EPOCH + number * 1_000_000, place, body, len(body),
        )  # fmt: skip


def namespace(number: int) -> bytes:
    """Where an item is: twenty share a namespace."""
    return b"".join(label.encode() + b"\0" for label in ("users", f"user-{number // 20:08d}"))


def _items(count: int) -> Iterator[tuple[Any, ...]]:
    for number in range(count):
        at = EPOCH + number * 1_000_000
        yield namespace(number), f"key-{number % 20}", _encode({"n": number, "kind": "note", "text": "x" * 60}), at, at
