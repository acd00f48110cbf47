"""Which graph, node and tool a run of LangChain stands in, by the runs that it is inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec

Namespace = tuple[str, ...]

_PUSH = "__pregel_push"
_TASK = "graph:step:"
"""How the tag begins that LangGraph gives the run of a node, and to none inside it."""
_UNNAMED = "LangGraph"


class Graph(msgspec.Struct, frozen=True):
    """A graph that executes inside another one."""

    namespace: Namespace
    name: str
    cause: dict[str, str] | None
    """As the streaming protocol tells it; None where it is not known."""

    @property
    def path(self) -> str:
        """The namespace as the log keeps it."""
        return "|".join(self.namespace)


class _Run:
    __slots__ = ("cause", "name", "parent", "tool")

    def __init__(self, parent: UUID | None, name: str, cause: dict[str, str] | None = None, tool: str = "") -> None:
        self.parent = parent
        self.name = name
        self.cause = cause
        """Of a node: what made it execute; empty where that is not known. None for what is no node."""
        self.tool = tool
        """Of a call of a tool, its id."""


class Lineage:
    """The runs of an attempt that have begun and not ended."""

    def __init__(self) -> None:
        self._runs: dict[UUID, _Run] = {}
        self._graphs: dict[UUID, Graph] = {}
        self._steps: dict[Namespace, tuple[int, set[str], set[str]]] = {}
        """Namespace -> the step that executes, its nodes, those of the step before it."""

    def begin(
        self, run: UUID, parent: UUID | None, name: str, tags: Sequence[str] | None, metadata: Mapping[str, Any] | None
    ) -> Graph | None:
        """A run begins; the graph that has begun with it, if it is the first node of one inside another."""
        found = self._runs[run] = _Run(parent, name)
        if not tags or not metadata or "langgraph_checkpoint_ns" not in metadata:
            return None
        if not any(tag.startswith(_TASK) for tag in tags):
            return None
        namespace = graph_of(metadata)
        found.cause = self._cause(namespace, metadata)
        if not namespace or parent is None or parent in self._graphs:
            return None
        above = self._runs.get(parent)
        name = "" if above is None else above.name
        graph = Graph(namespace, name if name not in ("", _UNNAMED) else _node(namespace), self._cause_of(parent))
        self._graphs[parent] = graph
        return graph

    def begin_tool(self, run: UUID, parent: UUID | None, call: str) -> None:
        """A call of a tool begins."""
        self._runs[run] = _Run(parent, "", tool=call)

    def end(self, run: UUID) -> list[Graph]:
        """A run ends; the graphs that end with it, innermost first."""
        self._runs.pop(run, None)
        ended = self._graphs.pop(run, None)
        if ended is None:
            return []
        inside = [key for key, graph in tuple(self._graphs.items()) if graph.path.startswith(ended.path + "|")]
        return [*_innermost_first(self._graphs.pop(key) for key in inside), self._forget(ended)]

    def end_all(self) -> list[Graph]:
        """Everything ends; the graphs that were not at their ends, innermost first."""
        graphs = tuple(self._graphs.values())
        self._runs.clear()
        self._graphs.clear()
        self._steps.clear()
        return _innermost_first(graphs)

    def _forget(self, graph: Graph) -> Graph:
        self._steps.pop(graph.namespace, None)
        return graph

    def _cause(self, namespace: Namespace, metadata: Mapping[str, Any]) -> dict[str, str]:
        """Why a node executes: known where one node alone executed in the step before it."""
        step: int = metadata.get("langgraph_step", 0)
        last, nodes, before = self._steps.get(namespace, (step, set[str](), set[str]()))
        if step != last:
            nodes, before = set[str](), nodes if step == last + 1 else set[str]()
        nodes.add(metadata.get("langgraph_node", ""))
        self._steps[namespace] = step, nodes, before
        if len(before) != 1:
            return {}
        path = cast("Sequence[Any]", metadata.get("langgraph_path") or ("",))
        return {"type": "send" if path[0] == _PUSH else "edge", "fromNode": next(iter(before))}

    def _cause_of(self, graph: UUID) -> dict[str, str] | None:
        at: UUID | None = graph
        while at is not None:
            run = self._runs.get(at)
            if run is None:
                return None
            if run.tool:
                return {"type": "toolCall", "toolCallId": run.tool}
            if run.cause is not None:
                return run.cause or None
            at = run.parent
        return None


def graph_of(metadata: Mapping[str, Any]) -> Namespace:
    """The namespace of the graph that a run's node is in. A call of a `task` has one below its caller's, and is in its
    caller's graph."""
    segments = cast("str", metadata["langgraph_checkpoint_ns"]).split("|")
    path: Any = metadata.get("langgraph_path") or ()
    drop = 1
    while len(path) == 4 and path[0] == _PUSH and path[-1] is True:
        drop += 1
        path = path[1]
    return tuple(segments[:-drop])


def _node(namespace: Namespace) -> str:
    """The node that the graph is in; LangGraph numbers the second and later ones in the same node."""
    named = next((segment for segment in reversed(namespace) if ":" in segment), namespace[-1])
    return named.partition(":")[0]


def _innermost_first(graphs: Any) -> list[Graph]:
    return sorted(graphs, key=lambda graph: len(graph.namespace), reverse=True)
