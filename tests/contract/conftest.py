"""The storage adapters under test: each case runs on every one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from runyard.storage.contract import Storage
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.sqlite.writer import Writer

Case = Callable[[Storage], Awaitable[None]]

ADAPTERS: dict[str, Callable[[Path], Storage]] = {
    "sqlite-full": lambda folder: SqliteStorage(folder / "runyard.db"),
    "sqlite-normal": lambda folder: SqliteStorage(folder / "runyard.db", synchronous="normal"),
    "sqlite-one-by-one": lambda folder: SqliteStorage(folder / "runyard.db", synchronous="normal"),
}
"""The last commits each verb by itself, with every row at once, as the others do when verbs cannot be committed
together."""


@pytest.fixture(params=sorted(ADAPTERS))
def on_storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Case], None]:
    """Runs an async case on a fresh, open storage."""
    if request.param == "sqlite-one-by-one":
        monkeypatch.setattr(Writer, "_commit_group", Writer._commit_one_by_one)

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
