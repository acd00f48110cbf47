"""A database while nobody serves it: rows that are changed by hand, and storages that are opened without a server."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
from postgres_server import Postgres

from runyard.storage.contract import Storage
from runyard.storage.postgres import PostgresStorage
from runyard.storage.sqlite import SqliteStorage


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


async def cut_log(database: str, floor: int) -> None:
    """Removes events up to a number, as retention does."""
    await change(database, f"DELETE FROM events WHERE last_seq <= {floor}", f"UPDATE threads SET floor_seq = {floor}")


async def opened(folder: Path, shared: Postgres | None) -> Storage:
    """An open storage with nothing in it: a file in the folder, or the PostgreSQL."""
    storage: Any = SqliteStorage(folder / "runyard.db", synchronous="normal")
    if shared is not None:
        storage = PostgresStorage(await shared.emptied())
    await storage.open()
    return storage
