"""Which classes the objects of a graph's state may be of: those of its schemas, and the data classes of the user's
code."""

from __future__ import annotations

import dataclasses
import enum
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from langgraph.pregel import Pregel
from pydantic import BaseModel

from runyard.runtime.langgraph.describe import Graph


def types_of(graph: Graph, folder: Path | None) -> frozenset[tuple[str, str]]:
    """(module, name) of each class. Data classes of all modules below `folder` that are loaded count as the user's."""
    found: set[type] = set()
    for part in _with_subgraphs(graph):
        for channel in part.channels.values():
            for hint in (getattr(channel, "ValueType", None), getattr(channel, "UpdateType", None)):
                _collect(hint, found)
        for schema in cast("dict[Any, Any]", getattr(getattr(part, "builder", None), "schemas", {})):
            _collect(schema, found)
    if folder is not None:
        found.update(_data_classes_below(folder))
    return frozenset((kind.__module__, kind.__name__) for kind in found)


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


def _data_classes_below(folder: Path) -> Iterator[type]:
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or not Path(file).is_relative_to(folder) or "site-packages" in Path(file).parts:
            continue
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module.__name__ and _holds_data(value):
                yield value


def _holds_data(kind: type) -> bool:
    """Whether objects of the class are data: making one does what its author meant, and nothing else."""
    return (
        dataclasses.is_dataclass(kind)
        or issubclass(kind, BaseModel | enum.Enum)
        or (issubclass(kind, tuple) and hasattr(cast(Any, kind), "_fields"))
    )
