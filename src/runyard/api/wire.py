"""What may be asked: the bodies and query strings of the API as types, which both validate and document.

A field that is absent stays `UNSET`: null is a value, and only allowed where a type says so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from runyard.api.validation import Shape

Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
"""Any text form of a UUID; handlers make it canonical."""

JsonObject = dict[str, Any]

CURSOR = "^([0-9]{1,18}|-1?)$"
"""The number of an event, or the start."""
EVENT_ID = "^(snap:.*|missed:[0-9]{1,18}-[0-9]{1,18}|[0-9]{1,18}(-[0-9]{1,18})?)$"
"""The id of a frame of the streaming protocol."""

_LARGEST = 2**53 - 1
_CENTURY_SECONDS = 3_155_760_000

Limit = Annotated[int, Meta(ge=1, le=1000, description="Maximum number to return.")]
ClampedLimit = Annotated[int, Meta(ge=1, description="Maximum number to return; above 1000 it counts as 1000.")]
Offset = Annotated[int, Meta(ge=0, le=_LARGEST, description="Offset to start from.")]
ItemFields = Annotated[
    bool | Annotated[list[Annotated[str, Meta(max_length=1000)]], Meta(max_length=64)],
    Meta(description="Paths of what is embedded for searches by meaning; false for nothing."),
]
ThreadStatus = Literal["idle", "busy", "interrupted", "error"]
RunStatus = Literal["pending", "error", "success", "timeout", "interrupted"]
DeliveryStatus = Literal["pending", "delivered", "parked"]
StreamMode = Literal["values", "messages", "updates", "custom", "tasks", "checkpoints", "debug"]
Durability = Literal["sync", "async", "exit"]
Nodes = list[str] | Literal["*"]
Webhook = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=65536,
        description="An http or https URL that is told of the run's end, whichever it is.",
        extra_json_schema={"format": "uri"},
    ),
]


class Wire(msgspec.Struct):
    """A body or a query string."""


class Nothing(Wire, kw_only=True):
    """No query parameters."""


# agents


class AgentSearchRequest(Wire, kw_only=True):
    """Which agents to list."""

    name: Annotated[str, Meta(description="Part of the name, in any case.")] | UnsetType = UNSET
    metadata: Annotated[JsonObject, Meta(description="Metadata that agents contain.")] | UnsetType = UNSET
    limit: Limit = 10
    offset: Offset = 0


# messages, as in runs and threads; other keys of a message or a block are kept


class MessageBlock(Wire, kw_only=True):
    """A piece of a message's content; one of type `text` has its text under `text`."""

    type: str
    metadata: JsonObject | UnsetType = UNSET


class Message(Wire, kw_only=True):
    """A message; keys beside these are kept."""

    role: str
    content: str | list[MessageBlock]
    id: str | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET


# threads


class ThreadCheckpoint(Wire, kw_only=True):
    """An entry in a thread's history; keys beside `checkpoint_id` are allowed."""

    checkpoint_id: Uuid


class ThreadCreate(Wire, kw_only=True):
    """A thread to create."""

    thread_id: Annotated[Uuid, Meta(description="A new id where it is absent.")] | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET
    if_exists: Annotated[
        Literal["raise", "do_nothing"],
        Meta(description="`raise`: 409 where the id is taken; `do_nothing`: the thread that exists."),
    ] = "raise"


class ThreadSearchRequest(Wire, kw_only=True):
    """Which threads to list, newest first."""

    metadata: Annotated[JsonObject, Meta(description="Contained in a thread's metadata.")] | UnsetType = UNSET
    values: Annotated[JsonObject, Meta(description="Contained in a thread's values.")] | UnsetType = UNSET
    status: ThreadStatus | UnsetType = UNSET
    limit: Limit = 10
    offset: Offset = 0


