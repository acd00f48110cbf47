"""The tests of graphs pass with the oldest LangGraph that is common, too: `make setup` puts it beside the newest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDEST = ROOT / ".venv" / "oldest"
FILES = ("test_runs.py", "test_told.py", "test_told_messages.py", "test_conformance.py", "test_store_bounds.py")


@pytest.mark.timeout(150)
def test_the_oldest_langgraph_passes_them_too() -> None:
    environment = {**os.environ, "PYTHONPATH": str(OLDEST)}
    told = (
        "from importlib.metadata import version; import langgraph.pregel as p; print(version('langgraph'), p.__file__)"
    )
    command = [sys.executable, "-W", "ignore"]
    which = subprocess.run([*command, "-c", told], env=environment, capture_output=True, text=True, check=True).stdout
    pinned = (ROOT / "tools" / "oldest.in").read_text().splitlines()[0].partition("==")[2]
    assert which.split()[0] == pinned
    assert str(OLDEST) in which
    paths = [str(Path(__file__).with_name(name)) for name in FILES]
    options = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *paths]
    done = subprocess.run([*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-4000:]
