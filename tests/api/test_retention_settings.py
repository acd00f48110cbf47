"""The retention settings, as a client sees them: what is gone, what stays, and what a late reader is told."""

from __future__ import annotations

from typing import Any

from asgi_client import connect
from live_server import MovableClock, Server, Starter, play

from runyard import Context, agent

DAY = 86400.0


@agent
async def count(input: int, ctx: Context) -> dict[str, Any]:
    for number in range(input):
        await ctx.emit(number)
    return {"counted": input}


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    paid = await ctx.step("pay", lambda: "paid")
    return {paid: await ctx.interrupt("sure?")}


async def swept(s: Server, clock: MovableClock, seconds: float) -> None:
    """Time passes, and a sweep has ended since."""
    clock.move(seconds)
    await s.app.engine.reaper.run_once()


async def status(s: Server, path: str) -> int:
    return (await s.get(path)).status_code


def test_run_retention_removes_runs_and_keeps_the_thread(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(count, clock=clock, run_retention=7 * DAY) as s:
            thread_id = await s.thread()
            run = (await s.post("/runs/wait", {"thread_id": thread_id, "input": 3})).json()["run"]
            await swept(s, clock, 6 * DAY)
            assert await status(s, f"/runs/{run['run_id']}") == 200
            await swept(s, clock, 2 * DAY)
            for path in (f"/runs/{run['run_id']}", f"/runs/{run['run_id']}/wait", f"/runs/{run['run_id']}/stream"):
                assert await status(s, path) == 404
            assert (await s.get(f"/threads/{thread_id}")).json()["values"] == {"counted": 3}
            assert (await s.get(f"/threads/{thread_id}/runs")).json() == []
            assert len((await s.get(f"/threads/{thread_id}/history")).json()) == 1
            told = (await s.get("/metrics")).text
            assert 'runyard_swept_total{what="runs"} 0.0' in told  # told of by the sweeps that the server makes itself

    play(story())


def test_the_server_sweeps_by_itself(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(count, clock=clock, run_retention=DAY, sweep_interval=60) as s:
            thread_id = await s.thread()
            await s.post("/runs/wait", {"thread_id": thread_id, "input": 3})
            heard: list[dict[str, Any]] = []
            s.app.engine.telemetry.subscribe(lambda event, fields: heard.append(fields) if event == "swept" else None)
            clock.move(2 * DAY)
            await s.until(lambda: len(heard) > 0)
            assert heard[0]["runs"] == 1
            assert 'runyard_swept_total{what="runs"} 1.0' in (await s.get("/metrics")).text

    play(story())


def test_event_retention_keeps_runs_and_tells_a_late_reader_what_it_misses(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(count, clock=clock, event_retention=DAY) as s:
            thread_id = await s.thread()
            run = (await s.post("/runs/wait", {"thread_id": thread_id, "input": 3})).json()["run"]
            path = f"/runs/{run['run_id']}"
            whole = await connect(s, "GET", f"{path}/stream?since=0&stream_mode=custom").end()
            assert whole.payloads == [0, 1, 2]
            assert "runyard-missed" not in whole.headers
            last = await s.storage.last_seq("", thread_id)
            await swept(s, clock, 2 * DAY)
            assert (await s.get(path)).json()["status"] == "success"
            assert (await s.get(f"{path}/wait")).json()["values"] == {"counted": 3}
            late = await connect(s, "GET", f"{path}/stream?since=2&stream_mode=custom").end()
            assert late.headers["runyard-missed"] == f"3-{last}"
            assert late.names == ["end"]
            assert late.events[-1].data["status"] == "success"
            without_cursor = await connect(s, "GET", f"{path}/stream").end()
            assert without_cursor.names == ["metadata", "end"]
            # What comes after is whole.
            again = (await s.post("/runs/wait", {"thread_id": thread_id, "input": 2})).json()["run"]
            replayed = await connect(s, "GET", f"/runs/{again['run_id']}/stream?since=0&stream_mode=custom").end()
            assert replayed.payloads == [0, 1]
            assert "runyard-missed" not in replayed.headers

    play(story())


def test_thread_retention_removes_idle_threads_and_never_one_that_waits_for_an_answer(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(count, ask, clock=clock, thread_retention=DAY, run_retention=DAY) as s:
            idle, asking = await s.thread(), await s.thread()
            run = (await s.post("/runs/wait", {"thread_id": idle, "input": 3})).json()["run"]
            await s.post("/runs/wait", {"thread_id": asking, "agent_id": "ask"})
            await swept(s, clock, 2 * DAY)
            assert await status(s, f"/threads/{idle}") == 404
            assert await status(s, f"/runs/{run['run_id']}") == 404
            assert (await s.get(f"/threads/{asking}")).json()["status"] == "interrupted"
            answer = {"thread_id": asking, "command": {"resume": "yes"}}
            done = (await s.post("/runs/wait", answer)).json()
            assert (done["status"], done["values"]) == ("success", {"paid": "yes"})
            await swept(s, clock, 2 * DAY)
            await swept(s, clock, 2 * DAY)
            figures = await s.storage.figures()
            assert [figures[table] for table in ("runs", "events", "checkpoints", "items")] == [0, 0, 0, 0]

    play(story())


def test_without_the_settings_everything_on_threads_stays(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(count, clock=clock) as s:
            thread_id = await s.thread()
            run = (await s.post("/runs/wait", {"thread_id": thread_id, "input": 3})).json()["run"]
            await swept(s, clock, 3650 * DAY)
            again = await connect(s, "GET", f"/runs/{run['run_id']}/stream?since=0&stream_mode=custom").end()
            assert again.payloads == [0, 1, 2]

    play(story())
