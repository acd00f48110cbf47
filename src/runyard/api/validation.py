"""From plain JSON data to a wire type, or to an error that names the field, the value and what is allowed.

A field that the type does not know is no error: the protocol asks that it be ignored. It is told to the caller, who
names it in the response header `Runyard-Ignored`. A field of the other face of the API is refused with a pointer to it.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
import uuid_utils

from runyard.api.profile import shown, spelled
from runyard.errors import InvalidInput, Unsupported

T = TypeVar("T", bound=msgspec.Struct)

_PATH = re.compile(r"\.([^.\[\]`]+)|\[(\d+)\]|\[\.\.\.\]")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_LONGEST_VALUE = 80


class Shape(Generic[T]):
    """What a body or a query string may hold: a msgspec type, and the fields that only the other face has.

    `foreign` maps each of those to what to use here instead ("" where nothing does the same).
    """

    def __init__(self, type: type[T], foreign: Mapping[str, str] | None = None) -> None:
        self.type = type
        self.foreign = foreign or {}
        fields = msgspec.structs.fields(type)
        self._known = frozenset(field.encode_name for field in fields)
        self._lists = frozenset(field.encode_name for field in fields if _is_list(field.type))
        self._nested = {
            field.encode_name: frozenset(inner.encode_name for inner in msgspec.structs.fields(kind))
            for field in fields
            if (kind := _struct_in(field.type)) is not None
        }

    def parse(self, document: dict[str, Any]) -> T:
        """The document as the type.

        Raises:
            InvalidInput: a field does not fit.
            Unsupported: a field of the other face.
        """
        try:
            value = msgspec.convert(document, self.type)
        except msgspec.ValidationError as error:
            if _made_whole(document, error):
                return self.parse(document)
            self._refuse_foreign(document)
            raise explain(self.type, document, error) from None
        if not self._known.issuperset(document):
            self._refuse_foreign(document)
        return value

    def parse_query(self, query: bytes) -> tuple[T, list[str]]:
        """A query string as the type, and the names in it that the type does not know.

        A parameter that is a list may be repeated; of any other the last one counts.

        Raises:
            InvalidInput: a parameter does not fit, or is not percent-encoded UTF-8 without NUL.
        """
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
        except ValueError as error:
            raise InvalidInput(f"the query string cannot be read: {error}", field="query") from None
        found: dict[str, Any] = {}
        for name, text in pairs:
            if "\0" in text or "\0" in name:
                raise InvalidInput(f"{name} holds NUL (%00) in the query string; it cannot be kept", field=name)
            if name in self._lists:
                found.setdefault(name, []).append(text)
            else:
                found[name] = text
        self._refuse_foreign(found)
        try:
            value = msgspec.convert(found, self.type, strict=False)
        except msgspec.ValidationError as error:
            raise explain(self.type, found, error) from None
        return value, [name for name in found if name not in self._known]

    def unknown(self, document: dict[str, Any]) -> list[str]:
        """The names of the fields that the type does not know, with their path."""
        names = [] if self._known.issuperset(document) else [n for n in document if n not in self._known]
        for name, known in self._nested.items():
            inner = document.get(name)
            if isinstance(inner, dict) and not known.issuperset(cast("dict[str, Any]", inner)):
                names += [f"{name}.{key}" for key in cast("dict[str, Any]", inner) if key not in known]
        return names

    def _refuse_foreign(self, document: dict[str, Any]) -> None:
        for name in document:
            if name in self.foreign:
                instead = self.foreign[name]
                raise Unsupported(
                    f"{name} belongs to the LangGraph face of this server, which is served under /langgraph"
                    + (f"; use {instead} here" if instead else ""),
                    field=name,
                    see="/langgraph",
                )


def canonical_uuid(field: str, text: str) -> str:
    """A UUID of any text form (upper case, braces, `urn:uuid:`, without hyphens) in its lower-case one.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return str(uuid_utils.UUID(text))
    except ValueError:
        raise InvalidInput(
            f"{field} is {shown(text)}; a UUID is needed, such as 0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5f",
            field=field,
            value=text[:_LONGEST_VALUE],
        ) from None


def explain(type: type[msgspec.Struct], document: object, error: msgspec.ValidationError) -> InvalidInput:
    """A validation error in words: the field, its value, what is allowed."""
    what, _, place = str(error).rpartition(" - at `")
    if not what:
        what, place = str(error), "$"
    tokens = list(_tokens(place))
    if missing := _MISSING.match(what):
        field = spelled([*tokens, missing[1]])
        message, value = f"{field} is missing", None
    else:
        field = spelled(tokens) or "body"
        value = _value_at(document, tokens)
        message = f"{field} is {shown(value)}; {_wanted(type, tokens, what)}"
    return InvalidInput(message, field=field, errors=[{"field": field, "message": message, "value": value}])


def _made_whole(document: dict[str, Any], error: msgspec.ValidationError) -> bool:
    """Whether a whole number was wanted where `2.0` stood, which is one in JSON Schema; `2` stands there now."""
    what, _, place = str(error).rpartition(" - at `")
    if not what.startswith("Expected `int`"):
        return False
    *way, name = _tokens(place)
    holder = _value_at(document, way)
    try:
        number = holder[name]
    except (KeyError, IndexError, TypeError):
        return False
    if not (isinstance(number, float) and number.is_integer()):
        return False
    holder[name] = int(number)
    return True


def _wanted(type: type[msgspec.Struct], tokens: list[str | int], what: str) -> str:
    allowed = _choices(type, tokens)
    if allowed:
        return "allowed: " + ", ".join(str(choice) for choice in allowed)
    wanted, _, _ = what.replace("`", "").partition(", got ")
    return wanted[:1].lower() + wanted[1:]


def _tokens(place: str) -> Iterator[str | int]:
    for match in _PATH.finditer(place):
        name, index = match.groups()
        if name is None and index is None:
            yield "*"
        else:
            yield int(index) if name is None else name


def _value_at(document: Any, tokens: list[str | int]) -> Any:
    for token in tokens:
        try:
            document = document[token]
        except (KeyError, IndexError, TypeError):
            return document
    return document


def _choices(annotation: Any, tokens: list[str | int]) -> list[Any]:
    """The literal values that are allowed at a place of a type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _choices(get_args(annotation)[0], tokens)
    if origin in (Union, types.UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part, tokens)]
    if not tokens:
        return list(get_args(annotation)) if origin is Literal else []
    if origin is list and isinstance(tokens[0], int):
        return _choices(get_args(annotation)[0], tokens[1:])
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        for field in msgspec.structs.fields(annotation):
            if field.encode_name == tokens[0]:
                return _choices(field.type, tokens[1:])
    return []


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation


def _is_list(annotation: Any) -> bool:
    return any(typing.get_origin(part) is list for part in _parts(annotation))


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            return part
    return None
