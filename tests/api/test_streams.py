"""A run's stream: what a reader is told, from where, and how it goes on after a break."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from asgi_client import Connection, Puppet, WatchedClock, connect, frames
from live_server import Server, Starter, holds, play

from runyard import Context, agent
from runyard.api.sse import LARGEST_PIECE

# Not that of any other wait in the server, so that a test can tell it from them.
GRACE = 7.0


@agent
async def everything(ctx: Context) -> None:
    """One thing of each kind, and then a failure."""
    await ctx.update({"n": 1})
    async with ctx.message() as message:
        await message.write("hel")
        await message.write("lo")
    await ctx.emit({"half": True}, name="progress")
    raise ValueError("no luck")


async def finished(s: Server, puppet: Puppet, **wish: Any) -> str:
    """The id of a run that emitted a, b and c, and has ended."""
    puppet.emit("a", "b", "c")
    puppet.end()
    run = await s.run(**{"stream_mode": "custom", **wish})
    await s.wait(run["run_id"])
    return run["run_id"]


async def read(s: Server, path: str, **headers: str) -> Connection:
    """The whole of a stream that ends."""
    return await connect(s, "GET", path, **headers).end()


async def parked(s: Server, clock: WatchedClock) -> None:
    """Until the grace period of a client's leaving has begun."""
    await s.until(lambda: GRACE in clock.waits)


async def settled(s: Server) -> None:
    """Whatever was about to be written is written: writes are made one after the other.

    Twice, since a task that was woken just now asks for its write after the first one was asked for.
    """
    await s.thread()
    await s.thread()


# what is told


