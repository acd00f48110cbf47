"""`make oracle`: clients generated from documents of the protocol talk to our server and read what ours reads.

Each document is a file, as the protocol's repository has it (`make oracle ARGS="old.json new.json"`). Needs Java 11 or
newer, and a package index for the generator (openapi-generator-cli).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "stories")]

from server_process import EXAMPLES, ServerProcess  # noqa: E402

# The reference's own; it cannot read the streaming schemas, which the later one can.
GENERATOR, LATER_GENERATOR = "openapi-generator-cli==7.13.0.post0", "openapi-generator-cli==7.26.0"
RUNTIME = ["pydantic>=2", "urllib3>=2.1,<3", "python-dateutil>=2.8.2", "typing-extensions>=4.7.1"]
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+Z-]+")
MADE_ANEW = {
    "create_thread", "copy_thread", "patch_thread", "create_run", "create_and_wait_run", "create_and_stream_run",
    "get_item", "search_items",
}  # fmt: skip
"""Calls whose answers hold ids and times of their own: those are masked."""
FILLED_IN = {"on_disconnect": "cancel", "if_not_exists": "reject", "stream_mode": "values"}
"""What a generated client takes from its document where the server said nothing; ours does not make it up."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.oracle", description=__doc__)
    parser.add_argument("documents", nargs="+", type=Path, help="OpenAPI documents of the Agent Protocol")
    options = parser.parse_args()
    if shutil.which("java") is None:
        sys.exit("make oracle needs Java 11 or newer on the PATH: the client generator is a Java program.")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="runyard-oracle-") as scratch:
        folder = Path(scratch)
        server = ServerProcess(folder, EXAMPLES).start()
        try:
            for number, document in enumerate(options.documents):
                failures += _compare(document.resolve(), folder / str(number), server)
        finally:
            server.end()
    return 1 if failures else 0


def _compare(document: Path, folder: Path, server: ServerProcess) -> int:
    described = json.loads(document.read_text())
    later = "StreamingCommand" in described["components"]["schemas"] or "webhooks" in described
    python = _generate(document, folder, LATER_GENERATOR if later else GENERATOR)
    thread, other = server.threads.create_thread({"metadata": {"of": folder.name}}), server.threads.create_thread({})
    run = server.runs.create_and_wait_run({"agent_id": "echo", "thread_id": thread.thread_id, "input": "hello"}).run
    assert run is not None
    arguments = [server.url, thread.thread_id, run.run_id, other.thread_id, folder.name]
    theirs = _read(python, folder / "client", arguments)
    ours = _read(Path(sys.executable), None, arguments)
    wrong = [line for name in theirs for line in _differences(name, theirs[name], ours[name])]
    print(f"{document.name}: {len(theirs)} calls through the generated client, {len(wrong)} differences")
    for line in wrong:
        print(f"  {line}")
    return len(wrong)


def _generate(document: Path, folder: Path, generator: str) -> Path:
    """A generated client in `folder`/client; the interpreter that has what it needs."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", generator, *RUNTIME)
    program = folder / "venv" / "bin" / "openapi-generator-cli"
    command = ["generate", "-i", document, "-g", "python", "--package-name=ap_client", "-o", folder / "client"]
    _run(program, *command)
    for path in (folder / "client" / "ap_client").rglob("*.py"):
        # The one patch of the reference's own build.
        path.write_text(path.read_text().replace("klass == object", "klass is object"))
    return python


def _read(python: Path, client: Path | None, arguments: list[str]) -> dict[str, Any]:
    env = dict(os.environ) | ({} if client is None else {"PYTHONPATH": str(client)})
    found: dict[str, Any] = json.loads(_run(python, Path(__file__).with_name("reader.py"), *arguments, env=env))
    return found


def _run(*command: object, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def _differences(name: str, theirs: Any, ours: Any) -> Iterator[str]:
    """What the generated client reads and ours reads otherwise. What it does not read at all proves nothing."""
    if name in MADE_ANEW:
        theirs, ours = _masked(theirs), _masked(ours)
    yield from _missing(theirs, ours, name)


def _missing(theirs: Any, ours: Any, path: str) -> Iterator[str]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key, value in theirs.items():
            if value is not None and not (key not in ours and FILLED_IN.get(key) == value):
                yield from _missing(value, ours.get(key), f"{path}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _missing(one, other, f"{path}[{index}]")
    elif theirs != ours:
        yield f"{path}: the generated client reads {theirs!r}, ours {ours!r}"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return _TIME.sub("TIME", _ID.sub("ID", value)) if isinstance(value, str) else value


if __name__ == "__main__":
    raise SystemExit(main())
