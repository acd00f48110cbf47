"""From where a subscription begins: cursors, the state now, what has gone from the log, threads that are not there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
from asgi_client import Puppet, Socket, connect, speak
from live_server import Server, Starter, holds, play
from streaming_frames import CHANNELS, Frame, check_event
from watching import ALL, Transport, Watch, a_whole_story, everything, log_of, send, settled, watch, word

from runyard import Context
from runyard.api.sse import LARGEST_PIECE
from runyard.api.streaming import feed

transports = pytest.mark.parametrize("transport", get_args(Transport))
ABSENT = "01a20c2f-0000-7000-8000-000000000000"
ALL_BUT_VALUES = sorted(CHANNELS - {"values"})


def numbered(frames: list[Frame]) -> list[int]:
    """Of each event the number of the entry of the log that it tells."""
    return [int(frame["eventId"].partition("-")[0]) for frame in frames]


async def gets(s: Server, thread: str, expected: list[Frame], transport: Transport, **wish: Any) -> None:
    seen = await watch(s, thread, transport=transport, **wish)
    await seen.until(lambda told: len(told) >= len(expected))
    if isinstance(seen.connection, Socket):
        assert seen.connection.received[0]["result"]["replayedEvents"] == len(expected)
    else:
        await settled(s)
    assert seen.frames == expected
    await seen.leave()


@transports
def test_behind_every_event_comes_the_rest(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            assert any("-" in frame["eventId"] for frame in frames)
            for index, frame in list(enumerate(frames))[:: 2 if transport == "websocket" else 9]:
                await gets(s, thread, frames[index + 1 :], transport, sinceEventId=frame["eventId"])
            for number in sorted({0, *numbered(frames)})[:: 2 if transport == "websocket" else 9]:
                rest = [f for f, at in zip(frames, numbered(frames), strict=True) if at > number]
                await gets(s, thread, rest, transport, since=number)
            await gets(s, thread, [], transport, since=2**53 - 1)

    play(story())


def test_the_id_in_the_body_counts_before_the_number_and_that_before_the_header(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            whole = [f for f in frames if "seq" in f]
            early, middle, late = (whole[at]["eventId"] for at in (3, 6, 9))
            for wish, header, begins in [
                ({"sinceEventId": early, "since": int(middle)}, late, early),
                ({"sinceEventId": late, "since": int(early)}, middle, late),
                ({"since": int(middle)}, early, middle),
                ({"since": int(middle)}, late, middle),
                ({"sinceEventId": late}, early, late),
                ({}, late, late),
            ]:
                body = {"channels": ALL, **wish}
                connection = connect(s, "POST", f"/threads/{thread}/stream", body, last_event_id=header)
                seen = Watch(s, connection)
                expected = frames[[f["eventId"] for f in frames].index(begins) + 1 :]
                await seen.until(lambda told, expected=expected: len(told) >= len(expected))
                assert seen.frames == expected
                await seen.leave()

    play(story())


# without a cursor


@transports
def test_without_a_cursor_the_state_comes_first_and_then_what_the_newest_run_told(
    server: Starter, transport: Transport
) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            newest = [f for f in frames if f["runId"] == frames[-1]["runId"] and f["method"] != "values"]
            now = (await s.get(f"/threads/{thread}/history?limit=1")).json()[0]
            for wish in ({}, {"namespaces": [[]], "depth": 0}):
                seen = await watch(s, thread, ALL, transport, **wish)
                await seen.until_told("completed")
                first, *rest = seen.frames
                assert rest == newest
                assert first["eventId"] == f"snap:{now['checkpoint']['checkpoint_id']}"
                assert ("seq" in first, "runId" in first, first["method"]) == (False, False, "values")
                state = {**now["values"], "messages": now["messages"]}
                assert first["params"]["data"] == state
                await seen.leave()
            for channels, more in [(ALL_BUT_VALUES, {}), (ALL, {"namespaces": [["child"]]})]:
                seen = await watch(s, thread, channels, transport, **more)
                if not more:
                    await seen.until_told("completed")
                    assert seen.frames == newest
                await settled(s)
                assert not any(frame["eventId"].startswith("snap:") for frame in seen.frames)
                await seen.leave()
            alone = await watch(s, thread, ["values"], transport)
            await alone.until(lambda told: bool(told))
            await settled(s)
            assert alone.frames[0]["params"]["data"] == state
            assert len(alone.frames) == 1
            await alone.leave()

    play(story())


@transports
def test_while_a_run_executes_it_is_told_from_its_beginning(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            puppet.emit("before")
            puppet.end()
            before = await s.run(thread_id=thread)
            await s.wait(before["run_id"])
            early = await watch(s, thread, ALL, transport, since=2**53 - 1)
            puppet.emit("a")
            puppet.do(lambda ctx: ctx.update({"n": 1}))
            run = await s.run(thread_id=thread)
            await s.run(thread_id=thread, multitask_strategy="enqueue")
            await early.until(lambda told: "custom:a" in told)
            await s.until(lambda: holds(s.storage.thread("", thread), lambda found: found.head is not None))
            await settled(s)
            late = await watch(s, thread, ALL, transport)
            puppet.emit("b")
            await late.until_told("custom:b")
            assert late.told == ["values", "started", "running", "custom:a", "updates", "checkpoints", "custom:b"]
            assert {frame["runId"] for frame in late.frames[1:]} == {run["run_id"]}
            assert late.frames[0]["params"]["data"] == {"n": 1}
            puppet.end()
            puppet.end()
            await late.until(lambda told: told.count("completed") == 2)
            await early.until(lambda told: told.count("completed") == 2)
            assert early.told.count("values") == 1
            await late.leave()
            await early.leave()

    play(story())


def test_the_state_that_a_subscription_begins_with_is_not_followed_by_older_ones(server: Starter) -> None:
    """While a socket's client does not read, steps are made; then it subscribes to states, too."""

    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            socket = speak(s, thread)
            await socket.ask("subscription.subscribe", channels=["custom", "checkpoints"])
            run = await s.run(thread_id=thread)
            puppet.emit("a")
            await s.until(lambda: len(socket.events) == 1)
            socket.stop_reading()
            puppet.emit("b")  # the server has it in hand before there is more
            await s.until(lambda: holds(s.storage.last_seq("", thread), lambda seq: seq == run_seq(4, 0)))
            await settled(s)
            for number in range(3):
                puppet.do(lambda ctx, number=number: ctx.update({"n": number}))
            await s.until(lambda: holds(s.storage.last_seq("", thread), lambda seq: seq >= run_seq(4, 3)))
            socket.command("subscription.subscribe", {"channels": ["values"]})
            await settled(s)
            socket.read_on()
            puppet.do(lambda ctx: ctx.update({"n": 3}))
            puppet.end()
            await s.wait(run["run_id"])
            await s.until(lambda: socket.events[-1]["params"]["data"] == {"n": 3})
            seen = Watch(s, socket)
            states = [frame["params"]["data"]["n"] for frame in seen.received if frame["method"] == "values"]
            assert states == [2, 3]
            assert [word(frame) for frame in seen.received].count("checkpoints") == 4
            await socket.leave()

    play(story())


