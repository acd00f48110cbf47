"""What the project promises about itself: its commands, its licence, its pins, its words."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import runyard

ROOT = Path(__file__).parents[2]
PROJECTS = [ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml"]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)


def project(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text())["project"]


def tracked_text() -> dict[str, str]:
    """Every file under version control that is text, by its path from the root."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, str] = {}
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (data := path.read_bytes()):
            found[name] = data.decode()
    return found


def places(pattern: str, *, but: set[str] = frozenset()) -> list[str]:
    """Where the pattern stands in tracked files, as path:line."""
    found = re.compile(pattern)
    return [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in tracked_text().items()
        if name not in but
        for number, line in enumerate(text.splitlines(), 1)
        if found.search(line)
    ]


def test_make_alone_lists_every_target_with_a_sentence() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sentences = dict(re.findall(r"^  make ([a-z-]+) +([A-Z].{10,})$", listed, re.MULTILINE))
    assert sorted(sentences) == sorted(TARGETS)
    assert {"setup", "demo", "serve", "test", "check", "bench"} <= set(sentences)


def test_every_target_is_declared_as_no_file() -> None:
    assert sorted(re.findall(r"^\.PHONY: ([a-z-]+)$", MAKEFILE, re.MULTILINE)) == sorted(TARGETS)


# The patterns are written in two halves, so that this file does not find itself.
@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("a path of somebody's machine", r"(?<![\w.}])/(?:wo" r"rk|ro" r"ot|ho" r"me/\w+|Us" r"ers/\w+)/"),
        ("a note of unfinished work", r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b"),
        ("the host of a package index", r"(?:py" r"pi\.org|python" r"hosted\.org|npm" r"js\.(?:org|com))"),
    ],
    ids=["machine-path", "unfinished", "package-host"],
)
def test_tracked_files_hold_no(what: str, pattern: str) -> None:
    assert places(pattern) == [], what


def test_the_lock_pins_everything_with_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    entries = re.findall(r"^\S.*?(?=^\S|\Z)", re.sub(r"^#.*\n", "", lock, flags=re.MULTILINE), re.M | re.S)
    assert entries
    assert [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("path", PROJECTS, ids=["runyard", "runyard-client"])
def test_a_distribution_says_its_licence_and_pythons(path: Path) -> None:
    about = project(path)
    assert about["license"] == "Apache-2.0"
    assert about["license-files"] == ["LICENSE"]
    assert (path.parent / "LICENSE").read_text().lstrip().startswith("Apache License")
    assert about["requires-python"] == ">=3.11"
    pythons = [entry.rpartition(" ")[2] for entry in about["classifiers"] if "Python :: 3." in entry]
    assert pythons == ["3.11", "3.12", "3.13", "3.14"]


def test_server_and_client_have_one_version() -> None:
    assert len({project(path)["version"] for path in PROJECTS}) == 1


def test_names_offered_to_users_are_sorted_and_exist() -> None:
    assert runyard.__all__ == sorted(runyard.__all__)
    assert [name for name in runyard.__all__ if not hasattr(runyard, name)] == []


@pytest.mark.parametrize(("path", "package"), [(".", "runyard"), ("client", "ap_client")])
def test_a_wheel_is_typed_and_carries_its_licence(path: str, package: str, tmp_path: Path) -> None:
    uv = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel"]
    here = ["--no-build-isolation", "--python", sys.executable, "--out-dir", str(tmp_path)]
    done = subprocess.run([*uv, *here, str(ROOT / path)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert f"{package}/py.typed" in names
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {package}
