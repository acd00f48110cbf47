"""What the engine asks of a database. Every adapter passes `tests/contract/test_storage.py`.

Each verb is one transaction. A verb that changes a row does so under a guard, and its caller learns whether it won.
Everything is told per `owner`: a foreign id and an absent id give the same error. Times are microseconds since the
epoch and come from the caller. Events that a verb appends are told to `on_commit` after the commit, in the order of
their numbers, and before the verb's caller goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from runyard.agents import Agent
from runyard.assistants import Assistant, AssistantFilter, AssistantPatch, IfExists, VersionFilter
from runyard.checkpoints import Checkpoint, PendingWrite, Snapshot, State
from runyard.crons import Cron, CronFilter, CronPatch, Firing
from runyard.deliveries import Delivery, DeliveryFilter, Notice, Try
from runyard.events import Chunk, Entry, Event
from runyard.items import Item, ItemSearch, Namespace, NamespaceQuery
from runyard.runs import Attempt, CancelAction, Failure, NewRun, Outcome, Run, RunFilter
from runyard.runtime.contract import Injected, Record
from runyard.threads import Expiry, Thread, ThreadFilter, Ttl
from runyard.vectors import Vector

STORAGE_PATIENCE = 0.5
"""Seconds between tries of those who do not give up while the database fails (a full disk)."""


class Claim(msgspec.Struct, frozen=True):
    """A run that now executes, with the attempt that may write for it. `apart`: the server died in its last attempts;
    until it is acquitted or over, no other such run executes."""

    run: Run
    attempt: Attempt
    waited: int | None = None
    """Microseconds from when the run could be claimed to its first claim; None for later attempts."""
    apart: bool = False


class Created(msgspec.Struct, frozen=True):
    """What creating a run did. `repeated`: the idempotency key was known, and nothing was created. `ended`: queued
    runs that the strategy ended. `stopping`: the executing run that was asked to stop."""

    run: Run
    claim: Claim | None = None
    repeated: bool = False
    ended: tuple[str, ...] = ()
    stopping: str | None = None


class Cancelled(msgspec.Struct, frozen=True):
    """What a cancel request did.

    ended: it was pending and is over. stopping: it executes and was asked to stop. finished: it was over before and
    stays so (a rollback of the latest run has undone it).
    """

    how: Literal["ended", "stopping", "finished"]
    run: Run


class Batch(msgspec.Struct, frozen=True):
    """Writes of an attempt that commit together. `states[i]` is the whole state of the `values` entry `i`."""

    entries: Sequence[Entry] = ()
    states: dict[int, State] = {}
    checkpoints: Sequence[Checkpoint] = ()
    records: Sequence[Record] = ()
    pending: Sequence[PendingWrite] = ()
    settled: Sequence[PendingWrite] = ()
    """Pending writes that count no more; only their keys count. Those of other runs come back when the run is rolled
    back. They are settled before `pending` is stored."""

    @property
    def last_checkpoint(self) -> Checkpoint | None:
        """The last one of the thread's own states: those of subgraphs are no heads."""
        return next((checkpoint for checkpoint in reversed(self.checkpoints) if not checkpoint.namespace), None)


class Ending(msgspec.Struct, frozen=True):
    """How an attempt ends its run. `entries` of the batch end with the terminal lifecycle event."""

    outcome: Outcome
    cancel: CancelAction | None = None
    """The request to cancel that the outcome takes into account."""
    failure: Failure | None = None
    final: State | None = None
    """The run's last state, for those who wait."""
    expires_at: int | None = None
    """When a stateless run's record may go."""
    delete_thread: bool = False
    injects: bool = False
    """Whether the agent takes messages while it executes, and so may have left some (see `inject`). `final` is then
    needed where the last batch has checkpoints."""


class Requeue(msgspec.Struct, frozen=True):
    """How an attempt goes back to pending without ending its run: `due_at` delays a retry; a drain gives the attempt
    back (`refund`); one that has `lost` its process makes the run a suspect as the loss of a server does (see
    `recover`)."""

    due_at: int | None = None
    refund: bool = False
    lost: bool = False


