"""Our saver for LangGraph's tests, in the places of theirs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from runyard.clock import Clock
from runyard.runtime.langgraph.codec import Codec
from runyard.runtime.langgraph.server_saver import ServerSaver
from runyard.runtime.langgraph.types import Types
from runyard.storage.sqlite import SqliteStorage


def _codec() -> Codec:
    return Codec(Types(folder=Path(os.environ["LANGGRAPH_TEST_TYPES"])))


@pytest.fixture(params=["runyard"])
def sync_checkpointer(tmp_path: Path) -> Iterator[Any]:
    """A saver whose database is used in a loop of its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    storage = SqliteStorage(tmp_path / "runyard.db", synchronous="normal")
    asyncio.run_coroutine_threadsafe(storage.open(), loop).result()
    yield ServerSaver(storage, loop, Clock(), _codec())
    asyncio.run_coroutine_threadsafe(storage.close(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["runyard"])
async def async_checkpointer(tmp_path: Path) -> AsyncIterator[Any]:
    storage = SqliteStorage(tmp_path / "runyard.db", synchronous="normal")
    await storage.open()
    yield ServerSaver(storage, asyncio.get_running_loop(), Clock(), _codec())
    await storage.close()
