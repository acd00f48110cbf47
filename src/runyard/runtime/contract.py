"""What the engine asks of a runtime, and the plain-data messages between the two.

The engine's side decides and stores; the agent's side runs user code. They share nothing but these messages:

    engine                                agent side
      | -- Start ------------------------> |   once
      | -- Injected ---------------------> |   a message for code that takes them while it executes
      | <------------ Write --------------- |   events, checkpoints and records, in order
      | -- Stored (count) ---------------> |   so many writes are durable: gives credit, ends `await ctx.step`
      | <------------ StoreCall, StateCall - |
      | -- StoreReply, StateReply -------> |
      | -- Stop (reason) ----------------> |   cancel, timeout, drain: cooperative code ends soon
      | <------------ Ended --------------- |   once, always the last

A chore (see `chores`) is a run's code asked something without a run: it goes the same way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from runyard.agents import Agent
from runyard.checkpoints import Changes, PendingWrite, Question, Snapshot, Source, State
from runyard.events import Entry, ExtraMode
from runyard.items import Item, ItemSearch, Lasting, NamespaceQuery
from runyard.runtime.chores import Chore
from runyard.runtime.index import Index
from runyard.vectors import Vector

Durability = Literal["sync", "async", "exit"]
"""When a graph's checkpoint is durable: before its next step, while that executes, or only as the run ends."""
LANE_LOST = "lane_lost"
"""The code of an attempt whose event loop came to an end under it."""
PROCESS_LOST = "process_lost"
"""The code of an attempt whose process came to an end under it."""
LOST = (LANE_LOST, PROCESS_LOST)
"""Codes of attempts that ended by what another's code may have done."""
RecordKind = Literal["step", "update", "yield", "emit", "message", "interrupt", "agent", "take", "look", "injected"]
"""take: messages that the code took from its inbox; look: it found none there (like `emit`, these only count).
injected: not a call of the code, but a message that was accepted for it."""


class Record(msgspec.Struct, frozen=True):
    """What a call of the agent's code did, so that a later attempt or a resume need not do it again.

    The key is (invocation, kind, name, nth): `nth` counts the uses of `name` from 1. `body` is the kind's own JSON text
    (a step's result, an update's changes, an answer). A repeated `emit` only counts: the record with the largest
    `nth` of its name stands for all before it.
    """

    kind: RecordKind
    name: str
    nth: int
    body: bytes
    order: int = 0
    """The place among the invocation's records, from 1: replay can tell what came before what."""


class Injected(msgspec.Struct, frozen=True):
    """A message that was put into the run while it executed: `body` is its JSON text, with an id. `number` is its place
    among those of the invocation, from 1."""

    number: int
    body: bytes


class RunInfo(msgspec.Struct, frozen=True):
    """What an agent may know about its run. `metadata` and `config` (the request's, whole) are plain data."""

    run_id: str
    thread_id: str
    agent_id: str
    owner: str
    attempt: int
    metadata: dict[str, Any]
    config: dict[str, Any]
    invocation: str = ""
    """Spans all attempts of the run, and of the runs that answer its questions."""
    assistant_id: str = ""
    """The assistant that was asked for the run, where it was one of LangGraph's API."""


