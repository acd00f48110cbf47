"""The storage contract on one SQLite file."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw
import msgspec

from runyard import agents as agent_rules
from runyard.checkpoints import Checkpoint, PendingWrite, Snapshot, State, render, shown
from runyard.deliveries import Delivery, DeliveryFilter, Notice, Try
from runyard.errors import RunyardError, item_not_found, run_not_found, thread_not_found
from runyard.events import Chunk, Entry, Event
from runyard.items import Item, ItemSearch, Namespace, NamespaceQuery, namespace_matches
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
)
from runyard.storage.sqlite import (
    graph_verbs,
    injected_verbs,
    item_verbs,
    outbox_verbs,
    retention_verbs,
    run_verbs,
    states,
    thread_verbs,
    upkeep_verbs,
)
from runyard.storage.sqlite.connection import FileLock, Synchronous, close, connect
from runyard.storage.sqlite.faults import translated
from runyard.storage.sqlite.replay import Replay
from runyard.storage.sqlite.rows import (
    item_of,
    namespace_of,
    namespace_value,
    run_of,
    thread_of,
)
from runyard.storage.sqlite.writer import Reader, Transaction, Writer
from runyard.threads import Thread, ThreadFilter

T = TypeVar("T")

READER_THREADS = 2
RENEWAL_PAUSE = 0.5
"""Seconds between tries to open all connections anew."""
SNAPSHOTS_KEPT = 512
"""Snapshots of checkpoints in memory; they never change, so keeping them is safe."""
SNAPSHOT_BYTES = 64_000
LABEL_LENGTH = 200
"""Characters of a text in metadata that is found by index, as the triggers on runs and threads have it."""

SWEEP_PAUSE = 0.005
"""Seconds between two batches of a sweep: the writer is for those who wait."""

PROVEN_FOR = 5.0
"""Seconds for which a commit proves that the file can be written."""
ROOM_NEEDED = 4_000_000
"""Bytes of free disk below which the next large write fails although small ones still fit."""
PROOF_PATIENCE = 2.0
"""Seconds after which a commit that does not come is a trouble."""

_encode = msgspec.json.Encoder().encode
_agent = msgspec.json.Decoder(agent_rules.Agent).decode


class SqliteStorage:
    """One database file, of which this process is the only server.

    Verbs that write go to the writer thread; small rows are read inline on a read-only connection; everything of
    unknown size (state, history, search, replay) is read on reader threads.
    """

    def __init__(self, path: Path, *, synchronous: Synchronous = "full", vfs: str | None = None) -> None:
        self.path = path
        self._vfs = vfs
        self.on_commit: Callable[[Sequence[Chunk]], None] = _nobody
        self.on_ready: Callable[[], None] = _nothing
        self.on_outbox: Callable[[], None] = _nothing
        self.on_group: Callable[[int, float, int], None] = _ignore
        self._synchronous: Synchronous = synchronous
        self._closed = True
        self._lock = FileLock(path)
        self._readers = _reader_pool()
        self._replays = _replay_pool()
        self._replay = Replay()
        self._local = threading.local()
        self._reader_connections: list[apsw.Connection] = []
        self._snapshots: OrderedDict[tuple[str, str], Snapshot] = OrderedDict()

    async def open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        writer: Writer | None = None
        try:
            with translated():
                writer = Writer(
                    self.path,
                    self._synchronous,
                    self._committed,
                    self._became_ready,
                    self._became_due,
                    self._grouped,
                    self._suspected,
                    self._vfs,
                )
                writer.open()
                self._inline = Reader(connect(self.path, read_only=True, vfs=self._vfs), writer.sql)
        except BaseException:
            if writer is not None:
                await writer.close()
            self._lock.release()
            raise
        self._writer = writer
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        self._close_readers()
        await self._writer.close()
        self._lock.release()

    def _close_readers(self) -> None:
        self._readers.shutdown(wait=True)
        self._replays.shutdown(wait=True)
        for connection in self._reader_connections:
            close(connection)
        self._reader_connections.clear()
        self._local = threading.local()
        close(self._inline.connection)

    @property
    def problem(self) -> str | None:
        """Why the last commit failed; None while they succeed."""
        return self._writer.problem

    def _suspected(self) -> None:
        """A checkpoint could not be synced. What SQLite believes of the file is not to be trusted from here on: every
        connection is opened anew, as after a crash, as soon as the disk lets it."""
        if self._closed:
            return
        if self._writer.renew(self._close_readers):
            self._readers, self._replays = _reader_pool(), _replay_pool()
            self._replay = Replay()
            self._reopen_inline()
        else:
            asyncio.get_running_loop().call_later(RENEWAL_PAUSE, self._suspected)

    def _reopen_inline(self) -> None:
        if self._closed:
            return
        try:
            self._inline = Reader(connect(self.path, read_only=True, vfs=self._vfs), self._writer.sql)
        except apsw.Error:
            asyncio.get_running_loop().call_later(RENEWAL_PAUSE, self._reopen_inline)

    def _committed(self, chunks: Sequence[Chunk]) -> None:
        self.on_commit(chunks)

    def _became_ready(self) -> None:
        self.on_ready()

    def _became_due(self) -> None:
        self.on_outbox()

    def _grouped(self, verbs: int, seconds: float, failed: int) -> None:
        self.on_group(verbs, seconds, failed)

    # reading

    def _reader(self) -> Transaction:
        reader: Transaction | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = Reader(connect(self.path, read_only=True, vfs=self._vfs), self._writer.sql)
            self._reader_connections.append(reader.connection)
            self._local.reader = reader
        return reader

    async def _read(self, question: Callable[[Transaction], T], pool: ThreadPoolExecutor | None = None) -> T:
        def ask() -> T:
            with translated():
                return question(self._reader())

        return await asyncio.get_running_loop().run_in_executor(pool or self._readers, ask)

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
    ) -> Thread:
        return await self._writer.do(thread_verbs.create_thread, owner, thread_id, metadata, now, if_exists)

    def thread(self, owner: str, thread_id: str) -> Thread:
        row = self._inline.one("thread", (owner, thread_id))
        if row is None or row[9]:
            raise thread_not_found(thread_id)
        return thread_of(row)

    async def search_threads(self, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
        return await self._read(lambda reader: _search_threads(reader, owner, query))

    async def patch_thread(
        self,
        owner: str,
        thread_id: str,
        now: int,
        *,
        metadata: dict[str, Any] | None = None,
        checkpoint: Checkpoint | None = None,
        expected_head: str | None = None,
    ) -> Thread | None:
        return await self._writer.do(
            thread_verbs.patch_thread, owner, thread_id, now, metadata, checkpoint, expected_head
        )

    async def copy_thread(self, owner: str, thread_id: str, new_id: str, now: int) -> Thread:
        return await self._writer.do(thread_verbs.copy_thread, owner, thread_id, new_id, now)

    async def delete_thread(self, owner: str, thread_id: str, now: int) -> tuple[str, ...]:
        return await self._writer.do(thread_verbs.delete_thread, owner, thread_id, now)

    async def snapshot(self, owner: str, thread_id: str, checkpoint_id: str, *, undone: bool = True) -> Snapshot:
        kept = self._snapshots.get((owner, checkpoint_id))  # two owners may have threads of the same name
        if kept is not None and kept.checkpoint.thread_id == thread_id and undone:
            return kept

        found = await self._read(lambda reader: states.found_snapshot(reader, owner, thread_id, checkpoint_id, undone))
        return self._keep(owner, found)

    async def history(
        self, owner: str, thread_id: str, *, before: str | None, limit: int, namespace: str = ""
    ) -> list[Snapshot]:
        return await self._read(lambda reader: states.history(reader, owner, thread_id, before, limit, namespace))

    async def newest(self, owner: str, thread_id: str, namespace: str) -> Snapshot | None:
        return await self._read(lambda reader: states.newest(reader, owner, thread_id, namespace))

    # the states of graphs

    def pending_writes(self, owner: str, thread_id: str, namespace: str, on: str) -> list[PendingWrite]:
        return states.writes_on(self._inline, owner, thread_id, namespace, on)

    def has_inner(self, owner: str, thread_id: str) -> bool:
        return bool(self._inline.one("has_inner", {"owner": owner, "thread_id": thread_id})[0])

    async def inner_namespaces(self, owner: str, thread_id: str) -> list[str]:
        return await self._read(lambda reader: states.inner_namespaces(reader, owner, thread_id))

    async def put_checkpoint(self, owner: str, checkpoint: Checkpoint, now: int) -> None:
        await self._writer.do(graph_verbs.put_checkpoint, owner, checkpoint, now)

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
        return await self._writer.do(
            graph_verbs.revise_thread, owner, thread_id, checkpoints, writes, entries, expected_head, now
        )

    async def put_writes(self, owner: str, thread_id: str, writes: Sequence[PendingWrite], now: int) -> None:
        await self._writer.do(graph_verbs.put_writes, owner, thread_id, writes, now)

    async def forget_runs(self, owner: str, run_ids: Sequence[str], now: int) -> None:
        self._drop(owner, await self._writer.do(graph_verbs.forget_runs, owner, run_ids, now))

    async def prune(self, owner: str, thread_id: str, keep: Sequence[str], now: int) -> None:
        self._drop(owner, await self._writer.do(graph_verbs.prune, owner, thread_id, keep, now))

    # runs

    async def create_run(self, new: NewRun) -> Created:
        return await self._writer.do(run_verbs.create_run, new)

    def known_run(self, owner: str, idempotency: tuple[str, str, str]) -> Run | None:
        return run_verbs.known_run(self._inline, owner, idempotency)

    def run(self, owner: str, run_id: str) -> Run:
        row = self._inline.one("run", (run_id, owner))
        if row is None:
            raise run_not_found(run_id)
        return run_of(row)

    async def search_runs(self, owner: str, query: RunFilter) -> list[Run]:
        name, values = _run_search(owner, query)
        rows = await self._read(lambda reader: reader.all(name, values))
        return [run_of(row) for row in rows]

    async def pending(self, owner: str | None) -> int:
        name, values = ("pending", ()) if owner is None else ("pending_of_owner", (owner, owner))
        return await self._read(lambda reader: reader.one(name, values)[0])

    async def claim(self, agents: dict[str, int | None], limit: int, now: int) -> list[Claim]:
        return await self._writer.do(run_verbs.claim, agents, limit, now)

    async def acquit(self, run_id: str) -> None:
        await self._writer.do(run_verbs.acquit, run_id)

    async def claim_of(self, run_id: str) -> Claim | None:
        return await self._writer.do(run_verbs.claim_of, run_id)

    async def next_due(self) -> int | None:
        row = self._inline.one("next_due")
        return None if row is None else row[0]

    async def append(self, attempt: Attempt, batch: Batch, now: int) -> int:
        return await self._writer.do(run_verbs.append_batch, attempt, batch, now)

    async def finish(self, attempt: Attempt, batch: Batch, ending: Ending, now: int) -> Run:
        run = await self._writer.do(run_verbs.finish, attempt, batch, ending, now)
        last = batch.last_checkpoint
        if run.outcome != "rolled_back" and last is not None and ending.final is not None and not run.stateless:
            # Where the thread's next run begins; the thread of a stateless run has no other.
            self._keep(run.owner, Snapshot(last, ending.final))
        return run

    async def requeue(self, attempt: Attempt, batch: Batch, requeue: Requeue, now: int) -> Run:
        return await self._writer.do(run_verbs.requeue, attempt, batch, requeue, now)

    async def cancel(
        self, owner: str, run_id: str, action: CancelAction, now: int, expires_at: int | None
    ) -> Cancelled:
        return await self._writer.do(run_verbs.cancel, owner, run_id, action, now, expires_at)

    async def abandon(self, run_id: str, now: int, expires_at: int | None) -> Run:
        return await self._writer.do(run_verbs.abandon, run_id, now, expires_at)

    def active_run(self, owner: str, thread_id: str) -> Run | None:
        return injected_verbs.active_run(self._inline, owner, thread_id)

    async def inject(self, owner: str, run_id: str, messages: Sequence[bytes], now: int) -> None:
        await self._writer.do(injected_verbs.inject, owner, run_id, messages, now)

    async def injected(self, invocation: str, after: int) -> list[Injected]:
        return await self._read(lambda reader: injected_verbs.injected(reader, invocation, after))

    async def delete_run(self, owner: str, run_id: str, now: int) -> None:
        await self._writer.do(run_verbs.delete_run, owner, run_id, now)

    async def records(self, invocation: str) -> list[Record]:
        rows = await self._read(lambda reader: reader.all("records", (invocation,)))
        return [Record(*row) for row in rows]

    def trace(self, run_id: str) -> str | None:
        row = self._inline.one("trace", (run_id,))
        return None if row is None else row[0]

    async def recover(self, now: int, expires_at: int) -> Recovered:
        return await self._writer.do(run_verbs.recover, now, expires_at)

    # webhooks

    async def take_deliveries(
        self, now: int, *, until: int, limit: int, per_host: int, busy: Mapping[str, int]
    ) -> Taken:
        return await self._writer.do(outbox_verbs.take_deliveries, now, until, limit, per_host, busy)

    async def settle_delivery(self, delivery: Delivery, tried: Try, now: int, *, delivered: bool) -> bool:
        return await self._writer.do(outbox_verbs.settle_delivery, delivery, tried, now, delivered)

    async def retry_delivery(self, delivery: Delivery, tried: Try, due_at: int) -> bool:
        return await self._writer.do(outbox_verbs.retry_delivery, delivery, tried, due_at)

    async def release_delivery(self, delivery: Delivery, now: int) -> bool:
        return await self._writer.do(outbox_verbs.release_delivery, delivery, now)

    def delivery(self, owner: str, delivery_id: str) -> Delivery:
        return outbox_verbs.found_delivery(self._inline, owner, delivery_id)

    async def notice(self, owner: str, delivery_id: str) -> Notice:
        return await self._read(lambda reader: outbox_verbs.found_notice(reader, owner, delivery_id))

    async def search_deliveries(self, owner: str, query: DeliveryFilter) -> list[Delivery]:
        return await self._read(lambda reader: outbox_verbs.search_deliveries(reader, owner, query))

    async def resend_delivery(self, owner: str, delivery_id: str, now: int) -> Delivery:
        return await self._writer.do(outbox_verbs.resend_delivery, owner, delivery_id, now)

    async def purge_deliveries(self, before: int) -> int:
        total = 0
        while (removed := await self._writer.do(outbox_verbs.purge_deliveries, before)) > 0:
            total += removed
        return total

    # events

    async def events(
        self, owner: str, thread_id: str, *, after: int, run_id: str | None, limit: int, states: bool = True
    ) -> list[Event]:
        return await self._read(
            lambda reader: self._replay.read(reader, owner, thread_id, after, run_id, limit, states), self._replays
        )

    def last_seq(self, owner: str, thread_id: str) -> int:
        row = self._inline.one("numbers", (owner, thread_id))
        return 0 if row is None else row[0]

    def floor_seq(self, owner: str, thread_id: str) -> int:
        row = self._inline.one("numbers", (owner, thread_id))
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
        attempt: Attempt | None = None,
    ) -> None:
        await self._writer.do(item_verbs.put_item, owner, namespace, key, value, now, expires_at, attempt)

    async def get_item(self, owner: str, namespace: Namespace, key: str, now: int) -> Item:
        row = self._inline.one("get_item", (owner, namespace_value(namespace), key, now))
        if row is None:
            raise item_not_found(namespace, key)
        return item_of(row)

    async def delete_item(
        self, owner: str, namespace: Namespace, key: str, now: int, *, attempt: Attempt | None = None
    ) -> None:
        await self._writer.do(item_verbs.delete_item, owner, namespace, key, now, attempt)

    async def touch_items(
        self, owner: str, places: Sequence[tuple[Namespace, str]], now: int, *, attempt: Attempt | None = None
    ) -> None:
        await self._writer.do(item_verbs.touch_items, owner, places, now, attempt)

    async def search_items(self, owner: str, query: ItemSearch, now: int) -> list[Item]:
        low = namespace_value(query.prefix)
        values = {
            "owner": owner, "now": now, "limit": query.limit, "offset": query.offset,
            "filter": _encode(query.filter) if query.filter else None,
        }  # fmt: skip
        name = "search_items"
        if low:
            name, values = "search_items_below", {**values, "low": low, "high": low + b"\xff"}
        rows = await self._read(lambda reader: reader.all(name, values))
        return [item_of(row) for row in rows]

    async def namespaces(self, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
        return await self._read(lambda reader: _namespaces(reader, owner, query, now))

    # agents and upkeep

    async def publish_agents(self, agents: Sequence[agent_rules.Agent], now: int) -> None:
        await self._writer.do(upkeep_verbs.publish_agents, agents, now)

    async def agents(self) -> list[agent_rules.Agent]:
        rows = await self._read(lambda reader: reader.all("agents"))
        return [_agent(row[0]) for row in rows]

    async def purge(
        self,
        now: int,
        *,
        keys_before: int,
        runs_before: int | None = None,
        events_before: int | None = None,
        threads_before: int | None = None,
    ) -> Retention:
        keep = Keep(keys_before, runs_before, events_before, threads_before)
        total = Retention()
        for stage in retention_verbs.STAGES:
            place: retention_verbs.Place | None = retention_verbs.BEGINNING
            while place is not None:
                removed, place = await self._writer.do(stage, now, keep, place)
                total = total + removed
                await asyncio.sleep(SWEEP_PAUSE if place is not None else 0)
        return total

    async def unoffered(self, offered: Sequence[str]) -> dict[str, int]:
        rows = self._inline.all("waiting_by_agent")
        return {agent_id: count for agent_id, count in rows if agent_id not in offered}

    async def trouble(self) -> str | None:
        if not self._writer.alive:
            return "the database's writer has died; restart the server"
        left = shutil.disk_usage(self.path.parent).free
        if left < ROOM_NEEDED:
            return f"the disk is full: {left} bytes are left beside the database, and {ROOM_NEEDED} are needed"
        if self._writer.proven <= PROVEN_FOR:
            return None
        try:
            await asyncio.wait_for(self._writer.do(upkeep_verbs.prove), PROOF_PATIENCE)
        except TimeoutError:
            return f"the database has not committed within {PROOF_PATIENCE:g} s"
        except RunyardError as error:
            return f"the database cannot be written: {error.message}"
        return None

    async def standing(self, now: int) -> Standing:
        def count(reader: Transaction) -> Standing:
            active = {(agent_id, status): number for agent_id, status, number in reader.all("active_by_agent")}
            ready: dict[str, tuple[int, int]] = {}
            for agent_id, number, oldest in reader.all("ready_by_agent") + reader.all("suspects_by_agent"):
                others, age = ready.get(agent_id, (0, 0))
                ready[agent_id] = (others + number, max(age, now - oldest))
            return Standing(
                active, ready, self.path.stat().st_size, _size(self.path.with_name(self.path.name + "-wal"))
            )

        return await self._read(count)

    async def figures(self) -> dict[str, int]:
        def count(reader: Transaction) -> dict[str, int]:
            tables = ("threads", "runs", "checkpoints", "pending_writes", "inherited", "events", "items")
            found = {
                table: reader.connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables
            }
            for status, number in reader.connection.execute(
                "SELECT status, count(*) FROM runs WHERE deleted_at IS NULL GROUP BY status"
            ).fetchall():
                found[f"runs_{status}"] = number
            return found

        figures = await self._read(count)
        figures["file_bytes"] = self.path.stat().st_size
        figures["wal_bytes"] = _size(self.path.with_name(self.path.name + "-wal"))
        return figures


def _reader_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READER_THREADS, thread_name_prefix="runyard-reader")


def _replay_pool() -> ThreadPoolExecutor:
    """A thread of their own for reads of events: when thousands of readers come back at once, nobody else waits for
    their reads."""
    return ThreadPoolExecutor(1, thread_name_prefix="runyard-replay")


def _nobody(chunks: Sequence[Chunk]) -> None:
    """Nobody listens yet."""


def _nothing() -> None:
    """Nobody waits for work yet."""


def _ignore(verbs: int, seconds: float, failed: int) -> None:
    """Nobody counts yet."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


