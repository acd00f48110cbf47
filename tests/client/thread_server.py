"""A server of the streaming protocol for one thread, over real sockets, that can be made to fail at any frame."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from ap_client.filters import Filter
from ap_client.thread_events import ThreadEvent, read_event

Frame = dict[str, Any]
Told = tuple[str, Any, dict[str, Any]]
"""Method, data, and the other fields of `params` (and `run`)."""

ENDS = ("completed", "failed", "interrupted")


@dataclass(frozen=True)
class Fault:
    """What befalls one connection after so many of its frames: cut, drained, too_slow or broken."""

    after: int
    how: str = "cut"


class Cut(Exception):
    """Ends a connection without a word."""


def told(method: str, data: Any, **more: Any) -> Told:
    return method, data, more


def lifecycle(event: str, run: str = "run-1", **more: Any) -> Told:
    return told("lifecycle", {"event": event, "graphName": "agent"}, run=run, **more)


def said_by(message: str, *pieces: str, run: str = "run-1", **more: Any) -> list[Told]:
    """A whole message of one text block, told piece by piece."""
    about = {"run": run, **more}
    return [
        begun(message, **about),
        told("messages", {"event": "content-block-start", "id": message, "index": 0, "content": text()}, **about),
        *(delta(message, piece, **about) for piece in pieces),
        told(
            "messages", {"event": "content-block-finish", "id": message, "index": 0, "content": text(*pieces)}, **about
        ),
        finished(message, **about),
    ]


def text(*pieces: str) -> dict[str, Any]:
    return {"type": "text", "text": "".join(pieces)}


def begun(message: str, **more: Any) -> Told:
    return told("messages", {"event": "message-start", "id": message, "role": "ai"}, **more)


def delta(message: str, piece: str, **more: Any) -> Told:
    change = {"type": "text-delta", "text": piece}
    return told("messages", {"event": "content-block-delta", "id": message, "index": 0, "delta": change}, **more)


def finished(message: str, **more: Any) -> Told:
    return told("messages", {"event": "message-finish", "id": message, "usage": {"outputTokens": 3}}, **more)


@dataclass
class Reader:
    """One filtered reading of the log, over a connection."""

    filter: Filter
    at: int
    skip: int = 0


@dataclass
class ThreadServer:
    """A thread's log, and what is asked for it. All of it belongs to the thread that serves."""

    entries: list[list[Frame]] = field(default_factory=list)
    floor: int = 0
    state: Any = None
    faults: list[Fault] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], dict[str, Any]] = lambda command: {}
    statuses: list[int] = field(default_factory=list)
    greeting: bool = False
    open_now: int = 0
    most_open: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # What tests do, from their own thread.

    def tell(self, *groups: Told | list[Told]) -> None:
        """Append entries, each told as one event, or as several."""
        asyncio.run_coroutine_threadsafe(self._tell(groups), self._loop).result()

    async def _tell(self, groups: tuple[Told | list[Told], ...]) -> None:
        async with self._news:
            for group in groups:
                self.append(group if isinstance(group, list) else [group])
            self._news.notify_all()

    def append(self, group: list[Told]) -> None:
        """An entry; while nobody is served this can be called directly."""
        seq = len(self.entries) + 1
        frames: list[Frame] = []
        for place, (method, data, more) in enumerate(group):
            last = place == len(group) - 1
            rest = dict(more)
            run = rest.pop("run", "run-1")
            params = {"namespace": [], "timestamp": 1, **rest, "data": data}
            frame: Frame = {"type": "event", "eventId": str(seq) if last else f"{seq}-{place}", "runId": run}
            frames.append({**frame, **({"seq": seq} if last else {}), "method": method, "params": params})
        self.entries.append(frames)

    def heartbeat(self) -> None:
        """A comment on every open event stream."""
        asyncio.run_coroutine_threadsafe(self._beat(), self._loop).result()

    async def _beat(self) -> None:
        async with self._news:
            self._beats += 1
            self._news.notify_all()

    def matching(self, wanted: Filter, behind: int = 0) -> list[str]:
        """The ids of what a filter lets through, behind an entry."""
        frames = [frame for group in self.entries[behind:] for frame in group]
        return [frame["eventId"] for frame in frames if _matches(wanted, frame)]

    # Serving.

    def begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Condition()
        self._beats = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        given = json.loads(body or b"{}")
        self._note(scope)
        if scope["path"].endswith("/commands"):
            await _respond(send, 200, self._obey(given))
            async with self._news:
                self._news.notify_all()
            return
        self.bodies.append(given)
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            await _respond(send, status, {"code": "refused", "message": "no"})
            return
        await self._stream(given, receive, send)

    def _note(self, scope: Any) -> None:
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        self.paths.append(scope["raw_path"].decode())

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        self.commands.append(command)
        outcome = self.answer(command)
        if "error" in outcome:
            return {"type": "error", "id": command["id"], **outcome}
        meta = {"appliedThroughSeq": len(self.entries)}
        return {"type": "success", "id": command["id"], "result": outcome, "meta": meta}

    async def _stream(self, given: dict[str, Any], receive: Any, send: Any) -> None:
        fault = self.faults.pop(0) if self.faults else None
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        self._enter()

        async def put(text: str) -> None:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

        try:
            if self.greeting:
                await put(": here\n\n")
            sent = 0
            gone = asyncio.create_task(receive())
            reader, first = self._join(given, self.headers[-1].get("last-event-id"))
            async for frame in self._frames([reader], first, gone):
                if fault is not None and sent == fault.after:
                    if fault.how == "cut":
                        raise Cut
                    if fault.how == "broken":
                        await put(
                            'event: error\ndata: {"type":"error","id":null,"error":"unknown_error","message":"m"}\n\n'
                        )
                    else:
                        await put(f"retry: 1\n: {fault.how}\n\n")
                    break
                if frame is None:
                    await put(":\n\n")
                    continue
                sent += 1
                await put(f"id: {frame['eventId']}\nevent: {frame['method']}\ndata: {json.dumps(frame)}\n\n")
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        finally:
            self.open_now -= 1

    def _enter(self) -> None:
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)

    def _join(self, given: dict[str, Any], header: str | None) -> tuple[Reader, list[Frame]]:
        """Where a reading begins, and what comes before the log."""
        spaces = given.get("namespaces")
        wanted = Filter(
            tuple(given["channels"]), None if spaces is None else tuple(map(tuple, spaces)), given.get("depth")
        )
        since = given.get("since")
        cursor = given.get("sinceEventId") or (str(since) if since is not None else header)
        if cursor is not None:
            seq, _, place = cursor.partition("-")
            at, skip = (int(seq) - 1, int(place) + 1) if place else (int(seq), 0)
            if at < self.floor:
                payload = {"from": at + 1, "to": self.floor, "count": self.floor - at}
                data = {"name": "ap.missed_events", "payload": payload}
                params = {"namespace": [], "timestamp": 1, "data": data}
                frame = {"type": "event", "eventId": f"missed:{at}", "method": "custom", "params": params}
                return Reader(wanted, self.floor), [frame]
            return Reader(wanted, at, skip), []
        first: list[Frame] = []
        if "values" in wanted.channels and self.state is not None:
            params = {"namespace": [], "timestamp": 1, "data": self.state}
            first.append(
                {"type": "event", "eventId": f"snap:{len(self.entries)}", "method": "values", "params": params}
            )
        return Reader(wanted, self._newest_run()), first

    def _newest_run(self) -> int:
        """Behind which entry the oldest unfinished run begins; the newest, where all are finished."""
        began: dict[str, int] = {}
        ended: set[str] = set()
        for at, group in enumerate(self.entries):
            for frame in group:
                began.setdefault(frame["runId"], at)
                data = frame["params"]["data"]
                if frame["method"] == "lifecycle" and not frame["params"]["namespace"] and data["event"] in ENDS:
                    ended.add(frame["runId"])
        going = [at for run, at in began.items() if run not in ended]
        return min(going) if going else max(began.values(), default=len(self.entries))

    async def _frames(self, readers: list[Reader], first: list[Frame], gone: asyncio.Future[Any]) -> AsyncIterator[Any]:
        """What readers are told, in order, until the client has gone; None is a heartbeat."""
        for frame in first:
            yield frame
        beats = self._beats
        while not gone.done():
            found = [frame for reader in readers for frame in self._next(reader)]
            for frame in found:
                yield frame
            if found:
                continue
            if beats < self._beats:
                beats += 1
                yield None
                continue
            async with self._news:
                if all(reader.at >= len(self.entries) for reader in readers) and beats == self._beats:
                    waiting = asyncio.create_task(self._news.wait())
                    gone.add_done_callback(lambda _, waiting=waiting: waiting.cancel())
                    try:
                        await waiting
                    except asyncio.CancelledError:
                        if not gone.done():
                            raise

    def _next(self, reader: Reader) -> list[Frame]:
        found: list[Frame] = []
        while reader.at < len(self.entries) and not found:
            group = self.entries[reader.at][reader.skip :]
            reader.at, reader.skip = reader.at + 1, 0
            found = [frame for frame in group if _matches(reader.filter, frame)]
        return found

    async def _socket(self, scope: Any, receive: Any, send: Any) -> None:
        """One connection: commands and events take turns, so that each answer comes before its replay."""
        await receive()
        self._note(scope)
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b'{"code": "refused", "message": "no"}'})
            return
        await send({"type": "websocket.accept"})
        self._enter()
        fault = self.faults.pop(0) if self.faults else None
        filters: dict[str, Filter] = {}
        at = len(self.entries)
        sent = 0

        async def put(frame: Frame) -> None:
            nonlocal sent
            if fault is not None and sent == fault.after:
                raise Cut
            sent += 1
            await send({"type": "websocket.send", "text": json.dumps(frame)})

        commands: asyncio.Queue[Any] = asyncio.Queue()

        async def listen() -> None:
            while True:
                message = await receive()
                async with self._news:
                    commands.put_nowait(
                        None if message["type"] == "websocket.disconnect" else json.loads(message["text"])
                    )
                    self._news.notify_all()
                if message["type"] == "websocket.disconnect":
                    return

        listening = asyncio.create_task(listen())
        try:
            while True:
                while not commands.empty():
                    command = commands.get_nowait()
                    if command is None:
                        return
                    at = await self._in_band(command, filters, at, put, send)
                while at < len(self.entries):
                    for frame in self.entries[at]:
                        if any(_matches(each, frame) for each in filters.values()):
                            await put(frame)
                    at += 1
                async with self._news:
                    if commands.empty() and at >= len(self.entries):
                        await self._news.wait()
        except Cut:
            codes = {"drained": 1012, "too_slow": 1013, "broken": 1008}
            if fault is not None and fault.how in codes:
                await send({"type": "websocket.close", "code": codes[fault.how], "reason": fault.how})
            else:
                raise
        finally:
            listening.cancel()
            self.open_now -= 1

    async def _in_band(self, command: Any, filters: dict[str, Filter], at: int, put: Any, send: Any) -> int:
        self.said.append(command)
        if command["method"] == "subscription.unsubscribe":
            filters.pop(command["params"]["subscriptionId"], None)
            return at
        if command["method"] != "subscription.subscribe":
            await send({"type": "websocket.send", "text": json.dumps(self._obey(command))})
            return at
        given = command["params"]
        self.bodies.append(given)
        reader, first = self._join(given, None)
        # Everybody is where the log ends before anybody joins.
        while at < len(self.entries):
            for frame in self.entries[at]:
                if any(_matches(each, frame) for each in filters.values()):
                    await put(frame)
            at += 1
        end = at
        replay = [*first]
        while reader.at < end:
            replay += self._next(reader)
        name = f"sub-{len(self.bodies)}"
        filters[name] = reader.filter
        result = {"subscriptionId": name, "replayedEvents": len(replay)}
        meta = {"appliedThroughSeq": end}
        done = {"type": "success", "id": command["id"], "result": result, "meta": meta}
        await send({"type": "websocket.send", "text": json.dumps(done)})
        for frame in replay:
            await put(frame)
        return end


