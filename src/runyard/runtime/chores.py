"""Chores: what an agent's code is asked to do outside any run. Plain data, like all that crosses to its side.

A chore begins like an attempt (`Start.chore`), asks for states by the same calls, and ends with its answer
(`Ended.result`), which is the JSON text of a `StateView`, a list of them, an `Updated`, a `Drawing` or a mapping of
`SubgraphView`s. What an update writes is gathered by the engine, and stored in one piece when it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from runyard.checkpoints import NO_SCHEMA


class ReadState(msgspec.Struct, frozen=True, tag="state"):
    """Asks for a state as the graph sees it: its values, what comes next there and why that waits."""

    checkpoint_id: str | None = None
    """None: the newest of the namespace."""
    namespace: str = ""
    subgraphs: bool = False
    """Whether the states of subgraphs that wait are told, too; else only where they are."""


class ReadHistory(msgspec.Struct, frozen=True, tag="history"):
    """Asks for the states of a namespace, newest first."""

    limit: int = 10
    before: str | None = None
    """A checkpoint; only older ones are told."""
    namespace: str = ""
    metadata: dict[str, Any] = {}
    """Only states whose metadata contain these."""


class Change(msgspec.Struct, frozen=True):
    """One change of a state, as if a node had made it."""

    values: bytes | None = None
    """JSON text; None: nothing."""
    as_node: str | None = None
    """None: the node that changed the state last, where that is certain."""


class UpdateState(msgspec.Struct, frozen=True, tag="update"):
    """Asks for changes of a state: those of one step happen together, and each step makes a checkpoint."""

    steps: Sequence[Sequence[Change]]
    checkpoint_id: str | None = None
    """What is changed; None: the newest of the namespace."""
    namespace: str = ""
    asking: bool = False
    """Whether a question is open in what is changed."""


class Draw(msgspec.Struct, frozen=True, tag="draw"):
    """Asks for the graph's nodes and edges."""

    xray: bool | int = False
    """How many levels of subgraphs are opened; True: all."""


class ListSubgraphs(msgspec.Struct, frozen=True, tag="subgraphs"):
    """Asks for the graph's subgraphs and their schemas."""

    namespace: str | None = None
    """Only this one."""
    recurse: bool = False


Chore = ReadState | ReadHistory | UpdateState | Draw | ListSubgraphs


class CheckpointName(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names a checkpoint, or (without an id) the newest of a namespace."""

    thread_id: str
    checkpoint_ns: str = ""
    checkpoint_id: str | None = None
    checkpoint_map: dict[str, str] | None = None
    """Namespace -> checkpoint, of the graphs around it."""


class InterruptView(msgspec.Struct, frozen=True):
    """An open question of a task."""

    id: str
    value: Raw
    schema: Raw = NO_SCHEMA


class TaskView(msgspec.Struct, frozen=True):
    """What is to execute next, or has begun and waits."""

    id: str
    name: str
    path: Raw = Raw(b"[]")
    """Where it comes from, in LangGraph's words (a JSON array)."""
    error: str | None = None
    interrupts: Sequence[InterruptView] = ()
    checkpoint: CheckpointName | None = None
    """Where the state of the subgraph is that it is."""
    state: StateView | None = None
    """The same as a whole, where it was asked for."""
    result: Raw = Raw(b"null")


class StateView(msgspec.Struct, frozen=True):
    """A state as its graph sees it."""

    values: Raw
    next: Sequence[str] = ()
    tasks: Sequence[TaskView] = ()
    metadata: Raw = Raw(b"{}")
    created_at: str | None = None
    """ISO 8601."""
    checkpoint: CheckpointName | None = None
    parent_checkpoint: CheckpointName | None = None
    interrupts: Sequence[InterruptView] = ()


class Updated(msgspec.Struct, frozen=True):
    """The checkpoint that an update has made last. `asks`: the nodes that had asked are to execute there still."""

    checkpoint: CheckpointName
    asks: bool = False


class Drawing(msgspec.Struct, frozen=True):
    """The nodes (`id`, `type`, `data`) and edges (`source`, `target`, ...) of a graph."""

    nodes: Sequence[dict[str, Any]]
    edges: Sequence[dict[str, Any]]


class SubgraphView(msgspec.Struct, frozen=True):
    """What a subgraph says of itself; its schemas are JSON Schemas, None where there is none."""

    name: str
    input: dict[str, Any] | None = None
    output: dict[str, Any] | None = None
    state: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
