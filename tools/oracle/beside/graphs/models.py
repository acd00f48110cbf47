"""A scripted model, and an agent that calls a tool by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

_USED = {"input_tokens": 3, "output_tokens": 3, "total_tokens": 6}


class Scripted(BaseChatModel):
    """Says one thing, a word at a time; where it `calls`, it calls the tool before."""

    calls: bool = False

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        whole: Any = None
        for chunk in self._stream(messages, stop, run_manager):
            whole = chunk.message if whole is None else whole + chunk.message
        message = AIMessage(
            whole.content, id=whole.id, tool_calls=whole.tool_calls, usage_metadata=whole.usage_metadata
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        wants = self.calls and not any(isinstance(message, ToolMessage) for message in messages)
        for piece in _calling() if wants else _saying():
            chunk = ChatGenerationChunk(message=piece)
            if run_manager:
                run_manager.on_llm_new_token(str(piece.content), chunk=chunk)
            yield chunk


def _saying() -> Iterator[AIMessageChunk]:
    for word in ("It", " rains", " today"):
        yield AIMessageChunk(word, id="says", usage_metadata=_USED if word == " today" else None)  # pyright: ignore


def _calling() -> Iterator[AIMessageChunk]:
    for number, text in enumerate(('{"city"', ': "Paris"}')):
        first = number == 0
        chunk = ToolCallChunk(
            name="weather" if first else None, args=text, id="call1" if first else None, index=0, type="tool_call_chunk"
        )
        yield AIMessageChunk("", id="calls", tool_call_chunks=[chunk])


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"rain in {city}"


async def model(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await Scripted(calls=True).ainvoke(state["messages"])]}


tooled = (
    StateGraph(MessagesState)
    .add_node("model", model)
    .add_node("tools", ToolNode([weather]))
    .add_edge(START, "model")
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
    .compile()
)
