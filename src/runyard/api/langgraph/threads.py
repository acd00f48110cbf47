"""Threads in the dialect: create, list, count, look at, change, copy, prune, delete."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from runyard.api.call import Call
from runyard.api.langgraph import answers, states, wire
from runyard.api.langgraph.pages import check_select, tell_pages
from runyard.api.operation import operation
from runyard.api.validation import canonical_uuid
from runyard.checkpoints import Question, State
from runyard.errors import Conflict, InvalidInput, NotFound
from runyard.lifecycle import PatchThread
from runyard.threads import Thread, ThreadFilter, Ttl

_MINIMAL = "return=minimal"
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(-?\d+)\]")

_encode = msgspec.json.Encoder().encode


class Pruned(msgspec.Struct, kw_only=True):
    """What was pruned."""

    pruned_count: int


class Taken(msgspec.Struct, kw_only=True):
    """Rows, and the bytes in them."""

    count: int
    bytes: int


class ChannelsTaken(Taken, kw_only=True):
    """The same, of channels."""

    by_channel: dict[str, dict[str, int]]


class ThreadStorage(msgspec.Struct, kw_only=True):
    """What the states of a thread take."""

    thread_id: str
    total_bytes: int
    checkpoints: Taken
    channel_values: ChannelsTaken
    pending_writes: Taken


@operation("Threads", needs="write", body=wire.THREAD_CREATE, answer=answers.Thread, errors=(404, 409))
async def create_thread(call: Call) -> None:
    """Create Thread

    With `supersteps` it begins with a state that was made elsewhere.
    """
    body = await call.body(wire.THREAD_CREATE)
    thread_id = None if body.thread_id is None else canonical_uuid("thread_id", body.thread_id)
    ttl = _ttl(body.ttl)
    verbs = call.api.verbs
    thread = await verbs.create_thread(call.owner, thread_id, body.metadata or {}, body.if_exists or "raise", ttl)
    if body.supersteps and thread.head is None:
        try:
            await states.replay(call, thread, body.supersteps)
        except BaseException:
            await verbs.delete_thread(call.owner, thread.thread_id)
            raise
    try:
        fields = await _told(call, *await verbs.get_thread(call.owner, thread.thread_id))
    except NotFound:
        # Deleted since: it was there all the same, and this is no 404.
        fields = answers.thread(thread, {})
    await call.answer(_encode(fields))


@operation("Threads", needs="read", body=wire.THREAD_SEARCH, answer=list[answers.Thread])
async def search_threads(call: Call) -> None:
    """Search Threads"""
    body = await call.body(wire.THREAD_SEARCH)
    select = None if body.select is None else check_select(body.select, answers.Thread)
    paths = {name: _steps(name, path) for name, path in (body.extract or {}).items()}
    query = ThreadFilter(
        ids=None if body.ids is None else tuple(canonical_uuid("ids", id) for id in body.ids),
        metadata=body.metadata,
        values=body.values,
        status=body.status,
        sort_by=body.sort_by or "created_at",
        descending=body.sort_order != "asc",
        limit=body.limit + 1,
        offset=body.offset,
    )
    verbs = call.api.verbs
    found = await verbs.search_threads(call.owner, query)
    total = await call.api.storage.count_threads(call.owner, query) if len(found) > body.limit else None
    tell_pages(call, body.offset, body.limit, len(found), total)
    told: list[dict[str, Any]] = []
    for thread, state in found[: body.limit]:
        questions = (await verbs.questions(thread)) if thread.asking else []
        fields = await _told(call, thread, state, questions)
        one = answers.selected(fields, select)
        if paths:
            whole = msgspec.json.decode(_encode(fields))
            one["extracted"] = {name: _extracted(whole, steps) for name, steps in paths.items()}
        told.append(one)
    await call.answer(_encode(told))


@operation("Threads", needs="read", body=wire.THREAD_COUNT, answer=int)
async def count_threads(call: Call) -> None:
    """Count Threads"""
    body = await call.body(wire.THREAD_COUNT)
    query = ThreadFilter(metadata=body.metadata, values=body.values, status=body.status)
    await call.answer(_encode(await call.api.storage.count_threads(call.owner, query)))


@operation("Threads", needs="read", query=wire.THREAD_QUERY, answer=answers.ThreadAlone, errors=(404,))
async def get_thread(call: Call) -> None:
    """Get Thread

    A thread with its state, and the open questions where it is interrupted.
    """
    query = call.query(wire.THREAD_QUERY)
    asked = [] if query.include is UNSET else [name for text in query.include for name in text.split(",") if name]
    for name in asked:
        if name != "ttl":
            raise InvalidInput(f"include has {name[:40]!r}; allowed: ttl", field="include")
    thread_id = call.uuid("thread_id")
    found = await call.api.verbs.get_thread(call.owner, thread_id)
    fields = await _told(call, *found)
    if asked:
        ttl = await call.api.storage.thread_ttl(call.owner, thread_id)
        fields["ttl"] = answers.thread_ttl(found[0], ttl)
    await call.answer(_encode(fields))


@operation("Threads", needs="write", body=wire.THREAD_PATCH, answer=answers.Thread, errors=(404,), headers=("Prefer",))
async def patch_thread(call: Call) -> None:
    """Patch Thread

    Merges metadata, key by key; gives another `ttl`, or takes it away. With `Prefer: return=minimal` the answer is
    empty.
    """
    body = await call.body(wire.THREAD_PATCH)
    patch = PatchThread(metadata=body.metadata or {}, ttl=UNSET if body.ttl is UNSET else _ttl(body.ttl))
    changed = await call.api.verbs.patch_thread(call.owner, call.uuid("thread_id"), patch)
    if _MINIMAL in (call.header(b"prefer") or "").replace(" ", ""):
        await call.no_content()
    else:
        await call.answer(_encode(await _told(call, *changed)))


@operation("Threads", needs="write", errors=(404,))
async def delete_thread(call: Call) -> None:
    """Delete Thread

    Cancels the thread's runs and removes it with its runs and history.
    """
    await call.api.verbs.delete_thread(call.owner, call.uuid("thread_id"))
    await call.no_content()


@operation("Threads", needs="write", answer=answers.Thread, errors=(404,))
async def copy_thread(call: Call) -> None:
    """Copy Thread

    A new thread with the state and history of this one; runs are not copied.
    """
    copy = await call.api.verbs.copy_thread(call.owner, call.uuid("thread_id"))
    await call.answer(_encode(await _told(call, *copy)))


@operation("Threads", needs="read", answer=ThreadStorage, errors=(404,))
async def get_thread_storage(call: Call) -> None:
    """Get Thread Storage

    How much the thread's states take. Values of channels are part of the checkpoints, which hold what a step changed.
    """
    thread_id = call.uuid("thread_id")
    sizes = await call.api.storage.thread_sizes(call.owner, thread_id)
    told = ThreadStorage(
        thread_id=thread_id,
        total_bytes=sizes.checkpoint_bytes + sizes.write_bytes,
        checkpoints=Taken(count=sizes.checkpoints, bytes=sizes.checkpoint_bytes),
        channel_values=ChannelsTaken(count=0, bytes=0, by_channel={}),
        pending_writes=Taken(count=sizes.writes, bytes=sizes.write_bytes),
    )
    await call.answer(_encode(told))


@operation("Threads", needs="write", body=wire.PRUNE, answer=Pruned, errors=(409,))
async def prune_threads(call: Call) -> None:
    """Prune Threads

    Deletes threads, or cuts them to their newest state (`keep_latest`). Those that are not there are passed over.
    """
    body = await call.body(wire.PRUNE)
    ids = dict.fromkeys(canonical_uuid("thread_ids", thread_id) for thread_id in body.thread_ids)
    if body.strategy == "keep_latest":
        await _check_idle(call, list(ids))
    pruned = 0
    for thread_id in ids:
        try:
            await _prune(call, thread_id, body.strategy)
            pruned += 1
        except NotFound:
            pass
    await call.answer(_encode(Pruned(pruned_count=pruned)))


async def _told(call: Call, thread: Thread, state: State, questions: Sequence[Question]) -> dict[str, Any]:
    """A thread, by fields; where its last run failed, with how."""
    failed = await call.api.verbs.last_failure(thread) if thread.status == "error" else None
    return answers.thread(thread, state, questions, failed)


async def _prune(call: Call, thread_id: str, strategy: str) -> None:
    if strategy == "delete":
        await call.api.verbs.delete_thread(call.owner, thread_id)
        return
    await call.api.storage.thread(call.owner, thread_id)
    await call.api.storage.prune(call.owner, thread_id, None, call.api.verbs.clock.now())


async def _check_idle(call: Call, ids: list[str]) -> None:
    """Refuses before anything is cut, where a thread has runs.

    Raises:
        Conflict: thread_busy.
    """
    busy = await call.api.storage.search_threads(call.owner, ThreadFilter(ids=tuple(ids), status="busy", limit=1))
    if busy:
        thread_id = busy[0][0].thread_id
        raise Conflict(f"thread {thread_id} is busy: its history cannot be cut now", code="thread_busy")


def _ttl(asked: float | wire.Ttl | None) -> Ttl | None:
    """A thread's own time to live, as it is asked for."""
    minutes, strategy = (asked.ttl, asked.strategy) if isinstance(asked, wire.Ttl) else (asked, None)
    return None if minutes is None else Ttl(max(1, round(minutes * 60e6)), strategy or "delete")


def _steps(name: str, path: str) -> list[str | int]:
    """The steps of a path such as `values.messages[-1].content`.

    Raises:
        InvalidInput: it is none.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            break
        steps.append(found[1] if found[2] is None else int(found[2]))
        at = found.end()
    if at < len(path) or not steps or steps[0] not in ("values", "metadata", "interrupts", "config", "status"):
        raise InvalidInput(
            f"extract.{name[:40]} is {path[:80]!r}; a path is needed such as values.messages[-1].content or "
            "metadata.title",
            field=f"extract.{name[:40]}",
        )
    return steps


def _extracted(value: Any, steps: list[str | int]) -> Any:
    """What stands at a path; None where there is nothing."""
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value