def run_seq(emitted: int, steps: int) -> int:
    """The number of the log after a run's input and beginning, events, and steps of two each."""
    return emitted + 2 * steps


@transports
def test_an_empty_thread_and_one_that_is_not_there_tell_nothing_until_something_happens(
    server: Starter, transport: Transport
) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            for thread in (await s.thread(), ABSENT):
                for cursor in ({}, {"since": 0}, {"sinceEventId": "3-1"}):
                    seen = await watch(s, thread, ALL, transport, **cursor)
                    await settled(s)
                    assert seen.frames == []
                    await seen.leave()
                early = await watch(s, thread, ALL, transport)
                puppet.emit("a")
                puppet.end()
                await send(s, thread, "run.start", assistantId="puppet", input=None)
                await early.until_told("completed")
                assert early.told == ["started", "running", "custom:a", "completed"]
                assert early.frames == await log_of(s, thread)
                await early.leave()

    play(story())


@transports
def test_a_stream_goes_on_from_run_to_run(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, heartbeat=0.02) as s:
            thread = await s.thread()
            seen = await watch(s, thread, ["lifecycle", "custom"], transport)
            for name in "abc":
                puppet.emit(name)
                puppet.end()
                run = await s.run(thread_id=thread)
                await seen.until_told("started", "running", f"custom:{name}", "completed")
                assert {frame["runId"] for frame in seen.frames[-4:]} == {run["run_id"]}
            if transport == "sse":
                connection: Any = seen.connection
                await s.until(lambda: connection.received.endswith(b": heartbeat\n\n: heartbeat\n\n"))
            assert len(seen.frames) == 12
            await seen.leave()
            await s.until(lambda: s.app.engine.streams.readers == 0)

    play(story())


