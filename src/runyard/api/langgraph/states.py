"""States of threads in the dialect: look at, change, and their history. What a graph knows of them it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw

from runyard.agents import Agent
from runyard.api.call import Call
from runyard.api.langgraph import answers, wire
from runyard.api.langgraph.messages import from_dialect, shown_anywhere, shown_within
from runyard.api.operation import operation
from runyard.api.validation import canonical_uuid
from runyard.errors import InvalidInput, Unsupported
from runyard.runtime.chores import Change, CheckpointName, InterruptView, StateView, TaskView
from runyard.threads import Thread

_VALUES = "values."

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Updated(msgspec.Struct, kw_only=True):
    """Where the changed state is."""

    checkpoint: answers.CheckpointName
    configurable: answers.CheckpointName
    checkpoint_id: str | None


@operation(
    "Threads", needs="read", query=wire.STATE_QUERY, answer=answers.ThreadState, errors=(404, 409, 500, 503, 504)
)
async def get_state(call: Call) -> None:
    """Get Thread State

    The newest state, with what is to execute next and why it waits.
    """
    query = call.query(wire.STATE_QUERY)
    select = None if query.select is UNSET else query.select
    await _answer(call, None, "", query.subgraphs, select)


@operation(
    "Threads", needs="read", query=wire.STATE_QUERY, answer=answers.ThreadState, errors=(404, 409, 500, 503, 504)
)
async def get_state_at(call: Call) -> None:
    """Get Thread State At Checkpoint"""
    query = call.query(wire.STATE_QUERY)
    select = None if query.select is UNSET else query.select
    await _answer(call, call.uuid("checkpoint_id"), "", query.subgraphs, select)


@operation("Threads", needs="read", body=wire.STATE_AT, answer=answers.ThreadState, errors=(404, 409, 500, 503, 504))
async def post_state_at(call: Call) -> None:
    """Get Thread State At Checkpoint

    By a checkpoint's whole name, which may be that of a subgraph's state.
    """
    body = await call.body(wire.STATE_AT)
    checkpoint_id, namespace = _place(call, body.checkpoint)
    await _answer(call, checkpoint_id, namespace, body.subgraphs is True, body.select)


@operation("Threads", needs="write", body=wire.STATE_UPDATE, answer=Updated, errors=(404, 409, 500, 503, 504))
async def update_state(call: Call) -> None:
    """Update Thread State

    Changes a state as if a node had; from an older one where `checkpoint` names it.
    """
    body = await call.body(wire.STATE_UPDATE)
    checkpoint_id, namespace = (None, "") if body.checkpoint is None else _place(call, body.checkpoint)
    if body.checkpoint_id is not None:
        checkpoint_id = canonical_uuid("checkpoint_id", body.checkpoint_id)
    thread_id = call.uuid("thread_id")
    inspection = call.api.inspection
    seen_by = await inspection.agent_of(call.owner, thread_id)
    name = await inspection.update(
        call.owner,
        thread_id,
        [_changes(call, seen_by, body.values, body.as_node)],
        checkpoint_id=checkpoint_id,
        namespace=namespace,
    )
    told = _name(name)
    await call.answer(_encode({"checkpoint": told, "configurable": told, "checkpoint_id": name.checkpoint_id}))


@operation(
    "Threads", needs="read", query=wire.HISTORY_QUERY, answer=list[answers.ThreadState],
    errors=(404, 409, 500, 503, 504),
)  # fmt: skip
async def get_history(call: Call) -> None:
    """Get Thread History

    The thread's states, newest first.
    """
    query = call.query(wire.HISTORY_QUERY)
    before = None if query.before is UNSET or not query.before else canonical_uuid("before", query.before)
    select = None if query.select is UNSET else query.select
    await _answer_history(call, query.limit, before, "", None, select)


@operation(
    "Threads", needs="read", body=wire.HISTORY, answer=list[answers.ThreadState], errors=(404, 409, 500, 503, 504)
)
async def post_history(call: Call) -> None:
    """Get Thread History

    The same, of a subgraph too, or only states whose metadata contain these; only one where `checkpoint` names it.
    """
    body = await call.body(wire.HISTORY)
    checkpoint_id, namespace = (None, "") if body.checkpoint is None else _place(call, body.checkpoint)
    if checkpoint_id is not None:
        _check_select(body.select)
        thread_id = call.uuid("thread_id")
        view = await call.api.inspection.state(
            call.owner, thread_id, checkpoint_id=checkpoint_id, namespace=namespace, subgraphs=False
        )
        fits = (body.metadata or {}).items() <= _decode(view.metadata).items()
        await call.answer(_encode([_selected(state(view, thread_id), body.select)] if fits else []))
        return
    await _answer_history(call, body.limit, _before(body.before), namespace, body.metadata, body.select)


async def replay(call: Call, thread: Thread, supersteps: Sequence[wire.Superstep]) -> None:
    """Gives a new thread the states that these steps make.

    Raises:
        InvalidInput: no agent is named by the thread's metadata, or it refuses the changes.
    """
    seen_by = await call.api.inspection.agent_of(call.owner, thread.thread_id)
    steps: list[list[Change]] = []
    for number, step in enumerate(supersteps):
        changes: list[Change] = []
        for place, update in enumerate(step.updates):
            values, command = update.values, update.command
            if command is not None:
                if values is not None or command.goto is not None or command.resume is not UNSET:
                    field = f"supersteps[{number}].updates[{place}].command"
                    raise Unsupported(f"{field} may have nothing but update, beside as_node", field=field)
                values = command.update
            changes += _changes(call, seen_by, values, update.as_node)
        steps.append(changes)
    await call.api.inspection.update(call.owner, thread.thread_id, steps)


# what is asked


def _place(call: Call, checkpoint: wire.Checkpoint) -> tuple[str | None, str]:
    """Which state a checkpoint's name means: its id, or the newest of its namespace."""
    if checkpoint.thread_id:
        named = canonical_uuid("checkpoint.thread_id", checkpoint.thread_id)
        if named != call.uuid("thread_id"):
            raise InvalidInput(
                f"checkpoint.thread_id is {named}, and this is thread {call.uuid('thread_id')}; leave it out",
                field="checkpoint.thread_id",
            )
    namespace = checkpoint.checkpoint_ns or ""
    checkpoint_id = checkpoint.checkpoint_id
    if not checkpoint_id and checkpoint.checkpoint_map:
        checkpoint_id = cast("str | None", checkpoint.checkpoint_map.get(namespace))
    return (canonical_uuid("checkpoint.checkpoint_id", checkpoint_id) if checkpoint_id else None), namespace


