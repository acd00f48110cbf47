"""Values that JSON cannot give back, as bytes: msgpack that LangGraph's serializer writes and a reader of ours reads.

LangGraph's reader imports the module that a row names, calls what it names there, and guesses when that fails. This one
makes objects of the classes that it was given and of those that any graph may hold; it imports nothing, and it calls
nothing else. What is of another class is its plain data, as in LangGraph's own strict form.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import functools
import ipaddress
import pathlib
import re
import sys
import uuid
import zoneinfo
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import ormsgpack
from langchain_core import messages as lc
from langchain_core.documents import Document
from langgraph import types as lg
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import GetOp, Item
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from runyard.errors import CorruptCheckpoint
from runyard.runtime.describe import described
from runyard.runtime.langgraph.types import Types
from runyard.runtime.signals import NotSerialisable
from runyard.telemetry import say

_ONE, _POSITIONAL, _NAMED, _METHOD, _PYDANTIC_1, _PYDANTIC_2, _NUMPY, _SNAPSHOT = range(8)
"""The kinds of objects in LangGraph's msgpack."""
_OBJECTS = frozenset({_ONE, _POSITIONAL, _NAMED, _METHOD, _PYDANTIC_1, _PYDANTIC_2})
MAX_DEPTH = 100
"""How many objects may be in each other: each takes its share of the stack when it is read."""
_TAGS: Mapping[str, bytes] = {"msgpack": b"m", "null": b"n", "bytes": b"b", "bytearray": b"a"}

_DTYPE = re.compile(r"[<>|=]?[?bBhHiIlLqQefdgFDGUSV]\d*|[<>|=]?[biufcMmUSV]\d{1,4}(\[\d*[A-Za-z]{1,2}\])?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")


def _zone(key: Any) -> zoneinfo.ZoneInfo:
    """A time zone of this machine's tables; `ZoneInfo` itself would look for a package of tables and import it."""
    if type(key) is not str or not _ZONE.fullmatch(key):
        raise ValueError("not a time zone")
    if not any((pathlib.Path(folder) / key).is_file() for folder in zoneinfo.TZPATH) and "tzdata" not in sys.modules:
        raise ValueError("a time zone that is not known here")
    return zoneinfo.ZoneInfo(key)


def _path(*parts: Any) -> pathlib.Path:
    return pathlib.Path(*parts)


def _pattern(pattern: Any, flags: int = 0) -> re.Pattern[Any]:
    return re.compile(pattern, flags & ~re.DEBUG)  # which would print


def _send(node: Any, arg: Any, timeout: Any = None) -> lg.Send:
    return lg.Send(node, arg) if timeout is None else cast(Any, lg.Send)(node, arg, timeout=timeout)


def _same(value: Any) -> Any:
    return value


def _as_it_was(kind: type[BaseModel]) -> Callable[..., BaseModel]:
    """Makes an object with the fields that one had. Its class is not asked again: it would derive what somebody has
    taken away since, and refuse what somebody has set."""
    declared = kind.model_fields
    open_ = kind.model_config.get("extra") == "allow"
    defaults: dict[str, Callable[[], Any]] = {}
    for name, field in declared.items():
        if field.default_factory is not None:
            defaults[name] = cast(Any, field.default_factory)
        elif field.default is not PydanticUndefined:
            defaults[name] = functools.partial(_same, field.default)

    def make(**given: Any) -> BaseModel:
        fields: dict[str, Any] = {}
        for name in declared:
            if name in given:
                fields[name] = given[name]
            elif name in defaults:
                fields[name] = defaults[name]()
        extra = {name: value for name, value in given.items() if name not in declared}
        # Not `model_construct`, which compiles the signatures of the factories each time.
        it = kind.__new__(kind)
        object.__setattr__(it, "__dict__", fields)
        object.__setattr__(it, "__pydantic_fields_set__", set(given))
        object.__setattr__(it, "__pydantic_extra__", extra if open_ else None)
        object.__setattr__(it, "__pydantic_private__", None)
        return it

    return make


def _safe() -> dict[tuple[str, str], Callable[..., Any]]:
    """What any graph may hold: values without behaviour of Python, LangChain and LangGraph."""
    found: dict[tuple[str, str], Callable[..., Any]] = {
        (kind.__module__, kind.__name__): kind
        for kind in (
            datetime.datetime,
            datetime.date,
            datetime.time,
            datetime.timedelta,
            datetime.timezone,
            uuid.UUID,
            decimal.Decimal,
            set,
            frozenset,
            deque,
            ipaddress.IPv4Address,
            ipaddress.IPv4Interface,
            ipaddress.IPv4Network,
            ipaddress.IPv6Address,
            ipaddress.IPv6Interface,
            ipaddress.IPv6Network,
            lg.Interrupt,
            lg.Command,
            lg.StateSnapshot,
            lg.PregelTask,
            Item,
            GetOp,
        )
    }
    for kind in (
        lc.HumanMessage,
        lc.HumanMessageChunk,
        lc.AIMessage,
        lc.AIMessageChunk,
        lc.SystemMessage,
        lc.SystemMessageChunk,
        lc.ChatMessage,
        lc.ChatMessageChunk,
        lc.ToolMessage,
        lc.ToolMessageChunk,
        lc.FunctionMessage,
        lc.FunctionMessageChunk,
        lc.RemoveMessage,
        lc.BaseMessage,
        lc.BaseMessageChunk,
        Document,
    ):
        found[kind.__module__, kind.__name__] = _as_it_was(kind)
    for name in ("Overwrite", "TimeoutPolicy"):
        kind = getattr(lg, name, None)
        if kind is not None:
            found[kind.__module__, name] = kind
    for module in ("pathlib", "pathlib._local"):
        found.update({(module, name): _path for name in ("Path", "PosixPath", "WindowsPath")})
    found["zoneinfo", "ZoneInfo"] = _zone
    found["re", "compile"] = _pattern
    found[lg.Send.__module__, "Send"] = _send
    return found


