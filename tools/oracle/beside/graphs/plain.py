"""Graphs without questions: a context, a model, an inner graph, errors, time, sends, commands, the store."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, Literal

from langchain_core.messages import AnyMessage
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from models import Scripted
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    path: Annotated[list[str], operator.add]


class Settings(TypedDict, total=False):
    tone: str


class Count(TypedDict, total=False):
    n: Annotated[int, operator.add]
    last: Any


class Inner(TypedDict, total=False):
    note: str


def look(state: State, runtime: Runtime[Settings]) -> State:
    get_stream_writer()({"at": "look"})
    flavour = get_config().get("configurable", {}).get("flavour", "none")
    return {"path": [f"look:{(runtime.context or {}).get('tone', 'plain')}:{flavour}"]}


def speak(state: State) -> State:
    return {"messages": [Scripted().invoke(state.get("messages", []))], "path": ["speak"]}


def dig(state: Inner) -> Inner:
    return {"note": "dug"}


_inner = StateGraph(Inner).add_node("dig", dig).add_edge(START, "dig").compile(name="inner")


def below(state: State) -> State:
    return {"path": [_inner.invoke({"note": ""})["note"]]}


async def add(state: Count) -> Count:
    return {"n": 1}


def again(state: Count) -> Command[Literal["again"]]:
    return Command(goto="again", update={"n": 1})


def hand(state: Count) -> Command[Literal["left", "right"]]:
    return Command(goto=["left", Send("right", {"n": 5})], update={"n": 1})


def fail(state: Count) -> Count:
    raise ValueError("no such city: Atlantis")


async def rest(state: Count) -> Count:
    await asyncio.sleep(min(state.get("last") or 30, 30))
    return {"n": 1}


def note(state: Count, runtime: Runtime) -> Count:
    assert runtime.store is not None
    runtime.store.put(("beside", "notes"), "n", {"n": state.get("n", 0)})
    return {"last": runtime.store.get(("beside", "notes"), "n").value}  # pyright: ignore[reportOptionalMemberAccess]


def sends(state: Count) -> list[Send]:
    return [Send("each", {"n": number}) for number in range(3)]


weather = (
    StateGraph(State, context_schema=Settings)
    .add_node("look", look)
    .add_node("speak", speak)
    .add_node("below", below)
    .add_edge(START, "look")
    .add_edge("look", "speak")
    .add_edge("speak", "below")
    .compile()
)
one = StateGraph(Count).add_node("add", add).add_edge(START, "add").compile()
fan = (
    StateGraph(Count)
    .add_node("each", add)
    .add_node("join", add)
    .add_conditional_edges(START, sends, ["each"])
    .add_edge("each", "join")
    .compile()
)
breaks = (
    StateGraph(Count)
    .add_node("add", add)
    .add_node("fail", fail)
    .add_edge(START, "add")
    .add_edge("add", "fail")
    .compile()
)
loops = StateGraph(Count).add_node("again", again).add_edge(START, "again").compile()
slow = (
    StateGraph(Count).add_node("add", add).add_node("rest", rest).add_edge(START, "add").add_edge("add", "rest")
).compile()
hands_over = (
    StateGraph(Count)
    .add_node("hand", hand)
    .add_node("left", add)
    .add_node("right", add)
    .add_edge(START, "hand")
    .compile()
)
remembers = StateGraph(Count).add_node("note", note).add_edge(START, "note").compile()
