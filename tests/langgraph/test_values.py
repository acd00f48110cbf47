"""Every value can be shown, and what is called plain comes back from JSON as it was."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections import namedtuple
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from langchain_core.messages import HumanMessage
from langgraph.types import Command, Interrupt, Send
from strategies import MESSAGES, PLAIN, TYPED, Colour, Place, Point

from runyard.runtime.langgraph.exact import is_plain
from runyard.runtime.langgraph.values import project


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError


class Text(str):
    pass


class Fields(msgspec.Struct):
    a: Any


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (HumanMessage("a"), {"role": "user", "content": "a"}),
        ([HumanMessage("a"), 1], [{"role": "user", "content": "a"}, 1]),
        (Place(name="Ulm"), {"name": "Ulm", "tags": []}),
        (Point(1, {2}), {"x": 1, "y": [2]}),
        (Fields((1,)), {"a": [1]}),
        (Pair(1, 2), {"a": 1, "b": 2}),
        (Colour.RED, "red"),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00Z"),
        (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        ({3, 1, 2}, [1, 2, 3]),
        (b"ab", "YWI="),
        (Path("/a"), "/a"),
        (decimal.Decimal("1.50"), "1.50"),
        (Interrupt("why?", id="i"), {"id": "i", "value": "why?"}),
        (Send("node", {1}), {"node": "node", "arg": [1]}),
        (Command(goto="b"), {"goto": "b"}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "null": "b", "[1,2]": "c"}),
        ({1: "a", "1": "b"}, {"1": "a", "1 (str)": "b"}),
        (math.nan, "nan"),
        (2**70, str(2**70)),
        ("a\ud800\0", "a?\ufffd"),
        (ValueError("bad"), "ValueError: bad"),
        (Broken(), "<Broken>"),
    ],
)
def test_what_people_see(value: Any, shown: Any) -> None:
    assert project(value) == shown
    msgspec.json.encode(project(value))


def test_a_value_that_holds_itself_is_shown_to_where_it_does() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert project(value) == [1, "<list>"]


def test_deep_and_wide_values_are_shown_in_part() -> None:
    deep: Any = {1}
    wide: Any = 1
    for _ in range(500):
        deep = (deep,)
    for _ in range(50):
        wide = [wide, wide]
    for value in (deep, (wide,)):
        msgspec.json.encode(project(value))


@given(PLAIN)
@settings(max_examples=100, deadline=None)
def test_plain_values_come_back_from_json(value: Any) -> None:
    if is_plain(value):
        back = msgspec.json.decode(msgspec.json.encode(value))
        assert repr(back) == repr(value)


@given(MESSAGES | TYPED)
@settings(max_examples=100, deadline=None)
def test_everything_can_be_shown(value: Any) -> None:
    msgspec.json.encode(project({"value": (value,)}))


@pytest.mark.parametrize(
    "value",
    [(1,), {1}, {1: 2}, math.inf, 2**64, -(2**63) - 1, Text("a"), "\ud800", "a\0", b"", {"\0": 1}, Colour.RED, [(1,)]],
)
def test_what_is_not_plain(value: Any) -> None:
    assert not is_plain(value)
