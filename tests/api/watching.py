"""What is told of a thread, as a client of either transport sees it. Every frame is checked as it is looked at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Literal

from asgi_client import Connection, Socket, connect, speak
from live_server import Server, holds
from streaming_frames import CHANNELS, Frame, check_event, check_order, check_response

from runyard import Context, agent

ALL = sorted(CHANNELS)
Transport = Literal["sse", "websocket"]


class Watch:
    """One subscription."""

    def __init__(self, server: Server, connection: Connection | Socket, first: int = 0) -> None:
        self.connection = connection
        self._server = server
        self._first = first
        """The messages that came over the socket before the subscription."""
        self._checked = 0

    @property
    def frames(self) -> list[Frame]:
        """All that it was told, in order."""
        frames = self.received
        for frame in frames[self._checked :]:
            check_event(frame)
        self._checked = len(frames)
        check_order(frames)
        return frames

    @property
    def received(self) -> list[Frame]:
        """The same, before it is looked at."""
        if isinstance(self.connection, Socket):
            return [message for message in self.connection.received[self._first :] if message["type"] == "event"]
        events = self.connection.events
        for event in events[self._checked :]:
            assert (event.id, event.event) == (event.data["eventId"], event.data["method"])
        return [event.data for event in events]

    @property
    def ids(self) -> list[str]:
        return [frame["eventId"] for frame in self.frames]

    @property
    def told(self) -> list[str]:
        """Each event in a word."""
        return list(map(word, self.frames))

    async def until(self, holds: Callable[[list[str]], bool]) -> list[Frame]:
        """Until it holds for the words of the events; the frames."""
        await self._server.until(lambda: holds(list(map(word, self.received))))
        return self.frames

    async def until_told(self, *words: str) -> list[Frame]:
        """Until the last of the events are these."""
        return await self.until(lambda told: told[-len(words) :] == list(words))

    async def leave(self) -> None:
        await self.connection.leave()


async def watch(
    s: Server, thread_id: str, channels: Iterable[str] = ALL, transport: Transport = "sse", **more: Any
) -> Watch:
    """Subscribes to a thread, in a connection of its own; returns when the replay has begun."""
    wish = {"channels": list(channels), **more}
    if transport == "websocket":
        socket = speak(s, thread_id)
        check_response(await socket.ask("subscription.subscribe", **wish), "subscription.subscribe")
        return Watch(s, socket)
    connection = connect(s, "POST", f"/threads/{thread_id}/stream", wish)
    await s.until(lambda: bool(connection.received))
    assert connection.status == 200, connection.received
    return Watch(s, connection)


def word(frame: Mapping[str, Any]) -> str:
    """An event in a word: its method or its `event`, its name, where it happened."""
    method, data = frame["method"], frame["params"]["data"]
    more = ""
    if method == "custom":
        more = f":{data['payload'] if data.get('name') is None else data['name']}"
    elif method in ("lifecycle", "messages", "tools"):
        method = data["event"]
    where = "/".join(segment.partition(":")[0] for segment in frame["params"]["namespace"])
    return f"{method}{more}" + (f"@{where}" if where else "")


async def log_of(s: Server, thread_id: str, **wish: Any) -> list[Frame]:
    """What a thread has told so far, by default all of it."""
    seen = await watch(s, thread_id, **{"since": 0, "transport": "websocket", **wish})
    assert isinstance(seen.connection, Socket)
    count = seen.connection.received[0]["result"]["replayedEvents"]
    await s.until(lambda: len(seen.connection.events) >= count)
    frames = seen.frames
    await seen.leave()
    assert len(frames) == count
    return frames


async def settled(s: Server) -> None:
    """Whatever was about to be told has been: writes, and what follows on them, happen one after the other."""
    for _ in range(3):
        await s.thread()


async def send(s: Server, thread_id: str, method: str, **params: Any) -> dict[str, Any]:
    """The response to a command over HTTP."""
    answer = await s.post(f"/threads/{thread_id}/commands", {"id": 7, "method": method, "params": params})
    response: dict[str, Any] = json.loads(answer.content)
    assert response["id"] == 7
    assert answer.status_code == 200
    return check_response(response, method)


@agent
async def everything(ctx: Context) -> dict[str, Any]:
    """Tells something on every channel, here and below, and asks. Its payloads have keys like the protocol's own."""
    async with ctx.message() as message:
        await message.reason("hm")
        await message.write("hel")
        await message.write("lo")
        await message.call_piece('{"toolCallId"', name="first", index=0)
        await message.call_piece('{"b":1}', name="second", index=1)
        await message.call_piece(":1}", index=0)
        await message.add({"type": "image", "url": "http://x", "mime_type": "image/png"})
        await message.add({"type": "non_standard", "value": {"fileId": 1}})
        await message.data("audio", b"abc", mime_type="audio/wav")
        await message.usage(input_tokens=3, output_tokens=4, input_token_details={"cache_read": 1})
    async with ctx.agent("child") as child:
        await child.tool("pieces", _pieces, mime_type=1)
        async with child.agent("grandchild") as grandchild:
            await grandchild.emit({"deep": True}, name="deep")
        async with child.message() as message:
            await message.write("within")
    async with ctx.agent("other") as other:
        await other.emit({}, name="beside")
    try:
        await ctx.tool("bad", _bad)
    except ValueError:
        pass
    await ctx.emit({"toolCallId": 1}, name="named")
    await ctx.emit("unnamed")
    await ctx.update({"fileId": {"mime_type": 1}})
    return {"answer": await ctx.interrupt({"interruptId": 1})}


async def _pieces(mime_type: int) -> AsyncIterator[str]:
    yield "x"
    yield str(mime_type)


async def _bad() -> None:
    raise ValueError("no")


async def a_whole_story(s: Server) -> str:
    """A thread on which everything was told: a run that asked, and the one that took the answer."""
    thread = await s.thread()
    begun = await send(s, thread, "run.start", assistantId="everything", input={})
    await s.wait(begun["result"]["runId"])
    asked = (await s.get(f"/threads/{thread}")).json()["interrupts"][0]["id"]
    await send(s, thread, "input.respond", namespace=[], interruptId=asked, response={"graphName": 5})
    await s.until(lambda: holds(s.storage.thread("", thread), lambda found: found.status == "idle"))
    return thread
