"""What is answered: the types of the API's answers, and how they are written.

Runs, threads and states are written by joining JSON text that storage already holds: nothing is decoded to be encoded
again. The types document those answers; a test decodes what is written here with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from runyard import agents, checkpoints, deliveries, items, runs, threads
from runyard.api.wire import (
    EVENT_ID,
    DeliveryStatus,
    JsonObject,
    Message,
    RunCreate,
    RunStatus,
    ThreadCheckpoint,
    ThreadStatus,
    Uuid,
)
from runyard.checkpoints import Question, Snapshot, State
from runyard.clock import rfc3339

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Outcome = Literal["completed", "asked", "cancelled", "rolled_back", "failed", "timed_out", "lost", "abandoned"]

_ENCODER = msgspec.json.Encoder()
_encode = _ENCODER.encode


class Answer(msgspec.Struct, omit_defaults=True):
    """An answer's body."""


class ErrorResponse(Answer, kw_only=True):
    """Every refusal, whatever refused."""

    code: Annotated[str, Meta(description="Stable, for programs.")]
    message: Annotated[str, Meta(description="For people: the field, its value, what is allowed.")]
    metadata: JsonObject


class Agent(Answer, kw_only=True):
    """What can be run."""

    agent_id: str
    name: str
    description: str | UnsetType = UNSET
    metadata: JsonObject
    capabilities: JsonObject


class AgentSchema(Answer, kw_only=True):
    """The JSON Schemas of an agent."""

    agent_id: str
    input_schema: JsonObject
    output_schema: JsonObject
    state_schema: JsonObject | UnsetType = UNSET
    config_schema: JsonObject | UnsetType = UNSET
    context_schema: JsonObject | UnsetType = UNSET


class Interrupt(Answer, kw_only=True):
    """An open question to a human."""

    id: str
    value: Any


class Failure(Answer, kw_only=True):
    """Why a run failed; the message holds the exception's class and text."""

    code: str
    message: str


class Thread(Answer, kw_only=True):
    """A conversation: state, order and history."""

    thread_id: Uuid
    created_at: Time
    updated_at: Time
    metadata: JsonObject
    status: ThreadStatus
    values: JsonObject
    messages: list[Message] | UnsetType = UNSET
    interrupts: list[Interrupt] | UnsetType = UNSET


class CheckpointMetadata(Answer, kw_only=True):
    """Where a state came from."""

    source: Literal["input", "step", "update", "fork", "interrupt"]
    step: int
    run_id: Uuid | None


class ThreadState(Answer, kw_only=True):
    """One revision of a thread's state."""

    checkpoint: ThreadCheckpoint
    values: JsonObject
    messages: list[Message] | UnsetType = UNSET
    metadata: CheckpointMetadata
    created_at: Time
    parent_checkpoint: ThreadCheckpoint | None
    interrupts: list[Interrupt] | UnsetType = UNSET


class Run(RunCreate, kw_only=True, omit_defaults=True):
    """One wish to invoke an agent: what was asked for, and what became of it."""

    run_id: Uuid
    thread_id: Uuid  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]  (always set)
    agent_id: str  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]  (always set)
    status: RunStatus
    outcome: Annotated[Outcome | None, Meta(description="What happened, in one word; null until the run has ended.")]
    attempt: Annotated[int, Meta(description="How many times its execution has begun.")]
    created_at: Time
    updated_at: Time
    metadata: JsonObject  # pyright: ignore[reportGeneralTypeIssues, reportIncompatibleVariableOverride]  (always set)
    error: Failure | UnsetType = UNSET
    cancel_reason: Annotated[str, Meta(description="Why it was cancelled, where a cancel has said so.")] | UnsetType = (
        UNSET
    )


class RunWaitResponse(Answer, kw_only=True):
    """How a run ended, and the state it left."""

    run: Run
    status: RunStatus
    values: JsonObject
    messages: list[Message] | UnsetType = UNSET
    error: Failure | UnsetType = UNSET
    interrupts: list[Interrupt] | UnsetType = UNSET


class RunStreamEvent(Answer, kw_only=True):
    """Server-sent events: `metadata` at the beginning of each attempt, those of the asked modes, `error`, and `end`."""

    event: Annotated[
        str,
        Meta(
            description="Of a subgraph or sub-agent: followed by `|` and its namespace.",
            extra_json_schema={
                "pattern": r"^(metadata|error|end|(values|updates|messages|custom|tasks|checkpoints|debug)(\|.+)?)$"
            },
        ),
    ]
    id: Annotated[str, Meta(description="The event's number.", extra_json_schema={"pattern": "^[0-9]+$"})] = ""
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json"})]


class ThreadStreamEvent(Answer, kw_only=True):
    """Server-sent events whose data are frames of the streaming protocol."""

    event: Annotated[str, Meta(description="The frame's `method`.")]
    id: Annotated[
        str,
        Meta(
            description="The frame's `eventId`, which is a cursor.",
            extra_json_schema={"pattern": EVENT_ID},
        ),
    ] = ""
    data: Annotated[str, Meta(extra_json_schema={"contentMediaType": "application/json"})]


