"""The graphs of the benchmark. They do next to nothing themselves."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from typing_extensions import TypedDict

EVENTS = 2_000
TOKENS = 4_000
STEPS = 40


class Count(TypedDict):
    n: Annotated[int, operator.add]


async def _one(state: Count) -> dict[str, Any]:
    return {"n": 1}


async def _pour(state: Count) -> dict[str, Any]:
    write = get_stream_writer()
    for number in range(EVENTS):
        write({"n": number, "text": "a token or two of some answer"})
    return {"n": EVENTS}


class Babbler(BaseChatModel):
    """A model that streams its answer token by token, as fast as it is read."""

    @property
    def _llm_type(self) -> str:
        return "babbler"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("token " * TOKENS))])

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for _number in range(TOKENS):
            chunk = ChatGenerationChunk(message=AIMessageChunk("token "))
            if run_manager is not None:
                await run_manager.on_llm_new_token("token ", chunk=chunk)
            yield chunk


async def _babble(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Babbler().ainvoke(state["messages"])]}


async def _reply(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("an answer of some length, with a few facts in it. " * 4)]}


def _chain(length: int) -> Any:
    builder = StateGraph(Count)
    names = [f"step{number}" for number in range(length)]
    for name in names:
        builder.add_node(name, _one)
    builder.add_edge(START, names[0])
    for one, other in zip(names, names[1:], strict=False):  # noqa: RUF007
        builder.add_edge(one, other)
    return builder.compile()


one = _chain(1)
forty = _chain(STEPS)
pour = StateGraph(Count).add_node("pour", _pour).add_edge(START, "pour").compile()
babble = StateGraph(MessagesState).add_node("babble", _babble).add_edge(START, "babble").compile()
chat = StateGraph(MessagesState).add_node("reply", _reply).add_edge(START, "reply").compile()
