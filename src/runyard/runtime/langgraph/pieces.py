"""What the streaming protocol tells of the messages that models write piece by piece, and of those that nodes return.

The pieces of one call of a model are one message, by the first id that one of them has: providers name it once, and
LangChain gives those that follow an id of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import msgspec
from langchain_core.messages import AIMessageChunk, BaseMessage, BaseMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage

from runyard.events import Entry, entry
from runyard.protocol import messages
from runyard.protocol.blocks import Blocks, Item
from runyard.runtime.describe import described
from runyard.runtime.langgraph.messages import form_of
from runyard.runtime.langgraph.values import project

NOTHING = msgspec.Raw(b"[]")

_encode = msgspec.json.Encoder().encode
_CALLS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call"})
_OWN_CALLS = frozenset({"tool_use", "input_json_delta", "function_call", "tool_call_chunk"})
"""Blocks of providers that say what `tool_call_chunks` say."""
_THOUGHTS = {"thinking": "thinking", "reasoning_content": "text"}
"""Blocks of providers that hold what the model thinks -> where."""
_MEDIA = frozenset({"image", "audio", "video", "file"})
_METADATA = {"ls_provider": "provider", "ls_model_name": "model", "ls_model_type": "modelType"}
_ALONE = 4
"""How many keys the form of a piece has that is nothing but text: `role`, `content`, `id` and `delta`."""
_INDEXES = [msgspec.Raw(b"[%d]" % index) for index in range(16)]

Metadata = dict[str, Any]
"""What LangGraph tells of where a message comes from; one object for all pieces of one call of a model."""


class _Message:
    """One that is being written."""

    __slots__ = ("blocks", "calls", "ended", "index", "metadata", "node", "path", "usage")

    def __init__(self, blocks: Blocks | None, path: str, metadata: Metadata) -> None:
        """`blocks`: None for one that is not told."""
        self.blocks = blocks
        self.path = path
        self.node = metadata.get("langgraph_node")
        self.metadata = metadata
        """Held, that no other call's metadata gets its place in memory."""
        self.usage: UsageMetadata | None = None
        self.index: object = None
        """LangChain's for the block that is open."""
        self.calls: dict[object, tuple[str | None, int]] = {}
        """LangChain's index of a call -> its id, and how many had that index before."""
        self.ended = False

    def finish(self) -> list[Item]:
        """Ends it as the model did."""
        if self.ended or self.blocks is None:
            return []
        self.ended = True
        return self.blocks.finish(self.usage)


class Pieces:
    """The messages of an attempt that are being written."""

    def __init__(self, is_call: Callable[[Metadata], bool]) -> None:
        """`is_call`: whether the metadata is that of one call of a model; else a node gave the piece."""
        self._is_call = is_call
        self._open: dict[object, _Message] = {}

    def told(
        self, chunk: BaseMessageChunk, form: dict[str, Any], path: str, metadata: Metadata
    ) -> tuple[str, msgspec.Raw]:
        """The id of the message that a piece belongs to, and what is told of the piece: see `Entry.told`. `form`: the
        piece as run streams show it."""
        message = self._open.get(id(metadata)) or self._message(chunk, path, metadata)
        blocks = message.blocks
        if blocks is None:
            return chunk.id or "", NOTHING
        if message.ended:
            return blocks.id, NOTHING
        if len(form) == _ALONE and "id" in form and type(form["content"]) is str and form["content"]:
            items = blocks.text(form["content"])
        else:
            items = list[Item]()
            try:
                for told in _items(message, blocks, chunk):
                    items += told
            except Exception as error:  # whatever a provider puts into a piece: it is no reason to fail
                message.ended = True
                items.append(messages.failure(blocks.id, f"a piece of it cannot be told: {described(error)}"))
        if len(items) == 1 and type(items[0]) is int:
            index = items[0]
            return blocks.id, _INDEXES[index] if index < len(_INDEXES) else msgspec.Raw(b"[%d]" % index)
        return blocks.id, msgspec.Raw(_encode(project(items)))

    def _message(self, chunk: BaseMessageChunk, path: str, metadata: Metadata) -> _Message:
        key = id(metadata) if self._is_call(metadata) else chunk.id
        message = self._open.get(key)
        if message is None:
            message = self._open[key] = _begun(chunk, path, metadata)
        return message

    def call_ended(self, metadata: Metadata, error: str | None) -> list[Entry]:
        """A model has ended its call, maybe without having said that a piece is the last one."""
        message = self._open.pop(id(metadata), None)
        return [] if message is None else _ended(message, error)

    def nodes_ended(self, path: str, nodes: Iterable[str]) -> list[Entry]:
        """Ends what those nodes gave as pieces of no call of a model."""
        if not self._open:
            return []
        names = set[Any](nodes)
        return self._finish(lambda message: message.path == path and message.node in names)

    def graph_ended(self, path: str) -> list[Entry]:
        """The same, for whatever was given inside a graph."""
        if not self._open:
            return []
        return self._finish(lambda message: f"{message.path}|".startswith(f"{path}|"))

    def _finish(self, ended: Callable[[_Message], bool]) -> list[Entry]:
        keys = [key for key, message in self._open.items() if key != id(message.metadata) and ended(message)]
        return [told for key in keys for told in _ended(self._open.pop(key), None)]

    def close(self, error: str | None) -> list[Entry]:
        """Ends whatever is open, as the attempt ends; `error`: why it was not written to its end."""
        left, self._open = list(self._open.values()), {}
        return [told for message in left for told in _ended(message, error)]


