"""What may stand between a server and PostgreSQL, on loopback: TLS with a certificate of its own, a pooler, nobody."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

SSL_REQUEST = 80877103
CANCEL_REQUEST = 80877102
TAKEN = frozenset({"user", "database", "client_encoding", "application_name"})
"""What a pooler takes in the first packet, unless it is told otherwise."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def front(handler: Handler) -> AsyncGenerator[int]:
    """The port at which `handler` answers each connection."""

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(handled, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def upstream(url: str) -> Streams:
    """A connection to PostgreSQL itself."""
    split = urlsplit(url)
    folder = parse_qs(split.query).get("host", [""])[0]
    if folder:
        return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
    return await asyncio.open_connection(split.hostname or "localhost", split.port or 5432)


def through(url: str, port: int, query: str = "", host: str = "localhost", password: str = "") -> str:
    """The same database by way of a front."""
    split = urlsplit(url)
    user = quote(split.username or "postgres") + (f":{password}" if password else "")
    return f"postgresql://{user}@{host}:{port}{split.path}?{query}"


class Tls:
    """Takes TLS only, or none, and passes everything on."""

    def __init__(self, url: str, context: ssl.SSLContext | None) -> None:
        self._url = url
        self._context = context
        self._whole = True
        self._through: set[asyncio.StreamWriter] = set()
        self.secured = 0
        """Connections over TLS."""
        self.plain = 0

    def cut(self) -> None:
        """Ends all connections, and every new one, until it is mended."""
        self._whole = False
        for writer in self._through:
            writer.transport.abort()
        self._through.clear()

    def mend(self) -> None:
        self._whole = True

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            return
        self._through.add(writer)
        first = await reader.readexactly(8)
        if struct.unpack("!ii", first)[1] == SSL_REQUEST:
            writer.write(b"N" if self._context is None else b"S")
            if self._context is not None:
                await writer.start_tls(self._context)
            first = b""
        theirs, ours = await upstream(self._url)
        ours.write(first)
        if not first and self._context is not None:
            self.secured += 1
        else:
            self.plain += 1
        await asyncio.gather(pump(reader, ours), pump(theirs, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes everything, and says nothing."""
    await reader.read()


def refuses(code: str, message: str) -> Handler:
    """A PostgreSQL that lets nobody in."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader, writer)
        writer.write(error(code, message))
        await writer.drain()

    return handler


class Session:
    """A session of PostgreSQL, as a pooler has it."""

    def __init__(self, streams: Streams) -> None:
        self._reader, self._writer = streams
        self.parameters: dict[str, str] = {}
        self.client: asyncio.StreamWriter | None = None
        self.freed: Callable[[], None] = lambda: None
        """Called when nothing of its client is left in it."""
        self._asked = 0

    async def begin(self, given: Mapping[str, str]) -> None:
        names = "".join(f"{name}\0{value}\0" for name, value in given.items()) + "\0"
        self._writer.write(struct.pack("!ii", 8 + len(names.encode()), 196608) + names.encode())
        while (message := await receive(self._reader))[0] != b"Z":
            if message[0] == b"S":
                name, value = message[1].decode().split("\0")[:2]
                self.parameters[name] = value

    def send(self, kind: bytes, body: bytes) -> None:
        self._asked += kind in b"QS"
        self._writer.write(packet(kind, body))

    async def answer(self) -> None:
        """Passes on what it says, for ever."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                kind, body = await receive(self._reader)
                if self.client is not None:
                    self.client.write(packet(kind, body))
                if kind == b"Z":
                    self._asked -= 1
                    if not self._asked and body == b"I":
                        self.freed()

    def close(self) -> None:
        self._writer.close()


class Pooler:
    """A pooler as PgBouncer is one: sessions of PostgreSQL are given to clients, for each transaction (`transaction`)
    or for as long as they are there. What they have set and prepared is left to the next user."""

    def __init__(
        self, url: str, *, transaction: bool, in_turn: bool = False, told: Mapping[str, str] | None = None
    ) -> None:
        """`in_turn`: the session that has been idle for longest is given next, and not the last one that was. `told`:
        what it says of PostgreSQL instead of what that says."""
        self._next = 0 if in_turn else -1
        self._url = url
        self._transaction = transaction
        self._told = told or {}
        self._idle: list[Session] = []
        self._answering: list[asyncio.Task[None]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        given = await startup(reader, writer)
        for name in given:
            if name not in TAKEN:
                writer.write(error("08P01", f"unsupported startup parameter: {name}"))
                await writer.drain()
                return
        held: list[Session] = [await self._free_session(given)]
        writer.write(packet(b"R", struct.pack("!i", 0)))
        for name, value in {**held[0].parameters, **self._told}.items():
            writer.write(packet(b"S", f"{name}\0{value}\0".encode()))
        writer.write(packet(b"K", struct.pack("!ii", 7, 7)) + packet(b"Z", b"I"))

        def free() -> None:
            session = held.pop()
            session.client, session.freed = None, lambda: None
            self._idle.append(session)

        def take(session: Session) -> None:
            session.client = writer
            if self._transaction:
                session.freed = free

        take(held[0])
        if self._transaction:
            free()
        try:
            while (message := await receive(reader))[0] != b"X":
                if not held:
                    held.append(await self._free_session(given))
                    take(held[0])
                held[0].send(*message)
        finally:
            for session in held:
                session.close()

    async def _free_session(self, given: Mapping[str, str]) -> Session:
        return self._idle.pop(self._next) if self._idle else await self._session(given)

    async def _session(self, given: Mapping[str, str]) -> Session:
        session = Session(await upstream(self._url))
        await session.begin(given)
        self._answering.append(asyncio.get_running_loop().create_task(session.answer()))
        return session

    def close(self) -> None:
        for session in self._idle:
            session.close()


async def startup(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, str]:
    """What a client says first."""
    while True:
        size, code = struct.unpack("!ii", await reader.readexactly(8))
        rest = await reader.readexactly(size - 8)
        if code == CANCEL_REQUEST:
            raise OSError("nothing is cancelled here")
        if code != SSL_REQUEST:
            words = rest.decode().split("\0")
            return {name: value for name, value in zip(words[::2], words[1::2], strict=False) if name}
        writer.write(b"N")


async def receive(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind, size = struct.unpack("!ci", await reader.readexactly(5))
    return kind, await reader.readexactly(size - 4)


def packet(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def error(code: str, message: str) -> bytes:
    return packet(b"E", f"SFATAL\0VFATAL\0C{code}\0M{message}\0\0".encode())
