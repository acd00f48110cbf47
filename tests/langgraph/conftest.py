"""The cases on a saver run on every storage adapter, like those of the storage contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from live_fixtures import clock, server

from runyard.clock import Clock
from runyard.runtime.langgraph.codec import Codec
from runyard.runtime.langgraph.server_saver import ServerSaver
from runyard.runtime.langgraph.types import Types
from runyard.storage.contract import Storage
from tests.contract.conftest import on_storage
from tests.stories.conftest import serve

__all__ = ["clock", "on_saver", "on_storage", "serve", "server"]

SaverCase = Callable[[ServerSaver], Awaitable[None]]
OnSaver = Callable[..., None]


@pytest.fixture
def on_saver(on_storage: Callable[[Any], None]) -> OnSaver:
    """Runs an async case on a saver over a fresh, open storage; `types` are the classes that its states may hold."""

    def run(case: SaverCase, types: Types | None = None) -> None:
        async def with_storage(storage: Storage) -> None:
            await case(ServerSaver(storage, asyncio.get_running_loop(), Clock(), Codec(types)))

        on_storage(with_storage)

    return run
