"""A watched thread over real sockets, SSE and WebSocket: whole, in order, once, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import ap_client
import httpx2
import pytest
from ap_client import EventsMissed, Missed, aio
from ap_client.exceptions import (
    CommandError,
    ForbiddenException,
    SubscriptionOverrun,
    TransportException,
    UnauthorizedException,
)
from ap_client.filters import CHANNELS, wanted
from ap_client.retry import Backoff

from .thread_server import (
    Fault,
    ThreadServer,
    begun,
    delta,
    finished,
    free_port,
    lifecycle,
    listening,
    said_by,
    thread_server,
    told,
)

both = pytest.mark.parametrize("transport", ["sse", "websocket"])
STARTED = [lifecycle("started"), lifecycle("running")]


@asynccontextmanager
async def watching(server: ThreadServer, transport: str, **more: Any) -> AsyncIterator[aio.ThreadStream]:
    configuration = ap_client.Configuration(server.url)
    configuration.backoff = Backoff(tries=more.pop("tries", 10_000))
    # Without certificates to load, of which there are none to verify.
    async with httpx2.AsyncClient(transport=httpx2.AsyncHTTPTransport(verify=False)) as http:
        client = aio.ApiClient(configuration, http_client=http)
        async with aio.ThreadStream(client, "thread-1", "agent", transport=transport, **more) as stream:
            yield stream


async def ids(subscription: aio.ThreadSubscription[Any], many: int | None = None) -> list[str]:
    """The ids of its events, so many of them or all."""
    found: list[str] = []
    while many is None or len(found) < many:
        try:
            found.append((await anext(subscription)).event_id)
        except StopAsyncIteration:
            break
    return found


async def until(holds: Any) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def play(story: Any) -> None:
    asyncio.run(story)


def numbered(count: int, method: str = "custom", **more: Any) -> list[Any]:
    return [told(method, {"name": "n", "payload": number}, **more) for number in range(count)]


@both
def test_several_filters_share_one_connection_and_each_gets_its_own(transport: str) -> None:
    def entries() -> list[Any]:
        return [
            *STARTED,
            told("values", {"a": 1}),
            told("custom", {"name": "one", "payload": 1}),
            [told("custom", {"name": "other", "payload": 2}), told("updates", {"node": "n", "values": {}})],
            told("updates", {"node": "n", "values": {}}, namespace=["sub:1"]),
            told("updates", {"node": "n", "values": {}}, namespace=["sub:1", "deep:2"]),
            told("tools", {"event": "tool-started", "toolCallId": "c", "toolName": "t"}),
            [told("checkpoints", {"id": "c", "step": 1, "source": "loop"}), told("values", {"a": 2})],
            told("tasks", {"id": "t"}),
            lifecycle("completed", namespace=["sub:1"]),
            lifecycle("completed"),
        ]

    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            subscriptions = {
                "values": stream.values(run_id="run-1"),
                "custom:one": stream.custom("one", run_id="run-1"),
                "custom": stream.custom(run_id="run-1"),
                "below": stream.updates(["sub"], 0, run_id="run-1"),
                "root": stream.updates(depth=0, run_id="run-1"),
                "tools": stream.tools(run_id="run-1"),
                "checkpoints": stream.checkpoints(run_id="run-1"),
                "lifecycle": stream.lifecycle(run_id="run-1"),
                "all": stream.events(run_id="run-1"),
                "tasks": stream.subscribe("tasks", run_id="run-1"),
            }
            found = {name: await ids(each) for name, each in subscriptions.items()}
        assert found == {
            "values": ["3", "9"],
            "custom:one": ["4"],
            "custom": ["4", "5-0"],
            "below": ["6"],
            "root": ["5"],
            "tools": ["8"],
            "checkpoints": ["9-0"],
            "lifecycle": ["1", "2", "11", "12"],
            "all": server.matching(wanted([each for each in CHANNELS if each != "tasks"])),
            "tasks": ["10"],
        }
        assert server.most_open == 1
        if transport == "sse":
            assert [body["channels"] for body in server.bodies] == [list(CHANNELS)]
        else:
            assert len(server.headers) == 1
            assert {"channels": ["updates"], "namespaces": [["sub"]], "depth": 0} in server.bodies

    with thread_server() as server:
        server.tell(*entries())
        play(story(server))


@both
def test_a_later_subscription_sees_the_run_from_its_beginning_and_costs_the_others_nothing(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            server.tell(*STARTED, *numbered(3))
            first = stream.custom()
            assert await ids(first, 2) == ["3", "4"]
            updates = stream.updates()
            task = asyncio.create_task(ids(updates, 2))
            # The new stream is there before the old one is closed.
            await until(lambda: len(server.bodies) == (2 if transport == "sse" else 3))
            server.tell(told("updates", {"node": "n", "values": {}}), *numbered(2))
            server.tell(told("updates", {"node": "n", "values": {}}))
            assert await task == ["6", "9"]
            assert await ids(first, 3) == ["5", "7", "8"]
            await until(lambda: server.open_now == 1)
            again = stream.custom()
            assert await ids(again, 5) == ["3", "4", "5", "7", "8"]
            await until(lambda: server.open_now == 1)
        if transport == "sse":
            assert [body["channels"] for body in server.bodies] == [
                ["lifecycle", "input", "custom"],
                ["updates", "lifecycle", "input", "custom"],
                ["updates", "lifecycle", "input", "custom"],
            ]
            assert server.most_open == 2
        else:
            assert server.most_open == 1

    with thread_server() as server:
        play(story(server))


def test_while_nothing_has_been_told_a_stream_takes_what_it_asks_for_anyway() -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, "sse") as stream:
            found: list[Any] = []
            for channels in (["updates", "custom"], "custom", "custom:n", "updates", "tools", "lifecycle"):
                found.append(asyncio.create_task(ids(stream.subscribe(channels), 1)))
                await until(lambda: server.open_now == (2 if len(found) > 4 else 1))
            server.tell(told("updates", {"values": {}}), *numbered(1), told("tools", {"event": "x"}), *STARTED)
            assert [await each for each in found] == [["1"], ["2"], ["2"], ["1"], ["3"], ["4"]]
            # As soon as both have told the same there is one again.
            await until(lambda: server.open_now == 1)

    with thread_server() as server:
        play(story(server))


@both
@pytest.mark.parametrize("how", ["cut", "drained", "too_slow"])
def test_a_connection_that_ends_within_an_entry_is_taken_up_again(transport: str, how: str) -> None:
    group = [told("custom", {"name": "n", "payload": number}) for number in range(3)]

    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            found = await ids(stream.custom(run_id="run-1"))
        assert found == ["3-0", "3-1", "3", "4-0", "4-1", "4", "5-0", "5-1", "5"]

    with thread_server() as server:
        server.tell(*STARTED, group, group, group, lifecycle("completed"))
        # Over the WebSocket the first frames are those that the stream itself asks for.
        many = 3 if transport == "sse" else 6
        server.faults += [Fault(many + 1, how), Fault(2, how), Fault(0, how), Fault(3, how)]
        play(story(server))
        since = [body.get("since") for body in server.bodies if "custom" in body["channels"]]
        assert since[0] is None
        assert since[1:] == sorted(since[1:])
        assert since[-1] is not None
        assert len(since) >= 4


def test_who_was_cut_before_the_end_of_the_first_entry_says_which_event_was_the_last() -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, "sse") as stream:
            assert await ids(stream.custom(), 3) == ["1-0", "1-1", "1"]

    with thread_server() as server:
        server.tell([told("custom", {"payload": number}) for number in range(3)])
        server.faults += [Fault(1)]
        play(story(server))
        assert [headers.get("last-event-id") for headers in server.headers] == [None, "1-0"]


@both
def test_a_server_that_is_killed_and_comes_back_later_is_found_again(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            subscription = stream.custom()
            with listening(server):
                server.tell(*STARTED, *numbered(3))
                assert await ids(subscription, 3) == ["3", "4", "5"]
            for entry in numbered(3):
                server.append([entry])
            waiting = asyncio.create_task(ids(subscription, 4))
            # Some tries meet nobody.
            await asyncio.sleep(0.05)
            with listening(server):
                server.tell(*numbered(1))
                assert await waiting == ["6", "7", "8", "9"]
                # The thread is closed while it is being served.
                await stream.close()

    play(story(ThreadServer(port=free_port())))


@both
def test_a_server_that_is_not_ready_is_asked_again(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            assert await ids(stream.custom(), 1) == ["1"]

    with thread_server() as server:
        server.tell(*numbered(1))
        server.statuses += [503, 503]
        play(story(server))


@both
def test_a_refusal_is_final_and_everybody_is_told(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            first, second = stream.custom(), stream.messages()
            for subscription in (first, second, first):
                with pytest.raises(UnauthorizedException) as caught:
                    await anext(subscription)
                assert caught.value.code == "refused"
            server.statuses += [401]
            with pytest.raises(UnauthorizedException):
                await stream.start("x")
            assert server.commands == []
            # What was refused once may be allowed later.
            assert await ids(stream.custom(), 1) == ["1"]

    with thread_server() as server:
        server.tell(*numbered(1))
        server.statuses += [401]
        play(story(server))


@both
def test_a_server_that_does_not_come_back_is_given_up(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport, tries=3) as stream:
            messages = stream.messages()
            with listening(server):
                server.tell(*STARTED, begun("m"), delta("m", "half"))
                message = await anext(messages)
                assert await anext(aiter(message)) == "half"
            for waiting in (anext(messages), message.read()):
                with pytest.raises(TransportException):
                    await waiting

    play(story(ThreadServer(port=free_port())))


def test_what_the_server_says_when_it_ends_a_connection_for_good() -> None:
    async def story(server: ThreadServer, transport: str, kind: type[Exception], why: str) -> None:
        async with watching(server, transport) as stream:
            with pytest.raises(kind, match=why):
                await ids(stream.custom())

    for transport, kind, why in [
        ("sse", CommandError, "unknown_error: m"),
        ("websocket", ForbiddenException, "broken"),
    ]:
        with thread_server() as server:
            server.tell(*numbered(3))
            server.faults += [Fault(1, "broken")]
            play(story(server, transport, kind, why))


@both
def test_events_that_are_gone_are_told(transport: str) -> None:
    async def story(server: ThreadServer, missed: list[Missed] | None) -> None:
        on_missed = None if missed is None else missed.append
        async with watching(server, transport, since=2, on_missed=on_missed) as stream:
            customs, messages = stream.custom(), stream.messages()
            if missed is None:
                for subscription in (customs, messages):
                    with pytest.raises(EventsMissed) as caught:
                        await anext(subscription)
                    assert caught.value.missed == Missed(3, 5, 3)
            # The iteration goes on behind them.
            assert await ids(customs, 2) == ["6", "7"]
            assert (await (await anext(messages)).read()).status == "complete"
            if missed is not None:
                assert missed == [Missed(3, 5, 3)] * 2

    for missed in (None, []):
        with thread_server(floor=5) as server:
            server.tell(*numbered(7), *said_by("m", "x"))
            play(story(server, missed))


def test_a_message_with_a_gap_in_it_is_dropped() -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, "sse") as stream:
            messages = stream.messages()
            message = await anext(messages)
            assert [piece async for piece in message] == ["a"]
            assert message.status == "dropped"
            with pytest.raises(EventsMissed):
                await anext(messages)

    with thread_server() as server:
        server.tell(*STARTED, begun("m"), delta("m", "a"), delta("m", "b"), delta("m", "c"))
        server.faults += [Fault(4, "cut")]
        server.floor = 5
        play(story(server))


@both
def test_it_begins_with_the_state_and_only_then(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            values = stream.values()
            assert await ids(values, 2) == ["snap:3", "3"]
            server.tell(told("values", {"a": 3}))
            assert await ids(values, 1) == ["4"]
            later = stream.values()
            assert (await anext(later)).values == {"a": 2}
            assert await ids(later, 2) == ["3", "4"]
            server.tell(told("values", {"a": 4}))
            assert (await ids(values, 1), await ids(later, 1)) == (["5"], ["5"])

    with thread_server(state={"a": 2}) as server:
        server.tell(*STARTED, told("values", {"a": 2}))
        # One connection is cut after the state, and one later on: it goes on with its cursor.
        server.faults += [Fault(1 if transport == "sse" else 3)]
        play(story(server))


@both
def test_since_says_where_all_begin(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport, since=0) as stream:
            assert await ids(stream.values(run_id=None), 1) == ["4"]
            assert await ids(stream.custom(run_id=None), 2) == ["2", "6"]

    with thread_server(state={"a": 2}) as server:
        for run in ("run-1", "run-2"):
            custom = told("custom", {"payload": 1}, run=run)
            server.tell(lifecycle("started", run), custom, lifecycle("completed", run), told("values", {}, run=run))
        play(story(server))


@both
def test_a_message_can_be_read_while_it_comes(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            messages = stream.messages(run_id="run-1")
            server.tell(*STARTED, begun("m", node="n", namespace=["a:1"]), delta("m", "one ", namespace=["a:1"]))
            message = await anext(messages)
            pieces = aiter(message)
            assert await anext(pieces) == "one "
            assert (message.text, message.done, message.status) == ("one ", False, "streaming")
            reading = asyncio.create_task(message.read())
            server.tell(delta("m", "two", namespace=["a:1"]), finished("m", namespace=["a:1"]))
            assert [piece async for piece in pieces] == ["two"]
            assert await reading is message
            assert (message.id, message.role, message.node, message.namespace) == ("m", "ai", "n", ("a:1",))
            assert (message.text, message.done, message.usage) == ("one two", True, {"outputTokens": 3})
            assert message.blocks == [{"type": "text", "text": "one two"}]
            server.tell(begun("cut short"), lifecycle("interrupted"))
            rest = [each async for each in messages]
            assert [(each.id, each.status) for each in rest] == [("cut short", "dropped")]

    with thread_server() as server:
        play(story(server))


@both
@pytest.mark.parametrize("namespaces", [None, ["a"]])
def test_a_further_attempt_tells_its_messages_anew(transport: str, namespaces: Any) -> None:
    place: dict[str, Any] = {} if namespaces is None else {"namespace": ["a:1"]}

    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            messages = stream.messages(namespaces, run_id="run-1")
            whole = [await message.read() async for message in messages]
        found = [(message.text, message.status) for message in whole]
        assert found == [("fir", "dropped"), ("second", "complete")]

    with thread_server() as server:
        server.tell(*STARTED, begun("m", **place), delta("m", "fir", **place))
        server.tell(lifecycle("running"), *said_by("m", "sec", "ond", **place), lifecycle("completed"))
        play(story(server))


@both
def test_a_subscription_is_about_the_run_that_was_started_last_and_ends_with_it(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        def answer(command: dict[str, Any]) -> dict[str, Any]:
            run = f"run-{len(server.commands)}"
            custom = told("custom", {"name": run, "payload": 1}, run=run)
            for entry in (lifecycle("started", run), custom, lifecycle("completed", run)):
                server.append([entry])
            return {"runId": run}

        server.answer = answer
        async with watching(server, transport) as stream:
            everything = stream.custom()
            assert stream.run_id is None
            for run in ("run-1", "run-2", "run-3"):
                assert await stream.start(run) == stream.run_id == run
                assert [event.name async for event in stream.custom()] == [run]
                assert await ids(stream.lifecycle()) != []
            assert await ids(everything, 3) == ["2", "5", "8"]
            # An earlier one is told, too, as long as the stream has heard of it.
            assert [event.name async for event in stream.custom(run_id="run-1")] == ["run-1"]
            assert [event.name async for event in stream.custom(["nowhere"], run_id="run-2")] == []
            waiting = asyncio.create_task(ids(stream.custom(run_id=None)))
            await until(lambda: len(server.bodies) > 10 or server.open_now)
            await stream.close()
            assert [each for each in await waiting if each != "8"] == []

    with thread_server() as server:
        play(story(server))


@both
def test_questions_are_there_until_they_are_answered(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        def answer(command: dict[str, Any]) -> dict[str, Any]:
            for entry in (
                lifecycle("started", "run-2"),
                told("input.answered", {"interruptIds": ["q1"]}, run="run-2"),
                told("custom", {"payload": 2}, run="run-2"),
                lifecycle("completed", "run-2"),
            ):
                server.append([entry])
            return {}

        server.answer = answer
        async with watching(server, transport) as stream:
            assert await ids(stream.lifecycle(run_id="run-1")) == ["1", "2", "5"]
            first, second = stream.questions
            assert (first.id, first.payload, first.namespace) == ("q1", {"ok?": 1}, ("tool:1",))
            assert (second.id, second.run_id) == ("q2", "run-1")
            asked = stream.inputs(run_id=None)
            assert [(await anext(asked)).interrupt_id for _ in range(2)] == ["q1", "q2"]
            # The server does not name the run that goes on: it is the next one.
            assert await first.answer("yes", update={"a": 1}, goto="n") is None
            assert stream.run_id is None
            assert [event.payload async for event in stream.custom()] == [2]
            assert stream.run_id == "run-2"
            assert (await anext(asked)).interrupt_ids == ["q1"]
            assert stream.questions == []
            respond = {"namespace": ["tool:1"], "interruptId": "q1", "response": "yes", "update": {"a": 1}, "goto": "n"}
            assert server.commands[-1]["params"] == respond

    with thread_server() as server:
        server.tell(
            *STARTED,
            told("input.requested", {"interruptId": "q1", "payload": {"ok?": 1}}, namespace=["tool:1"]),
            told("input.requested", {"interruptId": "q2", "payload": 2}),
            lifecycle("interrupted"),
        )
        play(story(server))


@both
def test_commands_say_what_was_given_and_tell_what_came_of_it(transport: str) -> None:
    results: dict[str, Any] = {
        "run.start": {"run_id": "r1"},
        "input.respond": {"runId": "r2"},
        "state.get": {"values": {"some_key": 1}, "checkpoint": {"id": "c1"}},
        "state.listCheckpoints": {
            "checkpoints": [
                {"id": "c1", "timestamp": "t", "step": 2, "nodeName": "n", "metadata": {"a": 1}},
                {"id": "c0"},
            ]
        },
        "state.fork": {"runId": "r3", "threadId": "thread-1"},
        "agent.getTree": {
            "tree": {
                "namespace": [],
                "status": "running",
                "graphName": "g",
                "children": [{"namespace": ["a:1"], "status": "completed", "graphName": "s"}],
            }
        },
    }

    async def story(server: ThreadServer) -> None:
        server.answer = lambda command: results.get(command["method"], {})
        async with watching(server, transport) as stream:
            config = {"configurable": {"some_key": 1}}
            assert (
                await stream.start({"in_put": 1}, config=config, multitask_strategy="reject", metadata={"m": 1}) == "r1"
            )
            assert await stream.start(None, agent_id="other") == "r1"
            assert await stream.respond({"q1": 1, "q2": None}, config=config) == "r2"
            assert stream.run_id == "r2"
            await stream.respond("q3", {"snake_case": 1})
            await stream.inject("hello")
            await stream.inject("be brief", role="system", namespace=["a:1"], name="boss")
            state = await stream.state()
            assert (state.values, state.checkpoint_id) == ({"some_key": 1}, "c1")
            await stream.state(["a"], "sub")
            saved = await stream.list_checkpoints()
            assert saved == [
                ap_client.CheckpointSummary("c1", "t", 2, "n", {"a": 1}),
                ap_client.CheckpointSummary("c0"),
            ]
            await stream.list_checkpoints(5, "c1", ())
            assert await stream.fork("c1") == ap_client.Fork("r3", "thread-1")
            assert stream.run_id == "r3"
            await stream.fork("c1", input={"a": 1}, config=config)
            node = await stream.tree()
            assert (node.status, node.graph_name, node.namespace) == ("running", "g", ())
            assert [child.namespace for child in node.children] == [("a:1",)]
            await stream.tree("r1")
        both = [
            {"namespace": [], "interruptId": "q1", "response": 1},
            {"namespace": [], "interruptId": "q2", "response": None},
        ]
        assert [(each["method"], each["params"]) for each in server.commands if "subsc" not in each["method"]] == [
            (
                "run.start",
                {
                    "assistantId": "agent",
                    "input": {"in_put": 1},
                    "config": config,
                    "metadata": {"m": 1},
                    "multitaskStrategy": "reject",
                },
            ),
            ("run.start", {"assistantId": "other", "input": None}),
            ("input.respond", {"responses": both, "config": config}),
            ("input.respond", {"namespace": [], "interruptId": "q3", "response": {"snake_case": 1}}),
            ("input.inject", {"namespace": [], "message": {"role": "user", "content": "hello"}}),
            (
                "input.inject",
                {"namespace": ["a:1"], "message": {"role": "system", "content": "be brief", "name": "boss"}},
            ),
            ("state.get", {"namespace": []}),
            ("state.get", {"namespace": ["sub"], "keys": ["a"]}),
            ("state.listCheckpoints", {}),
            ("state.listCheckpoints", {"namespace": [], "limit": 5, "before": "c1"}),
            ("state.fork", {"checkpointId": "c1"}),
            ("state.fork", {"checkpointId": "c1", "input": {"a": 1}, "config": config}),
            ("agent.getTree", {}),
            ("agent.getTree", {"runId": "r1"}),
        ]
        numbers = [each["id"] for each in server.commands]
        assert numbers == sorted(set(numbers))

    with thread_server() as server:
        play(story(server))


@both
def test_a_command_that_is_refused_raises_its_code(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        server.answer = lambda command: {"error": "no_such_checkpoint", "message": "there is none"}
        async with watching(server, transport) as stream:
            with pytest.raises(CommandError) as caught:
                await stream.fork("c9")
            assert (caught.value.code, caught.value.message) == ("no_such_checkpoint", "there is none")
            assert str(caught.value) == "no_such_checkpoint: there is none"
            assert isinstance(caught.value, ap_client.ApiException)
            # The stream itself is whole.
            server.tell(*numbered(1))
            assert await ids(stream.custom(), 1) == ["1"]

    with thread_server() as server:
        play(story(server))


def test_over_a_websocket_a_command_is_said_again_only_if_that_changes_nothing() -> None:
    async def story(server: ThreadServer) -> None:
        lost: list[str] = []

        def answer(command: dict[str, Any]) -> dict[str, Any]:
            if command["method"] not in lost:
                lost.append(command["method"])
                raise RuntimeError("the connection dies before the answer")
            return {"runId": "r", "values": {"a": 1}}

        server.answer = answer
        async with watching(server, "websocket") as stream:
            assert (await stream.state()).values == {"a": 1}
            with pytest.raises(TransportException, match="before the answer"):
                await stream.start(1)
            assert await stream.start(1) == "r"
        assert [each["method"] for each in server.commands] == ["state.get", "state.get", "run.start", "run.start"]

    with thread_server() as server:
        play(story(server))


@both
def test_what_nobody_reads_is_cut_and_the_others_go_on(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport, held=8) as stream:
            unread, read = stream.custom(), stream.updates()
            assert await ids(read, 2) == ["3", "24"]
            assert (await ids(unread, 8))[-1] == "11"
            with pytest.raises(SubscriptionOverrun):
                await anext(unread)
            server.tell(told("updates", {"values": {}}))
            assert await ids(read, 1) == ["25"]

    with thread_server() as server:
        updates = told("updates", {"values": {}})
        server.tell(*STARTED, updates, *numbered(20), updates)
        play(story(server))


@both
def test_who_reads_slowly_gets_everything(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport, held=200) as stream:
            slow = stream.custom(run_id="run-1")
            found = [(await anext(slow)).payload]
            for _ in range(50):
                # Other tasks have their turn; the connection does not run ahead of its reader.
                await asyncio.sleep(0)
            assert len(slow._inbox.items) < 200
            found += [event.payload async for event in slow]
        assert found == [*range(3000)]

    with thread_server() as server:
        server.tell(*STARTED, *numbered(3000), lifecycle("completed"))
        play(story(server))


@both
def test_a_wait_that_is_given_up_loses_nothing(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            subscription = stream.custom()
            found: list[str] = []
            for number in range(5):
                waiting = asyncio.create_task(ids(subscription, 1))
                for _ in range(number * 3):
                    await asyncio.sleep(0)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    found += await waiting
            server.tell(*numbered(4))
            found += await ids(subscription, 4)
            assert found == ["1", "2", "3", "4"]

    with thread_server() as server:
        play(story(server))


@both
def test_a_subscription_can_be_closed_and_the_stream_goes_on(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            async with stream.custom() as customs:
                updates = stream.updates()
                server.tell(*numbered(2), told("updates", {"values": {}}))
                assert await ids(customs, 1) == ["1"]
            assert await ids(customs) == []
            assert await ids(updates, 1) == ["3"]
            if transport == "websocket":
                await until(lambda: any(each["method"] == "subscription.unsubscribe" for each in server.said))
            await stream.close()
            assert await ids(updates) == []
            with pytest.raises(ap_client.ApiValueError, match="closed"):
                stream.custom()
            with pytest.raises(ap_client.ApiValueError, match="closed"):
                await stream.state()

    with thread_server() as server:
        play(story(server))


@both
def test_the_credentials_and_the_address_are_the_clients(transport: str) -> None:
    async def story(server: ThreadServer) -> None:
        configuration = ap_client.Configuration(server.url, access_token="secret")
        async with aio.ApiClient(configuration, "X-Mine", "yes", "a=b") as client:
            async with aio.ThreadStream(client, "a thread/1", transport=transport) as stream:
                assert await ids(stream.custom(), 1) == ["1"]
            assert len(aio.ThreadStream(client, transport=transport).thread_id) == 36
        headers = server.headers[0]
        assert headers["authorization"] == "Bearer secret"
        assert headers["x-mine"] == "yes"
        assert headers["cookie"] == "a=b"
        assert headers["user-agent"].startswith("runyard-client/")
        assert server.paths == ["/threads/a%20thread%2F1/stream"]

    with thread_server() as server:
        server.tell(*numbered(1))
        play(story(server))


def filters(chance: random.Random) -> Iterable[tuple[Any, Any, Any]]:
    for _ in range(3):
        channels = chance.sample(["values", "updates", "messages", "tools", "custom", "custom:n", "checkpoints"], 2)
        namespaces = chance.choice([None, None, [["a"]], [["a", "b:1"], ["c"]], [[]]])
        yield channels, namespaces, chance.choice([None, None, 0, 1])


def entry(chance: random.Random) -> list[Any]:
    def one() -> Any:
        method = chance.choice(["values", "updates", "messages", "tools", "custom", "checkpoints", "tasks"])
        namespace = chance.choice([[], [], ["a"], ["a:1"], ["a:1", "b:1"], ["a", "b:1", "x"], ["c"]])
        return told(method, {"name": chance.choice("nm"), "event": "x"}, namespace=namespace)

    return [one() for _ in range(chance.choice([1, 1, 2, 3]))]


@both
@pytest.mark.parametrize("seed", range(8))
def test_whatever_befalls_the_connection_each_gets_the_log_through_its_filter(transport: str, seed: int) -> None:
    chance = random.Random(seed)

    async def story(server: ThreadServer) -> None:
        async with watching(server, transport) as stream:
            found: list[tuple[Any, asyncio.Task[list[str]]]] = []
            for _ in range(6):
                for chosen in filters(chance) if chance.random() < 0.6 else ():
                    subscription = stream.subscribe(*chosen, run_id="run-1")
                    found.append((wanted(*chosen), asyncio.create_task(ids(subscription))))
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0.001)
                server.tell(*(entry(chance) for _ in range(chance.randrange(12))))
            server.tell(lifecycle("completed"))
            for chosen, task in found:
                assert await task == server.matching(chosen)

    with thread_server() as server:
        server.tell(*STARTED)
        server.faults += [Fault(chance.randrange(25), chance.choice(["cut", "drained", "too_slow"])) for _ in range(25)]
        play(story(server))
