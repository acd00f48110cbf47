"""Runs in the dialect, on threads and on none: create, wait, stream, list, look at, join, cancel, delete."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET

from runyard import runs
from runyard.api import waiting
from runyard.api.call import Call, idempotency_key
from runyard.api.langgraph import answers, labels, streams, wire, wishes
from runyard.api.langgraph.pages import check_select, tell_pages
from runyard.api.operation import operation
from runyard.api.sse import cursor
from runyard.api.validation import Shape, canonical_uuid
from runyard.errors import Conflict, Forbidden, InvalidInput, NotFound, Unsupported, run_not_found
from runyard.storage.contract import Created

_CREATION = ("Idempotency-Key",)
_RESUMING = ("Last-Event-ID",)
_REFUSALS = (404, 409, 429)
_PAGE = 200
"""Runs that are looked up at a time, where all of a status are cancelled."""

_OUTCOMES: Mapping[str, tuple[runs.Outcome, ...]] = {
    "success": ("completed", "asked"),
    "error": ("failed", "lost"),
    "timeout": ("timed_out",),
    "interrupted": ("cancelled", "rolled_back", "abandoned"),
}
"""What happened to runs of a status, in the dialect's sense of it."""
_REASONS: Mapping[str, str] = {"taken": "taken: its input went into another run"}
"""What is kept of why a run was cancelled: clients look at the word before the colon."""
_ACTIVE: Mapping[str, tuple[runs.Status, ...]] = {"pending": ("pending",), "running": ("running",)}

_encode = msgspec.json.Encoder().encode
R = TypeVar("R", bound=wire.StatelessRun)


@operation("Thread Runs", needs="write", body=wire.THREAD_RUN, answer=answers.Run, errors=_REFUSALS, headers=_CREATION)
async def create_thread_run(call: Call) -> None:
    """Create Background Run

    Creates a run on a thread, and does not wait for it.
    """
    created, _ = await _create(call, wire.THREAD_RUN, "lg.create_thread_run")
    await _answer(call, created)


@operation(
    "Thread Runs",
    needs="write",
    body=wire.THREAD_RUN,
    answer=dict[str, Any],
    errors=(*_REFUSALS, 504),
    headers=_CREATION,
)
async def wait_thread_run(call: Call) -> None:
    """Create Run, Wait for Output

    Creates a run on a thread and answers with its final state; with `__interrupt__` where it asks, with `__error__`
    where it failed. While that takes longer, newlines come before the JSON.
    """
    await _answer_when_done(call, *await _create(call, wire.THREAD_RUN, "lg.wait_thread_run"))


@operation(
    "Thread Runs",
    needs="write",
    body=wire.THREAD_RUN,
    query=wire.CREATE_STREAM_QUERY,
    answer=answers.Event,
    media="text/event-stream",
    errors=_REFUSALS,
    headers=_CREATION + _RESUMING,
)
async def stream_thread_run(call: Call) -> None:
    """Create Run, Stream Output

    Creates a run on a thread and streams its events as server-sent events, each with a cursor.
    """
    await _create_and_stream(call, wire.THREAD_RUN, "lg.stream_thread_run")


@operation(
    "Stateless Runs", needs="write", body=wire.STATELESS_RUN, answer=answers.Run, errors=_REFUSALS, headers=_CREATION
)
async def create_run(call: Call) -> None:
    """Create Background Run

    Creates a run on no thread, and does not wait for it. Its record, output and events are kept for a retention time.
    """
    created, _ = await _create(call, wire.STATELESS_RUN, "lg.create_run")
    await _answer(call, created)


@operation(
    "Stateless Runs",
    needs="write",
    body=wire.STATELESS_RUN,
    answer=dict[str, Any],
    errors=(*_REFUSALS, 504),
    headers=_CREATION,
)
async def wait_run(call: Call) -> None:
    """Create Run, Wait for Output

    The same on no thread.
    """
    await _answer_when_done(call, *await _create(call, wire.STATELESS_RUN, "lg.wait_run"))


