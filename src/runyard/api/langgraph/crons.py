"""Crons in the dialect: create (on a thread, or each run on one of its own), look at, list, change, delete."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from runyard import crons
from runyard.api.answers import Time
from runyard.api.call import Call
from runyard.api.context import ApiContext
from runyard.api.langgraph import labels, wishes
from runyard.api.langgraph.assistants import assistant_id_of
from runyard.api.langgraph.pages import check_select, select, tell_pages
from runyard.api.langgraph.wire import (
    Config,
    Limit,
    Multitask,
    Offset,
    SortOrder,
    StatelessRun,
    StreamMode,
    ThreadRun,
)
from runyard.api.operation import operation
from runyard.api.validation import Shape, canonical_uuid
from runyard.api.wire import Durability, JsonObject, Nodes, Uuid, Webhook, Wire
from runyard.clock import rfc3339
from runyard.crons import Cron, CronFilter, CronPatch, OnRunCompleted
from runyard.lifecycle import CreateRun
from runyard.runs import Acting, Run
from runyard.timetable import CreateCron

Schedule = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1000,
        description="Minute, hour, day of month, month, day of week; with a field of seconds behind them, or without.",
    ),
]
TimeZone = Annotated[str, Meta(max_length=255, description="A name of the IANA database; null is UTC.")]
EndTime = Annotated[datetime, Meta(description="It does not fire behind this time; without an offset it is UTC.")]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class CronRun(Wire, kw_only=True):
    """What the runs of a cron are asked for."""

    input: Any = None
    config: Config | None = None
    context: JsonObject | None = None
    webhook: Webhook | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    durability: Durability | None = None
    checkpoint_during: bool | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    multitask_strategy: Annotated[Multitask | None, Meta(description="On a thread: what becomes of a run before.")] = (
        None
    )


RUN_FIELDS = tuple(field.encode_name for field in msgspec.structs.fields(CronRun))


class CronBase(CronRun, kw_only=True):
    """A cron to create."""

    assistant_id: str
    schedule: Schedule
    timezone: TimeZone | None = None
    end_time: EndTime | None = None
    enabled: bool | None = None
    metadata: Annotated[JsonObject | None, Meta(description="Of the cron, and of its runs.")] = None


class ThreadCronCreate(CronBase, kw_only=True):
    """A cron to create, whose runs are on one thread."""

    if_not_exists: Annotated[
        Literal["create", "reject"] | None, Meta(description="What to do about a thread that is not there.")
    ] = None


class CronCreate(CronBase, kw_only=True):
    """A cron to create, whose runs each have a thread of their own."""

    on_run_completed: Annotated[OnRunCompleted | None, Meta(description="What becomes of that thread.")] = None


class CronUpdate(CronRun, kw_only=True):
    """What to change of a cron; what is left out stays. `end_time` and `timezone` are taken away by null."""

    schedule: Schedule | None = None
    timezone: TimeZone | UnsetType | None = UNSET
    end_time: EndTime | UnsetType | None = UNSET
    enabled: bool | None = None
    on_run_completed: OnRunCompleted | None = None
    metadata: Annotated[JsonObject | None, Meta(description="Merged into what there is.")] = None


class CronCount(Wire, kw_only=True):
    """Which crons to count."""

    assistant_id: str | None = None
    thread_id: Uuid | None = None
    metadata: JsonObject | None = None


class CronSearch(CronCount, kw_only=True):
    """Which crons to list."""

    enabled: bool | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: crons.SortBy | None = None
    sort_order: SortOrder | None = None
    select: list[str] | None = None


CREATE, CREATE_ON_THREAD, UPDATE = Shape(CronCreate), Shape(ThreadCronCreate), Shape(CronUpdate)
COUNT, SEARCH = Shape(CronCount), Shape(CronSearch)


class CronAnswer(msgspec.Struct, kw_only=True):
    """Runs to come, at the times of a schedule."""

    cron_id: Uuid
    assistant_id: Uuid
    thread_id: Uuid | None
    on_run_completed: OnRunCompleted | None
    schedule: str
    timezone: str | None
    end_time: Time | None
    enabled: bool
    created_at: Time
    updated_at: Time
    payload: Annotated[JsonObject, Meta(description="What its runs are asked for.")]
    user_id: str | None
    next_run_date: Time | None
    metadata: JsonObject
    last_error: Annotated[str | None, Meta(description="Why its last time made no run.")]


def _answer(cron: Cron) -> dict[str, Any]:
    return {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "on_run_completed": cron.on_run_completed,
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "end_time": None if cron.end_time is None else rfc3339(cron.end_time),
        "enabled": cron.enabled,
        "created_at": rfc3339(cron.created_at),
        "updated_at": rfc3339(cron.updated_at),
        "payload": {"assistant_id": cron.assistant_id, "schedule": cron.schedule, **cron.wished},
        "user_id": cron.owner or (cron.acting or {}).get("acting", {}).get("identity"),
        "next_run_date": None if cron.next_at is None else rfc3339(cron.next_at),
        "metadata": Raw(cron.metadata),
        "last_error": cron.last_error,
    }


async def wish(api: ApiContext, cron: Cron) -> CreateRun:
    """What a cron's runs are asked for, by its assistant as it is now.

    Raises:
        InvalidInput: there is no such assistant; fields that do not fit, or cannot be obeyed.
    """
    given = {**cron.wished, "assistant_id": cron.assistant_id}
    on_thread = cron.thread_id is not None
    body = msgspec.convert(given, ThreadRun if on_thread else StatelessRun)
    made, assistant = await wishes.wish(api, cron.owner, body, cron.thread_id)
    dialect = made.langgraph
    assert dialect is not UNSET
    keeps = on_thread or cron.on_run_completed == "keep"
    noted = labels.of(assistant.agent_id, assistant.assistant_id) if keeps else {}
    bound = cron.acting
    if bound is not None:
        acting = msgspec.convert(bound["acting"], Acting)
        made = msgspec.structs.replace(made, acting=acting, within=bound["within"])
        noted = {**_decode(cron.metadata), **noted}
    return msgspec.structs.replace(
        made,
        metadata={**made.metadata, **_decode(cron.metadata), "cron_id": cron.cron_id},
        on_completion=UNSET if cron.on_run_completed is None else cron.on_run_completed,
        langgraph=msgspec.structs.replace(dialect, cron_id=cron.cron_id),
        thread_metadata=noted,
    )


async def made(api: ApiContext, cron: Cron, run: Run) -> None:
    """Notes on the thread of a cron's run whose it is."""
    if not run.stateless:
        await labels.put(api, run.owner, run.thread_id, run.agent_id, cron.assistant_id)


