"""The one writer of the file: a thread that commits in groups.

Whatever waits when a commit has ended goes into the next one: a group grows by itself with the load, and no timer
delays anybody. After the commit one call on the event loop tells the appended events, then resolves all waiters.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from runyard.errors import RunyardError, StorageError, Unavailable
from runyard.events import Chunk
from runyard.storage.migrate import named_queries
from runyard.storage.sqlite.connection import BUSY_MS, PACKAGE, Synchronous, connect, migrate, one_step_verbs
from runyard.telemetry import say

P = ParamSpec("P")
T = TypeVar("T")

GROUP_LIMIT = 1000
"""Verbs per commit: bounds how long the first of a group waits for the last."""

WAL_PAGES_PASSIVE = 1000
WAL_PAGES_RESTART = 16_000
"""Pages of 4 KiB in the WAL: above the first a checkpoint runs beside us; above the second (64 MB, reached only when
readers or load never let one finish) the writer itself does one, and again after each further step of the first size
while a reader of old pages (a backup) keeps the WAL from beginning anew. It never waits for a reader."""


class Transaction:
    """What a verb sees: its connection, the statements, and the events that it appends."""

    __slots__ = ("chunks", "connection", "outbox", "ready", "sql")

    def __init__(self, connection: apsw.Connection, sql: dict[str, str]) -> None:
        self.connection: Any = connection
        self.sql = sql
        self.chunks: list[Chunk] = []
        self.ready = False
        """Whether a run became ready to be claimed."""
        self.outbox = False
        """Whether a webhook became due."""

    def all(self, query: str, values: Any = ()) -> list[Any]:
        """All rows of a named statement; a statement that writes is run to its end."""
        return self.connection.execute(self.sql[query], values).fetchall()

    def one(self, query: str, values: Any = ()) -> Any:
        """The first row of a named statement, or None."""
        rows = self.connection.execute(self.sql[query], values).fetchall()
        return rows[0] if rows else None

    def run(self, query: str, values: Any = ()) -> None:
        """Executes a named statement that returns nothing."""
        self.connection.execute(self.sql[query], values)


class _Job:
    __slots__ = ("arguments", "chunks", "error", "future", "outbox", "ready", "result", "verb")

    def __init__(self, verb: Callable[..., Any], arguments: tuple[Any, ...], future: asyncio.Future[Any]) -> None:
        self.verb = verb
        self.arguments = arguments
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None
        self.chunks: Sequence[Chunk] = ()
        self.ready = False
        self.outbox = False


class Writer:
    """Runs verbs (functions of a `Transaction` and plain data) on the writer thread."""

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        on_commit: Callable[[Sequence[Chunk]], None],
        on_ready: Callable[[], None],
        on_outbox: Callable[[], None],
        on_group: Callable[[int, float, int], None],
    ) -> None:
        self._path = path
        self._synchronous: Synchronous = synchronous
        self._on_commit = on_commit
        self._on_ready = on_ready
        self._on_outbox = on_outbox
        self._on_group = on_group
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self.sql = named_queries(PACKAGE)
        self._wal_pages = 0
        self._restart_at = WAL_PAGES_RESTART
        self._in_hand: list[_Job] = []
        self._alive = True
        self._failing = False
        self._committed_at = 0.0
        self._checkpoint_wanted = threading.Event()
        self._closing = False
        self._connection: Any = connect(path, synchronous=synchronous)
        self._connection.set_wal_hook(self._wal_hook)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._live, name="runyard-writer", daemon=True),
            threading.Thread(target=self._checkpoint, name="runyard-checkpointer", daemon=True),
        ]

    def open(self) -> None:
        """Migrates the schema and starts; must be called on the event loop that will use it."""
        migrate(self._connection)
        self._connection.execute(one_step_verbs()).fetchall()
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """Commits what was accepted, folds the WAL into the file and ends the threads."""
        if self._loop is None:
            self._connection.close()
            return
        self._closing = True
        self._queue.put(None)
        self._checkpoint_wanted.set()
        for thread in self._threads:
            await self._loop.run_in_executor(None, thread.join)

    @property
    def wal_pages(self) -> int:
        """The size of the WAL after the last commit, in pages of 4 KiB."""
        return self._wal_pages

    @property
    def alive(self) -> bool:
        """Whether what is queued will ever be committed."""
        return self._alive

    @property
    def proven(self) -> float:
        """Seconds since a commit has written to the file; infinite where one has failed since."""
        return float("inf") if self._failing else time.monotonic() - self._committed_at

    def do(
        self, verb: Callable[Concatenate[Transaction, P], T], *arguments: P.args, **_: P.kwargs
    ) -> asyncio.Future[T]:
        """Queues a verb; the future resolves after its commit, with its result or error."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(Unavailable("the server is stopping"))
        elif not self._alive:
            future.set_exception(_died())
        else:
            self._queue.put(_Job(verb, arguments, future))
        return future

    def _live(self) -> None:
        try:
            self._write()
        except BaseException as error:
            say("writer died", error=error)
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        """Nobody waits for a writer that has died. In the loop, as `do` is: nothing is queued behind this."""
        self._alive = False
        group, self._in_hand = self._in_hand, []
        while not self._queue.empty():
            job = self._queue.get()
            group += [] if job is None else [job]
        for job in group:
            job.error, job.chunks, job.ready = _died(), (), False
        if group:
            self._deliver(group, 0.0)

    def _write(self) -> None:
        stopping = False
        while not stopping:
            group: list[_Job] = []
            self._in_hand = group
            job = self._queue.get()
            try:
                while job is not None:
                    group.append(job)
                    if len(group) == GROUP_LIMIT:
                        break
                    job = self._queue.get_nowait()
                stopping = job is None
            except Empty:
                pass
            if group:
                began = time.perf_counter()
                self._commit_group(group)
                took = time.perf_counter() - began
                assert self._loop is not None
                self._in_hand = []
                self._loop.call_soon_threadsafe(self._deliver, group, took)
            if self._wal_pages > self._restart_at:
                self._restart_wal()
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error:
            pass  # a reader still looks; the next server folds the WAL
        self._connection.close()

    def _commit_group(self, group: list[_Job]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                changes = connection.total_changes()
                self._attempt(job)
                if job.error is not None and connection.total_changes() != changes:
                    raise _Poisoned
            connection.execute("COMMIT")
        except (_Poisoned, apsw.Error) as error:
            self._rollback()
            self._commit_one_by_one(group, error)

    def _commit_one_by_one(self, group: list[_Job], cause: Exception) -> None:
        """A verb failed after it wrote, or the commit did: each verb gets a transaction of its own, so that one of
        them cannot take the others with it."""
        for job in group:
            if len(group) == 1 and isinstance(cause, apsw.Error):
                job.error = _translate(cause)
                job.chunks = ()
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._attempt(job)
                self._connection.execute("COMMIT" if job.error is None else "ROLLBACK")
            except apsw.Error as error:
                self._rollback()
                job.error = _translate(error)
                job.chunks = ()

    def _attempt(self, job: _Job) -> None:
        job.error, job.chunks, job.ready, job.outbox = None, (), False, False
        transaction = Transaction(self._connection, self.sql)
        try:
            job.result = job.verb(transaction, *job.arguments)
            job.chunks, job.ready, job.outbox = transaction.chunks, transaction.ready, transaction.outbox
        except apsw.Error as error:
            job.error = _translate(error)
        except RunyardError as error:
            job.error = error
        except Exception as error:
            job.error = error

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error:
                pass  # SQLite rolled back by itself, as it does when the disk is full

    def _deliver(self, group: list[_Job], took: float) -> None:
        failed = sum(isinstance(job.error, (StorageError, Unavailable)) for job in group if job.error is not None)
        self._failing = self._failing or failed > 0
        self._on_group(len(group), took, failed)
        chunks = [chunk for job in group for chunk in job.chunks]
        if chunks:
            self._on_commit(chunks)
        if any(job.ready for job in group):
            self._on_ready()
        if any(job.outbox for job in group):
            self._on_outbox()
        for job in group:
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    def _wal_hook(self, connection: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        self._failing = False
        self._committed_at = time.monotonic()
        if pages > WAL_PAGES_PASSIVE:
            self._checkpoint_wanted.set()
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        connection = connect(self._path, synchronous=self._synchronous)
        while True:
            self._checkpoint_wanted.wait()
            self._checkpoint_wanted.clear()
            if self._closing:
                break
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.Error:
                continue  # busy or failing: the writer's own checkpoint is the limit
        connection.close()

    def _restart_wal(self) -> None:
        self._connection.set_busy_timeout(0)
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
            self._wal_pages = 0
            self._restart_at = WAL_PAGES_RESTART
        except apsw.Error:
            self._restart_at = self._wal_pages + WAL_PAGES_PASSIVE  # a long read is in the way
        finally:
            self._connection.set_busy_timeout(BUSY_MS)


def _died() -> Unavailable:
    return Unavailable("the database's writer has died; restart the server")


class _Poisoned(Exception):
    """A verb of the group failed after it had written."""


def _translate(error: apsw.Error) -> RunyardError:
    if isinstance(error, apsw.ConstraintError):
        return StorageError(f"the database refused a row: {error}")
    if isinstance(error, apsw.FullError):
        return Unavailable("the disk is full: nothing was written", code="disk_full")
    if isinstance(error, apsw.ReadOnlyError):
        return Unavailable("the database is read-only: nothing was written", code="database_read_only")
    return StorageError(f"the database failed: {type(error).__name__}: {error}")