class ThreadPatch(Wire, kw_only=True):
    """A change to a thread. Values or messages make a revision; metadata alone does not."""

    checkpoint: (
        Annotated[ThreadCheckpoint, Meta(description="Branch from here; the head where it is absent.")] | UnsetType
    ) = UNSET
    metadata: Annotated[JsonObject, Meta(description="Merged, key by key.")] | UnsetType = UNSET
    values: Annotated[JsonObject, Meta(description="Merged, key by key.")] | UnsetType = UNSET
    messages: Annotated[list[Message], Meta(description="Replaced by id where known, else appended.")] | UnsetType = (
        UNSET
    )


class HistoryQuery(Wire, kw_only=True):
    """Which states of a thread to list, newest first."""

    limit: Limit = 10
    before: Annotated[Uuid, Meta(description="A checkpoint id; only older ones are listed.")] | UnsetType = UNSET


# runs


class RunConfig(Wire, kw_only=True):
    """The configuration for the agent."""

    tags: list[str] | UnsetType = UNSET
    recursion_limit: (
        Annotated[int, Meta(ge=1, le=_LARGEST, description="How many steps the run may take.")] | UnsetType
    ) = UNSET
    configurable: JsonObject | UnsetType = UNSET


class RunCommand(Wire, kw_only=True):
    """How to go on with a thread that was interrupted."""

    resume: Annotated[Any, Meta(description="The answer to the open question, or question id -> answer.")] = UNSET
    update: Annotated[JsonObject, Meta(description="Changes to the state, made first.")] | UnsetType = UNSET
    goto: Annotated[str | list[Any] | JsonObject, Meta(description="A node to go to.")] | UnsetType = UNSET


class RunCreate(Wire, kw_only=True):
    """A run to create."""

    thread_id: (
        Annotated[Uuid, Meta(description="The thread to run on; without one the run is stateless.")] | UnsetType
    ) = UNSET
    agent_id: Annotated[str, Meta(description="The default agent where it is absent.")] | UnsetType = UNSET
    input: Annotated[Any, Meta(description="Any JSON value; null is one.")] = UNSET
    messages: list[Message] | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET
    config: RunConfig | UnsetType = UNSET
    command: RunCommand | UnsetType = UNSET
    checkpoint: Annotated[ThreadCheckpoint, Meta(description="Run from this state of the thread.")] | UnsetType = UNSET
    webhook: Webhook | UnsetType = UNSET
    stream_mode: (
        Annotated[
            StreamMode | list[StreamMode],
            Meta(
                description="Which events a stream shows; `values` where it is absent. `tasks`, `checkpoints` and "
                "`debug` are of graphs, and recorded only for runs that ask for them here."
            ),
        ]
        | UnsetType
    ) = UNSET
    multitask_strategy: (
        Annotated[
            Literal["reject", "enqueue", "interrupt", "rollback"],
            Meta(description="What to do when the thread is busy; `reject` (409) where it is absent."),
        ]
        | UnsetType
    ) = UNSET
    on_completion: (
        Annotated[
            Literal["delete", "keep"],
            Meta(description="What becomes of the thread: `keep`; `delete` for a stateless run."),
        ]
        | UnsetType
    ) = UNSET
    on_disconnect: (
        Annotated[
            Literal["cancel", "continue"],
            Meta(description="What becomes of a run whose creating stream or wait is dropped: `cancel`."),
        ]
        | UnsetType
    ) = UNSET
    if_not_exists: (
        Annotated[
            Literal["create", "reject"],
            Meta(description="What to do when the thread does not exist; `reject` (404) where it is absent."),
        ]
        | UnsetType
    ) = UNSET
    after_seconds: (
        Annotated[float, Meta(ge=0, le=_CENTURY_SECONDS, description="How long to wait before it is due.")] | UnsetType
    ) = UNSET
    context: Annotated[JsonObject, Meta(description="A graph's run context, as its schema has it.")] | UnsetType = UNSET
    interrupt_before: (
        Annotated[Nodes, Meta(description="Nodes of a graph before which the run stops and asks; `*` is all.")]
        | UnsetType
    ) = UNSET
    interrupt_after: (
        Annotated[Nodes, Meta(description="Nodes of a graph after which the run stops and asks; `*` is all.")]
        | UnsetType
    ) = UNSET
    durability: (
        Annotated[
            Durability,
            Meta(
                description="When a graph's checkpoints are durable: `sync`, before its next step; `async` (where it "
                "is absent), while that executes; `exit`, as the run ends."
            ),
        ]
        | UnsetType
    ) = UNSET
    stream_subgraphs: (
        Annotated[
            bool,
            Meta(description="Whether a stream shows what subgraphs and sub-agents tell; false where it is absent."),
        ]
        | UnsetType
    ) = UNSET


