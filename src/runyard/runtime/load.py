"""Finding agents in users' code by what a command line or a settings file names.

An agent is a function under `@agent`, or a graph of LangGraph. Graphs are told by the names of their classes, so that
LangGraph is imported only where the user's code has done so.
"""

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
from typing import TYPE_CHECKING, Any, cast

from runyard.errors import InvalidInput, Unsupported
from runyard.runtime.contract import LoadedAgent
from runyard.runtime.function import FunctionAgent
from runyard.runtime.index import Index

if TYPE_CHECKING:
    from runyard.runtime.langgraph.manifest import StoreIndex

FORMS = "path/to/file.py, path/to/file.py:name, a folder, package.module, package.module:name or langgraph.json"

_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")

_FUNCTION = {(FunctionAgent.__module__, FunctionAgent.__name__)}
_GRAPH_AGENT = {("runyard.runtime.langgraph.agent", "GraphAgent")}
_GRAPH = {("langgraph.pregel.main", "Pregel"), ("langgraph.pregel", "Pregel")}
_BUILDER = {("langgraph.graph.state", "StateGraph")}


class Found:
    """An agent that a target names, and where its code is."""

    def __init__(self, loaded: LoadedAgent, id: str, place: str, value: object) -> None:
        self.loaded = loaded
        self.id = id
        self.place = place
        self.value = value


def load_targets(targets: Sequence[str], base: Path) -> list[LoadedAgent]:
    """The agents that the targets name, in their order; paths are relative to `base`.

    A file or module gives the agents that are defined in it, a folder those of each of its .py files (sorted, but
    for names with a leading underscore), `:name` exactly that one, wherever it was defined. A graph is an agent under
    the name of its variable, unless that begins with an underscore; with `:name`, builders and functions that make a
    graph are agents too. A `langgraph.json` gives the graphs that it lists.

    Raises:
        InvalidInput: `bad_target`: it does not exist, cannot be imported or holds no agent, or two of the agents have
            the same id. The message names the target and the cause.
        Unsupported: it names a graph, and LangGraph is not installed.
    """
    found: dict[str, Found] = {}
    for target in targets:
        for agent in agents_of(target, base):
            known = found.setdefault(agent.id, agent)
            if known.value is not agent.value:
                raise bad_target(
                    target,
                    f"two agents have the id {agent.id!r}: one in {known.place}, one in {agent.place}; "
                    "give one of them another: @agent(id=...) for a function, another name of the variable for a graph",
                )
            _check(target, agent)
    return [agent.loaded for agent in found.values()]


def load_index(targets: Sequence[str], base: Path) -> Index | None:
    """The index of meanings that the first `langgraph.json` among the targets asks for. Their environments and folders
    are in place.

    Raises:
        InvalidInput: what it names is not there, or is no embedding.
        Unsupported: something that it needs is not installed.
    """
    for target in targets:
        if target.endswith(".json"):
            from runyard.runtime.langgraph.manifest import read

            path = base / target
            store = read(target, path)[0].store
            if store is not None and store.index is not None:
                return make_index(target, path.resolve().parent, store.index)
    return None


def make_index(target: str, folder: Path, wanted: StoreIndex) -> Index:
    """The index that a file in a folder asks for; raises as `load_index`."""
    _langgraph(target, "asks for store.index")
    from runyard.runtime.langgraph.index import index_of

    return index_of(target, folder, wanted)


def agents_of(target: str, base: Path) -> list[Found]:
    """The agents that one target names."""
    place, name = _parted(target)
    path = base / place
    if path.is_dir() and name is None:
        return _in_folder(target, path)
    if place.endswith(".json"):
        return _in_manifest(target, path)
    if place.endswith(".py"):
        if not path.is_file():
            raise bad_target(target, f"{path} does not exist")
        module = import_file(target, path.resolve())
    elif _MODULE.fullmatch(place):
        module = import_module(target, place, base)
    else:
        raise bad_target(target, f"{path} does not exist; allowed: {FORMS}")
    return [named(target, module, name)] if name is not None else _in_module(target, module)


def _in_manifest(target: str, path: Path) -> list[Found]:
    from runyard.runtime.langgraph.manifest import agents_in, read

    if read(target, path)[0].graphs:
        # Before code is imported that would fail for lack of it, in words that say less.
        _langgraph(target)
    return agents_in(target, path)


def _parted(target: str) -> tuple[str, str | None]:
    # The part after the last colon is a name only where it is one: C:\agents.py has none.
    place, colon, name = target.rpartition(":")
    return (place, name) if colon and name.isidentifier() else (target, None)


def _in_folder(target: str, folder: Path) -> list[Found]:
    files = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    agents = [agent for path in files for agent in _defined_in(target, import_file(target, path.resolve()))]
    if not agents:
        raise bad_target(target, f"no file of {folder} defines an agent (a function under @agent, or a graph)")
    return agents


def _in_module(target: str, module: ModuleType) -> list[Found]:
    agents = _defined_in(target, module)
    if not agents:
        raise bad_target(target, f"{module.__file__} defines no agent (a function under @agent, or a graph)")
    return agents


