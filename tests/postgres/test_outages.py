"""Servers whose way to their database is cut, for a while or for longer than their leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from cluster import Cluster, clustered
from live_server import holds
from postgres_server import Postgres
from test_cluster import Held, count, events_of

from chaos.cluster.proxy import Proxy


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, seconds in {
        "leases.RECOVERY": 0.2,
        "watched.RECHECK": 0.2,
        "streams.RECHECK": 0.2,
        "worker.RECHECK": 0.2,
        "storage.postgres.attention.SILENCE": 0.2,
        "storage.postgres.attention.PATIENCE": 0.3,
        "storage.postgres.attention.UNANSWERED": 0.1,
        "storage.postgres.connection.CONNECT_TIMEOUT": 0.3,
        "storage.postgres.workers.ANSWER_PATIENCE": 0.3,
        "hints.postgres.PATIENCE": 0.3,
        "hints.postgres.HEARTBEAT": 0.3,
        "hints.postgres.RETRY": 0.1,
    }.items():
        monkeypatch.setattr(f"runyard.{place}", seconds)


@asynccontextmanager
async def behind(url: str) -> AsyncGenerator[tuple[Proxy, Cluster]]:
    """Servers that reach the database through a proxy of their own."""
    async with Proxy(url) as proxy, clustered(proxy.url) as cluster:
        yield proxy, cluster


def test_a_database_that_was_away_for_longer_than_a_lease_costs_nobody_an_attempt(postgres: Postgres) -> None:
    """Nobody could renew meanwhile, and who comes back first is not to take the others for dead."""

    async def story() -> None:
        url = await postgres.emptied()
        direct: Any = await asyncpg.connect(url)
        async with behind(url) as (first_way, first), behind(url) as (second_way, second):
            api, held = await first.api(), Held()
            worker = await second.worker(held.agent, lease=3)
            await api.until(lambda: "held" in api.verbs.agents)
            run = await api.run(agent_id="held", input=1)
            await held.began.acquire()
            for way in (first_way, second_way):
                way.close()
            await api.until(lambda: api.app.engine._leases._away)
            await direct.execute("UPDATE workers SET expires_at = now() - interval '1 minute'")
            first_way.heal()
            await api.until(lambda: not api.app.engine._leases._away)
            second_way.heal()
            assert await worker.app.engine._leases.renew_once() is None
            while not await direct.fetchval("SELECT count(*) FROM workers WHERE expires_at > now()"):
                await asyncio.sleep(0.01)
            await api.app.engine._leases.look_once()
            held.goes_on.set()
            ended = await api.wait(run["run_id"])
            assert (ended["run"]["status"], ended["values"]) == ("success", {"input": 1, "attempt": 1})
        await direct.close()

    asyncio.run(story())


def test_a_worker_whose_network_swallows_everything_loses_its_runs_and_can_write_nothing(postgres: Postgres) -> None:
    async def story() -> None:
        url = await postgres.emptied()
        async with clustered(url) as whole, behind(url) as (proxy, apart):
            api, held, lost = await whole.api(), Held(), Held()
            await apart.worker(lost.agent, lease=1)
            await api.until(lambda: "held" in api.verbs.agents)
            run = await api.run(agent_id="held", input=1, stream_mode=["custom"])
            await lost.began.acquire()
            await api.until(lambda: holds(api.storage.last_seq("", run["thread_id"]), lambda last: last == 3))
            proxy.hole()
            await whole.worker(held.agent, lease=60)
            await held.began.acquire()
            lost.goes_on.set()  # its code ends, and nobody is to hear of it
            held.goes_on.set()
            ended = await api.wait(run["run_id"])
            assert (ended["run"]["status"], ended["values"]) == ("success", {"input": 1, "attempt": 2})
            proxy.heal()
            proxy.cut()
            await api.until(lambda: lost.executing == 0)
            told = await events_of(api, run["run_id"])
            assert [(name, data.get("attempt") or data.get("payload")) for _, name, data in told] == [
                ("metadata", 1), ("custom", {"attempt": 1}), ("metadata", 2), ("custom", {"attempt": 2}), ("end", None),
            ]  # fmt: skip

    asyncio.run(story())


def test_a_connection_for_hints_that_hears_nothing_costs_latency_only(postgres: Postgres) -> None:
    """Readers, waits and claims go on without; when it is whole again it is used."""

    async def story() -> None:
        url = await postgres.emptied()
        async with behind(url) as (proxy, cluster):
            api = await cluster.api()
            await cluster.worker(count)
            await api.until(lambda: "count" in api.verbs.agents)
            assert [name for name in proxy.names if "hints" in name]
            proxy.hole("hints", "from")
            run = await api.run(agent_id="count", input=30, stream_mode=["custom"])
            told, ended = await asyncio.gather(events_of(api, run["run_id"]), api.wait(run["run_id"]))
            assert ended["values"] == {"counted": 30}
            assert [data["payload"]["number"] for _, name, data in told if name == "custom"] == [*range(30)]
            proxy.heal()
            proxy.cut("hints")
            hints = api.app.engine._hints
            await api.until(lambda: hints._connection is not None and not hints._connection.is_closed())  # type: ignore[attr-defined]
            again = await api.run(agent_id="count", input=3)
            assert (await api.wait(again["run_id"]))["values"] == {"counted": 3}

    asyncio.run(story())
