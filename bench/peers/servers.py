"""The servers that are compared: each in a folder of its own, with a copy of the graphs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bench.servers import Server, running

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".venv" / "peers"
"""Virtual environments of the peers; whoever wants newer ones removes it."""
JOBS = 16
"""Runs at a time: no server is to be held back by a smaller number than the load has."""
QUIET = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LOG_LEVEL": "WARNING"}


def installed(name: str, requirement: str, python: str = sys.executable) -> Path:
    """The folder of programs of a cached environment that has `requirement`, made where it is missing.

    Raises RuntimeError with what uv said.
    """
    place = CACHE / name
    ready = place / ".ready"
    if not ready.exists():
        uv = str(ROOT / ".venv" / "bin" / "uv") if (ROOT / ".venv" / "bin" / "uv").exists() else "uv"
        _run(uv, "venv", "--quiet", "--clear", "--no-project", "--python", python, str(place))
        _run(uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), requirement)
        ready.touch()
    return place / "bin"


def python312() -> str | None:
    """An interpreter that Aegra runs on, or None: nothing is downloaded for it."""
    candidates = [sys.executable, *filter(None, map(shutil.which, ("python3.12", "python3.13", "python3.14")))]
    probe = "import sys; sys.exit(sys.version_info < (3, 12))"
    for candidate in candidates:
        if subprocess.run([candidate, "-c", probe], capture_output=True).returncode == 0:
            return candidate
    return None


def version(programs: Path, distribution: str) -> str:
    """Of what an environment has."""
    asked = f"import importlib.metadata; print(importlib.metadata.version({distribution!r}))"
    return _run(str(programs / "python"), "-c", asked).strip()


@contextmanager
def runyard(folder: Path, graphs: Path = HERE) -> Generator[Server]:
    """This project's, as it is by default: durable, with fsync."""
    _graphs(folder, graphs)
    with running(
        lambda port: [
            sys.executable, "-m", "runyard", "serve", "langgraph.json", "--root", "langgraph", "--port", str(port),
        ],
        folder,
    ) as server:  # fmt: skip
        server.answers("/agent-protocol/ready")
        yield server


@contextmanager
def vendor(folder: Path, programs: Path, graphs: Path = HERE) -> Generator[Server]:
    """LangGraph's development server, which keeps everything in memory."""
    _graphs(folder, graphs)
    with running(
        lambda port: [
            str(programs / "langgraph"), "dev", "--no-browser", "--no-reload", "--port", str(port),
            "--n-jobs-per-worker", str(JOBS),
        ],
        folder,
        QUIET,
    ) as server:  # fmt: skip
        server.answers("/ok")
        yield server


@contextmanager
def aegra(folder: Path, programs: Path, database: str) -> Generator[Server]:
    """Aegra without Redis, on a PostgreSQL database."""
    _graphs(folder, HERE)
    with running(
        lambda port: [
            str(programs / "python"), "-m", "uvicorn", "aegra_api.main:app",
            "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning",
        ],
        folder,
        {**QUIET, "DATABASE_URL": database, "AEGRA_CONFIG": "langgraph.json"},
    ) as server:  # fmt: skip
        server.answers("/ready")
        yield server


def _graphs(folder: Path, source: Path) -> None:
    """Servers write beside their langgraph.json."""
    folder.mkdir()
    document = json.loads((source / "langgraph.json").read_text())
    files = {place.partition(":")[0] for place in document["graphs"].values()}
    for name in sorted({"langgraph.json", *files}):
        shutil.copy(source / name, folder)


def _run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")
    return done.stdout
