"""`python -m bench`: throughput and latency, as ratios to baselines measured in the same run."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import measure, report
from bench.postgres import measure as measure_postgres
from bench.postgres import report as report_postgres

DATABASES = ("sqlite", "postgres")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog="example: python -m bench --rounds 5 --seconds 2"
    )
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; medians are taken over them")
    parser.add_argument("--seconds", type=float, default=1.5, help="how long each load of a round lasts")
    parser.add_argument("--database", choices=DATABASES, nargs="+", default=DATABASES, help="what to measure on")
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2), help="beside an API server on PostgreSQL")
    parser.add_argument("--brief", action="store_true", help="requests only: no streams, restarts and idle readers")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    quiet = options.json or not sys.stderr.isatty()

    def progress(text: str) -> None:
        if not quiet:
            print(f"\r{text:<70}", end="", file=sys.stderr)

    common: dict[str, Any] = {
        "rounds": options.rounds, "seconds": options.seconds, "progress": progress, "whole": not options.brief,
    }  # fmt: skip
    reports: dict[str, Any] = {}
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        if "sqlite" in options.database:
            (own := Path(folder, "sqlite")).mkdir()
            embedded = measure.measure(own, **common)
            reports["sqlite"] = embedded.plain()
            lines += report.tables(embedded)
        if "postgres" in options.database:
            (own := Path(folder, "postgres")).mkdir()
            shared = measure_postgres.measure(own, workers=options.workers, **common)
            reports["postgres"] = shared.plain()
            lines += ["", *report_postgres.tables(shared)]
    progress("")
    print(json.dumps(reports) if options.json else "\n".join(lines))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
