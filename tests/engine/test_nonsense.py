"""Agent code that returns nonsense ends its own run with a clear error, and nothing else: a whole server, and a run
that works right after each."""

from __future__ import annotations

from typing import Any

import nonsense_agents as agents
import pytest
from live_server import Server, Starter, play
from nonsense_agents import ODD, RAISED, REFUSED, TOO_LARGE, WAYS

from runyard.runtime.describe import MAX_MESSAGE


async def ends(s: Server, agent_id: str, input: Any) -> dict[str, Any]:
    """Runs an agent to its end: the run, with `values` as waiting for it gives them."""
    run = await s.run(agent_id=agent_id, input=input)
    waited = await s.wait(run["run_id"])
    return {**(await s.get(f"/runs/{run['run_id']}")).json(), "values": waited["values"]}


async def still_works(s: Server) -> None:
    ended = await ends(s, "sound", 1)
    assert (ended["status"], ended["values"]) == ("success", {"fine": 1})
    await s.until(lambda: s.app.engine.worker.executing == 0)


PLACES = {
    "return": "the returned value.x",
    "yield": "the yielded value.x",
    "update": "update.x",
    "emit": "event",
    "step": "the result of step 's'",
    "message": "message.messages",
    "interrupt": "the question",
    "put": "the store value",
    "filter": "filter",
}
"""Where a value was handed over -> how the error begins."""


@pytest.mark.parametrize("value", REFUSED)
def test_what_has_no_json_is_refused_by_name_wherever_it_comes_from(server: Starter, value: str) -> None:
    async def story() -> None:
        async with server(agents.sound, *agents.GIVERS) as s:
            for agent_id, place in WAYS:
                ended = await ends(s, agent_id, {"place": place, "value": value})
                error = ended["error"]
                assert (ended["status"], error["code"]) == ("error", "not_serialisable"), (place, error)
                assert error["message"].startswith(f"NotSerialisable: {PLACES[place]}"), error
                assert len(error["message"]) <= MAX_MESSAGE + 100
                assert ended["values"] in ({}, None)
            await still_works(s)

    play(story())


@pytest.mark.parametrize("value", TOO_LARGE)
def test_what_is_too_large_ends_its_run_wherever_it_comes_from(server: Starter, value: str) -> None:
    async def story() -> None:
        async with server(agents.sound, *agents.GIVERS, max_value_bytes=200_000) as s:
            for agent_id, place in WAYS:
                if place == "filter":
                    continue
                ended = await ends(s, agent_id, {"place": place, "value": value})
                error = ended["error"]
                assert (ended["status"], error["code"]) == ("error", "value_too_large"), (place, error)
                assert "max_value_bytes allows 200000" in error["message"]
            await still_works(s)

    play(story())


@pytest.mark.parametrize("value", ODD)
def test_what_json_holds_in_its_own_way_arrives_whole(server: Starter, value: str) -> None:
    async def story() -> None:
        async with server(*agents.GIVERS) as s:
            for agent_id, place in WAYS:
                if place in ("return", "yield", "update"):
                    ended = await ends(s, agent_id, {"place": place, "value": value})
                    assert ended["values"]["x"] == ODD[value][1], (place, ended)

    play(story())


@pytest.mark.parametrize("value", ["hostile", "endless"])
def test_an_object_that_fights_back_ends_its_own_run(server: Starter, value: str) -> None:
    async def story() -> None:
        async with server(agents.sound, *agents.GIVERS, max_value_bytes=100_000) as s:
            ways = [*WAYS, ("gives", "whole return"), ("gives_blocking", "whole return"), ("yields", "whole yield")]
            if value == "endless":  # a million keys each time
                ways = [("gives", "emit"), *ways[-4:]]
            for agent_id, place in ways:
                ended = await ends(s, agent_id, {"place": place, "value": value})
                assert ended["status"] == "error", (place, ended)
                assert ended["error"]["code"] in ("agent_error", "not_serialisable", "value_too_large")
                if value == "hostile" and ended["error"]["code"] == "agent_error":
                    assert ended["error"]["message"] == "ZeroDivisionError: no class"
            await still_works(s)

    play(story())


@pytest.mark.parametrize("raised", RAISED)
def test_whatever_is_raised_its_run_says_so_and_ends(server: Starter, raised: str) -> None:
    async def story() -> None:
        async with server(agents.sound, *agents.RAISERS) as s:
            for raiser in agents.RAISERS:
                ended = await ends(s, raiser.id, raised)
                error = ended["error"]
                assert (ended["status"], error["code"]) == ("error", "agent_error"), (raiser.id, ended)
                assert error["message"].startswith(RAISED[raised][1]), (raiser.id, error)
                assert 0 < len(error["message"]) <= MAX_MESSAGE + 100
            await still_works(s)

    play(story())
