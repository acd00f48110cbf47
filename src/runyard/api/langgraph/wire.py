"""What may be asked in the dialect: bodies and query strings as types. Null is as good as absence, as in its SDKs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from runyard.api.validation import Shape
from runyard.api.wire import Durability, ItemFields, JsonObject, Nodes, Uuid, Webhook, Wire

_LARGEST = 2**53 - 1
_CENTURY_SECONDS = 3_155_760_000

Limit = Annotated[int, Meta(ge=1, le=1000)]
Offset = Annotated[int, Meta(ge=0, le=_LARGEST)]
RunStatus = Literal["pending", "running", "error", "success", "timeout", "interrupted"]
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
Action = Literal["interrupt", "rollback"]
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

    resume: Annotated[Any, Meta(description="The answer to the open question, or question id -> answer.")] = UNSET
    update: Annotated[JsonObject | list[list[Any]] | None, Meta(description="Changes to the state.")] = None
    goto: Annotated[str | JsonObject | list[str | JsonObject] | None, Meta(description="Nodes to go to.")] = None


class Checkpoint(Wire, kw_only=True):
    """A state of a thread."""

    checkpoint_id: Uuid | None = None
    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_map: JsonObject | None = None


class LangSmithTracer(Wire, kw_only=True):
    """How the run's trace is to be known, where runs are traced by LangSmith."""

    project_name: str | None = None
    example_id: Uuid | None = None


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
    langsmith_tracer: LangSmithTracer | None = None
    strict_resume: bool | None = None


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
    status: RunStatus | UnsetType = UNSET
    metadata: Annotated[str, Meta(description="A JSON object: contained in a run's metadata.")] | UnsetType = UNSET
    select: list[str] | UnsetType = UNSET


class CancelQuery(Wire, kw_only=True):
    """How to cancel."""

    wait: Annotated[bool, Meta(description="Answer only when the run's code has stopped.")] = False
    action: Action = "interrupt"
    reason: (
        Annotated[
            Literal["taken"],
            Meta(description="Its input was taken by another run; kept as `cancel_reason`. Only with `interrupt`."),
        ]
        | UnsetType
    ) = UNSET


class CancelManyQuery(Wire, kw_only=True):
    """How to cancel."""

    action: Action = "interrupt"


class CancelRuns(Wire, kw_only=True):
    """Which runs to cancel."""

    status: Literal["pending", "running", "all"] | None = None
    thread_id: Uuid | None = None
    run_ids: list[Uuid] | None = None


class JoinQuery(Wire, kw_only=True):
    """Whether the run depends on who waits."""

    cancel_on_disconnect: bool = False


class JoinStreamQuery(Wire, kw_only=True):
    """What to see of a run."""

    cancel_on_disconnect: bool = False
    stream_mode: Annotated[list[str], Meta(description="Repeated, or separated by commas.")] | UnsetType = UNSET
    namespace: (
        Annotated[list[str], Meta(description="Only what these namespaces tell; the graph's own is empty.")] | UnsetType
    ) = UNSET
    checkpoint_id: str | UnsetType = UNSET


class CreateStreamQuery(Wire, kw_only=True):
    """What to see of the run."""

    namespace: (
        Annotated[list[str], Meta(description="Only what these namespaces tell; the graph's own is empty.")] | UnsetType
    ) = UNSET


class ThreadStreamQuery(Wire, kw_only=True):
    """What to see of a thread's runs: `run_modes`, `lifecycle`, `state_update`, repeated or separated by commas."""

    stream_mode: list[str] | UnsetType = UNSET
    stream_modes: list[str] | UnsetType = UNSET


ThreadMinutes = Annotated[float, Meta(gt=0, le=_CENTURY_SECONDS / 60, description="Minutes without any change.")]


class Ttl(Wire, kw_only=True):
    """How long a thread is kept without any change, and what becomes of it then; null: it has no time of its own."""

    ttl: ThreadMinutes | None
    strategy: Literal["delete", "keep_latest"] | None = None


class SuperstepUpdate(Wire, kw_only=True):
    """What a node would have given."""

    values: Any = None
    command: RunCommand | None = None
    as_node: str | None = None


class Superstep(Wire, kw_only=True):
    """Changes to a state that are made in one step."""

    updates: list[SuperstepUpdate]


class ThreadCreate(Wire, kw_only=True):
    """A thread to create."""

    thread_id: Uuid | None = None
    metadata: JsonObject | None = None
    if_exists: Literal["raise", "do_nothing"] | None = None
    ttl: ThreadMinutes | Ttl | None = None
    supersteps: list[Superstep] | None = None


class ThreadPatch(Wire, kw_only=True):
    """A change to a thread's metadata, or to how long it is kept: `ttl` null takes its own time away."""

    metadata: JsonObject | None = None
    ttl: ThreadMinutes | Ttl | UnsetType | None = UNSET


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
    extract: Annotated[dict[str, str], Meta(max_length=10)] | None = None