@transports
def test_the_thread_of_a_stateless_run_is_seen_by_nobody(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            puppet.emit("a")
            run = await s.run()
            hidden = run["thread_id"]
            await s.until(lambda: holds(s.storage.last_seq("", hidden), lambda seq: seq > 2))
            seen = [await watch(s, hidden, ALL, transport, **cursor) for cursor in ({}, {"since": 0})]
            puppet.emit("b")
            puppet.end()
            await s.wait(run["run_id"])
            await settled(s)
            assert [one.frames for one in seen] == [[], []]
            for method, params in [
                ("state.get", {"namespace": []}), ("state.listCheckpoints", {}), ("agent.getTree", {}),
                ("agent.getTree", {"runId": run["run_id"]}), ("state.fork", {"checkpointId": ABSENT}),
                ("input.respond", {"interruptId": "x", "response": 1}),
            ]:  # fmt: skip
                body = {"id": 1, "method": method, "params": params}
                answer = await s.post(f"/threads/{hidden}/commands", body)
                assert (answer.status_code, answer.json()["code"]) == (404, "thread_not_found"), method
            for one in seen:
                await one.leave()

    play(story())


# what is gone


@transports
@pytest.mark.parametrize("gone", ["some", "all"])
def test_a_cursor_older_than_the_log_is_told_what_is_missed(
    server: Starter, tmp_path: Path, transport: Transport, gone: str
) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
        floor = 7 if gone == "some" else numbered(frames)[-1]
        cut(tmp_path, floor)
        async with server(everything) as s:
            left = [f for f, at in zip(frames, numbered(frames), strict=True) if at > floor]
            for channels, wish, first in [
                (ALL, {"since": 0}, 1), (ALL, {"since": 3}, 4), (ALL, {"sinceEventId": "3-0"}, 3),
                (["values"], {"since": 3}, 4), (ALL, {"since": floor - 1}, floor),
            ]:  # fmt: skip
                seen = await watch(s, thread, channels, transport, **wish)
                shown = [f for f in left if channels == ALL or f["method"] in channels]
                await seen.until(lambda told, shown=shown: len(told) > len(shown))
                missed, *rest = seen.frames
                payload = {"from": first, "to": floor, "count": floor - first + 1}
                assert missed["params"]["data"] == {"name": "ap.missed_events", "payload": payload}
                assert "seq" not in missed
                assert rest == shown
                # Its own id is a cursor too, behind what is gone.
                await gets(s, thread, left, transport, sinceEventId=missed["eventId"])
                await seen.leave()
            await gets(s, thread, left, transport, since=floor)
            fresh = await watch(s, thread, ALL_BUT_VALUES, transport)
            await settled(s)
            assert "custom:ap.missed_events" not in fresh.told
            await fresh.leave()

    play(story())


def cut(folder: Path, floor: int) -> None:
    """As retention does, while nobody serves."""
    with closing(sqlite3.connect(folder / "runyard.db")) as database:
        database.execute("DELETE FROM events WHERE last_seq <= ?", (floor,))
        database.execute("UPDATE threads SET floor_seq = ?", (floor,))
        database.commit()


@transports
def test_what_goes_while_it_is_replayed_is_told_where_it_is_missed(
    server: Starter, monkeypatch: pytest.MonkeyPatch, transport: Transport
) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            last = await s.storage.last_seq("", thread)
            monkeypatch.setattr(feed, "PAGE", 3)
            read, pages = s.storage.events, []

            async def read_and_delete(*args: Any, **more: Any) -> Any:
                pages.append(more["after"])
                if len(pages) == 3:
                    assert (await s.http.delete(f"/threads/{thread}")).status_code == 204
                return await read(*args, **more)

            monkeypatch.setattr(s.storage, "events", read_and_delete)
            seen = await watch(s, thread, transport=transport, since=0)
            await seen.until(lambda told: "custom:ap.missed_events" in told)
            *before, missed = seen.frames
            assert len(before) > 3
            payload = missed["params"]["data"]["payload"]
            first = payload["from"]
            assert payload == {"from": first, "to": last, "count": last - first + 1}
            assert before == [f for f, at in zip(frames, numbered(frames), strict=True) if at < first]
            await seen.leave()

    play(story())


# breaks


async def poured(s: Server, puppet: Puppet, fast: Watch, count: int, of: Callable[[int], str]) -> list[str]:
    """Payloads that are committed one by one, as fast as one reader gets them."""
    payloads = [of(number) for number in range(count)]
    for payload in payloads:
        puppet.emit(payload)
        await fast.until_told(f"custom:{payload}")
    return payloads


@transports
def test_a_slow_reader_is_cut_and_resumes_by_its_cursor_and_nobody_waits_for_it(
    server: Starter, transport: Transport
) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, reader_queue_bytes=65536) as s:
            thread = await s.thread()
            slow = await watch(s, thread, ALL, transport)
            fast = await watch(s, thread, ALL, "websocket" if transport == "sse" else "sse")
            run = await s.run(thread_id=thread)
            await slow.until_told("running")
            slow.connection.stop_reading()
            await poured(s, puppet, fast, 40, lambda number: f"{number} {'x' * 4000}")
            puppet.end()
            assert (await s.wait(run["run_id"]))["status"] == "success"
            await fast.until_told("completed")
            slow.connection.read_on()
            await slow.connection.end()
            assert s.app.engine.streams.cut == 1
            assert "completed" not in slow.told
            if transport == "sse":
                assert slow.connection.complete
                assert slow.connection.received.endswith(b": too slow and cut, reconnect with Last-Event-ID\n\n")
            else:
                assert slow.connection.closed[0] == 1013
                assert "too slow" in slow.connection.closed[1]
            rest = await watch(s, thread, ALL, transport, sinceEventId=slow.ids[-1])
            await rest.until_told("completed")
            assert slow.frames + rest.frames == fast.frames == await log_of(s, thread)
            await rest.leave()
            await fast.leave()

    play(story())


