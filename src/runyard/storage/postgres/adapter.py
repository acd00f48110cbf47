"""The storage contract on a PostgreSQL database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from runyard.errors import RunyardError
from runyard.items import Item, ItemSearch, passes
from runyard.storage.postgres.connection import PACKAGE, open_pool
from runyard.storage.postgres.statements import statements
from runyard.storage.postgres.transaction import Reader
from runyard.storage.postgres.writer import Writer
from runyard.storage.verbs.storage import VerbStorage
from runyard.storage.verbs.transaction import Reads, Transaction

P = ParamSpec("P")
T = TypeVar("T")

READERS = 6
"""Connections that read. With the writer's, and the one that listens, a server has eight."""
PROVEN_FOR = 5.0
"""Seconds for which a commit proves that the database can be written."""
PROOF_PATIENCE = 2.0
"""Seconds after which a commit that does not come is a trouble."""
ITEM_PAGE = 200
"""Items that are looked at per step of a search with a filter."""


class PostgresStorage(VerbStorage):
    """One database (or schema of it), of which this process is the only server.

    Verbs that write go to the writer's connection; everything is read on a few others, outside any transaction.
    """

    def __init__(self, url: str, *, name: str = "runyard") -> None:
        super().__init__()
        self._url = url
        self._name = name
        self._statements = statements(PACKAGE)

    async def open(self) -> None:
        writer = Writer(self._url, self._name, self._statements, self._deliver)
        await writer.open()
        try:
            self._pool = await open_pool(self._url, self._name, READERS)
        except BaseException:
            await writer.close()
            raise
        self._writer = writer
        self._reader = Reader(self._pool, self._statements)

    async def close(self) -> None:
        await self._writer.close()
        await self._pool.close()

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
