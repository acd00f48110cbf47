"""What the tests of the dialect run: functions and graphs."""

from __future__ import annotations

import asyncio
import inspect
import operator
import threading
from collections.abc import Iterator
from typing import Annotated, Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_config, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runyard import Context, agent, graph

STOPPED: list[str] = []
"""The runs whose code was told to stop, and has."""
GO = threading.Event()
"""Lets `waits` return."""


@agent
async def counts(ctx: Context, input: Any) -> dict[str, Any]:
    """Adds to the thread's sum."""
    total = ctx.state.get("sum", 0) + (input or {}).get("n", 1)
    return {"sum": total, "configured": ctx.config, "metadata": ctx.metadata}


@agent
async def talks(ctx: Context, messages: list[dict[str, Any]]) -> None:
    """Answers in pieces."""
    await ctx.emit({"heard": len(messages)}, "progress")
    async with ctx.message(id="answer") as answer:
        await answer.write("You said ")
        await answer.write(messages[-1]["content"])


@agent
async def asks(ctx: Context) -> dict[str, Any]:
    """Asks, and tells what it was answered."""
    return {"answer": await ctx.interrupt({"question": "sure?"})}


@agent(max_attempts=1)
async def fails(input: Any) -> None:
    """Raises."""
    raise ValueError("no such city: Atlantis")


@agent
async def waits(ctx: Context) -> dict[str, Any]:
    """Works until it is told to stop, or may return."""
    await ctx.emit("begun")
    try:
        while not GO.is_set():
            await asyncio.sleep(0.002)
    except asyncio.CancelledError:
        STOPPED.append(ctx.run_id)
        raise
    return {"waited": True}


class Scripted(BaseChatModel):
    """A model that says one thing, a word at a time."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("It rains today", id="says"))])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in ("It", " rains", " today"):
            chunk = ChatGenerationChunk(message=AIMessageChunk(word, id="says"))
            if run_manager:
                run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    path: Annotated[list[str], operator.add]
    answer: str


class Settings(TypedDict, total=False):
    tone: str


def look(state: State, runtime: Runtime[Settings]) -> State:
    get_stream_writer()({"name": "progress", "at": "look"})
    configured = get_config().get("configurable", {}).get("flavour", "none")
    return {"path": [f"look:{(runtime.context or {}).get('tone', 'plain')}:{configured}"]}


def speak(state: State) -> State:
    return {"messages": [Scripted().invoke(state.get("messages", []))], "path": ["speak"]}


FITS: dict[str, Any] = {"type": "string", "enum": ["yes", "no"]}
"""What the answer of `confirm` is to fit."""
_SAYS_SO: Any = {"response_schema": FITS} if "response_schema" in inspect.signature(interrupt).parameters else {}


def confirm(state: State) -> State:
    return {"answer": interrupt("Are you sure?", **_SAYS_SO), "path": ["confirm"]}


def stumble(state: State) -> State:
    raise ValueError("no such city: Atlantis")


class Inner(TypedDict, total=False):
    note: str


def dig(state: Inner) -> Inner:
    return {"note": "dug"}


_inner = StateGraph(Inner).add_node("dig", dig).add_edge(START, "dig").add_edge("dig", END).compile(name="inner")


def below(state: State) -> State:
    return {"path": [_inner.invoke({"note": ""})["note"]]}


_builder = StateGraph(State, context_schema=Settings)
_builder.add_node("look", look)
_builder.add_node("speak", speak)
_builder.add_node("below", below)
_builder.add_edge(START, "look")
_builder.add_edge("look", "speak")
_builder.add_edge("speak", "below")
_builder.add_edge("below", END)

_asking = StateGraph(State)
_asking.add_node("speak", speak)
_asking.add_node("confirm", confirm)
_asking.add_edge(START, "speak")
_asking.add_edge("speak", "confirm")
_asking.add_edge("confirm", END)


def joke(state: State) -> State:
    return {"messages": [Scripted().with_config(tags=["joke"]).invoke([])]}


_joking = StateGraph(State).add_node("joke", joke).add_edge(START, "joke")
_stumbling = StateGraph(State).add_node("stumble", stumble).add_edge(START, "stumble")

AGENTS = [
    counts, talks, asks, fails, waits, graph(_builder.compile(), id="weather"), graph(_asking.compile(), id="careful"),
    graph(_stumbling.compile(), id="stumbles"), graph(_joking.compile(), id="jokes"),
]  # fmt: skip
