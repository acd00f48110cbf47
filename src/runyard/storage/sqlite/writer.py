"""The one writer of the file: a thread that commits in groups.

Whatever waits when a commit has ended goes into the next one: a group grows by itself with the load, and no timer
delays anybody. After the commit one call on the event loop tells the appended events, then resolves all waiters.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from runyard.errors import Unavailable
from runyard.events import Chunk
from runyard.storage.migrate import named_queries
from runyard.storage.sqlite.connection import (
    PACKAGE,
    Synchronous,
    close,
    connect,
    migrate,
    one_step_verbs,
    schema_version,
)
from runyard.storage.sqlite.faults import translate
from runyard.storage.sqlite.put_off import PutOff
from runyard.storage.sqlite.wal import Folding
from runyard.storage.verbs.jobs import GROUP_LIMIT, Job, writer_died
from runyard.storage.verbs.transaction import Begun, Poisoned, at_once
from runyard.telemetry import say

P = ParamSpec("P")
T = TypeVar("T")


class Transaction:
    """What a verb sees: its connection, the statements, and the events that it appends."""

    __slots__ = ("_connection", "_put_off", "begun", "chunks", "outbox", "ready", "sql")

    def __init__(
        self,
        connection: apsw.Connection,
        sql: dict[str, str],
        put_off: PutOff | None = None,
        begun: Begun | None = None,
    ) -> None:
        """Without `put_off` every row is written at once, and nothing is taken for granted (`begun`)."""
        self._connection: Any = connection
        self._put_off = put_off
        self.sql = sql
        self.begun = begun
        self.chunks: list[Chunk] = []
        self.ready = False
        """Whether a run became ready to be claimed."""
        self.outbox = False
        """Whether a webhook became due."""

    @property
    def connection(self) -> Any:
        if self._put_off:
            self._put_off.write()
        return self._connection

    async def all(self, query: str, values: Any = ()) -> list[Any]:
        """All rows of a named statement; a statement that writes is run to its end."""
        return self.connection.execute(self.sql[query], values).fetchall()

    async def one(self, query: str, values: Any = ()) -> Any:
        """The first row of a named statement, or None."""
        rows = self.connection.execute(self.sql[query], values).fetchall()
        return rows[0] if rows else None

    async def run(self, query: str, values: Any = ()) -> None:
        """Executes a named statement that returns nothing."""
        self.connection.execute(self.sql[query], values)

    async def remove(self, query: str, values: dict[str, Any]) -> tuple[int, int]:
        """Executes a named statement: how many rows it removed or changed, and how many with what triggers did."""
        connection = self.connection
        before = connection.total_changes()
        connection.execute(self.sql[query], values)
        return connection.changes(), connection.total_changes() - before

    async def log(self, owner: str, thread_id: str, after: int) -> AsyncGenerator[Any]:
        """The rows of a thread's log behind a number, read as they are asked for; to be closed."""
        cursor = self.connection.execute(self.sql["log"], (owner, thread_id, after))
        try:
            for row in cursor:
                yield row
        finally:
            cursor.close()

    def later(self, query: str, values: tuple[Any, ...], about: str) -> None:
        """Has a named `INSERT ... VALUES (...)` done before anything else is asked of the database, but for looks at
        what it is not about, and at the latest with the commit. If it fails, the verb is done again with every row at
        once. `about` is a thread's id, or an idempotency key with owner and route."""
        if self._put_off is None:
            self.connection.execute(self.sql[query], values)
        else:
            self._put_off.add(query, values, about)

    async def look(self, query: str, values: tuple[Any, ...], about: str) -> Any:
        """The first row, or None, of a named statement about nothing but one thread and its runs, or one key."""
        if self._put_off and self._put_off.concerns(about):
            self._put_off.write()
        rows = self._connection.execute(self.sql[query], values).fetchall()
        return rows[0] if rows else None


class Reader(Transaction):
    """Reads outside the writer.

    Raises:
        StorageError, Unavailable: the database cannot be read.
    """

    __slots__ = ()

    async def all(self, query: str, values: Any = ()) -> list[Any]:
        try:
            return await super().all(query, values)
        except apsw.Error as error:
            raise translate(error) from error

    async def one(self, query: str, values: Any = ()) -> Any:
        try:
            return await super().one(query, values)
        except apsw.Error as error:
            raise translate(error) from error

    async def look(self, query: str, values: tuple[Any, ...], about: str) -> Any:
        return await self.one(query, values)


