"""LangChain's messages in the form of the Agent Protocol, and back, with nothing lost either way.

    {"role": "assistant", "content": "It rains.", "id": "m2", "tool_calls": [...], "usage": {...},
     "metadata": {"additional_kwargs": {...}, "response_metadata": {...}}}

`role` is `user`, `assistant`, `system`, `tool`, `function`, `remove`, or any other word for a message of a speaker of
that name (`"type": "chat"` says so where the name is one of these). `chunk` marks what LangChain holds as a piece of a
message. What is empty is left out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
from langchain_core import messages as lc
from langchain_core.messages import BaseMessage
from pydantic_core import PydanticUndefined

from runyard.runtime.langgraph.exact import is_plain, is_text

CHAT = "chat"
"""The kind of message whose speaker may have any name."""

_NAMES = {
    "user": ("user", "human"),
    "assistant": ("assistant", "ai"),
    "system": ("system", "developer"),
    "tool": ("tool",),
    "function": ("function",),
    "remove": ("remove",),
}
_ALIASES = {alias: role for role, aliases in _NAMES.items() for alias in aliases}
_DEVELOPER = "__openai_role__"
"""Where LangChain keeps that a system message was a developer's."""

_OWN_METADATA = frozenset({"additional_kwargs", "response_metadata", "extra"})
_COMMON = ("content", "additional_kwargs", "response_metadata", "type", "name", "id")
_CALLS = ("tool_calls", "invalid_tool_calls")
_set = object.__setattr__


class NotAMessage(ValueError):
    """What should be a message is none; its text names the field."""


class Shape:
    """How messages of one class look in either form."""

    def __init__(self, kind: type[BaseMessage], role: str) -> None:
        self.kind = kind
        self.role = role
        self.chunk = issubclass(kind, lc.BaseMessageChunk)
        self.is_ai = issubclass(kind, lc.AIMessage)
        self.is_tool = issubclass(kind, lc.ToolMessage)
        self.fields = frozenset(kind.model_fields)
        self.blank: dict[str, Any] = {
            name: None if field.default is PydanticUndefined else field.default
            for name, field in kind.model_fields.items()
        }
        named = {*_COMMON, "role", "usage_metadata", "tool_call_id", "artifact", "status", "chunk_position"}
        self.others = tuple(self.fields - named - {*_CALLS, "tool_call_chunks"})
        """Fields that this version of LangChain has and the form has no word for."""
        known = {"role", "content", "id", "name", "metadata", "chunk", "type"}
        if self.is_ai:
            known |= {*_CALLS, "usage"}
        if self.is_ai and self.chunk:
            known |= {"tool_call_chunks", "chunk_position"}
        if self.is_tool:
            known |= {"tool_call_id", "artifact", "status"}
        self.known = frozenset(known)


def _shapes() -> dict[type[BaseMessage], Shape]:
    kinds: list[tuple[type[BaseMessage], str]] = [
        (lc.HumanMessage, "user"),
        (lc.HumanMessageChunk, "user"),
        (lc.AIMessage, "assistant"),
        (lc.AIMessageChunk, "assistant"),
        (lc.SystemMessage, "system"),
        (lc.SystemMessageChunk, "system"),
        (lc.ToolMessage, "tool"),
        (lc.ToolMessageChunk, "tool"),
        (lc.FunctionMessage, "function"),
        (lc.FunctionMessageChunk, "function"),
        (lc.ChatMessage, CHAT),
        (lc.ChatMessageChunk, CHAT),
        (lc.RemoveMessage, "remove"),
    ]
    return {kind: Shape(kind, role) for kind, role in kinds}


_SHAPES = _shapes()
_BY_ROLE = {(shape.role, shape.chunk): shape for shape in _SHAPES.values()}


def to_protocol(message: BaseMessage) -> dict[str, Any]:
    """A message as people see it; what JSON cannot hold in it is shown as near as may be (see `values.project`)."""
    form = exactly(message)
    return _projected(form_of(message)) if form is None else form


def exactly(message: Any) -> dict[str, Any] | None:
    """A message in a form that `from_protocol` makes an equal message of; None where there is none."""
    shape = _SHAPES.get(cast(Any, type(message)))
    if shape is None or not _is_regular(shape, message.__dict__):
        return None
    form = _form(shape, message.__dict__, message.__pydantic_extra__)
    return form if is_plain(form) else None


