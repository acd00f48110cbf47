"""Servers and workers of one database tell whether they are of use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from cluster import Cluster, Story
from fronts import Tls, front, through
from live_server import MovableClock, Server

from runyard import Context, agent
from runyard.api import app as api_app
from runyard.clock import Clock
from runyard.errors import Unavailable
from runyard.server import create_app
from runyard.settings import Settings
from runyard.storage.postgres import adapter

OnCluster = Callable[[Story], None]
AT_ONCE = 20
"""Runs that a worker executes at a time, at least, unless it is told otherwise."""


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit of a moment ago stands for the one that would fail now."""
    monkeypatch.setattr(adapter, "PROVEN_FOR", -1.0)


@asynccontextmanager
async def worker(url: str, clock: Clock | None = None, **settings: Any) -> AsyncGenerator[Server]:
    app = create_app(Settings(database=url, **settings), agents=[echo], clock=clock)
    await app.engine.start()
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
            yield Server(app, http)
    finally:
        await app.engine.close()


async def reasons(server: Server) -> list[str]:
    answer = await server.get("/ready")
    told = answer.json()["reasons"]
    assert answer.status_code == (503 if told else 200)
    return told


def test_a_worker_whose_lease_is_over_is_not_ready_until_it_has_another(
    on_cluster: OnCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(cluster: Cluster) -> None:
        clock = MovableClock()
        async with worker(cluster.url, clock, lease=9.0) as server:
            renew = server.storage.renew
            assert await reasons(server) == []

            async def fails(lease: float) -> bool:
                raise Unavailable("the database has not answered")

            monkeypatch.setattr(server.storage, "renew", fails)
            clock.move(10.0)
            assert await reasons(server) == ["the worker's lease is over: it was not renewed for 10 s"]
            assert "runyard_ready 0.0" in (await server.get("/metrics")).text
            monkeypatch.setattr(server.storage, "renew", renew)
            clock.move(3.0)

            async def ready() -> bool:
                return await reasons(server) == []

            await server.until(ready)

    on_cluster(story)


@pytest.mark.parametrize("works", [True, False])
def test_without_its_database_neither_a_worker_nor_a_server_is_ready(on_cluster: OnCluster, works: bool) -> None:
    async def story(cluster: Cluster) -> None:
        way = Tls(cluster.url, None)
        async with front(way) as port:
            url = through(cluster.url, port, "sslmode=disable")
            async with worker(url) if works else worker(url, workers=0) as server:
                assert await reasons(server) == []
                way.cut()

                async def told() -> bool:
                    found = await reasons(server)
                    assert all("localhost" not in reason and str(port) not in reason for reason in found)
                    return any("the database cannot be" in reason for reason in found)

                await server.until(told)
                assert (await server.get("/metrics")).status_code == 200
                assert (await server.get("/ok")).status_code == 200
                way.mend()

                async def ready() -> bool:
                    return await reasons(server) == []

                await server.until(ready)

    on_cluster(story)


def test_a_worker_executes_many_runs_at_once(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        api = await cluster.api()
        executing = 0
        loop, all_there, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

        @agent
        async def together(ctx: Context) -> None:
            nonlocal executing
            executing += 1
            if executing == AT_ONCE:
                loop.call_soon_threadsafe(all_there.set)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), loop))

        await cluster.worker(together)
        await api.until(lambda: "together" in api.verbs.agents)
        runs = [await api.run(agent_id="together") for _ in range(AT_ONCE)]
        await all_there.wait()
        go_on.set()
        for run in runs:
            assert (await api.wait(run["run_id"]))["run"]["status"] == "success"

    on_cluster(story)


def test_a_worker_answers_for_its_health_only() -> None:
    assert sorted(path for path, _ in api_app.HEALTH.table) == ["/metrics", "/ok", "/ready"]
