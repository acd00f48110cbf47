"""`python -m bench`: throughput and latency, as ratios to baselines measured in the same run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.measure import Row, measure

TARGETS = {
    ("wait", 1): "",
    ("wait", 16): ">= 0.50 of store",
    ("wait", 128): ">= 0.55 of store, 0.20 of echo",
    ("create", 128): ">= 0.80 of store inserts",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="example: python -m bench --rounds 5 --seconds 2"
    )
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are taken over them")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each load of a round lasts")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    quiet = options.json or not sys.stderr.isatty()
    with tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        report = measure(
            Path(folder),
            rounds=options.rounds,
            seconds=options.seconds,
            progress=(lambda text: None) if quiet else (lambda text: print(f"\r{text:<70}", end="", file=sys.stderr)),
        )
    if not quiet:
        print(f"\r{'':<70}\r", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(report.plain()))
        return 0
    print(f"fsync: {report.fsync_ms:.2f} ms (median of 200)")
    print()
    print("| what | concurrency | runyard/s | p50 ms | p99 ms | of echo | of bare store | target |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    for row in report.rows:
        print(line(row))
    print()
    print(f"create -> first event, concurrency 1: p50 {report.first_event_ms:.1f} ms")
    return 0


def line(row: Row) -> str:
    """One row of the table."""
    name = {"wait": "`POST /runs/wait`, no-op agent", "create": "durable `POST /runs`"}[row.what]
    echo = "" if row.of_echo is None else f"{row.of_echo:.2f}"
    return (
        f"| {name} | {row.concurrency} | {row.per_second:,.0f} | {row.p50_ms:.1f} | {row.p99_ms:.1f} | {echo} "
        f"| {row.of_store:.2f} | {TARGETS[row.what, row.concurrency]} |"
    )


if __name__ == "__main__":
    raise SystemExit(main())