class RunResume(Wire, kw_only=True):
    """The answer to the open question of an interrupted thread; the run that takes it goes on where the other asked."""

    thread_id: Annotated[Uuid, Meta(description="The thread whose question is answered.")]
    input: Annotated[Any, Meta(description="The answer, or question id -> answer where several are open.")]
    agent_id: Annotated[str, Meta(description="The agent that asked, where it is named.")] | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET
    config: RunConfig | UnsetType = UNSET
    webhook: Webhook | UnsetType = UNSET
    stream_mode: StreamMode | list[StreamMode] | UnsetType = UNSET
    multitask_strategy: Literal["reject", "enqueue", "interrupt", "rollback"] | UnsetType = UNSET
    on_completion: Literal["delete", "keep"] | UnsetType = UNSET
    on_disconnect: Literal["cancel", "continue"] | UnsetType = UNSET
    context: JsonObject | UnsetType = UNSET
    interrupt_before: Nodes | UnsetType = UNSET
    interrupt_after: Nodes | UnsetType = UNSET
    durability: Durability | UnsetType = UNSET
    stream_subgraphs: bool | UnsetType = UNSET

    def creation(self) -> RunCreate:
        """The same wish in the words of creation."""
        same = {name: getattr(self, name) for name in self.__struct_fields__ if name != "input"}
        return RunCreate(**same, command=RunCommand(resume=self.input))


class RunSearchRequest(Wire, kw_only=True):
    """Which runs to list, newest first."""

    metadata: Annotated[JsonObject, Meta(description="Contained in a run's metadata.")] | UnsetType = UNSET
    status: RunStatus | UnsetType = UNSET
    thread_id: Uuid | UnsetType = UNSET
    agent_id: str | UnsetType = UNSET
    limit: Limit = 10
    offset: Offset = 0


class ThreadRunsQuery(Wire, kw_only=True):
    """Which runs of a thread to list, newest first."""

    limit: ClampedLimit = 10
    offset: Offset = 0
    status: RunStatus | UnsetType = UNSET


class CancelQuery(Wire, kw_only=True):
    """How to cancel."""

    wait: Annotated[bool, Meta(description="Answer only when the run's code has stopped.")] = False
    action: Annotated[
        Literal["interrupt", "rollback"],
        Meta(description="`interrupt` ends the run; `rollback` also undoes and deletes it."),
    ] = "interrupt"


_MODES = " *(values|messages|updates|custom|tasks|checkpoints|debug) *"


class StreamQuery(Wire, kw_only=True):
    """What a stream shows, and from where."""

    stream_mode: (
        Annotated[
            list[Annotated[str, Meta(extra_json_schema={"pattern": f"^{_MODES}(,{_MODES})*$"})]],
            Meta(
                description="values, messages, updates, custom (of graphs tasks, checkpoints, debug too): repeated, or "
                "separated by commas. Where it is absent: what the run was created with."
            ),
        ]
        | UnsetType
    ) = UNSET
    stream_subgraphs: (
        Annotated[
            bool,
            Meta(description="What subgraphs and sub-agents tell, too. Where it is absent: as the run was created."),
        ]
        | UnsetType
    ) = UNSET
    since: (
        Annotated[
            str,
            Meta(
                description="Replay events with a larger id, then go on; 0, -1 and - are the start.",
                extra_json_schema={"pattern": CURSOR},
            ),
        ]
        | UnsetType
    ) = UNSET


# webhooks


