"""A message that an agent's code writes: shown piece by piece, kept as a whole when its block ends.

What is written becomes blocks in the order of their beginnings; calls of tools have a place of their own in the whole
message. How the streaming protocol tells the same is kept with each piece (`Entry.told`).
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast, get_args

import msgspec

from runyard.protocol.blocks import Blocks, Item, call_of_text
from runyard.protocol.messages import block_of, blocks_of, role_of, speaker
from runyard.runtime.describe import described
from runyard.runtime.execution import Execution, Scope
from runyard.runtime.plain import check_name, encode, too_large

DataKind = Literal["image", "audio", "video", "file"]
"""Kinds of blocks whose data may be streamed."""
_CALLS = ("tool_calls", "invalid_tool_calls")
_TEXT: dict[str, Any] = {"type": "text"}
_REASONING: dict[str, Any] = {"type": "reasoning"}
_NOTHING = msgspec.Raw(b"[]")

_ENCODER = msgspec.json.Encoder()


class _Call:
    """A call of a tool as it is being written."""

    __slots__ = ("id", "name", "number", "parts")

    def __init__(self, number: int, id: str) -> None:
        self.number = number
        self.id = id
        self.name: str | None = None
        self.parts: list[str] = []


class Draft:
    """What both kinds of `ctx.message` share: each call takes something in and shows it, and nothing here waits.

    All calls raise `NotSerialisable` and `ValueTooLarge`, the latter for the message as a whole.
    """

    __slots__ = (
        "_begun", "_blocks", "_call", "_calls", "_content", "_execution", "_extra", "_head", "_id", "_left", "_open",
        "_parts", "_rest", "_scope", "_shown", "_told", "_usage", "role",
    )  # fmt: skip

    def __init__(self, execution: Execution, scope: Scope, role: str, id: str | None, extra: dict[str, Any]) -> None:
        self.role = check_name(role, "the role of a message")
        self._execution = execution
        self._scope = scope
        self._id = id
        self._extra = extra
        self._left = execution.limit
        self._begun: tuple[int, str, bool] | None = None
        self._blocks: Blocks | None = None
        """None where nothing of it is to be told: for a role without a word, and for what was told before."""
        self._head = b""
        self._told = _NOTHING
        """What is told of another piece of the open block of text."""
        self._shown = False
        self._content: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None
        """What the last block of the content was begun as, while it may grow."""
        self._parts: list[str] = []
        """What was added to it, to be joined at its end."""
        self._rest = b""
        """Data that does not fill three bytes, and so cannot be encoded by itself."""
        self._calls: dict[object, _Call] = {}
        self._call: object = None
        """Which call was written to last, piece by piece."""
        self._usage: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The message's id; known from the start of the block."""
        return self.begun[1]

    @property
    def content(self) -> str:
        """The text that has been written so far."""
        texts = [block["text"] for block in self._content if block["type"] == "text" and "text" in block]
        return "".join((*texts, *self._parts) if self._open is _TEXT else texts)

    @property
    def begun(self) -> tuple[int, str, bool]:
        if self._begun is None:
            raise RuntimeError("a message is written in its own block: async with ctx.message() as message")
        return self._begun

    def begin(self) -> None:
        self._begun = _, id, new = self._execution.message_begins(self._scope, self._id)
        role = role_of(self.role)
        if new:
            self._head = b'[{"id":%b,"role":%b,"content":' % (_ENCODER.encode(id), _ENCODER.encode(self.role))
            if role is not None:
                name = self._extra.get("name")
                self._blocks = Blocks(id, role, name if type(name) is str else None, speaker(self.role))

    # what is written

    def add_text(self, text: str) -> None:
        """Adds to the text."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a message is written in text, not in {type(text).__name__}")
        _, _, new = self.begun
        self._take(len(text))
        if not text:
            return
        if self._open is not _TEXT:
            self._turn_to(_TEXT)
        shown = encode(text, "message", self._execution.limit) if new else b""
        self._parts.append(text)
        if new:
            told = self._told
            if self._blocks is not None:
                items = self._blocks.text(text)
                if len(items) > 1:
                    told, self._told = msgspec.Raw(_ENCODER.encode(items)), msgspec.Raw(_ENCODER.encode(items[-1:]))
            self._shown = True
            self._execution.piece(self._scope, self._head + shown + b',"delta":true}]', told)

    def add_reasoning(self, text: str) -> None:
        """Adds to what the model thinks."""
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"reasoning is written in text, not in {type(text).__name__}")
        self._take(len(text))
        if not text:
            return
        if self._open is not _REASONING:
            self._turn_to(_REASONING)
        self._show([{"type": "reasoning", "reasoning": text}], lambda blocks: blocks.reasoning(text, is_content=True))
        self._parts.append(text)

    def add_call(self, name: str, args: Mapping[str, Any], id: str | None) -> str:
        """Adds a whole call of a tool; its id, which is made where none is given."""
        name = check_name(name, "the name of a tool")
        if not isinstance(args, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"the arguments of a call are a mapping, not {type(args).__name__}")
        text = encode(args, "the arguments of a call", self._execution.limit).decode()
        key = len(self._calls), name
        call = self._write_call(key, name, text, id)
        self._call = None
        given = {"type": "tool_call", "id": call.id, "name": name, "args": msgspec.json.decode(text)}
        self._show([given], lambda blocks: blocks.call(call.id, name, text, key))
        return call.id

    def add_to_call(self, args: str, name: str | None, id: str | None, index: int | None) -> str:
        """Adds to a call that comes in pieces; its id."""
        if not isinstance(args, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a piece of a call is JSON text, not {type(args).__name__}")
        name = None if name is None else check_name(name, "the name of a tool")
        key: object = self._call
        if index is not None:
            key = ("index", index)
        elif id is not None:
            key = ("id", id)
        elif key is None:
            key = ("new", len(self._calls))
        call = self._write_call(key, name, args, id)
        self._call = key
        given = {"type": "tool_call_chunk", "id": call.id, "name": name, "args": args, "index": call.number}
        self._show([given], lambda blocks: blocks.call(call.id, name, args, key))
        return call.id

    def _write_call(self, key: object, name: str | None, args: str, id: str | None) -> _Call:
        self._take(len(args))
        call = self._calls.get(key)
        if call is None:
            self._seal()
            number = len(self._calls)
            if id is None:
                # The same in every attempt, for what the code does with it is recorded.
                id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.id}:{number}"))
            call = self._calls[key] = _Call(number, check_name(id, "the id of a call"))
        call.name = call.name or name
        call.parts.append(args)
        return call

    def add_block(self, block: Mapping[str, Any]) -> None:
        """Adds a block of any kind, whole."""
        if not isinstance(block, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a block of a message is a mapping, not {type(block).__name__}")
        text = encode(block, "a block of a message", self._execution.limit)
        plain = msgspec.json.decode(text)
        if plain.get("type") == "tool_call" and block_of(plain)["type"] == "tool_call":
            self.add_call(plain["name"], plain["args"], plain.get("id"))
            return
        self._take(len(text))
        self._seal()
        self._show([plain], lambda blocks: blocks.block(plain))
        self._content.append(plain)

    def add_data(self, kind: str, data: bytes, fields: dict[str, Any]) -> None:
        """Adds bytes to an image, an audio, a video or a file; one with other fields is another."""
        if kind not in get_args(DataKind):
            raise ValueError(f"data of the kind {kind!r:.40}: must be one of {', '.join(get_args(DataKind))}")
        begun = {"type": kind, **fields}
        if self._open != begun:
            self._turn_to(begun)
        data = self._rest + data
        whole = len(data) - len(data) % 3
        self._rest = data[whole:]
        self._add_encoded(begun, data[:whole])

    def _add_encoded(self, begun: dict[str, Any], data: bytes) -> None:
        if not data:
            return
        text = base64.b64encode(data).decode()
        self._take(len(text))
        fields = {key: value for key, value in block_of(begun).items() if key != "type"}
        kind = begun["type"]
        self._show([{**begun, "base64": text}], lambda blocks: blocks.data(kind, text, is_content=True, **fields))
        self._parts.append(text)

    def count(self, input_tokens: int | None, output_tokens: int | None, details: dict[str, Any]) -> None:
        """Says how many tokens the message took; what was said before stays where nothing else is said."""
        counts = {"input_tokens": input_tokens, "output_tokens": output_tokens, **details}
        given = {key: value for key, value in counts.items() if value is not None}
        usage = {**self._usage, **msgspec.json.decode(encode(given, "usage", self._execution.limit))}
        if "total_tokens" not in details and "input_tokens" in usage and "output_tokens" in usage:
            usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]
        self._usage = usage

    # its end

    def end(self) -> None:
        nth, id, _ = self.begun
        self._seal()
        message: dict[str, Any] = {"id": id, "role": self.role, "content": self._whole_content(), **self._extra}
        calls: dict[str, list[Any]] = {}
        for call in self._calls.values():
            block = call_of_text(call.id, call.name, "".join(call.parts))
            calls.setdefault(f"{block['type']}s", []).append(block)
        for kind, written in calls.items():
            given = self._extra.get(kind)
            message[kind] = [*written, *(cast("list[Any]", given) if type(given) is list else ())]
        if self._usage:
            message["usage"] = self._usage
        self._execution.message_ends(self._scope, nth, message, self._last_told(message))

    def fail(self, error: BaseException) -> None:
        told = self._blocks.fail(described(error)) if self._blocks is not None and self._shown else []
        self._execution.message_fails(self._scope, self.begun[0], told)

    def _whole_content(self) -> Any:
        blocks = self._content
        if not blocks:
            return ""
        return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks

    def _last_told(self, message: dict[str, Any]) -> msgspec.Raw:
        """What ends the message; where nothing of it was told yet, all of it is."""
        if self._blocks is None or not self._shown:
            return _NOTHING
        told: list[Item] = []
        for block in blocks_of({kind: self._extra[kind] for kind in _CALLS if kind in self._extra}):
            told += self._blocks.block(block)
        told += self._blocks.finish(message.get("usage"))
        whole = blocks_of(message)
        return msgspec.Raw(_ENCODER.encode([_pointing(item, whole) for item in told]))

    # blocks

    def _turn_to(self, begun: dict[str, Any]) -> None:
        self._seal()
        self._open = begun
        self._content.append({**begun})

    def _seal(self) -> None:
        """The last block of the content does not grow any more."""
        if self._open is None:
            return
        kind = self._open["type"]
        if self._rest:
            rest, self._rest = self._rest, b""
            self._add_encoded(self._open, rest)
        self._content[-1][kind if kind in ("text", "reasoning") else "base64"] = "".join(self._parts)
        self._open, self._parts = None, []

    def _show(self, content: list[dict[str, Any]], tell: Callable[[Blocks], list[Item]]) -> None:
        if not self.begun[2]:
            return
        shown = encode(content, "message", self._execution.limit)
        told = [] if self._blocks is None else tell(self._blocks)
        self._shown = True
        data = self._head + shown + b',"delta":true}]'
        self._execution.piece(self._scope, data, msgspec.Raw(_ENCODER.encode(told)) if told else _NOTHING)

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise too_large("a message", None, self._execution.limit)


def _pointing(item: Item, whole: list[dict[str, Any]]) -> Item:
    """The end of a block that is the same in the whole message is found there, and not kept twice."""
    if type(item) is dict and item["event"] == "content-block-finish":
        index: int = item["index"]
        if index < len(whole) and whole[index] == item["content"]:
            return [index]
    return item