def test_a_large_replay_is_sent_in_pieces_and_cuts_nobody(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, reader_queue_bytes=65536) as s:
            thread = await s.thread()

            async def pour(ctx: Context) -> None:
                for number in range(60):
                    await ctx.emit("x" * 3000 + str(number))

            live = await watch(s, thread, ["custom"])
            puppet.do(pour)
            puppet.end()
            run = await s.run(thread_id=thread)
            await s.wait(run["run_id"])
            await live.until(lambda told: len(told) == 60)
            replayed = await watch(s, thread, ["custom"], since=0)
            await replayed.until(lambda told: len(told) == 60)
            assert replayed.frames == live.frames
            for one in (live, replayed):
                connection: Any = one.connection
                assert connection.largest_piece <= LARGEST_PIECE
                await one.leave()
            assert s.app.engine.streams.cut == 0

    play(story())


@transports
def test_a_drain_ends_what_is_open_in_order_and_the_next_server_goes_on_with_it(
    server: Starter, transport: Transport
) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, drain_grace=0) as s:
            thread = await s.thread()
            seen = await watch(s, thread, ALL, transport)
            puppet.emit("one")
            await s.run(thread_id=thread)
            await seen.until_told("custom:one")
            await s.app.engine.drain()
            await seen.connection.end()
            if transport == "sse":
                assert seen.connection.complete
                assert seen.connection.received.endswith(b"retry: 1000\n: draining, reconnect with Last-Event-ID\n\n")
            else:
                assert seen.connection.closed[0] == 1012
                assert "draining" in seen.connection.closed[1]
            late = connect(s, "POST", f"/threads/{thread}/stream", {"channels": ALL, "since": 0})
            assert Watch(s, await late.end()).frames == seen.frames
        puppet.end()
        async with server(puppet.agent) as s:
            again = await watch(s, thread, ALL, transport, sinceEventId=seen.ids[-1])
            await again.until_told("completed")
            assert seen.frames + again.frames == await log_of(s, thread)
            # The attempt that was interrupted is told to go on, and the run ends once.
            assert [t for t in seen.told + again.told if "custom" not in t] == [
                "started", "running", "running", "completed",
            ]  # fmt: skip
            await again.leave()

    play(story())


