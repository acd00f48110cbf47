"""What the streaming protocol tells of each entry of a thread's log.

entry                      events
lifecycle (first attempt)  lifecycle `started`, lifecycle `running`
lifecycle (a later one)    lifecycle `running`
lifecycle (the end)        lifecycle `completed`, `failed` or `interrupted`
nested                     lifecycle, under its namespace
values                     checkpoints, values
updates                    updates, one for each node
messages                   messages: see `Entry.told`; a whole message from its start to its finish
blocks                     messages
tools, custom, tasks       one of the same name
asked                      checkpoints; input.requested for each question, where it was asked
input (of an answer)       input.answered

The same entry is always told in the same events, so that their ids (see `event_id`) are the same on every replay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from runyard.checkpoints import Question
from runyard.events import (
    AskedEvent,
    Event,
    InputEvent,
    Kind,
    Lifecycle,
    ValuesPointer,
    lifecycle,
    pointer,
    values_text,
)
from runyard.protocol import messages

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_SOURCES = {"input": "input", "step": "loop", "update": "update", "fork": "fork", "interrupt": "update"}


class Told(msgspec.Struct, frozen=True):
    """One event of the protocol. `data` is JSON text in camelCase; None where it is a state that was not read."""

    method: str
    data: bytes | None
    name: str | None = None
    """Of a custom event."""
    node: str | None = None
    namespace: str | None = None
    """Where it is told of; None: where its entry is."""

    @property
    def channel(self) -> str:
        """What one subscribes to for it."""
        return "input" if self.method.startswith("input.") else self.method


CHANNELS_OF: Mapping[Kind, frozenset[str]] = {
    "lifecycle": frozenset({"lifecycle"}),
    "nested": frozenset({"lifecycle"}),
    "values": frozenset({"checkpoints", "values"}),
    "updates": frozenset({"updates"}),
    "messages": frozenset({"messages"}),
    "blocks": frozenset({"messages"}),
    "tools": frozenset({"tools"}),
    "custom": frozenset({"custom"}),
    "tasks": frozenset({"tasks"}),
    "asked": frozenset({"checkpoints", "input"}),
    "input": frozenset({"input"}),
}
"""The channels of the events that an entry may be told in, by its kind; others are not told."""


class _Piece(msgspec.Struct):
    id: msgspec.Raw = msgspec.Raw(b'""')
    content: msgspec.Raw = msgspec.Raw(b'""')
    node: str | None = None


class _Custom(msgspec.Struct):
    name: str | None = None


_PIECES = msgspec.json.Decoder(list[_Piece])
_WHOLE = msgspec.json.Decoder(list[dict[str, Any]])
_CUSTOM = msgspec.json.Decoder(_Custom)
_UPDATES = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ASKED = msgspec.json.Decoder(AskedEvent)
_INPUT = msgspec.json.Decoder(InputEvent)


def told(event: Event) -> list[Told]:
    """The events of the protocol that an entry of the log is told in, in order; mostly one, for some none."""
    match event.kind:
        case "messages":
            return _messages(event)
        case "custom":
            return [Told("custom", event.data, _CUSTOM.decode(event.data).name)]
        case "values":
            state = None if event.state is None else values_text(event)
            return [*_checkpoint(pointer(event.data)), Told("values", state)]
        case "updates":
            return [Told("updates", _update(node, values)) for node, values in _UPDATES.decode(event.data).items()]
        case "lifecycle":
            return _lifecycle(lifecycle(event.data))
        case "nested":
            return [Told("lifecycle", event.data)]
        case "tools" | "tasks":
            return [Told(event.kind, event.data)]
        case "blocks":
            return [Told("messages", bytes(data)) for data in msgspec.json.decode(event.data, type=list[msgspec.Raw])]
        case "asked":
            asked = _ASKED.decode(event.data)
            return [*_checkpoint(asked.checkpoint), *map(_requested, asked.questions)]
        case "input":
            answers = _INPUT.decode(event.data).answers
            return [Told("input.answered", _encode({"interruptIds": answers}))] if answers else []
        case "error" | "checkpoints" | "debug":
            return []


def _messages(event: Event) -> list[Told]:
    if event.told == b"[]":
        return [Told("messages", _encode(data)) for message in _WHOLE.decode(event.data) if not message.get("delta")
                for data in messages.whole(message)]  # fmt: skip
    (piece,) = _PIECES.decode(event.data)
    items = _decode(event.told)
    return [Told("messages", _piece(piece, item, event), None, piece.node) for item in items]


def _piece(piece: _Piece, item: Any, event: Event) -> bytes:
    if type(item) is int:
        content = bytes(piece.content)
        if content[:1] == b'"':
            return messages.text_delta(bytes(piece.id), item, content)
        return _encode(messages.delta(_decode(piece.id), item, messages.added(_decode(content))))
    if type(item) is list:
        index = cast("list[int]", item)[0]
        content = messages.blocks_of(_WHOLE.decode(event.data)[0])[index]
        return _encode(messages.block_finish(_decode(piece.id), index, content))
    return _encode(item)


def _checkpoint(at: ValuesPointer) -> list[Told]:
    if at.source is None:
        return []
    data: dict[str, Any] = {"id": at.checkpoint_id}
    if at.parent_id is not None:
        data["parentId"] = at.parent_id
    return [Told("checkpoints", _encode({**data, "step": at.step, "source": _SOURCES[at.source]}))]


def _update(node: str, values: msgspec.Raw) -> bytes:
    text = bytes(values)
    if text[:1] != b"{":
        # The wire has a place for objects only; what a graph's node gives may be nothing, or any value.
        text = b"{}" if text == b"null" else b'{"__root__":' + text + b"}"
    return b'{"node":' + _encode(node) + b',"values":' + text + b"}"


def _lifecycle(at: Lifecycle) -> list[Told]:
    if at.terminal:
        error = {} if at.error is None else {"error": at.error}
        return [Told("lifecycle", _encode({"event": at.event, **error}))]
    running = Told("lifecycle", b'{"event":"running"}')
    if at.again or at.attempt != 1:
        return [running]
    return [Told("lifecycle", _encode({"event": "started", "graphName": at.agent_id or ""})), running]


def _requested(question: Question) -> Told:
    data = b'{"interruptId":' + _encode(question.id) + b',"payload":' + bytes(question.value) + b"}"
    return Told("input.requested", data, namespace=question.namespace)
