"""Connections: how they are made, the schema, and whose turn it is to write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

from runyard.storage.place import read
from runyard.storage.postgres.advice import reaching, standby, too_old
from runyard.storage.postgres.attention import Connection, introduce, soon
from runyard.storage.postgres.faults import FAULTS
from runyard.storage.postgres.poolers import check_session

PACKAGE = "runyard.storage.postgres"

_driver: Any = asyncpg  # it has no types of its own

OLDEST = 15
"""The first version of PostgreSQL that serves."""
STATEMENT_TIMEOUT = 60.0
"""Seconds after which the database gives a statement up."""
LOCK_TIMEOUT_MS = 20_000
"""The same for a statement that waits for a lock, such as a writer's turn. Turns are short, and one that is not is
ended by the database (`STOPPED_TIMEOUT_MS`): whoever waits for so long waits for somebody else than us."""
IDLE_TIMEOUT_MS = 30_000
"""A transaction in which we ask for nothing for so long is ended by the database: it keeps dead rows from going."""
CONNECT_TIMEOUT = 5.0
"""Seconds."""
CLOSE_TIMEOUT = 2.0
"""Seconds in which connections have to say goodbye."""
LOCK_SPACE = 0x52756E79
"""The first half of the numbers of our advisory locks; the other half is the schema's name."""
PROGRESS = "copy_progress"
"""The table that is there while another database is copied into this one."""
STOPPED_TIMEOUT_MS = 3_000
"""The same for a writer that has its turn. A server that was stopped, or cut off, in the middle of one holds up all
others for so long, which is less than a lease."""

TURN = f"""
INSERT INTO marks (writer, number)
SELECT $1, $2 FROM pg_advisory_xact_lock({LOCK_SPACE}, hashtext('write ' || current_schema()))
"""
"""Waits until it is the turn of this transaction, and leaves its mark. Statements after it see all that was written
in earlier turns: the lock goes when a commit can be seen, and each statement sees what was committed before it."""

_SETTINGS = {
    "default_transaction_isolation": "read committed",
    "jit": "off",
    "statement_timeout": f"{STATEMENT_TIMEOUT * 1000:.0f}",
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
    # Every statement is meant to follow an index, in its order where it wants one, from its first execution on and
    # however old the statistics are. A plan for each execution would cost more than most executions.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_incremental_sort": "off",
}


async def connect(url: str, name: str, **settings: str) -> Any:
    """A connection to a database, named in the database's own lists. TLS and everything else is as the URL says.
    `settings` are PostgreSQL's own.

    Raises:
        InvalidInput: the URL is wrong, or leads to a pooler that does not keep sessions.
        Unavailable: it cannot be reached, or only reads.
        StorageError: it is too old.
    """
    given = arguments(url, name)
    with reaching(given["timeout"]):
        connection = await _driver.connect(**given)
    try:
        with reaching(given["timeout"]):
            await introduce(connection)
            await check_session(connection, lambda: _driver.connect(**given))
            _check_server(connection)
            await fit(connection, settings)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _check_server(connection: Any) -> None:
    version = connection.get_server_version().major
    if version < OLDEST:
        raise too_old(version, OLDEST)
    if getattr(connection.get_settings(), "in_hot_standby", "off") == "on":
        raise standby()


def arguments(url: str, name: str) -> dict[str, Any]:
    """What the driver is given to connect with.

    Raises:
        InvalidInput: the URL is wrong; the message has no password in it.
    """
    place = read(url)
    return {
        "dsn": place.dsn,
        "connection_class": Connection,
        "timeout": place.timeout or CONNECT_TIMEOUT,
        "statement_cache_size": 1000,
        "max_cached_statement_lifetime": 0,
        "server_settings": {"application_name": place.named(name), **place.session},
    }


async def fit(connection: Any, settings: Mapping[str, str] = {}) -> None:
    """Sets what a session of ours has. Not in the first packet of the connection, since poolers refuse that."""
    pairs = ", ".join(f"set_config('{key}', '{value}', false)" for key, value in {**_SETTINGS, **settings}.items())
    with soon(connection):
        await connection.execute(f"SELECT {pairs}")


async def open_pool(url: str, name: str, size: int, **settings: str) -> Any:
    """Connections for reading. Nothing of a session is ever changed on them, so that they need not be reset.

    Raises:
        InvalidInput: the URL is wrong.
        Unavailable: the database cannot be reached.
    """
    given = arguments(url, name)

    async def begin(connection: Any) -> None:
        await introduce(connection)
        await fit(connection, settings)

    with reaching(given["timeout"]):
        return await _driver.create_pool(min_size=1, max_size=size, init=begin, reset=_leave_as_it_is, **given)


async def close_pool(pool: Any) -> None:
    """Ends with what is being read; what does not answer is not waited for."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT)
    except (*FAULTS, TimeoutError):
        pool.terminate()


async def _leave_as_it_is(connection: Any) -> None:
    """A reset would be a statement for each read."""
