"""Which classes the objects of a graph's state may be of: those of its schemas, and the data classes of the user's
code."""

from __future__ import annotations

import dataclasses
import enum
import re
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from langgraph.pregel import Pregel
from pydantic import BaseModel

from runyard.runtime.langgraph.describe import Graph

Type = tuple[str, str]
"""A class: its module and its name there."""

_FILE = re.compile("^runyard_agents_[0-9a-f]{10}_")
"""How the module of a file begins that a target names: with a digest of its path. A moved file stays the same."""


def types_of(graph: Graph, folder: Path | None) -> Types:
    """The classes of a graph; `folder` is where its code is."""
    found: set[type] = set()
    for part in _with_subgraphs(graph):
        for channel in part.channels.values():
            for hint in (getattr(channel, "ValueType", None), getattr(channel, "UpdateType", None)):
                _collect(hint, found)
        for schema in cast("dict[Any, Any]", getattr(getattr(part, "builder", None), "schemas", {})):
            _collect(schema, found)
    return Types([(kind.__module__, kind.__qualname__) for kind in found], folder)


def _with_subgraphs(graph: Graph) -> Iterator[Graph]:
    yield graph
    for _, subgraph in graph.get_subgraphs(recurse=True):
        if isinstance(subgraph, Pregel):
            yield cast(Graph, subgraph)


def _collect(hint: Any, found: set[type]) -> None:
    for argument in typing.get_args(hint):
        _collect(argument, found)
    kind = typing.get_origin(hint) or hint
    if not isinstance(kind, type) or kind in found:
        return
    if _holds_data(kind):
        found.add(kind)
    elif not typing.is_typeddict(kind):
        return
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # names that are not there any more: their classes stay unknown
        return
    for field in hints.values():
        _collect(field, found)


class Types:
    """The classes whose objects a state may hold: those of a graph's schemas, and the data classes of its code."""

    def __init__(self, named: Iterable[Type] = (), folder: Path | None = None) -> None:
        """`named` are modules and qualified names; `folder` is where the user's code is."""
        self._named = frozenset(named)
        self._folder = folder
        # LangGraph writes a class's last name.
        self._by_last = {(module, name.rpartition(".")[2]): (module, name) for module, name in self._named}
        self._by_file = {(_FILE.sub("", module), name): kind for (module, name), kind in self._by_last.items()}

    def also(self, named: Iterable[Type]) -> Types:
        """The same and more."""
        return Types(self._named.union(named), self._folder)

    def find(self, module: Any, name: Any) -> type | None:
        """The class of that module and last name, where it may be made; None for any other. Imports nothing: a class
        that no module has is of no use to the graph."""
        if type(module) is not str or type(name) is not str:
            return None
        known = self._by_last.get((module, name)) or self._by_file.get((_FILE.sub("", module), name))
        place, path = known or (module, name)
        found: Any = sys.modules.get(place)
        if known is None and not self._is_own(found):
            return None
        for part in path.split("."):
            within: Mapping[str, Any] = getattr(found, "__dict__", {})
            found = within.get(part)
        if not isinstance(found, type) or (known is None and (found.__module__ != module or not _holds_data(found))):
            return None
        return found

    def _is_own(self, module: Any) -> bool:
        """Whether a loaded module is the user's."""
        file = getattr(module, "__file__", None)
        if self._folder is None or not isinstance(file, str):
            return False
        path = Path(file)
        return path.is_relative_to(self._folder) and "site-packages" not in path.parts


def _holds_data(kind: type) -> bool:
    """Whether objects of the class are data: making one does what its author meant, and nothing else."""
    return (
        dataclasses.is_dataclass(kind)
        or issubclass(kind, BaseModel | enum.Enum)
        or (issubclass(kind, tuple) and hasattr(cast(Any, kind), "_fields"))
    )
