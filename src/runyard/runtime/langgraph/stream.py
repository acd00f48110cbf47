"""What a graph tells while it executes, as entries of the thread's log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from langchain_core.messages import BaseMessage, BaseMessageChunk
from langgraph.types import Interrupt

from runyard.events import Entry, Kind
from runyard.runtime.langgraph.messages import piece, to_protocol
from runyard.runtime.langgraph.values import project

INTERRUPT = "__interrupt__"

_encode = msgspec.json.Encoder().encode


def entry_of(namespace: tuple[str, ...], mode: str, payload: Any) -> Entry | None:
    """The entry of what the graph tells in one mode; None for what the log has no place for.

    A question is none: it stands on the thread when the run has ended with it.
    """
    if mode == "messages":
        message, about = cast("tuple[Any, dict[str, Any]]", payload)
        return _entry("messages", [_message(message, about)], namespace)
    if mode == "custom":
        return _entry("custom", {"payload": project(payload)}, namespace)
    if mode == "updates":
        updates = cast("dict[str, Any]", payload)
        if INTERRUPT in updates:
            return None
        return _entry("updates", {node: project(update) for node, update in updates.items()}, namespace)
    return _entry(cast(Kind, mode), project(payload), namespace)


def questions_in(payload: Any) -> list[Interrupt] | None:
    """The questions that an update tells; none where the graph stands at a breakpoint, None where it tells no stop."""
    if not isinstance(payload, dict) or INTERRUPT not in payload:
        return None
    told = cast("Iterable[Any]", payload[INTERRUPT] or ())
    return [interrupt for interrupt in told if isinstance(interrupt, Interrupt)]


def _message(message: Any, about: dict[str, Any]) -> Any:
    if isinstance(message, BaseMessageChunk):
        told = piece(message)
    elif isinstance(message, BaseMessage):
        told = to_protocol(message)
    else:
        return project(message)
    node = about.get("langgraph_node")
    return told if node is None else {**told, "node": node}


def _entry(kind: Kind, data: Any, namespace: tuple[str, ...]) -> Entry:
    return Entry(kind, msgspec.Raw(_encode(data)), "|".join(namespace))
