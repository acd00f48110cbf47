"""`python -m bench.peers`: LangGraph's dialect as Runyard serves it, beside other servers of it, on the same graphs.

The peers come from PyPI, into environments of their own below `.venv/peers`, when they are first needed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.peers import report, servers
from bench.peers.loads import Load, fill, loads
from bench.peers.report import OURS, Figures, Report, Row
from bench.servers import Server, run

VENDOR = "langgraph-dev"
Progress = Callable[[str], None]


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
        told = measure(Path(folder), options.rounds, options.seconds, progress)
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
        for server in compared.values():
            fill(server)
        rows = [_row(load, compared, rounds, seconds, progress) for load in loads()]
    return Report(rows, versions, left_out)


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