def _defined_in(target: str, module: ModuleType) -> list[Found]:
    """The module's own agents, each once: a function that it imports belongs to another module. Of graphs it has those
    that are compiled, and builders of which it has no compiled graph, but not what `runyard.graph` has taken."""
    values: dict[str, Any] = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    known: list[Any] = [value.source.found for value in values.values() if _is(value, _GRAPH_AGENT)]
    known += [getattr(value, "builder", None) for value in [*known, *values.values()] if _is(value, _GRAPH)]
    found: dict[int, Found] = {}
    for name, value in values.items():
        own = (_is(value, _FUNCTION) and value.__module__ == module.__name__) or _is(value, _GRAPH_AGENT)
        makes = _is(value, _GRAPH | _BUILDER) and not any(value is other for other in known)
        if own or makes:
            found.setdefault(id(value), _found(target, module, name, value))
    return list(found.values())


def named(target: str, module: ModuleType, name: str, id: str | None = None, description: str | None = None) -> Found:
    """The agent of that name in a module, under another `id` and with a description where a graph is given them.

    Raises:
        InvalidInput: there is none.
    """
    value: Any = getattr(module, name, None)
    if _is(value, _GRAPH_AGENT):
        return _found(target, module, name, value)
    is_factory = callable(value) and not isinstance(value, type) and not isinstance(value, FunctionAgent)
    if not isinstance(value, FunctionAgent) and not _is(value, _GRAPH | _BUILDER) and not is_factory:
        known = [key for key, held in vars(module).items() if isinstance(held, FunctionAgent) or _is(held, _GRAPH)]
        what = "does not exist" if value is None else f"is {type(value).__name__}, not an agent"
        raise bad_target(target, f"{name} {what} in {module.__file__}; agents there: {', '.join(known) or 'none'}")
    return _found(target, module, name, value, id, description)


def _found(
    target: str, module: ModuleType, name: str, value: Any, id: str | None = None, description: str | None = None
) -> Found:
    if isinstance(value, FunctionAgent):
        function = cast("FunctionAgent[..., Any]", value)
        return Found(function, function.id, _file_of(function), cast(object, value))
    if _is(value, _GRAPH_AGENT):
        return Found(value, value.id, value.source.place, value)
    _langgraph(target)
    from runyard.runtime.langgraph.agent import GraphAgent
    from runyard.runtime.langgraph.factory import Source

    place = f"{module.__file__}:{name}"
    folder = None if module.__file__ is None else Path(module.__file__).parent
    graph = GraphAgent(Source(value, place=place, folder=folder), id=id or name, description=description)
    return Found(graph, graph.id, place, value)


def _langgraph(target: str, why: str = "names a graph") -> None:
    try:
        importlib.import_module("runyard.runtime.langgraph.agent")
    except ImportError as error:
        raise Unsupported(
            f"target {target!r} {why}, but {error.name} is not installed: pip install 'runyard[langgraph]'",
            field="agents",
        ) from None


def _is(value: object, classes: set[tuple[str, str]]) -> bool:
    """Whether a value is of one of these classes (module, name), which need not be imported here."""
    return any((kind.__module__, kind.__name__) in classes for kind in type(value).__mro__)


def import_file(target: str, path: Path) -> ModuleType:
    """Imports a file under a name of its own, so that files of the same name in two folders do not mix. The same file
    is imported once."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:10]
    name = f"runyard_agents_{digest}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise bad_target(target, f"{path} is not a Python file")
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


def import_module(target: str, name: str, base: Path) -> ModuleType:
    try:
        with _on_path(base.resolve()):
            return importlib.import_module(name)
    except BaseException as error:
        raise _not_imported(target, error) from error


def is_importable(name: str, base: Path) -> bool:
    """Whether there is a module of that name, which has no dot. Imports nothing."""
    try:
        with _on_path(base.resolve()):
            return name.isidentifier() and importlib.util.find_spec(name) is not None
    except ValueError:  # one that was made by hand
        return name in sys.modules


@contextlib.contextmanager
def _on_path(folder: Path) -> Generator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        # Code under import may have changed the path itself.
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


def _check(target: str, agent: Found) -> None:
    try:
        _ = agent.loaded.agent
    except InvalidInput:
        raise
    except Exception as error:  # a graph is made by the user's code
        raise bad_target(target, f"{agent.place}: {error if isinstance(error, TypeError) else repr(error)}") from error


def _not_imported(target: str, error: BaseException) -> InvalidInput:
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}: "
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
        place = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return bad_target(target, f"{place}{type(error).__name__}: {text}")


def _is_users(filename: str) -> bool:
    return filename != __file__ and not filename.startswith("<frozen") and "importlib" not in Path(filename).parts


def _file_of(agent: FunctionAgent[..., Any]) -> str:
    code = getattr(agent.function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else agent.function.__module__


def bad_target(target: str, why: str) -> InvalidInput:
    """The error of a target that cannot be used."""
    return InvalidInput(f"target {target!r}: {why}", code="bad_target", target=target)
