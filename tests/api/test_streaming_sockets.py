"""One WebSocket: what it is told in which order, several subscriptions on it, coming back, and who may open one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgi_client import Puppet, Socket, speak
from live_server import MovableClock, Server, Starter, holds, play
from streaming_frames import check_event, check_response
from watching import ALL, Watch, a_whole_story, everything, log_of, send, settled, word

from runyard import Context
from runyard.api.streaming.detached import KEPT_FOR
from runyard.api.streaming.websocket import COUNTED, MOST_SUBSCRIPTIONS

ABSENT = "01a20c2f-0000-7000-8000-000000000000"


async def subscribe(socket: Socket, *channels: str, **more: Any) -> str:
    response = check_response(
        await socket.ask("subscription.subscribe", channels=list(channels), **more), "subscription.subscribe"
    )
    return response["result"]["subscriptionId"]


async def reconnect(socket: Socket, run: str, **more: Any) -> dict[str, Any]:
    response = check_response(await socket.ask("subscription.reconnect", runId=run, **more), "subscription.reconnect")
    assert response["type"] == "success", response
    return response["result"]


def words(socket: Socket) -> list[str]:
    """Everything that came, in order: events in a word, responses by their number."""
    for event in socket.events:
        check_event(event)
    return [word(one) if one["type"] == "event" else f"#{one['id']}" for one in socket.received]


async def begin(s: Server, thread: str) -> str:
    return (await send(s, thread, "run.start", assistantId="puppet", input=None))["result"]["runId"]


def test_the_response_to_a_subscription_comes_before_its_replay_and_that_before_what_is_live(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            socket = speak(s, thread)
            puppet.emit("a", "b")
            await begin(s, thread)
            await s.until(lambda: holds(s.storage.last_seq("", thread), lambda seq: seq == 4))
            # Said in one breath, while more happens.
            socket.command("subscription.subscribe", {"channels": ["custom"], "since": 0})
            puppet.emit("c")
            socket.command("state.get", {"namespace": []})
            await s.until(lambda: len(socket.received) == 5)
            told = words(socket)
            assert [t for t in told if t.startswith("c")] == ["custom:a", "custom:b", "custom:c"]
            assert told.index("#1") < told.index("custom:a")
            assert socket.received[0]["result"]["replayedEvents"] in (2, 3)
            puppet.end()
            await socket.leave()

    play(story())


def test_an_event_that_several_subscriptions_see_comes_once(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            socket = speak(s, thread)
            ids = [
                await subscribe(socket, "custom"),
                await subscribe(socket, "custom:x", "lifecycle"),
                await subscribe(socket, *ALL),
                await subscribe(socket, "values", namespaces=[["child"]]),
            ]
            assert len(set(ids)) == 4
            await begin(s, thread)
            puppet.do(lambda ctx: ctx.emit(1, name="x"), lambda ctx: ctx.update({"n": 1}))
            puppet.end()
            await s.until(lambda: words(socket)[-1:] == ["completed"])
            assert socket.events == await log_of(s, thread)
            # One less, and its own events stop; the others' go on.
            assert (await socket.ask("subscription.unsubscribe", subscriptionId=ids[2]))["result"] == {}
            socket.received.clear()
            await begin(s, thread)
            puppet.do(lambda ctx: ctx.emit(1, name="x"), lambda ctx: ctx.update({"n": 1}))
            puppet.end()
            await s.until(lambda: words(socket)[-1:] == ["completed"])
            assert words(socket) == ["started", "running", "custom:x", "completed"]
            for id in (ids[0], ids[1], ids[3]):
                assert (await socket.ask("subscription.unsubscribe", subscriptionId=id))["type"] == "success"
            for id in (ids[0], ABSENT):
                response = await socket.ask("subscription.unsubscribe", subscriptionId=id)
                assert response["error"] == "no_such_subscription"
            socket.received.clear()
            puppet.end()
            await s.wait(await begin(s, thread))
            await settled(s)
            assert socket.received == []
            await socket.leave()

    play(story())


def test_a_later_subscription_gets_its_own_replay(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            socket = speak(s, thread)
            await subscribe(socket, *ALL, since=0)
            await s.until(lambda: len(socket.events) == len(frames))
            socket.received.clear()
            await subscribe(socket, "custom", since=0)
            custom = [frame for frame in frames if frame["method"] == "custom"]
            await s.until(lambda: len(socket.events) == len(custom))
            assert socket.events == custom
            await socket.leave()

    play(story())


def test_a_long_replay_is_not_counted_and_is_whole(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()

            async def pour(ctx: Context) -> None:
                for number in range(COUNTED + 600):
                    await ctx.emit(number)

            puppet.do(pour)
            puppet.end()
            await s.wait(await begin(s, thread))
            socket = speak(s, thread)
            await subscribe(socket, "custom", since=0)
            assert "replayedEvents" not in socket.received[0]["result"]
            await s.until(lambda: len(socket.events) == COUNTED + 600)
            assert [event["params"]["data"]["payload"] for event in socket.events] == list(range(COUNTED + 600))
            await socket.leave()

    play(story())


def test_a_connection_has_so_many_subscriptions(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            socket = speak(s, ABSENT)
            ids = [await subscribe(socket, "values") for _ in range(MOST_SUBSCRIPTIONS)]
            assert (await socket.ask("subscription.subscribe", channels=["values"]))["error"] == "invalid_argument"
            more = await socket.ask("subscription.reconnect", runId=ABSENT, subscriptions=["x"])
            assert (more["error"], more["message"][:24]) == ("invalid_argument", "this connection has 100 ")
            await socket.ask("subscription.unsubscribe", subscriptionId=ids[0])
            await subscribe(socket, "values")
            await socket.leave()

    play(story())


# coming back


def test_who_comes_back_goes_on_with_the_same_subscriptions(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            first = speak(s, thread)
            kept = [await subscribe(first, "custom:x"), await subscribe(first, "lifecycle", "values")]
            dropped = await subscribe(first, "custom:y")
            await first.ask("subscription.unsubscribe", subscriptionId=dropped)
            run = await begin(s, thread)
            puppet.do(lambda ctx: ctx.emit(1, name="x"))
            await s.until(lambda: words(first)[-1:] == ["custom:x"])
            await first.leave()
            puppet.do(
                lambda ctx: ctx.emit(2, name="x"), lambda ctx: ctx.emit(2, name="y"), lambda ctx: ctx.update({"n": 1})
            )
            await s.until(lambda: holds(s.storage.thread("", thread), lambda found: found.head is not None))
            last = first.events[-1]["eventId"]
            again = speak(s, thread)
            back = await reconnect(again, run, lastEventId=last, subscriptions=kept)
            assert back == {
                "restored": True, "currentNamespaces": [{"namespace": [], "status": "running"}],
            }  # fmt: skip
            puppet.do(lambda ctx: ctx.emit(3, name="x"))
            puppet.end()
            await s.until(lambda: words(again)[-1:] == ["completed"])
            assert words(again) == ["#1", "custom:x", "values", "custom:x", "completed"]
            everything_seen = [event["eventId"] for event in first.events + again.events]
            wanted = await log_of(s, thread, channels=["custom:x", "lifecycle", "values"])
            assert everything_seen == [frame["eventId"] for frame in wanted]
            # They are taken up: nobody else can, and this connection can end one.
            late = speak(s, thread)
            assert (await reconnect(late, run, subscriptions=kept))["restored"] is False
            assert (await again.ask("subscription.unsubscribe", subscriptionId=kept[0]))["type"] == "success"
            await again.leave()
            await late.leave()

    play(story())


def test_without_the_last_id_it_goes_on_behind_what_was_sent(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            first = speak(s, thread)
            kept = await subscribe(first, "custom")
            run = await begin(s, thread)
            puppet.emit("a")
            await s.until(lambda: words(first)[-1:] == ["custom:a"])
            await first.leave()
            puppet.emit("b")
            puppet.end()
            await s.wait(run)
            again = speak(s, thread)
            back = await reconnect(again, run, subscriptions=[kept])
            assert (back["restored"], back["currentNamespaces"]) == (True, [{"namespace": [], "status": "completed"}])
            await s.until(lambda: len(again.events) == 1)
            assert words(again) == ["#1", "custom:b"]
            await again.leave()

    play(story())


def test_what_is_not_kept_is_not_restored(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, clock=clock) as s:
            thread, other = await s.thread(), await s.thread()
            run = await begin(s, thread)
            puppet.end()
            first = speak(s, thread)
            kept = [await subscribe(first, "custom"), await subscribe(first, "values")]
            await first.leave()
            elsewhere = speak(s, other)
            puppet.end()
            foreign = await begin(s, other)
            assert (await reconnect(elsewhere, foreign, subscriptions=kept))["restored"] is False
            again = speak(s, thread)
            assert (await reconnect(again, run))["restored"] is False
            assert (await reconnect(again, run, subscriptions=[kept[0], ABSENT]))["restored"] is False
            assert (await again.ask("subscription.reconnect", runId=ABSENT))["error"] == "no_such_run"
            assert (await again.ask("subscription.reconnect", runId=foreign))["error"] == "no_such_run"
            for params in ({}, {"runId": 1}, {"runId": run, "subscriptions": "x"}, {"runId": run, "lastEventId": "x"}):
                assert (await again.ask("subscription.reconnect", **params))["error"] == "invalid_argument"
            clock.move(KEPT_FOR / 1e6 + 1)
            assert (await reconnect(again, run, subscriptions=[kept[1]]))["restored"] is False
            await again.leave()
            await elsewhere.leave()

    play(story())


def test_who_was_away_for_too_long_is_told_how_much_is_gone(server: Starter, tmp_path: Any) -> None:
    from test_streaming_cursors import cut

    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
        cut(tmp_path, 20)
        async with server(everything) as s:
            socket = speak(s, thread)
            back = await reconnect(socket, frames[-1]["runId"], lastEventId="5")
            assert (back["restored"], back["missedEvents"]) == (False, 15)
            back = await reconnect(socket, frames[-1]["runId"], lastEventId="20")
            assert "missedEvents" not in back
            await socket.leave()

    play(story())


# who may open one


@pytest.mark.parametrize(
    ("headers", "code"),
    [({"host": "evil.example"}, "forbidden"), ({"origin": "https://evil.example"}, "forbidden"), ({}, None)],
)
def test_a_foreign_host_or_origin_opens_nothing(server: Starter, headers: dict[str, str], code: str | None) -> None:
    async def story() -> None:
        async with server(everything) as s:
            socket = speak(s, ABSENT, **headers)
            if code is None:
                await subscribe(socket, "values")
                await socket.leave()
                return
            await socket.end()
            assert (socket.accepted, socket.status) == (False, 403)
            refusal = json.loads(socket.refusal)
            assert (refusal["code"], set(refusal)) == (code, {"code", "message", "metadata"})
            plain = await speak(s, ABSENT, refusals=False, **headers).end()
            assert (plain.accepted, plain.status, plain.closed and plain.closed[0]) == (False, 0, 1008)
            assert s.app.engine.streams.readers == 0

    play(story())


def test_an_allowed_origin_opens_one(server: Starter) -> None:
    async def story() -> None:
        async with server(everything, cors_origins=("https://my.example",)) as s:
            for origin in ("https://my.example", "http://testserver"):
                socket = speak(s, ABSENT, origin=origin)
                await subscribe(socket, "values")
                await socket.leave()

    play(story())


def test_a_plain_request_is_told_to_upgrade_and_a_wrong_thread_is_refused(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            answer = await s.get(f"/threads/{ABSENT}/stream")
            assert (answer.status_code, answer.json()["code"]) == (426, "upgrade_required")
            assert answer.headers["upgrade"] == "websocket"
            socket = await speak(s, "x").end()
            assert (socket.accepted, socket.status) == (False, 422)
            assert json.loads(socket.refusal)["metadata"]["field"] == "thread_id"

    play(story())


NONSENSE: list[str | bytes] = [
    "", "null", "[]", "1", "{", '"x"', "{}", '{"id":1}', '{"method":"state.get"}', '{"id":null,"method":"state.get"}',
    '{"id":"1","method":"state.get"}', '{"id":1.5,"method":"state.get"}', '{"id":-1,"method":"state.get"}',
    '{"id":true,"method":"state.get"}', '{"id":9007199254740992,"method":"state.get"}', '{"id":1,"method":null}',
    '{"id":1,"method":5}', '{"id":1,"method":"state.get","params":[]}', '{"id":1,"method":"state.get","params":null}',
    '{"id":1,"method":"state.get","params":{"keys":["\\u0000"]}}', '{"id":1,"method":"\\ud800"}',
    '{"id":1,"id":2,"method":"state.get"}', '{"id":1,"method":"state.get","params":{"x":NaN}}',
    '{"id":1,"method":"state.get","params":' + '{"a":' * 200 + "1" + "}" * 200 + "}", "[" * 100_000,
    '{"id":1,"method":"state.get","params":{"x":1e999}}', b"\x00\xff", b'{"id":1,"method":"state.get"}',
]  # fmt: skip


def test_what_is_no_command_is_answered_and_the_conversation_goes_on(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await s.thread()
            socket = speak(s, thread)
            await subscribe(socket, "values")
            for nonsense in NONSENSE:
                socket.received.clear()
                socket.say(nonsense)
                await s.until(lambda: bool(socket.received))
                response = check_response(socket.received[0])
                assert (response["id"], response["error"]) == (None, "invalid_argument"), nonsense
                assert response["message"]
                if isinstance(nonsense, str):
                    body = nonsense.encode()
                    answer = await s.http.post(
                        f"/threads/{thread}/commands", content=body, headers={"content-type": "application/json"}
                    )
                    assert answer.status_code == 422, nonsense
                    assert check_response(answer.json())["id"] is None, nonsense
            long = json.dumps({"id": 1, "method": "state.get", "params": {"x": "y" * 10_000_000}})
            answer = await s.http.post(f"/threads/{thread}/commands", content=long.encode())
            assert answer.status_code in (413, 415)
            assert (await socket.ask("state.get", namespace=[]))["type"] == "success"
            await s.http.patch(f"/threads/{thread}", json={"values": {"n": 1}})
            await s.until(lambda: socket.received[-1].get("method") == "values")
            await socket.leave()

    play(story())


def test_a_conversation_ends_where_the_client_leaves(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            socket = speak(s, ABSENT)
            await subscribe(socket, "values")
            assert s.app.engine.streams.readers == 1
            await socket.leave()
            assert s.app.engine.streams.readers == 0
            assert socket.closed is None

    play(story())


def test_a_client_may_leave_before_it_is_accepted(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            socket = speak(s, ABSENT)
            await socket.leave()
            assert not socket.accepted
            assert s.app.engine.streams.readers == 0

    play(story())


def test_a_fast_reader_goes_on_beside_a_socket_that_does_not_read(server: Starter) -> None:
    """A client that says much and reads nothing holds up nobody, and its commands are not done behind its back."""

    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent) as s:
            thread = await s.thread()
            deaf = speak(s, thread)
            await subscribe(deaf, *ALL)
            deaf.stop_reading()
            for _ in range(50):
                deaf.command("state.get", {"namespace": []})
            reading = speak(s, thread)
            await subscribe(reading, *ALL)
            run = await begin(s, thread)
            puppet.emit("a")
            puppet.end()
            await s.wait(run)
            await s.until(lambda: words(reading)[-1:] == ["completed"])
            deaf.read_on()
            await s.until(lambda: len(deaf.received) == 1 + 50 + len(reading.events))
            assert deaf.events == Watch(s, reading).frames
            await deaf.leave()
            await reading.leave()

    play(story())
