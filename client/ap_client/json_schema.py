"""What a class of models says about itself: its JSON Schema, and the methods that give it.

The protocol's pages call `X.to_json()` on the class. Where an instance tells its values, the class tells its schema.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ap_client.conversion import Structured

Schema = dict[str, Any]

_PRIMITIVES: Mapping[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    NoneType: {"type": "null"},
}


class OfClassToo:
    """A method that can be called on the class, where it is another one."""

    def __init__(self, of_instance: Callable[[Any], Any], of_class: Callable[[Any], Any]) -> None:
        self._of_instance = of_instance
        self._of_class = of_class
        self.__doc__ = of_instance.__doc__

    def __get__(self, instance: Any, owner: type) -> Callable[..., Any]:
        if instance is None:
            return self._of_class.__get__(owner)
        return self._of_instance.__get__(instance)


def schema_of(annotation: Any) -> Schema:
    """The JSON Schema of a field's type. Models inside a model are named, not repeated."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Union or origin is UnionType:
        members = [schema_of(member) for member in inner if member is not NoneType]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin is Literal:
        return {"const": inner[0]} if len(inner) == 1 else {"type": "string", "enum": list(inner)}
    if origin is list:
        return {"type": "array", "items": schema_of(inner[0])}
    if origin is dict:
        return {"type": "object"}
    if annotation in _PRIMITIVES:
        return dict(_PRIMITIVES[annotation])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return {"type": "string", "enum": [member.value for member in annotation]}
    if isinstance(annotation, type) and issubclass(annotation, Structured):
        return {"title": annotation.__name__}
    return {}


def object_schema(cls: type[Any]) -> Schema:
    """The JSON Schema of a model's class."""
    properties: Schema = {}
    for found in cls._fields.values():
        told = schema_of(found.annotation)
        if found.nullable:
            told = {"anyOf": [told, {"type": "null"}]} if told else told
        low, high = ("minItems", "maxItems") if told.get("type") == "array" else ("minimum", "maximum")
        bounds = {low: found.at_least, high: found.at_most}
        properties[found.wire_name] = told | {name: bound for name, bound in bounds.items() if bound is not None}
    schema: Schema = {"title": cls.__name__, "type": "object", "properties": properties}
    required = [found.wire_name for found in cls._fields.values() if found.required]
    if required:
        schema["required"] = required
    if cls._open:
        schema["additionalProperties"] = True
    return schema