@operation("Crons", needs="write", body=CREATE_ON_THREAD, answer=CronAnswer, errors=(404,))
async def create_thread_cron(call: Call) -> None:
    """Create Thread Cron

    Runs on a thread at the times of a schedule. Each time makes one run, however many servers there are; times that
    passed while there was none are made up for by one run.
    """
    document = await call.document()
    body = CREATE_ON_THREAD.parse(document)
    call.pass_over(CREATE_ON_THREAD.unknown(document))
    thread_id = call.uuid("thread_id")
    wish = await _wish(call, body, document, thread_id, None)
    if body.if_not_exists == "create":
        await call.api.timetable.check(call.owner, wish)
        await call.api.verbs.create_thread(call.owner, thread_id, {}, "do_nothing")
    await call.answer(_encode(_answer(await call.api.timetable.create(call.owner, wish))))


@operation("Crons", needs="write", body=CREATE, answer=CronAnswer)
async def create_cron(call: Call) -> None:
    """Create Cron

    The same with a thread for each run, which goes when the run has ended, unless `on_run_completed` is `keep`.
    """
    document = await call.document()
    body = CREATE.parse(document)
    call.pass_over(CREATE.unknown(document))
    wish = await _wish(call, body, document, None, body.on_run_completed or "delete")
    await call.answer(_encode(_answer(await call.api.timetable.create(call.owner, wish))))


