"""Hypothesis strategies: messages and values as graphs hold them."""

from __future__ import annotations

import dataclasses
import enum
from collections import deque
from typing import Any

from hypothesis import strategies as st
from langchain_core import messages as lc
from pydantic import BaseModel

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), TEXT
)
PLAIN = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(TEXT, PLAIN, max_size=2)
NAMES = st.none() | TEXT


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


class Place(BaseModel):
    name: str
    tags: list[str] = []


class Outer:
    @dataclasses.dataclass
    class Inner:
        x: int


TYPES = frozenset((kind.__module__, kind.__qualname__) for kind in (Colour, Point, Place, Outer.Inner))

TYPED = st.one_of(
    st.sampled_from(Colour),
    st.builds(Point, st.integers(-9, 9), PLAIN),
    st.builds(Place, name=TEXT),
    st.uuids(),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.binary(max_size=8),
    st.sets(st.integers(-9, 9), max_size=3),
    st.lists(st.integers(-9, 9), max_size=2).map(deque),
)


def _common(**more: Any) -> dict[str, Any]:
    blocks = st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXT) | TEXT, max_size=2)
    return {
        "content": TEXT | blocks,
        "id": NAMES,
        "name": NAMES,
        "additional_kwargs": OBJECTS | st.just({"metadata": {"a": 1}}) | st.just({"metadata": {"extra": 1}}),
        "response_metadata": OBJECTS,
        **more,
    }


def _built(kind: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda given: kind(**given))


CALL = st.fixed_dictionaries({"name": TEXT, "args": OBJECTS, "id": NAMES})
INVALID = st.fixed_dictionaries({"name": NAMES, "args": NAMES, "id": NAMES, "error": NAMES})
PART = st.fixed_dictionaries({"name": NAMES, "args": NAMES, "id": NAMES, "index": st.none() | st.integers(0, 3)})
USAGE = st.none() | st.just({"input_tokens": 1, "output_tokens": 2, "total_tokens": 3})
SPEAKERS = st.sampled_from(["critic", "user", "human", "assistant", "chat"])

_AI = {"tool_calls": st.lists(CALL, max_size=2), "invalid_tool_calls": st.lists(INVALID, max_size=1)}
MESSAGES = st.one_of(
    _built(lc.HumanMessage, **_common()),
    _built(lc.HumanMessage, **_common(extra_field=PLAIN)),
    _built(lc.SystemMessage, **_common()),
    _built(lc.AIMessage, **_common(**_AI, usage_metadata=USAGE)),
    st.builds(
        lc.AIMessageChunk,
        **_common(tool_call_chunks=st.lists(PART, max_size=2), chunk_position=st.sampled_from([None, "last"])),
    ),
    _built(lc.HumanMessageChunk, **_common()),
    st.builds(
        lc.ToolMessage, **_common(tool_call_id=TEXT, artifact=PLAIN, status=st.sampled_from(["success", "error"]))
    ),
    _built(lc.FunctionMessage, **{**_common(), "name": TEXT}),
    _built(lc.ChatMessage, **_common(role=SPEAKERS)),
    _built(lc.ChatMessageChunk, **_common(role=SPEAKERS)),
    _built(lc.RemoveMessage, id=TEXT),
)
ODD_MESSAGES = _built(lc.ToolMessage, content=TEXT, tool_call_id=TEXT, artifact=st.uuids() | st.binary(max_size=4))
