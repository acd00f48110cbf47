"""What may be asked in the dialect: bodies and query strings as types. Null is as good as absence, as in its SDKs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from runyard.api.validation import Shape
from runyard.api.wire import Durability, JsonObject, Nodes, Uuid, Webhook, Wire

_LARGEST = 2**53 - 1
_CENTURY_SECONDS = 3_155_760_000

Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=_LARGEST)]
RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
SortOrder = Literal["asc", "desc"]
StreamMode = Literal[
    "values", "updates", "messages", "messages-tuple", "custom", "tasks", "checkpoints", "debug", "events"
]
Multitask = Literal["reject", "enqueue", "interrupt", "rollback"]


class Config(Wire, kw_only=True):
    """The configuration of a run, or of an assistant."""

    tags: list[str] | None = None
    recursion_limit: Annotated[int, Meta(ge=1, le=_LARGEST)] | None = None
    configurable: JsonObject | None = None
    metadata: JsonObject | None = None


class RunCommand(Wire, kw_only=True):
    """How to go on with a thread that was interrupted."""

    resume: Any = None
    update: Any = None
    goto: Any = None


class Checkpoint(Wire, kw_only=True):
    """A state of a thread."""

    checkpoint_id: Uuid | None = None
    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: JsonObject | None = None


class StatelessRun(Wire, kw_only=True):
    """A run on no thread."""

    assistant_id: str
    input: Any = None
    command: RunCommand | None = None
    metadata: JsonObject | None = None
    config: Config | None = None
    context: JsonObject | None = None
    webhook: Webhook | None = None
    stream_mode: StreamMode | list[StreamMode] | None = None
    stream_subgraphs: bool | None = None
    stream_resumable: bool | None = None
    on_completion: Literal["delete", "keep"] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    after_seconds: Annotated[float, Meta(ge=0, le=_CENTURY_SECONDS)] | None = None
    durability: Durability | None = None
    checkpoint_during: Annotated[bool, Meta(description="Of older clients: false is durability `exit`.")] | None = None
    interrupt_before: Nodes | None = None
    interrupt_after: Nodes | None = None
    feedback_keys: list[str] | None = None
    langsmith_tracer: JsonObject | None = None


class ThreadRun(StatelessRun, kw_only=True):
    """A run on a thread."""

    checkpoint: Checkpoint | None = None
    checkpoint_id: Uuid | None = None
    multitask_strategy: Multitask | None = None
    if_not_exists: Literal["create", "reject"] | None = None


class RunsQuery(Wire, kw_only=True):
    """Which runs of a thread to list, newest first."""

    limit: Limit = 10
    offset: Offset = 0
    status: RunStatus | None = None
    metadata: str | None = None
    select: list[str] | None = None


class CancelQuery(Wire, kw_only=True):
    """How to cancel."""

    wait: bool = False
    action: str = "interrupt"


class CancelRuns(Wire, kw_only=True):
    """Which runs to cancel."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: Uuid | None = None
    run_ids: list[Uuid] | None = None


class JoinQuery(Wire, kw_only=True):
    """What to see of a run."""

    cancel_on_disconnect: bool = False
    stream_mode: list[str] | None = None
    last_event_id: str | None = None


class Ttl(Wire, kw_only=True):
    """How long a thread is kept."""

    ttl: Annotated[float, Meta(gt=0)] | None = None
    strategy: str | None = None


class ThreadCreate(Wire, kw_only=True):
    """A thread to create."""

    thread_id: Uuid | None = None
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    ttl: Any = None
    supersteps: list[JsonObject] | None = None


class ThreadPatch(Wire, kw_only=True):
    """A change to a thread's metadata."""

    metadata: JsonObject | None = None
    ttl: Any = None


class ThreadSearch(Wire, kw_only=True):
    """Which threads to list."""

    ids: list[Uuid] | None = None
    metadata: JsonObject | None = None
    values: JsonObject | None = None
    status: ThreadStatus | None = None
    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"] | None = None
    sort_order: SortOrder | None = None
    select: list[str] | None = None
    extract: dict[str, str] | None = None


class ThreadCount(Wire, kw_only=True):
    """Which threads to count."""

    metadata: JsonObject | None = None
    values: JsonObject | None = None
    status: ThreadStatus | None = None


class Prune(Wire, kw_only=True):
    """Which threads to remove, or to cut to their newest state."""

    thread_ids: list[Uuid]
    strategy: Literal["delete", "keep_latest"] = "delete"


class HistoryRequest(Wire, kw_only=True):
    """Which states of a thread to list, newest first."""

    limit: Limit = 10
    before: Checkpoint | str | None = None
    metadata: JsonObject | None = None
    checkpoint: Checkpoint | None = None


class StateUpdate(Wire, kw_only=True):
    """A change to a thread's state, as if a node had made it."""

    values: Any = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: Uuid | None = None


class StoreSearch(Wire, kw_only=True):
    """Which items to list."""

    namespace_prefix: list[str] | None = None
    filter: JsonObject | None = None
    limit: Limit = 10
    offset: Offset = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class OkQuery(Wire, kw_only=True):
    """What to try."""

    check_db: bool = False


class MetricsQuery(Wire, kw_only=True):
    """How to tell it."""

    format: Literal["prometheus", "json"] = "prometheus"


OK_QUERY = Shape(OkQuery)
METRICS_QUERY = Shape(MetricsQuery)
