"""LangChain's messages in the Agent Protocol's form, and back: what is shown to people is what is stored, and nothing
is lost on the way.

LangChain                        Agent Protocol
type human, ai, system, tool     role user, assistant, system, tool
any other class                  role as given, with its LangChain type under `type`
additional_kwargs, response_...  under `metadata`, where they are not empty
usage_metadata                   usage
a chunk                          the same with `chunk: true`
"""

from __future__ import annotations

from typing import Any, cast

import msgspec
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
)

from runyard.runtime.langgraph.exact import is_exact

_ROLES: dict[type[BaseMessage], str] = {
    HumanMessage: "user",
    HumanMessageChunk: "user",
    AIMessage: "assistant",
    AIMessageChunk: "assistant",
    SystemMessage: "system",
    SystemMessageChunk: "system",
    ToolMessage: "tool",
    ToolMessageChunk: "tool",
    FunctionMessage: "function",
    FunctionMessageChunk: "function",
    RemoveMessage: "remove",
    ChatMessage: "",
    ChatMessageChunk: "",
}
_CLASSES: dict[str, tuple[type[BaseMessage], type[BaseMessage]]] = {
    "user": (HumanMessage, HumanMessageChunk),
    "human": (HumanMessage, HumanMessageChunk),
    "assistant": (AIMessage, AIMessageChunk),
    "ai": (AIMessage, AIMessageChunk),
    "system": (SystemMessage, SystemMessageChunk),
    "tool": (ToolMessage, ToolMessageChunk),
    "function": (FunctionMessage, FunctionMessageChunk),
    "remove": (RemoveMessage, RemoveMessage),
}
_AI = ("tool_calls", "invalid_tool_calls")
_LIFTED = ("additional_kwargs", "response_metadata")
_KNOWN = frozenset(
    ("role", "type", "chunk", "content", "id", "name", "metadata", "usage", "status", "artifact", "tool_call_id")
).union(("tool_calls", "invalid_tool_calls", "tool_call_chunks", "last", "delta", "node", "extra"))
"""What a message in the protocol's form may have; clients may write more."""


class Inexact(Exception):
    """A message that plain JSON would not give back as it is: one of another class, or with other than plain data."""


def to_protocol(message: BaseMessage) -> dict[str, Any]:
    """A message as plain data.

    Raises:
        Inexact: `from_protocol` would not give an equal message.
    """
    told = shown(message)
    if type(message) not in _ROLES or not is_exact(told):
        raise Inexact
    return told


def shown(message: BaseMessage) -> dict[str, Any]:
    """The same for any message, whatever it holds."""
    kind = type(message)
    role = _ROLES.get(kind)
    if role is None:
        role = next((_ROLES[base] for base in kind.__mro__ if base in _ROLES), str(message.type))
    told: dict[str, Any] = {"role": role or str(getattr(message, "role", "")), "content": message.content}
    fields = message.__dict__
    if not role:
        told["type"] = "chat"
    if isinstance(message, BaseMessageChunk):
        told["chunk"] = True
    if message.id is not None:
        told["id"] = message.id
    if message.name is not None:
        told["name"] = message.name
    for field in _AI:
        if fields.get(field):
            told[field] = fields[field]
    if fields.get("usage_metadata") is not None:
        told["usage"] = fields["usage_metadata"]
    if fields.get("tool_call_chunks"):
        told["tool_call_chunks"] = fields["tool_call_chunks"]
    if fields.get("chunk_position") is not None:
        told["last"] = fields["chunk_position"] == "last"
    if "tool_call_id" in fields:
        told["tool_call_id"] = fields["tool_call_id"]
        if fields["status"] != "success":
            told["status"] = fields["status"]
        if fields["artifact"] is not None:
            told["artifact"] = fields["artifact"]
    metadata = _metadata(message)
    if metadata:
        told["metadata"] = metadata
    if message.model_extra:
        told["extra"] = dict(message.model_extra)
    return told


