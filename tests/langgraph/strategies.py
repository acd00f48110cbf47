"""Hypothesis strategies: messages and values as graphs hold them."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import ipaddress
import pathlib
import re
from collections import deque
from typing import Any, NamedTuple

from hypothesis import strategies as st
from langchain_core import messages as lc
from langgraph.types import Interrupt, Send
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


class Pair(NamedTuple):
    a: int
    b: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: int
    seen: list[str] = dataclasses.field(default_factory=list, init=False)


TYPES = frozenset((kind.__module__, kind.__qualname__) for kind in (Colour, Point, Place, Outer.Inner, Pair, Frozen))
HASHABLE = st.integers(-9, 9) | TEXT

TYPED = st.one_of(
    st.sampled_from(Colour),
    st.builds(Point, st.integers(-9, 9), PLAIN),
    st.builds(Place, name=TEXT),
    st.uuids(),
    st.datetimes(timezones=st.none() | st.just(datetime.UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.ip_addresses(),
    st.sampled_from([pathlib.Path("a/b"), re.compile("a+", re.IGNORECASE), ipaddress.ip_network("10.0.0.0/8")]),
    st.frozensets(HASHABLE, max_size=3),
    st.dictionaries(HASHABLE, PLAIN, max_size=3),
    st.builds(Pair, st.integers(-9, 9), PLAIN),
    st.builds(Frozen, st.integers(-9, 9)),
    st.builds(Send, TEXT, PLAIN),
    st.builds(Interrupt, PLAIN, id=TEXT),
    st.decimals(allow_nan=False),
    st.binary(max_size=8),
    st.sets(st.integers(-9, 9), max_size=3),
    st.lists(st.integers(-9, 9), max_size=2).map(deque),
)


ODD_KWARGS: list[dict[str, Any]] = [
    {"metadata": {"a": 1}},
    {"metadata": {"extra": 1}},
    {"metadata": {"additional_kwargs": {}}},
    {"metadata": {}},
    {"metadata": 1},
    {"additional_kwargs": {"a": 1}, "role": "x", "content": 1},
    {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}]},
    {"function_call": {"name": "f", "arguments": "{}"}},
]


def _common(**more: Any) -> dict[str, Any]:
    blocks = st.lists(st.builds(lambda text: {"type": "text", "text": text}, TEXT) | TEXT, max_size=2)
    return {
        "content": TEXT | blocks,
        "id": NAMES,
        "name": NAMES,
        "additional_kwargs": OBJECTS | st.sampled_from(ODD_KWARGS),
        "response_metadata": OBJECTS,
        **more,
    }


def _built(kind: Any, **fields: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(fields).map(lambda given: kind(**given))


CALL = st.fixed_dictionaries({"name": TEXT, "args": OBJECTS, "id": NAMES})
INVALID = st.fixed_dictionaries({"name": NAMES, "args": NAMES, "id": NAMES, "error": NAMES})
PART = st.fixed_dictionaries({"name": NAMES, "args": NAMES, "id": NAMES, "index": st.none() | st.integers(0, 3)})
USAGE = st.none() | st.sampled_from(
    [
        {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_token_details": {"cache_read": 1}},
    ]
)
SPEAKERS = st.sampled_from(["critic", "user", "human", "assistant", "chat"])

_AI = {"tool_calls": st.lists(CALL, max_size=2), "invalid_tool_calls": st.lists(INVALID, max_size=1)}
_EXTRA = st.fixed_dictionaries({}, optional=dict.fromkeys(["extra", "usage", "node", "parsed"], PLAIN))
_PARTS = st.lists(PART, max_size=2)
_STATUS = st.sampled_from(["success", "error"])


@st.composite
def _of(draw: st.DrawFn, *kinds: Any, **fields: Any) -> Any:
    return draw(st.sampled_from(kinds))(**draw(_EXTRA), **draw(st.fixed_dictionaries(_common(**fields))))


def _without_calls(message: Any) -> Any:
    """The message when somebody has taken its calls away: LangChain would derive them again of what it still has."""
    message.tool_calls, message.invalid_tool_calls = [], []
    return message


_AI_MESSAGES = _of(lc.AIMessage, **_AI, usage_metadata=USAGE)
_AI_CHUNKS = _of(
    lc.AIMessageChunk,
    **_AI,
    tool_call_chunks=_PARTS,
    usage_metadata=USAGE,
    chunk_position=st.sampled_from([None, "last"]),
)
MESSAGES = st.one_of(
    _of(lc.HumanMessage, lc.HumanMessageChunk, lc.SystemMessage, lc.SystemMessageChunk),
    _AI_MESSAGES,
    _AI_MESSAGES.map(_without_calls),
    _AI_CHUNKS,
    _AI_CHUNKS.map(_without_calls),
    _of(lc.ToolMessage, lc.ToolMessageChunk, tool_call_id=TEXT, artifact=PLAIN, status=_STATUS),
    _of(lc.FunctionMessage, lc.FunctionMessageChunk, name=TEXT),
    _of(lc.ChatMessage, lc.ChatMessageChunk, role=SPEAKERS | TEXT),
    _built(lc.RemoveMessage, id=TEXT),
)
ODD_MESSAGES = _built(lc.ToolMessage, content=TEXT, tool_call_id=TEXT, artifact=st.uuids() | st.binary(max_size=4))