class Recovered(msgspec.Struct, frozen=True):
    """What starting on a database found: runs put back in line, and runs that had no attempt left."""

    requeued: tuple[str, ...]
    lost: tuple[str, ...]


class Taken(msgspec.Struct, frozen=True):
    """Deliveries to be sent now. `next_due`: where none was due, when the next one is (of a host with room)."""

    deliveries: Sequence[Delivery]
    next_due: int | None = None


class Keep(msgspec.Struct, frozen=True):
    """What has to go, by age: what is older than these times (None: nothing is)."""

    keys_before: int
    """Idempotency keys, by their creation."""
    runs_before: int | None = None
    """Finished runs on threads, with their events and records, by their end."""
    events_before: int | None = None
    """The events of finished runs on threads, by the run's end."""
    threads_before: int | None = None
    """Threads without a time of their own, an active run or an open question, with everything on them, by the last
    change."""
    threads_by: Expiry = "delete"
    """What becomes of those."""


class Retention(msgspec.Struct, frozen=True):
    """What one sweep removed."""

    runs: int = 0
    events: int = 0
    """Runs whose events went before they did."""
    threads: int = 0
    items: int = 0
    keys: int = 0
    cut: int = 0
    """Threads whose history was cut to the newest state."""

    def __add__(self, more: Retention) -> Retention:
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(more), strict=True)
        return Retention(*(one + other for one, other in pairs))


class ThreadSizes(msgspec.Struct, frozen=True):
    """How much the states of a thread take, those of subgraphs too; without what a copy shares with its original."""

    checkpoints: int
    checkpoint_bytes: int
    writes: int
    """Of tasks, which no checkpoint holds yet."""
    write_bytes: int


class Standing(msgspec.Struct, frozen=True):
    """What is active now, and how large the database is."""

    active: dict[tuple[str, str], int]
    """(agent id, `pending` or `running`) -> runs."""
    ready: dict[str, tuple[int, int]]
    """Agent id -> runs that could be claimed, microseconds since the oldest of them joined the line."""
    file_bytes: int
    wal_bytes: int
    """Of what is written and not folded into the file yet; 0 for a database that has no such file."""


