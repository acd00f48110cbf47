"""The one writer of this process: a task that commits in groups, on a connection of its own.

Whatever waits when a commit has ended goes into the next one: a group grows by itself with the load, and no timer
delays anybody. After the commit the appended events are told, then all waiters are resolved.

Writers of several servers take turns: each group waits for its own, so that all verbs of all servers are done one after
the other, as those of one writer are.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from runyard.errors import StorageError, Unavailable
from runyard.storage.postgres.attention import Attention, end_session, soon
from runyard.storage.postgres.connection import STOPPED_TIMEOUT_MS, connect, migrate
from runyard.storage.postgres.faults import FAULTS, UNREACHABLE, translate, translated
from runyard.storage.postgres.statements import Statement
from runyard.storage.postgres.transaction import Transaction, Work
from runyard.storage.verbs.jobs import GROUP_LIMIT, Job, writer_died
from runyard.storage.verbs.transaction import Begun, Poisoned
from runyard.storage.verbs.transaction import Transaction as VerbTransaction
from runyard.telemetry import say

P = ParamSpec("P")
T = TypeVar("T")

FAREWELL = 10.0
"""Seconds for which a writer that closes asks for the outcome of a commit whose answer was lost."""
LOOK_AGAIN = 0.1
"""Seconds between two such questions."""
MARKS_KEPT = 500
"""Marks after which a writer removes its old ones: the last alone is ever asked for."""

_FORGET = "DELETE FROM marks WHERE writer = $1 AND number BETWEEN $2 AND $3"


class Writer:
    """Runs verbs (coroutines of a `Transaction` and plain data), one after the other."""

    def __init__(
        self,
        url: str,
        name: str,
        statements: dict[str, Statement],
        deliver: Callable[[Sequence[Job], float], None],
        worker_id: str,
        attention: Attention,
    ) -> None:
        """`worker_id`: whose runs are what is claimed here."""
        self._url = url
        self._worker_id = worker_id
        self._name = name
        self._statements = statements
        self._deliver = deliver
        self._attention = attention
        self._mark = 0
        """The number of the last transaction."""
        self._forgotten = 0
        self._queue: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._closed_at = float("inf")
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None
        self._begun = Begun()
        self._committed_at = float("-inf")
        self.problem: str | None = None
        """Why the last commit failed; None since one succeeded."""

    async def open(self) -> None:
        """Connects, migrates the schema and starts.

        Raises:
            Unavailable: the database cannot be reached.
            StorageError: it is too old, or was written by a newer Runyard.
        """
        await self._connect()
        try:
            with translated():
                await migrate(self._connection)
        except BaseException:
            await self._drop()
            raise
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def close(self) -> None:
        """Commits what was accepted."""
        self._closing = True
        self._closed_at = time.monotonic()
        self._wake.set()
        if self._task is not None:
            await self._task
        try:
            await self._forget_marks()
        except FAULTS:
            pass  # others do, in time
        await self._drop()

    @property
    def alive(self) -> bool:
        """Whether what is queued will ever be committed."""
        return self._task is not None and not self._task.done()

    @property
    def proven(self) -> float:
        """Seconds since the last commit; infinite where one has failed since."""
        return float("inf") if self.problem is not None else time.monotonic() - self._committed_at

    def do(
        self, verb: Callable[Concatenate[VerbTransaction, P], Coroutine[Any, Any, T]], *arguments: P.args, **_: P.kwargs
    ) -> Awaitable[T]:
        """Queues a verb; the future resolves after its commit, with its result or error."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._closing:
            future.set_exception(Unavailable("the server is stopping"))
        elif not self.alive:
            future.set_exception(writer_died())
        else:
            self._queue.append(Job(verb, arguments, future))
            self._wake.set()
        return future

    async def _live(self) -> None:
        group: list[Job] = []
        try:
            while True:
                await self._wake.wait()
                while self._queue:
                    group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_LIMIT))]
                    began = time.perf_counter()
                    await self._commit(group)
                    self._deliver(group, time.perf_counter() - began)
                    group = []
                if self._closing:
                    return
                self._wake.clear()
        except BaseException as error:
            say("writer died", error=error)
            left = [*group, *self._queue]
            self._queue.clear()
            for job in left:
                job.fail(writer_died())
                job.resolve()

    async def _commit(self, group: list[Job]) -> None:
        try:
            await self._connected()
            if self._mark - self._forgotten >= MARKS_KEPT:
                await self._forget_marks()
        except (*FAULTS, Unavailable, StorageError) as error:
            self._fail(group, error)
            return
        answered = self._attention.begin(self._connection)
        try:
            if not await self._together(group):
                self._begun.clear()
                await self._one_by_one(group)
        finally:
            answered()

    def _work(self) -> Work:
        self._mark += 1
        return Work(self._connection, self._statements, (self._worker_id, self._mark))

    async def _forget_marks(self) -> None:
        """What became of the transactions until now is known."""
        if self._connection is not None and self._mark > self._forgotten:
            with soon(self._connection):
                await self._connection.execute(_FORGET, self._worker_id, self._forgotten, self._mark)
            self._forgotten = self._mark

    async def _together(self, group: list[Job]) -> bool:
        """Whether the group is done with: committed whole, or failed for a reason that is nobody's verb."""
        work = self._work()
        try:
            for job in group:
                changed, added = work.changed, work.added
                await self._attempt(job, Transaction(work, self._begun))
                if job.error is not None and (work.changed != changed or work.added != added):
                    raise Poisoned
            if work.begins_alone:
                await self._certainly(work, work.write_alone())
            elif work.open or work.waiting:
                await work.begin()
                await work.write()
                await self._certainly(work, work.commit())
        except Poisoned:
            return not await self._rolled_back(group, work)
        except FAULTS as error:
            if isinstance(error, UNREACHABLE):
                self._begun.clear()
                self._lose(work, group, error)
                return True
            return not await self._rolled_back(group, work)
        self._committed()
        return True

    async def _one_by_one(self, group: list[Job]) -> None:
        """A verb failed after it wrote, or a row was refused: each verb is done again under a savepoint, so that one of
        them cannot take the others with it. Nothing of the first time is left."""
        work = self._work()
        try:
            for job in group:
                await work.begin()
                await work.connection.execute("SAVEPOINT verb")
                try:
                    await self._attempt(job, Transaction(work, None))
                    if job.error is None:
                        await work.write()
                except Poisoned:
                    job.fail(StorageError("the database refused a row that had changed meanwhile", code="row_refused"))
                except FAULTS as error:
                    if isinstance(error, UNREACHABLE):
                        raise
                    job.fail(translate(error))
                if job.error is not None:
                    work = work.again()
                    await work.connection.execute("ROLLBACK TO verb")
            await self._certainly(work, work.commit())
        except FAULTS as error:
            if isinstance(error, UNREACHABLE):
                self._lose(work, group, error)
            else:
                self._fail(group, error)
                await self._rolled_back(group, work)
            return
        self._committed()

    async def _certainly(self, work: Work, commit: Awaitable[None]) -> None:
        """Does what commits. Where the answer is lost, the database is asked what became of it: who did it again would
        do it twice, and who told that it is done might lose it."""
        try:
            await commit
        except UNREACHABLE as error:
            if not await self._has_committed(work):
                raise error

    async def _has_committed(self, work: Work) -> bool:
        """Asked until it is known, however long the database is away; whoever comes meanwhile is refused."""
        session = work.connection.session
        work.connection.terminate()
        while True:
            try:
                connection = await self._connected()
                if await end_session(connection, session):
                    with soon(connection):
                        statement, values = work.evidence
                        return bool(await connection.fetch(statement, *values))
            except (*FAULTS, Unavailable, StorageError) as error:
                self._refuse_waiting(error)
            if time.monotonic() - self._closed_at > FAREWELL:
                return False
            await asyncio.sleep(LOOK_AGAIN)

    def _refuse_waiting(self, error: BaseException) -> None:
        waiting = [*self._queue]
        self._queue.clear()
        self._fail(waiting, error)
        self._deliver(waiting, 0.0)

    async def _attempt(self, job: Job, transaction: Transaction) -> None:
        job.error, job.chunks, job.ready, job.outbox = None, (), False, False
        try:
            job.result = await job.verb(transaction, *job.arguments)
            job.chunks, job.ready, job.outbox = transaction.chunks, transaction.ready, transaction.outbox
        except (Poisoned, *FAULTS):
            raise
        except Exception as error:
            job.error = error

    async def _rolled_back(self, group: list[Job], work: Work) -> bool:
        """Whether the transaction has been undone, so that its verbs can be done again."""
        try:
            if work.open:
                await work.connection.execute("ROLLBACK")
        except FAULTS as error:
            self._fail(group, error)
            return False
        return True

    def _committed(self) -> None:
        self.problem = None
        self._committed_at = time.monotonic()

    def _lose(self, work: Work, group: list[Job], error: BaseException) -> None:
        """Nothing was committed, and the connection is of no use any more, whether it is closed or not."""
        work.connection.terminate()
        self._fail(group, error)

    def _fail(self, jobs: Sequence[Job], error: BaseException) -> None:
        told = translate(error)
        self.problem = told.message
        for job in jobs:
            job.fail(told)

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            await self._drop()
            await self._connect()
        return self._connection

    async def _connect(self) -> None:
        self._connection = await connect(
            self._url,
            self._name,
            **{"runyard.worker": self._worker_id, "idle_in_transaction_session_timeout": str(STOPPED_TIMEOUT_MS)},
        )

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1)
            except (*FAULTS, TimeoutError):
                connection.terminate()
