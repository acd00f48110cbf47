"""Messages that are told again and again as they grow: the older of the dialect's two ways.

messages/metadata  {id: {"metadata": where it comes from}}, once
messages/partial   [the message so far], with each piece
messages/complete  [the message]
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import msgspec

from runyard.api.langgraph.messages import arguments, to_dialect

Json = dict[str, Any]

_encode = msgspec.json.Encoder().encode


class Assembly:
    """The messages of one run, for one reader."""

    def __init__(self) -> None:
        self._growing: dict[Any, tuple[Json, Any]] = {}
        """By id: the message so far, and the node that writes it."""
        self._known: set[Any] = set()

    def add(self, told: list[Json], about: Json) -> list[tuple[str, bytes]]:
        """What is told of a piece, or of whole messages."""
        frames: list[tuple[str, bytes]] = []
        for message in told:
            id = message.get("id")
            if id not in self._known:
                self._known.add(id)
                frames.append(("messages/metadata", _encode({str(id): {"metadata": about}})))
            plain = {name: value for name, value in message.items() if name not in ("node", "delta", "last")}
            if not message.get("delta"):
                self._growing.pop(id, None)
                frames.append(("messages/complete", _encode([to_dialect(plain)])))
                continue
            whole = grown(self._growing[id][0], plain) if id in self._growing else plain
            self._growing[id] = whole, message.get("node")
            frames.append(("messages/partial", _encode([_so_far(whole)])))
            if message.get("last"):
                frames += self._complete([id])
        return frames

    def end(self, nodes: Collection[str] | None) -> list[tuple[str, bytes]]:
        """What is told of the messages that those nodes (None: any) have begun, as they end."""
        if not self._growing:
            return []
        return self._complete([id for id, (_, node) in self._growing.items() if nodes is None or node in nodes])

    def _complete(self, ids: list[Any]) -> list[tuple[str, bytes]]:
        return [("messages/complete", _encode([_so_far(self._growing.pop(id)[0])])) for id in ids]


def grown(message: Json, piece: Json) -> Json:
    """A message with what a piece adds."""
    whole = {**message, **{name: value for name, value in piece.items() if name not in ("content", "tool_call_chunks")}}
    whole["content"] = _content(message.get("content", ""), piece.get("content", ""))
    chunks = [*message.get("tool_call_chunks", ()), *piece.get("tool_call_chunks", ())]
    if chunks:
        whole["tool_call_chunks"] = _by_index(chunks)
    return whole


def _content(first: Any, more: Any) -> Any:
    if isinstance(first, str) and isinstance(more, str):
        return first + more
    return _by_index([*_blocks(first), *_blocks(more)])


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return list(cast("list[Any]", content))


def _by_index(pieces: list[Any]) -> list[Any]:
    """Pieces of the same index in one: texts are joined, anything else is replaced."""
    found: list[Any] = []
    places: dict[Any, int] = {}
    for piece in pieces:
        index = cast("Json", piece).get("index") if isinstance(piece, dict) else None
        if index is None or index not in places:
            if index is not None:
                places[index] = len(found)
            found.append(piece)
            continue
        whole = dict(cast("Json", found[places[index]]))
        for name, value in cast("Json", piece).items():
            known = whole.get(name)
            if name not in ("type", "id", "index") and isinstance(known, str) and isinstance(value, str):
                whole[name] = known + value
            elif value is not None:
                whole[name] = value
        found[places[index]] = whole
    return found


def _so_far(message: Json) -> Json:
    """A message that may not be complete: its calls as far as their arguments can be read."""
    chunks = cast("list[Json]", message.get("tool_call_chunks", []))
    if not chunks:
        return to_dialect(message)
    calls = [
        {"name": chunk.get("name") or "", "args": arguments(chunk.get("args")), "id": chunk.get("id"),
         "type": "tool_call"}
        for chunk in chunks
    ]  # fmt: skip
    rest = {name: value for name, value in message.items() if name != "tool_call_chunks"}
    return to_dialect({**rest, "tool_calls": calls})
