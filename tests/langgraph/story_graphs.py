"""Graphs for stories: what they do shows in files, so that it can be told after their server was killed."""

from __future__ import annotations

import itertools
import operator
import time
from pathlib import Path
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

HELD = 5


class Steps(TypedDict):
    folder: str
    seen: Annotated[list[str], operator.add]


def _note(state: Steps, line: str) -> None:
    with (Path(state["folder"]) / "journal").open("a") as book:
        book.write(line + "\n")


def _step(name: str) -> Any:
    def node(state: Steps) -> dict[str, Any]:
        _note(state, f"begin {name}")
        if name == f"step{HELD}":
            while not (Path(state["folder"]) / "door").exists():
                time.sleep(0.005)
        _note(state, f"end {name}")
        return {"seen": [name]}

    return node


# Step 5 of 12 has another beside it, which ends while step 5 waits.
_builder = StateGraph(Steps)
_names = [f"step{number}" for number in range(1, 13)]
for _name in [*_names, "beside"]:
    _builder.add_node(_name, _step(_name))
_builder.add_edge(START, _names[0])
for _one, _other in itertools.pairwise(_names):
    _builder.add_edge(_one, _other)
_builder.add_edge(f"step{HELD - 1}", "beside")
twelve = _builder.compile()


class Line(TypedDict):
    folder: str
    log: Annotated[list[str], operator.add]


def _hold(state: Line) -> dict[str, Any]:
    who = state["log"][-1]
    _note(state, f"begin {who}")  # pyright: ignore[reportArgumentType]
    while who == "first" and not (Path(state["folder"]) / "door").exists():
        time.sleep(0.005)
    _note(state, f"end {who}")  # pyright: ignore[reportArgumentType]
    return {"log": [f"done {who}"]}


line = StateGraph(Line).add_node("hold", _hold).add_edge(START, "hold").compile()


def _approve(state: Line) -> dict[str, Any]:
    return {"log": [f"answered {interrupt({'approve': state['log']})}"]}


approval = StateGraph(Line).add_node("approve", _approve).add_edge(START, "approve").compile()
