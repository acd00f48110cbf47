"""Runs: wishes to invoke an agent. Their data, their life, and the pure rules about both.

pending --claim--> running --ok--> success
   |                  |--agent raised / limit--> error
   |                  |--wall clock--> timeout
   |                  |--human interrupt--> interrupted
   |--cancel--> interrupted (or deleted, by rollback) <--cancel--|
                   running --worker lost, drain, retry--> pending
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runyard.crons import Firing

Status = Literal["pending", "running", "success", "error", "timeout", "interrupted"]
"""The status of a run inside the engine; `wire_status` gives the Agent Protocol's."""

Outcome = Literal["completed", "asked", "cancelled", "rolled_back", "failed", "timed_out", "lost", "abandoned"]
"""What happened, in one word; status, thread status and lifecycle events are derived from it."""

Strategy = Literal["reject", "enqueue", "interrupt", "rollback"]
StreamMode = Literal["values", "updates", "messages", "custom", "tasks", "checkpoints", "debug"]
Durability = Literal["sync", "async", "exit"]
CancelAction = Literal["interrupt", "rollback"]

_STATUS_OF: dict[Outcome, Status] = {
    "completed": "success",
    "asked": "interrupted",
    "cancelled": "interrupted",
    "rolled_back": "interrupted",
    "abandoned": "interrupted",
    "failed": "error",
    "lost": "error",
    "timed_out": "timeout",
}

_EVENT_OF: dict[Outcome, Literal["completed", "failed", "interrupted"]] = {
    "completed": "completed",
    "asked": "interrupted",
    "cancelled": "interrupted",
    "rolled_back": "interrupted",
    "abandoned": "interrupted",
    "failed": "failed",
    "lost": "failed",
    "timed_out": "failed",
}


def status_of(outcome: Outcome) -> Status:
    """The status of a run that ended so."""
    return _STATUS_OF[outcome]


def lifecycle_of(outcome: Outcome) -> Literal["completed", "failed", "interrupted"]:
    """The terminal lifecycle event of a run that ended so."""
    return _EVENT_OF[outcome]


def wire_status(status: Status) -> str:
    """The status on the wire: the Agent Protocol has no `running`."""
    return "pending" if status == "running" else status


def statuses_on_wire(status: str) -> tuple[Status, ...]:
    """The statuses that a client means by a status of the wire: the inverse of `wire_status`."""
    return ("pending", "running") if status == "pending" else (status,)  # pyright: ignore[reportReturnType]


class Failure(msgspec.Struct, frozen=True):
    """Why a run ended in error: a stable code and a message that holds the exception's class and text."""

    code: str
    message: str


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to go on with a thread: answers to its open questions, changes to its state, a node to go to."""

    resume: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    update: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    goto: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `config` of a request."""

    tags: list[str] | msgspec.UnsetType = msgspec.UNSET
    recursion_limit: int | msgspec.UnsetType = msgspec.UNSET
    configurable: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Dialect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the LangGraph face keeps of a request: words of its own, which nothing in the engine obeys."""

    assistant_id: str
    stream_mode: list[str] = []
    """As it was asked for, where it was: what is recorded stands in the request itself."""
    resumable: bool | None = None
    """`stream_resumable`, to be echoed: every stream can be resumed."""
    cron_id: str | None = None
    """The cron that the run is a firing of."""


class Acting(msgspec.Struct, frozen=True):
    """A user on whose behalf a run executes: what the deployment's own code said of them, as plain data."""

    identity: str
    permissions: list[str]
    user: dict[str, Any]
    """All that is known of them: `identity`, `permissions`, `is_authenticated`, `display_name`, and what else the
    deployment knows."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the client asked for, as kept and echoed: only fields that were sent are set (metadata stands on the run).

    `messages` have ids by now. `webhook` comes first: see `Run.has_webhook`.
    """

    webhook: str | msgspec.UnsetType = msgspec.UNSET
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    config: Config | msgspec.UnsetType = msgspec.UNSET
    command: Command | msgspec.UnsetType = msgspec.UNSET
    checkpoint: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    stream_mode: StreamMode | list[StreamMode] | msgspec.UnsetType = msgspec.UNSET
    multitask_strategy: Strategy | msgspec.UnsetType = msgspec.UNSET
    on_completion: Literal["delete", "keep"] | msgspec.UnsetType = msgspec.UNSET
    on_disconnect: Literal["cancel", "continue"] | msgspec.UnsetType = msgspec.UNSET
    if_not_exists: Literal["create", "reject"] | msgspec.UnsetType = msgspec.UNSET
    after_seconds: float | msgspec.UnsetType = msgspec.UNSET
    context: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    interrupt_before: list[str] | Literal["*"] | msgspec.UnsetType = msgspec.UNSET
    interrupt_after: list[str] | Literal["*"] | msgspec.UnsetType = msgspec.UNSET
    durability: Durability | msgspec.UnsetType = msgspec.UNSET
    stream_subgraphs: bool | msgspec.UnsetType = msgspec.UNSET
    langgraph: Dialect | msgspec.UnsetType = msgspec.UNSET
    acting: Acting | msgspec.UnsetType = msgspec.UNSET
    """For whom it was made, where the deployment says who may do what: for the agent's code, shown to nobody."""
    cancel_reason: str | msgspec.UnsetType = msgspec.UNSET
    """Why it was cancelled, where whoever did has said so."""

    @property
    def resumes(self) -> bool:
        """Whether this request answers a thread's open questions."""
        return self.command is not msgspec.UNSET and self.command.resume is not msgspec.UNSET