@operation(
    "Stateless Runs",
    needs="write",
    body=wire.STATELESS_RUN,
    query=wire.CREATE_STREAM_QUERY,
    answer=answers.Event,
    media="text/event-stream",
    errors=_REFUSALS,
    headers=_CREATION + _RESUMING,
)
async def stream_run(call: Call) -> None:
    """Create Run, Stream Output

    The same on no thread.
    """
    await _create_and_stream(call, wire.STATELESS_RUN, "lg.stream_run")


@operation(
    "Stateless Runs", needs="write", body=wire.STATELESS_RUN, many=True, answer=list[answers.Run], errors=_REFUSALS
)
async def create_runs(call: Call) -> None:
    """Create Run Batch

    Creates several runs on no thread, and does not wait for them: all of them, or none.
    """
    wished = [
        (await wishes.wish(call.api, call.owner, body, None))[0] for body in await call.bodies(wire.STATELESS_RUN)
    ]
    made = await asyncio.gather(
        *(call.api.verbs.create_run(call.owner, wish) for wish in wished), return_exceptions=True
    )
    refused = next((one for one in made if isinstance(one, BaseException)), None)
    created = [one.run for one in made if not isinstance(one, BaseException)]
    if refused is not None:
        for run in created:
            with contextlib.suppress(NotFound):  # somebody else was faster
                await call.api.verbs.cancel_run(call.owner, run.run_id, "rollback", wait=False)
        raise refused
    await call.answer(_encode([answers.run(run) for run in created]))


@operation("Thread Runs", needs="read", query=wire.RUNS_QUERY, answer=list[answers.Run], errors=(404,))
async def list_runs(call: Call) -> None:
    """List Runs

    The runs of a thread, newest first.
    """
    query = call.query(wire.RUNS_QUERY)
    found = await call.api.verbs.thread_runs(
        call.owner,
        call.uuid("thread_id"),
        runs.RunFilter(
            statuses=_ACTIVE.get(query.status) if isinstance(query.status, str) else None,
            outcomes=_OUTCOMES.get(query.status) if isinstance(query.status, str) else None,
            metadata=None if query.metadata is UNSET else _metadata(query.metadata),
            limit=query.limit + 1,
            offset=query.offset,
        ),
    )
    select = None if query.select is UNSET else check_select(query.select, answers.Run)
    tell_pages(call, query.offset, query.limit, len(found))
    await call.answer(_encode([answers.selected(answers.run(run), select) for run in found[: query.limit]]))


@operation("Thread Runs", needs="read", answer=answers.Run, errors=(404,))
async def get_run(call: Call) -> None:
    """Get Run"""
    await call.answer(_encode(answers.run(await _run(call))))


@operation("Thread Runs", needs="write", errors=(404, 504))
async def delete_run(call: Call) -> None:
    """Delete Run

    Deletes a run and its events; what it did to its thread stays. One that has not finished is cancelled first.
    """
    run = await _run(call)
    verbs = call.api.verbs
    while True:
        if not run.finished:
            await verbs.cancel_run(call.owner, run.run_id, "interrupt", wait=True)
        try:
            await verbs.delete_run(call.owner, run.run_id)
            break
        except Conflict as conflict:
            if conflict.reason != "run_active":
                raise
            run = await _run(call)
    await call.no_content()


@operation("Thread Runs", needs="read", query=wire.JOIN_QUERY, answer=dict[str, Any], errors=(404, 504))
async def join_run(call: Call) -> None:
    """Join Run

    Answers with the run's final state when it has ended.
    """
    query = call.query(wire.JOIN_QUERY)
    run = await _run(call)
    _check_scope(call, cancels=query.cancel_on_disconnect)
    call.tell(b"location", _path(call, run, "/join"))
    await _waited(call, run, cancels=query.cancel_on_disconnect)


