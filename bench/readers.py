"""Readers of event streams in a process of their own, as cheap as they can be: what is measured is the server.

`readers.py PORT REQUEST COUNT HOLD`: opens COUNT connections that all send the request (JSON: method, path, body), says
"open" on standard error when all are answered, and reads until each has had its last event, or for HOLD seconds where
that is not 0; prints what came as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

END = b"event: end\n"
EVENT = b"event: custom\n"
"""What counts: a run's stream begins with another event, when its reader joins."""


class Reader(asyncio.Protocol):
    """Counts events, and notes when the first and the last came."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.events = 0
        self.first = 0.0
        self.last = 0.0
        self.tail = b""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.WriteTransport, transport).write(self.request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self.opened.set_result(None)
            if not data.startswith(b"HTTP/1.1 200"):
                self.done.set_exception(RuntimeError(data.decode()))
                return
        whole = self.tail + data
        found = whole.count(EVENT)
        if found:
            self.last = time.perf_counter()
            self.first = self.first or self.last
            self.events += found
        self.tail = whole[1 - len(EVENT) :]  # a mark may be cut in two
        if END in whole and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        for future in (self.opened, self.done):
            if not future.done():
                future.set_result(None)


async def main(port: int, wish: str, count: int, hold: float) -> None:
    asked = json.loads(wish)
    body = json.dumps(asked["body"]).encode() if asked.get("body") is not None else b""
    request = (
        f"{asked['method']} {asked['path']} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
    loop = asyncio.get_running_loop()
    readers: list[Reader] = []
    for number in range(count):
        # One address has 28,000 ports for a server; readers come from several.
        source = (f"127.0.0.{2 + number // 20_000}", 0)
        _, reader = await loop.create_connection(lambda: Reader(request), "127.0.0.1", port, local_addr=source)
        readers.append(reader)
        if number % 200 == 199:
            await asyncio.gather(*(reader.opened for reader in readers[-200:]))
    await asyncio.gather(*(reader.opened for reader in readers))
    print("open", file=sys.stderr, flush=True)
    if hold:
        await asyncio.sleep(hold)
    else:
        await asyncio.gather(*(reader.done for reader in readers))
    heard = [reader for reader in readers if reader.events]
    first = min((reader.first for reader in heard), default=0.0)
    last = max((reader.last for reader in heard), default=0.0)
    events = sum(reader.events for reader in readers)
    print(json.dumps({"readers": count, "events": events, "seconds": last - first}))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
