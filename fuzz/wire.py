"""HTTP/1.1 as bytes: requests that no library would send, and their answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """A request as it is sent. `operation` is what it was meant to be before it was spoiled."""

    operation: str
    method: str
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | None = None
    chunked: bool = False
    wish: dict[str, Any] = field(default_factory=dict)
    """What the body says, before its text was broken."""

    def encode(self) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        if all(name != "host" for name, _ in self.headers):
            lines.append("host: 127.0.0.1")
        body = self.body or b""
        if self.chunked:
            lines.append("transfer-encoding: chunked")
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:7], body[7:]) if piece)
            body += b"0\r\n\r\n"
        elif self.body is not None:
            lines.append(f"content-length: {len(body)}")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


@dataclass
class Answer:
    """An answer; `body` grows while it comes, `complete` tells that it has come."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    complete: bool = False
    chunk: int | None = None
    """The size of a chunk of which nothing has been read yet."""


class Connection:
    """One connection, made again when the server has closed it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, request: Request) -> Answer:
        """Sends a request and reads the head of its answer.

        Raises:
            OSError, EOFError: the connection broke, or the answer is no HTTP.
        """
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._address, limit=2**20)
        assert self._reader is not None
        self._writer.write(request.encode())
        await self._writer.drain()
        head = await self._reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await self._reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        headers = dict(header.lower().split(": ", 1) if ": " in header else (header, "") for header in lines)
        answer = Answer(int(line.split(" ")[1]), {name: _original(lines, name) for name in headers})
        if request.method == "HEAD" or answer.status in (204, 304):
            self._end(answer)
        return answer

    async def read(self, answer: Answer) -> None:
        """Reads the rest of an answer; may be cut short and called again."""
        while not answer.complete:
            assert self._reader is not None
            if answer.headers.get("transfer-encoding") == "chunked":
                if answer.chunk is None:
                    answer.chunk = int(await self._reader.readuntil(b"\r\n"), 16)
                answer.body += (await self._reader.readexactly(answer.chunk + 2))[:-2]
                size, answer.chunk = answer.chunk, None
                if not size:
                    self._end(answer)
            else:
                missing = int(answer.headers["content-length"]) - len(answer.body)
                answer.body += await self._reader.readexactly(missing)
                self._end(answer)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None

    def _end(self, answer: Answer) -> None:
        answer.complete = True
        if answer.headers.get("connection") == "close":
            self.close()


def _original(lines: list[str], name: str) -> str:
    return next(line[len(name) + 2 :] for line in lines if line.lower().startswith(name + ":"))
