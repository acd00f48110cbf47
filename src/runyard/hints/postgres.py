"""Hints between the servers of one PostgreSQL database: LISTEN and NOTIFY on a connection of their own.

Who listens in this process hears at once, as with local hints. The others are told in batches: what is published while
a batch is on its way goes with the next one, each topic once. So a busy server costs the database some notifications in
a second, whatever happens on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import asyncpg
import msgspec

from runyard.errors import Unavailable
from runyard.hints.contract import Listener
from runyard.hints.local import LocalHints
from runyard.telemetry import say

PAUSE = 0.005
"""Seconds between two batches: the whole database commits notifications one after the other."""
PAYLOAD_BYTES = 7900
"""PostgreSQL takes less than 8000."""
MOST_WAITING = 10_000
"""Topics that are kept for the others while there is no connection."""
RETRY_AFTER = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries to connect again; the last stays."""
LOOK_AFTER = 5.0
"""Seconds after which a connection that is silent is tried: one that is lost may not say so."""
CONNECT_TIMEOUT = 10.0
STATEMENT_TIMEOUT = 10.0

_driver: Any = asyncpg  # it has no types of its own
_LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_encode = msgspec.json.Encoder().encode
_topics = msgspec.json.Decoder(list[str]).decode


class PostgresHints:
    """For the servers of one database, or of one schema of it."""

    def __init__(self, url: str, *, name: str = "runyard") -> None:
        self._url = url
        self._name = name
        self._here = LocalHints()
        self._waiting: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._connection: Any = None
        self._pid = 0
        self._channel = ""
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        try:
            await self._connect()
        except _LOST as error:
            raise Unavailable(
                f"the database cannot be reached: {error or type(error).__name__}", code="database_unreachable"
            ) from error
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def close(self) -> None:
        await self._here.close()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._drop()

    def publish(self, topic: str) -> None:
        if self._task is not None and len(self._waiting) < MOST_WAITING:
            self._waiting[topic] = None
            self._wake.set()
        self._here.publish(topic)

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        return self._here.subscribe(topic, listener)

    async def _live(self) -> None:
        """Tells the others; makes a new connection when one was lost."""
        while True:
            try:
                while True:
                    await self._tell()
                    await asyncio.sleep(PAUSE)
                    try:
                        await asyncio.wait_for(self._wake.wait(), LOOK_AFTER)
                    except TimeoutError:
                        await self._connection.execute("SELECT 1", timeout=STATEMENT_TIMEOUT)
            except _LOST as error:
                say("hints interrupted", error=error)
            await self._connect_again()
            # What was published meanwhile has not been heard here.
            for topic in self._here.topics:
                self._here.publish(topic)

    async def _tell(self) -> None:
        self._wake.clear()
        if self._connection.is_closed():
            raise ConnectionError("the connection was closed")
        told = list(self._waiting)
        if not told:
            return
        self._waiting.clear()
        try:
            await self._connection.execute(
                "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload",
                self._channel,
                list(payloads(told)),
                timeout=STATEMENT_TIMEOUT,
            )
        except _LOST:
            self._waiting = {**dict.fromkeys(told), **self._waiting}
            raise

    def _hear(self, _: Any, pid: int, channel: str, payload: str) -> None:
        if pid == self._pid:
            return  # heard already
        try:
            topics = _topics(payload)
        except msgspec.DecodeError:
            return  # somebody else's
        for topic in topics:
            self._here.publish(topic)

    def _lost(self, _: Any) -> None:
        self._wake.set()

    async def _connect_again(self) -> None:
        tries = 0
        while True:
            await self._drop()
            await asyncio.sleep(RETRY_AFTER[min(tries, len(RETRY_AFTER) - 1)])
            tries += 1
            try:
                await self._connect()
                return
            except _LOST:
                continue

    async def _connect(self) -> None:
        connection = await _driver.connect(
            self._url, timeout=CONNECT_TIMEOUT, server_settings={"application_name": f"{self._name} hints"}
        )
        try:
            self._channel = await connection.fetchval("SELECT left('runyard ' || current_schema(), 63)")
            await connection.add_listener(self._channel, self._hear)
            connection.add_termination_listener(self._lost)
        except BaseException:
            connection.terminate()
            raise
        self._pid = connection.get_server_pid()
        self._connection = connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1)
            except _LOST:
                connection.terminate()


def payloads(topics: Sequence[str]) -> Iterator[str]:
    """The topics in their order, as many in one notification as fit."""
    piece: list[str] = []
    size = 2
    for topic in topics:
        added = len(_encode(topic)) + 1
        if size + added > PAYLOAD_BYTES:
            if piece:
                yield _encode(piece).decode()
            piece, size = [], 2
        piece.append(topic)
        size += added
    if piece:
        yield _encode(piece).decode()
