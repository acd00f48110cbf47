"""The events of a thread as the streaming protocol tells them, by their kinds. No input and output in here.

Names of the protocol are read in both of their cases, `eventId` and `event_id`; what an agent said is never touched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

Position: TypeAlias = tuple[int, int]
"""A place in a thread's log: the entry's number, and the place within the events that tell that entry."""

LAST = 2**53
"""The place of the event that ends an entry: behind all others of the same entry."""

ENDS = frozenset({"completed", "failed", "interrupted"})
MISSED_EVENTS = "ap.missed_events"

_NUMBERED = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)
_UPPER = re.compile(r"[A-Z]")


def said(fields: Any, name: str) -> Any:
    """What an object of the protocol says under a name, given in camelCase; None where it says nothing."""
    if not isinstance(fields, Mapping):
        return None
    there = cast("Mapping[str, Any]", fields)
    found = there.get(name)
    return there.get(_UPPER.sub(lambda upper: "_" + upper[0].lower(), name)) if found is None else found


@dataclass(frozen=True, slots=True)
class ThreadEvent:
    """One event of a thread.

    `method` is its kind on the wire and `data` what it says, as it came. `namespace` is where in the tree of agents
    it happened, () the root. `timestamp` is in milliseconds since 1970. `seq` is the number of the log's entry that
    it ends, `event_id` what it is known by.
    """

    method: str
    data: Any
    namespace: tuple[str, ...] = ()
    node: str | None = None
    run_id: str | None = None
    event_id: str | None = None
    seq: int | None = None
    timestamp: int | None = None

    def __hash__(self) -> int:
        # What it says may be a dict.
        return hash((self.method, self.event_id, self.seq))

    @property
    def channel(self) -> str:
        """The channel that it is told on."""
        return self.method.partition(".")[0]

    @property
    def position(self) -> Position | None:
        """Where in the log it is; None where its names do not say it."""
        if self.seq is not None:
            return self.seq, LAST
        numbered = _NUMBERED.fullmatch(self.event_id or "")
        if numbered is None:
            return None
        return int(numbered[1]), LAST if numbered[2] is None else int(numbered[2])

    @property
    def is_snapshot(self) -> bool:
        """Whether it is the state that a subscription begins with, and no entry of the log."""
        return self.method == "values" and (self.event_id or "").startswith("snap:")


class ValuesEvent(ThreadEvent):
    """The whole state after a step, or when the subscription began."""

    @property
    def values(self) -> Any:
        return self.data


class UpdatesEvent(ThreadEvent):
    """What a step changed."""

    @property
    def values(self) -> dict[str, Any]:
        """The changes. Some servers send them without an envelope."""
        found: Any = said(self.data, "values")
        return _fields(found if isinstance(found, Mapping) else self.data)

    @property
    def step(self) -> str | None:
        """The step or node that made them."""
        return said(self.data, "node") or self.node


class MessagesEvent(ThreadEvent):
    """A piece of a message; `stream.messages()` puts them together."""

    @property
    def event(self) -> str:
        """message-start, content-block-start, content-block-delta, content-block-finish, message-finish or error."""
        return str(said(self.data, "event"))


class ToolsEvent(ThreadEvent):
    """Something about the call of a tool."""

    @property
    def event(self) -> str:
        """tool-started, tool-output-delta, tool-finished or tool-error."""
        return str(said(self.data, "event"))

    @property
    def tool_call_id(self) -> str | None:
        return said(self.data, "toolCallId")

    @property
    def tool_name(self) -> str | None:
        """Of tool-started."""
        return said(self.data, "toolName")

    @property
    def input(self) -> Any:
        """Of tool-started: its arguments."""
        return said(self.data, "input")

    @property
    def delta(self) -> str | None:
        """Of tool-output-delta: a piece of its output."""
        return said(self.data, "delta")

    @property
    def output(self) -> Any:
        """Of tool-finished."""
        return said(self.data, "output")

    @property
    def message(self) -> str | None:
        """Of tool-error."""
        return said(self.data, "message")


class LifecycleEvent(ThreadEvent):
    """A run, or something below it, began, went on or ended. The run itself has the namespace ()."""

    @property
    def event(self) -> str:
        """started, running, completed, failed or interrupted."""
        return str(said(self.data, "event"))

    @property
    def is_end(self) -> bool:
        return self.event in ENDS

    @property
    def graph_name(self) -> str | None:
        return said(self.data, "graphName")

    @property
    def cause(self) -> dict[str, Any] | None:
        """What made it start, where that is known."""
        return said(self.data, "cause")

    @property
    def error(self) -> str | None:
        """Of failed."""
        return said(self.data, "error")


class InputRequested(ThreadEvent):
    """A question is asked."""

    @property
    def interrupt_id(self) -> str:
        return str(said(self.data, "interruptId"))

    @property
    def payload(self) -> Any:
        return said(self.data, "payload")


class InputAnswered(ThreadEvent):
    """Questions have been answered."""

    @property
    def interrupt_ids(self) -> list[str]:
        return [str(each) for each in said(self.data, "interruptIds") or ()]


class CheckpointEvent(ThreadEvent):
    """A state of the thread has been saved."""

    @property
    def checkpoint_id(self) -> str:
        return str(said(self.data, "id"))

    @property
    def parent_id(self) -> str | None:
        return said(self.data, "parentId")

    @property
    def step(self) -> int | None:
        return said(self.data, "step")

    @property
    def source(self) -> str | None:
        """input, loop, update or fork."""
        return said(self.data, "source")


class CustomEvent(ThreadEvent):
    """Something that the agent's code told."""

    @property
    def name(self) -> str | None:
        return said(self.data, "name")

    @property
    def payload(self) -> Any:
        return said(self.data, "payload")


class TasksEvent(ThreadEvent):
    """A task of a graph began or ended; `data` as its runtime told it."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Events that the server's log no longer holds: the entries from `first` to `last`, `count` of them if known."""

    first: int | None
    last: int | None
    count: int | None


_KINDS: Mapping[str, type[ThreadEvent]] = {
    "values": ValuesEvent,
    "updates": UpdatesEvent,
    "messages": MessagesEvent,
    "tools": ToolsEvent,
    "lifecycle": LifecycleEvent,
    "input.requested": InputRequested,
    "input.answered": InputAnswered,
    "checkpoints": CheckpointEvent,
    "custom": CustomEvent,
    "tasks": TasksEvent,
}


def read_event(frame: Any) -> ThreadEvent | Missed | None:
    """The event that a frame is; None for a frame that is none, or that no server of the protocol sends."""
    method, params = said(frame, "method"), said(frame, "params")
    if not isinstance(method, str) or not isinstance(params, Mapping) or said(frame, "type") not in ("event", None):
        return None
    data: Any = said(params, "data")
    if method == "custom" and said(data, "name") == MISSED_EVENTS:
        told = said(data, "payload")
        return Missed(_whole(said(told, "from")), _whole(said(told, "to")), _whole(said(told, "count")))
    namespace = said(params, "namespace")
    return _KINDS.get(method, ThreadEvent)(
        method,
        data,
        tuple(str(each) for each in cast("list[Any]", namespace)) if isinstance(namespace, list) else (),
        _text(said(params, "node")),
        _text(said(frame, "runId")),
        _text(said(frame, "eventId")),
        _whole(said(frame, "seq")),
        _whole(said(params, "timestamp")),
    )


def _fields(value: Any) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
