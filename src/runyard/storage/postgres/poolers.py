"""Whether a session of the database is ours from the beginning of a connection to its end.

A pooler may stand in between. One that gives sessions to transactions lets everything work for a while: notifications
get lost, settings reach others, prepared statements are somebody else's. So that is found out before anything is done.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from runyard.storage.postgres.advice import pooled

_PID = "SELECT pg_backend_pid()"


async def check_session(connection: Any, another: Callable[[], Awaitable[Any]]) -> None:
    """Looks at a connection that nobody else uses, and that was introduced; `another` makes a second one.

    Raises:
        InvalidInput: its transactions have other sessions than its own.
    """
    # PostgreSQL says at the beginning who serves; a pooler says something of its own.
    if connection.session.pid != connection.get_server_pid() and not await _keeps(connection, another):
        raise pooled()


async def _keeps(connection: Any, another: Callable[[], Awaitable[Any]]) -> bool:
    """Whether the session stays, whatever another connection does meanwhile."""
    before = await connection.fetchval(_PID)
    other = await another()
    try:
        sessions = [await other.fetchval(_PID)]
        kept = [await connection.fetchval(_PID)]
        async with other.transaction():
            sessions.append(await other.fetchval(_PID))
            kept.append(await connection.fetchval(_PID))
        return kept == [before, before] and before not in sessions
    finally:
        await other.close()
