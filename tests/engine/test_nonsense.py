"""Agent code that returns nonsense ends its own run with a clear error, and nothing else: a whole server, and a run
that works right after each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import nonsense_agents as agents
import pytest
from live_server import Server, Starter, play
from nonsense_agents import ODD, RAISED, REFUSED, TOO_LARGE, WAYS

from runyard import Context, agent
from runyard.runtime.describe import MAX_MESSAGE


async def ends(s: Server, agent_id: str, input: Any) -> dict[str, Any]:
    """Runs an agent to its end: the run, with `values` as waiting for it gives them."""
    run = await s.run(agent_id=agent_id, input=input)
    waited = await s.wait(run["run_id"])
    return {**(await s.get(f"/runs/{run['run_id']}")).json(), "values": waited["values"]}


async def still_works_beside(s: Server, others: int) -> None:
    """Another run works while so many execute."""
    ended = await ends(s, "sound", 1)
    assert (ended["status"], ended["values"]) == ("success", {"fine": 1})
    assert s.app.engine.worker.executing >= others


async def still_works(s: Server) -> None:
    """Another run works, and nothing is left of those before."""
    await still_works_beside(s, 0)
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


NAMES: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "the name of an event": lambda ctx: ctx.emit(1, name="a\0b"),
    "the name of an event is 5": lambda ctx: ctx.emit(1, name=5),  # type: ignore[arg-type]
    "the name of a step": lambda ctx: ctx.step("x" * 1001, int),
    "the name of a step is None": lambda ctx: ctx.step(None, int),  # type: ignore[arg-type]
    "the name of a question": lambda ctx: ctx.interrupt(1, name="\ud800"),
    "the id of a message": lambda ctx: ctx.message(id="\0").__aenter__(),
    "the role of a message": lambda ctx: ctx.message(role=["me"]).__aenter__(),  # type: ignore[arg-type]
    "the name of a channel": lambda ctx: ctx.update({"a\0": 1}),
    "update has the key 1": lambda ctx: ctx.update({1: 1}),  # type: ignore[dict-item]
    "key is 5": lambda ctx: ctx.store.put(("n",), 5, {}),  # type: ignore[arg-type]
    "a label of namespace is 7": lambda ctx: ctx.store.get((7,), "k"),  # type: ignore[arg-type]
    "the store value is [1]": lambda ctx: ctx.store.put(("n",), "k", [1]),  # type: ignore[arg-type]
    "filter is [1]": lambda ctx: ctx.store.search(("n",), [1]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("told", NAMES)
def test_names_that_cannot_be_stored_are_refused_before_they_are(server: Starter, told: str) -> None:
    @agent
    async def names(ctx: Context) -> None:
        await NAMES[told](ctx)

    async def story() -> None:
        async with server(agents.sound, names) as s:
            error = (await ends(s, "names", None))["error"]
            assert error["code"] == "not_serialisable"
            assert error["message"].startswith(f"NotSerialisable: {told}")
            await still_works(s)

    play(story())


NUMBERS: dict[str, Callable[[Context], Awaitable[Any]]] = {
    "ttl is inf": lambda ctx: ctx.store.put(("n",), "k", {}, ttl=float("inf")),
    "ttl is nan": lambda ctx: ctx.store.put(("n",), "k", {}, ttl=float("nan")),
    "ttl is 'soon'": lambda ctx: ctx.store.put(("n",), "k", {}, ttl="soon"),  # type: ignore[arg-type]
    "limit is -1": lambda ctx: ctx.store.search(("n",), limit=-1),
    "limit is 1.5": lambda ctx: ctx.store.search(("n",), limit=1.5),  # type: ignore[arg-type]
    "offset is 100000000000000000000": lambda ctx: ctx.store.search(("n",), offset=10**20),
}


@pytest.mark.parametrize("told", NUMBERS)
def test_numbers_that_the_store_cannot_take_are_refused(server: Starter, told: str) -> None:
    @agent
    async def counts(ctx: Context) -> None:
        await NUMBERS[told](ctx)

    async def story() -> None:
        async with server(agents.sound, counts) as s:
            error = (await ends(s, "counts", None))["error"]
            assert (error["code"], told in error["message"]) == ("agent_error", True)
            await still_works(s)

    play(story())


def test_the_state_as_a_whole_is_bounded_and_stays_as_it_was(server: Starter) -> None:
    @agent
    async def grows(input: int, ctx: Context) -> dict[str, Any]:
        for n in range(input):
            await ctx.update({f"c{n}": "x" * 400})
        return {"c0": "small", "log": ["done"]}

    async def story() -> None:
        async with server(grows, max_value_bytes=2048) as s:
            thread = await s.thread()
            run = await s.run(thread_id=thread, input=10)
            await s.wait(run["run_id"])
            error = (await s.get(f"/runs/{run['run_id']}")).json()["error"]
            assert error["code"] == "value_too_large"
            assert "the thread's state takes 2424 bytes" in error["message"]
            state = (await s.get(f"/threads/{thread}")).json()
            assert (state["status"], sorted(state["values"])) == ("error", ["c0", "c1", "c2", "c3", "c4"])
            # What does not make it larger is taken.
            run = await s.run(thread_id=thread, input=0)
            assert (await s.wait(run["run_id"]))["status"] == "success"

    play(story())


def test_a_message_that_never_ends_is_cut_off_by_its_size(server: Starter) -> None:
    @agent
    async def talks(ctx: Context) -> None:
        async with ctx.message() as message:
            while True:
                await message.write("x" * 1000)

    async def story() -> None:
        async with server(agents.sound, talks, max_value_bytes=50_000) as s:
            ended = await ends(s, "talks", None)
            assert ended["error"]["code"] == "value_too_large"
            assert ended["values"] == {}
            await still_works(s)

    play(story())


def test_a_long_text_fills_neither_the_run_nor_the_log(server: Starter, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with server(agents.sound, *agents.RAISERS) as s:
            error = (await ends(s, "raises", "long text"))["error"]
            assert error["message"].endswith("... (10000000 characters in all)")
            assert sum(len(record.getMessage()) for record in caplog.records) < 20_000
            assert [record.exc_info for record in caplog.records if record.name == "runyard.agent"] == [None]

    play(story())


# generators that never end


async def _counts() -> AsyncIterator[Any]:
    n = 0
    while True:
        yield {"n": (n := n + 1)}


def _counts_blocking() -> Iterator[Any]:
    n = 0
    while True:
        yield {"n": (n := n + 1)}


async def _yields_nothing() -> AsyncIterator[Any]:
    while True:
        yield None


def _yields_nothing_blocking() -> Iterator[Any]:
    while True:
        yield None


async def _swallows() -> AsyncIterator[Any]:
    closed = False
    while True:
        try:
            yield None
        except GeneratorExit:
            if closed:  # by the interpreter, which would else complain to nobody
                raise
            closed = True
        except BaseException:
            pass


def _swallows_blocking() -> Iterator[Any]:
    closed = False
    while True:
        try:
            yield None
        except GeneratorExit:
            if closed:  # by the interpreter, which would else complain to nobody
                raise
            closed = True
        except BaseException:
            pass


ENDLESS = [_counts, _counts_blocking, _yields_nothing, _yields_nothing_blocking]


@pytest.mark.parametrize("endless", ENDLESS)
def test_a_generator_that_never_ends_is_ended_by_a_cancel(server: Starter, endless: Callable[[], Any]) -> None:
    async def story() -> None:
        async with server(agents.sound, agent(endless, id="endless"), agent_threads=1) as s:
            run = await s.run(agent_id="endless")
            await still_works_beside(s, 1)
            cancelled = await s.post(f"/runs/{run['run_id']}/cancel?wait=true")
            assert cancelled.status_code == 204
            assert (await s.get(f"/runs/{run['run_id']}")).json()["outcome"] == "cancelled"
            await still_works(s)

    play(story())


@pytest.mark.parametrize("endless", ENDLESS)
def test_a_generator_that_never_ends_is_ended_by_its_timeout(server: Starter, endless: Callable[[], Any]) -> None:
    async def story() -> None:
        async with server(agents.sound, agent(endless, id="endless", timeout=0.05), agent_threads=1) as s:
            ended = await ends(s, "endless", None)
            assert (ended["status"], ended["error"]["code"]) == ("timeout", "timeout")
            await still_works(s)

    play(story())


@pytest.mark.parametrize("endless", [_counts, _counts_blocking])
def test_a_generator_that_never_ends_is_ended_by_the_recursion_limit(
    server: Starter, endless: Callable[[], Any]
) -> None:
    async def story() -> None:
        async with server(agents.sound, agent(endless, id="endless")) as s:
            run = await s.run(agent_id="endless", config={"recursion_limit": 5})
            assert (await s.wait(run["run_id"]))["values"] == {"n": 5}
            assert (await s.get(f"/runs/{run['run_id']}")).json()["error"]["code"] == "recursion_limit"
            await still_works(s)

    play(story())


@pytest.mark.parametrize("endless", [_swallows, _swallows_blocking])
def test_a_generator_that_swallows_its_end_is_closed_when_it_is_given_up(
    server: Starter, endless: Callable[[], Any]
) -> None:
    """Nothing but the generator's own turn at `yield` could end it: its place is free again after the grace period."""

    async def story() -> None:
        async with server(agents.sound, agent(endless, id="endless"), agent_threads=1, cancel_grace=0.1) as s:
            run = await s.run(agent_id="endless")
            await still_works_beside(s, 1)
            await s.post(f"/runs/{run['run_id']}/cancel")
            assert (await s.wait(run["run_id"]))["status"] == "interrupted"
            assert (await s.get(f"/runs/{run['run_id']}")).json()["outcome"] == "abandoned"
            await still_works(s)

    play(story())