class WebhookData(RunWaitResponse, kw_only=True):
    """What a wait for the run would answer, beside the run's own fields and times. The run's request is in `run`."""

    run_id: Uuid
    thread_id: Uuid
    agent_id: str
    outcome: Outcome
    metadata: JsonObject
    created_at: Time
    updated_at: Time
    run_started_at: Annotated[Time | None, Meta(description="When its first attempt began; null if none did.")]
    run_ended_at: Time
    webhook_sent_at: Annotated[Time | None, Meta(description="When this try began.")]


class WebhookEvent(Answer, kw_only=True):
    """What is posted to a run's webhook when the run has ended."""

    type: Literal["run.success", "run.error", "run.timeout", "run.interrupted"]
    timestamp: Annotated[Time, Meta(description="When the run ended.")]
    data: WebhookData


class WebhookDelivery(Answer, kw_only=True):
    """A webhook on its way, or there."""

    delivery_id: Annotated[str, Meta(description="The header `webhook-id` of every try.")]
    run_id: Uuid
    thread_id: Uuid
    url: str
    status: DeliveryStatus
    attempts: Annotated[int, Meta(description="How many tries have begun, since it was re-sent if it was.")]
    created_at: Time
    due_at: (
        Annotated[Time, Meta(description="When it is tried next; until then while it is being sent.")] | UnsetType
    ) = UNSET
    attempted_at: Annotated[Time, Meta(description="When the last try began.")] | UnsetType = UNSET
    delivered_at: Time | UnsetType = UNSET
    parked_at: Time | UnsetType = UNSET
    last_status: Annotated[int, Meta(description="The HTTP status of the last answer.")] | UnsetType = UNSET
    last_error: Annotated[str, Meta(description="Why the last try was no success.")] | UnsetType = UNSET
    event: (
        Annotated[
            WebhookEvent,
            Meta(description="What is posted, in the words of the face of the run's creation; not in lists."),
        ]
        | UnsetType
    ) = UNSET


class Item(Answer, kw_only=True):
    """A document in the store."""

    namespace: list[str]
    key: str
    value: JsonObject
    created_at: Time
    updated_at: Time


class FoundItem(Item, kw_only=True):
    """A document that was found; `score` where it was searched for by meaning."""

    score: float | UnsetType = UNSET


class SearchItemsResponse(Answer, kw_only=True):
    """The items that a search found."""

    items: list[FoundItem]


class Ok(Answer, kw_only=True):
    """The server answers."""

    ok: bool


class Readiness(Answer, kw_only=True):
    """Whether the server takes runs, and why not."""

    ready: bool
    reasons: list[str]
    unoffered: Annotated[
        dict[str, int],
        Meta(description="Agent id -> its pending runs that no worker here can execute."),
    ]


class Info(Answer, kw_only=True):
    """What this server is."""

    name: str
    version: str
    protocol: str
    agents: int


def run(run: runs.Run) -> bytes:
    """A run as JSON text: what was asked for is the stored text, spliced in."""
    head = (
        f'{{"run_id":"{run.run_id}","thread_id":"{run.thread_id}","agent_id":{_text(run.agent_id)},'
        f'"status":"{runs.wire_status(run.status)}","outcome":{_quoted(run.outcome)},"attempt":{run.attempt},'
        f'"created_at":"{rfc3339(run.created_at)}","updated_at":"{rfc3339(run.updated_at)}","metadata":'
    )
    request = _asked_for(run.request)
    asked_for = b"," + request[1:] if len(request) > 2 else b"}"
    failure = b"" if run.failure is None else b',"error":' + _encode(run.failure)
    return head.encode() + run.metadata + failure + asked_for


def _asked_for(request: bytes) -> bytes:
    """What of a request is shown: not for whom it was made."""
    if b'"acting":' not in request:
        return request
    fields = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    return _encode({name: value for name, value in fields.items() if name != "acting"})


def waited(done: runs.Run, state: State, questions: Sequence[Question]) -> bytes:
    """The answer to those who waited for a run."""
    return b"".join(
        (
            b'{"run":',
            run(done),
            b',"status":"',
            runs.wire_status(done.status).encode(),
            b'"',
            _state(state),
            b"" if done.failure is None else b',"error":' + _encode(done.failure),
            _interrupts(questions),
            b"}",
        )
    )


def webhook(notice: deliveries.Notice, sent_at: int | None) -> bytes:
    """What is posted to a run's webhook at that time: the answer to a wait, and beside it the run's own fields."""
    done = notice.run
    assert done.ended_at is not None  # a notice is of a run that has ended
    head = (
        f'{{"type":"run.{done.status}","timestamp":"{rfc3339(done.ended_at)}","data":{{"run_id":"{done.run_id}",'
        f'"thread_id":"{done.thread_id}","agent_id":{_text(done.agent_id)},"outcome":{_quoted(done.outcome)},'
        f'"created_at":"{rfc3339(done.created_at)}","updated_at":"{rfc3339(done.updated_at)}",'
        f'"run_started_at":{_time(done.started_at)},"run_ended_at":{_time(done.ended_at)},'
        f'"webhook_sent_at":{_time(sent_at)},"metadata":'
    )
    return head.encode() + done.metadata + b"," + waited(done, notice.state, notice.questions)[1:] + b"}"


