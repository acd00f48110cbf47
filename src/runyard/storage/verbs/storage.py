"""The storage contract by its verbs: what every adapter does alike.

An adapter says how a verb gets its transaction, and how something is read; and it opens, closes and measures.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import msgspec

from runyard.agents import Agent
from runyard.assistants import Assistant, AssistantFilter, AssistantPatch, IfExists, VersionFilter
from runyard.checkpoints import Checkpoint, PendingWrite, Snapshot, State
from runyard.crons import Cron, CronFilter, CronPatch, Firing
from runyard.deliveries import Delivery, DeliveryFilter, Notice, Try
from runyard.errors import item_not_found, run_not_found, thread_not_found
from runyard.events import Chunk, Entry, Event
from runyard.items import Item, ItemSearch, Namespace, NamespaceQuery
from runyard.runs import Attempt, CancelAction, NewRun, Run, RunFilter
from runyard.runtime.contract import Injected, Record
from runyard.storage.contract import (
    Batch,
    Cancelled,
    Claim,
    Created,
    Ending,
    Keep,
    Recovered,
    Requeue,
    Retention,
    Standing,
    Taken,
    ThreadSizes,
)
from runyard.storage.verbs import assistants as assistant_verbs
from runyard.storage.verbs import crons as cron_verbs
from runyard.storage.verbs import graphs as graph_verbs
from runyard.storage.verbs import injected as injected_verbs
from runyard.storage.verbs import items as item_verbs
from runyard.storage.verbs import outbox as outbox_verbs
from runyard.storage.verbs import retention as retention_verbs
from runyard.storage.verbs import runs as run_verbs
from runyard.storage.verbs import searches, states
from runyard.storage.verbs import threads as thread_verbs
from runyard.storage.verbs.agents import publish_agents
from runyard.storage.verbs.jobs import Job
from runyard.storage.verbs.replay import Replay
from runyard.storage.verbs.rows import item_of, namespace_value, run_of, thread_of
from runyard.storage.verbs.transaction import Reads, Transaction
from runyard.threads import Expiry, Thread, ThreadFilter, Ttl
from runyard.vectors import Vector

T = TypeVar("T")
P = ParamSpec("P")

SNAPSHOTS_KEPT = 512
"""Snapshots of checkpoints in memory; they never change, so keeping them is safe."""
SNAPSHOT_BYTES = 64_000
SWEEP_PAUSE = 0.005
"""Seconds between two batches of a sweep: the writer is for those who wait."""

_encode = msgspec.json.Encoder().encode
_agent = msgspec.json.Decoder(Agent).decode


class VerbStorage(ABC):
    """Most of a storage. Not here: opening, closing, what is in the way of writing, sizes."""

    shared: bool

    def __init__(self) -> None:
        self.on_commit: Callable[[Sequence[Chunk]], None] = _nobody
        self.on_ready: Callable[[], None] = _nothing
        self.on_outbox: Callable[[], None] = _nothing
        self.on_group: Callable[[int, float, int], None] = _ignore
        self._replay = Replay()
        self._snapshots: OrderedDict[tuple[str, str], Snapshot] = OrderedDict()

    def _deliver(self, group: Sequence[Job], took: float) -> None:
        """Tells what a commit of so many seconds has brought, then resolves all who wait for it."""
        self.on_group(len(group), took, sum(job.failed_by_database for job in group))
        chunks = [chunk for job in group for chunk in job.chunks]
        if chunks:
            self.on_commit(chunks)
        if any(job.ready for job in group):
            self.on_ready()
        if any(job.outbox for job in group):
            self.on_outbox()
        for job in group:
            job.resolve()

    @abstractmethod
    def _do(
        self, verb: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]], *arguments: P.args, **_: P.kwargs
    ) -> Awaitable[T]:
        """Does a verb in a transaction; done when that is durable, and its events are told."""

    @property
    @abstractmethod
    def _rows(self) -> Reads:
        """For reads of one small row."""

    @abstractmethod
    async def _read(self, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        """Reads something of unknown size."""

    @abstractmethod
    async def _read_log(self, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        """Reads events, beside everything else that is read."""

    @abstractmethod
    def check_meanings(self) -> None:
        """Raises `Unsupported` where something has to be installed for searches by meaning."""

    @abstractmethod
    def _packed(self, vectors: Sequence[Vector]) -> Any:
        """Vectors behind one another, as statements take them."""

    @abstractmethod
    async def _sizes(self) -> tuple[int, int]:
        """Bytes of the database, and of what is written and not folded into it yet."""

    def _keep(self, owner: str, snapshot: Snapshot) -> Snapshot:
        if sum(map(len, snapshot.state.values())) <= SNAPSHOT_BYTES:
            self._snapshots[owner, snapshot.checkpoint.checkpoint_id] = snapshot
            if len(self._snapshots) > SNAPSHOTS_KEPT:
                self._snapshots.popitem(last=False)
        return snapshot

    def _drop(self, owner: str, thread_ids: Collection[str]) -> None:
        """What was undone is not at hand any more."""
        for key in [
            key for key, kept in self._snapshots.items() if key[0] == owner and kept.checkpoint.thread_id in thread_ids
        ]:
            del self._snapshots[key]

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
        return await self._do(thread_verbs.create_thread, owner, thread_id, metadata, now, if_exists, ttl)

    async def thread(self, owner: str, thread_id: str) -> Thread:
        row = await self._rows.one("thread", (owner, thread_id))
        if row is None or row[9]:
            raise thread_not_found(thread_id)
        return thread_of(row)

    async def metadata_of(self, owner: str, thread_id: str) -> tuple[bytes, int] | None:
        row = await self._rows.one("thread", (owner, thread_id))
        return None if row is None else (row[4], row[2])

    async def thread_ttl(self, owner: str, thread_id: str) -> Ttl | None:
        row = await self._rows.one("ttl_of_thread", (owner, thread_id))
        return None if row is None else Ttl(*row)

    async def search_threads(self, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
        return await self._read(lambda reader: searches.search_threads(reader, owner, query))

    async def count_threads(self, owner: str, query: ThreadFilter) -> int:
        return await self._read(lambda reader: searches.count_threads(reader, owner, query))

    async def thread_sizes(self, owner: str, thread_id: str) -> ThreadSizes:
        return await self._read(lambda reader: states.sizes(reader, owner, thread_id))

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
        return await self._do(
            thread_verbs.patch_thread, owner, thread_id, now, metadata, checkpoint, expected_head, ttl
        )

    async def copy_thread(
        self, owner: str, thread_id: str, new_id: str, now: int, metadata: bytes | None = None
    ) -> Thread:
        return await self._do(thread_verbs.copy_thread, owner, thread_id, new_id, now, metadata)

    async def delete_thread(self, owner: str, thread_id: str, now: int) -> tuple[str, ...]:
        return await self._do(thread_verbs.delete_thread, owner, thread_id, now)

    async def snapshot(
        self, owner: str, thread_id: str, checkpoint_id: str, *, undone: bool = True, held: bool = False
    ) -> Snapshot:
        kept = self._snapshots.get((owner, checkpoint_id))  # two owners may have threads of the same name
        # Another server may have undone it, which is not known here. It is small to ask, and large to read again.
        if (
            kept is not None
            and kept.checkpoint.thread_id == thread_id
            and undone
            and (held or not self.shared or await states.is_there(self._rows, owner, thread_id, checkpoint_id))
        ):
            return kept
        return self._keep(owner, await self._found_snapshot(owner, thread_id, checkpoint_id, undone))

    async def _found_snapshot(self, owner: str, thread_id: str, checkpoint_id: str, undone: bool) -> Snapshot:
        return await self._read(lambda reader: states.found_snapshot(reader, owner, thread_id, checkpoint_id, undone))

    async def history(
        self, owner: str, thread_id: str, *, before: str | None, limit: int, namespace: str = ""
    ) -> list[Snapshot]:
        return await self._read(lambda reader: states.history(reader, owner, thread_id, before, limit, namespace))

    async def newest(self, owner: str, thread_id: str, namespace: str) -> Snapshot | None:
        return await self._read(lambda reader: states.newest(reader, owner, thread_id, namespace))

    # the states of graphs

    async def pending_writes(self, owner: str, thread_id: str, namespace: str, on: str) -> list[PendingWrite]:
        return await states.writes_on(self._rows, owner, thread_id, namespace, on)

    async def has_inner(self, owner: str, thread_id: str) -> bool:
        return bool((await self._rows.one("has_inner", {"owner": owner, "thread_id": thread_id}))[0])

    async def inner_namespaces(self, owner: str, thread_id: str) -> list[str]:
        return await self._read(lambda reader: states.inner_namespaces(reader, owner, thread_id))

    async def put_checkpoint(self, owner: str, checkpoint: Checkpoint, now: int) -> None:
        await self._do(graph_verbs.put_checkpoint, owner, checkpoint, now)

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
        return await self._do(
            graph_verbs.revise_thread, owner, thread_id, checkpoints, writes, entries, expected_head, now
        )

    async def put_writes(self, owner: str, thread_id: str, writes: Sequence[PendingWrite], now: int) -> None:
        await self._do(graph_verbs.put_writes, owner, thread_id, writes, now)

    async def forget_runs(self, owner: str, run_ids: Sequence[str], now: int) -> None:
        self._drop(owner, await self._do(graph_verbs.forget_runs, owner, run_ids, now))

    async def prune(self, owner: str, thread_id: str, keep: Sequence[str] | None, now: int) -> None:
        self._drop(owner, await self._do(graph_verbs.prune, owner, thread_id, keep, now))

    # runs

    async def create_run(self, new: NewRun) -> Created:
        return await self._do(run_verbs.create_run, new)

    async def known_run(self, owner: str, idempotency: tuple[str, str, str]) -> Run | None:
        return await run_verbs.known_run(self._rows, owner, idempotency)

    async def run(self, owner: str, run_id: str) -> Run:
        row = await self._rows.one("run", (run_id, owner))
        if row is None:
            raise run_not_found(run_id)
        return run_of(row)

    async def search_runs(self, owner: str, query: RunFilter) -> list[Run]:
        return await self._read(lambda reader: searches.search_runs(reader, owner, query))

    async def pending(self, owner: str | None) -> int:
        name, values = ("pending", ()) if owner is None else ("pending_of_owner", (owner, owner))
        return (await self._read(lambda reader: reader.one(name, values)))[0]

    async def claim(self, agents: dict[str, int | None], limit: int, now: int) -> list[Claim]:
        return await self._do(run_verbs.claim, agents, limit, now)

    async def acquit(self, run_id: str) -> None:
        await self._do(run_verbs.acquit, run_id)

    async def claim_of(self, run_id: str) -> Claim | None:
        return await self._do(run_verbs.claim_of, run_id)

    async def next_due(self) -> int | None:
        row = await self._rows.one("next_due")
        return None if row is None else row[0]

    async def append(self, attempt: Attempt, batch: Batch, now: int) -> int:
        return await self._do(run_verbs.append_batch, attempt, batch, now)

    async def finish(self, attempt: Attempt, batch: Batch, ending: Ending, now: int) -> Run:
        run = await self._do(run_verbs.finish, attempt, batch, ending, now)
        last = batch.last_checkpoint
        if run.outcome != "rolled_back" and last is not None and ending.final is not None and not run.stateless:
            # Where the thread's next run begins; the thread of a stateless run has no other.
            self._keep(run.owner, Snapshot(last, ending.final))
        return run

    async def requeue(self, attempt: Attempt, batch: Batch, requeue: Requeue, now: int) -> Run:
        return await self._do(run_verbs.requeue, attempt, batch, requeue, now)

    async def cancel(
        self,
        owner: str,
        run_id: str,
        action: CancelAction,
        now: int,
        expires_at: int | None,
        reason: str | None = None,
    ) -> Cancelled:
        return await self._do(run_verbs.cancel, owner, run_id, action, now, expires_at, reason)

    async def abandon(self, attempt: Attempt, now: int, expires_at: int | None) -> Run:
        return await self._do(run_verbs.abandon, attempt, now, expires_at)

    async def active_run(self, owner: str, thread_id: str) -> Run | None:
        return await injected_verbs.active_run(self._rows, owner, thread_id)

    async def inject(self, owner: str, run_id: str, messages: Sequence[bytes], now: int) -> None:
        await self._do(injected_verbs.inject, owner, run_id, messages, now)

    async def injected(self, invocation: str, after: int) -> list[Injected]:
        return await self._read(lambda reader: injected_verbs.injected(reader, invocation, after))

    async def delete_run(self, owner: str, run_id: str, now: int) -> None:
        await self._do(run_verbs.delete_run, owner, run_id, now)

    async def records(self, invocation: str) -> list[Record]:
        rows = await self._read(lambda reader: reader.all("records", (invocation,)))
        return [Record(*row) for row in rows]

    async def trace(self, run_id: str) -> str | None:
        row = await self._rows.one("trace", (run_id,))
        return None if row is None else row[0]

    async def recover(self, now: int, expires_at: int) -> Recovered:
        return await self._do(run_verbs.recover, now, expires_at)

    async def holds(self, attempt: Attempt) -> bool:
        return await self._rows.one("holds", (attempt.owner, attempt.thread_id, attempt.lease)) is not None

    # webhooks

    async def take_deliveries(
        self, now: int, *, until: int, limit: int, per_host: int, busy: Mapping[str, int]
    ) -> Taken:
        return await self._do(outbox_verbs.take_deliveries, now, until, limit, per_host, busy)

    async def settle_delivery(self, delivery: Delivery, tried: Try, now: int, *, delivered: bool) -> bool:
        return await self._do(outbox_verbs.settle_delivery, delivery, tried, now, delivered)

    async def retry_delivery(self, delivery: Delivery, tried: Try, due_at: int) -> bool:
        return await self._do(outbox_verbs.retry_delivery, delivery, tried, due_at)

    async def release_delivery(self, delivery: Delivery, now: int) -> bool:
        return await self._do(outbox_verbs.release_delivery, delivery, now)

    async def delivery(self, owner: str, delivery_id: str) -> Delivery:
        return await outbox_verbs.found_delivery(self._rows, owner, delivery_id)

    async def notice(self, owner: str, delivery_id: str) -> Notice:
        return await self._read(lambda reader: outbox_verbs.found_notice(reader, owner, delivery_id))

    async def search_deliveries(self, owner: str, query: DeliveryFilter) -> list[Delivery]:
        return await self._read(lambda reader: outbox_verbs.search_deliveries(reader, owner, query))

    async def resend_delivery(self, owner: str, delivery_id: str, now: int) -> Delivery:
        return await self._do(outbox_verbs.resend_delivery, owner, delivery_id, now)

    async def purge_deliveries(self, before: int) -> int:
        total = 0
        while (removed := await self._do(outbox_verbs.purge_deliveries, before)) > 0:
            total += removed
        return total

    # events

    async def events(
        self, owner: str, thread_id: str, *, after: int, run_id: str | None, limit: int, states: bool = True
    ) -> list[Event]:
        return await self._read_log(
            lambda reader: self._replay.read(reader, owner, thread_id, after, run_id, limit, states)
        )

    async def last_seq(self, owner: str, thread_id: str) -> int:
        row = await self._rows.one("numbers", (owner, thread_id))
        return 0 if row is None else row[0]

    async def last_seqs(self, threads: Sequence[tuple[str, str]]) -> list[int]:
        return [await self.last_seq(owner, thread_id) for owner, thread_id in threads]

    async def floor_seq(self, owner: str, thread_id: str) -> int:
        row = await self._rows.one("numbers", (owner, thread_id))
        return 0 if row is None else row[1]

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
        packed = self._packed(vectors) if vectors else None
        await self._do(
            item_verbs.put_item, owner, namespace, key, value, now, expires_at, packed, len(vectors), attempt
        )

    async def get_item(self, owner: str, namespace: Namespace, key: str, now: int) -> Item:
        row = await self._rows.one("get_item", (owner, namespace_value(namespace), key, now))
        if row is None:
            raise item_not_found(namespace, key)
        return item_of(row)

    async def delete_item(
        self, owner: str, namespace: Namespace, key: str, now: int, *, attempt: Attempt | None = None
    ) -> None:
        await self._do(item_verbs.delete_item, owner, namespace, key, now, attempt)

    async def touch_items(
        self, owner: str, places: Sequence[tuple[Namespace, str]], now: int, *, attempt: Attempt | None = None
    ) -> None:
        await self._do(item_verbs.touch_items, owner, places, now, attempt)

    async def search_items(self, owner: str, query: ItemSearch, now: int) -> list[Item]:
        values = self._search_values(owner, query, now)
        name = "search_items_below" if query.prefix else "search_items"
        if query.meaning is not None:
            self.check_meanings()
            name = "search_by_meaning"
        rows = await self._read(lambda reader: reader.all(name, values))
        return [item_of(row) for row in rows]

    def _search_values(self, owner: str, query: ItemSearch, now: int) -> dict[str, Any]:
        low = namespace_value(query.prefix)
        values: dict[str, Any] = {
            "owner": owner, "now": now, "limit": query.limit, "offset": query.offset,
            "filter": _encode(query.filter) if query.filter else None,
            "within": None if query.within is None else _encode(query.within),
        }  # fmt: skip
        if low or query.meaning is not None:
            values.update(low=low, high=low + b"\xff")
        if query.meaning is not None:
            values["meaning"] = self._packed([query.meaning])
        return values

    async def namespaces(self, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
        return await self._read(lambda reader: searches.namespaces(reader, owner, query, now))

    # assistants

    async def create_assistant(self, assistant: Assistant, *, if_exists: IfExists) -> Assistant:
        return await self._do(assistant_verbs.create_assistant, assistant, if_exists)

    async def assistant(self, owner: str, assistant_id: str) -> Assistant:
        return await assistant_verbs.found_assistant(self._rows, owner, assistant_id)

    async def search_assistants(self, owner: str, query: AssistantFilter) -> list[Assistant]:
        return await self._read(lambda reader: assistant_verbs.search_assistants(reader, owner, query))

    async def count_assistants(self, owner: str, query: AssistantFilter) -> int:
        return await self._read(lambda reader: assistant_verbs.count_assistants(reader, owner, query))

    async def assistants_among(self, owner: str, assistant_ids: Sequence[str]) -> set[str]:
        values = {"owner": owner, "ids": _encode(assistant_ids).decode()}
        return {row[0] for row in await self._rows.all("assistants_among", values)}

    async def patch_assistant(
        self, owner: str, assistant_id: str, patch: AssistantPatch, now: int, *, default: Assistant | None = None
    ) -> Assistant:
        return await self._do(assistant_verbs.patch_assistant, owner, assistant_id, patch, now, default)

    async def choose_version(
        self, owner: str, assistant_id: str, version: int, now: int, *, default: Assistant | None = None
    ) -> Assistant:
        return await self._do(assistant_verbs.choose_version, owner, assistant_id, version, now, default)

    async def assistant_versions(self, owner: str, assistant_id: str, query: VersionFilter) -> list[Assistant]:
        return await self._read(lambda reader: assistant_verbs.assistant_versions(reader, owner, assistant_id, query))

    async def delete_assistant(self, owner: str, assistant_id: str) -> None:
        await self._do(assistant_verbs.delete_assistant, owner, assistant_id)

    # crons

    async def create_cron(self, cron: Cron) -> Cron:
        return await self._do(cron_verbs.create_cron, cron)

    async def cron(self, owner: str, cron_id: str) -> Cron:
        return await cron_verbs.found_cron(self._rows, owner, cron_id)

    async def search_crons(self, owner: str, query: CronFilter) -> list[Cron]:
        return await self._read(lambda reader: cron_verbs.search_crons(reader, owner, query))

    async def count_crons(self, owner: str, query: CronFilter) -> int:
        return await self._read(lambda reader: cron_verbs.count_crons(reader, owner, query))

    async def patch_cron(self, owner: str, cron_id: str, patch: CronPatch, now: int) -> Cron:
        return await self._do(cron_verbs.patch_cron, owner, cron_id, patch, now)

    async def delete_cron(self, owner: str, cron_id: str) -> None:
        await self._do(cron_verbs.delete_cron, owner, cron_id)

    async def due_crons(self, now: int, *, behind: Cron | None, limit: int) -> list[Cron]:
        return await self._read(lambda reader: cron_verbs.due_crons(reader, now, behind, limit))

    async def next_firing(self) -> int | None:
        row = await self._rows.one("next_firing")
        return None if row is None else row[0]

    async def pass_over(self, firing: Firing, error: str) -> None:
        await self._do(cron_verbs.pass_over, firing, error)

    # agents and upkeep

    async def publish_agents(self, agents: Sequence[Agent], now: int) -> None:
        await self._do(publish_agents, agents, now)

    async def agents(self) -> list[Agent]:
        rows = await self._read(lambda reader: reader.all("agents"))
        return [_agent(row[0]) for row in rows]

    async def published_at(self) -> dict[str, int]:
        return dict(await self._rows.all("published_at"))

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
        keep = Keep(keys_before, runs_before, events_before, threads_before, threads_by)
        total = Retention()
        for stage in retention_verbs.STAGES:
            place: retention_verbs.Place | None = retention_verbs.BEGINNING
            while place is not None:
                removed, place = await self._do(stage, now, keep, place)
                total = total + removed
                if removed.cut:
                    self._snapshots.clear()  # what was undone is not at hand any more
                await asyncio.sleep(SWEEP_PAUSE if place is not None else 0)
        return total

    async def unoffered(self, offered: Sequence[str]) -> dict[str, int]:
        rows = await self._rows.all("waiting_by_agent")
        return {agent_id: count for agent_id, count in rows if agent_id not in offered}

    async def standing(self, now: int) -> Standing:
        async def count(reader: Reads) -> Standing:
            active = {(agent_id, status): number for agent_id, status, number in await reader.all("active_by_agent")}
            ready: dict[str, tuple[int, int]] = {}
            for agent_id, number, oldest in await reader.all("ready_by_agent") + await reader.all("suspects_by_agent"):
                others, age = ready.get(agent_id, (0, 0))
                ready[agent_id] = (others + number, max(age, now - oldest))
            return Standing(active, ready, *await self._sizes())

        return await self._read(count)

    async def figures(self) -> dict[str, int]:
        rows = await self._read(lambda reader: reader.all("figures"))
        file_bytes, wal_bytes = await self._sizes()
        return {**dict(rows), "file_bytes": file_bytes, "wal_bytes": wal_bytes}


def _nobody(chunks: Sequence[Chunk]) -> None:
    """Nobody listens yet."""


def _nothing() -> None:
    """Nobody waits for work yet."""


def _ignore(verbs: int, seconds: float, failed: int) -> None:
    """Nobody counts yet."""
