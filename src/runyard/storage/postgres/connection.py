"""Connections: how they are made, the schema, and the right to be the only server of a database."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from runyard.errors import StorageError, Unavailable
from runyard.storage.migrate import Migration, migrations
from runyard.storage.postgres.faults import translated

PACKAGE = "runyard.storage.postgres"

_driver: Any = asyncpg  # it has no types of its own

OLDEST = 15
"""The first version of PostgreSQL that serves."""
STATEMENT_TIMEOUT_MS = 60_000
"""A statement that takes longer is given up by the database."""
IDLE_TIMEOUT_MS = 30_000
"""A transaction in which we ask for nothing for so long is ended by the database: it keeps dead rows from going."""
CONNECT_TIMEOUT = 10.0
"""Seconds."""
LOCK_SPACE = 0x52756E79
"""The first half of the numbers of our advisory locks; the other half is the schema's name."""
LOCK_PATIENCE = 5.0
"""Seconds in which the lock of a server that has just gone is waited for: its connection may be noticed late."""

_SETTINGS = {
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


async def connect(url: str, name: str) -> Any:
    """A connection to a database, named in the database's own lists. TLS and everything else is as the URL says.

    Raises:
        Unavailable: it cannot be reached.
        StorageError: it is too old.
    """
    with translated():
        connection = await _driver.connect(url, **options(name))
    version = connection.get_server_version().major
    if version < OLDEST:
        await connection.close()
        raise StorageError(f"the database is PostgreSQL {version}; Runyard needs {OLDEST} or newer")
    return connection


def options(name: str) -> dict[str, Any]:
    """What every connection of ours is opened with."""
    return {
        "timeout": CONNECT_TIMEOUT,
        "statement_cache_size": 1000,
        "max_cached_statement_lifetime": 0,
        "server_settings": {**_SETTINGS, "application_name": name},
    }


async def open_pool(url: str, name: str, size: int) -> Any:
    """Connections for reading. Nothing of a session is ever changed on them, so that they need not be reset."""
    with translated():
        return await _driver.create_pool(url, min_size=1, max_size=size, reset=_leave_as_it_is, **options(name))


async def _leave_as_it_is(connection: Any) -> None:
    """A reset would be a statement for each read."""


async def own(connection: Any) -> None:
    """Takes the database for this connection, as long as it lives.

    Raises:
        Unavailable: another server has it.
    """
    deadline = asyncio.get_running_loop().time() + LOCK_PATIENCE
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1, hashtext(current_schema()))", LOCK_SPACE):
        if asyncio.get_running_loop().time() > deadline:
            holder = await connection.fetchval(_HOLDER, LOCK_SPACE)
            raise Unavailable(
                f"another server ({holder or 'unknown'}) holds the database; stop it, or serve another database",
                code="database_locked",
                holder=holder or "unknown",
            )
        await asyncio.sleep(0.05)


_HOLDER = """
SELECT concat_ws(' ', a.application_name, 'on', coalesce(host(a.client_addr), 'this machine'))
FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = $1
  AND l.objid::bigint = hashtext(current_schema())::bigint & 4294967295 AND l.database = (
    SELECT oid FROM pg_database WHERE datname = current_database())
"""


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