class ThreadCount(Wire, kw_only=True):
    """Which threads to count."""

    metadata: JsonObject | None = None
    values: JsonObject | None = None
    status: ThreadStatus | None = None


class Prune(Wire, kw_only=True):
    """Which threads to remove, or to cut to their newest state."""

    thread_ids: list[Uuid]
    strategy: Literal["delete", "keep_latest"] = "delete"


class ThreadQuery(Wire, kw_only=True):
    """What to tell of a thread beside itself."""

    include: Annotated[list[str], Meta(description="`ttl`.")] | UnsetType = UNSET


class StateQuery(Wire, kw_only=True):
    """What to tell of a state."""

    subgraphs: bool = False
    select: list[str] | UnsetType = UNSET


class StateAt(Wire, kw_only=True):
    """Which state to get."""

    checkpoint: Checkpoint
    subgraphs: bool | None = None
    select: list[str] | None = None


class HistoryQuery(Wire, kw_only=True):
    """Which states of a thread to list, newest first."""

    limit: Limit = 10
    before: str | UnsetType = UNSET
    select: list[str] | UnsetType = UNSET


class HistoryRequest(Wire, kw_only=True):
    """Which states of a thread to list, newest first."""

    limit: Limit = 10
    before: Annotated[str | JsonObject, Meta(description="A checkpoint, or its id.")] | None = None
    metadata: JsonObject | None = None
    checkpoint: Checkpoint | None = None
    select: list[str] | None = None


class StateUpdate(Wire, kw_only=True):
    """A change to a thread's state, as if a node had made it."""

    values: Any = None
    as_node: str | None = None
    checkpoint: Checkpoint | None = None
    checkpoint_id: Uuid | None = None


# store


class ItemPut(Wire, kw_only=True):
    """An item to store or replace."""

    namespace: list[str]
    key: str
    value: JsonObject
    index: ItemFields | None = None
    ttl: Annotated[float, Meta(gt=0, le=_CENTURY_SECONDS / 60, description="Minutes until it expires.")] | None = None


class ItemDelete(Wire, kw_only=True):
    """An item to delete."""

    key: str
    namespace: list[str] | None = None


class ItemQuery(Wire, kw_only=True):
    """An item to get."""

    key: str
    namespace: Annotated[list[str], Meta(description="Labels joined by `.`, or repeated.")] | UnsetType = UNSET
    refresh_ttl: bool | UnsetType = UNSET


class StoreSearch(Wire, kw_only=True):
    """Which items to list, updated last first; with a query, the nearest to what that means."""

    namespace_prefix: list[str] | None = None
    filter: JsonObject | None = None
    limit: Limit = 10
    offset: Offset = 0
    query: str | None = None
    refresh_ttl: bool | None = None


class NamespacesRequest(Wire, kw_only=True):
    """Which namespaces to list; `*` stands for any one label."""

    prefix: list[str] | None = None
    suffix: list[str] | None = None
    max_depth: Annotated[int, Meta(ge=1, le=_LARGEST)] | None = None
    limit: Limit = 100
    offset: Offset = 0


class OkQuery(Wire, kw_only=True):
    """What to try."""

    check_db: bool = False


class MetricsQuery(Wire, kw_only=True):
    """How to tell it."""

    format: Literal["prometheus", "json"] = "prometheus"


OK_QUERY = Shape(OkQuery)
METRICS_QUERY = Shape(MetricsQuery)
STATELESS_RUN = Shape(StatelessRun)
THREAD_RUN = Shape(ThreadRun)
RUNS_QUERY = Shape(RunsQuery)
CANCEL_QUERY = Shape(CancelQuery)
CANCEL_MANY_QUERY = Shape(CancelManyQuery)
CANCEL_RUNS = Shape(CancelRuns)
JOIN_QUERY = Shape(JoinQuery)
JOIN_STREAM_QUERY = Shape(JoinStreamQuery)
CREATE_STREAM_QUERY = Shape(CreateStreamQuery)
THREAD_STREAM_QUERY = Shape(ThreadStreamQuery)
THREAD_CREATE = Shape(ThreadCreate)
THREAD_PATCH = Shape(ThreadPatch)
THREAD_SEARCH = Shape(ThreadSearch)
THREAD_COUNT = Shape(ThreadCount)
THREAD_QUERY = Shape(ThreadQuery)
PRUNE = Shape(Prune)
STATE_QUERY = Shape(StateQuery)
STATE_AT = Shape(StateAt)
STATE_UPDATE = Shape(StateUpdate)
HISTORY_QUERY = Shape(HistoryQuery)
HISTORY = Shape(HistoryRequest)
ITEM_PUT = Shape(ItemPut)
ITEM_DELETE = Shape(ItemDelete)
ITEM_QUERY = Shape(ItemQuery)
STORE_SEARCH = Shape(StoreSearch)
NAMESPACES = Shape(NamespacesRequest)
