"""Values that plain JSON cannot give back: LangGraph's msgpack, with a list of the classes that may be made of it.

Reading makes objects of listed classes and of nothing else. What a row says of another class is read as plain data, and
what is no msgpack is an error: nothing is imported for it, nothing of it is called.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Collection
from typing import Any, cast

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from runyard.errors import StorageError
from runyard.runtime.langgraph.types import Type, Types
from runyard.runtime.signals import NotSerialisable
from runyard.telemetry import say

_MADE = {0: "one", 1: "positional", 2: "named", 3: "method", 4: "model", 5: "model", 6: "array", 7: "snapshot"}
"""LangGraph's codes of extension types; the kinds of what they hold."""
_MESSAGES = "langchain_core.messages."

_SAFE: frozenset[Type] = frozenset(
    [("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")]
    + [("ipaddress", f"IPv{v}{kind}") for v in (4, 6) for kind in ("Address", "Interface", "Network")]
    + [(module, name) for module in ("pathlib", "pathlib._local") for name in ("Path", "PosixPath", "WindowsPath")]
    + [("builtins", "set"), ("builtins", "frozenset"), ("collections", "deque")]
    + [("uuid", "UUID"), ("decimal", "Decimal"), ("zoneinfo", "ZoneInfo"), ("re", "compile")]
    + [
        (_MESSAGES + module, f"{kind}Message{chunk}")
        for module, kind in [
            ("human", "Human"),
            ("ai", "AI"),
            ("system", "System"),
            ("chat", "Chat"),
            ("tool", "Tool"),
            ("function", "Function"),
        ]
        for chunk in ("", "Chunk")
    ]
    + [(_MESSAGES + "modifier", "RemoveMessage"), ("langchain_core.documents.base", "Document")]
    + [("langgraph.types", name) for name in ("Send", "Interrupt", "Command", "Overwrite", "TimeoutPolicy")]
    + [("langgraph.store.base", "Item")]
)
_FILE = re.compile("^runyard_agents_[0-9a-f]{10}_")
"""How the module of a file begins that a target names: with a digest of its path."""
_METHODS = frozenset({("datetime", "datetime", "fromisoformat")})


class CorruptCheckpoint(StorageError):
    """What is stored of a graph's state cannot be read, or names what may not be made of it."""

    code = "corrupt_checkpoint"


class Typed:
    """Writes and reads values of the listed classes."""

    def __init__(self, types: Types) -> None:
        self._allowed = types.also(_SAFE)
        self._writer = JsonPlusSerializer(pickle_fallback=False)
        self._told: set[Type] = set()

    def with_types(self, types: Collection[Type]) -> Typed:
        """The same for more classes."""
        return Typed(self._allowed.also(types))

    def write(self, value: Any, place: str) -> bytes:
        """The value in bytes.

        Raises:
            NotSerialisable: msgpack has no form for it; `place` says where it is.
        """
        try:
            kind, body = self._writer.dumps_typed(value)
        except Exception as error:  # objects of users take part in it
            raise NotSerialisable(f"{place}: {type(error).__name__}: {error}") from None
        if kind == "msgpack":
            self._look_after(body, place)
        return kind.encode() + b"\0" + body

    def _look_after(self, body: bytes, place: str) -> None:
        """Tells, once, of each class whose objects will be read as plain data."""

        def look(code: int, data: bytes) -> None:
            held: Any = ormsgpack.unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
            if _MADE.get(code) in ("one", "positional", "named", "model"):
                kind: Type = held[0], held[1]
                if kind not in self._allowed and kind not in self._told:
                    self._told.add(kind)
                    say("graph keeps plain data", place=place, kind=".".join(kind))

        ormsgpack.unpackb(body, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)

    def read(self, text: bytes) -> Any:
        """The inverse of `write`; an object of a class that is not listed is read as the plain data that it was of.

        Raises:
            CorruptCheckpoint: it is damaged.
        """
        kind, separator, body = text.partition(b"\0")
        if not separator or kind not in (b"null", b"bytes", b"bytearray", b"msgpack"):
            raise CorruptCheckpoint(f"a stored value is of the kind {kind[:20]!r}, which is not read")
        if kind == b"msgpack":
            return _Reading(self._allowed).unpack(body)
        return None if kind == b"null" else body if kind == b"bytes" else bytearray(body)


