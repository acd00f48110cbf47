"""A client's connection to a server in this process, for what comes in pieces, as server-sent events or over a
WebSocket: a test reads it as it comes, stops reading, or leaves. And an agent that does what the test says, when the
test says it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from ap_client.sse import EventParser, ServerEvent
from live_server import MovableClock, Server

from runyard import Context, agent
from runyard.runtime.contract import LoadedAgent


class Connection:
    """One request whose answer is read while it comes. `received` is all of its body so far."""

    def __init__(self, server: Server, method: str, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.received = b""
        self.largest_piece = 0
        """Bytes that the server sent at once, at most."""
        self.complete = False
        """The answer has come to its end, in order."""
        self._server = server
        self._body = body
        self._asked = False
        self._left = asyncio.Event()
        self._reads = asyncio.Event()
        self._reads.set()
        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("testserver", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self._handling = asyncio.ensure_future(server.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self._reads.wait()
        if self._left.is_set():
            return  # as servers do: what is sent to nobody is no error
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            piece = message.get("body", b"")
            self.received += piece
            self.largest_piece = max(self.largest_piece, len(piece))
            self.complete = not message.get("more_body", False)

    @property
    def events(self) -> list[ServerEvent]:
        """The events that came so far."""
        return list(EventParser().feed(self.received))

    @property
    def names(self) -> list[str]:
        """What the events are, in their order."""
        return [event.event for event in self.events]

    @property
    def payloads(self) -> list[Any]:
        """What was emitted, in its order."""
        return [event.data["payload"] for event in self.events if event.event == "custom"]

    @property
    def ids(self) -> list[int]:
        """The numbers of the events, in the order in which they came; a made-up one has none."""
        lines = self.received.decode().splitlines()
        return [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]

    @property
    def json(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.received)

    async def until(self, mark: str) -> None:
        """Until this text has come."""
        await self._server.until(lambda: mark.encode() in self.received)

    @property
    def reads(self) -> bool:
        """The client takes what comes."""
        return self._reads.is_set()

    @property
    def over(self) -> bool:
        """The server is done with it."""
        return self._handling.done()

    async def end(self) -> Connection:
        """Until the server is done with the request."""
        await self._handling
        return self

    def stop_reading(self) -> None:
        """From now on the server cannot get rid of anything."""
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    async def leave(self) -> None:
        """Closes the connection; returns when the server has dealt with that."""
        self._left.set()
        self._reads.set()
        await self._handling


def connect(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Connection:
    """Sends a request; in the names of `headers` an underscore stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        named.setdefault("content-type", "application/json")
    return Connection(server, method, path, {"host": "testserver", **named}, content)


class Socket:
    """One WebSocket. `received` is every message so far."""

    def __init__(self, server: Server, path: str, headers: Mapping[str, str], *, refusals: bool = True) -> None:
        self.accepted = False
        self.status = 0
        """Of the answer that refuses it."""
        self.refusal = b""
        self.received: list[Any] = []
        self.closed: tuple[int, str] | None = None
        """Why the server closed it."""
        self._server = server
        self._asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked.put_nowait({"type": "websocket.connect"})
        self._left = False
        self._reads = asyncio.Event()
        self._reads.set()
        self._number = 0
        extensions: dict[str, Any] = {"websocket.http.response": {}} if refusals else {}
        scope = {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1",
            "scheme": "ws", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("testserver", 80), "client": ("127.0.0.1", 1), "subprotocols": [], "extensions": extensions,
        }  # fmt: skip
        self._handling = asyncio.ensure_future(server.app(scope, self._asked.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        await self._reads.wait()
        if self._left:
            raise OSError("it has gone")
        match message["type"]:
            case "websocket.accept":
                self.accepted = True
            case "websocket.send":
                self.received.append(json.loads(message["text"]))
            case "websocket.close":
                self.closed = message["code"], message.get("reason", "")
                self._asked.put_nowait({"type": "websocket.disconnect", "code": message["code"]})
            case "websocket.http.response.start":
                self.status = message["status"]
            case _:
                self.refusal += message.get("body", b"")

    def say(self, text: str | bytes) -> None:
        """Sends a message, whatever it is."""
        name = "text" if isinstance(text, str) else "bytes"
        self._asked.put_nowait({"type": "websocket.receive", name: text})

    def command(self, method: str, params: Any = None) -> int:
        """Sends a command; its number."""
        self._number += 1
        self.say(json.dumps({"id": self._number, "method": method, "params": params or {}}))
        return self._number

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The response to a command."""
        number = self.command(method, params)
        await self._server.until(lambda: bool(self._responses(number)) or self._handling.done())
        return self._responses(number)[0]

    def _responses(self, number: int) -> list[dict[str, Any]]:
        return [one for one in self.received if one["type"] != "event" and one["id"] == number]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that came so far."""
        return [message for message in self.received if message["type"] == "event"]

    async def until(self, holds: Callable[[], bool]) -> None:
        await self._server.until(holds)

    @property
    def reads(self) -> bool:
        """The client takes what comes."""
        return self._reads.is_set()

    @property
    def over(self) -> bool:
        """The server is done with it."""
        return self._handling.done()

    async def end(self) -> Socket:
        """Until the server is done with it."""
        await self._handling
        return self

    def stop_reading(self) -> None:
        """From now on the server cannot get rid of anything."""
        self._reads.clear()

    def read_on(self) -> None:
        self._reads.set()

    async def leave(self) -> None:
        """Closes it; returns when the server has dealt with that."""
        self._left = True
        self._reads.set()
        self._asked.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._handling


def speak(server: Server, thread_id: str, *, refusals: bool = True, **headers: str) -> Socket:
    """Opens a thread's WebSocket; in the names of `headers` an underscore stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Socket(server, f"/threads/{thread_id}/stream", {"host": "testserver", **named}, refusals=refusals)


Order = Callable[[Context], Awaitable[Any]]


class Puppet:
    """An agent that does what it is told, one order after the other; `end` lets it return."""

    def __init__(self) -> None:
        # Orders are given on the test's thread and taken on an agent's; a deque is safe between the two.
        self._orders: deque[Order | None] = deque()

        @agent(id="puppet")
        async def obey(ctx: Context) -> None:
            async for order in self.given():
                await order(ctx)

        self.agent: LoadedAgent = obey

    async def given(self) -> AsyncIterator[Order]:
        """The orders, as they come; for an agent's code."""
        while True:
            while not self._orders:
                await asyncio.sleep(0.001)
            order = self._orders.popleft()
            if order is None:
                return
            yield order

    def do(self, *orders: Order) -> None:
        self._orders.extend(orders)

    def emit(self, *payloads: Any) -> None:
        self.do(*(emitting(payload) for payload in payloads))

    def end(self) -> None:
        self._orders.append(None)

    def forget(self) -> None:
        """Takes back what it was told and has not begun."""
        self._orders.clear()


def emitting(payload: Any) -> Order:
    """The order to emit that."""

    async def emit(ctx: Context) -> None:
        await ctx.emit(payload)

    return emit


class WatchedClock(MovableClock):
    """A movable clock that tells who waits on it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        """The seconds of every wait that has begun."""

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await super().sleep(seconds)


def frames(text: bytes) -> Iterator[list[str]]:
    """The blocks of a stream, each as its lines; comments are blocks too."""
    for block in text.decode().split("\n\n"):
        if block:
            yield block.split("\n")
