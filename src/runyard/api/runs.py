"""Runs: create, consume, look at, cancel, delete; each also below `/threads/{thread_id}`."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runyard import runs
from runyard.api import answers, sse, waiting, wire
from runyard.api.call import Call, idempotency_key
from runyard.api.operation import operation
from runyard.api.validation import canonical_uuid
from runyard.errors import InvalidInput, run_not_found
from runyard.graphs import check_recorded
from runyard.lifecycle import CreateRun
from runyard.storage.contract import Created

_CREATION = ("Idempotency-Key",)
_RESUMING = ("Last-Event-ID",)
_MOST_LISTED = 1000

_encode = msgspec.json.Encoder().encode


@operation(
    "Background Runs",
    needs="write",
    body=wire.RUN_CREATE,
    answer=answers.Run,
    errors=(404, 409, 429),
    headers=_CREATION,
)
async def create_run(call: Call) -> None:
    """Create Background Run

    Creates a run and answers at once, without waiting for its output. Without `thread_id` the run is stateless: its
    record, output and events are kept for a retention time.
    """
    await _answer(call, *await _create(call, "create_run"))


@operation(
    "Runs",
    needs="write",
    body=wire.RUN_CREATE,
    answer=answers.RunWaitResponse,
    errors=(404, 409, 429, 504),
    headers=_CREATION,
)
async def create_and_wait_run(call: Call) -> None:
    """Create Run, Wait for Output

    Creates a run and answers with its final state. While that takes longer, newlines come before the JSON.
    """
    await _answer_when_done(call, *await _create(call, "create_and_wait_run"))


@operation(
    "Runs",
    needs="write",
    body=wire.RUN_CREATE,
    answer=answers.RunStreamEvent,
    media="text/event-stream",
    errors=(404, 409, 429),
    headers=_CREATION + _RESUMING,
)
async def create_and_stream_run(call: Call) -> None:
    """Create Run, Stream Output

    Creates a run and streams its events from the first one on, as server-sent events: `metadata`, then those of the
    asked modes (`values`, `updates`, `messages`, `custom`), `error`, and `end`.
    """
    after = sse.cursor(call, None)
    await _answer_in_events(call, *await _create(call, "create_and_stream_run"), after)


@operation(
    "Runs",
    needs="write",
    body=wire.RUN_RESUME,
    answer=answers.Run,
    errors=(404, 409, 429),
    headers=_CREATION,
)
async def resume_run(call: Call) -> None:
    """Resume Run

    Answers the open question of an interrupted thread with a new run, and does not wait for it. 409 where nothing is
    asked. The same as creating a run with `command.resume`.
    """
    await _answer(call, *await _resume(call, "resume_run"))


@operation(
    "Runs",
    needs="write",
    body=wire.RUN_RESUME,
    answer=answers.RunWaitResponse,
    errors=(404, 409, 429, 504),
    headers=_CREATION,
)
async def resume_and_wait_run(call: Call) -> None:
    """Resume Run, Wait for Output

    The same, answered with the final state.
    """
    await _answer_when_done(call, *await _resume(call, "resume_and_wait_run"))


@operation(
    "Runs",
    needs="write",
    body=wire.RUN_RESUME,
    answer=answers.RunStreamEvent,
    media="text/event-stream",
    errors=(404, 409, 429),
    headers=_CREATION + _RESUMING,
)
async def resume_and_stream_run(call: Call) -> None:
    """Resume Run, Stream Output

    The same, answered with its events.
    """
    after = sse.cursor(call, None)
    await _answer_in_events(call, *await _resume(call, "resume_and_stream_run"), after)


@operation("Background Runs", needs="read", answer=answers.Run, errors=(404,))
async def get_run(call: Call) -> None:
    """Get Run"""
    await call.answer(answers.run(await _run(call)))


@operation("Background Runs", needs="read", answer=answers.RunWaitResponse, errors=(404, 504))
async def wait_run(call: Call) -> None:
    """Wait for Run output

    Answers when the run has ended, at once if it has; a failed run answers 200 with `error`. While that takes longer,
    newlines come before the JSON.
    """
    await waiting.answer_when_done(call, await _run(call), cancels=False)


@operation(
    "Background Runs",
    needs="read",
    query=wire.STREAM_QUERY,
    answer=answers.RunStreamEvent,
    media="text/event-stream",
    errors=(404,),
    headers=_RESUMING,
)
async def stream_run(call: Call) -> None:
    """Stream output from Run

    Streams what the run puts out from now on, as server-sent events; a run that has ended answers `metadata` and `end`
    at once. With a cursor (`Last-Event-ID`, or `since`; 0 is the start) events after it are replayed first.
    """
    query = call.query(wire.STREAM_QUERY)
    after = sse.cursor(call, query.since)
    asked_for = UNSET if query.stream_mode is UNSET else sse.listed(query.stream_mode)
    run = await _run(call)
    request = run.asked_for()
    if asked_for is not UNSET:
        check_recorded(request, asked_for)
    modes = sse.modes(request.stream_mode if asked_for is UNSET else asked_for)
    inner = query.stream_subgraphs if query.stream_subgraphs is not UNSET else request.stream_subgraphs is True
    await sse.stream(call, run, after=after, modes=modes, inner=inner, cancels=False)


@operation("Background Runs", needs="read", body=wire.RUN_SEARCH, answer=list[answers.Run], errors=(404,))
async def search_runs(call: Call) -> None:
    """Search Runs

    Lists runs, newest first.
    """
    body = await call.body(wire.RUN_SEARCH)
    found = await call.api.verbs.search_runs(
        call.owner,
        runs.RunFilter(
            thread_id=None if body.thread_id is UNSET else canonical_uuid("thread_id", body.thread_id),
            agent_id=None if body.agent_id is UNSET else body.agent_id,
            statuses=None if body.status is UNSET else runs.statuses_on_wire(body.status),
            metadata=None if body.metadata is UNSET else body.metadata,
            limit=body.limit,
            offset=body.offset,
        ),
    )
    await call.answer(answers.array(map(answers.run, found)))


@operation(
    "Background Runs",
    needs="read",
    query=wire.THREAD_RUNS_QUERY,
    answer=list[answers.Run],
    errors=(404,),
)
async def search_thread_runs(call: Call) -> None:
    """Search Thread Runs

    Lists the runs of a thread, newest first.
    """
    query = call.query(wire.THREAD_RUNS_QUERY)
    thread_id = call.uuid("thread_id")
    found = await call.api.verbs.thread_runs(
        call.owner,
        thread_id,
        runs.RunFilter(
            thread_id=thread_id,
            statuses=None if query.status is UNSET else runs.statuses_on_wire(query.status),
            limit=min(query.limit, _MOST_LISTED),
            offset=query.offset,
        ),
    )
    await call.answer(answers.array(map(answers.run, found)))


@operation("Background Runs", needs="write", query=wire.CANCEL_QUERY, errors=(404, 409, 504))
async def cancel_run(call: Call) -> None:
    """Cancel Run

    A pending run ends at once, an executing one is told to stop; a finished one stays as it is, except that `rollback`
    undoes the thread's latest run. With `wait` the answer comes when its code has stopped.
    """
    query = call.query(wire.CANCEL_QUERY)
    run = await _run(call)
    await call.api.verbs.cancel_run(call.owner, run.run_id, query.action, query.wait)
    await call.no_content()


@operation("Background Runs", needs="write", errors=(404, 409))
async def delete_run(call: Call) -> None:
    """Delete Run

    Deletes a finished run and its events; what it did to its thread stays. An unfinished run has to be cancelled
    first.
    """
    run = await _run(call)
    await call.api.verbs.delete_run(call.owner, run.run_id)
    await call.no_content()


async def _run(call: Call) -> runs.Run:
    """The run that the path names. Below a thread, a run of another thread (or a stateless one) is not found."""
    run = await call.api.verbs.get_run(call.owner, call.uuid("run_id"))
    if "thread_id" in call.params and (run.stateless or run.thread_id != call.uuid("thread_id")):
        raise run_not_found(run.run_id)
    return run


def _cancels(body: wire.RunCreate) -> bool:
    """Whether the run ends when the connection that created it and consumes it is dropped."""
    return body.on_disconnect is UNSET or body.on_disconnect == "cancel"


async def _answer(call: Call, created: Created, _: wire.RunCreate) -> None:
    call.tell(b"location", call.path(f"/runs/{created.run.run_id}"))
    await call.answer(answers.run(created.run))


async def _answer_when_done(call: Call, created: Created, body: wire.RunCreate) -> None:
    call.tell(b"content-location", call.path(f"/runs/{created.run.run_id}"))
    await waiting.answer_when_done(call, created.run, cancels=_cancels(body), begun=created.claim is not None)


async def _answer_in_events(call: Call, created: Created, body: wire.RunCreate, after: int | None) -> None:
    run, modes = created.run, sse.modes(body.stream_mode)
    call.tell(b"location", call.path(f"/runs/{run.run_id}"))
    start, inner = run.first_seq if after is None else after, body.stream_subgraphs is True
    await sse.stream(call, run, after=start, modes=modes, inner=inner, cancels=_cancels(body))


async def _create(call: Call, route: str) -> tuple[Created, wire.RunCreate]:
    key = idempotency_key(call)
    return await _created(call, route, key, await call.body(wire.RUN_CREATE))


async def _resume(call: Call, route: str) -> tuple[Created, wire.RunCreate]:
    key = idempotency_key(call)
    return await _created(call, route, key, (await call.body(wire.RUN_RESUME)).creation())


async def _created(call: Call, route: str, key: str | None, body: wire.RunCreate) -> tuple[Created, wire.RunCreate]:
    thread_id = _thread_id(call, body)
    idempotency: tuple[str, str, str] | None = None
    if key is not None:
        more = {} if thread_id is None else {"thread_id": thread_id}
        idempotency = (route, key, call.body_hash(**more))
    created = await call.api.verbs.create_run(call.owner, _wish(body, thread_id, idempotency))
    if created.repeated:
        call.tell(b"idempotent-replayed", b"true")
    return created, body


def _thread_id(call: Call, body: wire.RunCreate) -> str | None:
    asked = None if body.thread_id is UNSET else canonical_uuid("thread_id", body.thread_id)
    if "thread_id" not in call.params:
        return asked
    named = call.uuid("thread_id")
    if asked not in (None, named):
        raise InvalidInput(
            f"thread_id is {asked} in the body and {named} in the path; leave it out of the body",
            field="thread_id",
        )
    return named


def _wish(body: wire.RunCreate, thread_id: str | None, idempotency: tuple[str, str, str] | None) -> CreateRun:
    return CreateRun(
        agent_id=None if body.agent_id is UNSET else body.agent_id,
        thread_id=thread_id,
        input=_raw(body.input),
        messages=_raw(body.messages),
        metadata={} if body.metadata is UNSET else body.metadata,
        config=_config(body.config),
        command=_command(body.command),
        checkpoint=_checkpoint(body.checkpoint),
        webhook=body.webhook,
        stream_mode=body.stream_mode,
        multitask_strategy=body.multitask_strategy,
        on_completion=body.on_completion,
        on_disconnect=body.on_disconnect,
        if_not_exists=body.if_not_exists,
        after_seconds=body.after_seconds,
        context=_raw(body.context),
        interrupt_before=body.interrupt_before,
        interrupt_after=body.interrupt_after,
        durability=body.durability,
        stream_subgraphs=body.stream_subgraphs,
        idempotency=idempotency,
    )


def _raw(value: Any) -> Raw | UnsetType:
    return UNSET if value is UNSET else Raw(_encode(value))


def _config(config: wire.RunConfig | UnsetType) -> runs.Config | UnsetType:
    if config is UNSET:
        return UNSET
    return runs.Config(config.tags, config.recursion_limit, config.configurable)


def _command(command: wire.RunCommand | UnsetType) -> runs.Command | UnsetType:
    if command is UNSET:
        return UNSET
    return runs.Command(_raw(command.resume), _raw(command.update), _raw(command.goto))


def _checkpoint(checkpoint: wire.ThreadCheckpoint | UnsetType) -> dict[str, Any] | UnsetType:
    if checkpoint is UNSET:
        return UNSET
    return {"checkpoint_id": canonical_uuid("checkpoint.checkpoint_id", checkpoint.checkpoint_id)}
