"""What a graph tells while it executes, as entries of the thread's log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import msgspec
from langchain_core.messages import BaseMessage, BaseMessageChunk
from langgraph.types import Interrupt

from runyard.events import Entry, Kind
from runyard.runtime.langgraph.messages import piece, to_protocol
from runyard.runtime.langgraph.model_events import ModelEvents
from runyard.runtime.langgraph.pieces import NOTHING, Metadata, Pieces, whole_told
from runyard.runtime.langgraph.values import project
from runyard.runtime.langgraph.watcher import CallEnded, Said, Watcher

INTERRUPT = "__interrupt__"

_encode = msgspec.json.Encoder().encode


class Left(msgspec.Struct, frozen=True):
    """How that ends which is open when the attempt ends."""

    graphs: Literal["completed", "failed", "interrupted"]
    messages: str
    """Why they are not written to their end; empty: they are."""
    tools: str
    """Why they failed; empty: they did not."""


class Telling:
    """What an attempt's graph tells, in the order in which it does."""

    def __init__(self, watcher: Watcher, tags: Sequence[str] = ()) -> None:
        """`tags`: of the run; those that a model has beside them stand on its messages."""
        self._tags = [*tags]
        self._watcher = watcher
        self._pieces = Pieces(watcher.is_call)
        self._events = ModelEvents()
        self._asked: dict[str, str] = {}

    def entries(self, namespace: tuple[str, ...], mode: str, payload: Any) -> Sequence[Entry]:
        """The entries of what the graph streams in one mode; none for what the log has no place for.

        A question is none: it stands on the thread when the run has ended with it.
        """
        path = "|".join(namespace)
        if mode == "messages":
            message, about = cast("tuple[Any, Metadata]", payload)
            return self._message(message, about, path)
        if mode == "custom":
            if self.is_mark(payload):
                return self.watched()
            return (_custom(payload, path),)
        if mode == "updates":
            updates = cast("dict[str, Any]", payload)
            questions = questions_in(payload)
            if questions is not None:
                # Every graph around the one that asks tells the question too.
                for question in questions:
                    self._asked[question.id] = max(self._asked.get(question.id, ""), path, key=len)
                return ()
            update = _entry("updates", {node: project(update) for node, update in updates.items()}, path)
            return [*self._pieces.nodes_ended(path, updates), update]
        return (_entry(cast(Kind, mode), project(payload), path),)

    def watched(self) -> list[Entry]:
        """The entries of what the watcher was told."""
        told: list[Entry] = []
        for one in self._watcher.take():
            if isinstance(one, CallEnded):
                told += self.call_ended(one)
                continue
            if isinstance(one, Said):
                told += self._events.tell(one.call, one.event, one.path, one.metadata)
                continue
            if one.kind == "nested":
                told += self._pieces.graph_ended(one.namespace)
            told.append(one)
        return told

    def call_ended(self, one: CallEnded) -> list[Entry]:
        """The entries of the end of a model's call."""
        told = self._pieces.call_ended(one.metadata, one.error)
        return [*told, *self._events.call_ended(one.call, one.error, one.message_id)]

    def is_mark(self, payload: Any) -> bool:
        """Whether what the graph streams as a custom value says that the watcher was told something."""
        return payload is self._watcher

    def pass_events_by(self) -> None:
        """Has the graph's own stream tell the events of its models, and the ends of their calls in their places."""
        self._watcher.hears_events = False

    def close(self, left: Left) -> list[Entry]:
        """What is still to be told as the attempt ends: whatever has begun comes to an end."""
        told = self.watched()
        told += self._pieces.close(left.messages or None)
        told += self._events.close(left.messages or None)
        return told + self._watcher.close(left.graphs, left.tools)

    def namespace_of(self, question: Interrupt) -> str:
        """Where a question was asked."""
        return self._asked.get(question.id, "")

    def _message(self, message: Any, about: Metadata, path: str) -> Sequence[Entry]:
        told = NOTHING
        if isinstance(message, BaseMessageChunk):
            if self._watcher.tells_events(about) or self._events.tells(about):
                return ()
            form = piece(message)
            id, told = self._pieces.told(message, form, path, about)
            if id and form.get("id") != id:
                form["id"] = id
        elif isinstance(message, BaseMessage):
            if self._events.has_told(message.id, about):
                return ()
            form = to_protocol(message)
            told = whole_told(message, by_model="ls_model_type" in about)
        elif isinstance(message, dict) and "event" in message:
            return self._events.tell(about.get("run_id"), cast("dict[str, Any]", message), path, about)
        else:
            shown = project(message)
            form = {**cast("dict[str, Any]", shown)} if isinstance(shown, dict) else shown
        if isinstance(form, dict):
            node, tags = about.get("langgraph_node"), about.get("tags")
            if node is not None:
                form["node"] = node
            if tags and tags != self._tags:
                form["tags"] = tags
        return (Entry("messages", msgspec.Raw(_encode([form])), path, told),)


def questions_in(payload: Any) -> list[Interrupt] | None:
    """The questions that an update tells; none where the graph stands at a breakpoint, None where it tells no stop."""
    if not isinstance(payload, dict) or INTERRUPT not in payload:
        return None
    told = cast("Iterable[Any]", payload[INTERRUPT] or ())
    return [interrupt for interrupt in told if isinstance(interrupt, Interrupt)]


def _custom(payload: Any, path: str) -> Entry:
    """What code writes; an object that has a name is told by that."""
    shown = project(payload)
    name: Any = cast("dict[str, Any]", shown).get("name") if type(shown) is dict else None
    return _entry("custom", {"name": name, "payload": shown} if type(name) is str else {"payload": shown}, path)


def _entry(kind: Kind, data: Any, path: str) -> Entry:
    return Entry(kind, msgspec.Raw(_encode(data)), path)
