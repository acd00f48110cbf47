"""The engine over a database that fails for a while: nothing is given up, nobody stops looking, no run is forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from live_server import MovableClock, Server, Starter, holds, play, told

from runyard import Context, agent
from runyard.errors import StorageError, Unavailable
from runyard.storage.contract import STORAGE_PATIENCE


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input}


@agent
async def steps(input: int, ctx: Context) -> dict[str, Any]:
    return {"done": [await ctx.step("step", lambda number=number: number) for number in range(input)]}


@agent
async def hold(ctx: Context) -> None:
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


class Gate:
    """Holds code that neither waits nor calls its context."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()

    def agent(self) -> Any:
        def stubborn() -> None:
            self.begun.set()
            self.opened.wait(10)

        return agent(stubborn)


def disk_full() -> Unavailable:
    return Unavailable("the disk is full: nothing was written", code="disk_full")


def row_refused() -> StorageError:
    return StorageError("the database refused a row", code="row_refused")


@contextmanager
def failing(server: Server, verb: str, error: Any = disk_full, *, times: int = 10**9) -> Generator[list[int]]:
    """Calls of a verb of the storage fail; the list grows by one with each."""
    storage: Any = server.storage
    whole = getattr(storage, verb)
    failed: list[int] = []

    def once() -> None:
        if len(failed) < times:
            failed.append(1)
            raise error()

    if asyncio.iscoroutinefunction(whole):

        async def fail(*args: Any, **more: Any) -> Any:
            once()
            return await whole(*args, **more)

        setattr(storage, verb, fail)
    else:

        def fail_inline(*args: Any, **more: Any) -> Any:
            once()
            return whole(*args, **more)

        setattr(storage, verb, fail_inline)
    try:
        yield failed
    finally:
        delattr(storage, verb)


async def moved(server: Server, clock: MovableClock, true: Any) -> None:
    """Lets the server work, and time pass, until something holds."""
    while not await told(true()):
        clock.move(STORAGE_PATIENCE)
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("verb", ["next_due", "claim"])
@pytest.mark.parametrize("error", [disk_full, RuntimeError])
def test_the_worker_goes_on_claiming(server: Starter, clock: MovableClock, verb: str, error: Any) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            with failing(s, verb, error) as failed:
                run = await s.run(input=1, after_seconds=1)
                await moved(s, clock, lambda: len(failed) > 3)
                assert (await s.storage.run("", run["run_id"])).status == "pending"
            await moved(s, clock, lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))

    play(story())


def test_a_worker_that_is_refused_does_not_spin(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            with failing(s, "claim") as failed:
                await s.run(input=1, after_seconds=0.001)  # overdue from then on: there is no later time to wait for
                await s.until(lambda: bool(failed))
                for _ in range(30):
                    await asyncio.sleep(0.001)
                assert len(failed) <= 2

    play(story())


@pytest.mark.parametrize("verb", ["append", "finish"])
def test_what_the_code_did_waits_until_it_can_be_stored(server: Starter, clock: MovableClock, verb: str) -> None:
    async def story() -> None:
        async with server(steps, clock=clock) as s:
            with failing(s, verb) as failed:
                run = await s.run(input=3)
                await moved(s, clock, lambda: len(failed) > 3)
                assert not (await s.storage.run("", run["run_id"])).finished
            await moved(s, clock, lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))
            done = await s.wait(run["run_id"])
            assert done["values"] == {"done": [0, 1, 2]}
            assert done["run"]["attempt"] == 1

    play(story())


def test_an_attempt_begins_when_what_it_begins_with_can_be_read(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            thread = await s.thread()
            first = await s.run(thread_id=thread, input=1)
            await s.wait(first["run_id"])
            s.storage._snapshots.clear()  # type: ignore[attr-defined]
            with failing(s, "snapshot", times=3) as failed:
                run = await s.run(thread_id=thread, input=2)
                await moved(s, clock, lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))
            assert len(failed) == 3
            assert (await s.storage.run("", run["run_id"])).status == "success"

    play(story())


@pytest.mark.parametrize("verb", ["append", "finish", "snapshot"])
def test_a_run_that_cannot_be_stored_ends_and_frees_its_thread(server: Starter, verb: str) -> None:
    async def story() -> None:
        async with server(steps) as s:
            thread = await s.thread()
            await s.wait((await s.run(thread_id=thread, input=1))["run_id"])
            s.storage._snapshots.clear()  # type: ignore[attr-defined]
            with failing(s, verb, row_refused if verb != "snapshot" else RuntimeError, times=1):
                run = await s.run(thread_id=thread, input=2)
                await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))
            ended = await s.storage.run("", run["run_id"])
            assert (ended.status, ended.failure and ended.failure.code) == ("error", "internal_error")
            assert (await s.storage.thread("", thread)).status == "error"
            await s.until(lambda: s.app.engine.worker.executing == 0)
            assert (await s.wait((await s.run(thread_id=thread, input=2))["run_id"]))["status"] == "success"

    play(story())


