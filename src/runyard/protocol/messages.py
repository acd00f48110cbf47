"""Messages of the Agent Protocol as the streaming protocol tells them: a start, blocks one after the other, an end.

Source: the protocol's CDDL, sections 2 (content blocks) and 8 (messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from runyard.protocol.names import BLOCK, USAGE

Data = dict[str, Any]
"""The data of one `messages` event, in camelCase."""

_ROLES = {"user": "human", "human": "human", "assistant": "ai", "ai": "ai", "system": "system", "developer": "system"}
_UNTOLD = frozenset({"tool", "function", "remove"})
"""Roles of messages that the channel has no word for; what a tool gave is told by its own events."""
_FINAL = frozenset({"reasoning", "image", "audio", "video", "file"})
_CALLS = frozenset({"tool_call", "server_tool_call"})


def role_of(role: Any) -> str | None:
    """The role on the wire; None for one that is not told. A name of one's own speaks for an AI."""
    if type(role) is not str or role in _UNTOLD:
        return None
    return _ROLES.get(role, "ai")


def speaker(role: str) -> Data | None:
    """What the start of a message tells of a speaker whose role is a name of one's own."""
    return None if role in _ROLES else {"role": role}


def start(id: str, role: str, name: str | None = None, metadata: Mapping[str, Any] | None = None) -> Data:
    """The event that begins a message; `role` is that of the wire. Of the metadata only scalars are told."""
    data: Data = {"event": "message-start", "role": role, "id": id}
    scalars = {
        key: value for key, value in (metadata or {}).items() if value is None or type(value) in (bool, int, float, str)
    }
    if name is not None:
        scalars["name"] = name
    return {**data, "metadata": scalars} if scalars else data


def block_start(id: str, index: int, content: Data) -> Data:
    """The event that begins a block."""
    return {"event": "content-block-start", "index": index, "content": content, "id": id}


def delta(id: str, index: int, change: Data) -> Data:
    """The event that adds to a block."""
    return {"event": "content-block-delta", "index": index, "delta": change, "id": id}


def text_delta(id: bytes, index: int, text: bytes) -> bytes:
    """The event that adds to a text, as JSON text, of the JSON texts of an id and of what is added: what is told most
    often by far is neither read nor written again."""
    return b'{"event":"content-block-delta","index":%d,"delta":{"type":"text-delta","text":%b},"id":%b}' % (
        index, text, id,
    )  # fmt: skip


def added(content: Any) -> Data:
    """The change that the content of a piece is: a text, or one block of reasoning or of encoded data."""
    if type(content) is str:
        return {"type": "text-delta", "text": content}
    block: Data = content[0]
    if block["type"] == "reasoning":
        return {"type": "reasoning-delta", "reasoning": block["reasoning"]}
    return {"type": "data-delta", "data": block["base64"]}


def block_finish(id: str, index: int, content: Data) -> Data:
    """The event that ends a block."""
    return {"event": "content-block-finish", "index": index, "content": content, "id": id}


def finish(id: str, usage: Any = None) -> Data:
    """The event that ends a message."""
    data: Data = {"event": "message-finish", "id": id}
    told = usage_of(usage)
    return {**data, "usage": told} if told else data


def failure(id: str, message: str) -> Data:
    """The event that ends a message which was not written to its end."""
    return {"event": "error", "message": message, "id": id}


def usage_of(usage: Any) -> Data | None:
    """Counts of tokens, of which the protocol takes whole numbers from 0 on."""
    if type(usage) is not dict:
        return None
    told: Data = USAGE.spell(usage, "camel")
    return {key: value for key, value in told.items() if _is_count(value) or key.endswith("Details")}


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def whole(message: Mapping[str, Any]) -> list[Data]:
    """All events of a message that is there as a whole; none for one that is not told."""
    role, id = role_of(message.get("role")), message.get("id")
    if role is None or type(id) is not str:
        return []
    name = message.get("name")
    told = [start(id, role, name if type(name) is str else None, speaker(message["role"]))]
    for index, block in enumerate(blocks_of(message)):
        told.append(block_start(id, index, empty(block)))
        kind = block["type"]
        if kind in ("text", "reasoning") and block.get(kind):
            told.append(delta(id, index, {"type": f"{kind}-delta", kind: block[kind]}))
        told.append(block_finish(id, index, block))
    return [*told, finish(id, message.get("usage"))]


def blocks_of(message: Mapping[str, Any]) -> list[Data]:
    """The blocks of a message: those of its content, then its calls of tools."""
    content = message.get("content")
    blocks: list[Data] = []
    if type(content) is str:
        if content:
            blocks.append({"type": "text", "text": content})
    elif type(content) is list:
        blocks += [block_of(block) for block in cast("list[Any]", content)]
    told = {block.get("id") for block in blocks if block["type"] == "tool_call"} - {None}
    blocks += [call_of(call) for call in _records(message.get("tool_calls")) if call.get("id") not in told]
    blocks += map(invalid_call_of, _records(message.get("invalid_tool_calls")))
    return blocks


def _records(value: Any) -> list[Data]:
    return [item for item in cast("list[Any]", value) if type(item) is dict] if type(value) is list else []


def block_of(block: Any) -> Data:
    """A block of a message's content as a finalized one; what the protocol has no word for is `non_standard`."""
    if type(block) is str:
        return {"type": "text", "text": block}
    if type(block) is not dict:
        return {"type": "non_standard", "value": {"content": block}}
    given = cast("dict[str, Any]", block)
    kind = given.get("type")
    if kind == "text" and type(given.get("text")) is str:
        return BLOCK.spell(_indexed(given), "camel")
    if kind in _FINAL or kind == "server_tool_result":
        return BLOCK.spell(_indexed(given), "camel")
    if kind == "non_standard" and type(given.get("value")) is dict:
        return _indexed(given)
    if kind in _CALLS and type(given.get("args")) is dict and type(given.get("name")) is str:
        return {**_indexed(given), "id": given.get("id")} if kind == "tool_call" else _indexed(given)
    if kind == "invalid_tool_call":
        return invalid_call_of(given)
    return {"type": "non_standard", "value": given}


def call_of(call: Mapping[str, Any]) -> Data:
    """A message's call of a tool as a block; one whose arguments are no object as an invalid one."""
    name, args, id = call.get("name"), call.get("args"), call.get("id")
    if type(name) is not str or type(args) is not dict:
        return invalid_call_of(call)
    return {"type": "tool_call", "id": id if type(id) is str else None, "name": name, "args": args}


def invalid_call_of(call: Mapping[str, Any]) -> Data:
    """A call that cannot be made."""
    told: Data = {"type": "invalid_tool_call"}
    for key in ("id", "name", "args", "error"):
        value = call.get(key)
        told[key] = value if value is None or type(value) is str else str(value)
    return told


def _indexed(block: dict[str, Any]) -> Data:
    """Without an index or an id that the protocol would not take."""
    bad = [
        key for key, kinds in (("index", (int, str)), ("id", (str,))) if key in block and type(block[key]) not in kinds
    ]
    return {key: value for key, value in block.items() if key not in bad}


def empty(block: Data) -> Data:
    """What stands in the start of a block that is told whole: long values come with its end."""
    if block["type"] == "text":
        return {**block, "text": ""}
    return {key: value for key, value in block.items() if key not in ("base64", "reasoning", "output")}
