"""Agents that return nonsense, in every form that an agent has and through every call that takes a value.

Each does what its input says: `{"place": where the value goes, "value": which one}`, or `{"raises": which exception}`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import msgspec
import pydantic

from runyard import Context, SyncContext, agent

# values


class NoRepr:
    """Cannot be shown."""

    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")

    __str__ = __repr__


class FatalRepr:
    """Ends the process when it is shown, or tries to."""

    def __repr__(self) -> str:
        raise SystemExit(7)


class Hostile:
    """Answers every question with an exception."""

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError("no class")

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("not equal")

    def __hash__(self) -> int:
        raise ZeroDivisionError("no hash")

    def __iter__(self) -> Any:
        raise ZeroDivisionError("not iterable")

    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")


class Endless(Mapping[str, Any]):
    """A mapping whose keys never end."""

    def __getitem__(self, key: str) -> Any:
        return key

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            yield str(number)
            number += 1

    def __len__(self) -> int:
        return 1


class Fails(pydantic.BaseModel):
    """Cannot be dumped."""

    n: int = 1

    @pydantic.field_serializer("n")
    def refuse(self, n: int) -> int:
        raise ValueError("not today")


@dataclasses.dataclass
class Record:
    x: float


def _cycle() -> Any:
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    return value


def _deep(levels: int, core: Any = None) -> Any:
    value = core
    for _ in range(levels):
        value = [value]
    return value


def _doubled(core: Any) -> Any:
    """Fifty lists in memory, 2^50 on paper."""
    value = core
    for _ in range(50):
        value = [value, value]
    return value


REFUSED: dict[str, Callable[[], Any]] = {
    "object": object,
    "class": lambda: int,
    "function": lambda: len,
    "generator": lambda: (n for n in range(3)),
    "complex": lambda: 1j,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("-inf"),
    "NaN in a record": lambda: Record(float("nan")),
    "surrogate": lambda: "a\ud800",
    "surrogate as a key": lambda: {"\udfff": 1},
    "NUL": lambda: "a\0b",
    "NUL as a key": lambda: {"a\0": {"deep": 1}},
    "NUL behind a backslash": lambda: "\\\0",
    "NUL in a list": lambda: [["x", "\0"]],
    "cycle": _cycle,
    "deep": lambda: _deep(101),
    "very deep": lambda: _deep(10_000),
    "an object deep down": lambda: _deep(50, object()),
    "keys that collide": lambda: {1: "a", "1": "b"},
    "a tuple as a key": lambda: {(1, 2): "a"},
    "text that is no JSON": lambda: msgspec.Raw(b"{]"),
    "integer without end": lambda: 10**5000,
    "an object without repr": NoRepr,
    "an object with a fatal repr": FatalRepr,
    "an exception": lambda: ValueError("x"),
    "a model that fails": Fails,
}
"""What has no JSON: name -> how it is made."""

TOO_LARGE: dict[str, Callable[[], Any]] = {
    "text": lambda: "x" * 220_000,
    "list": lambda: list(range(80_000)),
    "many keys": lambda: {str(n): n for n in range(40_000)},
    "one text many times": lambda: ["x" * 100_000] * 1_000_000,
    "doubled lists": lambda: _doubled([]),
    "doubled lists with a date": lambda: _doubled(datetime.date(2027, 1, 1)),
    "escapes": lambda: "\x01" * 40_000,
}
"""What has more than 200,000 bytes of it."""


class Colour(str):
    __slots__ = ()


class Point(pydantic.BaseModel):
    x: int


ODD: dict[str, tuple[Callable[[], Any], Any]] = {
    "tuple": (lambda: (1, (2, 3)), [1, [2, 3]]),
    "set": (lambda: {1}, [1]),
    "bytes": (lambda: b"abc", "YWJj"),
    "decimal": (lambda: decimal.Decimal("1.10"), "1.10"),
    "datetime": (lambda: datetime.datetime(2027, 1, 2, tzinfo=datetime.UTC), "2027-01-02T00:00:00Z"),
    "dataclass": (lambda: [Record(1.5)], [{"x": 1.5}]),
    "pydantic": (lambda: [Point(x=1)], [{"x": 1}]),
    "subclass of text": (lambda: Colour("red"), "red"),
    "keys that are numbers": (lambda: {"k": {1: 2}}, {"k": {"1": 2}}),
    "2^64": (lambda: [2**64, -(2**64), 2**200, 2**63, -(2**63) - 1], [2**64, -(2**64), 2**200, 2**63, -(2**63) - 1]),
    "100 levels": (lambda: _deep(98), _deep(98)),
    "a backslash and u0000": (lambda: "\\u0000", "\\u0000"),
    "emoji": (lambda: "\U0001f600", "\U0001f600"),
}
"""What JSON holds in its own way: name -> how it is made, and what it reads back as."""

VALUES: dict[str, Callable[[], Any]] = {
    **REFUSED,
    **TOO_LARGE,
    **{name: make for name, (make, _) in ODD.items()},
    "hostile": Hostile,
    "endless": Endless,
}

CALLS = ("update", "emit", "step", "message", "interrupt", "put", "filter")
"""The calls of `ctx` that take a value."""


@agent
async def gives(input: dict[str, str], ctx: Context) -> Any:
    value = VALUES[input["value"]]()
    match input["place"]:
        case "return":
            return {"x": value}
        case "whole return":
            return value
        case "update":
            await ctx.update({"x": value})
        case "emit":
            await ctx.emit(value)
        case "step":
            await ctx.step("s", lambda: value)
        case "message":
            async with ctx.message(extra=value) as message:
                await message.write("hello")
        case "interrupt":
            await ctx.interrupt(value)
        case "put":
            await ctx.store.put(("n",), "k", {"x": value})
        case _:
            await ctx.store.search(("n",), {"x": value})
    return {"done": True}


@agent
def gives_blocking(input: dict[str, str], ctx: SyncContext) -> Any:
    value = VALUES[input["value"]]()
    match input["place"]:
        case "return":
            return {"x": value}
        case "whole return":
            return value
        case "update":
            ctx.update({"x": value})
        case "emit":
            ctx.emit(value)
        case "step":
            ctx.step("s", lambda: value)
        case "message":
            with ctx.message(extra=value) as message:
                message.write("hello")
        case "interrupt":
            ctx.interrupt(value)
        case "put":
            ctx.store.put(("n",), "k", {"x": value})
        case _:
            ctx.store.search(("n",), {"x": value})
    return {"done": True}


@agent
async def yields(input: dict[str, str]) -> AsyncIterator[Any]:
    value = VALUES[input["value"]]()
    yield value if input["place"] == "whole yield" else {"x": value}


@agent
def yields_blocking(input: dict[str, str]) -> Iterator[Any]:
    value = VALUES[input["value"]]()
    yield value if input["place"] == "whole yield" else {"x": value}


GIVERS = [gives, gives_blocking, yields, yields_blocking]

WAYS: list[tuple[str, str]] = [
    *[(kind, place) for kind in ("gives", "gives_blocking") for place in ("return", *CALLS)],
    ("yields", "yield"),
    ("yields_blocking", "yield"),
]
"""Every way of a value out of the code: agent, place."""

# exceptions


class LongText(Exception):
    def __str__(self) -> str:
        return "long " * 2_000_000


class NulText(Exception):
    def __str__(self) -> str:
        return "a\0b\ud800c"


class SubText(str):
    """A text that does not want to be one."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:
        raise ZeroDivisionError("not encoded")

    def __format__(self, _: str) -> str:
        raise ZeroDivisionError("not formatted")

    def replace(self, *_: Any) -> str:
        raise ZeroDivisionError("not replaced")


