"""`python -m bench.peers`: LangGraph's dialect as Runyard serves it, beside other servers of it, on the same graphs.

The peers come from PyPI, into environments of their own below `.venv/peers`, when they are first needed. Aegra takes
part where a Python 3.12 is in PATH.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.peers import report, servers
from bench.peers.loads import Load, fill, loads
from bench.peers.report import OURS, Figures, Report, Row
from bench.postgres.databases import postgres
from bench.servers import Server, run

VENDOR = "langgraph-dev"
AEGRA = "aegra"
Progress = Callable[[str], None]


class LeftOut(Exception):
    """A peer that cannot be had here; says why."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    made.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are taken over them")
    made.add_argument("--seconds", type=float, default=5.0, help="how long each load of a round lasts")
    made.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    quiet = options.json or not sys.stderr.isatty()

    def progress(text: str) -> None:
        if not quiet:
            print(f"\r{text:<70}", end="", file=sys.stderr)

    with tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        try:
            told = measure(Path(folder), options.rounds, options.seconds, progress)
        except RuntimeError as problem:
            print(problem, file=sys.stderr)
            return 1
    if not quiet:
        print(f"\r{'':<70}\r", end="", file=sys.stderr)
    print(json.dumps(told.plain()) if options.json else "\n".join(report.tables(told)))
    return 0


def measure(folder: Path, rounds: int, seconds: float, progress: Progress) -> Report:
    """Everything, on servers of its own in `folder`.

    Raises RuntimeError where the vendor's server cannot be installed or a server answers wrongly.
    """
    with ExitStack() as running:
        progress("installing the vendor's development server, once")
        programs = servers.installed("langgraph", "langgraph-cli[inmem]")
        versions = {VENDOR: f"langgraph-api {servers.version(programs, 'langgraph-api')} (langgraph dev), in memory"}
        left_out: dict[str, str] = {}
        progress("starting")
        compared = {
            OURS: running.enter_context(servers.runyard(folder / OURS)),
            VENDOR: running.enter_context(servers.vendor(folder / VENDOR, programs)),
        }
        progress("Aegra")
        try:
            compared[AEGRA], versions[AEGRA] = _aegra(running, folder)
        except LeftOut as reason:
            left_out[AEGRA] = str(reason)
        for server in compared.values():
            fill(server)
        rows = [_row(load, compared, rounds, seconds, progress) for load in loads()]
    return Report(rows, versions, left_out)


def _aegra(running: ExitStack, folder: Path) -> tuple[Server, str]:
    """It and its version. Raises LeftOut."""
    python = servers.python312()
    if python is None:
        raise LeftOut("it needs Python 3.12, and none is in PATH")
    try:
        with warnings.catch_warnings(action="ignore"):  # its package misses a folder of the user's and does not need it
            database = running.enter_context(postgres())
    except (AssertionError, ImportError, OSError) as problem:
        raise LeftOut(f"it needs a PostgreSQL, and none starts here ({_line(problem)})") from problem
    try:
        programs = servers.installed("aegra", "aegra-api", python)
        server = running.enter_context(servers.aegra(folder / AEGRA, programs, database))
    except RuntimeError as problem:
        raise LeftOut(_line(problem)) from problem
    return server, f"aegra-api {servers.version(programs, 'aegra-api')}, on PostgreSQL with fsync, without Redis"


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:200]


def _row(load: Load, compared: dict[str, Server], rounds: int, seconds: float, progress: Progress) -> Row:
    """One load, on one server after the other, round by round."""
    for server in compared.values():
        load.check(server)
    seen: dict[str, list[Figures]] = {name: [] for name in compared}
    for number in range(rounds):
        for name, server in compared.items():
            progress(f"{load.name} at {load.concurrency}, {name}, round {number + 1} of {rounds}")
            told = run(
                "load.py", server.port, load.path, load.body, load.concurrency, seconds, load.method, seconds=seconds
            )
            seen[name].append(told)
    return report.row(load.name, load.concurrency, seen)


if __name__ == "__main__":
    raise SystemExit(main())
