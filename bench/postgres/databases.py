"""A PostgreSQL to measure on, as people run it: durable, with its own vacuum; and what it counts."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from runyard.storage.postgres.schema import migrate
from tests.postgres_server import own_server

DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}
UNTOLD = 11.0
"""Seconds in which sessions that have gone idle tell what they have done."""


class Database:
    """One of a server."""

    def __init__(self, url: str, name: str) -> None:
        self._admin = url
        self.name = name
        self.url = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))

    def make(self) -> Database:
        """Without tables."""
        asyncio.run(_execute(self._admin, f"CREATE DATABASE {self.name} TEMPLATE template0"))
        return self

    def migrate(self) -> None:
        async def once() -> None:
            connection: Any = await asyncpg.connect(self.url)
            await migrate(connection)
            await connection.close()

        asyncio.run(once())

    @property
    def transactions(self) -> int:
        """Those that were ever committed, of sessions that have been idle for a while (`UNTOLD`)."""
        return asyncio.run(_ask(self._admin, f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{self.name}'"))

    def commit_ms(self, times: int = 200) -> float:
        """Milliseconds of a commit of one row, median."""

        async def measure() -> float:
            connection: Any = await asyncpg.connect(self.url)
            await connection.execute("CREATE TABLE committed (n integer)")
            took: list[float] = []
            for number in range(times):
                begun = time.perf_counter()
                await connection.execute("INSERT INTO committed VALUES ($1)", number)
                took.append((time.perf_counter() - begun) * 1e3)
            await connection.execute("DROP TABLE committed")
            await connection.close()
            return statistics.median(took)

        return asyncio.run(measure())


@contextmanager
def postgres() -> Generator[str]:
    """The URL of a server of its own, in a temporary folder, while it is needed."""
    with own_server(**DURABLE) as server:
        yield server.url


async def _execute(url: str, statement: str) -> None:
    connection: Any = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


async def _ask(url: str, question: str) -> Any:
    connection: Any = await asyncpg.connect(url)
    answer = await connection.fetchval(question)
    await connection.close()
    return answer
