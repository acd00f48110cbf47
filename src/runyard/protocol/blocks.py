"""A message that is written piece by piece, as blocks that never interleave.

Models give pieces of text, of reasoning, of calls of tools; the calls in parallel now and then. On the wire one block
ends before the next one begins: a piece of a call that comes while another one is not complete waits until it is.
"""

from __future__ import annotations

from typing import Any, cast

import msgspec

from runyard.protocol import messages
from runyard.protocol.messages import Data
from runyard.protocol.names import BLOCK

Item = int | list[int] | Data
"""As in `Entry.told`."""
_CHUNKS = ("tool_call_chunk", "server_tool_call_chunk")
GROWTH = 8
"""The arguments of a call are told anew when they have grown by this part: a delta holds all of them, and one for each
piece would take the square of their length."""

_ARGS = msgspec.json.Decoder(dict[str, Any])


class Blocks:
    """One message. Each call says what is to be told of it, in order; maybe nothing."""

    __slots__ = ("_began", "_call", "_held", "_index", "_meta", "_name", "_open", "_parts", "_told_args", "id", "role")

    def __init__(self, id: str, role: str, name: str | None = None, metadata: Data | None = None) -> None:
        """`role` is that of the wire (see `messages.role_of`)."""
        self.id = id
        self.role = role
        self._name = name
        self._meta = metadata
        self._began = False
        self._index = -1
        self._open: Data | None = None
        self._parts: list[str] = []
        """What was added to the open block, to be joined at its end."""
        self._call: object = None
        """Which call the open block is."""
        self._told_args = 0
        self._held: dict[object, list[tuple[str | None, str | None, str, str]]] = {}

    @property
    def index(self) -> int:
        """The number of the block that was begun last; -1 before the first."""
        return self._index

    def start(self) -> list[Item]:
        """Begins the message, if it has not begun; what is added to it does so too."""
        if self._began:
            return []
        self._began = True
        return [messages.start(self.id, self.role, self._name, self._meta)]

    def open(self, kind: str, fields: Data | None = None) -> list[Item]:
        """Begins a block of a kind, with what it has beside its text or data, unless the open one is of that kind and
        has that too."""
        if (
            self._open is not None
            and self._open["type"] == kind
            and (not fields or fields.items() <= self._open.items())
        ):
            return []
        blank: Data = {"text": ""} if kind == "text" else {}
        return [*self.close(), *self._begin({"type": kind, **blank, **(fields or {})})]

    def text(self, text: str, *, is_content: bool = True) -> list[Item]:
        """Adds to the text. `is_content`: the text is the piece's content, and need not be told twice."""
        told = self.open("text")
        self._parts.append(text)
        return [*told, self._index if is_content else self._delta({"type": "text-delta", "text": text})]

    def reasoning(self, text: str, *, is_content: bool = False) -> list[Item]:
        """Adds to what the model thinks."""
        told = self.open("reasoning")
        self._parts.append(text)
        return [*told, self._index if is_content else self._delta({"type": "reasoning-delta", "reasoning": text})]

    def data(self, kind: str, base64: str, *, is_content: bool = False, **fields: Any) -> list[Item]:
        """Adds encoded data to an image, an audio, a video or a file; one with other fields is another. Each piece is
        base64 of its own."""
        told = self.open(kind, fields)
        self._parts.append(base64)
        return [*told, self._index if is_content else self._delta({"type": "data-delta", "data": base64})]

    def fields(self, fields: Data) -> list[Item]:
        """Adds to the open block, which is no call, what is neither its text nor its data: lists grow, anything else is
        replaced."""
        if self._open is None:
            return []
        told: Data = {"type": self._open["type"]}
        spelled: Data = BLOCK.spell({**told, **fields}, "camel")
        for key, value in spelled.items():
            known: Any = self._open.get(key)
            grows = type(known) is list and type(value) is list
            told[key] = [*cast("list[Any]", known), *cast("list[Any]", value)] if grows else value
        self._open = {**self._open, **told}
        return [self._delta({"type": "block-delta", "fields": told})]

    def block(self, block: Any) -> list[Item]:
        """Adds a whole block."""
        content = messages.block_of(block)
        told = [*self.close(), *self._begin(messages.empty(content))]
        self._open = None
        return [*told, messages.block_finish(self.id, self._index, content)]

    def call(
        self, id: str | None, name: str | None, args: str, key: object = None, kind: str = "tool_call"
    ) -> list[Item]:
        """Adds to a call of a tool: `args` is a part of their JSON text. `key` tells the calls of a message apart; None
        means the call that is being written, unless there is an id. `kind`: or `server_tool_call`."""
        if key is None:
            key = id if id is not None or self._call is None else self._call
        another = self._is_call() and key != self._call
        if another and not _is_complete("".join(self._parts)):
            self._held.setdefault(key, []).append((id, name, args, kind))
            return []
        told = self._add_to_call(key, id, name, args, kind)
        if self._held and _is_complete("".join(self._parts)):
            told += self._release()
        return told

    def close(self) -> list[Item]:
        """Ends the open block, if there is one: what is added next is another one."""
        if self._open is None:
            return []
        content, text = self._open, "".join(self._parts)
        self._open = None
        kind = content["type"]
        if kind in _CHUNKS:
            called = kind.removesuffix("_chunk")
            content, self._call = call_of_text(content["id"], content["name"], text, called), None
        elif kind in ("text", "reasoning"):
            content = {**content, kind: text}
        else:
            content = {**content, "base64": text}
        return [messages.block_finish(self.id, self._index, content)]

    def finish(self, usage: Any = None) -> list[Item]:
        """Ends the message."""
        told = [*self.start(), *self.close()]
        while self._held:
            told += [*self._release(), *self.close()]
        return [*told, messages.finish(self.id, usage)]

    def fail(self, message: str) -> list[Item]:
        """Ends a message that is not written to its end."""
        return [*self.start(), *self.close(), messages.failure(self.id, message)]

    # blocks

    def _begin(self, content: Data) -> list[Item]:
        told = self.start()
        self._index += 1
        self._open, self._parts, self._call = content, [], None
        return [*told, messages.block_start(self.id, self._index, content)]

    def _delta(self, change: Data) -> Data:
        return messages.delta(self.id, self._index, change)

    # calls

    def _is_call(self) -> bool:
        return self._open is not None and self._open["type"] in _CHUNKS

    def _add_to_call(self, key: object, id: str | None, name: str | None, args: str, kind: str) -> list[Item]:
        if self._is_call() and self._call == key:
            content = cast("Data", self._open)
            self._parts.append(args)
            known = content["id"], content["name"]
            content["id"], content["name"] = content["id"] or id, content["name"] or name
            whole = "".join(self._parts)
            if (content["id"], content["name"]) == known and len(whole) * GROWTH < self._told_args * (GROWTH + 1):
                return []
            self._told_args = len(whole)
            return [self._delta({"type": "block-delta", "fields": {**content, "args": whole}})]
        content: Data = {"type": f"{kind}_chunk", "id": id, "name": name, "args": args}
        told = [*self.close(), *self._begin(content)]
        self._open = {**content}
        self._parts, self._call, self._told_args = [args], key, len(args)
        return told

    def _release(self) -> list[Item]:
        """Tells of what was held back: one call after the other, as far as they are complete."""
        told: list[Item] = []
        while self._held:
            key = next(iter(self._held))
            for id, name, args, kind in self._held.pop(key):
                told += self._add_to_call(key, id, name, args, kind)
            if not _is_complete("".join(self._parts)):
                break
        return told


def _is_complete(args: str) -> bool:
    try:
        msgspec.json.decode(args)
    except ValueError:
        return False
    return True


def call_of_text(id: str | None, name: str | None, args: str, kind: str = "tool_call") -> Data:
    """The block of a call whose arguments were written as JSON text; an invalid one where they are no object. `kind`:
    or `server_tool_call`."""
    try:
        value: Data | None = _ARGS.decode(args or "{}")
    except ValueError:
        value = None
    if value is not None and type(name) is str:
        return {"type": kind, "id": id, "name": name, "args": value}
    error = "the call has no name" if value is not None else "the arguments are no JSON object"
    return {"type": "invalid_tool_call", "id": id, "name": name, "args": args, "error": error}
