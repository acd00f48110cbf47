"""`python -m bench.observed` works: a short round, with every row and its ratios."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_short_bench_of_being_observed_prints_every_row() -> None:
    command = [sys.executable, "-m", "bench.observed", "--rounds", "1", "--seconds", "0.3", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"plain", "scraped", "traced"}
    assert rows["plain"]["of_plain"] == rows["plain"]["cpu_of_plain"] == 1.0
    assert all(row["per_second"] > 0 and row["cpu_us"] > 0 for row in rows.values())
