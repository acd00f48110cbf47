"""What an attempt's tools, subgraphs and models do, as LangChain's callbacks tell it.

They come from the lane's loop and from the threads of nodes. What they tell has its place among what the graph streams:
so a mark goes through the graph's own stream, by the writer that nodes have, and what was told is taken when the mark
arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import msgspec
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.config import get_config, get_stream_writer
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.types import Command

from runyard.events import Entry, entry
from runyard.runtime.describe import described
from runyard.runtime.langgraph.lineage import Graph, Lineage, graph_of
from runyard.runtime.langgraph.messages import to_protocol
from runyard.runtime.langgraph.values import as_text, project

try:
    from langgraph.pregel._tools import _tool_call_writer as deltas  # pyright: ignore[reportPrivateUsage]
except ImportError:  # LangGraph before 1.2 has no such writer
    deltas = None

Metadata = dict[str, Any]

_EVENT_MAKERS = frozenset({"_iter_v2_events", "_aiter_v2_events"})
"""LangChain's functions that make events of a model's pieces, and have the model tell the pieces meanwhile."""
_DEEPEST = 40
"""Calls between those and a callback, at most."""


class CallEnded(msgspec.Struct, frozen=True):
    """A call of a model has ended: that one whose pieces come with this very metadata."""

    metadata: Metadata
    error: str | None
    call: str
    message_id: str | None = None
    """That of the message which it gave."""


class Said(msgspec.Struct, frozen=True):
    """An event by which a model tells what it writes."""

    call: str
    event: Mapping[str, Any]
    path: str
    metadata: Metadata


Told = Entry | CallEnded | Said


class _Tool:
    __slots__ = ("id", "path", "token")

    def __init__(self, id: str, path: str) -> None:
        self.id = id
        self.path = path
        self.token: contextvars.Token[Any] | None = None


class Watcher(BaseCallbackHandler):
    """LangChain's handler for one attempt."""

    run_inline = True
    """In the place and the order in which things happen."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread_id: str, deliver: Callable[[], None]) -> None:
        """`deliver` is called in the loop when something can be taken that no mark will come for."""
        self._loop = loop
        self._thread_id = thread_id
        self._deliver = deliver
        self._told: deque[Told] = deque()
        self._lineage = Lineage()
        self._tools: dict[UUID, _Tool] = {}
        self._models: dict[UUID, Metadata] = {}
        self._calls: dict[int, list[int]] = {}
        """id(metadata) -> how many calls of models began with it, how many of those have been taken as ended, and
        whether they tell events (1)."""
        self._writes: set[UUID] = set()
        """The calls that have begun to write."""
        self._writer: tuple[contextvars.Context, Callable[[Any], None]] | None = None
        self._closed = False
        self.hears_events = True
        """Whether what models tell by events is taken from here; else the graph streams it."""

    def is_call(self, metadata: Metadata) -> bool:
        """Whether a piece with this metadata is one of a single call of a model."""
        known = self._calls.get(id(metadata))
        return known is not None and known[0] == 1

    def tells_events(self, metadata: Metadata) -> bool:
        """Whether what comes with this metadata is told by events, too."""
        known = self._calls.get(id(metadata))
        return known is not None and known[2] == 1

    def take(self) -> list[Told]:
        """What was told and not yet taken, in order; called in the loop."""
        taken: list[Told] = []
        while self._told:
            told = self._told.popleft()
            taken.append(told)
            if isinstance(told, CallEnded):
                self._forget(told)
        return taken

    def _forget(self, ended: CallEnded) -> None:
        known = self._calls[id(ended.metadata)]
        known[1] += 1
        if known[0] == known[1]:
            del self._calls[id(ended.metadata)]

    def close(self, how: str, error: str) -> list[Entry]:
        """What is told of tools and graphs that have not ended, as the attempt ends; afterwards nothing is told.

        `how`: what becomes of the graphs. `error`: what becomes of the tools; empty where they go on with an answer.
        """
        self._closed = True
        left, self._tools = list(self._tools.values()), {}
        return [
            *([] if not error else [_tool_error(tool, error) for tool in left]),
            *(_graph_ended(graph, how, error) for graph in self._lineage.end_all()),
        ]

    def _add(self, *told: Told) -> None:
        if self._closed or not told:
            return
        self._told.extend(told)
        if self._writer is not None:
            self._write(self)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: an attempt that has ended
                self._loop.call_soon_threadsafe(self._deliver)

    def _write(self, value: Any) -> None:
        assert self._writer is not None
        context, write = self._writer
        # A copy: a context can be entered by one thread at a time only.
        context.copy().run(write, value)

    def _look(self) -> None:
        """Takes the writer of the run's own graph, where this is in one of its nodes: one inside may be streamed by the
        code that calls it."""
        if self._writer is not None:
            return
        try:
            at = get_config().get("configurable", {})
            namespace = cast("str", at.get("checkpoint_ns") or "")
            if namespace and "|" not in namespace and at.get("thread_id") == self._thread_id:
                self._writer = contextvars.copy_context(), get_stream_writer()
        except RuntimeError:  # not inside a node
            return

    # graphs and nodes

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: Metadata | None = None,
        **kwargs: Any,
    ) -> None:
        """A node or anything else that is no tool and no model."""
        self._look()
        graph = self._lineage.begin(run_id, parent_run_id, kwargs.get("name") or "", tags, metadata)
        if graph is not None:
            cause = {} if graph.cause is None else {"cause": graph.cause}
            self._add(entry("nested", {"event": "started", "graphName": as_text(graph.name), **cause}, graph.path))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It has come to its end."""
        self._add(*(_graph_ended(graph, "completed", "") for graph in self._lineage.end(run_id)))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It has raised something, maybe what says that it waits for an answer."""
        how, why = _end_by(error)
        self._add(*(_graph_ended(graph, how, why) for graph in self._lineage.end(run_id)))

    # tools

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: Metadata | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A tool is called; by the code itself where no message of a model asked for it."""
        self._look()
        call = str(kwargs.get("tool_call_id") or run_id)
        self._lineage.begin_tool(run_id, parent_run_id, call)
        if tags and TAG_NOSTREAM in tags:
            return
        namespace = graph_of(metadata) if metadata and "langgraph_checkpoint_ns" in metadata else ()
        tool = self._tools[run_id] = _Tool(call, "|".join(namespace))
        if deltas is not None:
            tool.token = deltas.set(lambda delta: self._add(_delta(tool, delta)))
        name = (serialized or {}).get("name") or kwargs.get("name") or ""
        given = input_str if inputs is None else inputs
        data = {"event": "tool-started", "toolCallId": call, "toolName": name, "input": project(given)}
        self._add(entry("tools", project(data), tool.path))

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It gave something."""
        tool = self._tool_ended(run_id)
        if tool is not None:
            shown = _output(output, tool.id)
            self._add(
                entry("tools", {"event": "tool-finished", "toolCallId": as_text(tool.id), "output": shown}, tool.path)
            )

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It raised something. One that asks for an answer is called again when it has it."""
        tool = self._tool_ended(run_id)
        if tool is not None and not isinstance(error, GraphBubbleUp):
            self._add(_tool_error(tool, described(error)))

    def _tool_ended(self, run: UUID) -> _Tool | None:
        self._lineage.end(run)
        tool = self._tools.pop(run, None)
        if deltas is not None and tool is not None and tool.token is not None:
            with contextlib.suppress(ValueError):  # it ends in another context than it began in
                deltas.reset(tool.token)
        return tool

    # models

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: Metadata | None = None,
        **kwargs: Any,
    ) -> None:
        """A model is called."""
        self._look()
        if metadata is not None and not self._closed:
            self._models[run_id] = metadata
            self._calls.setdefault(id(metadata), [0, 0, 0])[0] += 1

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It has written a piece. Providers tell pieces of calls that tell events, too, and the first before any."""
        if run_id not in self._writes and run_id in self._models:
            self._writes.add(run_id)
            if _is_told_by_events():
                self._calls[id(self._models[run_id])][2] = 1

    def on_stream_event(
        self, event: Mapping[str, Any], *, run_id: UUID, tags: list[str] | None = None, **kwargs: Any
    ) -> None:
        """It tells by an event what it writes."""
        metadata = self._models.get(run_id)
        if metadata is None or not self.hears_events or "langgraph_checkpoint_ns" not in metadata:
            return
        if tags and TAG_NOSTREAM in tags:
            return
        self._writes.add(run_id)
        self._calls[id(metadata)][2] = 1
        self._add(Said(str(run_id), event, "|".join(graph_of(metadata)), metadata))

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """It has said all."""
        self._model_ended(run_id, None, _message_id(response))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """It failed, or was cancelled."""
        self._model_ended(run_id, described(error), None)

    def _model_ended(self, run: UUID, error: str | None, message_id: str | None) -> None:
        metadata = self._models.pop(run, None)
        self._writes.discard(run)
        if metadata is None or self._closed:
            return
        ended = CallEnded(metadata, error, str(run), message_id)
        if self.hears_events or self._writer is None:
            self._add(ended)
        else:
            self._forget(ended)
            self._write(ended)


def _is_told_by_events() -> bool:
    """Whether the code that tells a piece of a message makes events of what it writes."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    for _ in range(_DEEPEST):
        if frame.f_code.co_name in _EVENT_MAKERS:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def _message_id(response: Any) -> str | None:
    try:
        found: Any = response.generations[0][0].message.id
    except (AttributeError, IndexError):  # a model that gives no messages
        return None
    return found if type(found) is str else None


