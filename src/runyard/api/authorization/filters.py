"""Filters that handlers give: which of all things of a kind a user may see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from runyard.agents import contains

Pattern = dict[str, Any]
"""What metadata have to contain, recursively."""


class BadFilter(Exception):
    """What a handler gave is no filter."""


def pattern_of(given: Mapping[Any, Any]) -> Pattern:
    """A filter as a pattern that metadata have to contain: `{"owner": x}` and `{"owner": {"$eq": x}}` are equality, and
    `{"members": {"$contains": x}}` asks for one element, or for all of a list.

    Raises:
        BadFilter: naming the field.
    """
    return {_name(name): _wanted(name, value) for name, value in given.items()}


def _name(name: Any) -> str:
    if not isinstance(name, str) or name.startswith("$"):
        raise BadFilter(f"{name!r} is no name of a field")
    return name


def _wanted(name: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _scalar(name, value)
    operators = cast("Mapping[Any, Any]", value)
    if len(operators) != 1:
        raise BadFilter(f"{name} has {len(operators)} operators; one of $eq and $contains is needed")
    ((operator, operand),) = operators.items()
    if operator == "$eq":
        return _scalar(name, operand)
    if operator == "$contains":
        elements = cast("list[Any]", operand) if isinstance(operand, list | tuple) else [operand]
        return [_scalar(name, element) for element in elements]
    raise BadFilter(f"{name} has the operator {str(operator)[:40]!r}; allowed: $eq, $contains")


def _scalar(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, str | int | float | bool):
        raise BadFilter(f"{name} is to be {type(value).__name__}; a text, a number, a boolean or null is needed")
    return value


def stamped(metadata: Mapping[str, Any], pattern: Pattern) -> dict[str, Any]:
    """Metadata of something new, with what the pattern asks for where they say nothing of it."""
    return {**pattern, **metadata}


def shows(metadata: Any, pattern: Pattern | None) -> bool:
    """Whether something with these metadata may be seen."""
    return pattern is None or contains(metadata, pattern)
