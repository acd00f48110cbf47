"""What is answered in the dialect: runs, threads, states and items, as its clients know them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from runyard import checkpoints, items, runs, threads
from runyard.api.answers import Time
from runyard.api.langgraph.assistants import default_id
from runyard.api.langgraph.messages import shown_text
from runyard.api.langgraph.wire import Multitask, RunStatus, ThreadStatus
from runyard.api.wire import JsonObject, Uuid
from runyard.checkpoints import Question, State
from runyard.clock import moment_of, rfc3339
from runyard.deliveries import Notice
from runyard.threads import Expiry

_encode = msgspec.json.Encoder().encode
_CLASS = re.compile(r"([A-Za-z_][\w.]*): (.*)", re.DOTALL)
_RAISED = ("agent_error", "recursion_limit")
"""The codes of failures whose message is that of an exception, behind its class."""
_DEFAULT_MODES = ["values"]


class Run(msgspec.Struct, kw_only=True):
    """One execution."""

    run_id: Uuid
    thread_id: Uuid
    assistant_id: Uuid
    created_at: Time
    updated_at: Time
    status: RunStatus
    metadata: JsonObject
    kwargs: Annotated[JsonObject, Meta(description="What it was created with.")]
    multitask_strategy: Multitask
    cancel_reason: Annotated[str | None, Meta(description="Why it was cancelled, where a cancel has said so.")]


class Thread(msgspec.Struct, kw_only=True):
    """A conversation."""

    thread_id: Uuid
    created_at: Time
    updated_at: Time
    metadata: JsonObject
    status: ThreadStatus
    state_updated_at: Time
    values: JsonObject | None
    error: Annotated[JsonObject | None, Meta(description="How its last run failed, where it has.")] = None
    interrupts: Annotated[dict[str, list[JsonObject]], Meta(description="Open questions; by the id of the question.")]
    config: JsonObject = {}
    extracted: JsonObject = {}


class ThreadTtl(msgspec.Struct, kw_only=True):
    """A thread's own time to live."""

    strategy: Expiry
    ttl_minutes: float
    expires_at: Annotated[Time, Meta(description="When its time is over, if it does not change before.")]


class ThreadAlone(Thread, kw_only=True):
    """A conversation, and how long it is kept."""

    ttl: Annotated[ThreadTtl | UnsetType | None, Meta(description="Only with `include=ttl`.")] = UNSET


class CheckpointName(msgspec.Struct, kw_only=True):
    """A state's place."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None
    checkpoint_map: JsonObject | None = None


class ThreadState(msgspec.Struct, kw_only=True):
    """A state of a thread."""

    values: Any
    next: list[str]
    tasks: list[JsonObject]
    checkpoint: CheckpointName
    metadata: JsonObject
    created_at: Time | None
    parent_checkpoint: CheckpointName | None
    interrupts: list[JsonObject]


class Item(msgspec.Struct, kw_only=True):
    """A document in the store."""

    namespace: list[str]
    key: str
    value: JsonObject
    created_at: Time
    updated_at: Time


class FoundItem(Item, kw_only=True):
    """An item that a search found; its score where that was by meaning."""

    score: float | None = None


class FoundItems(msgspec.Struct, kw_only=True):
    """The items that a search found."""

    items: list[FoundItem]


class Namespaces(msgspec.Struct, kw_only=True):
    """Namespaces that hold items."""

    namespaces: list[list[str]]


class Event(msgspec.Struct, kw_only=True):
    """Server-sent events: `metadata` first, those of the asked modes, `error`, and `end`."""

    event: str
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json"})]
    id: str = ""


_KWARGS: Mapping[str, Any] = {
    "input": None, "command": None, "config": {}, "context": {}, "webhook": None, "interrupt_before": None,
    "interrupt_after": None, "feedback_keys": None, "durability": "async", "resumable": False,
}  # fmt: skip
"""What a run is created with that says nothing else."""


def status_of(run: runs.Run) -> str:
    """A run's status: one that ended with a question has succeeded, and its thread waits."""
    return "success" if run.outcome == "asked" else run.status


def run(run: runs.Run) -> dict[str, Any]:
    """A run, by fields; values are plain data or JSON text."""
    request = run.asked_for()
    kwargs = msgspec.json.decode(run.request, type=dict[str, Raw])
    for own in ("langgraph", "acting", "multitask_strategy", "if_not_exists", "stream_subgraphs", "cancel_reason"):
        kwargs.pop(own, None)
    told: dict[str, Any] = {**_KWARGS, **kwargs}
    told["stream_mode"] = modes_of(request)
    told["subgraphs"] = request.stream_subgraphs is True
    told["temporary"] = run.stateless
    told["checkpoint_during"] = request.durability != "exit"
    if request.langgraph is not UNSET:
        told["resumable"] = request.langgraph.resumable is True
    assistant_id = assistant_of(run, request)
    labels = {"graph_id": run.agent_id, "assistant_id": assistant_id}
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "assistant_id": assistant_id,
        "created_at": rfc3339(run.created_at),
        "updated_at": rfc3339(run.updated_at),
        "status": status_of(run),
        "metadata": {**labels, **msgspec.json.decode(run.metadata, type=dict[str, Raw])},
        "kwargs": told,
        "multitask_strategy": "enqueue" if request.multitask_strategy is UNSET else request.multitask_strategy,
        "cancel_reason": None if request.cancel_reason is UNSET else request.cancel_reason,
    }


