"""Crons of several servers on one PostgreSQL: all of them let fire, and each firing makes one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from cluster import Cluster, Story
from live_server import Server, holds

from runyard import agent
from runyard.assistants import AssistantPatch, default_id
from runyard.crons import Cron
from runyard.runs import Run, RunFilter

OnCluster = Callable[[Story], None]

CRONS = 30


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"input": input}


async def runs(server: Server) -> list[Run]:
    return await server.verbs.search_runs("", RunFilter(limit=1000))


def test_servers_that_see_the_same_firing_make_one_run_of_it(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        servers = [await cluster.worker(echo) for _ in range(2)]
        servers.append(await cluster.api())
        first, api = servers[0], servers[-1]
        now = first.app.engine.clock.now()
        for number in range(CRONS):
            cron = Cron(
                cron_id=f"{number}", owner="", assistant_id=default_id("echo"), thread_id=None,
                schedule="0 0 1 1 *", timezone=None, end_time=None, enabled=True, on_run_completed="keep",
                created_at=now, updated_at=now, payload=msgspec.json.encode({"input": number}), next_at=now - number,
            )  # fmt: skip
            await api.storage.create_cron(cron)
        for server in servers:
            server.app.engine._hints.publish("crons")  # pyright: ignore[reportPrivateUsage]
        for server in servers:
            assert await server.app.engine.scheduler.run_once()

        def over(found: list[Run]) -> bool:
            return len(found) >= CRONS and all(run.finished for run in found)

        await api.until(lambda: holds(runs(api), over))
        made_by = [msgspec.json.decode(run.metadata)["cron_id"] for run in await runs(api)]
        assert sorted(map(int, made_by)) == [*range(CRONS)]
        assert await api.storage.due_crons(now, behind=None, limit=1) == []

    on_cluster(story)


def test_a_server_without_agents_knows_their_default_assistants(on_cluster: OnCluster) -> None:
    async def story(cluster: Cluster) -> None:
        worker, api = await cluster.worker(echo), await cluster.api()
        here, there = api.app.engine.catalog, worker.app.engine.catalog
        assert await here.find("", "echo") == await there.find("", default_id("echo"))
        changed = await here.patch("", "echo", AssistantPatch(name="Changed"))
        await worker.until(lambda: holds(there.find("", "echo"), lambda found: found == changed))
        back = await there.choose_version("", "echo", 1)
        await api.until(lambda: holds(here.find("", "echo"), lambda found: found == back))

    on_cluster(story)
