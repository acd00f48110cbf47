"""The base of every model: keyword construction, attributes, and the way to and from JSON.

A model is a class of annotated fields. A field that was not given reads as None and is not sent. What this
client does not know is kept in `additional_properties`, readable as attributes too, and sent along.
Keywords are checked at once; values are checked when a request is sent (`validate` does it earlier).
"""

import copy
import difflib
import inspect
import pprint
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, dataclass_transform

import msgspec

from ap_client.conversion import Path, Problem, Structured, encode, path_text, plain, problems, read, shown
from ap_client.exceptions import ApiAttributeError, ApiTypeError, ApiValueError
from ap_client.json_schema import OfClassToo, object_schema


@dataclass(frozen=True, slots=True)
class Field:
    """What a model knows about one of its fields."""

    name: str = ""
    wire_name: str = ""
    annotation: Any = Any
    required: bool = False
    nullable: bool = False
    converter: Callable[[Any], Any] | None = None
    at_least: int | None = None
    at_most: int | None = None


def field(
    *,
    default: Any = ...,
    alias: str = "",
    nullable: bool = False,
    converter: Callable[[Any], Any] | None = None,
    at_least: int | None = None,
    at_most: int | None = None,
) -> Any:
    """Say more about a field than its annotation does.

    `alias` is its name in JSON; `nullable` sends an explicit None as null (else it means "not given");
    `converter` turns what may be given into what is kept; `at_least` and `at_most` bound a number, or the
    length of a list.
    """
    return Field(
        wire_name=alias,
        required=default is ...,
        nullable=nullable,
        converter=converter,
        at_least=at_least,
        at_most=at_most,
    )