def _is_regular(shape: Shape, fields: dict[str, Any]) -> bool:
    """Whether the fields are of the kinds that the class asks for: it looks at them when it makes a message, not when
    one is set later."""
    if len(fields) != len(shape.fields) or fields["type"] != shape.blank["type"]:
        return False
    content = fields["content"]
    if type(content) is list:
        if any(type(block) is not str and type(block) is not dict for block in cast("list[Any]", content)):
            return False
    elif type(content) is not str:
        return False
    if type(fields["additional_kwargs"]) is not dict or type(fields["response_metadata"]) is not dict:
        return False
    if not (_is_optional(fields["id"], str) and _is_optional(fields["name"], str)):
        return False
    match shape.role:
        case "assistant":
            calls = fields["tool_calls"]
            return (
                type(calls) is list
                and all(map(_is_call, cast("list[Any]", calls)))
                and _are_records(fields["invalid_tool_calls"])
                and _is_optional(fields["usage_metadata"], dict)
                and _are_records(fields.get("tool_call_chunks", []))
                and fields.get("chunk_position") in (None, "last")
            )
        case "tool":
            return fields["status"] in ("success", "error") and type(fields["tool_call_id"]) is str
        case "function":
            return fields["name"] is not None
        case "remove":
            return fields["id"] is not None
        case "chat":
            return type(fields["role"]) is str and fields["role"] != ""
        case _:
            return True


def _is_optional(value: Any, kind: type) -> bool:
    return value is None or type(value) is kind


def _are_records(value: Any) -> bool:
    return type(value) is list and all(type(record) is dict for record in cast("list[Any]", value))


def form_of(message: BaseMessage) -> dict[str, Any]:
    """A message in the form of the protocol, with the values that it holds as they are."""
    shape = _SHAPES.get(type(message))
    if shape is not None:
        return _form(shape, {**shape.blank, **message.__dict__}, message.__pydantic_extra__)
    near = next((shape for kind, shape in _SHAPES.items() if isinstance(message, kind)), None)
    if near is not None:
        return _form(near, {**near.blank, **message.__dict__}, None)
    return {"role": message.type, "content": message.content, **({} if message.id is None else {"id": message.id})}


def piece(chunk: BaseMessage) -> dict[str, Any]:
    """A piece of a message that is being written: only what it adds. `last` is true for the last one."""
    shape = _SHAPES.get(type(chunk))
    if shape is None:
        return _projected({**form_of(chunk), "delta": True})
    fields = chunk.__dict__
    if _is_text_alone(shape, fields) and not chunk.__pydantic_extra__:
        # Most are: a model's answer is thousands of them.
        return {"role": shape.role, "content": fields["content"], "id": fields["id"], "delta": True}
    form = form_of(chunk)
    for name in ("chunk", *_CALLS):
        form.pop(name, None)
    if form.pop("chunk_position", None) == "last":
        form["last"] = True
    form["delta"] = True
    content = form["content"]
    if is_text(content) and len(form) <= 4 and is_plain(form):
        return form
    return _projected(form)


def _is_text_alone(shape: Shape, fields: Mapping[str, Any]) -> bool:
    return (
        shape.is_ai
        and len(fields) == len(shape.fields)
        and is_text(fields["content"])
        and is_text(fields["id"])
        and fields["name"] is None
        and not fields["additional_kwargs"]
        and not fields["response_metadata"]
        and not fields["tool_call_chunks"]
        and fields["usage_metadata"] is None
        and fields.get("chunk_position") is None
        and not shape.others
    )


def _projected(form: dict[str, Any]) -> dict[str, Any]:
    # Values hold messages and messages hold values; this way round is the rare one.
    from runyard.runtime.langgraph.values import project

    return project(form)


