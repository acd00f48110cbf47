"""Between plain JSON values and typed ones.

`read` is lenient: what does not fit its type stays as it came, so that an answer of a newer server is still
readable. `problems` is strict: it says what of a request the protocol does not allow. `encode` writes JSON.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from types import UnionType
from typing import Any, Literal, Self, Union, cast, get_args, get_origin
from uuid import UUID

from ap_client.exceptions import ApiValueError

_TYPE_NAMES: Mapping[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    datetime: "a date and time",
}

Path = tuple[str | int, ...]
Problem = tuple[Path, str]


def id_text(value: str | UUID | None) -> Any:
    """An id as it is sent: the text of a UUID; anything else stays, for `problems` to name."""
    return str(value) if isinstance(value, UUID) else value


class Structured:
    """A value that knows how to read itself from plain values and to write itself to them."""

    @classmethod
    def from_dict(cls, obj: Any) -> Self:
        raise NotImplementedError

    def to_wire(self) -> Any:
        raise NotImplementedError

    def problems(self, path: Path = ()) -> Iterable[Problem]:
        raise NotImplementedError


def read(annotation: Any, value: Any) -> Any:
    """The value as its annotation wants it; unchanged where it does not fit."""
    if value is None or annotation is Any or annotation is object:
        return value
    if isinstance(annotation, type):
        return _read_class(annotation, value)
    origin = get_origin(annotation)
    if origin is Union or origin is UnionType:
        return _read_union(get_args(annotation), value)
    if origin is list and isinstance(value, list | tuple):
        (item,) = get_args(annotation)
        return [read(item, each) for each in cast("Iterable[Any]", value)]
    return value


def _read_class(cls: type[Any], value: Any) -> Any:
    if issubclass(cls, Structured):
        return cls.from_dict(value) if isinstance(value, Mapping) and not isinstance(value, cls) else value
    if issubclass(cls, Enum):
        try:
            return cls(value)
        except ValueError:
            return value
    if cls is datetime and isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _read_union(members: tuple[Any, ...], value: Any) -> Any:
    wanted = [member for member in members if member is not type(None)]
    if len(wanted) == 1:
        return read(wanted[0], value)
    for member in wanted:
        candidate = read(member, value)
        if fits(member, candidate):
            return candidate
    return value


def fits(annotation: Any, value: Any) -> bool:
    """Whether `problems` would find none."""
    return next(iter(problems(annotation, value, ())), None) is None


def problems(annotation: Any, value: Any, path: Path) -> Iterator[Problem]:
    """What of a value the annotation does not allow: pairs of the path to it and a sentence about it."""
    if annotation is Any or annotation is object:
        return
    origin = get_origin(annotation)
    if origin is Union or origin is UnionType:
        members = get_args(annotation)
        if not any(fits(member, value) for member in members):
            wanted = [member for member in members if member is not type(None)]
            if len(wanted) == 1:
                yield from problems(wanted[0], value, path)
            else:
                yield path, f"{shown(value)} is neither " + " nor ".join(map(_name_of, wanted))
    elif origin is Literal:
        if value not in get_args(annotation):
            yield path, f"{shown(value)} is not one of " + ", ".join(map(repr, get_args(annotation)))
    elif origin is list:
        yield from _list_problems(get_args(annotation)[0], value, path)
    elif origin is dict or annotation is dict:
        if not isinstance(value, Mapping):
            yield path, f"{shown(value)} is not an object"
    elif isinstance(value, Structured) and isinstance(value, annotation):
        yield from value.problems(path)
    elif not _is_a(annotation, value):
        yield path, f"{shown(value)} is not {_name_of(annotation)}"


def _list_problems(item: Any, value: Any, path: Path) -> Iterator[Problem]:
    if not isinstance(value, list | tuple):
        yield path, f"{shown(value)} is not a list"
        return
    for index, each in enumerate(cast("Iterable[Any]", value)):
        yield from problems(item, each, (*path, index))


def _is_a(cls: type[Any], value: Any) -> bool:
    if cls is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if cls is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if issubclass(cls, Enum):
        return value in [member.value for member in cls]
    return isinstance(value, cls)


def _name_of(annotation: Any) -> str:
    if get_origin(annotation) is list:
        return "a list"
    if annotation in _TYPE_NAMES:
        return _TYPE_NAMES[annotation]
    if issubclass(annotation, Enum):
        return "one of " + ", ".join(repr(member.value) for member in annotation)
    return f"a {annotation.__name__}"


def shown(value: object) -> str:
    """A value in an error message: its repr, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def path_text(path: Path) -> str:
    """A path as one would write it in Python: `messages[0].role`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def plain(value: Any) -> Any:
    """The value with every model in it written as a plain mapping, whatever the depth."""
    if isinstance(value, Structured):
        return value.to_wire()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        # A subclass (a text that answers to `actual_instance`) becomes the text alone.
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in cast("Iterable[Any]", value)]
    return value


def encode(value: Any) -> bytes:
    """The value as JSON in UTF-8.

    Beyond JSON's own types: models, mappings, dates (RFC 3339), UUIDs, decimals (as text), dataclasses, sets.

    Raises ApiValueError for what JSON cannot hold: NaN, infinities, lone surrogates, cycles, other objects.
    """
    try:
        text = json.dumps(value, default=_plain_once, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ApiValueError(f"cannot be written as JSON: {error}") from error


def _plain_once(value: Any) -> Any:
    if isinstance(value, Structured):
        return value.to_wire()
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, set | frozenset):
        return list(cast("Iterable[Any]", value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{shown(value)} ({type(value).__name__})")
