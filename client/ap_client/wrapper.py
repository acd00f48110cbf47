"""Values that the protocol allows to be of several kinds.

Plain values are accepted everywhere. `Input("x")`, `Content([...])` and their kin are accepted too, for code
written against the generated client; what is kept is the plain value, which answers to `actual_instance`
as those do (true, false and null alone cannot: they are Python's own).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self, cast

import msgspec

from ap_client.conversion import Path, Problem, Structured, encode, plain
from ap_client.exceptions import ApiValueError
from ap_client.json_schema import OfClassToo


class _Plain:
    @property
    def actual_instance(self) -> Any:
        return self


class PlainText(str, _Plain):
    """A string that answers to `actual_instance`."""


class PlainList(list[Any], _Plain):
    """A list that answers to `actual_instance`."""


class PlainObject(dict[str, Any], _Plain):
    """A dict that answers to `actual_instance`."""


class PlainInteger(int, _Plain):
    """An int that answers to `actual_instance`."""


class PlainNumber(float, _Plain):
    """A float that answers to `actual_instance`."""


def plain_value(value: Any) -> Any:
    """The value itself, unwrapped, answering to `actual_instance` where Python allows it."""
    if isinstance(value, Wrapper):
        value = value.actual_instance
    if isinstance(value, _Plain | bool) or value is None:
        return value
    if isinstance(value, str):
        return PlainText(value)
    if isinstance(value, list | tuple):
        return PlainList(cast("Iterable[Any]", value))
    if isinstance(value, dict):
        return PlainObject(cast("dict[str, Any]", value))
    if isinstance(value, int):
        return PlainInteger(value)
    if isinstance(value, float):
        return PlainNumber(value)
    return value


def from_json_text(json_str: str | bytes) -> Any:
    """The plain value that JSON text says. Raises ApiValueError when it is not JSON."""
    try:
        return msgspec.json.decode(json_str)
    except msgspec.DecodeError as error:
        raise ApiValueError(f"not JSON: {error}") from error


class Wrapper(Structured):
    """A value in a box: `Input({"a": 1}).actual_instance == {"a": 1}`."""

    def __init__(self, actual_instance: Any = None) -> None:
        self.actual_instance: Any = (
            actual_instance.actual_instance if isinstance(actual_instance, Wrapper) else actual_instance
        )

    @classmethod
    def from_dict(cls, obj: Any) -> Self:
        return cls(obj)

    @classmethod
    def from_json(cls, json_str: str | bytes) -> Self:
        return cls(from_json_text(json_str))

    def to_wire(self) -> Any:
        return plain(self.actual_instance)

    def to_dict(self) -> Any:
        """The plain value."""
        return self.to_wire()

    def to_json(self) -> str:
        """The plain value as JSON text."""
        return encode(self.to_wire()).decode()

    def to_str(self) -> str:
        """The plain value as Python shows it."""
        return repr(self.to_wire())

    if not TYPE_CHECKING:
        # On the class they tell that it may hold anything.
        to_dict = OfClassToo(to_dict, lambda cls: {"title": cls.__name__})
        to_json = OfClassToo(to_json, lambda cls: encode({"title": cls.__name__}).decode())
        to_str = OfClassToo(to_str, lambda cls: repr({"title": cls.__name__}))

    def problems(self, path: Path = ()) -> Iterable[Problem]:
        return self.actual_instance.problems(path) if isinstance(self.actual_instance, Structured) else ()

    def __eq__(self, other: object) -> bool:
        theirs = other.actual_instance if isinstance(other, Wrapper) else other
        return bool(self.actual_instance == theirs)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.actual_instance!r})"