class Start(msgspec.Struct, frozen=True):
    """Everything an attempt begins with.

    `base` is the state from which the invocation started, `head` the state now; they differ only where there are
    `records` to replay (or the thread was patched while a question was open). `answers` maps the ids of open
    questions to JSON text.
    """

    run: RunInfo
    input: bytes | None
    base: State
    head: State
    records: Sequence[Record] = ()
    questions: Sequence[Question] = ()
    answers: dict[str, bytes] = {}
    command_update: bytes | None = None
    """`command.update` of the request (a JSON object), not yet applied; None when absent or applied by an attempt."""
    messages: bytes | None = None
    """The request's messages (a JSON array), not yet upserted; None when absent or upserted by an attempt."""
    goto: bytes | None = None
    steps_left: int | None = None
    """How many more steps `config.recursion_limit` allows; None without a limit."""
    trace: str | None = None
    """The context of the attempt's span, as text: spans of the code belong below it. None where traces are off."""
    durability: Durability = "async"
    context: bytes | None = None
    """The request's `context` (a JSON object) for the code; None when absent."""
    interrupt_before: Sequence[str] | Literal["*"] = ()
    """Nodes before which the run is to ask, `*` for all."""
    interrupt_after: Sequence[str] | Literal["*"] = ()
    modes: Sequence[ExtraMode] = ()
    """Events that are recorded because the request asked for them; all others are always."""
    addressed: bool = False
    """Whether the client named the state that the run builds on, and no attempt has gone beyond it."""
    begun: bool = False
    """Whether an attempt of this run has put a checkpoint: `head` is the run's own then."""
    writes: Sequence[PendingWrite] = ()
    """What tasks gave on top of `head`, when a graph did not come to its next checkpoint."""
    inner: bool = False
    """Whether the thread has checkpoints of subgraphs, or writes on them: where it has none, nothing need be read."""
    apart: bool = False
    """Whether the code is suspected of ending the process in which it executes, and is to have one to itself."""
    max_value_bytes: int = 16_000_000
    """The most that one value of the code, and the state as a whole, may take as JSON text."""
    lasting: Lasting = Lasting()
    """How long items are kept that the code puts into the store without saying so."""
    injected: Sequence[Injected] = ()
    """The messages that were put into the invocation until now, taken or not."""
    chore: Chore | None = None
    """What the code is asked to do instead of a run; only graphs are. `run` says on what thread, `head` nothing."""


class CheckpointWrite(msgspec.Struct, frozen=True):
    """One step's change of state. It makes a checkpoint, and a `values` event right behind it where it `shows`.

    `changes` are against the state of `namespace` that the engine has: the attempt's last checkpoint there, the last
    one that a `StateCall` has read there, for the thread's own states what the attempt began with; or, where `fresh`,
    against nothing.
    """

    changes: Changes
    source: Source = "step"
    checkpoint_id: str | None = None
    """Its id, where the runtime gives one; no other checkpoint may have it."""
    namespace: str = ""
    fresh: bool = False
    shows: bool = True


class Write(msgspec.Struct, frozen=True):
    """What the agent's code did, to be stored in one piece: all of it or none.

    The order on the thread's log: `entries`, then the checkpoint's `values` event.
    """

    entries: Sequence[Entry] = ()
    checkpoint: CheckpointWrite | None = None
    records: Sequence[Record] = ()
    pending: Sequence[PendingWrite] = ()
    """A task's writes; they replace what is kept under their keys."""
    settled: Sequence[PendingWrite] = ()
    """Writes (only their keys count) that need not be kept any more: the checkpoint holds what they gave."""


class StoreCall(msgspec.Struct, frozen=True):
    """A call of `ctx.store`. Writes are fenced like every write of the attempt."""

    call: int
    method: Literal["get", "put", "delete", "search", "namespaces"]
    namespace: tuple[str, ...] = ()
    key: str = ""
    value: bytes = b""
    ttl: float | None = None
    """Minutes until a put item expires."""
    vectors: tuple[Vector, ...] = ()
    """What a put item means."""
    search: ItemSearch | None = None
    query: NamespaceQuery = NamespaceQuery()
    refresh: bool = False
    """Whether items that are found, and are kept for a time, are kept for that time from now."""


class StoreReply(msgspec.Struct, frozen=True):
    """The answer to a `StoreCall`; `error` is (code, message) when it failed."""

    call: int
    items: Sequence[Item] = ()
    namespaces: Sequence[tuple[str, ...]] = ()
    error: tuple[str, str] | None = None


class StateCall(msgspec.Struct, frozen=True):
    """A question about the thread's checkpoints, for a graph that looks at more than what its attempt began with."""

    call: int
    method: Literal["get", "history"]
    namespace: str = ""
    checkpoint_id: str | None = None
    """get: which one; None for the newest of the namespace (for the thread's own states, its head or what the attempt
    has put). history: only older ones."""
    limit: int = 10