def test_what_a_client_may_not_ask_for_is_refused_with_the_field(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await s.thread()
            socket = speak(s, thread)
            for wish, field in [
                ({"channels": []}, "channels"),
                ({}, "channels"),
                ({"channels": "values"}, "channels"),
                ({"channels": None}, "channels"),
                ({"channels": ["values", "value"]}, "channels[1]"),
                ({"channels": ["custom:"]}, "channels[0]"),
                ({"channels": [1]}, "channels[0]"),
                ({"channels": ALL, "namespaces": "a"}, "namespaces"),
                ({"channels": ALL, "namespaces": ["a"]}, "namespaces[0]"),
                ({"channels": ALL, "namespaces": [[1]]}, "namespaces[0][0]"),
                ({"channels": ALL, "depth": -1}, "depth"),
                ({"channels": ALL, "depth": 1.5}, "depth"),
                ({"channels": ALL, "depth": "1"}, "depth"),
                ({"channels": ALL, "since": -1}, "since"),
                ({"channels": ALL, "since": "1"}, "since"),
                ({"channels": ALL, "since": 2**53}, "since"),
                ({"channels": ALL, "since": None}, "since"),
                ({"channels": ALL, "sinceEventId": 1}, "sinceEventId"),
                *(({"channels": ALL, "sinceEventId": id}, "sinceEventId")
                  for id in ("", "x", "-1", "1-", "1-x", "1-2-3", " 1", "٣", "1" * 19, "missed:1", "missed:x-y")),
            ]:  # fmt: skip
                answer = await s.post(f"/threads/{thread}/stream", wish)
                assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), wish
                assert answer.json()["metadata"]["field"] == field, (wish, answer.json())
                response = await socket.ask("subscription.subscribe", **wish)
                assert response["error"] == "invalid_argument", wish
                assert response["metadata"]["field"] == field, wish
            bad = connect(s, "POST", f"/threads/{thread}/stream", {"channels": ALL}, last_event_id="x")
            assert ((await bad.end()).status, bad.json["metadata"]["field"]) == (422, "Last-Event-ID")
            assert (await s.post("/threads/x/stream", {"channels": ALL})).status_code == 422
            assert socket.events == []
            await socket.leave()
            assert s.app.engine.streams.readers == 0

    play(story())


def test_a_baseline_is_no_cursor(server: Starter) -> None:
    """Behind the state that it begins with, a reader that was cut at once gets everything that belongs to it."""

    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            first = await watch(s, thread)
            await first.until_told("completed")
            again = await watch(s, thread, sinceEventId=first.ids[0])
            await again.until_told("completed")
            assert list(map(word, again.frames)) == list(map(word, first.frames))
            assert again.frames[1:] == first.frames[1:]
            check_event(again.frames[0])
            await first.leave()
            await again.leave()

    play(story())