def delivery(delivery: deliveries.Delivery, event: bytes | None = None) -> bytes:
    """A delivery as JSON text, with what is posted where that is given."""
    told = WebhookDelivery(
        delivery_id=delivery.delivery_id,
        run_id=delivery.run_id,
        thread_id=delivery.thread_id,
        url=delivery.url,
        status=delivery.status,
        attempts=delivery.attempts,
        created_at=rfc3339(delivery.created_at),
        due_at=_time_or_unset(delivery.due_at),
        attempted_at=_time_or_unset(delivery.attempted_at),
        delivered_at=_time_or_unset(delivery.delivered_at),
        parked_at=_time_or_unset(delivery.parked_at),
        last_status=UNSET if delivery.last_status is None else delivery.last_status,
        last_error=UNSET if delivery.last_error is None else delivery.last_error,
    )
    text = _encode(told)
    return text if event is None else text[:-1] + b',"event":' + event + b"}"


def thread(thread: threads.Thread, state: State, questions: Sequence[Question] = ()) -> bytes:
    """A thread as JSON text."""
    head = (
        f'{{"thread_id":"{thread.thread_id}","created_at":"{rfc3339(thread.created_at)}",'
        f'"updated_at":"{rfc3339(thread.updated_at)}","status":"{thread.status}","metadata":'
    )
    return head.encode() + thread.metadata + _state(state) + _interrupts(questions) + b"}"


def thread_state(snapshot: Snapshot) -> bytes:
    """A revision of a thread as JSON text."""
    point = snapshot.checkpoint
    parent = "null" if point.parent_id is None else _checkpoint(point.parent_id, point.thread_id)
    head = (
        f'{{"checkpoint":{_checkpoint(point.checkpoint_id, point.thread_id)},'
        f'"parent_checkpoint":{parent},"created_at":"{rfc3339(point.created_at)}",'
        f'"metadata":{{"source":"{point.source}","step":{point.step},"run_id":{_quoted(point.run_id)}}}'
    )
    questions = () if point.asked is None else point.asked.questions
    return head.encode() + _state(snapshot.state) + _interrupts(questions) + b"}"


def item(item: items.Item) -> bytes:
    """An item as JSON text."""
    times = f',"created_at":"{rfc3339(item.created_at)}","updated_at":"{rfc3339(item.updated_at)}"'
    score = b"" if item.score is None else b',"score":' + _encode(item.score)
    name = b'{"namespace":' + _encode(item.namespace) + b',"key":' + _encode(item.key)
    return name + b',"value":' + item.value + times.encode() + score + b"}"


def agent(agent: agents.Agent) -> bytes:
    """An agent as JSON text."""
    return _encode(
        Agent(
            agent_id=agent.agent_id,
            name=agent.name,
            description=UNSET if agent.description is None else agent.description,
            metadata=agent.metadata,
            capabilities=agent.capabilities,
        )
    )


def agent_schema(agent: agents.Agent) -> bytes:
    """An agent's schemas as JSON text."""
    return _encode(
        AgentSchema(
            agent_id=agent.agent_id,
            input_schema=agent.schemas.input,
            output_schema=agent.schemas.output,
            state_schema=UNSET if agent.schemas.state is None else agent.schemas.state,
            config_schema=UNSET if agent.schemas.config is None else agent.schemas.config,
            context_schema=UNSET if agent.schemas.context is None else agent.schemas.context,
        )
    )


def array(texts: Iterable[bytes]) -> bytes:
    """JSON texts as one JSON array."""
    return b"[" + b",".join(texts) + b"]"


def _state(state: Mapping[str, bytes]) -> bytes:
    """`,"values":...`, and `,"messages":...` lifted out of them where the state has that channel."""
    state = checkpoints.shown(state)
    messages = state.get("messages")
    # A channel of that name that holds no list is the agent's own affair, and stays among its values.
    if messages is None or not messages.startswith(b"["):
        return b',"values":' + checkpoints.render(state)
    del state["messages"]
    return b',"values":' + checkpoints.render(state) + b',"messages":' + messages


def _interrupts(questions: Sequence[Question]) -> bytes:
    if not questions:
        return b""
    asked = (b'{"id":' + _encode(q.id) + b',"value":' + bytes(q.value) + b"}" for q in questions)
    return b',"interrupts":' + array(asked)


def _checkpoint(checkpoint_id: str, thread_id: str) -> str:
    return f'{{"checkpoint_id":"{checkpoint_id}","thread_id":"{thread_id}","checkpoint_ns":""}}'


def _time(microseconds: int | None) -> str:
    return "null" if microseconds is None else f'"{rfc3339(microseconds)}"'


def _time_or_unset(microseconds: int | None) -> str | UnsetType:
    return UNSET if microseconds is None else rfc3339(microseconds)


def _text(text: str) -> str:
    return _encode(text).decode()


def _quoted(word: str | None) -> str:
    return "null" if word is None else f'"{word}"'
