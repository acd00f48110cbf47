"""The tour, from a fresh clone: what a newcomer sees first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_runs_from_a_local_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--local", str(ROOT), str(clone)], check=True, timeout=30)
    # `make demo` but for its set-up, which needs a package index: the packages come from this environment,
    # the project's own code from the clone.
    env = {**os.environ, "PYTHONPATH": f"{clone / 'src'}{os.pathsep}{clone / 'client'}"}
    tour = subprocess.run(
        [sys.executable, "-m", "runyard", "demo"], cwd=clone, env=env, capture_output=True, text=True, timeout=55
    )
    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert "claims hold" in tour.stdout
    for scene in ("A streamed run", "Ten background runs", "A person is asked", "rollback", "kill -9"):
        assert scene in tour.stdout
    listing = subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True)
    assert listing.stdout == "", "the tour leaves files in the checkout"
