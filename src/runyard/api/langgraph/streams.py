"""Streams of runs in the dialect: a run's log as the events that its clients know.

entry of the log           event
lifecycle (an attempt)     metadata: {"run_id", "attempt"}
lifecycle (the end)        end
values                     values
asked                      updates: {"__interrupt__": [...]}; values with `__interrupt__`
updates                    updates
messages                   messages: [piece or message, metadata] (mode `messages-tuple`); messages/metadata,
                           messages/partial, messages/complete (mode `messages`)
custom                     custom: the payload
tasks, checkpoints, debug  the same
error                      error: {"error", "message"}

What a subgraph tells has its namespace in the event's name: `updates|node:task`. The last event that an entry is told
in has its number as `id`: a reader that is cut in between is told all of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET

from runyard import runs
from runyard.api import sse
from runyard.api.call import Call
from runyard.api.context import ApiContext
from runyard.api.langgraph import answers, messages
from runyard.api.langgraph.assembly import Assembly
from runyard.checkpoints import State
from runyard.errors import NotFound
from runyard.events import EXTRA_MODES, AskedEvent, Event, lifecycle
from runyard.graphs import check_recorded
from runyard.readers import Portion

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ASKED = msgspec.json.Decoder(AskedEvent)
_METADATA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PLACE = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
_FAILURE = msgspec.json.Decoder(runs.Failure)

Frame = tuple[str, bytes]
"""An event's name and its data as JSON text."""


class View(msgspec.Struct, frozen=True):
    """What one reader sees of a run."""

    run_id: str
    thread_id: str
    agent_id: str
    assistant_id: str
    modes: frozenset[str]
    inner: bool
    """What subgraphs tell, too."""
    namespaces: frozenset[str] | None = None
    """Only what these tell; the graph's own is empty."""
    metadata: dict[str, msgspec.Raw] = {}
    """Of the run: messages have them with where they are from."""
    tags: Sequence[str] = ()
    """Of its configuration: the same."""

    def shows(self, event: Event) -> bool:
        """Whether it is told anything of an event."""
        kind = event.kind
        if kind in ("lifecycle", "error"):
            return True
        if self.namespaces is not None:
            if event.namespace not in self.namespaces:
                return False
        elif event.namespace and not self.inner:
            return False
        if kind == "messages":
            return "messages" in self.modes or "messages-tuple" in self.modes
        if kind == "asked":
            return "updates" in self.modes or "values" in self.modes
        return kind in self.modes and not (kind == "values" and event.state is None)


def view(run: runs.Run, asked: Sequence[str] | None, namespaces: Iterable[str] | None) -> View:
    """What is to be seen of a run; where no modes are named, what it was created with.

    Raises:
        InvalidInput: a mode was not recorded.
    """
    request = run.asked_for()
    if asked is not None:
        check_recorded(request, [mode for mode in asked if mode in EXTRA_MODES])
    return View(
        run.run_id,
        run.thread_id,
        run.agent_id,
        answers.assistant_of(run, request),
        frozenset(asked or answers.modes_of(request)),
        request.stream_subgraphs is True,
        None if namespaces is None else frozenset(namespaces),
        _METADATA.decode(run.metadata),
        (request.config.tags or ()) if request.config is not UNSET else (),
    )


def separated(texts: Iterable[str]) -> list[str]:
    """What was repeated, separated by commas, or sent as a JSON list of texts."""
    found: list[str] = []
    for text in texts:
        if text.startswith("["):
            try:
                found += msgspec.json.decode(text, type=list[str])
                continue
            except msgspec.DecodeError:
                pass  # then it is refused by the name of the first mode
        found += [piece.strip() for piece in text.split(",") if piece.strip()]
    return found


async def stream(call: Call, run: runs.Run, *, after: int | None, view: View, cancels: bool) -> None:
    """Streams a run's events until it has ended, the server drains, or the client leaves; see `sse.stream`."""
    teller = Teller(call.api, call.owner, view)
    place = f"/threads/{run.thread_id}" if "thread_id" in call.params else ""
    call.tell(b"content-location", f"{place}/runs/{run.run_id}".encode())
    await sse.follow(call, run, after=after, pieces=teller.pieces, cancels=cancels)


