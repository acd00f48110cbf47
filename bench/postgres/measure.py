"""Servers on one PostgreSQL under the same load, in turn, beside the bare store and the embedded server."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.moments import Moments, moments
from bench.postgres.databases import UNTOLD, Database, postgres
from bench.servers import HERE, Server, run, running, runyard
from bench.streams import one_reader
from bench.throughput import BODY, LATE

CONCURRENCIES = (1, 16, 128)
ALONE = "serve --in-process"
PROCESSES = "serve (1 process of agents)"
EMBEDDED = "embedded (SQLite)"


@dataclass(frozen=True)
class PostgresRow:
    """One set-up under one load: medians over the rounds; ratios are medians of each round's ratio. `transactions`: of
    a run, all that the database counted."""

    what: str
    concurrency: int
    setup: str
    per_second: float
    p50_ms: float
    p99_ms: float
    of_store: float
    transactions: float | None


@dataclass(frozen=True)
class PostgresReport:
    """What was measured on PostgreSQL."""

    commit_ms: float
    store: dict[str, float]
    """Requests per second of the bare store, by load."""
    rows: list[PostgresRow]
    moments: dict[str, Moments]
    events: dict[str, tuple[float, float]]
    """Events per second to one reader, and their ratio to raw `send`."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Setup:
    """Servers, the one that is asked, and their database; None for a file."""

    name: str
    server: Server
    database: Database | None


def measure(
    folder: Path, *, rounds: int, seconds: float, workers: Sequence[int], progress: Callable[[str], None], whole: bool
) -> PostgresReport:
    """Everything, on a PostgreSQL of its own; or, where not `whole`, requests only."""
    with postgres() as url, ExitStack() as stack:
        bare_database = Database(url, "bare").make()
        bare_database.migrate()
        commit_ms = bare_database.commit_ms()
        bare = stack.enter_context(_bare(bare_database.url))
        setups = [
            Setup(EMBEDDED, stack.enter_context(runyard(folder)), None),
            stack.enter_context(_serving(Database(url, "alone"), ALONE, "--in-process")),
            stack.enter_context(_serving(Database(url, "processes"), PROCESSES, "--processes", "1")),
            *(stack.enter_context(_cluster(Database(url, f"workers{count}"), count)) for count in workers),
        ]
        rows: list[PostgresRow] = []
        store: dict[str, float] = {}
        for what, concurrency in [("wait", concurrency) for concurrency in CONCURRENCIES] + [("create", 128)]:
            chosen = setups if what == "wait" else setups[:2]
            more, store[f"{what} at {concurrency}"] = _rows(what, concurrency, bare, chosen, rounds, seconds, progress)
            rows += more
        told: dict[str, Moments] = {}
        events: dict[str, tuple[float, float]] = {}
        for setup in setups[1:]:
            told[setup.name] = moments(setup.server, progress)
            if whole:
                events[setup.name] = one_reader(bare, setup.server, rounds, progress)
        return PostgresReport(commit_ms, store, rows, told, events)


def _rows(
    what: str,
    concurrency: int,
    bare: Server,
    setups: Sequence[Setup],
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> tuple[list[PostgresRow], float]:
    """One load on every set-up and on the bare store, in turn."""
    path, body = ("/runs/wait", BODY) if what == "wait" else ("/runs", LATE)
    store: list[float] = []
    seen: dict[str, list[dict[str, float]]] = {setup.name: [] for setup in setups}
    progress("what was counted")
    time.sleep(UNTOLD)
    before = {setup.name: setup.database.transactions for setup in setups if setup.database}
    for number in range(rounds):
        progress(f"{what} at {concurrency}, round {number + 1} of {rounds}")
        store.append(run("load.py", bare.port, f"/{what}", BODY, concurrency, seconds, seconds=seconds)["per_second"])
        for setup in setups:
            seen[setup.name].append(
                run("load.py", setup.server.port, path, body, concurrency, seconds, seconds=seconds)
            )
    time.sleep(UNTOLD)
    rows: list[PostgresRow] = []
    for setup in setups:
        loads = seen[setup.name]
        count = sum(load["count"] for load in loads)
        rows.append(
            PostgresRow(
                what,
                concurrency,
                setup.name,
                statistics.median(load["per_second"] for load in loads),
                statistics.median(load["p50_ms"] for load in loads),
                statistics.median(load["p99_ms"] for load in loads),
                statistics.median(load["per_second"] / bare for load, bare in zip(loads, store, strict=True)),
                (setup.database.transactions - before[setup.name]) / count if setup.database else None,
            )
        )
    return rows, statistics.median(store)


@contextmanager
def _serving(database: Database, name: str, *flags: str) -> Generator[Setup]:
    """One server that executes what it is asked for."""
    with _runyard("serve", database.make(), str(HERE / "agents.py"), *flags) as server:
        yield Setup(name, server, database)


@contextmanager
def _cluster(database: Database, workers: int) -> Generator[Setup]:
    """An API server, and so many workers."""
    with ExitStack() as stack:
        server = stack.enter_context(_runyard("serve", database.make(), "--workers", "0"))
        for _ in range(workers):
            stack.enter_context(_runyard("worker", database, str(HERE / "agents.py")))
        while len(server.call("POST", "/agents/search", {})) == 0:
            time.sleep(0.05)
        yield Setup(f"API and {workers} worker{'s' * (workers > 1)}", server, database)


@contextmanager
def _runyard(command: str, database: Database, *flags: str) -> Generator[Server]:
    with running(
        lambda port: [
            sys.executable, "-m", "runyard", command, "--port", str(port), "--database", database.url, *flags,
        ]
    ) as server:  # fmt: skip
        server.answers("/ready")
        yield server


@contextmanager
def _bare(url: str) -> Generator[Server]:
    with running(lambda port: [sys.executable, "-m", "bench.postgres.baseline", url, str(port)]) as server:
        server.listens()
        yield server
