"""Fixtures: a whole server in the test's process, and a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from live_server import MovableClock, Server, Starter

from runyard.clock import Clock
from runyard.runtime.contract import LoadedAgent
from runyard.server import create_app
from runyard.settings import Settings


@pytest.fixture
def server(database: str) -> Starter:
    """`async with server(agent, ..., clock=..., **settings) as s`: a server on the test's database."""

    @asynccontextmanager
    async def start(
        *agents: LoadedAgent, clock: Clock | None = None, tracer_provider: Any = None, **settings: Any
    ) -> AsyncGenerator[Server]:
        given = {"database": database, "default_agent": agents[0].agent.agent_id, **settings}
        app = create_app(Settings(**given), agents=agents, clock=clock, tracer_provider=tracer_provider)
        await app.engine.start()
        try:
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                yield Server(app, http)
        finally:
            if isinstance(clock, MovableClock):
                closing = asyncio.ensure_future(app.engine.close())
                while not closing.done():
                    clock.move(100)
                    await asyncio.sleep(0.001)
            else:
                await app.engine.close()

    return start


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()