def whole_told(message: BaseMessage, *, by_model: bool) -> msgspec.Raw:
    """What is told of a message that nobody was told piece by piece. Nothing where its form says it all and a node gave
    it: clients of LangGraph are told only what models say, and have the rest from the state."""
    if by_model and messages.role_of(message.type) is not None:
        try:
            return msgspec.Raw(_encode(project(messages.whole({**form_of(message), "content": _standard(message)}))))
        except Exception:  # whatever it holds: then what its form says is told
            return NOTHING
    content: Any = message.content
    if type(content) is list:
        if not content:
            return NOTHING
    elif "reasoning_content" not in message.additional_kwargs:
        return NOTHING
    try:
        form = form_of(message)
        blocks = _standard(message)
        if form.get("tool_calls"):
            blocks = [block for block in blocks if block["type"] not in _CALLS]
        if blocks == content:
            return NOTHING
        return msgspec.Raw(_encode(project(messages.whole({**form, "content": blocks}))))
    except Exception:  # whatever it holds: then what its form says is told
        return NOTHING


def _ended(message: _Message, error: str | None) -> list[Entry]:
    if message.ended or message.blocks is None:
        return []
    told = message.finish() if error is None else message.blocks.fail(error)
    message.ended = True
    return [entry("blocks", project(told), message.path)]


def _begun(chunk: BaseMessageChunk, path: str, metadata: Metadata) -> _Message:
    role = messages.role_of(form_of(chunk)["role"])
    if role is None or chunk.id is None:
        return _Message(None, path, metadata)
    about = about_model(metadata)
    for theirs, ours in (("model_provider", "provider"), ("model_name", "model")):
        if ours not in about and chunk.response_metadata.get(theirs) is not None:
            about[ours] = chunk.response_metadata[theirs]
    return _Message(Blocks(chunk.id, role, chunk.name, about), path, metadata)


def about_model(metadata: Metadata) -> dict[str, Any]:
    """What the start of a message tells of its model."""
    return {ours: metadata[theirs] for theirs, ours in _METADATA.items() if metadata.get(theirs) is not None}


def _items(message: _Message, blocks: Blocks, chunk: BaseMessageChunk) -> Iterator[list[Item]]:
    fields = chunk.__dict__
    yield blocks.start()
    content: Any = fields["content"]
    if type(content) is str:
        if fields["additional_kwargs"]:
            yield _beside(blocks, fields["additional_kwargs"])
        if content:
            yield blocks.text(content)
    else:
        for block in _standard(chunk):
            yield _block(message, blocks, block)
    if isinstance(chunk, AIMessageChunk):
        for call in fields["tool_call_chunks"]:
            yield _call(message, blocks, call, "tool_call")
        if fields["usage_metadata"] is not None:
            message.usage = add_usage(message.usage, fields["usage_metadata"])
        if fields.get("chunk_position") == "last":
            yield message.finish()