def _before(before: str | dict[str, Any] | None) -> str | None:
    """A checkpoint's id, of what clients send for it: itself, a checkpoint, or LangGraph's config of one."""
    if isinstance(before, dict):
        inner = before.get("configurable")
        named = cast("dict[str, Any]", inner) if isinstance(inner, dict) else before
        before = named.get("checkpoint_id")
        if before is not None and not isinstance(before, str):
            raise InvalidInput("before.checkpoint_id must be a text", field="before.checkpoint_id")
    return canonical_uuid("before", before) if before else None


def _changes(call: Call, agent_id: str | None, values: Any, as_node: str | None) -> list[Change]:
    """The changes that a client means: one, or one after the other as the same node."""
    agent: Agent | None = None if agent_id is None else call.api.verbs.agent(agent_id)
    many = cast("list[Any]", values) if isinstance(values, list) else [values]
    if agent is None or agent.graph:
        return [Change(None if values is None else Raw(_encode(values)), as_node)]
    return [Change(None if one is None else Raw(_encode(_plain(one))), as_node) for one in many]


def _plain(values: Any) -> Any:
    """Values with their messages in the form in which function agents keep them."""
    if not isinstance(values, dict):
        return values
    given = cast("dict[str, Any]", values)
    if not isinstance(given.get("messages"), list):
        return given
    try:
        return {**given, "messages": [from_dialect(one) for one in given["messages"]]}
    except (ValueError, AttributeError):
        raise InvalidInput("values.messages must be a list of messages", field="values.messages") from None