class Teller:
    """Tells one reader of a run's events."""

    def __init__(self, api: ApiContext, owner: str, view: View) -> None:
        self._api = api
        self._owner = owner
        self._view = view
        whole = "messages" in view.modes and "messages-tuple" not in view.modes
        self._assembly = Assembly() if whole else None

    async def pieces(self, events: list[Event]) -> Sequence[bytes]:
        """What is told of events, as it is sent: made for the first of the readers who see the same."""
        view = self._view
        key = None if self._assembly is not None else (view.modes, view.inner, view.namespaces, "langgraph")
        if key is not None and isinstance(events, Portion):
            made = events.made.get(key)
            if made is None:
                made = sse.joined([await self._text(event) for event in events])
                self._api.streams.made.keep(events, key, made)
            return made
        return sse.joined([await self._text(event) for event in events])

    async def _text(self, event: Event) -> bytes:
        return framed(await self.shown(event), event) if self._view.shows(event) else b""

    async def shown(self, event: Event) -> list[Frame]:
        """The events that one of the log is told in; none where this reader does not see it."""
        if not self._view.shows(event):
            return []
        match event.kind:
            case "lifecycle":
                return [*self._rest(), lifecycle_frame(event)]
            case "values":
                return [("values", _kept(event, "values"))]
            case "asked":
                return await self._asked(event)
            case "messages":
                return self._messages(event)
            case "updates":
                return [*self._rest(event), ("updates", _updates(event.data))]
            case "custom":
                return [("custom", bytes(msgspec.json.decode(event.data, type=dict[str, msgspec.Raw])["payload"]))]
            case "debug":
                return [("debug", _debug(event.data))]
            case "tasks" | "checkpoints":
                return [(event.kind, _nested(event.data))]
            case "error":
                return [("error", _encode(answers.failure(_FAILURE.decode(event.data))))]
            case _:
                return []

    def _messages(self, event: Event) -> list[Frame]:
        """A piece, or whole messages; with where they come from."""
        told = cast("list[dict[str, Any]]", _decode(event.data))
        about = self._about(event, told[0].get("node") if told else None)
        if self._assembly is not None:
            return self._assembly.add(told, _tagged(about, told[0]) if told else about)
        return [("messages", _encode([_message(one), _tagged(about, one)])) for one in told]

    def _rest(self, event: Event | None = None) -> list[Frame]:
        """Messages that nobody said the last piece of, where what wrote them has ended."""
        if self._assembly is None:
            return []
        return self._assembly.end(None if event is None else list(_decode(event.data)))

    def _about(self, event: Event, node: Any) -> dict[str, Any]:
        view = self._view
        about = {
            "run_id": view.run_id, "thread_id": view.thread_id, "assistant_id": view.assistant_id,
            "graph_id": view.agent_id, **view.metadata, "tags": view.tags,
        }  # fmt: skip
        if node is not None:
            about["langgraph_node"] = node
        if event.namespace:
            about["langgraph_checkpoint_ns"] = event.namespace
        return about

    async def _asked(self, event: Event) -> list[Frame]:
        asked = _ASKED.decode(event.data)
        open = answers.interrupts(asked.questions)
        told: list[Frame] = []
        if "updates" in self._view.modes:
            told.append(("updates", _encode({"__interrupt__": open})))
        if open and "values" in self._view.modes:
            values = await self._state(asked.checkpoint.checkpoint_id)
            if values is not None:
                told.append(("values", _with(answers.values(values), open)))
        return told

    async def _state(self, checkpoint_id: str) -> State | None:
        try:
            return (await self._api.storage.snapshot(self._owner, self._view.thread_id, checkpoint_id)).state
        except NotFound:
            return None


def framed(frames: Sequence[Frame], event: Event) -> bytes:
    """As server-sent events; the last one has the number of the log's event."""
    suffix = f"|{event.namespace}" if event.namespace else ""
    last = len(frames) - 1
    return b"".join(
        b"event: %b\n%bdata: %b\n\n"
        % ((name + suffix).encode(), b"id: %d\n" % event.seq if index == last and event.seq else b"", data)
        for index, (name, data) in enumerate(frames)
    )


def _kept(event: Event, name: str) -> bytes:
    """The text of a state, kept on its event for all who are told of it."""
    assert event.state is not None  # see `View.shows`
    kept = event.frames if event.frames is not None else {}
    text = kept.get(f"langgraph {name}")
    if text is None:
        text = kept[f"langgraph {name}"] = answers.values(event.state)
        event.frames = kept
    return text


def _with(values: bytes, open: list[dict[str, Any]]) -> bytes:
    asked = b'"__interrupt__":' + _encode(open)
    return b"{" + asked + b"}" if values == b"{}" else values[:-1] + b"," + asked + b"}"


def _tagged(about: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """Where a message comes from, with the tags of the model where it has some of its own."""
    return {**about, "tags": message["tags"]} if "tags" in message else about


def _message(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("delta"):
        return messages.piece(message)
    return messages.to_dialect({name: value for name, value in message.items() if name != "node"})


def lifecycle_frame(event: Event) -> Frame:
    """The beginning or the end of an attempt."""
    told = lifecycle(event.data)
    if told.terminal:
        return "end", b"null"
    content: dict[str, Any] = {"run_id": told.run_id, "attempt": told.attempt}
    if told.resumed_from is not None and (told.attempt or 0) > 1:
        content["resumed_from"] = told.resumed_from
    return "metadata", _encode(content)


def _updates(data: bytes) -> bytes:
    if b'"role":' not in data:
        return data
    told = cast("dict[str, Any]", _decode(data))
    return _encode({node: messages.shown_within(update) for node, update in told.items()})


def _debug(data: bytes) -> bytes:
    """What LangGraph tells of its steps; a checkpoint also in the words in which states are told."""
    told = cast("dict[str, Any]", _decode(data))
    payload = told.get("payload")
    if told.get("type") != "checkpoint" or not isinstance(payload, dict):
        return _nested(data)
    step = cast("dict[str, Any]", payload)
    step["checkpoint"], step["parent_checkpoint"] = _place(step.get("config")), _place(step.get("parent_config"))
    for task in cast("list[dict[str, Any]]", step.get("tasks") or ()):
        if (place := _place(task.get("state"))) is not None:
            del task["state"]
            task["checkpoint"] = place
    return _encode(messages.shown_anywhere(told))


def _place(config: Any) -> dict[str, Any] | None:
    named = cast("dict[str, Any]", config).get("configurable") if isinstance(config, dict) else None
    if not isinstance(named, dict):
        return None
    return {name: value for name, value in cast("dict[str, Any]", named).items() if name in _PLACE}


def _nested(data: bytes) -> bytes:
    return data if b'"role":' not in data else _encode(messages.shown_anywhere(_decode(data)))
