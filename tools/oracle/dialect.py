"""LangGraph's clients against a server of ours: the Python SDK's own integration tests, and a script for the JavaScript
SDK.

The tests and their graphs are in the Python SDK's source distribution. It is fetched into a scratch folder, as is what
they need; nothing of it stays. Needs a package index; for the JavaScript SDK also `npm` and its registry.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["pytest-asyncio", "pytest-mock"]
JAVASCRIPT = "@langchain/langgraph-sdk@1.15.0"
"""The tag `latest` of its registry is an older one without the streaming protocol."""
PATIENCE = 60.0
"""Seconds that the server may take to load the graphs."""


def main(arguments: list[str]) -> int:
    """Runs both; 0 where both pass."""
    parser = argparse.ArgumentParser(prog="make oracle ARGS=dialect", description=__doc__)
    parser.add_argument("--folder", type=Path, help="a scratch folder to use and keep")
    parser.add_argument("--prefix", default="", help="where the dialect is mounted: nothing, or /langgraph")
    parser.add_argument("options", nargs="*", help="for pytest: -k, files, ... (after --)")
    asked = parser.parse_args(arguments)
    if asked.folder is not None:
        return _run(asked.folder.resolve(), asked.prefix, asked.options)
    with tempfile.TemporaryDirectory() as folder:
        return _run(Path(folder), asked.prefix, asked.options)


def _run(folder: Path, prefix: str, options: list[str]) -> int:
    sources = _sources(folder)
    with _serving(folder, sources / "integration/langgraph.json", prefix) as url:
        return _python(folder, sources, url, options) or _javascript(folder, url)


def _sources(folder: Path) -> Path:
    """The unpacked source distribution of the installed SDK."""
    installed = version("langgraph-sdk")
    sources = folder / f"langgraph_sdk-{installed}"
    if sources.exists():
        return sources
    print(f"fetching the source distribution of langgraph-sdk {installed} ...", flush=True)
    pip = folder / "pip"
    venv.create(pip, with_pip=True)
    fetch = [pip / "bin/pip", "--quiet", "download", "--no-binary", ":all:", "--no-deps", "--dest", folder]
    subprocess.run([*fetch, f"langgraph-sdk=={installed}"], check=True)
    with tarfile.open(folder / f"langgraph_sdk-{installed}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return sources


@contextmanager
def _serving(folder: Path, graphs: Path, prefix: str) -> Iterator[str]:
    """A server of those graphs; the URL of its dialect."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = "agent-protocol" if prefix else "langgraph"
    database = folder / "runyard.db"
    for old in folder.glob("runyard.db*"):
        old.unlink()
    command = [
        ROOT / ".venv/bin/runyard", "serve", graphs, "--port", str(port), "--root", root, "--database",
        f"sqlite:///{database}",
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}{prefix}"
    try:
        _await_ready(url, server)
        yield url
    finally:
        server.terminate()
        server.wait()


def _await_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"{url}/info"):
                return
        except URLError:
            time.sleep(0.1)
    raise SystemExit("the server did not start: see server.log (with --folder it stays)")


def _python(folder: Path, sources: Path, url: str, options: list[str]) -> int:
    extra = folder / "extra"
    if not extra.exists():
        print("fetching what the tests need ...", flush=True)
        uv = [ROOT / ".venv/bin/uv", "pip", "install", "--quiet", "--python", sys.executable]
        subprocess.run([*uv, "--target", extra, "--no-deps", *NEEDED], check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, [extra, ROOT])),
        "LANGGRAPH_INTEGRATION_URL": url,
    }
    command = [
        sys.executable, "-m", "pytest", "-q", "-m", "integration", "-p", "no:cacheprovider", "-p",
        "tools.oracle.dialect_url", "--timeout", "60", *(options or ["tests/integration"]),
    ]  # fmt: skip
    return subprocess.run(command, cwd=sources, env=environment).returncode


def _javascript(folder: Path, url: str) -> int:
    if shutil.which("npm") is None:
        print("npm is not here: nothing is said of the JavaScript SDK")
        return 0
    if not (folder / "node_modules").exists():
        print(f"fetching {JAVASCRIPT} ...", flush=True)
        npm = [
            "npm",
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--prefix",
            folder,
            JAVASCRIPT,
            "ws@8",
        ]
        subprocess.run(npm, check=True)
    script = folder / "dialect.mjs"
    shutil.copy(Path(__file__).with_suffix(".mjs"), script)
    return subprocess.run(["node", script, url], cwd=folder).returncode
