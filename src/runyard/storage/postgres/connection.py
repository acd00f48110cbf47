"""Connections: how they are made, the schema, and whose turn it is to write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg

from runyard.errors import StorageError
from runyard.storage.migrate import Migration, migrations
from runyard.storage.postgres.attention import Connection, introduce
from runyard.storage.postgres.faults import FAULTS, translated

PACKAGE = "runyard.storage.postgres"

_driver: Any = asyncpg  # it has no types of its own

OLDEST = 15
"""The first version of PostgreSQL that serves."""
STATEMENT_TIMEOUT_MS = 60_000
"""A statement that takes longer is given up by the database."""
IDLE_TIMEOUT_MS = 30_000
"""A transaction in which we ask for nothing for so long is ended by the database: it keeps dead rows from going."""
CONNECT_TIMEOUT = 5.0
"""Seconds."""
CLOSE_TIMEOUT = 2.0
"""Seconds in which connections have to say goodbye."""
LOCK_SPACE = 0x52756E79
"""The first half of the numbers of our advisory locks; the other half is the schema's name."""
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
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
    # Every statement is meant to follow an index, from its first execution on and however old the statistics are. A
    # plan for each execution would cost more than most executions.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


async def connect(url: str, name: str, **settings: str) -> Any:
    """A connection to a database, named in the database's own lists. TLS and everything else is as the URL says.
    `settings` are PostgreSQL's own.

    Raises:
        Unavailable: it cannot be reached.
        StorageError: it is too old.
    """
    with translated():
        connection = await _driver.connect(url, **options(name, settings))
        await introduce(connection)
    version = connection.get_server_version().major
    if version < OLDEST:
        await connection.close()
        raise StorageError(f"the database is PostgreSQL {version}; Runyard needs {OLDEST} or newer")
    return connection


def options(name: str, settings: Mapping[str, str] = {}) -> dict[str, Any]:
    """What every connection of ours is opened with."""
    return {
        "connection_class": Connection,
        "timeout": CONNECT_TIMEOUT,
        "statement_cache_size": 1000,
        "max_cached_statement_lifetime": 0,
        "server_settings": {**_SETTINGS, "application_name": name, **settings},
    }


async def open_pool(url: str, name: str, size: int) -> Any:
    """Connections for reading. Nothing of a session is ever changed on them, so that they need not be reset."""
    with translated():
        return await _driver.create_pool(
            url, min_size=1, max_size=size, init=introduce, reset=_leave_as_it_is, **options(name)
        )


async def close_pool(pool: Any) -> None:
    """Ends with what is being read; what does not answer is not waited for."""
    try:
        await asyncio.wait_for(pool.close(), CLOSE_TIMEOUT)
    except (*FAULTS, TimeoutError):
        pool.terminate()


async def _leave_as_it_is(connection: Any) -> None:
    """A reset would be a statement for each read."""


async def schema_version(connection: Any) -> int:
    """The number of the last migration that the database has; 0 for an empty one."""
    there = await connection.fetchval("SELECT to_regclass('schema_versions') IS NOT NULL")
    return int(await connection.fetchval("SELECT max(number) FROM schema_versions") or 0) if there else 0


async def migrate(connection: Any) -> list[Migration]:
    """Brings the schema up to date in one transaction, whoever else tries it at the same time; what was applied.

    Raises:
        StorageError: the database was written by a newer Runyard, or is not ours.
    """
    known = migrations(PACKAGE)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, hashtext('migrate'))", LOCK_SPACE)
        version = await schema_version(connection)
        if version > len(known):
            raise StorageError(
                f"the database has schema {version}, this Runyard knows {len(known)}: a newer version wrote it",
                schema=version,
            )
        if version == 0:
            await connection.execute(
                "CREATE TABLE schema_versions (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz "
                "NOT NULL DEFAULT clock_timestamp())"
            )
        for migration in known[version:]:
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO schema_versions (number, name) VALUES ($1, $2)", migration.number, migration.name
            )
    return known[version:]
