"""Who answers while the agents are loaded: importing what they need may take seconds, and a process that lives should
say so.

`/ok` is answered as ever, everything else (`/ready` first of all) with 503 and what is being done. Connections that
have not been taken by then are the server's.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from types import TracebackType
from typing import Any, Self

PATIENCE = 5.0
"""Seconds that a client has for its request."""
LOADING = "the agents are being loaded"

_Answer = tuple[str, dict[str, Any]]
_OK: _Answer = ("200 OK", {"ok": True})
_NOT_READY: _Answer = ("503 Service Unavailable", {"ready": False, "reasons": [LOADING], "unoffered": {}})
_LATER: _Answer = (
    "503 Service Unavailable",
    {"code": "unavailable", "message": f"{LOADING}; try again", "metadata": {}},
)


class Doorway:
    """A `with` block in which a listening socket is answered in this way, by a thread of its own."""

    def __init__(self, listening: socket.socket, backlog: int) -> None:
        self._listening = listening
        self._backlog = backlog
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="runyard-doorway", daemon=True)
        self._ending = asyncio.Event()

    def __enter__(self) -> Self:
        self._listening.listen(self._backlog)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        open_: set[asyncio.Task[None]] = set()
        # The server needs the socket itself: what is closed at the end here is another handle of it.
        handle = self._listening.dup()
        handle.setblocking(False)
        accepting = asyncio.ensure_future(self._accept(handle, open_))
        await self._ending.wait()
        accepting.cancel()
        await asyncio.gather(accepting, *open_, return_exceptions=True)
        handle.close()

    async def _accept(self, handle: socket.socket, open_: set[asyncio.Task[None]]) -> None:
        while True:
            connection, _ = await self._loop.sock_accept(handle)
            task = self._loop.create_task(self._answer(connection))
            open_.add(task)
            task.add_done_callback(open_.discard)

    async def _answer(self, connection: socket.socket) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = b""
                while b"\r\n\r\n" not in head and len(head) < 65_536:
                    piece = await self._loop.sock_recv(connection, 4096)
                    if not piece:
                        return
                    head += piece
                path = head.split(b" ", 2)[1].partition(b"?")[0] if head.count(b" ") > 1 else b""
                await self._loop.sock_sendall(connection, _text(path))
        except (OSError, TimeoutError):
            pass  # whoever asked has gone
        finally:
            connection.close()


def _text(path: bytes) -> bytes:
    status, content = {b"/ok": _OK, b"/ready": _NOT_READY}.get(path, _LATER)
    body = json.dumps(content, separators=(",", ":")).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    later = "" if status.startswith("200") else "retry-after: 1\r\n"
    return f"{head}{later}connection: close\r\n\r\n".encode() + body
