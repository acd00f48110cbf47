"""Clients that graphs make without a URL: they ask the server that executes the run, on behalf of its owner. That they
do so from other processes, too, is shown with all that graphs do there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from langgraph_sdk import get_client
from live_server import Server, Starter, play

from runyard.runtime.load import load_targets
from runyard.settings import ApiKey

GRAPHS = Path(__file__).with_name("loopback_graphs.py")


async def asks_and_streams(s: Server) -> None:
    """Runs graphs that ask the server."""
    run = await s.run(agent_id="asks", input={"log": []})
    (known, missing) = (await s.wait(run["run_id"]))["values"]["log"]
    assert "version" in known
    assert missing == "NotFoundError"
    assert (await s.get("/store/items?namespace=inside&key=k")).json()["value"] == {"v": 1}
    run = await s.run(agent_id="streams", input={"log": []})
    first, last, status, kind = (await s.wait(run["run_id"]))["values"]["log"]
    assert (first, last) == ("metadata", "end")
    assert (status, kind.partition(";")[0]) == (200, "text/event-stream")
    # It has left a stream that would not have ended.
    await s.until(lambda: s.app.engine.streams.readers == 0)


def test_graphs_ask_the_server_that_executes_them_for_the_owner_of_the_run(server: Starter, tmp_path: Path) -> None:
    keys = tuple(ApiKey(f"a-key-of-{owner}-0123456789", owner, "write") for owner in ("mia", "bob"))

    async def story() -> None:
        async with server(*load_targets((str(GRAPHS),), tmp_path), api_keys=keys) as s:
            s.http.headers["authorization"] = f"Bearer {keys[0].key}"
            await asks_and_streams(s)
            s.http.headers["authorization"] = f"Bearer {keys[1].key}"
            assert (await s.get("/store/items?namespace=inside&key=k")).status_code == 404

    play(story())


def test_a_client_outside_of_runs_is_told_what_it_lacks(server: Starter, tmp_path: Path) -> None:
    async def story() -> None:
        async with server(*load_targets((str(GRAPHS),), tmp_path)):
            with pytest.raises(Exception, match="no run of a graph executes here"):
                await get_client().http.get("/info")

    asyncio.run(story())