def assistant_of(run: runs.Run, request: runs.Request) -> str:
    """The assistant that was asked: the agent's default one where the run was created under the other face."""
    return default_id(run.agent_id) if request.langgraph is UNSET else request.langgraph.assistant_id


def modes_of(request: runs.Request) -> list[str]:
    """The stream modes that a run was created with."""
    said, asked = request.langgraph, request.stream_mode
    if said is not UNSET:
        return said.stream_mode or _DEFAULT_MODES
    return _DEFAULT_MODES if asked is UNSET else [asked] if isinstance(asked, str) else [*asked]


def values(state: State) -> bytes:
    """A state as JSON text, its messages in LangChain's words."""
    return checkpoints.render({name: shown_text(value) for name, value in checkpoints.shown(state).items()})


def interrupts(questions: Iterable[Question]) -> list[dict[str, Any]]:
    """The questions that were asked: a graph that stands at a breakpoint has asked none."""
    return [
        {"value": one.value, "id": one.id, "response_schema": one.schema} for one in questions if not one.is_breakpoint
    ]


def waited(done: runs.Run, state: State, questions: Sequence[Question]) -> bytes:
    """The answer to those who waited for a run: its last state, and what it asks; or how it failed."""
    if done.failure is not None:
        return b'{"__error__":' + _encode(failure(done.failure)) + b"}"
    text = values(state)
    asks = interrupts(questions)
    if done.outcome != "asked" or not asks:
        return text
    asked = b'"__interrupt__":' + _encode(asks)
    return b"{" + asked + b"}" if text == b"{}" else text[:-1] + b"," + asked + b"}"


def webhook(notice: Notice, sent_at: int | None) -> bytes:
    """What is posted to a run's webhook at that time: the run, how it ended, and its values, with what it asks."""
    done = notice.run
    told = run(done)
    told["run_started_at"] = _time(done.started_at)
    told["run_ended_at"] = _time(done.ended_at)
    told["webhook_sent_at"] = _time(sent_at)
    told["error"] = None if done.failure is None else failure(done.failure)
    told["values"] = Raw(waited(msgspec.structs.replace(done, failure=None), notice.state, notice.questions))
    return _encode(told)


def _time(microseconds: int | None) -> str | None:
    return None if microseconds is None else rfc3339(microseconds)


def failure(failed: runs.Failure) -> dict[str, str]:
    """Why a run failed: the exception's class and text, or the engine's code and words."""
    found = _CLASS.fullmatch(failed.message)
    if failed.code in _RAISED and found is not None:
        return {"error": found[1], "message": found[2]}
    return {"error": failed.code, "message": failed.message}


def thread(
    thread: threads.Thread, state: State, questions: Sequence[Question] = (), failed: runs.Failure | None = None
) -> dict[str, Any]:
    """A thread, by fields; values are plain data or JSON text. `failed`: how its last run did, where it has."""
    asked = {one["id"]: [one] for one in interrupts(questions)} if thread.asking else {}
    return {
        "thread_id": thread.thread_id,
        "created_at": rfc3339(thread.created_at),
        "updated_at": rfc3339(thread.updated_at),
        "metadata": Raw(thread.metadata),
        "status": thread.status,
        "config": {},
        "state_updated_at": rfc3339(_state_made_at(thread)),
        "values": None if thread.head is None else Raw(values(state)),
        "error": None if failed is None else failure(failed),
        "interrupts": asked,
    }


def _state_made_at(thread: threads.Thread) -> int:
    """When its state was made: the ids of checkpoints say it."""
    return thread.created_at if thread.head is None else moment_of(thread.head) or thread.updated_at


def thread_ttl(thread: threads.Thread, ttl: threads.Ttl | None) -> ThreadTtl | None:
    """A thread's own time to live, where it has one."""
    if ttl is None:
        return None
    expires_at = rfc3339(thread.updated_at + ttl.length)
    return ThreadTtl(strategy=ttl.strategy, ttl_minutes=ttl.minutes, expires_at=expires_at)


def item(item: items.Item) -> dict[str, Any]:
    """An item, by fields."""
    return {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": Raw(item.value),
        "created_at": rfc3339(item.created_at),
        "updated_at": rfc3339(item.updated_at),
    }


def found_item(found: items.Item) -> dict[str, Any]:
    """An item that was found, by fields."""
    return {**item(found), "score": found.score}


def selected(fields: Mapping[str, Any], select: Sequence[str] | None) -> dict[str, Any]:
    """Those fields that were asked for; all where none were named."""
    return dict(fields) if not select else {name: fields[name] for name in select if name in fields}