_REQUEST = msgspec.json.Decoder(Request)
_WEBHOOK_FIRST = b'{"webhook":'


class Run(msgspec.Struct, frozen=True):
    """A run as stored. Times are microseconds since the epoch.

    `request` is the JSON text of a `Request`; `metadata` that of an object.
    """

    run_id: str
    thread_id: str
    owner: str
    agent_id: str
    status: Status
    created_at: int
    updated_at: int
    metadata: bytes
    request: bytes
    attempt: int = 0
    max_attempts: int = 3
    outcome: Outcome | None = None
    failure: Failure | None = None
    cancel: CancelAction | None = None
    """The durable request to cancel; set while (or before) the code stops."""
    invocation: str = ""
    """The first run of the chain that asks and resumes; its own id for a plain run."""
    base: str | None = None
    """The checkpoint that the run builds on."""
    prior_head: str | None = None
    """The thread's head before the run: where a rollback goes."""
    last_checkpoint: str | None = None
    """The checkpoint that the run wrote last; None until it wrote one."""
    first_seq: int = 0
    """The thread's last_seq when the run was created: its events have larger numbers."""
    last_seq: int = 0
    """The number of its terminal event, 0 until then."""
    stateless: bool = False
    line: int = 0
    due_at: int | None = None
    """When a delayed run joins the line; None once it has."""
    started_at: int | None = None
    ended_at: int | None = None

    @property
    def finished(self) -> bool:
        return self.status not in ("pending", "running")

    @property
    def has_webhook(self) -> bool:
        """Whether its end is told to a webhook. Seen from the first bytes of the request: every run that ends is asked,
        and most have none."""
        return self.request.startswith(_WEBHOOK_FIRST)

    @property
    def values_at(self) -> str | None:
        """The checkpoint that holds the run's values: its last, else the one that it builds on."""
        return self.last_checkpoint or self.base

    def asked_for(self) -> Request:
        """The request, decoded."""
        return _REQUEST.decode(self.request)


class NewRun(msgspec.Struct, frozen=True):
    """A run to be created. `base` is the checkpoint to build on where the client named one."""

    run_id: str
    owner: str
    agent_id: str
    request: bytes
    metadata: bytes
    created_at: int
    thread_id: str
    stateless: bool
    create_thread: bool
    strategy: Strategy
    max_attempts: int
    resumes: bool
    base: str | None = None
    due_at: int | None = None
    idempotency: tuple[str, str, str] | None = None
    """(route, key, hash of the parsed body)."""
    firing: Firing | None = None
    """The firing of a cron that makes it: nothing is created where that is somebody else's."""
    thread_metadata: bytes = b"{}"
    """Of the thread that is created with it (a JSON object)."""
    within: dict[str, Any] | None = None
    """What the metadata of a thread that is there have to contain: else it is not found."""
    claim: bool = False
    """Whether a local slot is free, so that the run may be claimed in the transaction that creates it."""
    concurrency: int | None = None
    input_event: bytes = b"{}"
    trace: str | None = None
    """Where the spans of its attempts belong, as text; None where it is not traced."""


class RunFilter(msgspec.Struct, frozen=True):
    """What a search for runs asks for. `metadata` is contained recursively; `within` is in the metadata of their
    threads."""

    thread_id: str | None = None
    agent_id: str | None = None
    statuses: tuple[Status, ...] | None = None
    outcomes: tuple[Outcome, ...] | None = None
    metadata: dict[str, Any] | None = None
    within: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0


class Attempt(msgspec.Struct, frozen=True):
    """The right to execute one try of a run: its fencing token goes into every write."""

    run_id: str
    owner: str
    thread_id: str
    lease: int
    number: int