# what is answered


async def _answer(
    call: Call, checkpoint_id: str | None, namespace: str, subgraphs: bool, select: list[str] | None
) -> None:
    _check_select(select)
    found = await call.api.inspection.state(
        call.owner,
        call.uuid("thread_id"),
        checkpoint_id=checkpoint_id,
        namespace=namespace,
        subgraphs=subgraphs,
    )
    await call.answer(_encode(_selected(state(found, call.uuid("thread_id")), select)))


async def _answer_history(
    call: Call,
    limit: int,
    before: str | None,
    namespace: str,
    metadata: dict[str, Any] | None,
    select: list[str] | None,
) -> None:
    _check_select(select)
    thread_id = call.uuid("thread_id")
    found = await call.api.inspection.history(
        call.owner, thread_id, limit=limit, before=before, namespace=namespace, metadata=metadata
    )
    await call.answer(_encode([_selected(state(view, thread_id), select) for view in found]))


def state(view: StateView, thread_id: str) -> dict[str, Any]:
    """A state, by fields."""
    nowhere = {"thread_id": thread_id, "checkpoint_ns": "", "checkpoint_id": None}
    return {
        "values": shown_within(_decode(view.values)),
        "next": view.next,
        "tasks": [_task(task, thread_id) for task in view.tasks],
        "metadata": view.metadata,
        "created_at": view.created_at,
        "checkpoint": nowhere if view.checkpoint is None else _name(view.checkpoint),
        "parent_checkpoint": None if view.parent_checkpoint is None else _name(view.parent_checkpoint),
        "interrupts": _interrupts(view.interrupts),
        "checkpoint_id": None if view.checkpoint is None else view.checkpoint.checkpoint_id,
        "parent_checkpoint_id": None if view.parent_checkpoint is None else view.parent_checkpoint.checkpoint_id,
    }


def _task(task: TaskView, thread_id: str) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "path": task.path,
        "error": task.error,
        "interrupts": _interrupts(task.interrupts),
        "checkpoint": None if task.checkpoint is None else _name(task.checkpoint),
        "state": None if task.state is None else state(task.state, thread_id),
        "result": shown_anywhere(_decode(task.result)),
    }


def _interrupts(found: Sequence[InterruptView]) -> list[dict[str, Any]]:
    return [{"value": one.value, "id": one.id, "response_schema": one.schema} for one in found]


def _name(checkpoint: CheckpointName) -> dict[str, Any]:
    told: dict[str, Any] = {
        "thread_id": checkpoint.thread_id,
        "checkpoint_ns": checkpoint.checkpoint_ns,
        "checkpoint_id": checkpoint.checkpoint_id,
    }
    if checkpoint.checkpoint_map:
        told["checkpoint_map"] = checkpoint.checkpoint_map
    return told


def _check_select(select: list[str] | None) -> None:
    known = [field.encode_name for field in msgspec.structs.fields(answers.ThreadState)]
    for name in select or ():
        if name not in known and not name.startswith(_VALUES):
            raise InvalidInput(f"select has {name[:40]!r}; allowed: {', '.join(known)}, values.NAME", field="select")


def _selected(fields: dict[str, Any], select: list[str] | None) -> dict[str, Any]:
    """The fields that were asked for; of the values only the keys that were, where keys were."""
    if not select:
        return fields
    told = {name: fields[name] for name in select if name in fields}
    keys = [name.removeprefix(_VALUES) for name in select if name.startswith(_VALUES)]
    if keys and "values" not in told:
        values = cast("dict[str, Any]", fields["values"])
        told["values"] = {key: values[key] for key in keys if key in values}
    return told
