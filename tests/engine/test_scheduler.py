"""Crons on a clock that is moved: a firing makes one run, whoever lets it fire; what was missed is made up for once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest
from live_server import MovableClock, Server, Starter, holds, play

from runyard import agent
from runyard.assistants import AssistantPatch
from runyard.crons import Cron, CronPatch
from runyard.errors import InvalidInput, NotFound, StorageError, TooManyRuns
from runyard.lifecycle import CreateRun
from runyard.runs import Run, RunFilter
from runyard.scheduler import AGAIN, TOO_LATE
from runyard.storage.contract import Created
from runyard.timetable import CreateCron

MINUTE = 60.0


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"input": input}


@agent
async def other() -> dict[str, Any]:
    return {}


async def made(server: Server, schedule: str = "* * * * *", owner: str = "", **more: Any) -> Cron:
    assistant = await server.app.engine.catalog.find(owner, more.pop("agent", "echo"))
    given: dict[str, Any] = {
        "payload": {"input": {"n": 1}}, "on_run_completed": None if "thread_id" in more else "keep", **more
    }  # fmt: skip
    asked = CreateCron(assistant_id=assistant.assistant_id, schedule=schedule, **given)
    return await server.app.engine.timetable.create(owner, asked)


async def runs(server: Server, owner: str = "") -> list[Run]:
    return await server.verbs.search_runs(owner, RunFilter(limit=1000))


async def now(server: Server, cron: Cron) -> Cron:
    return await server.storage.cron(cron.owner, cron.cron_id)


async def fired(server: Server, cron: Cron, before: Cron | None = None) -> Cron:
    """Until the cron has fired again. The loop may have begun to sleep only after the clock was moved: it is not
    waited for."""
    last = (before or cron).fired_at
    await server.app.engine.scheduler.run_once()
    await server.until(lambda: holds(now(server, cron), lambda found: found.fired_at != last))
    return await now(server, cron)


async def ended(server: Server, count: int) -> list[Run]:
    """Until there are so many runs, all of them over."""
    await server.until(
        lambda: holds(runs(server), lambda found: len(found) >= count and all(run.finished for run in found))
    )
    return await runs(server)


def test_a_cron_fires_at_each_time_of_its_schedule(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            cron = await made(s, metadata={"k": "v"}, payload={"input": {"n": 7}})
            assert cron.next_at == clock.now() + MINUTE * 1e6
            last = cron
            for count in (1, 2, 3):
                clock.move(MINUTE)
                last = await fired(s, cron, last)
                found = await ended(s, count)
                assert len(found) == count
                assert found[0].created_at == clock.now() == last.fired_at
            run = found[0]
            assert msgspec.json.decode(run.metadata) == {"k": "v", "cron_id": cron.cron_id}
            result = await s.verbs.wait_run("", run.run_id)
            assert (run.agent_id, result.state) == ("echo", {"input": b'{"n":7}'})
            assert len({run.thread_id for run in found}) == 3

    play(story())


def test_nothing_fires_before_its_time(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            cron = await made(s)
            clock.move(MINUTE - 0.000001)
            await s.app.engine.scheduler.run_once()
            assert await runs(s) == []
            clock.move(0.000001)
            await fired(s, cron)
            assert len(await runs(s)) == 1

    play(story())


def test_several_servers_make_one_run_of_a_firing(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            crons = [await made(s) for _ in range(5)]
            await s.app.engine.scheduler.stop()
            clock.move(MINUTE)
            assert await asyncio.gather(*[s.app.engine.scheduler.run_once() for _ in range(4)]) == [True] * 4
            found = await ended(s, 5)
            assert len(found) == len({run.run_id for run in found}) == len(crons)

    play(story())


def test_a_downtime_is_made_up_for_by_one_run(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            cron = await made(s)
        clock.move(10 * MINUTE + 1)
        async with server(echo, clock=clock) as s:
            after = await fired(s, cron)
            assert after.fired_at == cron.next_at
            assert after.next_at is not None
            assert 0 < after.next_at - clock.now() <= MINUTE * 1e6
            await s.app.engine.scheduler.run_once()
            assert len(await ended(s, 1)) == 1
            clock.move((after.next_at - clock.now()) / 1e6)
            await fired(s, cron, after)
            assert len(await ended(s, 2)) == 2

    play(story())


def test_nothing_fires_behind_its_end_not_even_late(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            end = clock.now() + int(2.5 * MINUTE * 1e6)
            cron = await made(s, end_time=end)
            clock.move(MINUTE)
            last = await fired(s, cron)
            assert len(await ended(s, 1)) == 1
        clock.move(5 * MINUTE)
        async with server(echo, clock=clock) as s:
            over = await fired(s, cron, last)
            assert (over.next_at, over.enabled, over.last_error) == (
                None, True, TOO_LATE,
            )  # fmt: skip
            assert len(await runs(s)) == 1
            clock.move(MINUTE)
            again = await s.app.engine.timetable.patch("", cron.cron_id, CronPatch(end_time=None))
            clock.move(MINUTE)
            await fired(s, cron, again)
            assert len(await ended(s, 2)) == 2

    play(story())


def test_what_becomes_of_a_runs_own_thread(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            kept, gone = await made(s, on_run_completed="keep"), await made(s, on_run_completed="delete")
            clock.move(MINUTE)
            await fired(s, kept)
            await fired(s, gone)
            for run in await ended(s, 2):
                keeps = msgspec.json.decode(run.metadata)["cron_id"] == kept.cron_id
                assert (await s.get(f"/threads/{run.thread_id}")).status_code == (200 if keeps else 404)

    play(story())


def test_a_cron_on_a_thread_adds_to_it(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            thread = await s.thread()
            cron = await made(s, thread_id=thread)
            last = cron
            for count in (1, 2):
                clock.move(MINUTE)
                last = await fired(s, cron, last)
                assert {run.thread_id for run in await ended(s, count)} == {thread}
            with pytest.raises(InvalidInput, match="on_run_completed"):
                await s.app.engine.timetable.patch("", cron.cron_id, CronPatch(on_run_completed="keep"))
            await s.verbs.delete_thread("", thread)
            with pytest.raises(NotFound):
                await now(s, cron)

    play(story())


def test_a_busy_thread_is_dealt_with_as_the_strategy_says(server: Starter, clock: MovableClock) -> None:
    go_on = threading.Event()

    @agent
    async def held() -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.001)

    async def story() -> None:
        async with server(held, clock=clock) as s:
            threads = [await s.thread() for _ in range(2)]
            waits = await made(s, agent="held", thread_id=threads[0], payload={})
            rejects = await made(s, agent="held", thread_id=threads[1], payload={"multitask_strategy": "reject"})
            for thread in threads:
                await s.run(agent_id="held", thread_id=thread)
            clock.move(MINUTE)
            await fired(s, waits)
            passed = await fired(s, rejects)
            assert passed.last_error is not None
            assert "is busy with run" in passed.last_error
            assert passed.next_at == clock.now() + MINUTE * 1e6
            made_by = [msgspec.json.decode(run.metadata).get("cron_id") for run in await runs(s)]
            assert (made_by.count(waits.cron_id), made_by.count(rejects.cron_id)) == (1, 0)
            go_on.set()
            await ended(s, 3)

    play(story())


def test_a_cron_goes_on_where_its_runs_cannot_be_made(
    server: Starter, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            scheduler = s.app.engine.scheduler
            await scheduler.stop()
            cron = await made(s)
            faults: list[Exception] = [
                TooManyRuns("full"), StorageError("disk full"), ValueError("ours"), InvalidInput("theirs"),
                StorageError("odd", code="row_refused"),
            ]  # fmt: skip
            create = scheduler._create  # pyright: ignore[reportPrivateUsage]

            async def failing(owner: str, wish: CreateRun) -> Created:
                if faults:
                    raise faults.pop(0)
                return await create(owner, wish)

            monkeypatch.setattr(scheduler, "_create", failing)
            clock.move(MINUTE)
            for _ in range(2):  # what may be otherwise in a moment is tried again
                assert not await scheduler.run_once()
                assert await now(s, cron) == cron
            for why in ("the server failed; its log says why", "theirs", "odd", None):
                assert await scheduler.run_once()
                after = await now(s, cron)
                assert (after.fired_at, after.last_error) == (clock.now(), why)
                clock.move(MINUTE)
            assert len(await ended(s, 1)) == 1

    play(story())


def test_the_loop_wakes_by_itself_and_tries_again_soon(
    server: Starter, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            await asyncio.sleep(0)  # it sleeps, for there is nothing to do
            cron = await made(s, "* * * * * */2")
            create, tries = s.app.engine.scheduler._create, list[int]()  # pyright: ignore[reportPrivateUsage]

            async def failing(owner: str, wish: CreateRun) -> Created:
                tries.append(clock.now())
                if len(tries) == 1:
                    raise StorageError("disk full")
                return await create(owner, wish)

            monkeypatch.setattr(s.app.engine.scheduler, "_create", failing)
            while not await runs(s):
                clock.move(0.1)
                await asyncio.sleep(0.001)
            assert cron.next_at is not None
            assert tries[0] >= cron.next_at
            assert tries[1] - tries[0] >= AGAIN * 1e6

    play(story())


def test_changes_count_for_the_next_firing(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            timetable = s.app.engine.timetable
            cron = await made(s)
            await timetable.patch("", cron.cron_id, CronPatch(enabled=False))
            clock.move(5 * MINUTE)
            assert await s.app.engine.scheduler.run_once()
            assert await runs(s) == []
            await timetable.patch(
                "", cron.cron_id, CronPatch(enabled=True, schedule="* * * * * */10", payload={"input": {"n": 2}})
            )
            clock.move(10)
            await fired(s, cron)
            (run,) = await ended(s, 1)
            assert (await s.verbs.wait_run("", run.run_id)).state == {"input": b'{"n":2}'}
            await timetable.delete("", cron.cron_id)
            clock.move(MINUTE)
            assert await s.app.engine.scheduler.run_once()
            assert len(await runs(s)) == 1

    play(story())


def test_an_assistant_is_asked_as_it_is_when_its_cron_fires(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, other, clock=clock) as s:
            cron = await made(s)
            await s.app.engine.catalog.patch("", "echo", AssistantPatch(agent_id="other"))
            clock.move(MINUTE)
            await fired(s, cron)
            (run,) = await ended(s, 1)
            assert run.agent_id == "other"

    play(story())


@pytest.mark.sqlite("where servers share a database, an agent that was published stays one")
def test_a_cron_whose_agent_is_gone_says_so_and_can_be_switched_off(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, other, clock=clock) as s:
            cron = await made(s)
        async with server(other, clock=clock) as s:
            passed = await fired(s, cron)
            assert passed.last_error is not None
            assert "there is no such assistant" in passed.last_error
            timetable = s.app.engine.timetable
            with pytest.raises(NotFound):
                await timetable.patch("", cron.cron_id, CronPatch(payload={"input": 1}))
            off = await timetable.patch("", cron.cron_id, CronPatch(enabled=False))
            assert off.next_at is None
            with pytest.raises(NotFound):
                await timetable.patch("", cron.cron_id, CronPatch(enabled=True))

    play(story())


@pytest.mark.parametrize(
    ("schedule", "more", "field"),
    [
        ("* * *", {}, "schedule"),
        ("* * */20 * 1L", {}, "schedule"),
        ("* * * * *", {"timezone": "Mars/Olympus"}, "timezone"),
        ("* * * * *", {"payload": {"webhook": "ftp://x"}}, "webhook"),
        ("* * * * *", {"payload": {"stream_mode": "events"}}, "stream_mode"),
        ("* * * * *", {"payload": {"context": {"a": 1}}}, "context"),
    ],
)
def test_what_could_never_run_is_refused_when_it_is_made(
    server: Starter, schedule: str, more: dict[str, Any], field: str
) -> None:
    async def story() -> None:
        async with server(echo) as s:
            with pytest.raises(InvalidInput) as refused:
                await made(s, schedule, **more)
            assert refused.value.metadata["field"] == field

    play(story())


def test_crons_of_many_owners_are_let_fire_together(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            for number in range(120):
                await made(s, owner=f"o{number % 3}")
            clock.move(MINUTE)
            await s.until(lambda: holds(counted(s), lambda count: count == 120))
            assert await s.storage.due_crons(clock.now(), behind=None, limit=10) == []

    async def counted(s: Server) -> int:
        return sum([len(await runs(s, f"o{number}")) for number in range(3)])

    play(story())
