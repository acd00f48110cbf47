"""Which classes the objects of a graph's state may be of: those of its schemas, and the data classes of the user's
code."""

from __future__ import annotations

import dataclasses
import enum
import sys
import typing
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast

from langgraph.pregel import Pregel
from pydantic import BaseModel

from runyard.runtime.langgraph.describe import Graph

Type = tuple[str, str]
"""A class: its module and its name there."""


def types_of(graph: Graph, folder: Path | None) -> Types:
    """The classes of a graph; `folder` is where its code is."""
    found: set[type] = set()
    for part in _with_subgraphs(graph):
        for channel in part.channels.values():
            for hint in (getattr(channel, "ValueType", None), getattr(channel, "UpdateType", None)):
                _collect(hint, found)
        for schema in cast("dict[Any, Any]", getattr(getattr(part, "builder", None), "schemas", {})):
            _collect(schema, found)
    return Types([(kind.__module__, kind.__name__) for kind in found], folder)


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

    def __init__(self, named: Collection[Type] = (), folder: Path | None = None) -> None:
        """`folder` is where the user's code is."""
        self.named = frozenset(named)
        self._folder = folder
        self._own: dict[Type, bool] = {}

    def __contains__(self, kind: object) -> bool:
        if kind in self.named:
            return True
        module, name = cast(Type, kind)
        known = self._own.get((module, name))
        if known is None:
            known = self._own[module, name] = self._is_own(module, name)
        return known

    def also(self, named: Collection[Type]) -> Types:
        """The same and more."""
        return self if self.named >= frozenset(named) else Types(self.named | frozenset(named), self._folder)

    def _is_own(self, module: str, name: str) -> bool:
        """Whether it is a data class that a loaded module of the user's defines."""
        loaded = sys.modules.get(module)
        file = getattr(loaded, "__file__", None)
        if self._folder is None or file is None:
            return False
        path = Path(file)
        if not path.is_relative_to(self._folder) or "site-packages" in path.parts:
            return False
        found = getattr(loaded, name, None)
        return isinstance(found, type) and found.__module__ == module and _holds_data(found)


def _holds_data(kind: type) -> bool:
    """Whether objects of the class are data: making one does what its author meant, and nothing else."""
    return (
        dataclasses.is_dataclass(kind)
        or issubclass(kind, BaseModel | enum.Enum)
        or (issubclass(kind, tuple) and hasattr(cast(Any, kind), "_fields"))
    )