class StateReply(msgspec.Struct, frozen=True):
    """The answer to a `StateCall`: what was found, newest first, with the pending writes of each."""

    call: int
    snapshots: Sequence[Snapshot] = ()
    writes: Sequence[Sequence[PendingWrite]] = ()
    error: tuple[str, str] | None = None


StopReason = Literal["cancel", "timeout", "drain", "lost"]


class Stop(msgspec.Struct, frozen=True):
    """The wish that the code stops: async code sees `CancelledError`, sync code at its next `ctx` call."""

    reason: StopReason


class Stored(msgspec.Struct, frozen=True):
    """So many more of the attempt's writes are durable, oldest first."""

    count: int


class Ended(msgspec.Struct, frozen=True):
    """The last message of an attempt: how the code ended. `last` is a final write, stored with the outcome.

    asked: `questions` are open. failed: `code` and `message`; `exceptions` are the class names of the error and its
    bases (with and without module), for the agent's retry policy. stopped: it obeyed a `Stop`.
    """

    how: Literal["completed", "asked", "failed", "stopped"]
    last: Write | None = None
    questions: Sequence[Question] = ()
    code: str = ""
    message: str = ""
    exceptions: Sequence[str] = ()
    stacktrace: str = ""
    """Of a failure, where the attempt is traced."""
    result: bytes | None = None
    """The answer to a chore that has completed, as JSON text."""


StoreAnswer = Callable[[str, StoreCall], Awaitable[StoreReply]]
"""Answers a call of a store that belongs to no attempt, for an owner. Fails only by the reply's `error`."""

FromAgent = Write | StoreCall | StateCall | Ended
ToAgent = Stored | StoreReply | StateReply | Stop | Injected


class Invocation(Protocol):
    """The engine's end of one executing attempt."""

    async def receive(self) -> list[FromAgent]:
        """All messages that wait, in order; waits for the first. `Ended` is the last one ever."""
        ...

    def send(self, message: ToAgent) -> None:
        """Never blocks; a message to code that has ended is dropped."""
        ...

    async def placed(self) -> None:
        """Returns when the attempt has where to execute: the time before is not its code's."""
        ...


class LoadedAgent(Protocol):
    """An agent with its code."""

    @property
    def agent(self) -> Agent:
        """What is published of it."""
        ...

    def check_input(self, input: bytes | None) -> None:
        """Validates a request's input (JSON text; None when absent) against the agent's types.

        Raises:
            InvalidInput: naming the field below `input`.
        """
        ...

    def check_config(self, configurable: dict[str, Any]) -> None:
        """Validates `config.configurable`.

        Raises:
            InvalidInput: naming the field below `config.configurable`.
        """
        ...

    def check_context(self, context: dict[str, Any]) -> None:
        """Validates a request's `context`; only graphs are asked.

        Raises:
            InvalidInput: naming the field below `context`.
        """
        ...


@runtime_checkable
class UsesStore(Protocol):
    """An agent whose code reads and writes the store when none of its runs executes, too; or a host of agents."""

    def attach(self, answer: StoreAnswer, index: Index | None) -> None:
        """Gives it what answers its calls, and what makes vectors for them where there is an index of meanings; called
        in the loop in which `answer` is."""
        ...


class Host(Protocol):
    """Where agents run: threads with event loops of their own (embedded), or child processes."""

    def start(self) -> None:
        """Begins to prepare for attempts, in the engine's loop. They may be run before that is done, and without it."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why no attempt can begin now, for people; None where one can."""
        ...

    def run(self, agent: LoadedAgent, start: Start) -> Invocation:
        """Begins an attempt. Never raises for what the agent's code does: that arrives as `Ended`."""
        ...

    async def close(self, grace: float) -> bool:
        """Stops all threads or processes; whether all code had ended within `grace` seconds."""
        ...
