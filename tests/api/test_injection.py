"""Putting messages into what executes: `input.inject` and `run.start`, over HTTP and WebSockets."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from typing import Any

import pytest
from asgi_client import Connection, connect
from live_server import Server, Starter, play

from runyard import Context, Inbox, agent


@agent
async def listener(ctx: Context, inbox: Inbox, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Notes what it is told, until it is told to stop."""
    notes = [message["content"] for message in messages]
    await ctx.emit("listening")
    async for message in inbox:
        if message["content"] == "stop":
            break
        notes.append(message["content"])
        await ctx.emit(message["content"], name="noted")
    return {"notes": notes}


@agent
async def deaf(ctx: Context) -> None:
    """Waits for an answer that never comes, and takes no messages."""
    await ctx.emit("listening")
    await asyncio.Event().wait()


@agent
async def asker(ctx: Context, inbox: Inbox) -> dict[str, Any]:
    """Asks first, and then takes one message."""
    answer = await ctx.interrupt("ready?")
    return {"answer": answer, "got": (await inbox.take())["content"]}


class Thread:
    """A thread that is steered over one of the transports, and watched over SSE."""

    def __init__(self, server: Server, over: str) -> None:
        self.server = server
        self.id = str(uuid.uuid4())
        self._next = 0
        self._socket = Talk(server, self.id) if over == "websocket" else None
        wish = {"channels": ["messages", "values", "custom", "lifecycle"], "since": 0}
        self.stream: Connection = connect(server, "POST", f"/threads/{self.id}/stream", wish)

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        self._next += 1
        body = {"id": self._next, "method": method, "params": params}
        if self._socket is not None:
            return await self._socket.ask(body)
        answer = await self.server.post(f"/threads/{self.id}/commands", body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def start(self, agent_id: str, *contents: str, **more: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": content} for content in contents]
        return await self.command("run.start", assistantId=agent_id, input={"messages": messages}, **more)

    async def inject(self, content: str, **more: Any) -> dict[str, Any]:
        message = {"role": "user", "content": content, **more}
        return await self.command("input.inject", namespace=[], message=message)

    async def until(self, mark: str) -> None:
        await self.stream.until(mark)

    def told(self, method: str) -> list[Any]:
        return [event.data["params"]["data"] for event in self.stream.events if event.event == method]

    async def values(self) -> dict[str, Any]:
        return (await self.command("state.get", namespace=[]))["result"]["values"]

    async def leave(self) -> None:
        await self.stream.leave()
        if self._socket is not None:
            await self._socket.leave()


class Talk:
    """A WebSocket to the server in this process, for one command after the other."""

    def __init__(self, server: Server, thread_id: str) -> None:
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said.put_nowait({"type": "websocket.connect"})
        path = f"/threads/{thread_id}/stream"
        scope = {
            "type": "websocket", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "ws", "path": path,
            "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [(b"host", b"testserver")],
            "server": ("testserver", 80), "client": ("127.0.0.1", 1), "subprotocols": [],
        }  # fmt: skip
        self._talking = asyncio.ensure_future(server.app(scope, self._said.get, self._heard.put))

    async def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self._said.put_nowait({"type": "websocket.receive", "text": json.dumps(command)})
        while True:
            message = await self._heard.get()
            if message["type"] == "websocket.send":
                text = message.get("text") or message["bytes"]
                return json.loads(text)

    async def leave(self) -> None:
        self._said.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._talking


OVER = pytest.mark.parametrize("over", ["http", "websocket"])


@OVER
def test_a_message_reaches_the_code_that_executes_and_is_told_as_it_is_accepted(server: Starter, over: str) -> None:
    async def story() -> None:
        async with server(listener) as s:
            thread = Thread(s, over)
            await thread.start("listener", "hello")
            await thread.until('"listening"')
            answer = await thread.inject("be brief", role="system", name="boss", id="m-1")
            assert (answer["type"], answer["result"]) == ("success", {})
            await thread.until('"noted"')
            told = [one for one in thread.told("messages") if one.get("id") == "m-1"]
            assert [one["event"] for one in told] == [
                "message-start", "content-block-start", "content-block-delta", "content-block-finish", "message-finish",
            ]  # fmt: skip
            assert told[0]["role"] == "system"
            # The number that the answer names covers what is told of it.
            ended = next(event for event in thread.stream.events if event.data["params"]["data"] == told[-1])
            assert ended.data["seq"] <= answer["meta"]["appliedThroughSeq"]
            assert (await thread.inject("be brief", id="m-1"))["type"] == "success"  # sent again, accepted once
            await thread.inject("stop")
            await thread.until('"completed"')
            values = await thread.values()
            assert values["notes"] == ["hello", "be brief"]
            assert [message["content"] for message in values["messages"]] == ["hello", "be brief", "stop"]
            assert values["messages"][1] == {"id": "m-1", "role": "system", "content": "be brief", "name": "boss"}
            await thread.leave()

    play(story())


@OVER
def test_input_that_is_messages_goes_into_the_run_of_that_agent(server: Starter, over: str) -> None:
    async def story() -> None:
        async with server(listener) as s:
            thread = Thread(s, over)
            first = (await thread.start("listener", "hello"))["result"]["runId"]
            await thread.until('"listening"')
            assert (await thread.start("listener", "more", "and more"))["result"]["runId"] == first
            await thread.inject("stop")
            await thread.until('"completed"')
            assert (await thread.values())["notes"] == ["hello", "more", "and more"]
            # On an idle thread it begins a run, as ever.
            assert (await thread.start("listener", "again"))["result"]["runId"] != first
            await thread.inject("stop")
            await s.until(lambda: thread.stream.received.count(b'"event":"completed"') == 2)
            await thread.leave()

    play(story())


@OVER
def test_a_message_that_comes_before_the_code_has_begun_is_found_by_it(server: Starter, over: str) -> None:
    async def story() -> None:
        async with server(listener) as s:

            async def one() -> None:
                thread = Thread(s, over)
                await thread.start("listener", "hello")
                early = await thread.inject("early")
                assert early["type"] == "success", early
                await thread.inject("stop")
                await thread.until('"completed"')
                assert (await thread.values())["notes"] == ["hello", "early"]
                await thread.leave()

            await asyncio.gather(*(one() for _ in range(20)))

    play(story())


def test_a_run_that_waits_for_a_place_takes_messages_too(server: Starter) -> None:
    async def story() -> None:
        async with server(listener, max_runs=1) as s:
            first, second = Thread(s, "http"), Thread(s, "http")
            await first.start("listener", "hello")
            await first.until('"listening"')
            await second.start("listener", "hello")
            for content in ("early", "stop"):
                assert (await second.inject(content))["type"] == "success"
            await first.inject("stop")
            await second.until('"completed"')
            assert (await second.values())["notes"] == ["hello", "early"]
            await first.leave()
            await second.leave()

    play(story())


@pytest.mark.parametrize(
    "more",
    [
        {"multitaskStrategy": "enqueue"},
        {"metadata": {"a": 1}},
        {"config": {"configurable": {"temperature": 1}}},
        {"assistantId": "other"},
        {"input": {"messages": [{"role": "user", "content": "x"}], "more": 1}},
        {"input": {"messages": [{"role": "assistant", "content": "x"}]}},
        {"input": {"messages": []}},
    ],
)
def test_what_says_more_than_a_message_begins_a_run_of_its_own(server: Starter, more: dict[str, Any]) -> None:
    other = agent(listener.function, id="other")

    async def story() -> None:
        async with server(listener, other) as s:
            thread = Thread(s, "http")
            first = (await thread.start("listener", "hello"))["result"]["runId"]
            await thread.until('"listening"')
            messages = {"messages": [{"role": "user", "content": "x"}]}
            params = {"assistantId": "listener", "input": messages, **more}
            second = (await thread.command("run.start", **params))["result"]["runId"]
            assert second != first
            assert (await s.storage.run("", second)).status == "pending"
            await thread.inject("stop")
            await thread.leave()

    play(story())


@OVER
def test_where_nothing_takes_a_message_the_answer_says_why(server: Starter, over: str) -> None:
    async def story() -> None:
        async with server(deaf, listener) as s:
            thread = Thread(s, over)
            unknown = await s.post(
                f"/threads/{thread.id}/commands",
                {"id": 1, "method": "input.inject", "params": {"message": {"role": "user", "content": "x"}}},
            )
            assert unknown.status_code == 404
            await s.thread(thread_id=thread.id)
            assert (await thread.inject("x"))["error"] == "no_such_run"
            executing = (await thread.command("run.start", assistantId="deaf", input=None))["result"]["runId"]
            await thread.until('"listening"')
            refused = await thread.inject("x")
            assert (refused["error"], refused["metadata"]["agent_id"]) == ("not_supported", "deaf")
            # Its agent has no inbox: input waits for its turn.
            waiting = (await thread.start("deaf", "x"))["result"]["runId"]
            assert (await s.storage.run("", waiting)).status == "pending"
            nested = await thread.command("input.inject", namespace=["a:1"], message={"role": "user", "content": "x"})
            assert nested["error"] == "not_supported"
            for message in ({"role": "assistant", "content": "x"}, {"role": "user"}, {"role": "user", "content": 1}, 7):
                answer = await thread.command("input.inject", namespace=[], message=message)
                assert (answer["error"], answer["type"]) == ("invalid_argument", "error"), message
            await s.post(f"/runs/{waiting}/cancel")
            await s.post(f"/runs/{executing}/cancel?wait=true")
            await thread.leave()

    play(story())


def test_what_was_not_taken_is_left_to_the_thread_and_the_next_run_finds_it(server: Starter) -> None:
    go = threading.Event()

    @agent
    async def late(ctx: Context, inbox: Inbox, messages: list[dict[str, Any]]) -> dict[str, Any]:
        await ctx.emit("listening")
        await asyncio.to_thread(go.wait)
        return {"seen": [message["content"] for message in messages]}

    async def story() -> None:
        async with server(late) as s:
            thread = Thread(s, "http")
            await thread.start("late", "one")
            await thread.until('"listening"')
            await thread.inject("two")
            go.set()
            await thread.until('"completed"')
            values = await thread.values()
            assert values["seen"] == ["one"]
            assert [message["content"] for message in values["messages"]] == ["one", "two"]
            assert [one["content"] for one in thread.told("values")[-1]["messages"]] == ["one", "two"]
            await thread.start("late", "three")
            await s.until(lambda: thread.stream.received.count(b'"event":"completed"') == 2)
            assert (await thread.values())["seen"] == ["one", "two", "three"]
            await thread.leave()

    play(story())


def test_an_open_question_is_answered_and_not_taken_for_a_message(server: Starter) -> None:
    async def story() -> None:
        async with server(asker) as s:
            thread = Thread(s, "http")
            await thread.command("run.start", assistantId="asker", input={})
            await thread.until('"interrupted"')
            assert (await thread.inject("x"))["error"] == "no_such_run"
            await thread.command("run.start", assistantId="asker", input="yes")
            await thread.inject("now")
            await thread.until('"completed"')
            assert (await thread.values())["answer"] == "yes"
            assert (await thread.values())["got"] == "now"
            await thread.leave()

    play(story())


def test_the_capability_is_published(server: Starter) -> None:
    async def story() -> None:
        async with server(listener, deaf) as s:
            capabilities = (await s.get("/agents/listener")).json()["capabilities"]
            assert (capabilities["runyard.inject"], capabilities["ap.io.messages"]) == (True, True)
            assert "runyard.inject" not in (await s.get("/agents/deaf")).json()["capabilities"]

    play(story())
