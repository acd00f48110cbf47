"""PostgreSQL: how many transactions and round trips a run costs, whoever asks for it and wherever it executes.

Counted, not timed: what is printed in bench/RESULTS.md follows from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster import Cluster, Story
from counted import Asked, counted
from live_server import Server

from runyard import agent

OnCluster = Callable[[Story], None]
BUSY = 32
"""Runs at a time."""


@agent(id="noop")
async def noop(input: Any = None) -> dict[str, Any]:
    """Does nothing."""
    return {"ok": True}


async def runs(server: Server, at_once: int, count: int, **wish: Any) -> None:
    """So many runs, `at_once` of them at a time; each on a thread of its own, where `wish` has threads."""
    left = iter(range(count))

    async def one_after_the_other(place: int) -> None:
        for _ in left:
            body = {"agent_id": "noop", **{name: value[place] for name, value in wish.items()}}
            answer = await server.post("/runs/wait", body)
            assert answer.json()["run"]["status"] == "success", answer.text

    await asyncio.gather(*(one_after_the_other(place) for place in range(at_once)))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    with counted(monkeypatch) as asked:
        yield asked


async def cost(asked: Asked, server: Server, at_once: int, **wish: Any) -> tuple[float, float]:
    """Transactions and round trips of a run."""
    await runs(server, at_once, at_once, **wish)  # what is asked once in a connection's life is asked here
    count = 6 * at_once if at_once > 1 else 20
    asked.forget()
    await runs(server, at_once, count, **wish)
    return asked.transactions / count, asked.trips / count


COSTS = {
    ("without a thread", 1): (4, 8),
    ("on threads", 1): (4, 13),
    ("elsewhere", 1): (11, 21),
    ("without a thread", BUSY): (0.5, 1),
    ("on threads", BUSY): (0.5, 3),
    ("elsewhere", BUSY): (1.5, 3),
}
"""Transactions and round trips that a run may cost, by where it executes and how many do so at a time: what it takes,
and a bit more for groups that come out smaller."""


@pytest.mark.parametrize(("where", "at_once"), COSTS)
def test_a_run_costs(where: str, at_once: int, on_cluster: OnCluster, asked: Asked) -> None:
    async def story(cluster: Cluster) -> None:
        server = await (cluster.api() if where == "elsewhere" else cluster.worker(noop))
        if where == "elsewhere":
            await cluster.worker(noop)
            await server.until(lambda: "noop" in server.verbs.agents)
        wish = {"thread_id": [await server.thread() for _ in range(at_once)]} if where == "on threads" else {}
        transactions, trips = await cost(asked, server, at_once, **wish)
        assert transactions <= COSTS[where, at_once][0], asked.statements
        assert trips <= COSTS[where, at_once][1], asked.statements

    on_cluster(story)
