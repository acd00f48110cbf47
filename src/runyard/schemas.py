"""JSON Schema, as far as agents publish it: whether a value fits, for servers that have a schema and no code.

What is not known here accepts anything: the worker that executes the run judges again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from runyard.errors import InvalidInput

Schema = Mapping[str, Any]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, int | float) and value == int(value),
}
_MOST_SHOWN = 60


def check(value: Any, schema: Schema, place: str) -> None:
    """Raises `InvalidInput` that names the place of what does not fit (`place` is that of the value)."""
    found = _problem(value, schema, schema, place)
    if found is not None:
        where, why = found
        raise InvalidInput(f"{where} {why}", field=where)


Problem = tuple[str, str] | None


def _problem(value: Any, schema: Any, root: Schema, place: str) -> Problem:
    if schema is False:
        return place, "is not known here"
    if not isinstance(schema, dict):
        return None
    rules = cast("dict[str, Any]", schema)
    if "$ref" in rules:
        found = _problem(value, _referred(str(rules["$ref"]), root), root, place)
        if found is not None:
            return found
    for rule in (_wrong_type, _wrong_value, _wrong_choice):
        found = rule(value, rules, root, place)
        if found is not None:
            return found
    if isinstance(value, dict):
        return _in_object(cast("dict[str, Any]", value), rules, root, place)
    if isinstance(value, list):
        return _in_array(cast("list[Any]", value), rules, root, place)
    return _out_of_bounds(value, rules, place)


def _referred(reference: str, root: Schema) -> Any:
    """What a reference inside the document points to; anything fits where there is nothing."""
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return found  # pyright: ignore[reportUnknownVariableType]


def _wrong_type(value: Any, rules: dict[str, Any], root: Schema, place: str) -> Problem:
    named: Any = rules.get("type")
    allowed = cast("list[str]", [named] if isinstance(named, str) else named or [])
    known = [name for name in allowed if name in _TYPES]
    if not known or len(known) < len(allowed) or any(_TYPES[name](value) for name in known):
        return None
    return place, f"is {_shown(value)}: must be of the type {' or '.join(known)}"


def _wrong_value(value: Any, rules: dict[str, Any], root: Schema, place: str) -> Problem:
    if "const" in rules and not _same(value, rules["const"]):
        return place, f"is {_shown(value)}: must be {_shown(rules['const'])}"
    choices = rules.get("enum")
    if isinstance(choices, list) and not any(_same(value, choice) for choice in cast("list[Any]", choices)):
        return place, f"is {_shown(value)}: must be one of {', '.join(map(_shown, cast('list[Any]', choices)))}"
    return None


def _wrong_choice(value: Any, rules: dict[str, Any], root: Schema, place: str) -> Problem:
    for part in rules.get("allOf", ()):
        found = _problem(value, part, root, place)
        if found is not None:
            return found
    for word in ("anyOf", "oneOf"):
        problems = [_problem(value, part, root, place) for part in rules.get(word, ())]
        if problems and None not in problems:
            # The choice that came furthest is the one that was meant.
            return max(cast("list[tuple[str, str]]", problems), key=lambda found: len(found[0]))
    return None


def _in_object(value: dict[str, Any], rules: dict[str, Any], root: Schema, place: str) -> Problem:
    for name in rules.get("required", ()):
        if name not in value:
            return f"{place}.{name}", "is missing"
    known: dict[str, Any] = rules.get("properties", {})
    others = rules.get("additionalProperties", True)
    for name, member in value.items():
        found = _problem(member, known.get(name, others), root, f"{place}.{name}")
        if found is not None:
            return found
    return None


def _in_array(value: list[Any], rules: dict[str, Any], root: Schema, place: str) -> Problem:
    first: list[Any] = rules.get("prefixItems", [])
    others = rules.get("items", True)
    for index, item in enumerate(value):
        found = _problem(item, first[index] if index < len(first) else others, root, f"{place}[{index}]")
        if found is not None:
            return found
    if len(value) < rules.get("minItems", 0) or len(value) > rules.get("maxItems", len(value)):
        return (
            place,
            f"has {len(value)} items, which is too {'few' if len(value) < rules.get('minItems', 0) else 'many'}",
        )
    return None


def _out_of_bounds(value: Any, rules: dict[str, Any], place: str) -> Problem:
    if isinstance(value, str):
        if len(value) < rules.get("minLength", 0) or len(value) > rules.get("maxLength", len(value)):
            return place, f"has {len(value)} characters, which is too few or too many"
        if "pattern" in rules and not _matches(value, rules["pattern"]):
            return place, f"is {_shown(value)}: must match {rules['pattern']}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        bounds: dict[str, Callable[[Any], bool]] = {
            "minimum": lambda bound: value >= bound,
            "maximum": lambda bound: value <= bound,
            "exclusiveMinimum": lambda bound: value > bound,
            "exclusiveMaximum": lambda bound: value < bound,
        }
        for word, holds in bounds.items():
            if word in rules and not holds(rules[word]):
                return place, f"is {_shown(value)}: {word} is {rules[word]}"
    return None


def _matches(value: str, pattern: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True  # it is written for another language's expressions


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