def _metadata(message: BaseMessage) -> dict[str, Any]:
    given, response = message.additional_kwargs, message.response_metadata
    metadata: dict[str, Any] = {}
    own: Any = given.get("metadata")
    if type(own) is dict and own and not cast("dict[str, Any]", own).keys() & set(_LIFTED):
        # What a client gave as the message's metadata, which LangChain has no place for.
        metadata = dict(cast("dict[str, Any]", own))
        given = {key: value for key, value in given.items() if key != "metadata"}
    if given:
        metadata["additional_kwargs"] = given
    if response:
        metadata["response_metadata"] = response
    return metadata


def piece(chunk: BaseMessageChunk) -> dict[str, Any]:
    """A part of a message that is being written: `delta` marks it, `last` the last one. What the parts before it held
    is not repeated."""
    told = shown(chunk)
    told.pop("chunk", None)
    told.pop("tool_calls", None)  # what LangChain makes of the parts so far; the parts are in tool_call_chunks
    told.pop("invalid_tool_calls", None)
    told["delta"] = True
    return told


def from_protocol(told: dict[str, Any]) -> BaseMessage:
    """The message that plain data describe: what `to_protocol` gave, or what a client wrote.

    Raises:
        ValueError: it is no message.
    """
    role = told.get("role", told.get("type"))
    if not isinstance(role, str):
        raise ValueError(f"a message must have a role, this has none: {sorted(told)}")
    chat = told.get("type") == "chat" or role not in _CLASSES
    kinds = (ChatMessage, ChatMessageChunk) if chat else _CLASSES[role]
    kind = kinds[1] if told.get("chunk") is True else kinds[0]
    fields: dict[str, Any] = {"content": told.get("content", "")}
    if fields["content"] is None:
        fields["content"] = ""
    if chat:
        fields["role"] = role
    _take(told, fields, kind)
    return kind(**fields)


def _take(told: dict[str, Any], fields: dict[str, Any], kind: type[BaseMessage]) -> None:
    for name in ("id", "name"):
        if told.get(name) is not None:
            fields[name] = told[name]
    given: dict[str, Any] = {}
    metadata: Any = told.get("metadata")
    if isinstance(metadata, dict):
        held = cast("dict[str, Any]", metadata)
        own = {key: value for key, value in held.items() if key not in _LIFTED}
        given = {**(held.get("additional_kwargs") or {}), **({"metadata": own} if own else {})}
        if held.get("response_metadata"):
            fields["response_metadata"] = held["response_metadata"]
    if told.keys() - _KNOWN:
        # What a client wrote beside: it is given back where LangChain's own models would keep it.
        given.update({key: value for key, value in told.items() if key not in _KNOWN})
    if given:
        fields["additional_kwargs"] = given
    if issubclass(kind, AIMessage):
        calls = told.get("tool_calls")
        if calls:
            fields["tool_calls"] = [_tool_call(call) for call in calls]
        for name in ("invalid_tool_calls", "tool_call_chunks"):
            if told.get(name):
                fields[name] = told[name]
        if told.get("usage") is not None:
            fields["usage_metadata"] = told["usage"]
        if kind is AIMessageChunk and told.get("last") is True:
            fields["chunk_position"] = "last"
    elif issubclass(kind, ToolMessage):
        fields["tool_call_id"] = told.get("tool_call_id", "")
        for name in ("status", "artifact"):
            if told.get(name) is not None:
                fields[name] = told[name]
    fields.update(told.get("extra") or {})


def _tool_call(call: Any) -> Any:
    """A tool call in LangChain's form; OpenAI's has the arguments as text below `function`."""
    if not isinstance(call, dict) or "function" not in call:
        return cast(Any, call)
    asked = cast("dict[str, Any]", call)
    function = cast("dict[str, Any]", asked["function"])
    arguments: Any = function.get("arguments") or "{}"
    try:
        read = msgspec.json.decode(arguments) if isinstance(arguments, str) else arguments
    except msgspec.DecodeError:
        read = {"arguments": arguments}
    return {"name": function.get("name", ""), "args": read, "id": asked.get("id"), "type": "tool_call"}
