"""The storage adapters under test: each case runs on every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runyard.storage.contract import Storage
from runyard.storage.sqlite import SqliteStorage

Case = Callable[[Storage], Awaitable[None]]

ADAPTERS: dict[str, Callable[[Path], Storage]] = {
    "sqlite-full": lambda folder: SqliteStorage(folder / "runyard.db"),
    "sqlite-normal": lambda folder: SqliteStorage(folder / "runyard.db", synchronous="normal"),
}


@pytest.fixture(params=sorted(ADAPTERS))
def on_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Case], None]:
    """Runs an async case on a fresh, open storage."""

    def run(case: Case) -> None:
        async def whole() -> None:
            storage = ADAPTERS[request.param](tmp_path)
            await storage.open()
            try:
                await case(storage)
            finally:
                await storage.close()

        asyncio.run(whole())

    return run


@pytest.fixture
def collected() -> list[Any]:
    """What a case has seen."""
    return []
