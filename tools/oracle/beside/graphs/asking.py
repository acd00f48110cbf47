"""Graphs that ask: one question, two at once, one of an inner graph."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    path: Annotated[list[str], operator.add]
    answer: Any
    other: Any


def before(state: State) -> State:
    return {"path": ["before"]}


def confirm(state: State) -> State:
    return {"answer": interrupt({"question": "sure?"}), "path": ["confirm"]}


def second(state: State) -> State:
    return {"other": interrupt("second?"), "path": ["second"]}


careful = (
    StateGraph(State)
    .add_node("before", before)
    .add_node("confirm", confirm)
    .add_edge(START, "before")
    .add_edge("before", "confirm")
    .compile()
)
two = (
    StateGraph(State)
    .add_node("confirm", confirm)
    .add_node("second", second)
    .add_edge(START, "confirm")
    .add_edge(START, "second")
    .compile()
)
outer = (
    StateGraph(State)
    .add_node("before", before)
    .add_node("inner", careful)
    .add_edge(START, "before")
    .add_edge("before", "inner")
    .compile()
)
