"""Make `.venv`: what `requirements.lock` pins, then the two distributions of this workspace, editable.

Needs an interpreter (3.11 or newer) and a package index, nothing else. `uv` does the work; where it is
missing, pip brings it into `.venv` first, at the version and with the hashes of the lock. Run by
`make setup`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.lock"
OLDEST = ROOT / "tools" / "oldest.lock"
"""The oldest LangGraph that the tests run on, beside the newest of the lock: in a folder of its own."""

# What uv calls the settings of pip. It does not read pip's files, so that a machine whose pip is
# configured (a mirror, a certificate) would otherwise need the same again for uv.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "proxy": "ALL_PROXY",
}
COMMA_SEPARATED = {"UV_FIND_LINKS"}


class StepFailed(Exception):
    """A command ended badly; carries all it printed."""


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command in the root of the project and return what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise StepFailed(f"$ {shlex.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def environment_exists() -> bool:
    if not PYTHON.exists():
        return False
    probe = [PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def make_environment() -> Path:
    """Make `.venv` where it is missing or broken, and return a uv to fill it with."""
    ours = VENV / "bin" / "uv"
    if environment_exists() and ours.exists():
        return ours
    if found := shutil.which("uv"):
        if not environment_exists():
            run(found, "venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, VENV)
        return Path(found)
    has_ensurepip = importlib.util.find_spec("ensurepip") is not None
    if not has_ensurepip and importlib.util.find_spec("pip") is None:
        raise StepFailed(
            f"{sys.executable} has neither ensurepip nor pip, and there is no uv: install one of them "
            "(on Debian and Ubuntu: the package python3-venv)."
        )
    if not environment_exists():
        options = [] if has_ensurepip else ["--without-pip"]
        run(sys.executable, "-m", "venv", "--clear", *options, VENV)
    has_own_pip = (VENV / "bin" / "pip").exists()
    pip = [PYTHON, "-m", "pip"] if has_own_pip else [sys.executable, "-m", "pip", "--python", PYTHON]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as only_uv:
        only_uv.write(locked("uv"))
        only_uv.flush()
        run(*pip, "install", "--quiet", "--no-deps", "--require-hashes", "-r", only_uv.name)
    return ours


def locked(name: str) -> str:
    """The entry of one distribution in the lock: its version and its hashes."""
    entry = re.search(rf"^{re.escape(name)}==.*?(?=^\S|\Z)", LOCK.read_text(), re.MULTILINE | re.DOTALL)
    if entry is None:
        raise StepFailed(f"{LOCK.name} does not pin {name}: renew it with `make lock`.")
    return entry.group()


def index_settings() -> dict[str, str]:
    """The environment for uv: ours, and what pip is configured with where uv has no setting itself."""
    env = dict(os.environ)
    if importlib.util.find_spec("pip") is None:
        return env
    listing = run(sys.executable, "-m", "pip", "config", "list")
    # Later ones win, as in pip: the files' [global], then the command's own section, then variables.
    sections = ["global", "install", ":env:"]
    pairs = re.findall(r"^(global|install|:env:)\.([a-z-]+)='(.*)'$", listing, re.MULTILINE)
    for _, key, value in sorted(pairs, key=lambda pair: sections.index(pair[0])):
        name = UV_NAMES.get(key)
        if name is None or name in os.environ:
            continue
        values = value.replace("\\n", " ").split()
        env[name] = ("," if name in COMMA_SEPARATED else " ").join(values)
    # pip takes the best version of all indexes; uv would stop at the first index that knows the name.
    # The hashes of the lock decide either way.
    env.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return env


def main() -> None:
    fresh = not environment_exists()
    print("making .venv ..." if fresh else "renewing .venv ...", flush=True)
    uv = make_environment()
    env = index_settings()
    install = [uv, "pip", "install", "--quiet", "--python", PYTHON]
    run(*install, "--require-hashes", "-r", LOCK, env=env)
    run(*install, "--no-deps", "--no-build-isolation", "-e", "client", "-e", ".", env=env)
    oldest = VENV / "oldest"
    shutil.rmtree(oldest, ignore_errors=True)
    run(*install, "--no-deps", "--require-hashes", "--target", oldest, "-r", OLDEST, env=env)
    if not (VENV / "bin" / "runyard").exists():
        raise StepFailed("the installation left no .venv/bin/runyard: is [project.scripts] in order?")
    print(run(PYTHON, "--version").strip(), "in .venv")


if __name__ == "__main__":
    try:
        main()
    except StepFailed as failure:
        sys.exit(str(failure))