def _form(shape: Shape, fields: Mapping[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    role = shape.role
    form: dict[str, Any] = {"role": role, "content": fields["content"]}
    if role == CHAT:
        form["role"] = role = fields["role"]
        if role in _ALIASES:
            form["type"] = CHAT
    if fields["id"] is not None:
        form["id"] = fields["id"]
    if fields["name"] is not None:
        form["name"] = fields["name"]
    if shape.is_ai:
        if fields["tool_calls"]:
            form["tool_calls"] = fields["tool_calls"]
        if fields["invalid_tool_calls"]:
            form["invalid_tool_calls"] = fields["invalid_tool_calls"]
        if fields["usage_metadata"] is not None:
            form["usage"] = fields["usage_metadata"]
        if shape.chunk:
            if fields["tool_call_chunks"]:
                form["tool_call_chunks"] = fields["tool_call_chunks"]
            if fields.get("chunk_position") is not None:
                form["chunk_position"] = fields["chunk_position"]
    elif shape.is_tool:
        form["tool_call_id"] = fields["tool_call_id"]
        form["status"] = fields["status"]
        if fields["artifact"] is not None:
            form["artifact"] = fields["artifact"]
    if shape.chunk:
        form["chunk"] = True
    if fields["additional_kwargs"] or fields["response_metadata"] or extra or shape.others:
        metadata = _metadata(shape, fields, extra or {})
        if metadata:
            form["metadata"] = metadata
    return form


def _metadata(shape: Shape, fields: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    kwargs: Any = fields["additional_kwargs"]
    if kwargs:
        theirs: Any = cast("dict[str, Any]", kwargs).get("metadata") if type(kwargs) is dict else None
        if type(theirs) is dict and theirs and _OWN_METADATA.isdisjoint(cast("dict[str, Any]", theirs)):
            metadata.update(cast("dict[str, Any]", theirs))
            kwargs = {key: value for key, value in cast("dict[str, Any]", kwargs).items() if key != "metadata"}
        if kwargs:
            metadata["additional_kwargs"] = kwargs
    if fields["response_metadata"]:
        metadata["response_metadata"] = fields["response_metadata"]
    others = {name: fields[name] for name in shape.others if fields[name] != shape.blank[name]}
    if others or extra:
        metadata["extra"] = {**others, **extra}
    return metadata


def from_protocol(data: Mapping[str, Any]) -> BaseMessage:
    """The message that a form says, as `to_protocol` or a client writes it: with LangChain's words for roles, `content`
    null, tool calls as OpenAI writes them. Keys that the form does not know are kept in `additional_kwargs`.

    Raises:
        NotAMessage: naming the field.
    """
    role = data.get("role", data.get("type"))
    if type(role) is not str or not role:
        raise NotAMessage("role is missing: must be a name such as user or assistant")
    plain = data.get("type") != CHAT or "role" not in data
    known = _ALIASES.get(role) if plain else None
    shape = _BY_ROLE.get((known or CHAT, data.get("chunk") is True))
    if shape is None:
        raise NotAMessage(f"chunk is true: there are no pieces of messages of the role {known}")
    content: Any = data.get("content")
    if type(content) is list:
        for index, block in enumerate(cast("list[Any]", content)):
            if type(block) is not dict and type(block) is not str:
                raise NotAMessage(f"content[{index}] must be an object or a text")
    elif content is None:
        content = ""
    elif type(content) is not str:
        raise NotAMessage("content must be a text or a list of blocks")
    fields = shape.blank.copy()
    fields["content"] = content
    fields["additional_kwargs"] = kwargs = cast("dict[str, Any]", {})
    fields["response_metadata"] = {}
    extra: dict[str, Any] = {}
    if "name" in data:
        fields["name"] = _text_or_none(data, "name")
    if "id" in data:
        fields["id"] = _text_or_none(data, "id")
    if "metadata" in data:
        extra = _read_metadata(shape, data["metadata"], fields)
        kwargs = fields["additional_kwargs"]
    if not data.keys() <= shape.known:
        kwargs.update({key: value for key, value in data.items() if key not in shape.known})
    if role == "developer" and known:
        kwargs[_DEVELOPER] = role
    _FILL[shape.role](shape, data, fields, role)
    return _constructed(shape, fields, extra)


def _constructed(shape: Shape, fields: dict[str, Any], extra: dict[str, Any]) -> BaseMessage:
    # As the class itself would, without looking at each value again: it is a third of the cost.
    message = shape.kind.__new__(shape.kind)
    _set(message, "__dict__", fields)
    _set(message, "__pydantic_fields_set__", set(shape.fields))
    _set(message, "__pydantic_extra__", extra)
    _set(message, "__pydantic_private__", None)
    return message


def _read_metadata(shape: Shape, metadata: Any, fields: dict[str, Any]) -> dict[str, Any]:
    if metadata is None:
        return {}
    if type(metadata) is not dict:
        raise NotAMessage("metadata must be an object")
    given = cast("dict[str, Any]", metadata)
    for name in _OWN_METADATA:
        if type(given.get(name, {})) is not dict:
            raise NotAMessage(f"metadata.{name} must be an object")
    fields["additional_kwargs"] = {**given.get("additional_kwargs", {})}
    fields["response_metadata"] = given.get("response_metadata", {})
    theirs = {key: value for key, value in given.items() if key not in _OWN_METADATA}
    if theirs:
        fields["additional_kwargs"]["metadata"] = theirs
    extra = cast("dict[str, Any]", given.get("extra", {}))
    for name in shape.others:
        if name in extra:
            fields[name] = extra[name]
    return {key: value for key, value in extra.items() if key not in shape.fields}


def _fill_plain(shape: Shape, data: Mapping[str, Any], fields: dict[str, Any], role: str) -> None:
    del shape, data, fields, role


def _fill_chat(shape: Shape, data: Mapping[str, Any], fields: dict[str, Any], role: str) -> None:
    del shape, data
    fields["role"] = role


def _fill_ai(shape: Shape, data: Mapping[str, Any], fields: dict[str, Any], role: str) -> None:
    del role
    calls, invalid = _calls(data.get("tool_calls"))
    fields["tool_calls"] = calls
    fields["invalid_tool_calls"] = [*_records(data, "invalid_tool_calls"), *invalid]
    usage = data.get("usage")
    if usage is not None and type(usage) is not dict:
        raise NotAMessage("usage must be an object")
    fields["usage_metadata"] = usage
    if shape.chunk:
        fields["tool_call_chunks"] = _records(data, "tool_call_chunks")
        position = data.get("chunk_position")
        if position not in (None, "last"):
            raise NotAMessage("chunk_position must be last or absent")
        if "chunk_position" in shape.fields:
            fields["chunk_position"] = position


def _fill_tool(shape: Shape, data: Mapping[str, Any], fields: dict[str, Any], role: str) -> None:
    del shape, role
    fields["tool_call_id"] = _text_or_none(data, "tool_call_id") or ""
    status = data.get("status", "success")
    if status not in ("success", "error"):
        raise NotAMessage("status must be success or error")
    fields["status"] = status
    fields["artifact"] = data.get("artifact")


def _fill_function(shape: Shape, data: Mapping[str, Any], fields: dict[str, Any], role: str) -> None:
    del shape, role
    if type(data.get("name")) is not str:
        raise NotAMessage("name is missing: a function's message names the function")
    del fields


def _fill_remove(shape: Shape, data: Mapping[str, Any], fields: dict[str, Any], role: str) -> None:
    del shape, data, role
    if fields["id"] is None:
        raise NotAMessage("id is missing: must be that of the message to remove")


_FILL: Mapping[str, Callable[[Shape, Mapping[str, Any], dict[str, Any], str], None]] = {
    "user": _fill_plain,
    "system": _fill_plain,
    "assistant": _fill_ai,
    "tool": _fill_tool,
    "function": _fill_function,
    "remove": _fill_remove,
    CHAT: _fill_chat,
}


def _text_or_none(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    if value is None or type(value) is str:
        return value
    if type(value) in (int, float):
        return str(value)
    raise NotAMessage(f"{name} must be a text")


def _records(data: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    records = data.get(name)
    if records is None:
        return []
    if not _are_records(records):
        raise NotAMessage(f"{name} must be a list of objects")
    return cast("list[dict[str, Any]]", records)


def _is_call(call: Any) -> bool:
    if type(call) is not dict:
        return False
    given = cast("dict[str, Any]", call)
    return (
        type(given.get("name")) is str
        and type(given.get("args")) is dict
        and "id" in given
        and given.get("type") == "tool_call"
    )


def _calls(given: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    if given is None:
        return [], []
    if type(given) is not list:
        raise NotAMessage("tool_calls must be a list of calls")
    calls = cast("list[Any]", given)
    if all(map(_is_call, calls)):
        return calls, []
    good: list[dict[str, Any]] = []
    invalid: list[dict[str, Any]] = []
    for index, call in enumerate(calls):
        if type(call) is not dict:
            raise NotAMessage(f"tool_calls[{index}] must be an object")
        _sort(cast("dict[str, Any]", call), index, good, invalid)
    return good, invalid


def _sort(call: dict[str, Any], index: int, good: list[dict[str, Any]], invalid: list[dict[str, Any]]) -> None:
    function = call.get("function")
    named = cast("dict[str, Any]", function) if type(function) is dict else call
    name = named.get("name")
    args: Any = named.get("arguments", named.get("args", {}))
    if type(name) is not str:
        raise NotAMessage(f"tool_calls[{index}].name must be a text")
    id = _text_or_none(call, "id")
    if type(args) is str:
        try:
            args = msgspec.json.decode(args) if args else {}
        except ValueError:
            args = cast(Any, copy.copy(named.get("arguments", named.get("args"))))
    if type(args) is dict:
        good.append({"name": name, "args": args, "id": id, "type": "tool_call"})
    else:
        text = args if type(args) is str else msgspec.json.encode(args).decode()
        invalid.append({"name": name, "args": text, "id": id, "error": None, "type": "invalid_tool_call"})
