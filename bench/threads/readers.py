"""Readers of thread streams in a process of their own, as cheap as they can be: what is measured is the server.

`python -m bench.threads.readers JOB`, where the job is JSON (see `Job`). Says "open" on standard error when all are
answered, reads until each has had as many events as are expected, or for `hold` seconds where that is not 0, and prints
what came as JSON.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import struct
import sys
import time
from typing import Any, cast

import msgspec

AT_ONCE = 500
"""Connections that are being opened: more would wait in the listening socket's queue, and some be lost in it."""
_EVENT = b"\ndata: "
_AT = b'"at":'


class Job(msgspec.Struct, kw_only=True):
    """What to read. The n-th reader sends the body number `n % len(bodies)`."""

    port: int
    transport: str
    """`sse` or `websocket`; `run` is a stream that is asked for with GET."""
    path: str
    bodies: list[Any]
    count: int
    events: int = 0
    """How many each reader has to get."""
    hold: float = 0
    mode: str = ""
    """Of the events that count in a run's stream: it begins with one that tells the attempt."""
    timed: bool = False
    """Events hold when they were given away."""


class Reader(asyncio.Protocol):
    """Counts events, and notes when the first and the last came."""

    def __init__(self, request: bytes, job: Job, late: list[float]) -> None:
        loop = asyncio.get_running_loop()
        self.request = request
        self.expected = job.events or sys.maxsize
        self.late = late if job.timed else None
        self.events = 0
        self.first = 0.0
        self.last = 0.0
        self.opened: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.transport.write(self.request)

    def is_open(self, data: bytes) -> None:
        """The server has answered."""
        self.opened.set_result(None)

    def had(self, events: int, data: bytes) -> None:
        """More events have come, in that data."""
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.events += events
        if self.late is not None:
            now = time.time()
            self.late += [now - float(piece.partition(b"}")[0]) for piece in data.split(_AT)[1:] if b"}" in piece]
        if self.events >= self.expected and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.opened, self.done):
            if not future.done():
                future.set_exception(RuntimeError(f"the connection was lost after {self.events} events: {exc}"))


class EventReader(Reader):
    """Over SSE."""

    mark = _EVENT
    tail = b""

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            if not data.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(RuntimeError(data.decode()))
            self.is_open(data)
        whole = self.tail + data
        found = whole.count(self.mark)
        self.tail = whole[1 - len(self.mark) :]  # a mark may be cut in two
        if found:
            self.had(found, data)


class FrameReader(Reader):
    """Over a WebSocket: a counter of frames. The first one is the response."""

    rest = b""
    wish = b""

    def is_open(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 101"):
            self.done.set_exception(RuntimeError(data.decode()))
            super().is_open(data)
            return
        self.transport.write(_masked(self.wish))

    def data_received(self, data: bytes) -> None:
        if not self.rest and not self.opened.done() and data.startswith(b"HTTP/1.1"):
            self.is_open(data)
            return
        if self.rest:
            data = self.rest + data
        at, size, found = 0, len(data), 0
        while at + 2 <= size:
            length = data[at + 1]
            end = at + 2 + length
            if length == 126:
                if at + 4 > size:
                    break
                end = at + 4 + (data[at + 2] << 8 | data[at + 3])
            elif length == 127:
                if at + 10 > size:
                    break
                end = at + 10 + int.from_bytes(data[at + 2 : at + 10])
            if end > size:
                break
            found += data[at] == 0x81
            at = end
        self.rest = data[at:]
        if found and not self.opened.done():
            super().is_open(data)
            found -= 1
        if found:
            self.had(found, data)


def _masked(text: bytes) -> bytes:
    """A text frame of a client, under a mask that changes nothing."""
    size = len(text)
    return b"\x81" + (bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2)) + bytes(4) + text


def _reader(number: int, job: Job, late: list[float]) -> Reader:
    body = job.bodies[number % len(job.bodies)]
    text = json.dumps(body).encode()
    if job.transport == "run":
        reader = EventReader(f"GET {job.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode(), job, late)
        reader.mark = f"event: {job.mode}\n".encode()
        return reader
    if job.transport == "sse":
        head = (
            f"POST {job.path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(text)}\r\n\r\n"
        )
        return EventReader(head.encode() + text, job, late)
    head = (
        f"GET {job.path} HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    reader = FrameReader(head.encode(), job, late)
    wish = body if "events" in body else {"id": 1, "method": "subscription.subscribe", "params": body}
    reader.wish = json.dumps(wish).encode()
    return reader


async def main(job: Job) -> None:
    loop = asyncio.get_running_loop()
    late: list[float] = []
    readers = [_reader(number, job, late) for number in range(job.count)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def connect(reader: Reader) -> None:
        async with turn:
            end = socket.socket()
            end.setblocking(False)
            # Ports that linger after the end of a connection would be missed by the next readers.
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(end, ("127.0.0.1", job.port))
            await loop.create_connection(lambda: reader, sock=end)
            await reader.opened

    begun = time.perf_counter()
    await asyncio.gather(*map(connect, readers))
    opened = time.perf_counter()
    print("open", file=sys.stderr, flush=True)
    if job.hold:
        await asyncio.sleep(job.hold)
    else:
        await asyncio.gather(*(reader.done for reader in readers))
    heard = [reader for reader in readers if reader.events]
    first = min((reader.first for reader in heard), default=0.0)
    last = max((reader.last for reader in heard), default=0.0)
    events = sum(reader.events for reader in readers)
    told = {"events": events, "seconds": last - first, "open_seconds": opened - begun, "all_seconds": last - begun}
    if late:
        hundredths = statistics.quantiles(late, n=100)
        told |= {"p50_ms": hundredths[49] * 1e3, "p99_ms": hundredths[98] * 1e3}
    print(json.dumps(told))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Job)))
