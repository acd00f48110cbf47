"""Items: documents in the store, under a namespace and a key. Data and pure rules."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from runyard.errors import InvalidInput
from runyard.vectors import Vector

Namespace = tuple[str, ...]

OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")


class Item(msgspec.Struct, frozen=True):
    """A document. `value` is the JSON text of an object; times are microseconds since the epoch."""

    namespace: Namespace
    key: str
    value: bytes
    created_at: int
    updated_at: int
    ttl: int | None = None
    """Microseconds for which it is kept after it was last put or touched; None for ever."""
    score: float | None = None
    """How near it is to what was searched for by meaning: the cosine, up to 1; None for any other search."""


class Lasting(msgspec.Struct, frozen=True):
    """How long items are kept of which nobody says so."""

    minutes: float | None = None
    """After which an item expires; None for never."""
    refresh: bool | None = None
    """Whether what is read is kept for its time anew where the reader does not say so; None leaves it to the API, which
    does not, and to LangGraph's stores, which do."""

    def until(self, now: int, minutes: float | None = None) -> int | None:
        """When an item expires that is put now, to be kept so long; None for never. Microseconds since the epoch."""
        minutes = self.minutes if minutes is None else minutes
        return None if minutes is None else now + round(minutes * 60e6)


class ItemSearch(msgspec.Struct, frozen=True):
    """A search: items below `prefix` whose value passes `filter` (field -> value or {operator: value}) and contains
    `within`. With a `meaning`, a unit vector, only those that have vectors as long as that one."""

    prefix: Namespace = ()
    filter: dict[str, Any] = {}
    limit: int = 10
    offset: int = 0
    within: dict[str, Any] | None = None
    meaning: Vector | None = None


class NamespaceQuery(msgspec.Struct, frozen=True):
    """Which namespaces to list; `*` in prefix or suffix stands for any one label. `within` is in the value of one of
    their items at least."""

    prefix: Namespace = ()
    suffix: Namespace = ()
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0
    within: dict[str, Any] | None = None


def check_namespace(namespace: list[str] | tuple[str, ...], field: str = "namespace") -> Namespace:
    """A namespace that can be stored.

    Raises:
        InvalidInput: a label is empty or holds NUL; `metadata["field"]` names its place.
    """
    for index, label in enumerate(namespace):
        if not label or "\0" in label:
            raise InvalidInput(
                f"{field}[{index}] is {label!r}: a label must be non-empty text without NUL",
                code="malformed_namespace",
                field=f"{field}[{index}]",
            )
    return tuple(namespace)


def check_filter(filter: dict[str, Any]) -> dict[str, Any]:
    """A filter whose operators are known, at any depth; beside an operator stand only others.

    Raises:
        InvalidInput: an unknown operator, named with its field.
    """
    for field, wanted in filter.items():
        _check_wanted(wanted, f"filter.{field}")
    return filter


def _check_wanted(wanted: Any, place: str) -> None:
    if isinstance(wanted, list):
        for index, item in enumerate(cast("list[Any]", wanted)):
            _check_wanted(item, f"{place}[{index}]")
    elif isinstance(wanted, dict):
        keys = cast("dict[str, Any]", wanted)
        operators = any(key.startswith("$") for key in keys)
        for key, item in keys.items():
            if operators and key not in OPERATORS:
                raise InvalidInput(f"{place} has the operator {key!r}; allowed: {', '.join(OPERATORS)}", field=place)
            if not operators:
                _check_wanted(item, f"{place}.{key}")


def passes(value: dict[str, Any], filter: dict[str, Any]) -> bool:
    """Whether a document passes a filter. Of an object only the fields count that the filter names, at any depth; an
    absent field is as good as null; an ordering between different types is false."""
    return all(_field_passes(value.get(field), wanted) for field, wanted in filter.items())


def _field_passes(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and any(key in OPERATORS for key in wanted):  # pyright: ignore[reportUnknownVariableType]
        return all(_compare(found, operator, operand) for operator, operand in wanted.items())  # pyright: ignore
    if isinstance(wanted, dict) and isinstance(found, dict):
        document = cast("dict[str, Any]", found)
        return all(_field_passes(document.get(k), v) for k, v in cast("dict[str, Any]", wanted).items())
    if isinstance(wanted, list) and isinstance(found, list):
        several, others = cast("list[Any]", found), cast("list[Any]", wanted)
        return len(several) == len(others) and all(map(_field_passes, several, others))
    return _equal(found, wanted)


def _equal(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) is not isinstance(wanted, bool):
        return False
    return bool(found == wanted)


def _compare(found: Any, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return _equal(found, operand)
    if operator == "$ne":
        return not _equal(found, operand)
    if not _same_order(found, operand):
        return False
    match operator:
        case "$gt":
            return bool(found > operand)
        case "$gte":
            return bool(found >= operand)
        case "$lt":
            return bool(found < operand)
        case _:
            return bool(found <= operand)


def _same_order(one: object, other: object) -> bool:
    """Whether two values can be put in order: both numbers, or both texts."""
    if isinstance(one, bool) or isinstance(other, bool):
        return False
    if isinstance(one, str):
        return isinstance(other, str)
    return isinstance(one, int | float) and isinstance(other, int | float)


def namespace_matches(namespace: Namespace, query: NamespaceQuery) -> bool:
    """Whether a namespace has the query's prefix and suffix."""
    return _labels_match(namespace[: len(query.prefix)], query.prefix) and (
        not query.suffix or _labels_match(namespace[-len(query.suffix) :], query.suffix)
    )


def _labels_match(labels: Namespace, wanted: Namespace) -> bool:
    return len(labels) == len(wanted) and all(w in ("*", label) for label, w in zip(labels, wanted, strict=True))
