"""`make bench` works: a round of each load, short, with every row and its ratios."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_short_bench_prints_every_row_and_its_ratios() -> None:
    command = [sys.executable, "-m", "bench", "--rounds", "1", "--seconds", "0.2", "--brief", "--json"]
    command += ["--database", "sqlite"]  # settling what PostgreSQL counts takes longer than the loads
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["sqlite"]
    rows = {(row["what"], row["concurrency"]): row for row in report["rows"]}
    assert set(rows) == {("wait", 1), ("wait", 16), ("wait", 128), ("create", 128)}
    assert all(row["per_second"] > 0 and row["of_store"] > 0 for row in rows.values())
    assert all(row["of_echo"] > 0 for (what, _), row in rows.items() if what == "wait")
    assert report["fsync_ms"] > 0
    assert all(figure > 0 for figure in report["client"].values())
    assert all(figure > 0 for figure in report["moments"].values())


def test_the_large_bench_compares_every_operation_on_two_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.large", "--runs", "2000", "--times", "20", "--keep", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert {row[0].strip() for row in rows} >= {"create", "claim (storage)", "get run", "replay its events"}
    assert all(float(short) > 0 and float(long) > 0 for _, short, long, _, _ in rows)
    assert {path.name for path in tmp_path.glob("*.db")} == {"1000.db", "2000.db"}