@operation(
    "Thread Runs",
    needs="read",
    query=wire.JOIN_STREAM_QUERY,
    answer=answers.Event,
    media="text/event-stream",
    errors=(404,),
    headers=_RESUMING,
)
async def join_run_stream(call: Call) -> None:
    """Join Run Stream

    Streams what the run puts out from now on; with `Last-Event-ID` (0 is the start) what came behind that event first.
    """
    query = call.query(wire.JOIN_STREAM_QUERY)
    after = cursor(call, None)
    run = await _run(call)
    _check_scope(call, cancels=query.cancel_on_disconnect)
    if query.checkpoint_id is not UNSET and query.checkpoint_id:
        raise Unsupported("checkpoint_id: a run is streamed by its events; send Last-Event-ID", field="checkpoint_id")
    asked = [] if query.stream_mode is UNSET else wishes.listed(streams.separated(query.stream_mode))
    namespaces = None if query.namespace is UNSET else query.namespace
    view = streams.view(run, asked or None, namespaces)
    call.tell(b"location", _path(call, run, "/stream"))
    await streams.stream(call, run, after=after, view=view, cancels=query.cancel_on_disconnect)


@operation("Thread Runs", needs="write", query=wire.CANCEL_QUERY, answer=dict[str, Any], errors=(404, 409, 504))
async def cancel_run(call: Call) -> None:
    """Cancel Run

    A pending run ends at once, an executing one is told to stop (202); with `wait` the answer (200) comes when its code
    has stopped. `rollback` also undoes and deletes it.
    """
    query = call.query(wire.CANCEL_QUERY)
    reason = None if query.reason is UNSET else _REASONS[query.reason]
    if reason is not None and query.action != "interrupt":
        raise InvalidInput(
            f"reason cannot be sent with action {query.action}: nothing is left of the run", field="reason"
        )
    run = await _run(call)
    if run.finished and query.action == "interrupt":
        raise NotFound(
            f"run {run.run_id} has ended as {answers.status_of(run)}: there is nothing to cancel",
            code="run_finished",
            run_id=run.run_id,
        )
    await call.api.verbs.cancel_run(call.owner, run.run_id, query.action, query.wait, reason)
    if query.wait:
        call.tell(b"location", _path(call, run, "/join"))
        call.tell(b"content-location", _path(call, run))
    await (call.answer(b"{}") if query.wait else call.accepted())


@operation("Thread Runs", needs="write", body=wire.CANCEL_RUNS, query=wire.CANCEL_MANY_QUERY, errors=(404, 409))
async def cancel_runs(call: Call) -> None:
    """Cancel Runs

    Cancels runs of a thread by their ids, or all that are `pending`, `running`, or (`all`) either.
    """
    action = call.query(wire.CANCEL_MANY_QUERY).action
    body = await call.body(wire.CANCEL_RUNS)
    if body.status is not None:
        if body.thread_id is not None or body.run_ids is not None:
            raise InvalidInput("status cannot be sent with thread_id or run_ids", field="status")
        wanted: tuple[runs.Status, ...] = ("pending", "running") if body.status == "all" else (body.status,)
        found = await _all_of(call, wanted)
    elif body.thread_id is None or not body.run_ids:
        raise InvalidInput("either status is needed, or thread_id and run_ids", field="run_ids")
    else:
        thread_id = canonical_uuid("thread_id", body.thread_id)
        found = [await _active(call, thread_id, canonical_uuid("run_ids", run_id)) for run_id in body.run_ids]
    ids = [run.run_id for run in found if run is not None]
    if not ids:
        raise NotFound("no runs found to cancel", code="run_not_found")
    for run_id in ids:
        try:
            await call.api.verbs.cancel_run(call.owner, run_id, action, wait=False)
        except NotFound:
            pass  # it is gone since
    await call.no_content()


