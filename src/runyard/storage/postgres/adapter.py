"""The storage contract on a PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from runyard.clock import Clock
from runyard.errors import RunyardError
from runyard.items import Item, ItemSearch, passes
from runyard.storage.contract import Recovered
from runyard.storage.postgres.attention import Attention
from runyard.storage.postgres.connection import PACKAGE, close_pool, open_pool
from runyard.storage.postgres.statements import statements
from runyard.storage.postgres.transaction import Reader
from runyard.storage.postgres.workers import Workers
from runyard.storage.postgres.writer import Writer
from runyard.storage.verbs.storage import VerbStorage
from runyard.storage.verbs.transaction import Reads, Transaction

P = ParamSpec("P")
T = TypeVar("T")

READERS = 6
"""Connections that read. With the writer's, the one that listens and the one of the lease, a server has nine."""
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

    def __init__(self, url: str, *, name: str = "runyard") -> None:
        super().__init__()
        self.worker_id = Clock().new_id()
        """By which this process is known where it executes something."""
        self._url = url
        self._name = name
        self._statements = statements(PACKAGE)
        self._attention = Attention(url, name)

    async def open(self) -> None:
        writer = Writer(self._url, self._name, self._statements, self._deliver, self.worker_id, self._attention)
        workers = Workers(self._url, self._name, self._statements, self.worker_id, self._attention)
        await writer.open()
        try:
            await workers.open()
            self._pool = await open_pool(self._url, self._name, READERS)
        except BaseException:
            await workers.close()
            await writer.close()
            raise
        self._workers = workers
        self._writer = writer
        self._reader = Reader(self._pool, self._statements, self._attention)

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
        found: list[Item] = []
        page = msgspec.structs.replace(query, filter={}, limit=ITEM_PAGE, offset=0)
        while len(found) < query.offset + query.limit:
            items = await super().search_items(owner, page, now)
            found += [item for item in items if passes(msgspec.json.decode(item.value), query.filter)]
            if len(items) < ITEM_PAGE:
                break
            page = msgspec.structs.replace(page, offset=page.offset + ITEM_PAGE)
        return found[query.offset : query.offset + query.limit]

    async def last_seqs(self, threads: Sequence[tuple[str, str]]) -> list[int]:
        owners, ids = [owner for owner, _ in threads], [thread_id for _, thread_id in threads]
        found = {(owner, id): last for owner, id, last in await self._reader.all("numbers_of_many", (owners, ids))}
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
