"""What people see of any Python value: something that JSON has, as near to the value as may be."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import os
import sys
import uuid
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, cast

import msgspec
from langchain_core.messages import BaseMessage
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

from runyard.runtime.langgraph.exact import is_plain
from runyard.runtime.langgraph.messages import form_of

MAX_DEPTH = 60
"""Levels that are shown; what is deeper, or holds itself, is shown as a text."""
MAX_PARTS = 200_000
"""Parts of one value that are shown: a list that holds another many times over is small in memory only."""
MAX_TEXT = 1000
"""Characters of the text that stands for what has no other form."""

_BY_MSGSPEC = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    decimal.Decimal,
    bytes,
    bytearray,
    memoryview,
)


def project(value: Any) -> Any:
    """Plain data (what `json` can write) that shows a value. Never raises: what cannot be looked into is a text.

    Messages have the protocol's form, objects are mappings of their fields, bytes are base64.
    """
    return value if is_plain(value) else _Projection().of(value, MAX_DEPTH)


def as_text(value: str) -> str:
    """Text without what JSON or a database cannot hold: NUL and lone surrogates are shown as U+FFFD and `?`."""
    if type(value) is str and value.isascii() and "\0" not in value:
        return value
    return str.__str__(value).encode("utf-8", "replace").decode().replace("\0", "\ufffd")


class _Projection:
    """The projection of one value, with what is left of its bounds."""

    def __init__(self) -> None:
        self._left = MAX_PARTS
        self._open: set[int] = set()
        """The containers that are being looked into: a value that is met again inside itself is a cycle."""

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if value is None or value is True or value is False:
            return value
        kind = cast(Any, type(value))
        if kind is str:
            return as_text(value)
        if kind is int and -(2**63) <= value < 2**64:
            return value
        try:
            if isinstance(value, enum.Enum):
                return self.of(value.value, depth - 1) if depth else str(value)
            if isinstance(value, str):
                return as_text(value)
            if isinstance(value, int):
                return int(value) if -(2**63) <= value < 2**64 else as_text(str(int(value)))
            if isinstance(value, float):
                return float(value) if math.isfinite(value) else str(float(value))
            if isinstance(value, _BY_MSGSPEC):
                return msgspec.to_builtins(value)
            if depth <= 0 or self._left <= 0 or id(value) in self._open:
                return f"<{type(value).__qualname__}>"
            self._open.add(id(value))
            try:
                return self._inside(value, depth - 1)
            finally:
                self._open.discard(id(value))
        except Exception:  # code of users' classes: a value that cannot be shown is no reason to fail
            return _text(value)

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, BaseMessage):
            return self._mapping(form_of(value), depth)
        fields = _fields(value)
        if fields is not None:
            return self._mapping(fields, depth)
        if isinstance(value, BaseModel) and "root" in type(value).model_fields:
            return self.of(value.root, depth)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]
        if isinstance(value, Mapping):
            return self._mapping(cast("Mapping[Any, Any]", value), depth)
        if isinstance(value, AbstractSet):
            shown = self._sequence(cast("Iterable[Any]", value), depth)
            # The order of a set changes from process to process.
            return sorted(shown, key=lambda item: msgspec.json.encode(item))
        numpy: Any = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
            return self.of(cast(Any, value).tolist(), depth)
        if isinstance(value, list | tuple) or type(value).__name__ == "deque":
            return self._sequence(cast("Iterable[Any]", value), depth)
        return _text(value)

    def _sequence(self, value: Iterable[Any], depth: int) -> list[Any]:
        return [self.of(item, depth) for item in value]

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, item in value.items():
            name = as_text(key) if isinstance(key, str) else self._name(key, depth)
            if name in shown:
                name = f"{name} ({type(key).__qualname__})"
            shown[name] = self.of(item, depth)
        return shown

    def _name(self, key: Any, depth: int) -> str:
        shown = self.of(key, depth)
        return shown if isinstance(shown, str) else as_text(msgspec.json.encode(shown).decode())


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """The fields of an object, by name; None for what is no record."""
    if isinstance(value, Interrupt):
        return {"id": value.id, "value": value.value}
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if isinstance(value, Command):
        command = cast("Command[Any]", value)
        fields = {name: getattr(command, name) for name in ("graph", "update", "resume", "goto")}
        return {name: field for name, field in fields.items() if field is not None and field != ()}
    if isinstance(value, BaseModel):
        declared = type(value).model_fields
        if "root" in declared:
            return None
        own = {name: item for name, item in vars(value).items() if name not in declared or not declared[name].exclude}
        return {**own, **(value.__pydantic_extra__ or {})}
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(cast(Any, value), "_asdict"):
        return cast(Any, value)._asdict()
    return None


def _text(value: Any) -> str:
    """The text for what has no other form."""
    if isinstance(value, BaseException):
        name = type(value).__qualname__
        told = _safely(str, value)
        return as_text(f"{name}: {told}" if told else name)[:MAX_TEXT]
    if isinstance(value, os.PathLike):
        return as_text(_safely(str, value))[:MAX_TEXT]
    return as_text(_safely(repr, value))[:MAX_TEXT]


def _safely(tell: Any, value: Any) -> str:
    try:
        return str(tell(value))
    except Exception:  # code of users' classes
        return f"<{type(value).__qualname__}>"
