"""LangGraph's own tests of its engine, with our saver in the place of theirs.

They are in LangGraph's source distribution. It is fetched into a scratch folder, as is what the tests need; nothing of
it stays. Needs a package index.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = [
    "aiosqlite", "langgraph-checkpoint-postgres", "langgraph-checkpoint-sqlite", "psycopg[binary]", "pycryptodome",
    "pytest-mock", "pytest-repeat", "pytest-xdist", "redis", "syrupy", "uvloop",
]  # fmt: skip
PLUGGED = """

from tools.oracle.savers import async_checkpointer, sync_checkpointer  # noqa: E402, F811
"""
LEFT_OUT = {
    "test_delta_channel_benchmark.py": "measures, and knows only LangGraph's own savers",
}
FAIL_ANYHOW = [
    "test_exit_resume_retried_after_its_final_checkpoint_fails_reruns_the_resumed_task",
    "test_weather_subgraph",
    "test_prebuilt_tool_chat",
    "test_tags_stream_mode_messages",
]
"""Tests that fail with LangGraph's own savers, too: the first with the strict reading that is on here (it keeps a
reference to a saver that LangGraph copies), the others with current releases of what they use."""


def main(arguments: list[str]) -> int:
    """Runs the tests; the exit code of pytest."""
    parser = argparse.ArgumentParser(prog="make oracle", description=__doc__)
    parser.add_argument("--folder", type=Path, help="a scratch folder to use and keep")
    parser.add_argument("options", nargs="*", help="for pytest: -k, files, ... (after --)")
    asked = parser.parse_args(arguments)
    if asked.folder is not None:
        return _run(asked.folder.resolve(), asked.options)
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), asked.options)


def _run(folder: Path, options: list[str]) -> int:
    sources = _sources(folder)
    extra = folder / "extra"
    if not extra.exists():
        print("fetching what the tests need ...", flush=True)
        uv = [ROOT / ".venv/bin/uv", "pip", "install", "--quiet", "--python", sys.executable]
        subprocess.run([*uv, "--target", extra, "--no-deps", *NEEDED, "psycopg-binary", "psycopg-pool"], check=True)
        subprocess.run([*uv, "--target", extra, "--no-deps", "execnet"], check=True)
    chosen = options or ["-k", " and ".join(f"not {name}" for name in FAIL_ANYHOW), *_files(sources / "tests")]
    path = os.pathsep.join(map(str, [ROOT, ROOT / "src", ROOT / "client", extra]))
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "NO_DOCKER": "true",
        "LANGGRAPH_STRICT_MSGPACK": "true",
        "LANGGRAPH_TEST_TYPES": str(sources),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "--timeout", "120", *chosen]
    return subprocess.run(command, cwd=sources, env=environment).returncode


def _sources(folder: Path) -> Path:
    """The unpacked source distribution of the installed LangGraph, with our savers plugged into its tests."""
    installed = version("langgraph")
    sources = folder / f"langgraph-{installed}"
    if sources.exists():
        return sources
    print(f"fetching the source distribution of LangGraph {installed} ...", flush=True)
    pip = folder / "pip"
    venv.create(pip, with_pip=True)
    fetch = [pip / "bin/pip", "--quiet", "download", "--no-binary", ":all:", "--no-deps", "--no-build-isolation"]
    subprocess.run([*fetch[:-1], "--dest", folder, f"langgraph=={installed}"], check=True)
    with tarfile.open(folder / f"langgraph-{installed}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    conftest = sources / "tests/conftest.py"
    conftest.write_text(conftest.read_text() + PLUGGED)
    return sources


def _files(tests: Path) -> list[str]:
    """The files of tests that use a saver of the fixtures."""
    used = re.compile(r"\b(a?sync_checkpointer)\b")
    files = [file for file in sorted(tests.glob("test_*.py")) if used.search(file.read_text())]
    return [f"tests/{file.name}" for file in files if file.name not in LEFT_OUT]
