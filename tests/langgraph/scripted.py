"""What cases on the streaming protocol need: models that follow a script, and a run's events as a reader sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from live_server import Server

from runyard.events import Event
from runyard.protocol.frames import Face

GO = {"messages": [{"role": "user", "content": "go", "id": "u"}]}
_FACE = Face("camel")


class Scripted(BaseChatModel):
    """Streams one script after the other: pieces, what it waits for, and errors that it raises."""

    scripts: list[Sequence[Any]]
    name_of_model: str = "scripted-1"
    at: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "nobody", "ls_model_name": self.name_of_model, "ls_model_type": "chat"}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _next(self) -> Sequence[Any]:
        script = self.scripts[self.at]
        self.at += 1
        return script

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any) -> ChatResult:
        (message,) = self._next()
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> Iterator[ChatGenerationChunk]:
        for piece in self._next():
            if isinstance(piece, BaseException):
                raise piece
            chunk = ChatGenerationChunk(message=piece)
            if run_manager is not None:
                run_manager.on_llm_new_token("", chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in self._next():
            if isinstance(piece, BaseException):
                raise piece
            if not isinstance(piece, AIMessageChunk):
                await piece()
                continue
            chunk = ChatGenerationChunk(message=piece)
            if run_manager is not None:
                await run_manager.on_llm_new_token("", chunk=chunk)
            yield chunk


def words(text: str, **more: Any) -> list[AIMessageChunk]:
    """A text in pieces of a word each; `more` comes with the last."""
    parts = [f"{word} " for word in text.split()]
    return [AIMessageChunk(part) for part in parts[:-1]] + [AIMessageChunk(parts[-1].rstrip(), **more)]


def calls(*parts: tuple[int, str | None, str | None, str]) -> list[AIMessageChunk]:
    """Pieces of calls of tools: (index, id, name, a part of the arguments' text)."""
    return [
        AIMessageChunk("", tool_call_chunks=[{"index": index, "id": id, "name": name, "args": args}])
        for index, id, name, args in parts
    ]


async def log_of(s: Server, run: dict[str, Any]) -> list[Event]:
    """What the log has of a run."""
    return await s.storage.events("", run["thread_id"], after=0, run_id=run["run_id"], limit=100_000)


async def events_of(s: Server, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a run, as a reader of all channels gets them."""
    return [msgspec.json.decode(frame.text) for event in await log_of(s, run) for frame in _FACE.frames(event)]


async def run_told(s: Server, **wish: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Runs the server's graph to its end; the answer, and the events."""
    run = await s.run(**wish)
    answer = await s.wait(run["run_id"])
    return answer, await events_of(s, run)


def said(events: list[dict[str, Any]], *methods: str) -> list[Any]:
    """The data of the events of some methods."""
    return [event["params"]["data"] for event in events if event["method"] in methods]


def talker(model: Any, name: str = "talk") -> Any:
    """A graph of one node, which asks the model."""

    async def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(name, talk).add_edge(START, name)


@tool
def look(at: int) -> str:
    """Looks somewhere."""
    if at < 0:
        raise ValueError("nothing is there")
    return f"it rains at {at}"


def agent_of(model: Any, *tools: Any) -> Any:
    """A model that calls tools until it calls none."""

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node("think", think)
    builder.add_node("tools", ToolNode(list(tools), handle_tool_errors=True))
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", lambda state: "tools" if state["messages"][-1].tool_calls else "__end__")
    builder.add_edge("tools", "think")
    return builder
