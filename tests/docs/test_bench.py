"""`make bench` works: a round of each load, short, with every row and its ratios."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_short_bench_prints_every_row_and_its_ratios() -> None:
    command = [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "0.2", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {(row["what"], row["concurrency"]): row for row in report["rows"]}
    assert set(rows) == {("wait", 1), ("wait", 16), ("wait", 128), ("create", 128)}
    assert all(row["per_second"] > 0 and row["of_store"] > 0 for row in rows.values())
    assert all(row["of_echo"] > 0 for (what, _), row in rows.items() if what == "wait")
    assert report["fsync_ms"] > 0
    assert report["first_event_ms"] > 0
