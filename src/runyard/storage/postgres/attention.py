"""Connections that will never answer: noticed, and cut, so that whoever waits goes on.

A network may swallow what is said without telling either end. How long a statement takes says nothing about that: it
may be slow, or wait for its turn. So where an answer does not come for a while, the database is asked on another
connection what it does for this one. When it does nothing, the answer has been lost, or the question has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg

from runyard.storage.place import read
from runyard.storage.postgres.faults import FAULTS
from runyard.telemetry import say

_driver: Any = asyncpg  # it has no types of its own

SILENCE = 3.0
"""Seconds without an answer after which the database is asked what it does, again and again."""
PATIENCE = 3.0
"""Seconds in which it has to answer that, and everything else that takes no time."""
UNANSWERED = 1.0
"""Seconds for which a session that waits for us has done so where an answer was lost: one that we are just about to ask
something waits too."""

_SESSION = "SELECT pg_backend_pid(), backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
_WORKS = f"""
SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND backend_start = $2
AND (state IN ('active', 'disabled') OR clock_timestamp() - state_change < make_interval(secs => {UNANSWERED}))
"""
_END = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = $1 AND backend_start = $2 AND pid <> pg_backend_pid()
"""


class Session(NamedTuple):
    """A connection's other end. Process ids are used again; with the start they are not."""

    pid: int
    started: Any


class Connection(asyncpg.Connection):  # type: ignore[type-arg]
    """One that knows its other end, once it was introduced."""

    __slots__ = ("session",)

    session: Session


async def introduce(connection: Any) -> None:
    """Has a connection know its other end. The database is asked, since a pooler in between would tell of itself."""
    with soon(connection):
        connection.session = Session(*await connection.fetchrow(_SESSION))


async def end_session(connection: Any, session: Session) -> bool:
    """Has the database end a session; whether it has ended, or a pooler has given it to this connection. Until then
    what it was told may still be done."""
    with soon(connection):
        return not await connection.fetch(_END, *session)


@contextmanager
def soon(connection: Any) -> Generator[None]:
    """Cuts a connection whose answer, to something that takes no time, has not come when it should have."""
    cut = asyncio.get_running_loop().call_later(PATIENCE, connection.terminate)
    try:
        yield
    finally:
        cut.cancel()


class Attention:
    """Looks after the connections of one server."""

    def __init__(self, url: str, name: str) -> None:
        self._place = read(url)
        self._name = self._place.named(f"{name}, probe")
        self._asking: set[asyncio.Task[None]] = set()

    def begin(self, connection: Any, patience: float | None = None) -> Callable[[], None]:
        """Somebody begins to wait for answers on a connection; what is returned is to be called when they have come. A
        connection on which none will come is cut, which fails what waits on it; with `patience` after so many seconds,
        whatever the database does."""
        if patience is not None:
            return asyncio.get_running_loop().call_later(patience, connection.terminate).cancel
        return _Watch(self, connection).end

    def ask(self, watch: _Watch) -> None:
        """Asks the database about the connection that is watched."""
        task = asyncio.get_running_loop().create_task(self._ask(watch))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask(self, watch: _Watch) -> None:
        if watch.connection.is_closed():
            return  # who waited knows
        works = await self._works(watch.connection.session)
        if watch.over:
            return
        if works:
            watch.go_on()
        else:
            say("database does not answer", connection=watch.connection.session.pid)
            watch.connection.terminate()

    async def _works(self, session: Session) -> bool:
        """Whether the database does something for a session; where it cannot be reached, it does not do so either."""
        try:
            settings = {**self._place.session, "application_name": self._name}
            probe = await _driver.connect(self._place.dsn, timeout=PATIENCE, server_settings=settings)
        except asyncpg.TooManyConnectionsError:
            return True  # nobody knows
        except FAULTS:
            return False
        try:
            with soon(probe):
                return bool(await probe.fetch(_WORKS, *session))
        except FAULTS:
            return False
        finally:
            probe.terminate()


class _Watch:
    """One wait for answers."""

    __slots__ = ("_attention", "_timer", "connection", "over")

    def __init__(self, attention: Attention, connection: Any) -> None:
        self.connection = connection
        self.over = False
        self._attention = attention
        self.go_on()

    def go_on(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SILENCE, self._attention.ask, self)

    def end(self) -> None:
        self.over = True
        self._timer.cancel()