class OddText(Exception):
    def __str__(self) -> str:
        return SubText("odd")


class NoClass(Exception):
    """Does not say what it is."""

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError("no class")


class NoNotes(Exception):
    @property
    def __notes__(self) -> Any:
        raise SystemExit(3)


class _Meta(type):
    @property
    def __name__(cls) -> str:
        raise ZeroDivisionError("no name")


class NoName(Exception, metaclass=_Meta):
    pass


class _Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name == "__qualname__":
            raise SystemExit(3)
        return super().__getattribute__(name)


class NoQualname(Exception, metaclass=_Nameless):
    pass


class OwnBase(BaseException):
    pass


def _chain() -> BaseException:
    error = ValueError("first")
    error.__cause__ = error
    return error


RAISED: dict[str, tuple[Callable[[], BaseException], str]] = {
    "long text": (LongText, "LongText: long long"),
    "NUL and a surrogate": (NulText, "NulText: a\\x00b\\ud800c"),
    "odd text": (OddText, "OddText: odd"),
    "no class": (NoClass, "NoClass: <no message>"),
    "no notes": (lambda: NoNotes("x"), "NoNotes: x"),
    "no name": (lambda: NoName("x"), "NoName: x"),
    "no qualified name": (lambda: NoQualname("x"), "an exception that cannot be described"),
    "its own cause": (_chain, "ValueError: first"),
    "StopIteration": (lambda: StopIteration(3), ""),
    "StopAsyncIteration": (lambda: StopAsyncIteration(3), ""),
    "GeneratorExit": (GeneratorExit, "GeneratorExit: <no message>"),
    "own BaseException": (lambda: OwnBase("no"), "OwnBase: no"),
    "SystemExit": (lambda: SystemExit(3), "SystemExit: 3"),
    "MemoryError": (MemoryError, "MemoryError: <no message>"),
    "CancelledError": (
        asyncio.CancelledError,
        "CancelledError: <no message> (the code cancelled itself; nobody asked the run to stop)",
    ),
}
"""Name -> the exception, and how the run's message begins."""


@agent
async def raises(input: str) -> None:
    raise RAISED[input][0]()


@agent
def raises_blocking(input: str) -> None:
    raise RAISED[input][0]()


@agent
async def raises_yielding(input: str) -> AsyncIterator[Any]:
    yield {"n": 1}
    raise RAISED[input][0]()


@agent
def raises_yielding_blocking(input: str) -> Iterator[Any]:
    yield {"n": 1}
    raise RAISED[input][0]()


RAISERS = [raises, raises_blocking, raises_yielding, raises_yielding_blocking]


@agent
async def sound(input: Any = None) -> dict[str, Any]:
    """What a second run does: it works."""
    return {"fine": input}