def test_a_cancel_is_heard_although_the_look_at_the_run_failed(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(hold, clock=clock) as s:
            run = await s.run()
            await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None))
            whole = s.storage.run
            looks: list[int] = []

            def fail(owner: str, run_id: str) -> Any:
                if not looks:
                    looks.append(1)
                    raise StorageError("the database failed")
                return whole(owner, run_id)

            done = await s.storage.cancel("", run["run_id"], "interrupt", 1, None)
            assert done.how == "stopping"
            s.storage.run = fail  # type: ignore[method-assign]
            s.app.engine._hints.publish(f"run:{run['run_id']}")
            await s.until(lambda: bool(looks))
            s.storage.run = whole  # type: ignore[method-assign]
            await moved(s, clock, lambda: holds(whole("", run["run_id"]), lambda run: run.finished))
            assert (await whole("", run["run_id"])).outcome == "cancelled"

    play(story())


def test_code_that_does_not_stop_is_abandoned_as_soon_as_that_can_be_stored(
    server: Starter, clock: MovableClock
) -> None:
    async def story() -> None:
        gate = Gate()
        async with server(gate.agent(), clock=clock, cancel_grace=1) as s:
            run = await s.run()
            await s.until(gate.begun.is_set)
            with failing(s, "abandon") as failed:
                await s.http.post(f"/runs/{run['run_id']}/cancel")
                await moved(s, clock, lambda: len(failed) > 2)
            await moved(s, clock, lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))
            assert (await s.storage.run("", run["run_id"])).outcome == "abandoned"
            gate.opened.set()

    play(story())


def test_code_that_ends_while_it_cannot_be_abandoned_is_recorded(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        gate = Gate()
        async with server(gate.agent(), clock=clock, cancel_grace=1) as s:
            run = await s.run()
            await s.until(gate.begun.is_set)
            with failing(s, "abandon") as failed:
                await s.http.post(f"/runs/{run['run_id']}/cancel")
                await moved(s, clock, lambda: len(failed) > 2)
                gate.opened.set()
                await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))
            assert (await s.storage.run("", run["run_id"])).outcome in ("cancelled", "completed")

    play(story())


def test_a_drain_ends_although_nothing_can_be_given_back(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(hold, clock=clock, drain_grace=0) as s:
            run = await s.run()
            await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None))
            with failing(s, "requeue"):
                draining = asyncio.ensure_future(s.app.engine.drain())
                while not draining.done():
                    clock.move(0.1)
                    await asyncio.sleep(0.001)
                assert draining.exception() is None

    play(story())


def test_a_run_whose_client_left_is_cancelled_as_soon_as_that_can_be_stored(
    server: Starter, clock: MovableClock
) -> None:
    async def story() -> None:
        async with server(hold, clock=clock, disconnect_grace=1) as s:
            run = await s.run()
            await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None))
            with failing(s, "cancel") as failed:
                s.verbs.disconnected("", run["run_id"])
                await moved(s, clock, lambda: len(failed) > 2)
            await moved(s, clock, lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.finished))

    play(story())


def test_sweeping_goes_on(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock, sweep_interval=10, stateless_retention=5) as s:
            run = await s.run(input=1)
            await s.wait(run["run_id"])
            with failing(s, "purge", RuntimeError) as failed:
                while len(failed) < 3:
                    clock.move(10)
                    await asyncio.sleep(0.001)
            while True:
                clock.move(10)
                await asyncio.sleep(0.001)
                if (await s.get(f"/runs/{run['run_id']}")).status_code == 404:
                    break

    play(story())


@pytest.mark.parametrize("verb", ["last_seq", "run", "floor_seq"])
def test_a_reader_that_could_not_join_leaves_nothing_behind(server: Starter, verb: str) -> None:
    async def story() -> None:
        async with server(hold, drain_grace=0) as s:
            run = await s.storage.run("", (await s.run())["run_id"])
            with failing(s, verb):
                with pytest.raises(Unavailable):
                    await s.app.engine.streams.join(run, 0)
            assert s.app.engine.streams.readers == 0

    play(story())


def test_a_server_that_could_not_take_over_lets_go_of_the_database(server: Starter, tmp_path: Any) -> None:
    async def story() -> None:
        async with server(echo) as s:
            await s.run(input=1)
        whole = type(s.storage).recover

        async def fail(*args: Any) -> Any:
            raise disk_full()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(s.storage), "recover", fail)
            with pytest.raises(Unavailable, match="disk is full"):
                async with server(echo):
                    pass
        assert type(s.storage).recover is whole
        async with server(echo) as s:
            assert (await s.get("/ready")).status_code == 200

    play(story())