def _matches(wanted: Filter, frame: Frame) -> bool:
    event = read_event(frame)
    return isinstance(event, ThreadEvent) and wanted.matches(event)


async def _respond(send: Any, status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def free_port() -> int:
    """A port that nobody listens on yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Runner(uvicorn.Server):
    """Ends at once, and does not look every now and then whether it should."""

    async def main_loop(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.over = asyncio.Event()
        await self.over.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        for each in self.servers:
            each.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.over.set)


@contextmanager
def listening(server: ThreadServer) -> Iterator[ThreadServer]:
    """Serve it, on the port that it had before where it had one; at the end it is gone as if killed."""
    ready = threading.Event()
    config = uvicorn.Config(
        server.app,
        port=server.port,
        interface="asgi3",
        log_config=None,
        log_level="critical",
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=0,
    )
    runner = _Runner(config)

    async def serve() -> None:
        server.begin()
        serving = asyncio.create_task(runner.serve())
        while not runner.started:
            await asyncio.sleep(0.001)
        server.port = runner.servers[0].sockets[0].getsockname()[1]
        ready.set()
        await serving

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        runner.end()
        thread.join()


@contextmanager
def thread_server(**more: Any) -> Iterator[ThreadServer]:
    with listening(ThreadServer(**more)) as server:
        yield server
