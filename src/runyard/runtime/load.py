"""Finding agents in users' code by what a command line or a settings file names."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from runyard.errors import InvalidInput
from runyard.runtime.contract import LoadedAgent
from runyard.runtime.function import FunctionAgent

FORMS = "path/to/file.py, path/to/file.py:name, a folder, package.module or package.module:name"

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")

_Found = FunctionAgent[..., Any]


def load_targets(targets: Sequence[str], base: Path) -> list[LoadedAgent]:
    """The agents that the targets name, in their order; paths are relative to `base`.

    A file or module gives the agents that are defined in it, a folder those of each of its .py files (sorted, but
    for names with a leading underscore), `:name` exactly that one, wherever it was defined.

    Raises:
        InvalidInput: `bad_target`: it does not exist, cannot be imported or holds no agent, or two of the agents have
            the same id. The message names the target and the cause.
    """
    found: dict[str, _Found] = {}
    for target in targets:
        for agent in _agents_of(target, base):
            known = found.setdefault(agent.id, agent)
            if known is not agent:
                raise _bad(
                    target,
                    f"two agents have the id {agent.id!r}: one in {_file_of(known)}, one in {_file_of(agent)}; "
                    "give one of them another: @agent(id=...)",
                )
            _check(target, agent)
    return [*found.values()]


def _agents_of(target: str, base: Path) -> list[_Found]:
    place, name = _parted(target)
    path = base / place
    if path.is_dir() and name is None:
        return _in_folder(target, path)
    if place.endswith(".py"):
        if not path.is_file():
            raise _bad(target, f"{path} does not exist")
        module = _import_file(target, path.resolve())
    elif _MODULE.fullmatch(place):
        module = _import_module(target, place, base)
    else:
        raise _bad(target, f"{path} does not exist; allowed: {FORMS}")
    return [_named(target, module, name)] if name is not None else _in_module(target, module)


def _parted(target: str) -> tuple[str, str | None]:
    # The part after the last colon is a name only where it is one: C:\agents.py has none.
    place, colon, name = target.rpartition(":")
    return (place, name) if colon and name.isidentifier() else (target, None)


def _in_folder(target: str, folder: Path) -> list[_Found]:
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    agents = [agent for path in files for agent in _defined_in(_import_file(target, path.resolve()))]
    if not agents:
        raise _bad(target, f"no file of {folder} defines an agent (a function under @agent)")
    return agents


def _in_module(target: str, module: ModuleType) -> list[_Found]:
    agents = _defined_in(module)
    if not agents:
        raise _bad(target, f"{module.__file__} defines no agent (a function under @agent)")
    return agents


def _defined_in(module: ModuleType) -> list[_Found]:
    """The module's own agents, each once: one that it imports belongs to another module."""
    agents = [
        value
        for name, value in vars(module).items()
        if _is_agent(value) and not name.startswith("_") and value.__module__ == module.__name__
    ]
    return list(dict.fromkeys(agents))


def _named(target: str, module: ModuleType, name: str) -> _Found:
    value: Any = getattr(module, name, None)
    if not _is_agent(value):
        known = [key for key, held in vars(module).items() if _is_agent(held)]
        what = "does not exist" if value is None else f"is {type(value).__name__}, not an agent"
        raise _bad(target, f"{name} {what} in {module.__file__}; agents there: {', '.join(known) or 'none'}")
    return value


def _is_agent(value: object) -> TypeGuard[_Found]:
    return isinstance(value, FunctionAgent)


def _import_file(target: str, path: Path) -> ModuleType:
    """Imports a file under a name of its own, so that files of the same name in two folders do not mix. The same file
    is imported once."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:10]
    name = f"runyard_agents_{digest}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _bad(target, f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Before it is executed: dataclasses and type hints look their module up by its name.
    sys.modules[name] = module
    try:
        with _on_path(path.parent):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        raise _not_imported(target, error) from error
    return module


def _import_module(target: str, name: str, base: Path) -> ModuleType:
    try:
        with _on_path(base.resolve()):
            return importlib.import_module(name)
    except BaseException as error:
        raise _not_imported(target, error) from error


@contextlib.contextmanager
def _on_path(folder: Path) -> Generator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        # Code under import may have changed the path itself.
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _check(target: str, agent: _Found) -> None:
    try:
        _ = agent.agent
    except TypeError as error:
        raise _bad(target, f"{_file_of(agent)}: {error}") from error


def _not_imported(target: str, error: BaseException) -> InvalidInput:
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}: "
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return _bad(target, f"{place}{type(error).__name__}: {text}")


def _is_users(filename: str) -> bool:
    return filename != __file__ and not filename.startswith("<frozen") and "importlib" not in Path(filename).parts


def _file_of(agent: _Found) -> str:
    code = getattr(agent.function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else agent.function.__module__


def _bad(target: str, why: str) -> InvalidInput:
    return InvalidInput(f"target {target!r}: {why}", code="bad_target", target=target)
