"""Messages as LangChain writes them, of those that the Agent Protocol has, and where they stand in a state.

{"type": "ai", "content": "It rains.", "id": "m2", "name": null, "tool_calls": [...], "invalid_tool_calls": [],
 "usage_metadata": {...}, "additional_kwargs": {}, "response_metadata": {...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

Json = dict[str, Any]

_TYPES = {
    "user": "human", "human": "human", "assistant": "ai", "ai": "ai", "system": "system", "developer": "system",
    "tool": "tool", "function": "function", "remove": "remove",
}  # fmt: skip
_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "function"}
_CHUNKS = {"human": "HumanMessageChunk", "ai": "AIMessageChunk", "system": "SystemMessageChunk"}
_KNOWN = frozenset({
    "role", "content", "id", "name", "metadata", "tool_calls", "invalid_tool_calls", "usage", "tool_call_id", "status",
    "artifact", "chunk", "type", "tool_call_chunks", "chunk_position",
})  # fmt: skip
"""The fields of a message in the Agent Protocol's form, as graphs write it."""
_OWN = frozenset({"additional_kwargs", "response_metadata", "extra"})


def is_message(value: Any) -> bool:
    """Whether a value is a message in the Agent Protocol's form."""
    if type(value) is not dict:
        return False
    fields = cast("Json", value)
    return type(fields.get("role")) is str and "content" in fields and _KNOWN.issuperset(fields)


def to_dialect(message: Mapping[str, Any]) -> Json:
    """A whole message in LangChain's words."""
    role: str = message["role"]
    kind = "chat" if message.get("type") == "chat" else _TYPES.get(role, "chat")
    fields = _common(message, kind)
    if kind == "ai":
        fields["tool_calls"] = message.get("tool_calls", [])
        fields["invalid_tool_calls"] = message.get("invalid_tool_calls", [])
        fields["usage_metadata"] = message.get("usage")
    elif kind == "tool":
        fields["tool_call_id"] = message.get("tool_call_id", "")
        fields["status"] = message.get("status", "success")
        fields["artifact"] = message.get("artifact")
    elif kind == "chat":
        fields["role"] = role
    return fields


def piece(message: Mapping[str, Any]) -> Json:
    """A piece of a message that is being written, as one of LangChain's chunks."""
    kind = _TYPES.get(message.get("role", "assistant"), "ai")
    fields = _common(message, kind)
    if kind == "ai":
        chunks = cast("list[Json]", message.get("tool_call_chunks", []))
        fields["tool_calls"] = [_begun(chunk) for chunk in chunks if chunk.get("name")]
        fields["invalid_tool_calls"] = []
        fields["tool_call_chunks"] = chunks
        fields["usage_metadata"] = message.get("usage")
        fields["chunk_position"] = "last" if message.get("last") is True else None
    fields["type"] = _CHUNKS.get(kind, kind)
    return fields


def _begun(chunk: Json) -> Json:
    """A call that a piece begins, with its arguments as far as they can be read."""
    return {"name": chunk["name"], "args": arguments(chunk.get("args")), "id": chunk.get("id"), "type": "tool_call"}


def arguments(text: Any) -> Json:
    """The arguments of a call; none where they are not whole."""
    try:
        return msgspec.json.decode(text or "{}", type=Json)
    except (msgspec.DecodeError, TypeError):
        return {}


def _common(message: Mapping[str, Any], kind: str) -> Json:
    metadata: Json = message.get("metadata") or {}
    kwargs: Json = {**metadata.get("additional_kwargs", {})}
    theirs = {key: value for key, value in metadata.items() if key not in _OWN}
    if theirs:
        kwargs["metadata"] = theirs
    return {
        **metadata.get("extra", {}),
        "content": message.get("content", ""),
        "additional_kwargs": kwargs,
        "response_metadata": metadata.get("response_metadata", {}),
        "type": kind,
        "name": message.get("name"),
        "id": message.get("id"),
    }


def from_dialect(message: Mapping[str, Any]) -> Json:
    """A message that a client sent, in LangChain's words or those of OpenAI, in the Agent Protocol's.

    Raises:
        ValueError: it names neither a `role` nor a `type`.
    """
    said = message.get("role", message.get("type"))
    if type(said) is not str or not said:
        raise ValueError("a message needs a role, or a type such as human or ai")
    form: Json = {"role": _ROLES.get(said, said), "content": message.get("content", "")}
    for name in ("id", "name", "tool_calls", "invalid_tool_calls", "tool_call_id", "status", "artifact"):
        if message.get(name):
            form[name] = message[name]
    if message.get("usage_metadata"):
        form["usage"] = message["usage_metadata"]
    metadata = {name: message[name] for name in ("additional_kwargs", "response_metadata") if message.get(name)}
    return {**form, "metadata": metadata} if metadata else form


def shown(value: Any) -> Any:
    """A value of a state (or of a change to it), with the messages in it in LangChain's words: the value itself, or the
    elements of a list."""
    if is_message(value):
        return to_dialect(cast("Json", value))
    if type(value) is list and value and all(map(is_message, cast("list[Any]", value))):
        return [to_dialect(message) for message in cast("list[Json]", value)]
    return cast(Any, value)


def shown_text(text: bytes) -> bytes:
    """The same, of the JSON text of a value."""
    if b'"role":' not in text:
        return text
    value = msgspec.json.decode(text)
    told = shown(value)
    return text if told is value else msgspec.json.encode(told)


def shown_within(update: Any) -> Any:
    """A change to a state, with the messages in its channels in LangChain's words."""
    if type(update) is not dict:
        return shown(update)
    return {channel: shown(value) for channel, value in cast("Json", update).items()}


def shown_anywhere(value: Any) -> Any:
    """Plain data with all messages in it in LangChain's words, however deep they are."""
    if is_message(value):
        return to_dialect(cast("Json", value))
    if type(value) is dict:
        return {name: shown_anywhere(item) for name, item in cast("Json", value).items()}
    if type(value) is list:
        return [shown_anywhere(item) for item in cast("list[Any]", value)]
    return value