def _bound_problems(found: Field, value: Any, path: Path) -> Iterator[Problem]:
    size: int
    if isinstance(value, int) and not isinstance(value, bool):
        size, text = value, str(value)
    elif isinstance(value, list | tuple):
        size = len(cast("list[Any]", value))
        text = f"a length of {size}"
    else:
        return
    if found.at_least is not None and size < found.at_least:
        yield path, f"{text} is less than {found.at_least}"
    if found.at_most is not None and size > found.at_most:
        yield path, f"{text} is more than {found.at_most}"


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Model(Structured):
    """See the module. `class X(Model, open=True)` takes keywords that it does not declare."""

    additional_properties: dict[str, Any] = field(default=None)

    _fields: ClassVar[Mapping[str, Field]] = MappingProxyType({})
    _by_wire_name: ClassVar[Mapping[str, Field]] = MappingProxyType({})
    _open: ClassVar[bool] = False

    def __init_subclass__(cls, *, open: bool = False, **more: Any) -> None:
        super().__init_subclass__(**more)
        fields = dict(cls._fields)
        for name, annotation in inspect.get_annotations(cls, eval_str=True).items():
            given = cls.__dict__.get(name, ...)
            told = given if isinstance(given, Field) else Field(required=given is ...)
            fields[name] = Field(
                name=name,
                wire_name=told.wire_name or name,
                annotation=annotation,
                required=told.required,
                nullable=told.nullable,
                converter=told.converter,
                at_least=told.at_least,
                at_most=told.at_most,
            )
            # What was not given reads as None.
            setattr(cls, name, None)
        cls._fields = MappingProxyType(fields)
        cls._by_wire_name = MappingProxyType({each.wire_name: each for each in fields.values()})
        cls._open = open

    if not TYPE_CHECKING:
        # Hidden from type checkers: they read the keywords and the attributes from the annotations.

        def __init__(self, **given: Any) -> None:
            extra = given.pop("additional_properties", None)
            self.__dict__["additional_properties"] = dict(extra or {})
            for name, value in given.items():
                found = self._fields.get(name) or self._by_wire_name.get(name)
                if found is not None:
                    self._set(found, value)
                elif self._open:
                    self.additional_properties[name] = value
                else:
                    raise ApiTypeError(self._no_such_field(name), [name])

        def __setattr__(self, name: str, value: Any) -> None:
            found = self._fields.get(name)
            if found is not None:
                self._set(found, value)
            elif name == "additional_properties":
                self.__dict__[name] = value
            elif self._open:
                self.additional_properties[name] = value
            else:
                raise ApiAttributeError(self._no_such_field(name), [name])

        def __getattr__(self, name: str) -> Any:
            extra = self.__dict__.get("additional_properties", {})
            if name in extra:
                return extra[name]
            raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def _set(self, found: Field, value: Any) -> None:
        convert = found.converter
        value = read(found.annotation, value) if convert is None else convert(value)
        self.__dict__[found.name] = value

    @classmethod
    def _no_such_field(cls, name: str) -> str:
        near = difflib.get_close_matches(name, cls._fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "its fields are: " + ", ".join(cls._fields)
        return f"{cls.__name__} has no field {name!r}; {hint}"

    @classmethod
    def from_dict(cls, obj: Mapping[str, Any]) -> Self:
        """A model from a mapping with JSON names. Unknown keys are kept, misfits stay as they came.

        Raises ApiValueError when `obj` is no mapping.
        """
        if not isinstance(cast("object", obj), Mapping):
            raise ApiValueError(f"{cls.__name__} is read from an object, not from {shown(obj)}")
        made = cls.__new__(cls)
        extra: dict[str, Any] = {}
        made.__dict__["additional_properties"] = extra
        for name, value in obj.items():
            found = cls._by_wire_name.get(name) or cls._fields.get(name)
            if found is None:
                extra[name] = value
            else:
                made._set(found, value)
        return made

    @classmethod
    def from_json(cls, json_str: str | bytes) -> Self:
        """A model from JSON text. Raises ApiValueError when it is not JSON or not an object."""
        try:
            return cls.from_dict(msgspec.json.decode(json_str))
        except msgspec.DecodeError as error:
            raise ApiValueError(f"{cls.__name__} is read from JSON: {error}") from error

    def but(self, **changes: Any) -> Self:
        """A shallow copy with other values in these fields. Raises ApiAttributeError for an unknown one."""
        made = copy.copy(self)
        made.__dict__["additional_properties"] = dict(self.additional_properties)
        for name, value in changes.items():
            setattr(made, name, value)
        return made

    def given(self) -> Iterator[tuple[Field, Any]]:
        """The declared fields that were given, with their values (None where None was given)."""
        for name, found in self._fields.items():
            if name in self.__dict__:
                yield found, self.__dict__[name]

    def to_dict(self) -> dict[str, Any]:
        """What was given, as plain mappings and lists under JSON names; dates stay `datetime`."""
        found = {each.wire_name: plain(value) for each, value in self.given() if value is not None or each.nullable}
        return found | {name: plain(value) for name, value in self.additional_properties.items()}

    def to_wire(self) -> dict[str, Any]:
        return self.to_dict()

    def to_json(self) -> str:
        """JSON text; dates in RFC 3339. Raises ApiValueError for values that JSON cannot hold."""
        return encode(self.to_dict()).decode()

    def to_str(self) -> str:
        """A readable, many-line text of `to_dict`."""
        return pprint.pformat(self.to_dict())

    if not TYPE_CHECKING:
        # On the class they tell its JSON Schema.
        to_dict = OfClassToo(to_dict, object_schema)
        to_json = OfClassToo(to_json, lambda cls: encode(object_schema(cls)).decode())
        to_str = OfClassToo(to_str, lambda cls: pprint.pformat(object_schema(cls)))

    def problems(self, path: Path = ()) -> Iterator[Problem]:
        """What the protocol does not allow in here: pairs of a path and a sentence."""
        for name, found in self._fields.items():
            value = self.__dict__.get(name)
            here = (*path, found.wire_name)
            if value is None:
                if found.required and not (found.nullable and name in self.__dict__):
                    yield here, "is required"
                continue
            yield from problems(found.annotation, value, here)
            yield from _bound_problems(found, value, here)

    def validate(self) -> Self:
        """Check the values as sending would.

        Raises ApiValueError that names every field at fault, its value and what is allowed.
        """
        found = list(self.problems())
        if found:
            text = "; ".join(f"{path_text(path)}: {why}" for path, why in found)
            raise ApiValueError(f"{type(self).__name__}.{text}", list(found[0][0]))
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        return type(self) is type(other) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        pairs = [f"{each.name}={value!r}" for each, value in self.given()]
        pairs += [f"{name}={value!r}" for name, value in self.additional_properties.items()]
        return f"{type(self).__name__}({', '.join(pairs)})"