def _beside(blocks: Blocks, kwargs: Mapping[str, Any]) -> list[Item]:
    """What providers put beside the content."""
    told: list[Item] = []
    thought: Any = kwargs.get("reasoning_content")
    if type(thought) is str and thought:
        told += blocks.reasoning(thought)
    audio: Any = kwargs.get("audio")
    data: Any = cast("dict[str, Any]", audio).get("data") if type(audio) is dict else None
    if type(data) is str and data:
        told += blocks.data("audio", data)
    return told


def _standard(message: BaseMessage) -> list[dict[str, Any]]:
    """The content as LangChain's standard blocks; without calls that stand in `tool_call_chunks` too."""
    try:
        blocks = cast("list[Any]", message.content_blocks)
    except Exception:  # a translator that does not know this form of its provider's blocks
        content: Any = message.content
        blocks = cast("list[Any]", content) if type(content) is list else [content]
    chunks = getattr(message, "tool_call_chunks", None)
    found: list[dict[str, Any]] = []
    for block in blocks:
        if type(block) is not dict:
            found.append(
                {"type": "text", "text": block}
                if type(block) is str
                else {"type": "non_standard", "value": {"content": block}}
            )
            continue
        one = cast("dict[str, Any]", block)
        kind: Any = one.get("type")
        value: Any = one.get("value") if kind == "non_standard" else one
        own: Any = cast("dict[str, Any]", value).get("type") if type(value) is dict else None
        if chunks and (kind in _CALLS or own in _OWN_CALLS):
            continue
        if own in _THOUGHTS:
            found.append(_thought(cast("dict[str, Any]", value)))
        else:
            found.append(one if type(kind) is str else {"type": "non_standard", "value": one})
    return found


def _thought(block: dict[str, Any]) -> dict[str, Any]:
    text: Any = block.get(_THOUGHTS[block["type"]])
    if type(block.get("reasoning_content")) is dict:
        text = block["reasoning_content"].get("text")
    thought: dict[str, Any] = {"type": "reasoning", "reasoning": text if type(text) is str else ""}
    if "index" in block:
        thought["index"] = block["index"]
    if "signature" in block:
        thought["extras"] = {"signature": block["signature"]}
    return thought


def _block(message: _Message, blocks: Blocks, block: dict[str, Any]) -> list[Item]:
    """A block of a piece, or a part of one: LangChain joins those of the same index."""
    kind: str = block["type"]
    index: Any = block.get("index")
    told: list[Item] = []
    is_another = index != message.index
    if is_another:
        told += blocks.close()
        message.index = index
    fields = {key: value for key, value in block.items() if key not in ("type", "index", "text", "reasoning", "base64")}
    if kind in ("text", "reasoning"):
        text: Any = block.get(kind)
        if type(text) is str and text:
            told += blocks.text(text, is_content=False) if kind == "text" else blocks.reasoning(text)
        return [*told, *blocks.open(kind), *blocks.fields(fields)] if fields else told
    if kind in _MEDIA and index is not None and type(block.get("base64")) is str:
        spelled: dict[str, Any] = messages.block_of({"type": kind, **fields})
        told += blocks.open(kind, spelled if is_another else None)
        return [*told, *blocks.data(kind, block["base64"])]
    if kind == "server_tool_call_chunk":
        return [*told, *_call(message, blocks, block, "server_tool_call")]
    return [*told, *blocks.block(block)]


def _call(message: _Message, blocks: Blocks, call: Mapping[str, Any], kind: str) -> list[Item]:
    """A part of a call: LangChain joins those of the same index, unless their ids differ."""
    id, name, args = (_text(call.get(key)) for key in ("id", "name", "args"))
    index: Any = call.get("index")
    if index is None:
        return blocks.call(id, name, args or "", None, kind)
    known, number = message.calls.get(index, (None, 0))
    if id and known and id != known:
        number += 1
    message.calls[index] = (id or known, number)
    return blocks.call(id, name, args or "", (index, number), kind)


def _text(value: Any) -> str | None:
    return value if value is None or type(value) is str else _encode(project(value)).decode()
