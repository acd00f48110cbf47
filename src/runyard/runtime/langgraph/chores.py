"""What a graph says and does outside of runs: its states as it sees them, changes of them, its drawing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.types import Interrupt, PregelTask, StateSnapshot, StateUpdate
from msgspec import Raw

from runyard.runtime.channel import AgentEnd
from runyard.runtime.chores import (
    CheckpointName,
    Draw,
    Drawing,
    InterruptView,
    ListSubgraphs,
    ReadHistory,
    ReadState,
    StateView,
    SubgraphView,
    TaskView,
    Updated,
    UpdateState,
)
from runyard.runtime.contract import Ended, Start
from runyard.runtime.describe import described
from runyard.runtime.ending import raised
from runyard.runtime.langgraph.chore_saver import ReadingSaver, UpdatingSaver
from runyard.runtime.langgraph.codec import Codec
from runyard.runtime.langgraph.describe import Graph, schemas_of
from runyard.runtime.langgraph.factory import Access, Source
from runyard.runtime.langgraph.request import configurable_of, with_messages
from runyard.runtime.langgraph.server_store import ServerStore
from runyard.runtime.langgraph.store import RunStore
from runyard.runtime.langgraph.values import project
from runyard.telemetry import run_of_code

DOES_NOT_FIT = "validation_error"
"""The code of a chore that the graph refuses for what was asked."""

_encode = msgspec.json.Encoder().encode


async def attend(source: Source, codec: Codec, start: Start, end: AgentEnd) -> None:
    """Does a chore, from its beginning to `end.finish`."""
    if not end.take():
        return
    run_of_code.set(start.run)
    try:
        ended = Ended("completed", result=_encode(await _done(source, codec, start, end)))
    except BaseException as error:
        await end.threads_end()
        refused = isinstance(error, InvalidUpdateError | ValueError) and _says_what(start.chore)
        if refused and end.stopped is None:
            ended = Ended("failed", code=DOES_NOT_FIT, message=described(error))
        else:
            ended = raised(start, end, error)
    end.finish(ended)


def _says_what(chore: Any) -> bool:
    """Whether the request says something that the graph may refuse."""
    return isinstance(chore, UpdateState) or bool(getattr(chore, "namespace", None))


async def _done(source: Source, codec: Codec, start: Start, end: AgentEnd) -> Any:
    chore, thread_id = start.chore, start.run.thread_id
    configurable = {**configurable_of(start), "thread_id": thread_id}
    config = RunnableConfig(configurable=configurable)
    async with source.graph(config, None, _access(chore)) as graph:
        if graph.store is None or isinstance(graph.store, ServerStore):
            graph.store = RunStore(end, start.max_value_bytes)
        if isinstance(chore, Draw):
            return await _drawing(graph, chore, config)
        if isinstance(chore, ListSubgraphs):
            return await _subgraphs(graph, chore)
        updates = isinstance(chore, UpdateState)
        graph.checkpointer = (UpdatingSaver if updates else ReadingSaver)(codec, thread_id, end)
        if isinstance(chore, ReadHistory):
            return [_state(snapshot) async for snapshot in _history(graph, chore, thread_id)]
        if isinstance(chore, UpdateState):
            return await _update(graph, chore, thread_id)
        assert isinstance(chore, ReadState)
        named = _config(thread_id, chore.namespace, chore.checkpoint_id)
        return _state(await graph.aget_state(named, subgraphs=chore.subgraphs))


def _access(chore: Any) -> Access:
    if isinstance(chore, Draw | ListSubgraphs):
        return "assistants.read"
    return "threads.update" if isinstance(chore, UpdateState) else "threads.read"


def _config(thread_id: str, namespace: str, checkpoint_id: str | None) -> RunnableConfig:
    named = {"thread_id": thread_id, "checkpoint_ns": namespace}
    # Of a state that is named LangGraph tells how it was, of the newest how it is: an empty name is one, too.
    return RunnableConfig(configurable=named if checkpoint_id is None else {**named, "checkpoint_id": checkpoint_id})


def _history(graph: Graph, chore: ReadHistory, thread_id: str) -> AsyncIterator[StateSnapshot]:
    return graph.aget_state_history(
        _config(thread_id, chore.namespace, None),
        filter=chore.metadata or None,
        before=None if chore.before is None else _config(thread_id, chore.namespace, chore.before),
        limit=chore.limit,
    )


async def _update(graph: Graph, chore: UpdateState, thread_id: str) -> Updated:
    steps = [
        [
            StateUpdate(None if one.values is None else with_messages(msgspec.json.decode(one.values)), one.as_node)
            for one in step
        ]
        for step in chore.steps
    ]
    named = _config(thread_id, chore.namespace, chore.checkpoint_id)
    asked = _asking(await graph.aget_state(named)) if chore.asking else set[str]()
    made = await graph.abulk_update_state(named, steps)
    name = _name(made)
    assert name is not None  # an update always gives one
    return Updated(name, bool(asked) and asked <= set((await graph.aget_state(made)).next))


def _asking(snapshot: StateSnapshot) -> set[str]:
    """The nodes that wait for a human: those that asked, all that are next at a breakpoint."""
    return {task.name for task in snapshot.tasks if task.interrupts} or set(snapshot.next)


# a state as plain data


def _state(snapshot: StateSnapshot) -> StateView:
    there = snapshot.metadata is not None
    return StateView(
        values=_raw(snapshot.values),
        next=snapshot.next,
        tasks=[_task(task) for task in snapshot.tasks],
        metadata=_raw(snapshot.metadata or {}),
        created_at=snapshot.created_at,
        checkpoint=_name(snapshot.config) if there else None,
        parent_checkpoint=_name(snapshot.parent_config),
        interrupts=_interrupts(getattr(snapshot, "interrupts", ())),
    )


def _task(task: PregelTask) -> TaskView:
    state = task.state
    return TaskView(
        id=task.id,
        name=task.name,
        path=_raw(cast(Any, task).path),
        error=None if task.error is None else _error(task.error),
        interrupts=_interrupts(task.interrupts),
        checkpoint=_name(state) if isinstance(state, dict) else None,
        state=_state(state) if isinstance(state, StateSnapshot) else None,
        result=_raw(task.result),
    )


def _error(error: Any) -> str:
    """What a task raised: of what has been stored there is only its text."""
    return described(error) if isinstance(error, BaseException) else str(error)


def _interrupts(interrupts: Iterable[Interrupt]) -> list[InterruptView]:
    return [InterruptView(one.id, _raw(one.value), _raw(getattr(one, "response_schema", None))) for one in interrupts]


def _name(config: Mapping[str, Any] | None) -> CheckpointName | None:
    if config is None:
        return None
    named = cast("dict[str, Any]", config["configurable"])
    return CheckpointName(
        named["thread_id"],
        named.get("checkpoint_ns") or "",
        named.get("checkpoint_id"),
        named.get("checkpoint_map") or None,
    )


def _raw(value: Any) -> Raw:
    return Raw(_encode(project(value)))


# what it is


async def _drawing(graph: Graph, chore: Draw, config: RunnableConfig) -> Drawing:
    found = await graph.aget_graph(config, xray=chore.xray)
    drawn = cast("dict[str, list[dict[str, Any]]]", project(found.to_json()))
    return Drawing(drawn["nodes"], drawn["edges"])


async def _subgraphs(graph: Graph, chore: ListSubgraphs) -> dict[str, SubgraphView]:
    views: dict[str, SubgraphView] = {}
    async for namespace, subgraph in graph.aget_subgraphs(namespace=chore.namespace, recurse=chore.recurse):
        schemas, _ = schemas_of(subgraph)
        name = str(getattr(subgraph, "name", namespace))
        views[namespace] = SubgraphView(
            name, schemas.input, schemas.output, schemas.state, schemas.config, schemas.context
        )
    return views
