"""The way to a database, as networks are: it can be cut, swallow everything, or take its time.

A server that is given `url` reaches its database through here. Connections are told apart by the `application_name`
with which they begin; a fault is for those whose name holds a word ("": for all).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, Self
from urllib.parse import parse_qs, urlsplit, urlunsplit

Way = Literal["both", "to", "from"]
"""Which way a hole swallows: what is sent to the database, what comes from it."""

_PIECE = 65536
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
_NAME = b"\0application_name\0"


class Link:
    """One connection through the proxy."""

    def __init__(self, outside: asyncio.StreamWriter, inside: asyncio.StreamWriter, name: str) -> None:
        self.name = name
        self.dead = False
        """What is sent on it is lost, for ever: it was open while there was a hole."""
        self._ends = (outside, inside)

    def cut(self) -> None:
        """Neither end has time to say anything."""
        for end in self._ends:
            end.transport.abort()


class Proxy:
    """A way from a port on loopback to a database's server."""

    def __init__(self, url: str) -> None:
        """`url`: how the database is reached without a detour."""
        self._target = urlsplit(url)
        self._server: asyncio.Server
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._holes: dict[str, Way] = {}
        self._closed: set[str] = set()
        self.delay = 0.0
        """Seconds that everything takes on its way, each way."""
        self.on_sent: Callable[[Link, bytes], bool] | None = None
        """Called with what a server sends, before it goes on; False: it does not go on."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """How the database is reached through here."""
        host, port = self._server.sockets[0].getsockname()
        user = self._target.username or "postgres"
        return urlunsplit(("postgresql", f"{user}@{host}:{port}", self._target.path, "", ""))

    @property
    def names(self) -> list[str]:
        """Of all connections that are open."""
        return [link.name for link in self._links]

    def cut(self, word: str = "") -> int:
        """Ends connections; new ones come through. How many there were."""
        found = [link for link in self._links if word in link.name]
        for link in found:
            link.cut()
        return len(found)

    def close(self, word: str = "") -> None:
        """Ends connections, and refuses new ones, until `heal`."""
        self._closed.add(word)
        self.cut(word)

    def hole(self, word: str = "", way: Way = "both") -> None:
        """Takes everything and says nothing, until `heal`, on new connections too. Those that are open now stay dead
        for ever, as where a router has forgotten them."""
        self._holes[word] = way
        for link in self._links:
            link.dead = link.dead or (word in link.name and way == "both")

    def heal(self) -> None:
        """New connections come through from now on, at full speed."""
        self._holes.clear()
        self._closed.clear()
        self.delay = 0.0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # nobody but this class waits for this task
        finally:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        if first == _SSL_REQUEST:
            writer.write(b"N")
            first = await reader.readexactly(8)
        first += await reader.readexactly(int.from_bytes(first[:4]) - 8)
        name = first.partition(_NAME)[2].partition(b"\0")[0].decode()
        if any(word in name for word in self._closed):
            return
        inner, outer = await self._reach()
        link = Link(writer, outer, name)
        link.dead = any(word in name and way == "both" for word, way in self._holes.items())
        self._links.add(link)
        try:
            if not link.dead:
                outer.write(first)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(link, reader, outer, "to"))
                group.create_task(self._carry(link, inner, writer, "from"))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.discard(link)
            link.cut()

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = parse_qs(self._target.query).get("host", [""])[0]
        if folder:
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{self._target.port or 5432}")
        return await asyncio.open_connection(self._target.hostname, self._target.port or 5432)

    async def _carry(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way) -> None:
        while piece := await reader.read(_PIECE):
            if self.delay:
                await asyncio.sleep(self.delay)
            if link.dead or any(word in link.name and way == hole for word, hole in self._holes.items()):
                continue
            if way == "to" and self.on_sent is not None and not self.on_sent(link, piece):
                continue
            writer.write(piece)
            await writer.drain()
        raise ConnectionResetError  # one end has gone: so does the other
