"""The storage adapters under test: each case runs on every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres

from runyard.storage.contract import Storage
from runyard.storage.postgres import PostgresStorage
from runyard.storage.postgres import writer as postgres_writer
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.sqlite import writer as sqlite_writer

Case = Callable[[Storage], Awaitable[None]]

ADAPTERS = ("sqlite-full", "sqlite-normal", "sqlite-one-by-one", "postgres", "postgres-one-by-one")
"""Those with `one-by-one` commit each verb by itself, as the others do when verbs cannot be committed together."""


@pytest.fixture(params=ADAPTERS)
def on_storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Case], None]:
    """Runs an async case on a fresh, open storage."""
    database, _, how = request.param.partition("-")
    if request.param == "sqlite-one-by-one":
        monkeypatch.setattr(sqlite_writer.Writer, "_commit_group", sqlite_writer.Writer._commit_one_by_one)
    elif request.param == "postgres-one-by-one":
        monkeypatch.setattr(postgres_writer.Writer, "_together", never)
    server: Postgres | None = request.getfixturevalue("postgres") if database == "postgres" else None

    async def opened() -> Storage:
        if server is not None:
            return PostgresStorage(await server.emptied())
        return SqliteStorage(tmp_path / "runyard.db", synchronous="full" if how == "full" else "normal")

    def run(case: Case) -> None:
        async def whole() -> None:
            storage = await opened()
            await storage.open()
            try:
                await case(storage)
            finally:
                await storage.close()

        asyncio.run(whole())

    return run


async def never(writer: Any, group: Any) -> bool:
    """In the place of a commit of several verbs."""
    return False


@pytest.fixture
def collected() -> list[Any]:
    """What a case has seen."""
    return []