class WebhookSearchRequest(Wire, kw_only=True):
    """Which webhook deliveries to list, newest first."""

    status: DeliveryStatus | UnsetType = UNSET
    run_id: Uuid | UnsetType = UNSET
    limit: Limit = 10
    offset: Offset = 0


# store

Label = Annotated[str, Meta(extra_json_schema={"minLength": 1})]
Ttl = Annotated[float, Meta(gt=0, le=_CENTURY_SECONDS, description="Minutes until the item expires.")]


class StorePutRequest(Wire, kw_only=True):
    """An item to store or replace."""

    namespace: list[Label]
    key: str
    value: JsonObject
    ttl: Ttl | UnsetType = UNSET
    index: ItemFields | UnsetType = UNSET


class StoreDeleteRequest(Wire, kw_only=True):
    """An item to delete."""

    key: str
    namespace: list[Label] | UnsetType = UNSET


class ItemQuery(Wire, kw_only=True):
    """An item to get."""

    key: str
    namespace: list[Label] | UnsetType = UNSET


class StoreSearchRequest(Wire, kw_only=True):
    """Which items to list, updated last first; with a query, the nearest to what that means."""

    namespace_prefix: list[Label] | None = None
    filter: (
        Annotated[JsonObject, Meta(description="Field -> value, or operator ($eq $ne $gt $gte $lt $lte) -> value.")]
        | None
    ) = None
    limit: Limit = 10
    offset: Offset = 0
    query: (
        Annotated[str, Meta(description="What is searched for by its meaning: the nearest come first.")] | UnsetType
    ) = UNSET


class StoreListNamespacesRequest(Wire, kw_only=True):
    """Which namespaces to list; `*` stands for any one label."""

    prefix: list[Label] = []
    suffix: list[Label] = []
    max_depth: Annotated[int, Meta(ge=1, le=_LARGEST)] | UnsetType = UNSET
    limit: Limit = 100
    offset: Offset = 0


# What only the LangGraph face has, and what says the same here.

_LANGGRAPH_RUN = {
    "assistant_id": "agent_id",
    "kwargs": "",
    "checkpoint_id": "checkpoint",
    "checkpoint_during": "",
    "feedback_keys": "",
    "langsmith_tracer": "",
    "stream_resumable": "",
}
_LANGGRAPH_SEARCH = {"extract": "", "ids": "", "select": "", "sort_by": "", "sort_order": ""}

NOTHING = Shape(Nothing)
AGENT_SEARCH = Shape(AgentSearchRequest, {"graph_id": "name", **_LANGGRAPH_SEARCH})
THREAD_CREATE = Shape(ThreadCreate, {"graph_id": "", "supersteps": "", "ttl": ""})
THREAD_SEARCH = Shape(ThreadSearchRequest, _LANGGRAPH_SEARCH)
THREAD_PATCH = Shape(ThreadPatch, {"as_node": "", "checkpoint_id": "checkpoint", "ttl": ""})
HISTORY_QUERY = Shape(HistoryQuery)
RUN_CREATE = Shape(RunCreate, _LANGGRAPH_RUN)
RUN_RESUME = Shape(RunResume, _LANGGRAPH_RUN)
RUN_SEARCH = Shape(RunSearchRequest, {"assistant_id": "agent_id", **_LANGGRAPH_SEARCH})
THREAD_RUNS_QUERY = Shape(ThreadRunsQuery, {"select": ""})
CANCEL_QUERY = Shape(CancelQuery)
STREAM_QUERY = Shape(StreamQuery, {"cancel_on_disconnect": ""})
WEBHOOK_SEARCH = Shape(WebhookSearchRequest)
STORE_PUT = Shape(StorePutRequest)
STORE_DELETE = Shape(StoreDeleteRequest)
ITEM_QUERY = Shape(ItemQuery, {"refresh_ttl": ""})
STORE_SEARCH = Shape(StoreSearchRequest, {"refresh_ttl": ""})
STORE_NAMESPACES = Shape(StoreListNamespacesRequest)
