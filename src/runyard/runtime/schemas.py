"""Type hints as JSON Schema, and values read into them.

msgspec knows dataclasses, TypedDicts, its Structs and the plain types. Pydantic is asked for its own models, and for
hints that msgspec cannot take; it is never imported here, so an agent without it does not pay for it.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, cast

import msgspec

from runyard.errors import InvalidInput

Schema = dict[str, Any]

_PLACE = re.compile(r"^(?P<reason>.*?)(?: - at `(?:key in )?\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`$")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_ANY = (Any, object, inspect.Parameter.empty)


class Shape:
    """What a hint accepts.

    `problem` says why there is no schema for a hint, which then accepts anything and reads it as plain data.
    """

    def __init__(self, hint: Any) -> None:
        self.hint = hint
        self.schema: Schema = {}
        self.problem: str | None = None
        self._read: Callable[[bytes], Any] = msgspec.json.decode
        self._convert: Callable[[Any], Any] | None = None
        if hint in _ANY:
            return
        if _is_pydantic(hint) and self._use_pydantic(hint):
            return
        try:
            self._use_msgspec(hint)
        except Exception as error:
            if not self._use_pydantic(hint):
                self.schema = {}
                self.problem = f"{_name(hint)} has no schema: {error}"

    @property
    def open(self) -> bool:
        """Whether anything fits."""
        return self._convert is None

    def read(self, text: bytes, place: str) -> Any:
        """The value of a JSON text.

        Raises:
            InvalidInput: it does not fit; names the field below `place`, the value and what is allowed.
        """
        try:
            return self._read(text)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            raise refusal(error, place, _decoded(text)) from error

    def convert(self, value: Any, place: str) -> Any:
        """The same from plain data."""
        if self._convert is None:
            return value
        try:
            return self._convert(value)
        except (msgspec.ValidationError, ValueError, RecursionError) as error:
            raise refusal(error, place, value) from error

    def _use_msgspec(self, hint: Any) -> None:
        definitions: dict[str, Any] = {}

        def schema_of(kind: type) -> Schema:
            if kind is object:
                # msgspec takes an empty schema for none.
                return {"$comment": "any value"}
            if _is_pydantic(kind):
                schema = cast("Any", sys.modules["pydantic"]).TypeAdapter(kind).json_schema()
                definitions.update(schema.pop("$defs", {}))
                return schema
            raise TypeError(f"{_name(kind)} is not a dataclass, TypedDict, Struct, pydantic model or plain type")

        schema = msgspec.json.schema(hint, schema_hook=schema_of)
        if definitions:
            schema["$defs"] = {**definitions, **schema.get("$defs", {})}
        self._read = msgspec.json.Decoder(hint, dec_hook=_read_custom).decode
        self._convert = lambda value: msgspec.convert(value, hint, dec_hook=_read_custom)
        self.schema = _rooted(schema)

    def _use_pydantic(self, hint: Any) -> bool:
        pydantic = cast("Any", sys.modules.get("pydantic"))
        if pydantic is None:
            return False
        try:
            adapter = pydantic.TypeAdapter(hint)
            self.schema = adapter.json_schema()
        except Exception:
            return False
        self._read = adapter.validate_json
        # By way of JSON, for that is what the value came as: "2026-01-31" is a date even in a strict model.
        self._convert = lambda value: adapter.validate_json(msgspec.json.encode(value))
        return True


def refusal(error: Exception, place: str, document: Any) -> InvalidInput:
    """The error of a decoder, in the words of the request: the field below `place`, its value, what is allowed."""
    path, reason = _located(error)
    field = place + _text_of(path)
    missing = _MISSING.match(reason)
    if missing is not None:
        field = f"{field}.{missing['field']}"
        return InvalidInput(f"{field} is missing", field=field)
    value, found = _at(document, path)
    # A check of the user's own class names the field in its words: "items is 0: must be 1 or more".
    word = reason.partition(" ")[0]
    if isinstance(value, dict) and word in value:
        return InvalidInput(f"{field}.{reason}", field=f"{field}.{word}")
    shown = f" is {_shown(value)}" if found else ""
    return InvalidInput(f"{field}{shown}: {_lowered(reason)}", field=field)


def hints_of(function: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    """The evaluated annotations of a function, and what could not be evaluated; such an annotation counts as `Any`."""
    try:
        return typing.get_type_hints(function, include_extras=True), []
    except Exception:
        pass
    hints: dict[str, Any] = {}
    problems: list[str] = []
    for name, annotation in inspect.get_annotations(function).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            known = getattr(function, "__globals__", {})
            hints[name] = typing.get_type_hints(alone, known, include_extras=True)[name]
        except Exception as error:
            hints[name] = Any
            problems.append(f"{name}: {annotation!r} cannot be evaluated: {type(error).__name__}: {error}")
    return hints, problems


def fields_of(hint: Any) -> frozenset[str]:
    """The names of the fields of a record type; none for anything else."""
    origin = typing.get_origin(hint) or hint
    if not isinstance(origin, type):
        return frozenset()
    kind = cast("type[Any]", origin)
    if _is_pydantic(kind):
        return frozenset(getattr(kind, "model_fields", None) or getattr(kind, "__dataclass_fields__", {}))
    if issubclass(kind, msgspec.Struct):
        return frozenset(kind.__struct_fields__)
    if hasattr(kind, "__dataclass_fields__"):
        return frozenset(kind.__dataclass_fields__)
    return frozenset(kind.__annotations__ if typing.is_typeddict(kind) else ())


def as_values(schema: Schema) -> Schema:
    """The schema of a state's values, where the code gives what `schema` describes: an object's fields are channels,
    another value is the channel `output`, and nothing changes nothing."""
    if not schema or schema.get("type") == "null":
        return {}
    if schema.get("type") == "object":
        return schema
    definitions = schema.get("$defs", {})
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if options:
        parts = [as_values(_resolved(option, definitions)) for option in options]
        values = parts[0] if len(parts) == 1 else {"anyOf": parts}
    else:
        plain = {key: value for key, value in schema.items() if key != "$defs"}
        values = {"type": "object", "properties": {"output": plain}, "required": ["output"]}
    return {**values, "$defs": definitions} if definitions else values


def _resolved(schema: Schema, definitions: dict[str, Any]) -> Schema:
    return definitions.get(schema.get("$ref", "").removeprefix("#/$defs/"), schema)


def _rooted(schema: Schema) -> Schema:
    """The schema with what it describes at its root, where people and form builders look for it."""
    root = schema.get("$ref", "").removeprefix("#/$defs/")
    definitions = schema.get("$defs", {})
    if root not in definitions:
        return schema
    rest = {name: definition for name, definition in definitions.items() if name != root}
    if f'"#/$defs/{root}"'.encode() in msgspec.json.encode(definitions):
        rest = definitions
    return {**definitions[root], "$defs": rest} if rest else dict(definitions[root])


def _is_pydantic(hint: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    if pydantic is None or not isinstance(hint, type):
        return False
    return issubclass(hint, pydantic.BaseModel) or "__pydantic_validator__" in vars(hint)


def _read_custom(kind: type, value: Any) -> Any:
    if _is_pydantic(kind):
        pydantic = cast("Any", sys.modules["pydantic"])
        return pydantic.TypeAdapter(kind).validate_json(msgspec.json.encode(value))
    return value


def _located(error: Exception) -> tuple[list[str | int], str]:
    """Where in the document, and why."""
    parts = _PLACE.match(str(error))
    path: list[str | int] = []
    inner = error.__cause__ if _has_errors(error.__cause__) else error
    if parts is not None and parts["path"] and not _has_errors(error):
        for name, index, hidden in _STEP.findall(parts["path"]):
            if hidden:
                break
            path.append(name or int(index))
    if _has_errors(inner):
        first = cast("Any", inner).errors()[0]
        loc: list[str | int] = list(first["loc"])
        if first["type"] == "missing" and loc:
            return path + loc[:-1], f"Object missing required field `{loc[-1]}`"
        return path + loc, str(first["msg"]).removeprefix("Value error, ")
    return path, parts["reason"] if parts is not None else str(error)


def _has_errors(error: BaseException | None) -> bool:
    return callable(getattr(error, "errors", None))


def _at(document: Any, path: list[str | int]) -> tuple[Any, bool]:
    for step in path:
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            return None, False
    return document, True


def _text_of(path: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."


def _lowered(reason: str) -> str:
    return reason[:1].lower() + reason[1:]


def _name(hint: Any) -> str:
    return getattr(hint, "__qualname__", None) or str(hint)
