"""Graphs of which several rooms of tests look at the states: one that asks in its middle, also inside of another."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict


class Count(TypedDict):
    n: Annotated[int, operator.add]
    log: Annotated[list[str], operator.add]


def step(name: str) -> Any:
    def node(state: Count) -> dict[str, Any]:
        return {"n": 1, "log": [name]}

    return node


def ask(state: Count) -> dict[str, Any]:
    return {"log": [f"answered {interrupt({'sure': state['n']})}"]}


def chain(*steps: tuple[str, Any]) -> Any:
    builder = StateGraph(Count)
    before = START
    for name, node in steps:
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder


ASKING = chain(("a", step("a")), ("ask", ask), ("b", step("b")))
AROUND = chain(("first", step("first")), ("inner", ASKING.compile()), ("last", step("last")))
