"""Hints between servers over PostgreSQL: LISTEN and NOTIFY on a connection of their own.

Listeners of this process are called at once. What others are told gathers while the notification before is on its way,
so that their number does not grow with the load, and none of them is part of a transaction that somebody waits for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg

from runyard.clock import Clock
from runyard.hints.contract import MISSED, Listener
from runyard.hints.local import LocalHints
from runyard.storage.place import read
from runyard.telemetry import say

_driver: Any = asyncpg  # it has no types of its own

PAYLOAD_BYTES = 7_900
"""PostgreSQL takes less than 8000 bytes at once."""
MOST_WAITING = 20_000
"""Topics that wait to be told. Who gets behind further tells the others to look at everything."""
PAUSE = 0.002
"""Seconds between two notifications: each wakes every server."""
HEARTBEAT = 10.0
"""Seconds after which a silent connection is asked whether it is alive."""
PATIENCE = 5.0
"""Seconds in which the database has to answer."""
FAREWELL = 1.0
"""Seconds that the last hints have to go out in; others look again by themselves."""
RETRY = 0.5
"""Seconds between two tries to reach the database."""

_CHANNEL = "SELECT 'runyard_' || md5(current_schema())"
_NOTIFY = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"
_FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


class PostgresHints:
    """The hints of one server among those of all servers of a database (or schema of it)."""

    def __init__(self, url: str, *, name: str = "runyard", clock: Clock | None = None) -> None:
        self._place = read(url)
        self._name = name
        self._clock = clock or Clock()
        self._local = LocalHints()
        self._waiting: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._connection: Any = None
        self._channel = ""
        self._pid = 0
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        """Begins to listen; where the database does not answer now, as soon as it does."""
        try:
            await self._connect()
        except _FAULTS as error:
            say("hints do not come", why=_told(error))
        self._task = asyncio.get_running_loop().create_task(self._live())

    def publish(self, topic: str) -> None:
        self._local.publish(topic)
        self.tell_others((topic,))

    def tell_others(self, topics: Sequence[str]) -> None:
        if self._closed:
            return
        self._waiting.update(dict.fromkeys(topics))
        if len(self._waiting) > MOST_WAITING:
            self._waiting = {MISSED: None}
        self._wake.set()

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        return self._local.subscribe(topic, listener)

    async def close(self) -> None:
        """Tells what waits to be told, and ends."""
        self._closed = True
        self._wake.set()
        await self._local.close()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=FAREWELL)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._drop()

    async def _live(self) -> None:
        while not self._closed or (self._waiting and self._connection is not None):
            try:
                if self._connection is None:
                    await self._connect()
                    # Both sides have missed what the other said meanwhile.
                    self._waiting = {MISSED: None}
                    self._local.publish(MISSED)
                await self._tell()
                if not self._closed:
                    await self._pause()
            except _FAULTS as error:
                say("hints do not come", why=_told(error))
                await self._drop()
                await self._clock.sleep(RETRY)

    async def _pause(self) -> None:
        """Until there is something to be told, or the connection has to be looked at."""
        await asyncio.sleep(PAUSE)
        try:
            await asyncio.wait_for(self._wake.wait(), HEARTBEAT)
        except TimeoutError:
            await self._connection.execute("SELECT 1", timeout=PATIENCE)

    async def _tell(self) -> None:
        self._wake.clear()
        if self._connection.is_closed():
            raise OSError("the connection was closed")
        topics, self._waiting = [*self._waiting], {}
        if not topics:
            return
        try:
            await self._connection.execute(_NOTIFY, self._channel, payloads(topics), timeout=PATIENCE)
        except _FAULTS:
            self._waiting = {MISSED: None}
            raise

    async def _connect(self) -> None:
        connection = await _driver.connect(
            self._place.dsn,
            timeout=PATIENCE,
            server_settings={**self._place.session, "application_name": self._place.named(f"{self._name}, hints")},
        )
        try:
            channel = await connection.fetchval(_CHANNEL, timeout=PATIENCE)
            await connection.add_listener(channel, self._heard)
        except BaseException:
            connection.terminate()
            raise
        connection.add_termination_listener(self._lost)
        self._connection, self._channel, self._pid = connection, channel, connection.get_server_pid()

    def _heard(self, _: Any, pid: int, channel: str, payload: str) -> None:
        if pid == self._pid:
            return  # it was told here when it was published
        for topic in json.loads(payload):
            self._local.publish(topic)

    def _lost(self, _: Any) -> None:
        self._wake.set()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.remove_termination_listener(self._lost)
            try:
                await connection.close(timeout=1)
            except _FAULTS:
                connection.terminate()


def payloads(topics: Sequence[str]) -> list[str]:
    """Topics as JSON lists, none of them longer than PostgreSQL takes. A topic that is longer by itself is told as one
    to look at everything."""
    told: list[str] = []
    part: list[str] = []
    size = 2
    for topic in topics:
        text = json.dumps(topic)
        if len(text) + 2 > PAYLOAD_BYTES:
            text = json.dumps(MISSED)
        if size + len(text) + 1 > PAYLOAD_BYTES:
            told.append(f"[{','.join(part)}]")
            part, size = [], 2
        part.append(text)
        size += len(text) + 1
    told.append(f"[{','.join(part)}]")
    return told


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
