"""The cases on a saver run on every storage adapter, like those of the storage contract; stories have real servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from live_fixtures import clock, server

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "stories")]

from runyard.clock import Clock  # noqa: E402
from runyard.runtime.langgraph.codec import Codec  # noqa: E402
from runyard.runtime.langgraph.server_saver import ServerSaver  # noqa: E402
from runyard.runtime.langgraph.types import Types  # noqa: E402
from runyard.storage.contract import Storage  # noqa: E402
from tests.contract.conftest import on_storage  # noqa: E402
from tests.stories.conftest import serve  # noqa: E402

__all__ = ["clock", "on_saver", "on_storage", "serve", "server"]

SaverCase = Callable[[ServerSaver], Awaitable[None]]
OnSaver = Callable[..., None]


@pytest.fixture
def on_saver(on_storage: Callable[[Callable[[Storage], Awaitable[None]]], None]) -> OnSaver:
    """Runs an async case on a saver over a fresh, open storage; `types` are the classes that its states may hold."""

    def run(case: SaverCase, types: Types | None = None) -> None:
        async def with_storage(storage: Storage) -> None:
            await case(ServerSaver(storage, asyncio.get_running_loop(), Clock(), Codec(types or Types())))

        on_storage(with_storage)

    return run
