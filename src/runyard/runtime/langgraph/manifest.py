"""`langgraph.json`: which graphs there are, where their code is, and the environment that it wants."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from runyard.runtime.load import Found, bad_target, import_file, import_module, named
from runyard.telemetry import say


class Manifest(msgspec.Struct):
    """What is obeyed of it. `graphs`: id -> `path/to/file.py:name` or `package.module:name`, or an object with that
    under `path`; `dependencies`: folders whose code can be imported; `env`: a file of NAME=value lines, or the
    values."""

    graphs: dict[str, str | dict[str, Any]]
    dependencies: list[str] = []
    env: str | dict[str, str | int | float | bool] = {}


def agents_in(target: str, path: Path) -> list[Found]:
    """The graphs that the file lists. Puts its environment and folders in place for the whole process.

    Raises:
        InvalidInput: it cannot be read, or one of its graphs cannot be found.
    """
    try:
        text = path.read_bytes()
        manifest = msgspec.json.decode(text, type=Manifest)
    except OSError as error:
        raise bad_target(target, f"{path} cannot be read ({error.strerror})") from None
    except msgspec.MsgspecError as error:
        raise bad_target(target, f"{path}: {error}") from None
    ignored = sorted(msgspec.json.decode(text).keys() - set(Manifest.__struct_fields__))
    if ignored:
        say("langgraph.json ignored keys", file=str(path), keys=ignored)
    folder = path.resolve().parent
    _set_environment(target, folder, manifest.env)
    for dependency in manifest.dependencies:
        place = folder / dependency
        if dependency.startswith(".") or place.is_dir():
            _make_importable(target, place)
    return [_graph(target, folder, id, value) for id, value in manifest.graphs.items()]


def _graph(target: str, folder: Path, id: str, value: str | dict[str, Any]) -> Found:
    where = value if isinstance(value, str) else str(value.get("path", ""))
    place, colon, name = where.rpartition(":")
    if not colon:
        raise bad_target(target, f"graphs.{id} is {where!r}: must be path/to/file.py:name or package.module:name")
    if place.endswith(".py"):
        file = (folder / place).resolve()
        if not file.is_file():
            raise bad_target(target, f"graphs.{id}: {file} does not exist")
        return named(target, import_file(target, file), name, id)
    return named(target, import_module(target, place, folder), name, id)


def _set_environment(target: str, folder: Path, env: str | dict[str, Any]) -> None:
    """What the environment has already wins, as everywhere."""
    if isinstance(env, dict):
        values = {name: str(value) for name, value in env.items()}
    else:
        file = folder / env
        if not file.is_file():
            raise bad_target(target, f"env names {file}, which does not exist")
        values = _lines(file.read_text())
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _lines(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
            values[name.strip()] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return values


def _make_importable(target: str, place: Path) -> None:
    """Puts a folder, and its `src` where it has one, on the path of imports."""
    if not place.is_dir():
        raise bad_target(target, f"dependencies names {place}, which is no folder")
    for folder in (place, place / "src"):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
