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
input        {"input"?, "messages"?, "command"?, "answers"?: [id, ...]}   not shown

Told by the streaming protocol only (see `runyard.protocol.told`):

nested       the lifecycle of a subgraph or sub-agent, under its namespace: {"event", "graphName"?, "cause"?, "error"?}
tools        {"event": "tool-started"|"tool-output-delta"|"tool-finished"|"tool-error", "toolCallId", ...}
blocks       [data of a `messages` event of the protocol, ...], where there is nothing that a run's stream would show
asked        {"checkpoint": pointer, "questions": [{"id", "value"}]}: a run ends with these
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from runyard.checkpoints import Checkpoint, Question, Source, State, render, shown
from runyard.runs import Command, Outcome, Run

ExtraMode = Literal["tasks", "checkpoints", "debug"]
Mode = Literal["values", "updates", "messages", "custom"] | ExtraMode
Kind = Mode | Literal["lifecycle", "error", "input", "nested", "tools", "blocks", "asked"]
MODES: tuple[Mode, ...] = ("values", "updates", "messages", "custom", "tasks", "checkpoints", "debug")
EXTRA_MODES: tuple[ExtraMode, ...] = ("tasks", "checkpoints", "debug")
"""Of graphs; recorded only for a run that asked for them when it was created."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """An event before it has its number: its kind and its data as JSON text."""

    kind: Kind
    data: msgspec.Raw
    namespace: str = ""
    """Where a subgraph tells it: the path of the nodes that lead there (`node:task|node:task`)."""
    told: msgspec.Raw = msgspec.Raw(b"[]")
    """Of a piece of a message, and of the whole that ends it: what the streaming protocol tells of it, in order. A
    number is the block to which the piece's content is a delta; a list of one number the end of that block, which is
    as the whole message has it; an object is a `messages` event's data as it stands."""


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


class Event(msgspec.Struct, gc=False):
    """One event with its number; `kind`, `data`, `namespace` and `told` are those of its entry. `frame` is kept by
    whoever frames it first, so that all readers share the bytes. Number 0: made up on joining, not in the log."""

    seq: int
    run_id: str | None
    kind: Kind
    at: int
    data: bytes
    frame: bytes | None = None
    namespace: str = ""
    told: bytes = b"[]"
    state: State | None = None
    """Of a `values` event, the state that it points to; None where it was not asked for, or has to be read."""
    frames: dict[str, Any] | None = None
    """What the streaming protocol's faces made of it: kept like `frame`, by the face's name."""

    @property
    def size(self) -> int:
        """Bytes of what it shows."""
        return len(self.data) if self.state is None else sum(map(len, self.state.values()))


class Lifecycle(msgspec.Struct, omit_defaults=True, frozen=True):
    """Data of a lifecycle event. A terminal one has `status` (of the run) and `outcome`."""

    event: Literal["running", "completed", "failed", "interrupted"]
    run_id: str
    agent_id: str | None = None
    attempt: int | None = None
    resumed_from: str | None = None
    again: bool = False
    """The run has begun before: an attempt that a drain gave back has its number once more."""
    status: str | None = None
    outcome: str | None = None
    reason: str | None = None
    error: str | None = None
    """Of a run that failed: why, in words."""

    @property
    def terminal(self) -> bool:
        return self.event != "running"


class Nested(msgspec.Struct, frozen=True, omit_defaults=True):
    """Data of a `nested` event."""

    event: Literal["started", "running", "completed", "failed", "interrupted"]
    graphName: str | None = None
    cause: dict[str, str] | None = None
    error: str | None = None


class ValuesPointer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Data of a `values` event as stored: its checkpoint, and where that stands in the thread's history."""

    checkpoint_id: str
    parent_id: str | None = None
    step: int = -1
    source: Source | None = None
    """None in logs of before this was kept."""


class AskedEvent(msgspec.Struct, frozen=True):
    """Data of an `asked` event: the checkpoint that keeps the questions, and what they are."""

    checkpoint: ValuesPointer
    questions: list[Question]


class InputEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Data of an `input` event: what a run was created with. `answers` are the questions that it answers."""

    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    command: Command | msgspec.UnsetType = msgspec.UNSET
    answers: list[str] = []


def point_to(checkpoint: Checkpoint) -> ValuesPointer:
    """What a `values` event keeps of a checkpoint."""
    return ValuesPointer(checkpoint.checkpoint_id, checkpoint.parent_id, checkpoint.step, checkpoint.source)


_ENCODER = msgspec.json.Encoder()
_ENTRIES = msgspec.json.Decoder(list[Entry])
_LIFECYCLE = msgspec.json.Decoder(Lifecycle)
_POINTER = msgspec.json.Decoder(ValuesPointer)
_NESTED = msgspec.json.Decoder(Nested)


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


def note_nested(open: dict[str, None], entries: Iterable[Entry]) -> None:
    """Keeps account of the namespaces of subgraphs and sub-agents that have begun and not ended, in their order."""
    for item in entries:
        if item.kind == "nested":
            if _NESTED.decode(item.data).event in ("started", "running"):
                open.setdefault(item.namespace)
            else:
                open.pop(item.namespace, None)


def close_nested(open: Iterable[str], outcome: Outcome | None = None, error: str | None = None) -> list[Entry]:
    """What ends them before their run ends with that outcome, or (None) its attempt: the innermost first."""
    event = Nested("interrupted")
    if outcome == "completed":
        event = Nested("completed")
    elif outcome == "failed":
        event = Nested("failed", error=error)
    paths = [*open]
    paths.reverse()
    paths.sort(key=_depth, reverse=True)
    return [entry("nested", event, path) for path in paths]


def _depth(path: str) -> int:
    return path.count("|")


def pointer(data: bytes | msgspec.Raw) -> ValuesPointer:
    """What a stored `values` event points to."""
    return _POINTER.decode(bytes(data))


def events_of(
    run_id: str | None, first_seq: int, at: int, entries: Sequence[Entry], states: Mapping[int, State] = {}
) -> list[Event]:
    """The events of a chunk; `states` are those of its `values` entries, by their index, where they are at hand."""
    return [
        Event(
            first_seq + index, run_id, item.kind, at, bytes(item.data), None, item.namespace, bytes(item.told),
            states.get(index) if item.kind == "values" else None,
        )
        for index, item in enumerate(entries)
    ]  # fmt: skip


def values_text(event: Event) -> bytes:
    """The whole state of a `values` event as JSON text."""
    assert event.state is not None
    return render(shown(event.state))