def test_a_stream_tells_the_attempt_one_event_per_mode_the_error_and_the_end(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            modes = ["values", "updates", "messages", "custom"]
            stream = await connect(s, "POST", "/runs/stream", {"stream_mode": modes}).end()
            run_id = stream.headers["content-location"].removeprefix("/runs/")
            told = {event.event: event.data for event in stream.events}
            assert stream.names[0] == "metadata"
            assert told["metadata"] == {"run_id": run_id, "attempt": 1}
            assert told["updates"] == {"everything": {"messages": told["values"]["messages"]}}
            assert next(event.data for event in stream.events if event.event == "values") == {"n": 1}
            assert next(event.data for event in stream.events if event.event == "updates") == {"everything": {"n": 1}}
            assert told["values"]["n"] == 1
            assert told["values"]["messages"][0]["content"] == "hello"
            pieces = [m["content"] for e in stream.events if e.event == "messages" for m in e.data if m.get("delta")]
            assert pieces == ["hel", "lo"]
            assert told["custom"] == {"name": "progress", "payload": {"half": True}}
            assert told["error"] == {"code": "agent_error", "message": "ValueError: no luck"}
            assert told["end"] == {"run_id": run_id, "status": "error", "outcome": "failed"}
            assert stream.names[-2:] == ["error", "end"]
            assert set(stream.names) == {"metadata", *modes, "error", "end"}

    play(story())


def test_the_numbers_of_a_stream_rise_and_go_on_with_the_thread(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await s.thread()
            seen: list[int] = []
            for _ in range(3):
                stream = await connect(s, "POST", f"/threads/{thread}/runs/stream", {"stream_mode": "custom"}).end()
                assert len(stream.ids) == len(stream.names)
                seen += stream.ids
            assert seen == sorted(set(seen))

    play(story())


def test_a_stream_is_a_stream_whatever_the_client_accepts(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            run_id = await finished(s, puppet)
            puppet.end()
            for accept in ("application/json", "text/event-stream", "*/*"):
                stream = await read(s, f"/runs/{run_id}/stream", accept=accept)
                assert stream.status == 200
                assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
                assert stream.headers["cache-control"] == "no-store"
                assert stream.names == ["metadata", "end"]
            created = await connect(s, "POST", "/runs/stream", {}, accept="application/json").end()
            assert created.names == ["metadata", "end"]

    play(story())


def test_a_silent_stream_has_a_heartbeat(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, heartbeat=0.02) as s:
            stream = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"})
            await s.until(lambda: stream.received.count(b": heartbeat\n\n") >= 2)
            puppet.emit("a")
            puppet.end()
            await stream.end()
            assert stream.complete
            assert stream.names == ["metadata", "custom", "end"]

    play(story())


# from where


def test_without_a_cursor_a_run_is_joined_live(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            puppet.emit("early")
            created = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"})
            await created.until('"early"')
            live = connect(s, "GET", created.headers["content-location"] + "/stream")
            await live.until("metadata")
            puppet.emit("late")
            puppet.end()
            await live.end()
            await created.end()
            assert created.payloads == ["early", "late"]
            assert live.names == ["metadata", "custom", "end"]
            assert live.payloads == ["late"]
            # What was made up for this reader has no number: its cursor must not move by it.
            assert live.ids == created.ids[-2:]

    play(story())


def test_a_run_that_waits_is_joined_before_it_begins(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            first = await s.run(thread_id=thread)
            second = await s.run(thread_id=thread, multitask_strategy="enqueue", stream_mode="custom")
            stream = connect(s, "GET", f"/runs/{second['run_id']}/stream")
            await s.until(lambda: s.app.engine.streams.readers == 1)
            puppet.end()
            await s.wait(first["run_id"])
            puppet.emit("a")
            puppet.end()
            await stream.end()
            assert stream.names == ["metadata", "custom", "end"]
            assert len(stream.ids) == 3

    play(story())


def test_a_finished_run_without_a_cursor_tells_its_attempt_and_its_end(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            run_id = await finished(s, puppet)
            stream = await read(s, f"/runs/{run_id}/stream")
            assert stream.complete
            assert [(event.event, event.data) for event in stream.events] == [
                ("metadata", {"run_id": run_id, "attempt": 1}),
                ("end", {"run_id": run_id, "status": "success", "outcome": "completed"}),
            ]

    play(story())


@pytest.mark.parametrize("start", ["0", "-1", "-"])
def test_a_cursor_at_the_start_replays_everything(server: Starter, start: str) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            run_id = await finished(s, puppet)
            for stream in (
                await read(s, f"/runs/{run_id}/stream?since={start}"),
                await read(s, f"/runs/{run_id}/stream", last_event_id=start),
            ):
                assert stream.names == ["metadata", "custom", "custom", "custom", "end"]
                assert stream.payloads == ["a", "b", "c"]
                assert len(stream.ids) == 5
                assert "runyard-missed" not in stream.headers

    play(story())


@pytest.mark.parametrize("cursor", ["1000", "999999999999999999"])
def test_a_cursor_beyond_the_log_shows_what_comes_from_now_on_to_the_end(server: Starter, cursor: str) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            puppet.emit("a")
            stream = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"}, last_event_id=cursor)
            await stream.until('"a"')
            run = stream.headers["content-location"]
            other = connect(s, "GET", f"{run}/stream?since={cursor}")
            await s.until(lambda: other.status == 200)
            puppet.emit("b")
            puppet.end()
            await stream.end()
            await other.end()
            assert (stream.payloads, stream.names[-1]) == (["a", "b"], "end")
            assert (other.payloads, other.names[-1]) == (["b"], "end")
            late = await read(s, f"{run}/stream?since={cursor}")
            assert late.names == ["end"]

    play(story())


def test_a_cursor_replays_what_comes_after_it_and_the_header_wins(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            run_id = await finished(s, puppet)
            whole = await read(s, f"/runs/{run_id}/stream?since=0")
            path = f"/runs/{run_id}/stream"
            for place, number in enumerate(whole.ids):
                rest = whole.ids[place + 1 :] or whole.ids[-1:]  # the end is told to everyone
                assert (await read(s, f"{path}?since={number}")).ids == rest
                assert (await read(s, path, last_event_id=str(number))).ids == rest
                assert (await read(s, f"{path}?since=0", last_event_id=str(number))).ids == rest

    play(story())


def test_a_replay_goes_on_with_what_comes(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            puppet.emit(*range(1200))  # more than one page of the log
            run = await s.run(stream_mode="custom")
            path = f"/runs/{run['run_id']}/stream"
            first = connect(s, "GET", f"{path}?since=0")
            await first.until('"payload":1199}')
            late = connect(s, "GET", path, last_event_id=str(first.ids[700]))
            await late.until('"payload":1199}')
            puppet.emit("more")
            puppet.end()
            await first.end()
            await late.end()
            assert first.payloads == [*range(1200), "more"]
            assert late.ids == first.ids[701:]

    play(story())


def test_a_replay_shows_the_modes_that_are_asked_for_now(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            run = await s.run(stream_mode="values")
            await s.wait(run["run_id"])
            path = f"/runs/{run['run_id']}/stream?since=0"
            always = {"metadata", "error", "end"}
            assert set((await read(s, path)).names) == {*always, "values"}
            assert set((await read(s, f"{path}&stream_mode=custom")).names) == {*always, "custom"}
            both = await read(s, f"{path}&stream_mode=updates,messages&stream_mode=custom")
            assert set(both.names) == {*always, "updates", "messages", "custom"}

    play(story())


@pytest.mark.parametrize("cursor", ["abc", "", "1.5", "-2", "+1", "1e3", "²", "9" * 20, str(2**63)])
def test_a_cursor_that_is_no_number_is_refused(server: Starter, cursor: str) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            run_id = await finished(s, puppet)
            asked = (await s.http.get(f"/runs/{run_id}/stream", params={"since": cursor})).json()
            assert (asked["code"], asked["metadata"]["field"]) == ("validation_error", "since")
            if not cursor.isascii():
                return
            stream = await read(s, f"/runs/{run_id}/stream", last_event_id=cursor)
            assert (stream.status, stream.json["metadata"]["field"]) == (422, "Last-Event-ID")
            created = await connect(s, "POST", "/runs/stream", {}, last_event_id=cursor).end()
            assert created.status == 422
            assert len((await s.post("/runs/search")).json()) == 1

    play(story())


@pytest.mark.parametrize("gone", ["some", "all"])
def test_a_cursor_below_the_floor_of_the_log_is_told_what_is_gone(server: Starter, tmp_path: Path, gone: str) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            puppet.emit("early")
            run = await s.run(thread_id=thread, stream_mode="custom")
            first = connect(s, "GET", f"/runs/{run['run_id']}/stream?since=0")
            await first.until('"early"')
            puppet.emit("late")
            puppet.end()
            await first.end()
        floor = first.ids[1] if gone == "some" else first.ids[-1]
        with closing(sqlite3.connect(tmp_path / "runyard.db")) as database:
            database.execute("DELETE FROM events WHERE last_seq <= ?", (floor,))
            database.execute("UPDATE threads SET floor_seq = ?", (floor,))
            database.commit()
        async with server(puppet.agent) as s:
            late = await read(s, f"/runs/{run['run_id']}/stream?since=0")
            assert late.headers["runyard-missed"] == f"1-{floor}"
            assert late.names == (["custom", "end"] if gone == "some" else ["end"])
            assert late.events[-1].data == first.events[-1].data
            joined = await read(s, f"/runs/{run['run_id']}/stream")
            assert joined.names == ["metadata", "end"]
            above = await read(s, f"/runs/{run['run_id']}/stream?since={first.ids[-2]}")
            assert ("runyard-missed" in above.headers) == (gone == "all")

    play(story())


def test_a_run_that_outlives_its_thread_can_be_replayed_until_it_expires(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, stateless_retention=100) as s:
            thread = await s.thread()
            puppet.do(lambda ctx: ctx.update({"n": 1}))
            run_id = await finished(s, puppet, thread_id=thread, on_completion="delete")
            assert (await s.get(f"/threads/{thread}")).status_code == 404
            before = await read(s, f"/runs/{run_id}/stream?since=0&stream_mode=values,custom")
            clock.move(99)
            await s.app.engine.reaper.run_once()
            after = await read(s, f"/runs/{run_id}/stream?since=0&stream_mode=values,custom")
            assert after.names == ["metadata", "values", "custom", "custom", "custom", "end"]
            assert after.received == before.received
            assert "runyard-missed" not in after.headers
            assert (await s.wait(run_id))["values"] == {"n": 1}
            clock.move(2)
            await s.app.engine.reaper.run_once()
            assert (await read(s, f"/runs/{run_id}/stream?since=0")).status == 404

    play(story())


# breaks


def test_a_slow_reader_is_cut_and_resumes_by_its_cursor_and_the_run_does_not_wait(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, reader_queue_bytes=65536) as s:
            slow = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"})
            await slow.until("metadata")
            run_path = slow.headers["content-location"]
            slow.stop_reading()
            beside = connect(s, "GET", f"{run_path}/stream", last_event_id="0")
            payloads = [f"{number} {'x' * 4000}" for number in range(60)]
            for payload in payloads:  # in commits of their own
                puppet.emit(payload)
                await beside.until(payload)
            assert s.app.engine.streams.readers == 1
            puppet.emit("last")
            puppet.end()
            # The one who created the run is cut: that is no leaving, and the run goes on to its end.
            assert (await s.wait(run_path.removeprefix("/runs/")))["status"] == "success"
            slow.read_on()
            await slow.end()
            assert slow.complete
            assert "end" not in slow.names
            assert [": too slow and cut, reconnect with Last-Event-ID"] in frames(slow.received)
            rest = await read(s, f"{run_path}/stream", last_event_id=str(slow.ids[-1]))
            assert slow.payloads + rest.payloads == [*payloads, "last"]
            assert rest.names[-1] == "end"
            numbers = slow.ids + rest.ids
            assert numbers == sorted(set(numbers))
            assert (await beside.end()).payloads == [*payloads, "last"]

    play(story())


def test_no_reader_is_cut_for_one_large_commit_and_no_client_is_sent_it_in_one_piece(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, reader_queue_bytes=65536) as s:
            reading = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"})
            await reading.until("metadata")
            payloads = [*("x" * 3000 + str(number) for number in range(100)), "y" * 300_000]

            async def pour(ctx: Context) -> None:
                for payload in payloads:
                    await ctx.emit(payload)

            puppet.do(pour)
            puppet.end()
            await reading.end()
            assert reading.payloads == payloads
            assert reading.names[-1] == "end"
            assert s.app.engine.streams.cut == 0
            assert reading.largest_piece <= LARGEST_PIECE

    play(story())


def test_a_drain_ends_a_stream_in_order_and_the_next_server_goes_on_with_it(server: Starter) -> None:
    door = Puppet()

    @agent
    async def two_steps(ctx: Context) -> None:
        await ctx.emit("one")
        async for order in door.given():
            await order(ctx)

    async def story() -> None:
        async with server(two_steps, drain_grace=0) as s:
            run = await s.run(stream_mode="custom")
            stream = connect(s, "GET", f"/runs/{run['run_id']}/stream?since=0")
            await stream.until('"one"')
            await s.app.engine.drain()
            await stream.end()
            assert stream.complete
            assert stream.names == ["metadata", "custom"]
            assert list(frames(stream.received))[-1][-1] == ": draining, reconnect with Last-Event-ID"
            late = await read(s, f"/runs/{run['run_id']}/stream?since=0")
            assert late.ids == stream.ids
        async with server(two_steps) as s:
            again = connect(s, "GET", f"/runs/{run['run_id']}/stream", last_event_id=str(stream.ids[-1]))
            await again.until("metadata")
            door.emit("two")
            door.end()
            await again.end()
            assert (stream.payloads, again.payloads) == (["one"], ["two"])
            assert again.events[0].data["attempt"] == 1
            assert min(again.ids) > max(stream.ids)
            assert again.names[-1] == "end"

    play(story())


def test_a_wait_on_a_server_that_drains_is_told_to_come_back(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, drain_grace=0) as s:
            run = await s.run()
            waits = [
                asyncio.ensure_future(s.get(f"/runs/{run['run_id']}/wait")),
                asyncio.ensure_future(s.post("/runs/wait", {})),
            ]
            await s.until(lambda: s.app.engine.worker.executing == 2)
            await settled(s)
            await s.app.engine.drain()
            for waiting in waits:
                answer = await waiting
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
                assert int(answer.headers["retry-after"]) > 0
            assert (await s.get(f"/runs/{run['run_id']}")).json()["status"] == "pending"

    play(story())


# on_disconnect


async def left_after(s: Server, puppet: Puppet, clock: WatchedClock, **wish: Any) -> str:
    """The id of a run whose creator has read one event and closed its stream."""
    puppet.emit("a")
    stream = connect(s, "POST", "/runs/stream", {"stream_mode": "custom", **wish}, idempotency_key="k")
    await stream.until('"a"')
    await stream.leave()
    if wish.get("on_disconnect") != "continue":
        await parked(s, clock)
    return stream.headers["content-location"].removeprefix("/runs/")


async def goes_on(s: Server, puppet: Puppet, run_id: str) -> None:
    """Nothing has asked the run to stop; it ends when its code does."""
    await settled(s)
    assert (await s.storage.run("", run_id)).cancel is None
    puppet.end()
    assert (await s.wait(run_id))["run"]["outcome"] == "completed"


async def is_cancelled(s: Server, run_id: str) -> None:
    """The run ends although its code does not. Nobody attaches before that: it would keep the run going."""
    await s.until(lambda: holds(s.storage.run("", run_id), lambda run: run.finished))
    assert (await s.wait(run_id))["run"]["outcome"] == "cancelled"


def test_a_run_is_cancelled_when_its_creator_has_been_away_for_the_grace_period(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            run_id = await left_after(s, puppet, clock)
            clock.move(GRACE)
            await is_cancelled(s, run_id)

    play(story())


def test_a_run_goes_on_during_the_grace_period(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            run_id = await left_after(s, puppet, clock)
            clock.move(GRACE - 0.001)
            await goes_on(s, puppet, run_id)

    play(story())


def test_a_run_that_is_to_continue_does(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            run_id = await left_after(s, puppet, clock, on_disconnect="continue")
            clock.move(100)
            await goes_on(s, puppet, run_id)
            assert GRACE not in clock.waits

    play(story())


@pytest.mark.parametrize("how", ["stream", "wait", "the same key"])
def test_a_run_goes_on_when_somebody_attaches_within_the_grace_period(server: Starter, how: str) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            run_id = await left_after(s, puppet, clock)
            clock.move(GRACE - 1)
            if how == "stream":
                attached = connect(s, "GET", f"/runs/{run_id}/stream")
                await attached.until("metadata")
            elif how == "wait":
                attached = connect(s, "GET", f"/runs/{run_id}/wait")
            else:
                attached = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"}, idempotency_key="k")
                await attached.until('"a"')
            await settled(s)
            clock.move(GRACE)
            await goes_on(s, puppet, run_id)
            await attached.end()
            assert run_id.encode() in attached.received

    play(story())


def test_the_repeated_creators_leaving_counts_like_the_first_ones(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            run_id = await left_after(s, puppet, clock)
            again = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"}, idempotency_key="k")
            await again.until('"a"')
            clock.waits.clear()
            await again.leave()
            await parked(s, clock)
            clock.move(GRACE)
            await is_cancelled(s, run_id)

    play(story())


def test_the_leaving_of_somebody_who_only_looks_is_nothing(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            run = await s.run()
            looking = connect(s, "GET", f"/runs/{run['run_id']}/stream")
            await looking.until("metadata")
            await looking.leave()
            clock.move(100)
            await goes_on(s, puppet, run["run_id"])
            assert GRACE not in clock.waits

    play(story())


def test_a_wait_that_is_dropped_cancels_its_run_too(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE) as s:
            waiting = connect(s, "POST", "/runs/wait", {})
            await s.until(lambda: bool(waiting.received))  # the newline that keeps it alive
            await waiting.leave()
            await parked(s, clock)
            run_id = (await s.post("/runs/search")).json()[0]["run_id"]
            clock.move(GRACE)
            await is_cancelled(s, run_id)

    play(story())


def test_a_drain_is_no_leaving(server: Starter) -> None:
    async def story() -> None:
        puppet, clock = Puppet(), WatchedClock()
        async with server(puppet.agent, clock=clock, disconnect_grace=GRACE, drain_grace=0) as s:
            stream = connect(s, "POST", "/runs/stream", {"stream_mode": "custom"})
            await stream.until("metadata")
            draining = asyncio.ensure_future(s.app.engine.drain())
            while not draining.done():
                clock.move(1)
                await asyncio.sleep(0.001)
            await stream.end()
            clock.move(100)
            run_id = stream.headers["content-location"].removeprefix("/runs/")
            run = (await s.get(f"/runs/{run_id}")).json()
            assert (run["status"], run["outcome"], GRACE in clock.waits) == ("pending", None, False)

    play(story())
