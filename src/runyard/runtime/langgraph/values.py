"""What people see of the values of a graph: plain data of any Python object."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import math
import uuid
from collections.abc import Mapping, Set
from pathlib import PurePath
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel

from runyard.runtime.describe import fitting
from runyard.runtime.describe import shown as in_words
from runyard.runtime.langgraph.exact import DEPTH, is_exact
from runyard.runtime.langgraph.messages import shown

_INT = 2**63


def project(value: Any) -> Any:
    """Plain data that show a value. What has no other form is shown as text; nothing raises, nothing is without end."""
    if is_exact(value):
        return value
    try:
        return _project(value, 0)
    except Exception:  # objects of users may do anything when they are looked at
        return in_words(value)


def _project(value: Any, depth: int) -> Any:
    kind = cast(Any, type(cast(object, value)))
    if value is None or kind is bool:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, enum.Enum):
        return _project(value.value, depth + 1)
    if isinstance(value, int):
        return int(value) if -_INT <= value < _INT else str(int(value))
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if depth >= DEPTH:
        return in_words(value)
    return _container(value, depth + 1)


def _container(value: Any, depth: int) -> Any:
    if isinstance(value, BaseMessage):
        return _mapping(shown(value), depth)
    if isinstance(value, Mapping):
        return _mapping(cast("Mapping[Any, Any]", value), depth)
    if isinstance(value, tuple) and hasattr(cast(Any, value), "_asdict"):
        return _mapping(cast(Any, value)._asdict(), depth)
    if isinstance(value, list | tuple | Set):
        return [_project(item, depth) for item in cast("list[Any]", value)]
    if isinstance(value, Send):
        return {"node": value.node, "input": _project(value.arg, depth)}
    if isinstance(value, Interrupt):
        return {"id": value.id, "value": _project(value.value, depth)}
    if isinstance(value, Command):
        fields = ("update", "resume", "goto", "graph")
        told = {field: getattr(cast(Any, value), field) for field in fields}
        return {field: _project(item, depth) for field, item in told.items() if item not in (None, ())}
    if isinstance(value, BaseModel):
        return _mapping({name: getattr(value, name) for name in type(value).model_fields}, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _mapping({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, depth)
    fields: Any = getattr(cast(Any, value), "__struct_fields__", None)
    if fields is not None:
        return _mapping({name: getattr(value, name) for name in fields}, depth)
    return _scalar(value)


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {_key(key): _project(item, depth) for key, item in value.items()}


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(key)
    plain = _project(key, DEPTH)
    return plain if isinstance(plain, str) else str(plain)


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(cast(bytes, value)).decode()
    if isinstance(value, uuid.UUID | PurePath) or type(value).__module__ in ("decimal", "fractions", "ipaddress"):
        return str(value)
    if isinstance(value, BaseException):
        return fitting(f"{type(value).__name__}: {value}")
    return in_words(value)


def _text(text: str) -> str:
    return str.__str__(text).encode("utf-8", "backslashreplace").decode()