def _end_by(error: BaseException) -> tuple[str, str]:
    """What becomes of a graph that raised an error, and in which words."""
    if isinstance(error, ParentCommand):
        return "completed", ""
    if isinstance(error, GraphBubbleUp | asyncio.CancelledError):
        return "interrupted", ""
    return "failed", described(error)


def _graph_ended(graph: Graph, how: str, error: str) -> Entry:
    failed = {"error": error} if how == "failed" else {}
    return entry("nested", {"event": how, "graphName": as_text(graph.name), **failed}, graph.path)


def _tool_error(tool: _Tool, message: str) -> Entry:
    return entry("tools", {"event": "tool-error", "toolCallId": as_text(tool.id), "message": message}, tool.path)


def _delta(tool: _Tool, delta: Any) -> Entry:
    text = as_text(delta) if isinstance(delta, str) else msgspec.json.encode(project(delta)).decode()
    return entry("tools", {"event": "tool-output-delta", "toolCallId": as_text(tool.id), "delta": text}, tool.path)


def _output(output: Any, call: str) -> Any:
    """The tool's message, where it gave one or a command that adds it; else the value."""
    message = _message_in(output, call)
    return to_protocol(message) if message is not None else project(output)


def _message_in(output: Any, call: str) -> BaseMessage | None:
    if isinstance(output, BaseMessage):
        return output
    update: Any = output.update if isinstance(output, Command) else output
    values = list(cast("Mapping[Any, Any]", update).values()) if isinstance(update, Mapping) else [update]
    for value in values:
        held = cast("Sequence[Any]", value) if isinstance(value, list | tuple) else [value]
        for one in held:
            if isinstance(one, ToolMessage) and one.tool_call_id == call:
                return one
            if isinstance(one, Command) and (found := _message_in(one, call)) is not None:
                return found
    return None
