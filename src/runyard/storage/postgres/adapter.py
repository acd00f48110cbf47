"""The storage contract on a PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from runyard.checkpoints import Snapshot
from runyard.clock import Clock
from runyard.errors import RunyardError, run_not_found, thread_not_found
from runyard.items import Item, ItemSearch, passes
from runyard.runs import Run
from runyard.storage.contract import Recovered
from runyard.storage.place import read
from runyard.storage.postgres import nearness
from runyard.storage.postgres.advice import named
from runyard.storage.postgres.attention import Attention
from runyard.storage.postgres.connection import PACKAGE, STATEMENT_TIMEOUT, close_pool, open_pool
from runyard.storage.postgres.looks import Looks
from runyard.storage.postgres.statements import statements
from runyard.storage.postgres.transaction import Reader
from runyard.storage.postgres.workers import Workers
from runyard.storage.postgres.writer import Writer
from runyard.storage.verbs.storage import VerbStorage
from runyard.storage.verbs.transaction import Reads, Transaction
from runyard.threads import Thread
from runyard.vectors import Vector, unpacked

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 9
"""That a server has: one writes, one listens (`hints.postgres`), one keeps the lease, the others read."""
APART = 3
"""Of them, those that do not read."""
PROVEN_FOR = 5.0
"""Seconds for which a commit proves that the database can be written."""
PROOF_PATIENCE = 2.0
"""Seconds after which a commit that does not come is a trouble."""
ITEM_PAGE = 200
"""Items that are looked at per step of a search with a filter."""


class PostgresStorage(VerbStorage):
    """One database (or schema of it), which any number of servers share.

    Verbs that write go to the writer's connection, and take turns with those of other servers; everything is read on a
    few others, outside any transaction.
    """

    shared = True

    def __init__(
        self,
        url: str,
        *,
        name: str = "runyard",
        connections: int = CONNECTIONS,
        statement_timeout: float = STATEMENT_TIMEOUT,
    ) -> None:
        """`name` is how connections are named in the database's own lists, `connections` their number with the one of
        the hints, and `statement_timeout` seconds after which the database gives a statement up.

        Raises:
            InvalidInput: the URL is wrong.
        """
        super().__init__()
        self._place = read(url)
        self._readers = connections - APART
        self._limits = {"statement_timeout": f"{statement_timeout * 1000:.0f}"}
        self.worker_id = Clock().new_id()
        """By which this process is known where it executes something."""
        self._url = url
        self._name = name
        self._statements = statements(PACKAGE)
        self._attention = Attention(url, name)

    async def open(self) -> None:
        writer = Writer(
            self._url,
            f"{self._name}, writer",
            self._statements,
            self._deliver,
            self.worker_id,
            self._attention,
            self._limits,
        )
        workers = Workers(self._url, f"{self._name}, lease", self._statements, self.worker_id, self._attention)
        with named(self._place):
            await writer.open()
            try:
                await workers.open()
                self._pool = await open_pool(self._url, f"{self._name}, reader", self._readers, **self._limits)
            except BaseException:
                await workers.close()
                await writer.close()
                raise
        self._workers = workers
        self._writer = writer
        self._reader = Reader(self._pool, self._statements, self._attention)
        self._looks = Looks(self._reader)
        await nearness.use_pgvector(self._reader, self._statements)

    async def close(self) -> None:
        await self._writer.close()
        await self._workers.close()
        await close_pool(self._pool)

    @property
    def problem(self) -> str | None:
        """Why the last commit failed; None while they succeed."""
        return self._writer.problem

    def _do(
        self, verb: Callable[Concatenate[Transaction, P], Coroutine[Any, Any, T]], *arguments: P.args, **_: P.kwargs
    ) -> Awaitable[T]:
        return self._writer.do(verb, *arguments, **_)

    @property
    def _rows(self) -> Reads:
        return self._reader

    async def _read(self, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        return await question(self._reader)

    async def _read_log(self, question: Callable[[Reads], Coroutine[Any, Any, T]]) -> T:
        return await question(self._reader)

    async def search_items(self, owner: str, query: ItemSearch, now: int) -> list[Item]:
        if not query.filter:
            return await super().search_items(owner, query, now)
        if query.meaning is not None:
            return await nearness.nearest(self._reader, query, self._search_values(owner, query, now))
        found: list[Item] = []
        page = msgspec.structs.replace(query, filter={}, limit=ITEM_PAGE, offset=0)
        while len(found) < query.offset + query.limit:
            items = await super().search_items(owner, page, now)
            found += [item for item in items if passes(msgspec.json.decode(item.value), query.filter)]
            if len(items) < ITEM_PAGE:
                break
            page = msgspec.structs.replace(page, offset=page.offset + ITEM_PAGE)
        return found[query.offset : query.offset + query.limit]

    def check_meanings(self) -> None:
        """Nothing has to be installed, although pgvector makes it faster."""

    def _packed(self, vectors: Sequence[Vector]) -> list[float]:
        return unpacked(b"".join(vectors))

    # what many ask for at the same time

    async def run(self, owner: str, run_id: str) -> Run:
        run = await self._looks.run(owner, run_id)
        if run is None:
            raise run_not_found(run_id)
        return run

    async def thread(self, owner: str, thread_id: str) -> Thread:
        thread = await self._looks.thread(owner, thread_id)
        if thread is None or thread.hidden:
            raise thread_not_found(thread_id)
        return thread

    async def last_seq(self, owner: str, thread_id: str) -> int:
        return (await self._looks.numbers(owner, thread_id))[0]

    async def floor_seq(self, owner: str, thread_id: str) -> int:
        return (await self._looks.numbers(owner, thread_id))[1]

    async def _found_snapshot(self, owner: str, thread_id: str, checkpoint_id: str, undone: bool) -> Snapshot:
        found = await self._looks.snapshot(owner, thread_id, checkpoint_id, undone)
        # Else it is one that the thread was copied from, or none of its own.
        return found or await super()._found_snapshot(owner, thread_id, checkpoint_id, undone)

    async def last_seqs(self, threads: Sequence[tuple[str, str]]) -> list[int]:
        owners, ids = [owner for owner, _ in threads], [thread_id for _, thread_id in threads]
        found = {(owner, id): last for owner, id, last, _ in await self._reader.all("numbers_of_many", (owners, ids))}
        return [found.get(thread, 0) for thread in threads]

    # workers

    async def join(self, lease: float, agents: Sequence[str]) -> None:
        await self._workers.join(lease, agents)

    async def renew(self, lease: float) -> bool:
        return await self._workers.renew(lease)

    async def leave(self) -> None:
        await self._workers.leave()

    async def recover(self, now: int, expires_at: int) -> Recovered:
        if not await self._workers.have_lost():
            return Recovered((), ())  # everybody asks all the time, and nobody is to wait for that
        recovered = await super().recover(now, expires_at)
        await self._workers.forget()
        return recovered

    async def unoffered(self, offered: Sequence[str]) -> dict[str, int]:
        return await super().unoffered([*offered, *await self._workers.offered()])

    # upkeep

    async def trouble(self) -> str | None:
        if not self._writer.alive:
            return "the database's writer has died; restart the server"
        if self._writer.proven <= PROVEN_FOR:
            return None
        try:
            await asyncio.wait_for(self._writer.do(_prove), PROOF_PATIENCE)
        except TimeoutError:
            return f"the database has not committed within {PROOF_PATIENCE:g} s"
        except RunyardError as error:
            return f"the database cannot be written: {error.message}"
        return None

    async def _sizes(self) -> tuple[int, int]:
        return (await self._reader.one("size"))[0], 0


async def _prove(t: Transaction) -> None:
    await t.run("prove")
