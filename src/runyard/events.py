"""Events: the numbered things that happened on a thread.

kind         data (JSON)                                                  in a run's stream
lifecycle    {"event": "running", "attempt": n, "resumed_from"?: id}      `metadata`
lifecycle    {"event": "completed"|"failed"|"interrupted", "status", ...} `end`
error        {"code", "message"}                                          `error`
values       {"checkpoint_id": id}, rendered on delivery                  `values`
updates      {agent_id: delta}                                            `updates`
messages     [Message]; a piece has "delta": true, a whole one has not    `messages`
custom       {"name"?: text, "payload": any}                              `custom`
tasks        a graph's tasks as they begin and end, for a run that asked   `tasks`
checkpoints  a graph's checkpoints as LangGraph tells them, likewise      `checkpoints`
debug        both with their step, likewise                               `debug`
input        {"input"?: any, "messages"?: [...], "command"?: {...}}       not shown
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from runyard.checkpoints import State, render, shown
from runyard.runs import Outcome, Run

ExtraMode = Literal["tasks", "checkpoints", "debug"]
Mode = Literal["values", "updates", "messages", "custom"] | ExtraMode
Kind = Mode | Literal["lifecycle", "error", "input"]
MODES: tuple[Mode, ...] = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug")
EXTRA_MODES: tuple[ExtraMode, ...] = ("tasks", "checkpoints", "debug")
"""Of graphs; recorded only for a run that asked for them when it was created."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """An event before it has its number: its kind and its data as JSON text."""

    kind: Kind
    data: msgspec.Raw
    namespace: str = ""
    """Where a subgraph tells it: the path of the nodes that lead there (`node:task|node:task`)."""


class Over(msgspec.Struct, frozen=True):
    """How a run ended, for those who count."""

    agent_id: str
    outcome: Outcome
    attempt: int


class Chunk(msgspec.Struct, frozen=True):
    """The events that one commit appended for one run, in order; `seq` of the n-th entry is `first_seq + n`."""

    owner: str
    thread_id: str
    run_id: str | None
    first_seq: int
    at: int
    entries: list[Entry]
    states: dict[int, State] = {}
    """Live chunks only: the state of each `values` entry, by its index; absent ones are read from storage."""
    final: State | None = None
    """Live chunks only: the run's last state, when a terminal lifecycle event is among the entries."""
    ended: Run | None = None
    """Live chunks only: the run as its end left it, where the end has it at hand."""
    over: Over | None = None
    """Live chunks only: set exactly where the last entry is a run's terminal event."""

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.entries) - 1


class Event(msgspec.Struct):
    """One event with its number. `data` is JSON text; for `values` it is rendered already. `frame` is kept by whoever
    frames it first, so that all readers share the bytes. Number 0: made up on joining, not in the log."""

    seq: int
    run_id: str | None
    kind: Kind
    at: int
    data: bytes
    frame: bytes | None = None
    namespace: str = ""


class Lifecycle(msgspec.Struct, omit_defaults=True, frozen=True):
    """Data of a lifecycle event. A terminal one has `status` (of the run) and `outcome`."""

    event: Literal["running", "completed", "failed", "interrupted"]
    run_id: str
    agent_id: str | None = None
    attempt: int | None = None
    resumed_from: str | None = None
    status: str | None = None
    outcome: str | None = None
    reason: str | None = None

    @property
    def terminal(self) -> bool:
        return self.event != "running"


class ValuesPointer(msgspec.Struct, frozen=True):
    """Data of a `values` event as stored."""

    checkpoint_id: str


_ENCODER = msgspec.json.Encoder()
_ENTRIES = msgspec.json.Decoder(list[Entry])
_LIFECYCLE = msgspec.json.Decoder(Lifecycle)
_POINTER = msgspec.json.Decoder(ValuesPointer)


def entry(kind: Kind, data: object, namespace: str = "") -> Entry:
    """An entry from plain data."""
    return Entry(kind, msgspec.Raw(_ENCODER.encode(data)), namespace)


def encode(entries: Sequence[Entry]) -> bytes:
    """The body of a chunk's row."""
    return _ENCODER.encode(entries)


def decode(body: bytes) -> list[Entry]:
    """The inverse of `encode`."""
    return _ENTRIES.decode(body)


def lifecycle(data: bytes | msgspec.Raw) -> Lifecycle:
    """The data of a lifecycle event."""
    return _LIFECYCLE.decode(bytes(data))


def ends_run(entries: Sequence[Entry]) -> bool:
    """Whether the last of a run's entries is its terminal event."""
    return entries[-1].kind == "lifecycle" and lifecycle(entries[-1].data).terminal


def pointer(data: bytes | msgspec.Raw) -> str:
    """The checkpoint id that a stored `values` event names."""
    return _POINTER.decode(bytes(data)).checkpoint_id


def live_events(chunk: Chunk) -> list[Event]:
    """The events of a chunk whose `values` entries have their states at hand."""
    result: list[Event] = []
    for index, item in enumerate(chunk.entries):
        data = render(shown(chunk.states[index])) if item.kind == "values" else bytes(item.data)
        result.append(Event(chunk.first_seq + index, chunk.run_id, item.kind, chunk.at, data, None, item.namespace))
    return result
