"""Servers of one PostgreSQL database in the test's process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
from live_server import Server

from runyard.runtime.contract import LoadedAgent
from runyard.server import create_app
from runyard.settings import Settings


class Cluster:
    """Servers of one database in this process."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.url = url
        self._stack = stack

    async def api(self, **settings: Any) -> Server:
        """A server that executes nothing."""
        return await self._start((), workers=0, **settings)

    async def worker(self, *agents: LoadedAgent, **settings: Any) -> Server:
        """A server that executes runs."""
        return await self._start(agents, **settings)

    async def _start(self, agents: tuple[LoadedAgent, ...], **settings: Any) -> Server:
        app = create_app(Settings(database=self.url, **settings), agents=agents)
        await app.engine.start()
        self._stack.push_async_callback(app.engine.close)
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver")
        await self._stack.enter_async_context(http)
        return Server(app, http)


Story = Callable[[Cluster], Any]


@asynccontextmanager
async def clustered(url: str) -> AsyncGenerator[Cluster]:
    async with AsyncExitStack() as stack:
        yield Cluster(url, stack)
