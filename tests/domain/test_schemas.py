"""JSON Schema as agents publish it: what fits, what does not, and at which place. Where the rules are not known here,
anything fits."""

from __future__ import annotations

from typing import Any

import pytest

from runyard.errors import InvalidInput
from runyard.schemas import check


def refusal(value: Any, schema: dict[str, Any]) -> str:
    with pytest.raises(InvalidInput) as caught:
        check(value, schema, "input")
    assert caught.value.message.startswith(caught.value.metadata["field"])
    return caught.value.message


ORDER = {
    "type": "object",
    "required": ["item"],
    "properties": {
        "item": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]+$"},
        "count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
        "price": {"type": "number", "exclusiveMinimum": 0, "maximum": 2.5},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "place": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}], "items": False},
        "next": {"$ref": "#/$defs/Order"},
        "size": {"enum": ["s", "m", 1]},
        "kind": {"const": "order"},
        "note": {"type": ["string", "null"]},
        "gift": {"type": "boolean"},
    },
    "additionalProperties": False,
    "$defs": {"Order": {"type": "object", "properties": {"count": {"type": "integer"}}}},
}


@pytest.mark.parametrize(
    "value",
    [
        {"item": "tea"},
        {"item": "tea", "count": 1, "price": 2.5, "tags": ["a", "b"], "place": [1, 2.0]},
        {"item": "tea", "count": 9.0, "size": 1, "kind": "order", "note": None, "gift": False},
        {"item": "tea", "next": {"count": 3, "anything": []}, "note": ""},
        {"item": "tea", "place": []},
    ],
)
def test_what_fits_is_let_through(value: Any) -> None:
    check(value, ORDER, "input")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "input is []: must be of the type object"),
        ({}, "input.item is missing"),
        ({"item": "tea", "colour": "red"}, "input.colour is not known here"),
        ({"item": 1}, "input.item is 1: must be of the type string"),
        ({"item": ""}, "input.item has 0 characters, which is too few or too many"),
        ({"item": "coffee"}, "input.item has 6 characters, which is too few or too many"),
        ({"item": "TEA"}, "input.item is 'TEA': must match ^[a-z]+$"),
        ({"item": "tea", "count": True}, "input.count is True: must be of the type integer"),
        ({"item": "tea", "count": 1.5}, "input.count is 1.5: must be of the type integer"),
        ({"item": "tea", "count": 0}, "input.count is 0: minimum is 1"),
        ({"item": "tea", "count": 10}, "input.count is 10: exclusiveMaximum is 10"),
        ({"item": "tea", "price": 0}, "input.price is 0: exclusiveMinimum is 0"),
        ({"item": "tea", "price": 3}, "input.price is 3: maximum is 2.5"),
        ({"item": "tea", "price": "3"}, "input.price is '3': must be of the type number"),
        ({"item": "tea", "tags": []}, "input.tags has 0 items, which is too few"),
        ({"item": "tea", "tags": ["a", "b", "c"]}, "input.tags has 3 items, which is too many"),
        ({"item": "tea", "tags": ["a", 2]}, "input.tags[1] is 2: must be of the type string"),
        ({"item": "tea", "place": [1, "x"]}, "input.place[1] is 'x': must be of the type number"),
        ({"item": "tea", "place": [1, 2, 3]}, "input.place[2] is not known here"),
        ({"item": "tea", "next": {"count": "x"}}, "input.next.count is 'x': must be of the type integer"),
        ({"item": "tea", "size": "l"}, "input.size is 'l': must be one of 's', 'm', 1"),
        ({"item": "tea", "size": True}, "input.size is True: must be one of 's', 'm', 1"),
        ({"item": "tea", "kind": "offer"}, "input.kind is 'offer': must be 'order'"),
        ({"item": "tea", "note": 1}, "input.note is 1: must be of the type string or null"),
        ({"item": "tea", "gift": 1}, "input.gift is 1: must be of the type boolean"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(value: Any, told: str) -> None:
    assert refusal(value, ORDER) == told


def test_of_choices_the_one_that_came_furthest_is_told() -> None:
    either = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"n": {"type": "integer"}}}]}
    check("text", either, "input")
    check({"n": 1}, either, "input")
    assert refusal({"n": "x"}, either) == "input.n is 'x': must be of the type integer"
    assert refusal(1, {"oneOf": [{"type": "string"}, {"type": "null"}]}) == "input is 1: must be of the type string"


def test_all_parts_have_to_hold() -> None:
    both = {"allOf": [{"required": ["a"]}, {"properties": {"b": {"type": "string"}}}]}
    check({"a": 1, "b": "x"}, both, "input")
    assert refusal({"b": "x"}, both) == "input.a is missing"
    assert refusal({"a": 1, "b": 1}, both) == "input.b is 1: must be of the type string"


def test_members_of_a_mapping_fit_what_it_says_of_the_others() -> None:
    mapping = {"type": "object", "additionalProperties": {"type": "integer"}}
    check({"a": 1, "b": 2}, mapping, "input")
    assert refusal({"a": 1, "b": "2"}, mapping) == "input.b is '2': must be of the type integer"


def test_references_are_followed_with_their_names_unescaped_and_may_go_round() -> None:
    tree = {
        "$ref": "#/$defs/a~1b~0c",
        "$defs": {"a/b~c": {"type": "object", "properties": {"child": {"$ref": "#/$defs/a~1b~0c"}}}},
    }
    check({"child": {"child": {}}}, tree, "input")
    assert refusal({"child": {"child": 1}}, tree) == "input.child.child is 1: must be of the type object"


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "date"},
        {"type": ["string", "decimal"]},
        {"$ref": "#/$defs/absent"},
        {"$ref": "other.json#/x"},
        {"not": {"type": "integer"}},
        {"properties": {"a": {"type": "string"}}},
        {"minLength": 5},
    ],
)
def test_what_is_not_known_accepts_anything(schema: dict[str, Any]) -> None:
    check(7, schema, "input")


def test_a_pattern_in_another_language_accepts_any_text() -> None:
    check("7", {"type": "string", "pattern": r"^\p{L}+$"}, "input")


def test_a_long_value_is_not_repeated_whole() -> None:
    message = refusal("x" * 1000, {"type": "integer"})
    assert len(message) < 120
    assert "..." in message