async def _all_of(call: Call, statuses: tuple[runs.Status, ...]) -> list[runs.Run | None]:
    found: list[runs.Run | None] = []
    for status in statuses:
        offset = 0
        while True:
            query = runs.RunFilter(statuses=(status,), limit=_PAGE, offset=offset)
            page = await call.api.verbs.search_runs(call.owner, query)
            found += page
            offset += _PAGE
            if len(page) < _PAGE:
                break
    return found


async def _active(call: Call, thread_id: str, run_id: str) -> runs.Run | None:
    try:
        run = await call.api.verbs.get_run(call.owner, run_id)
    except NotFound:
        return None
    return None if run.finished or run.thread_id != thread_id else run


def _check_scope(call: Call, *, cancels: bool) -> None:
    """Whoever may only read ends no run by leaving it.

    Raises:
        Forbidden: naming the scope.
    """
    if cancels and call.principal.scope != "write":
        raise Forbidden("this key has the scope read; cancel_on_disconnect needs write", scope="read")


async def _run(call: Call) -> runs.Run:
    """The run that the path names; on the thread that it names, where it does."""
    run = await call.api.verbs.get_run(call.owner, call.uuid("run_id"))
    if "thread_id" in call.params and run.thread_id != call.uuid("thread_id"):
        raise run_not_found(run.run_id)
    return run


# creation


async def _create(call: Call, shape: Shape[R], route: str) -> tuple[Created, R]:
    key = idempotency_key(call)
    thread_id = call.uuid("thread_id") if "thread_id" in call.params else None
    body = await call.body(shape)
    idempotency: tuple[str, str, str] | None = None
    if key is not None:
        more = {} if thread_id is None else {"thread_id": thread_id}
        idempotency = (route, key, call.body_hash(**more))
    wish, assistant = await wishes.wish(call.api, call.owner, body, thread_id, idempotency)
    created = await call.api.verbs.create_run(call.owner, wish)
    if created.repeated:
        call.tell(b"idempotent-replayed", b"true")
    elif not created.run.stateless:
        thread_id = created.run.thread_id
        await labels.put(call.api, call.owner, thread_id, assistant.agent_id, assistant.assistant_id)
    return created, body


async def _answer(call: Call, created: Created) -> None:
    call.tell(b"content-location", _path(call, created.run))
    await call.answer(_encode(answers.run(created.run)))


async def _answer_when_done(call: Call, created: Created, body: wire.StatelessRun) -> None:
    run = created.run
    call.tell(b"location", f"/threads/{run.thread_id}/runs/{run.run_id}/join".encode())
    # On a thread it may have ended while that was labelled.
    begun = created.claim is not None and run.stateless
    await _waited(call, run, cancels=body.on_disconnect == "cancel", begun=begun)


async def _waited(call: Call, run: runs.Run, *, cancels: bool, begun: bool = False) -> None:
    call.tell(b"content-location", f"/threads/{run.thread_id}/runs/{run.run_id}".encode())
    await waiting.answer_when_done(call, run, render=answers.waited, cancels=cancels, begun=begun)


async def _create_and_stream(call: Call, shape: Shape[R], route: str) -> None:
    query = call.query(wire.CREATE_STREAM_QUERY)
    after = cursor(call, None)
    created, body = await _create(call, shape, route)
    run = created.run
    view = streams.view(run, None, None if query.namespace is UNSET else query.namespace)
    call.tell(b"location", _path(call, run, "/stream"))
    start = run.first_seq if after is None else after
    await streams.stream(call, run, after=start, view=view, cancels=body.on_disconnect == "cancel")


def _path(call: Call, run: runs.Run, below: str = "") -> bytes:
    """A run's path as clients of the dialect take it: they put it behind the URL that they were given, wherever this
    is mounted."""
    place = f"/threads/{run.thread_id}" if "thread_id" in call.params else ""
    return f"{place}/runs/{run.run_id}{below}".encode()


# lists


def _metadata(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        raise InvalidInput(f"metadata is {text[:80]!r}; a JSON object is needed", field="metadata") from None