class _Renewal:
    """A wish to open all connections anew."""

    def __init__(self, close_others: Callable[[], None]) -> None:
        self.close_others = close_others
        self.tried = threading.Event()
        self.done = False


class Writer:
    """Runs verbs (coroutines of a `Transaction` and plain data, which do not pause) on the writer thread."""

    def __init__(
        self,
        path: Path,
        synchronous: Synchronous,
        deliver: Callable[[Sequence[Job], float], None],
        on_suspect: Callable[[], None],
        vfs: str | None = None,
    ) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._deliver = deliver
        self._on_suspect = on_suspect
        self._in_hand: list[Job] = []
        self._alive = True
        self._queue: SimpleQueue[Job | _Renewal | None] = SimpleQueue()
        self.sql = named_queries(PACKAGE)
        self._closing = False
        self.problem: str | None = None
        """Why the last commit that had something to write failed; None since one succeeded."""
        self._begun = Begun()
        self._folding = Folding(path, synchronous, vfs, self._suspect)
        self._open: Callable[[], Any] = lambda: connect(path, synchronous=synchronous, vfs=vfs)
        self._connection: Any = self._open()
        self._closed = False
        self._thread = threading.Thread(target=self._live, name="runyard-writer", daemon=True)

    def open(self) -> None:
        """Migrates the schema and starts; must be called on the event loop that will use it."""
        migrate(self._connection)
        self._prepare()
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._folding.start()

    def _prepare(self) -> None:
        self._connection.execute(one_step_verbs()).fetchall()
        self._folding.watch(self._connection)

    async def close(self) -> None:
        """Commits what was accepted, folds the WAL into the file and ends the threads."""
        if self._loop is None:
            close(self._connection)
            return
        self._closing = True
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    @property
    def wal_pages(self) -> int:
        """The size of the WAL after the last commit, in pages of 4 KiB."""
        return self._folding.pages

    @property
    def alive(self) -> bool:
        """Whether what is queued will ever be committed."""
        return self._alive

    @property
    def proven(self) -> float:
        """Seconds since a commit has written to the file; infinite where one has failed since."""
        return float("inf") if self.problem is not None else time.monotonic() - self._folding.committed_at

    def do(
        self, verb: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]], *arguments: P.args, **_: P.kwargs
    ) -> asyncio.Future[T]:
        """Queues a verb; the future resolves after its commit, with its result or error."""
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        if self._closing:
            future.set_exception(Unavailable("the server is stopping"))
        elif not self._alive:
            future.set_exception(writer_died())
        else:
            self._queue.put(Job(verb, arguments, future))
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
            if isinstance(job, Job):
                group.append(job)
            elif job is not None:
                job.tried.set()
        for job in group:
            job.fail(writer_died())
        if group:
            self._deliver(group, 0.0)

    def renew(self, close_others: Callable[[], None]) -> bool:
        """Closes every connection and opens the writer's anew; `close_others` closes those that are not the writer's.
        To be called on the event loop, which waits meanwhile. False: not now, the disk still fails."""
        renewal = _Renewal(close_others)
        if self._closing:
            return True
        self._queue.put(renewal)
        while not renewal.tried.wait(0.1):
            if not self._thread.is_alive():
                return False  # it died before it came to this; what waits for it is told in the loop
        return renewal.done

    def _suspect(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._on_suspect)

    def _write(self) -> None:
        stopping = False
        while not stopping:
            group: list[Job] = []
            self._in_hand = group
            renewal: _Renewal | None = None
            job = self._queue.get()
            try:
                while isinstance(job, Job):
                    group.append(job)
                    if len(group) == GROUP_LIMIT:
                        break
                    job = self._queue.get_nowait()
                stopping = job is None
                renewal = job if isinstance(job, _Renewal) else None
            except Empty:
                pass
            if group:
                began = time.perf_counter()
                self._commit_group(group)
                took = time.perf_counter() - began
                assert self._loop is not None
                self._in_hand = []
                self._loop.call_soon_threadsafe(self._deliver, group, took)
            self._folding.restart_if_large(self._connection)
            if renewal is not None:
                renewal.done = self._renew(renewal.close_others)
                renewal.tried.set()
        self._folding.end()
        self._folding.finish(self._connection)

    def _renew(self, close_others: Callable[[], None]) -> bool:
        if not self._closed:
            # A commit that was refused may stand at the end of the WAL, whole: to read the WAL anew would bring it
            # back. One that succeeds after it writes over it.
            if (self.problem is not None and not self._can_commit()) or not self._folding.let_go():
                return False
            close_others()
            close(self._connection)
            self._closed = True
        try:
            self._connection = self._open()
            self._prepare()
        except apsw.Error as error:
            self.problem = translate(error).message
            return False
        self._closed = False
        self._folding.renewed()
        return True

    def _can_commit(self) -> bool:
        try:
            version = schema_version(self._connection)
            self._connection.execute(f"BEGIN IMMEDIATE; PRAGMA user_version={version}; COMMIT").fetchall()
        except apsw.Error:
            self._rollback()
            return False
        self.problem = None
        return True

    def _commit_group(self, group: list[Job]) -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            # It is nobody's verb: each on its own would fail too, after as long a wait.
            self._fail(group, error)
            return
        before = connection.total_changes()
        put_off = PutOff(connection, self.sql)
        try:
            for job in group:
                changes, added = connection.total_changes() - put_off.changed, put_off.added
                self._attempt(job, put_off)
                # After an I/O error or on a full disk SQLite may have rolled back everything by itself: what the next
                # verb did would be a transaction statement by statement.
                if job.error is not None and (
                    connection.total_changes() - put_off.changed != changes
                    or put_off.added != added
                    or not connection.in_transaction
                ):
                    raise Poisoned
            put_off.write()
            connection.execute("COMMIT")
            self._committed(before)
        except (Poisoned, apsw.Error) as error:
            self._rollback()
            if len(group) > 1 or put_off.added:
                self._commit_one_by_one(group)
            elif isinstance(error, apsw.Error):
                self._fail(group, error)

    def _commit_one_by_one(self, group: list[Job]) -> None:
        """A verb failed after it wrote, or the commit did: each verb gets a transaction of its own, so that one of
        them cannot take the others with it, and puts nothing off, so that it learns what failed.

        Doing a verb again is sound: of a commit that failed nothing is visible, and the next one writes the same place
        of the WAL anew, so that not even a power cut brings back both.

        What is remembered of attempts is forgotten: here nobody keeps it up to date.
        """
        self._begun.clear()
        for place, job in enumerate(group):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except apsw.Error as error:
                self._fail(group[place:], error)
                return
            before = self._connection.total_changes()
            try:
                self._attempt(job)
                if job.error is None:
                    self._connection.execute("COMMIT")
                    self._committed(before)
            except apsw.Error as error:
                self._fail([job], error)
            self._rollback()

    def _committed(self, before: int) -> None:
        if self.problem is not None and self._connection.total_changes() != before:
            self.problem = None

    def _fail(self, jobs: Sequence[Job], error: apsw.Error) -> None:
        told = translate(error)
        self.problem = told.message
        for job in jobs:
            job.fail(told)
        if isinstance(error, apsw.FullError):
            # What is folded into the file makes room for the next commits inside the WAL.
            self._folding.want()

    def _attempt(self, job: Job, put_off: PutOff | None = None) -> None:
        job.error, job.chunks, job.ready, job.outbox = None, (), False, False
        transaction = Transaction(self._connection, self.sql, put_off, None if put_off is None else self._begun)
        try:
            job.result = at_once(job.verb(transaction, *job.arguments))
            job.chunks, job.ready, job.outbox = transaction.chunks, transaction.ready, transaction.outbox
        except Poisoned:
            raise
        except apsw.Error as error:
            told = job.error = translate(error)
            if told.reason != "row_refused":
                self.problem = told.message
        except Exception as error:
            job.error = error

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error:
                pass  # SQLite rolled back by itself, as it does when the disk is full
