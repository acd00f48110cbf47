"""`python -m bench.threads`: the streaming protocol over SSE and over WebSockets, beside bare streams of its frames."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.threads.measure import PARTS, Progress, measure
from bench.threads.report import tables


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.threads", description=__doc__, epilog="example: python -m bench.threads --only one fan"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; medians are taken over them")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of events and of readers")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="some parts")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    quiet = options.json or not sys.stderr.isatty()
    progress: Progress = (
        (lambda text: None) if quiet else (lambda text: print(f"\r{text:<70}", end="", file=sys.stderr))
    )
    with tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        report = measure(Path(folder), options.only, options.rounds, options.scale, progress)
    if not quiet:
        print(f"\r{'':<70}\r", end="", file=sys.stderr)
    print(json.dumps([asdict(row) for row in report]) if options.json else "\n".join(tables(report)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