PAGE = 200
"""Threads per step of a search by values: such a search folds the state of each candidate."""


def _search_threads(reader: Transaction, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
    values: dict[str, Any] = {
        "owner": owner,
        "status": query.status,
        "metadata": None if query.metadata is None else _encode(query.metadata),
    }
    name, label = "search_threads", _label(query.metadata)
    if label is not None:
        name = "search_threads_labelled"
        values |= {"name": label[0], "value": label[1]}
    if query.values is None:
        rows = reader.all(name, {**values, "limit": query.limit, "offset": query.offset})
        return [(thread, _head(reader, thread)) for thread in map(thread_of, rows)]
    found: list[tuple[Thread, State]] = []
    skipped = offset = 0
    while len(found) < query.limit:
        rows = reader.all(name, {**values, "limit": PAGE, "offset": offset})
        for thread in map(thread_of, rows):
            state = _head(reader, thread)
            if agent_rules.contains(msgspec.json.decode(render(shown(state))), query.values):
                skipped += 1
                if skipped > query.offset:
                    found.append((thread, state))
        if len(rows) < PAGE:
            break
        offset += PAGE
    return found[: query.limit]


def _head(reader: Transaction, thread: Thread) -> State:
    return {} if thread.head is None else states.state_of(reader, thread.head)


def _run_search(owner: str, query: RunFilter) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {
        "owner": owner,
        "statuses": None if query.statuses is None else _encode(query.statuses).decode(),
        "metadata": None if query.metadata is None else _encode(query.metadata),
        "limit": query.limit,
        "offset": query.offset,
    }
    label = _label(query.metadata)
    if query.thread_id is None and label is not None:
        return "search_runs_labelled", {**values, "agent_id": query.agent_id, "name": label[0], "value": label[1]}
    if query.thread_id is not None:
        return "search_runs_of_thread", {**values, "thread_id": query.thread_id, "agent_id": query.agent_id}
    if query.agent_id is not None:
        return "search_runs_of_agent", {**values, "agent_id": query.agent_id}
    if query.statuses is not None and len(query.statuses) == 1 and query.statuses[0] != "success":
        del values["statuses"]
        return "search_runs_of_status", {**values, "status": query.statuses[0]}
    return "search_runs", values


def _label(metadata: dict[str, Any] | None) -> tuple[str, str] | None:
    """The first text of a filter, by which what it asks for can be found; longer ones have no label."""
    for name, value in (metadata or {}).items():
        if isinstance(value, str) and len(value) <= LABEL_LENGTH and "\0" not in name + value:
            return name, value
    return None


def _namespaces(reader: Transaction, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
    found: set[Namespace] = set()
    named = tuple(takewhile(lambda label: label != "*", query.prefix))
    above = namespace_value(named)
    beyond = above + b"\xff"  # no label begins with this byte: it is none of UTF-8
    alive = reader.one("alive_in_namespace", (owner, above, now)) is not None
    if alive and namespace_matches(named, query):
        found.add(named if query.max_depth is None else named[: query.max_depth])
    while (row := reader.one("next_namespace", (owner, above, beyond))) is not None:
        above = row[0]
        namespace = namespace_of(above)
        if not namespace_matches(namespace, query) or reader.one("alive_in_namespace", (owner, above, now)) is None:
            continue
        found.add(namespace if query.max_depth is None else namespace[: query.max_depth])
    return sorted(found)[query.offset : query.offset + query.limit]