class Storage(Protocol):
    """One database. All errors it raises are `RunyardError`s.

    What reads one small row does so at once where the database is at hand: the embedded one answers without a pause.
    """

    shared: bool
    """Whether other servers may use the database at the same time."""
    on_commit: Callable[[Sequence[Chunk]], None]
    on_ready: Callable[[], None]
    """Called after a commit by which a run can be claimed."""
    on_outbox: Callable[[], None]
    """Called after a commit by which a webhook is due."""
    on_group: Callable[[int, float, int], None]
    """Called after each commit: the verbs in it, the seconds it took, the verbs that the database failed."""

    async def open(self) -> None:
        """Migrates the schema and takes what exclusive rights the adapter needs.

        Raises:
            Unavailable: another server holds the database, or it cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Ends cleanly: everything accepted is committed, files are closed, locks are released."""
        ...

    # threads

    async def create_thread(
        self,
        owner: str,
        thread_id: str,
        metadata: bytes,
        now: int,
        *,
        if_exists: Literal["raise", "do_nothing"],
        ttl: Ttl | None = None,
    ) -> Thread:
        """A thread that is there stays as it is, its time too. Raises `Conflict` thread_exists. A foreign id conflicts
        too, without telling more."""
        ...

    async def thread(self, owner: str, thread_id: str) -> Thread:
        """One small row. Raises `NotFound`; hidden threads are not found."""
        ...

    async def metadata_of(self, owner: str, thread_id: str) -> tuple[bytes, int] | None:
        """A thread's metadata and when it was created, hidden ones too; None where there is no such thread. One small
        row."""
        ...

    async def thread_ttl(self, owner: str, thread_id: str) -> Ttl | None:
        """A thread's own time to live; None where it has none, or there is no thread. One small row."""
        ...

    async def search_threads(self, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
        """In the order that is asked for, each with its state."""
        ...

    async def count_threads(self, owner: str, query: ThreadFilter) -> int:
        """How many there are, whatever limit and offset say."""
        ...

    async def thread_sizes(self, owner: str, thread_id: str) -> ThreadSizes:
        """Raises `NotFound`; hidden threads are not found."""
        ...

    async def patch_thread(
        self,
        owner: str,
        thread_id: str,
        now: int,
        *,
        metadata: dict[str, Any] | None = None,
        checkpoint: Checkpoint | None = None,
        expected_head: str | None = None,
        ttl: Ttl | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Thread | None:
        """Merges metadata and makes `checkpoint` the head, where the head still is `expected_head`; None when it is
        not (read again and retry). `ttl` None takes the thread's own time away. Raises `Conflict` thread_busy when
        there is a checkpoint and a run is active."""
        ...

    async def copy_thread(
        self, owner: str, thread_id: str, new_id: str, now: int, metadata: bytes | None = None
    ) -> Thread:
        """A thread with the same metadata (or `metadata` instead), head and history; runs are not copied, no states are
        copied. It has what there is of subgraphs' states and pending writes at this moment, and keeps it whatever
        becomes of the original. It has no time to live of its own."""
        ...

    async def delete_thread(self, owner: str, thread_id: str, now: int) -> tuple[str, ...]:
        """Ends every active run (cancelled), fences off the executing one, removes the thread from sight, keeping a
        tombstone with its numbers. Returns the ids of runs whose code must be told to stop."""
        ...

    async def snapshot(
        self, owner: str, thread_id: str, checkpoint_id: str, *, undone: bool = True, held: bool = False
    ) -> Snapshot:
        """A checkpoint of the thread (or of those it was copied from), of any namespace. One that was undone is there
        as long as the record of its run, whose events name it; with `undone` false it is not. `held` says that an
        attempt of the caller has the thread, so that nobody undoes what it builds on. Raises `NotFound`
        checkpoint_not_found."""
        ...

    async def history(
        self, owner: str, thread_id: str, *, before: str | None, limit: int, namespace: str = ""
    ) -> list[Snapshot]:
        """Newest first, in the order in which they were stored; `before` is a checkpoint of the same history. In a
        subgraph's namespace the order is that of the ids, and `before` any of them. Hidden threads have a history too.
        Raises `NotFound`, for `before` too."""
        ...

    async def newest(self, owner: str, thread_id: str, namespace: str) -> Snapshot | None:
        """The newest checkpoint of a subgraph's namespace; for the thread's own states (an empty one), its head. None
        where there is none, or no thread."""
        ...

    # the states of graphs, beside what `append` and `finish` store of them

    async def pending_writes(self, owner: str, thread_id: str, namespace: str, on: str) -> list[PendingWrite]:
        """What tasks gave on top of a state, in order. A copy has those that its original had then."""
        ...

    async def has_inner(self, owner: str, thread_id: str) -> bool:
        """Whether the thread, or one that it was copied from, has checkpoints of subgraphs, or writes on them."""
        ...

    async def inner_namespaces(self, owner: str, thread_id: str) -> list[str]:
        """The namespaces of subgraphs of which the thread has checkpoints, or has some from its original; sorted."""
        ...

    async def put_checkpoint(self, owner: str, checkpoint: Checkpoint, now: int) -> None:
        """Stores a checkpoint from outside any attempt, and makes it the head where it is one of the thread's own.
        Makes the thread where it is not there. Raises `Conflict` thread_busy when a run is active, and
        checkpoint_exists; `NotFound` for a parent that is not there."""
        ...

    async def revise_thread(
        self,
        owner: str,
        thread_id: str,
        checkpoints: Sequence[Checkpoint],
        writes: Sequence[PendingWrite],
        entries: Sequence[Entry],
        expected_head: str | None,
        now: int,
    ) -> Thread | None:
        """Stores from outside any attempt what changes of a graph's state made, all of it or none: the last checkpoint
        of the thread's own becomes the head where that still is `expected_head`, and asks what it holds; `entries` go
        on the log. None when the head is another (read again and retry). Writes are kept as by `put_writes`. Raises
        `Conflict` thread_busy when a run is active, and checkpoint_exists; `NotFound` for the thread, or a parent."""
        ...

    async def put_writes(self, owner: str, thread_id: str, writes: Sequence[PendingWrite], now: int) -> None:
        """Stores pending writes from outside any attempt; they replace what is kept under their keys. A write with an
        index of 0 or more is kept as it is where its key is taken. Makes the thread where it is not there."""
        ...

    async def forget_runs(self, owner: str, run_ids: Sequence[str], now: int) -> None:
        """Undoes the checkpoints that these runs made, with the writes on them, and what they gave or settled on
        others; heads move back to what is left. What an open question goes back to stays. Raises `Conflict`
        thread_busy when a run is active on a thread of theirs."""
        ...

    async def prune(self, owner: str, thread_id: str, keep: Sequence[str] | None, now: int) -> None:
        """Undoes all checkpoints of a thread but those of `keep` (None: those that later runs go on from, the head and
        the newest of each subgraph that remembers from run to run), with the writes on them. Where anything is kept, so
        is what an open question goes back to. What a copy descends from stays. Raises `Conflict` thread_busy when a run
        is active."""
        ...

    # runs

    async def create_run(self, new: NewRun) -> Created:
        """Raises `NotFound`, `Conflict` thread_busy / not_interrupted / firing_gone, `IdempotencyMismatch`."""
        ...

    async def known_run(self, owner: str, idempotency: tuple[str, str, str]) -> Run | None:
        """The run that an idempotency key (route, key, hash of the parsed body) has made. Raises
        `IdempotencyMismatch`."""
        ...

    async def run(self, owner: str, run_id: str) -> Run:
        """One small row. Raises `NotFound`; a tombstone is not found."""
        ...

    async def search_runs(self, owner: str, query: RunFilter) -> list[Run]:
        """Newest first."""
        ...

    async def pending(self, owner: str | None) -> int:
        """How many runs of an owner (None: of all) wait, delayed ones too; costs as much as there are."""
        ...

    async def claim(self, agents: dict[str, int | None], limit: int, now: int) -> list[Claim]:
        """Up to `limit` ready runs of these agents (agent id -> executing runs allowed in all, None for any),
        in the order of their places in line; joins delayed runs to the line first. Of the runs that are suspected of
        ending the server, one executes at a time."""
        ...

    async def acquit(self, run_id: str) -> None:
        """The server has outlived an executing suspect: others may execute beside it."""
        ...

    async def claim_of(self, run_id: str) -> Claim | None:
        """The claim of an executing run, for a caller that asked for it and was interrupted before it heard of it; None
        where the run does not execute, or is not there. Sees what was asked for before."""
        ...

    async def next_due(self) -> int | None:
        """When the next delayed run is due."""
        ...

    async def append(self, attempt: Attempt, batch: Batch, now: int) -> int:
        """Stores a batch; the number of its last event. Raises `LeaseLost`."""
        ...

    async def finish(self, attempt: Attempt, batch: Batch, ending: Ending, now: int) -> Run:
        """Stores the last batch and the end, moves the line on: status of run and thread, head and terminal event
        commit together. Raises `LeaseLost`, and `CancelRequested` where `ending` does not know of a request to cancel
        (nothing is written: decide again)."""
        ...

    async def requeue(self, attempt: Attempt, batch: Batch, requeue: Requeue, now: int) -> Run:
        """Puts the run back in line. What its log leaves open below it (see `close_nested`) is ended, as by every verb
        that ends a run or its attempt for others; `append` and `finish` store what they are given. Raises `LeaseLost`.
        """
        ...

    async def cancel(
        self,
        owner: str,
        run_id: str,
        action: CancelAction,
        now: int,
        expires_at: int | None,
        reason: str | None = None,
    ) -> Cancelled:
        """`reason` is noted in the request of a run that has not finished, unless another is there.

        Raises `NotFound`, `Conflict` rollback_not_latest.
        """
        ...

    async def abandon(self, attempt: Attempt, now: int, expires_at: int | None) -> Run:
        """Fences off an attempt that does not stop and ends its run as abandoned (or rolls it back, where that was
        asked). One that is over stays as it is. Raises `LeaseLost`."""
        ...

    async def active_run(self, owner: str, thread_id: str) -> Run | None:
        """The run of a thread that executes, or has begun and is to be tried again, or else waits for nothing but a
        place; None where there is no such, or no such thread."""
        ...

    async def inject(self, owner: str, run_id: str, messages: Sequence[bytes], now: int) -> None:
        """Puts messages (JSON objects with an `id`) into the active run of a thread (see `active_run`), for its code to
        take: all or none of them. Each is an event of its log, and a record of its invocation that no lease guards.
        One whose id the invocation has is passed over.

        What the code has not taken when the run ends becomes part of the thread's messages with the end, whoever ends
        it; where the end leaves a question open it waits for the answer instead, and a rollback undoes it.

        Raises `NotFound`, `Conflict` no_active_run (it is not, or is asked to stop), inbox_full."""
        ...

    async def injected(self, invocation: str, after: int) -> list[Injected]:
        """The messages that were put into an invocation with a number above `after`, in order."""
        ...

    async def delete_run(self, owner: str, run_id: str, now: int) -> None:
        """Removes a finished run's record and events; checkpoints stay. Raises `NotFound`, `Conflict` run_active."""
        ...

    async def records(self, invocation: str) -> list[Record]:
        """In their order."""
        ...

    async def trace(self, run_id: str) -> str | None:
        """The `trace` with which the run was created; None where it had none or is gone."""
        ...

    async def recover(self, now: int, expires_at: int) -> Recovered:
        """Voids the lease of everything that executes on a worker which is not alive (of everything there is, where the
        database is not `shared`): it goes back in line, or ends as lost when its attempts are used up. Webhooks that
        such a server was sending are due now (where it is shared: when their time is over).

        A run in whose attempts the server died twice in a row (or that has one attempt left) is a suspect. Where a
        suspect was executing, the attempts of all others of the same worker are given back: one run that ends the
        server each time does not use up those of the runs beside it.
        """
        ...

    # workers, of a database that is shared; in another there is one, which is alive

    async def join(self, lease: float, agents: Sequence[str]) -> None:
        """This process executes runs of these agents. It counts as alive for so many seconds by the database's clock,
        and what it claims is its own as long as it does. Those who have joined before may join again."""
        ...

    async def renew(self, lease: float) -> bool:
        """It is alive for so many seconds from now on. False where its time was over, or it had not joined: it may have
        been taken for dead."""
        ...

    async def leave(self) -> None:
        """It executes nothing any more."""
        ...

    async def holds(self, attempt: Attempt) -> bool:
        """Whether an attempt has its lease still. One small row."""
        ...

    # webhooks: every end of a run that has one writes its delivery and its notice, in the end's own transaction

    async def take_deliveries(
        self, now: int, *, until: int, limit: int, per_host: int, busy: Mapping[str, int]
    ) -> Taken:
        """Takes up to `limit` due deliveries, of no host so many that with those `busy` (host -> number) there are more
        than `per_host`. They are the caller's until `until`; then they are due again. Each counts as a try."""
        ...

    async def settle_delivery(self, delivery: Delivery, tried: Try, now: int, *, delivered: bool) -> bool:
        """The delivery is over: it has arrived, or is parked. Whether the caller still had it."""
        ...

    async def retry_delivery(self, delivery: Delivery, tried: Try, due_at: int) -> bool:
        """The try has failed, and there is to be another. Whether the caller still had it."""
        ...

    async def release_delivery(self, delivery: Delivery, now: int) -> bool:
        """Gives a delivery back, as if it had not been tried; it is due at once. Whether the caller still had it."""
        ...

    async def delivery(self, owner: str, delivery_id: str) -> Delivery:
        """One small row. Raises `NotFound`."""
        ...

    async def notice(self, owner: str, delivery_id: str) -> Notice:
        """What the delivery tells. Raises `NotFound`."""
        ...

    async def search_deliveries(self, owner: str, query: DeliveryFilter) -> list[Delivery]:
        """Newest first."""
        ...

    async def resend_delivery(self, owner: str, delivery_id: str, now: int) -> Delivery:
        """Begins anew with a delivery, whatever became of it: it is due now. One that is being sent at this moment is
        left alone. Raises `NotFound`."""
        ...

    async def purge_deliveries(self, before: int) -> int:
        """Removes what was delivered or parked before that time, in small batches; how many."""
        ...

    # events

    async def events(
        self, owner: str, thread_id: str, *, after: int, run_id: str | None, limit: int, states: bool = True
    ) -> list[Event]:
        """Events with a number above `after`, in order, `values` with their states unless `states` is false; at most
        `limit` of them, fewer where they are large (together more than a reader's `PIECE`). None only where there are
        no more."""
        ...

    async def last_seq(self, owner: str, thread_id: str) -> int:
        """The number of the last committed event."""
        ...

    async def last_seqs(self, threads: Sequence[tuple[str, str]]) -> list[int]:
        """The same of many threads, each by its owner and id."""
        ...

    async def floor_seq(self, owner: str, thread_id: str) -> int:
        """Events up to this number are gone by retention."""
        ...

    # items

    async def put_item(
        self,
        owner: str,
        namespace: Namespace,
        key: str,
        value: bytes,
        now: int,
        *,
        expires_at: int | None = None,
        vectors: Sequence[Vector] = (),
        attempt: Attempt | None = None,
    ) -> None:
        """Upserts; `created_at` of an existing item stays. `vectors`, all of one length, are what it means: they take
        the place of those that it had, and go with it. Raises `LeaseLost` for an attempt without its lease."""
        ...

    async def get_item(self, owner: str, namespace: Namespace, key: str, now: int) -> Item:
        """Raises `NotFound`."""
        ...

    async def delete_item(
        self, owner: str, namespace: Namespace, key: str, now: int, *, attempt: Attempt | None = None
    ) -> None:
        """Raises `NotFound`, `LeaseLost`."""
        ...

    async def touch_items(
        self, owner: str, places: Sequence[tuple[Namespace, str]], now: int, *, attempt: Attempt | None = None
    ) -> None:
        """Items that are kept for a time after they were last used have been used now; others stay as they are. Raises
        `LeaseLost`."""
        ...

    async def search_items(self, owner: str, query: ItemSearch, now: int) -> list[Item]:
        """Updated last comes first; the nearest, where `query` has a meaning. Raises `Unsupported` where this database
        cannot search by meaning (see `check_meanings`)."""
        ...

    def check_meanings(self) -> None:
        """Raises `Unsupported` where something has to be installed for searches by meaning."""
        ...

    async def namespaces(self, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
        """Sorted, cut to `max_depth`, each once."""
        ...

    # assistants: `default` is given where the id is that of an agent's default one, which may have no row yet

    async def create_assistant(self, assistant: Assistant, *, if_exists: IfExists) -> Assistant:
        """Its first version. Raises `Conflict` assistant_exists."""
        ...

    async def assistant(self, owner: str, assistant_id: str) -> Assistant:
        """As the version that counts has it. One small row. Raises `NotFound`."""
        ...

    async def search_assistants(self, owner: str, query: AssistantFilter) -> list[Assistant]:
        """In the query's order; equal ones by their ids, upwards (see `assistants.ordered`)."""
        ...

    async def count_assistants(self, owner: str, query: AssistantFilter) -> int:
        """How many a search would find, whatever its limit and offset."""
        ...

    async def assistants_among(self, owner: str, assistant_ids: Sequence[str]) -> set[str]:
        """Which of them have rows."""
        ...

    async def patch_assistant(
        self, owner: str, assistant_id: str, patch: AssistantPatch, now: int, *, default: Assistant | None = None
    ) -> Assistant:
        """Makes a version with the next number out of the one that counts, and lets it count. Raises `NotFound`."""
        ...

    async def choose_version(
        self, owner: str, assistant_id: str, version: int, now: int, *, default: Assistant | None = None
    ) -> Assistant:
        """Lets a version count. Raises `NotFound`, for an unknown version too."""
        ...

    async def assistant_versions(self, owner: str, assistant_id: str, query: VersionFilter) -> list[Assistant]:
        """Newest first; none for an unknown assistant."""
        ...

    async def delete_assistant(self, owner: str, assistant_id: str) -> None:
        """With its versions and crons; its runs go on. Raises `NotFound`."""
        ...

    # crons

    async def create_cron(self, cron: Cron) -> Cron:
        """Raises `NotFound` for its thread."""
        ...

    async def cron(self, owner: str, cron_id: str) -> Cron:
        """One small row. Raises `NotFound`."""
        ...

    async def search_crons(self, owner: str, query: CronFilter) -> list[Cron]:
        """In the query's order, what has no value behind what has one (before it, downwards); equal ones by their ids,
        upwards."""
        ...

    async def count_crons(self, owner: str, query: CronFilter) -> int:
        """How many a search would find, whatever its limit and offset."""
        ...

    async def patch_cron(self, owner: str, cron_id: str, patch: CronPatch, now: int) -> Cron:
        """Its next firing is planned anew. Raises `NotFound`, and what `crons.changed` does."""
        ...

    async def delete_cron(self, owner: str, cron_id: str) -> None:
        """Runs that it has made go on. Raises `NotFound`."""
        ...

    async def due_crons(self, now: int, *, behind: Cron | None, limit: int) -> list[Cron]:
        """Of all owners, those whose firing has come, in its order; behind the last one of the page before."""
        ...

    async def next_firing(self) -> int | None:
        """When the next cron of all fires, or should have fired."""
        ...

    async def pass_over(self, firing: Firing, error: str) -> None:
        """A firing that makes no run: its cron goes on to the next. Raises `Conflict` firing_gone."""
        ...

    # agents and upkeep

    async def publish_agents(self, agents: Sequence[Agent], now: int) -> None:
        """What this server's workers offer."""
        ...

    async def agents(self) -> list[Agent]:
        """All published agents, by id."""
        ...

    async def published_at(self) -> dict[str, int]:
        """When each of them was published first."""
        ...

    async def purge(
        self,
        now: int,
        *,
        keys_before: int,
        runs_before: int | None = None,
        events_before: int | None = None,
        threads_before: int | None = None,
        threads_by: Expiry = "delete",
    ) -> Retention:
        """Removes what has expired or is older than these times (see `Keep`), and what nobody can reach, in small
        batches between which everything else goes on. What an unfinished invocation needs, and what a copy descends
        from, stays."""
        ...

    async def unoffered(self, offered: Sequence[str]) -> dict[str, int]:
        """Agent id -> number of its pending runs that none of `offered` can execute, and no agent of a worker that is
        alive."""
        ...

    async def trouble(self) -> str | None:
        """Why nothing can be written now, in words; None where it can. Tries it, unless a commit of just now has."""
        ...

    async def standing(self, now: int) -> Standing:
        """What metrics show. Costs what is active, whatever the history."""
        ...

    async def figures(self) -> dict[str, int]:
        """Counts for people and metrics: threads, runs by status, events, items, file and WAL bytes."""
        ...
