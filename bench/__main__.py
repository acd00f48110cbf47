"""`python -m bench`: throughput and latency, as ratios to baselines measured in the same run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.measure import measure
from bench.report import tables


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="example: python -m bench --rounds 5 --seconds 2"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; medians are taken over them")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each load of a round lasts")
    parser.add_argument("--brief", action="store_true", help="requests only: no streams, restarts and idle readers")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    quiet = options.json or not sys.stderr.isatty()
    with tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        report = measure(
            Path(folder),
            rounds=options.rounds,
            seconds=options.seconds,
            progress=(lambda text: None) if quiet else (lambda text: print(f"\r{text:<70}", end="", file=sys.stderr)),
            whole=not options.brief,
        )
    if not quiet:
        print(f"\r{'':<70}\r", end="", file=sys.stderr)
    if options.json:
        print(json.dumps(report.plain()))
    else:
        print("\n".join(tables(report)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