async def _wish(
    call: Call,
    body: CronBase,
    document: dict[str, Any],
    thread_id: str | None,
    on_run_completed: OnRunCompleted | None,
) -> CreateCron:
    assistant = await wishes.chosen(call.api, call.owner, body.assistant_id)
    return CreateCron(
        assistant_id=assistant.assistant_id,
        schedule=body.schedule,
        payload=_payload(document),
        thread_id=thread_id,
        timezone=body.timezone,
        end_time=None if body.end_time is None else _microseconds(body.end_time),
        enabled=body.enabled is not False,
        on_run_completed=on_run_completed,
        metadata=body.metadata or {},
    )


def _payload(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in RUN_FIELDS if document.get(name) is not None}


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


@operation("Crons", needs="read", body=SEARCH, answer=list[CronAnswer])
async def search_crons(call: Call) -> None:
    """Search Crons

    Newest first, unless `sort_by` says otherwise.
    """
    body = await call.body(SEARCH)
    chosen = None if body.select is None else check_select(body.select, CronAnswer, "now")
    query = msgspec.structs.replace(
        _filter(call, body),
        enabled=body.enabled,
        sort_by=body.sort_by or "created_at",
        descending=body.sort_order != "asc",
        limit=body.limit + 1,
        offset=body.offset,
    )
    found = await call.api.timetable.search(call.owner, query)
    total = await call.api.timetable.count(call.owner, query) if len(found) > body.limit else None
    tell_pages(call, body.offset, body.limit, len(found), total)
    now = {} if chosen is None else {"now": rfc3339(call.api.verbs.clock.now())}
    await call.answer(_encode([select({**_answer(cron), **now}, chosen) for cron in found[: body.limit]]))


@operation("Crons", needs="read", body=COUNT, answer=int)
async def count_crons(call: Call) -> None:
    """Count Crons"""
    body = await call.body(COUNT)
    await call.answer(_encode(await call.api.timetable.count(call.owner, _filter(call, body))))


def _filter(call: Call, body: CronCount) -> CronFilter:
    return CronFilter(
        assistant_id=None if body.assistant_id is None else assistant_id_of(call.api, body.assistant_id),
        thread_id=None if body.thread_id is None else canonical_uuid("thread_id", body.thread_id),
        metadata=body.metadata,
    )


@operation("Crons", needs="read", answer=CronAnswer, errors=(404,))
async def get_cron(call: Call) -> None:
    """Get Cron"""
    await call.answer(_encode(_answer(await call.api.timetable.get(call.owner, call.uuid("cron_id")))))


@operation("Crons", needs="write", body=UPDATE, answer=CronAnswer, errors=(404,))
async def patch_cron(call: Call) -> None:
    """Update Cron

    What the body leaves out stays as it is; the next time is planned anew.
    """
    document = await call.document()
    body = UPDATE.parse(document)
    call.pass_over(UPDATE.unknown(document))
    end_time = body.end_time
    patch = CronPatch(
        schedule=_or_unset(body.schedule),
        timezone=body.timezone,
        end_time=end_time if end_time is UNSET or end_time is None else _microseconds(end_time),
        enabled=_or_unset(body.enabled),
        on_run_completed=_or_unset(body.on_run_completed),
        payload=_payload(document),
        metadata=body.metadata or {},
    )
    changed = await call.api.timetable.patch(call.owner, call.uuid("cron_id"), patch)
    await call.answer(_encode(_answer(changed)))


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value


@operation("Crons", needs="write", errors=(404,))
async def delete_cron(call: Call) -> None:
    """Delete Cron

    Runs that it has made go on.
    """
    await call.api.timetable.delete(call.owner, call.uuid("cron_id"))
    await call.no_content()
