"""The test's database beside its server: what is in it, rows that are changed by hand while nobody serves it, and
storages that are opened without a server."""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
from postgres_server import Postgres

from runyard.storage.contract import Storage
from runyard.storage.postgres import PostgresStorage
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.sqlite.connection import connect


async def change(database: str, *statements: str) -> None:
    """Executes statements that both databases understand."""
    if database.startswith("postgresql:"):
        connection: Any = await asyncpg.connect(database)
        try:
            await connection.execute("; ".join(statements))
        finally:
            await connection.close()
        return
    with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as file:
        file.executescript("; ".join(statements))
        file.commit()


def look(database: str, question: str) -> list[Any]:
    """What another connection sees at this moment; nothing else happens in this thread meanwhile."""
    if not database.startswith("postgresql:"):
        # By the server's own SQLite: another one, closing the file, would drop the server's locks.
        with closing(connect(Path(database.removeprefix("sqlite:///")), read_only=True)) as file:
            return file.execute(question).fetchall()

    async def asked() -> list[Any]:
        connection: Any = await asyncpg.connect(database)
        try:
            return [tuple(row) for row in await connection.fetch(question)]
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked()).result()


async def cut_log(database: str, floor: int) -> None:
    """Removes events up to a number, as retention does."""
    await change(database, f"DELETE FROM events WHERE last_seq <= {floor}", f"UPDATE threads SET floor_seq = {floor}")


async def opened(folder: Path, shared: Postgres | None, *, again: bool = False) -> Storage:
    """An open storage: a file in the folder, or the PostgreSQL. It has nothing in it, unless it is opened again."""
    storage: Any = SqliteStorage(folder / "runyard.db", synchronous="normal")
    if shared is not None:
        storage = PostgresStorage(shared.last if again else await shared.emptied())
    await storage.open()
    return storage
