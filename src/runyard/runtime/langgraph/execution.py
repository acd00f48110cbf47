"""One attempt of a graph: it is entered, what it tells becomes writes, how it ends becomes the attempt's end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from langgraph.errors import GraphRecursionError
from langgraph.types import Interrupt

from runyard.checkpoints import NO_SCHEMA, Question
from runyard.events import Entry
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import Ended, Start, Write
from runyard.runtime.ending import raised
from runyard.runtime.langgraph.breakpoints import breakpoint_at
from runyard.runtime.langgraph.codec import Codec
from runyard.runtime.langgraph.describe import Graph
from runyard.runtime.langgraph.factory import Source
from runyard.runtime.langgraph.named_trace import named_trace
from runyard.runtime.langgraph.outbox import Outbox
from runyard.runtime.langgraph.request import config_of, input_of
from runyard.runtime.langgraph.run_saver import RunSaver
from runyard.runtime.langgraph.server_store import ServerStore
from runyard.runtime.langgraph.store import RunStore
from runyard.runtime.langgraph.stream import Left, Telling, questions_in
from runyard.runtime.langgraph.transformers import Part, telling_events, transformers_of
from runyard.runtime.langgraph.values import project
from runyard.runtime.langgraph.watcher import Watcher
from runyard.runtime.plain import encode
from runyard.telemetry import run_of_code

MODES = ("updates", "messages", "custom")
"""What is always recorded; states are by the checkpoints that the saver puts."""


_LEFT = {
    "completed": Left("completed", "", "the run ended before the tool did"),
    "asked": Left("interrupted", "", ""),
    "failed": Left("failed", "the run failed", "the run failed"),
    "stopped": Left("interrupted", "the run was stopped", "the run was stopped"),
}
"""How an attempt ended -> how that ends which is still open then. A tool that asked something is called again when it
has its answer."""


async def perform(source: Source, codec: Codec, start: Start, end: AgentEnd) -> None:
    """Executes an attempt, from its beginning to `end.finish`."""
    if not end.take():
        return
    run_of_code.set(start.run)
    outbox = Outbox(end)
    watcher = Watcher(end.loop, start.run.thread_id, lambda: _put(outbox, telling.watched()))
    telling = Telling(watcher, start.run.config.get("tags") or ())
    try:
        ended = await _execute(source, codec, start, end, outbox, watcher, telling)
    except BaseException as error:
        # Nodes that are no coroutines go on in threads of their own: the code has stopped when they have.
        await end.threads_end()
        ended = raised(start, end, error, "recursion_limit" if isinstance(error, GraphRecursionError) else None)
    _put(outbox, telling.close(_LEFT[ended.how]))
    outbox.send()
    end.finish(ended)


async def _execute(
    source: Source, codec: Codec, start: Start, end: AgentEnd, outbox: Outbox, watcher: Watcher, telling: Telling
) -> Ended:
    config = config_of(start)
    context: Any = None if start.context is None else _decoded(start.context)
    async with source.graph(config, context) as graph:
        saver = RunSaver(codec, start, end, outbox)
        graph.checkpointer = saver
        # Not the server's either, with which a factory may have made it: a run's writes are fenced.
        if graph.store is None or isinstance(graph.store, ServerStore):
            graph.store = RunStore(end, start.max_value_bytes, start.lasting)
        # Not by the call's configuration, which before LangGraph 1.2 takes the place of the graph's own callbacks.
        graph.config = merge_configs(graph.config, RunnableConfig(callbacks=[watcher]))
        asked = _asked(start, codec)
        answered = [question for question, stored in asked.items() if stored]
        value = input_of(start, begun=start.begun, answered=answered, asked=[*asked])
        with named_trace(config):
            questions = await _stream(graph, value, config, context, start, outbox, telling)
        if questions is None:
            return Ended("completed")
        if not questions:
            return Ended("asked", questions=[breakpoint_at(saver.name, await _next_nodes(graph, config))])
        return Ended("asked", questions=[_question(one, telling.namespace_of(one)) for one in questions])


async def _stream(
    graph: Graph, value: Any, config: Any, context: Any, start: Start, outbox: Outbox, telling: Telling
) -> list[Interrupt] | None:
    """Has the graph execute; the questions with which it stopped, None where it came to its end."""
    asked = dict[str, Interrupt]()
    stopped = False

    def see(part: Part) -> None:
        nonlocal stopped
        found = None if part[0] or part[1] != "updates" else questions_in(part[2])
        if found is not None:
            stopped = True
            asked.update({one.id: one for one in found})

    modes: Sequence[str] = [*MODES, *start.modes]
    options: dict[str, Any] = {
        "context": context,
        "subgraphs": True,
        "durability": start.durability,
        "interrupt_before": cast(Any, start.interrupt_before) or None,
        "interrupt_after": cast(Any, start.interrupt_after) or None,
    }
    transformers = transformers_of(graph, telling, modes)
    if transformers is not None:
        config, modes = telling_events(config), list(transformers.modes)
        stream = graph.astream(value, config, stream_mode=cast(Any, modes), version="v2", **options)
        async for entries in transformers.entries(stream, see):
            _put(outbox, entries)
            await outbox.room()
        return list(asked.values()) if stopped else None
    async for part in graph.astream(value, config, stream_mode=cast(Any, modes), **options):
        if part[1] == "updates":
            see(part)
        entries = telling.entries(*part)
        if entries:
            _put(outbox, entries)
            await outbox.room()
    return list(asked.values()) if stopped else None


def _put(outbox: Outbox, entries: Sequence[Entry]) -> None:
    for entry in entries:
        outbox.put(Write(entries=(entry,)), len(entry.data) + len(entry.told))


def _asked(start: Start, codec: Codec) -> dict[str, bool]:
    """The questions that this state's tasks have asked, each with whether an attempt of this run has stored its answer:
    the task that asked has that with its writes, and would be given it twice."""
    stored = {write.task_id for write in start.writes if write.channel == RESUME and write.run_id == start.run.run_id}
    return {
        one.id: write.task_id in stored
        for write in start.writes
        if write.channel == INTERRUPT
        for one in codec.decode_write(write.value)
        if isinstance(one, Interrupt)
    }


async def _next_nodes(graph: Graph, config: Any) -> list[str]:
    return list((await graph.aget_state(config)).next)


def _question(interrupt: Interrupt, namespace: str) -> Question:
    value = msgspec.Raw(encode(project(interrupt.value), "the question"))
    schema = getattr(interrupt, "response_schema", None)  # LangGraph before 1.2 has none
    fits = msgspec.Raw(encode(schema, "response_schema")) if isinstance(schema, dict) else NO_SCHEMA
    return Question(interrupt.id, value, namespace=namespace, schema=fits)


def _decoded(text: bytes) -> Any:
    return msgspec.json.decode(text)
