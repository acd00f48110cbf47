"""The graphs that every server runs: they do next to nothing themselves, and import nothing of this project."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict

SENDS = 4
EVENTS = 40


class Count(TypedDict):
    n: Annotated[int, operator.add]


async def _one(state: Count) -> dict[str, Any]:
    return {"n": 1}


async def _pour(state: Count) -> dict[str, Any]:
    write = get_stream_writer()
    for number in range(EVENTS):
        write({"n": number, "text": "a token or two of some answer"})
    return {"n": EVENTS}


def _sends(state: Count) -> list[Send]:
    return [Send("each", {"n": number}) for number in range(SENDS)]


one = StateGraph(Count).add_node("one", _one).add_edge(START, "one").compile()
pour = StateGraph(Count).add_node("pour", _pour).add_edge(START, "pour").compile()
fan = (
    StateGraph(Count)
    .add_node("each", _one)
    .add_node("join", _one)
    .add_conditional_edges(START, _sends, ["each"])
    .add_edge("each", "join")
    .compile()
)
