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

OUTCOME_PATIENCE = 30.0
"""Seconds for which the outcome of a commit is asked for whose answer was lost."""


class Writer:
    """Runs verbs (coroutines of a `Transaction` and plain data), one after the other."""

    def __init__(
        self,
        url: str,
        name: str,
        statements: dict[str, Statement],
        deliver: Callable[[Sequence[Job], float], None],
        worker_id: str,
    ) -> None:
        """`worker_id`: whose runs are what is claimed here."""
        self._url = url
        self._worker_id = worker_id
        self._name = name
        self._statements = statements
        self._deliver = deliver
        self._queue: deque[Job] = deque()
        self._wake = asyncio.Event()
        self._closing = False
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
        self._wake.set()
        if self._task is not None:
            await self._task
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
            if self._connection is None or self._connection.is_closed():
                await self._drop()
                await self._connect()
        except (*FAULTS, Unavailable, StorageError) as error:
            self._fail(group, error)
            return
        if await self._together(group):
            return
        self._begun.clear()
        await self._one_by_one(group)

    async def _together(self, group: list[Job]) -> bool:
        """Whether the group is done with: committed whole, or failed for a reason that is nobody's verb."""
        work = Work(self._connection, self._statements)
        try:
            for job in group:
                changed, added = work.changed, work.added
                await self._attempt(job, Transaction(work, self._begun))
                if job.error is not None and (work.changed != changed or work.added != added):
                    raise Poisoned
            if work.begins_alone:
                await work.write()  # one statement is a transaction of its own
            elif work.open or work.waiting:
                await work.begin()
                await work.write()
                await self._end(work)
        except Poisoned:
            return not await self._rolled_back(group, work)
        except FAULTS as error:
            if isinstance(error, UNREACHABLE):
                self._begun.clear()
                self._fail(group, error)
                return True
            return not await self._rolled_back(group, work)
        self._committed()
        return True

    async def _one_by_one(self, group: list[Job]) -> None:
        """A verb failed after it wrote, or a row was refused: each verb is done again under a savepoint, so that one of
        them cannot take the others with it. Nothing of the first time is left."""
        work = Work(self._connection, self._statements)
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
            await self._end(work)
        except FAULTS as error:
            self._fail(group, error)
            if not isinstance(error, UNREACHABLE):
                await self._rolled_back(group, work)
            return
        self._committed()

    async def _end(self, work: Work) -> None:
        """Commits. Where the answer is lost, the database is asked what became of the transaction."""
        try:
            await work.connection.execute("COMMIT")
        except UNREACHABLE as error:
            if not await self._has_committed(work.number):
                raise error

    async def _has_committed(self, number: str | None) -> bool:
        deadline = time.monotonic() + OUTCOME_PATIENCE
        while number is not None and time.monotonic() < deadline:
            try:
                await self._drop()
                await self._connect()
                outcome = await self._connection.fetchval("SELECT pg_xact_status($1::text::xid8)", number)
            except (*FAULTS, Unavailable, StorageError):
                await asyncio.sleep(0.1)
                continue
            if outcome != "in progress":
                return outcome == "committed"
            await asyncio.sleep(0.05)
        return False

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

    def _fail(self, jobs: Sequence[Job], error: BaseException) -> None:
        told = translate(error)
        self.problem = told.message
        for job in jobs:
            job.fail(told)

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