class Typed:
    """Writes and reads typed values for the graphs whose classes it was given."""

    def __init__(self, types: Types) -> None:
        """`types`: the classes that states may hold beside those of any graph."""
        self._makers: dict[tuple[str, str], Callable[..., Any]] = _safe()
        self._types = types
        self._told: set[tuple[str, str]] = set()
        self._serializer = JsonPlusSerializer()
        self._snapshot: Callable[[Any], Any] | None = None
        try:
            from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]

            self._snapshot = _DeltaSnapshot
        except ImportError:  # LangGraph has them since 1.2
            pass

    def dumps(self, value: Any, place: str) -> bytes:
        """The bytes of a value; `place` is its name in errors.

        Raises:
            NotSerialisable: it holds what LangGraph cannot store either.
        """
        try:
            kind, data = self._serializer.dumps_typed(value)
        except Exception as error:
            raise NotSerialisable(f"{place} cannot be stored: {described(error)}") from error
        if kind not in _TAGS:
            raise NotSerialisable(f"{place} cannot be stored: it would be written as {kind}")
        if kind == "msgpack":
            try:
                self._look_after(data, place)
            except Exception:
                told = f"{place} cannot be stored: it has more than {MAX_DEPTH} objects in each other"
                raise NotSerialisable(told) from None
        return _TAGS[kind] + data

    def _look_after(self, data: bytes, place: str, depth: int = 0) -> Any:
        """Tells, once, of each class whose objects will be read as plain data.

        Raises:
            ValueError: there are more objects in each other than are read.
        """
        if depth > MAX_DEPTH:
            raise ValueError

        def look(code: int, part: bytes) -> None:
            parts: Any = self._look_after(part, place, depth + 1)
            if code not in _OBJECTS:
                return
            kind = cast("tuple[str, str]", tuple(parts[:2]))
            if kind not in self._told and kind not in self._makers and self._types.find(*kind) is None:
                self._told.add(kind)
                say("graph keeps plain data", place=place, kind=".".join(kind))

        return ormsgpack.unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)

    def loads(self, data: bytes) -> Any:
        """The inverse of `dumps`.

        Raises:
            CorruptCheckpoint: the bytes are not what `dumps` wrote.
        """
        match data[:1]:
            case b"m":
                return self._unpacked(data[1:], 0)
            case b"n":
                return None
            case b"b":
                return data[1:]
            case b"a":
                return bytearray(data[1:])
            case _:
                raise CorruptCheckpoint("a stored value is of no known form")

    def _unpacked(self, data: bytes, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise CorruptCheckpoint(f"a stored value has more than {MAX_DEPTH} objects in each other")

        def made(code: int, part: bytes) -> Any:
            return self._made(code, self._unpacked(part, depth + 1))

        try:
            return ormsgpack.unpackb(data, ext_hook=made, option=ormsgpack.OPT_NON_STR_KEYS)
        except CorruptCheckpoint:
            raise
        except Exception as error:
            raise CorruptCheckpoint(f"a stored value cannot be read: {type(error).__name__}") from None

    def _made(self, code: int, parts: Any) -> Any:
        if code == _SNAPSHOT and self._snapshot is not None:
            return self._snapshot(parts)
        if code == _NUMPY:
            return _array(*parts)
        if code not in _OBJECTS:
            raise CorruptCheckpoint(f"a stored value is of the unknown kind {code}")
        module, name, payload, *method = parts
        if code == _METHOD:
            if method != ["fromisoformat"] or type(payload) is not str:
                raise CorruptCheckpoint("a stored value names a method that is not one of its kind's")
            plain = (module, name) != ("datetime", "datetime")
            return payload if plain else datetime.datetime.fromisoformat(payload)
        maker = self._makers.get((module, name))
        if maker is not None:
            return _called(maker, code, payload)
        kind = self._types.find(module, name)
        return payload if kind is None else _object(kind, code, payload)


def _called(maker: Callable[..., Any], code: int, payload: Any) -> Any:
    if code == _ONE:
        return maker(payload)
    if code == _POSITIONAL:
        return maker(*payload)
    return maker(**payload)


def _object(kind: type, code: int, payload: Any) -> Any:
    """An object of a class of the graph's, by its own constructor; its plain data where the class has changed so that
    it takes them no more."""
    try:
        if code in (_PYDANTIC_1, _PYDANTIC_2) and issubclass(kind, BaseModel):
            try:
                return kind(**payload)
            except Exception:  # what a validator refuses now it had let pass when it was written
                return kind.model_construct(**payload)
        if code == _NAMED and hasattr(kind, "__dataclass_fields__"):
            return _record(kind, payload)
        return _called(kind, code, payload)
    except Exception:
        return payload


def _record(kind: type, payload: Mapping[str, Any]) -> Any:
    later = {field.name for field in dataclasses.fields(cast(Any, kind)) if not field.init} & payload.keys()
    made = kind(**{name: value for name, value in payload.items() if name not in later})
    for name in later:
        object.__setattr__(made, name, payload[name])
    return made


def _array(dtype: Any, shape: Any, order: Any, buffer: Any) -> Any:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or type(dtype) is not str or not _DTYPE.fullmatch(dtype):
        raise CorruptCheckpoint("a stored array is of no known kind")
    return numpy.frombuffer(buffer, dtype=numpy.dtype(dtype)).reshape(shape, order=order)