class _Reading:
    """One value as it is read."""

    def __init__(self, allowed: Types) -> None:
        self._allowed = allowed
        self._refusal: CorruptCheckpoint | None = None

    def unpack(self, body: bytes) -> Any:
        try:
            return ormsgpack.unpackb(body, ext_hook=self._hook, option=ormsgpack.OPT_NON_STR_KEYS)
        except CorruptCheckpoint:
            raise
        except (Exception, RecursionError) as error:
            told = f"a stored value cannot be read: {type(error).__name__}: {error}"
            # The parser tells of an error of the hook only that there was one.
            raise self._refusal or CorruptCheckpoint(told) from None

    def _hook(self, code: int, data: bytes) -> Any:
        try:
            return self._make(code, data)
        except CorruptCheckpoint as error:
            self._refusal = error
            raise

    def _make(self, code: int, data: bytes) -> Any:
        kind = _MADE.get(code)
        held: Any = self.unpack(data)
        if kind == "snapshot":
            from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore

            return cast(Any, _DeltaSnapshot)(held)
        if kind == "array":
            return _array(held)
        if kind is None or not isinstance(held, list | tuple):
            raise CorruptCheckpoint(f"a stored value has the extension {code}, which is not read")
        parts = cast("list[Any]", held)
        if len(parts) < 3 or not isinstance(parts[0], str) or not isinstance(parts[1], str):
            raise CorruptCheckpoint("a stored object names no class")
        module, name, given = parts[0], parts[1], parts[2]
        found = self._class(module, name)
        if found is None:
            return given
        if kind == "method":
            if len(parts) < 4 or (module, name, parts[3]) not in _METHODS:
                return given
            return getattr(found, parts[3])(given)
        return _made(found, kind, given)

    def _class(self, module: str, name: str) -> Any:
        """A listed class; None where it is not listed, or not there. Its module is one that is loaded: reading imports
        nothing, but what is listed always."""
        if (module, name) not in self._allowed:
            module = self._moved(module, name)
        found: Any = sys.modules.get(module)
        if found is None and (module, name) in _SAFE:
            found = __import__(module, fromlist=[name])
        return getattr(found, name, None)

    def _moved(self, module: str, name: str) -> str:
        """The module of a listed class whose file was in another folder when the object was stored; empty for none."""
        stem = _FILE.sub("", module)
        found = [known for known, held in self._allowed.named if held == name and _FILE.sub("", known) == stem != known]
        return found[0] if len(found) == 1 else ""


def _made(kind: Any, how: str, given: Any) -> Any:
    if how == "one":
        return kind(given)
    if how == "positional":
        arguments = list(given)
        if kind.__name__ == "Send" and len(arguments) == 3:
            return kind(*arguments[:2], timeout=arguments[2])
        return kind(*arguments)
    fields = {str(name): value for name, value in dict(given).items()}
    if how == "model":
        try:
            return kind(**fields)
        except Exception:  # it was valid as the code then was, or was never validated
            return (kind.model_construct if hasattr(kind, "model_construct") else kind.construct)(**fields)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, fields)
    return kind(**fields)


def _dataclass(kind: Any, fields: dict[str, Any]) -> Any:
    given = {field.name for field in dataclasses.fields(kind) if field.init}
    made = kind(**{name: value for name, value in fields.items() if name in given})
    for name in fields.keys() - given:
        object.__setattr__(made, name, fields[name])
    return made


def _array(held: Any) -> Any:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None:
        raise CorruptCheckpoint("a stored value is an array, and numpy is not loaded")
    kind, shape, order, body = held
    if "O" in kind:
        raise CorruptCheckpoint("a stored array holds objects, which are not read")
    return numpy.frombuffer(body, dtype=numpy.dtype(kind)).reshape(shape, order=order)
