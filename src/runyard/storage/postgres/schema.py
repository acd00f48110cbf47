"""The schema: brought up to date by whoever starts first, while servers of before go on.

Each migration is a transaction of its own, under a lock that is taken again for the next. A migration only adds to what
older servers know (`CONTRIBUTING.md` says how); here it is seen to that it does not hold them up either. A change of a
table waits behind those who use it, and everybody else behind the change: so it waits for a moment only, and is tried
again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from runyard.errors import StorageError, Unavailable
from runyard.storage.migrate import Migration, migrations
from runyard.storage.postgres.connection import LOCK_SPACE, PACKAGE, PROGRESS
from runyard.telemetry import say

CHANGE_WAITS_MS = 2_000
"""How long a change waits for those who use its table. Nobody else gets at the table meanwhile: less than a lease."""
TRIES = 30
PAUSE = 1.0
"""Seconds between two of them, in which others come to their turn."""

_PATIENTLY = """
SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;
SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;
SET LOCAL enable_bitmapscan = on; SET LOCAL enable_sort = on; SET LOCAL enable_incremental_sort = on
"""
"""Another server may take its time to migrate, and so may a change of all rows of a table."""


async def schema_version(connection: Any) -> int:
    """The number of the last migration that the database has; 0 for an empty one."""
    # Not `to_regclass`: that may go by what the session remembers, and who waited for its turn to migrate would still
    # believe that there is nothing.
    there = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class "
        "WHERE relname = 'schema_versions' AND pg_catalog.pg_table_is_visible(oid))"
    )
    return int(await connection.fetchval("SELECT max(number) FROM schema_versions") or 0) if there else 0


async def migrate(connection: Any) -> list[Migration]:
    """Brings the schema up to date, whoever else tries it at the same time; what was applied here.

    Raises:
        StorageError: the database was written by a newer Runyard, or is not ours.
        Unavailable: others use a table that has to be changed, and do not let go of it.
    """
    known = migrations(PACKAGE)
    applied: list[Migration] = []
    while await _version(connection, known) < len(known):
        migration = await _next(connection, known)
        if migration is not None:
            applied.append(migration)
    return applied


async def _version(connection: Any, known: list[Migration]) -> int:
    version = await schema_version(connection)
    if version > len(known):
        raise StorageError(
            f"the database has layout {version}, and this Runyard knows {len(known)}: a newer version has written it, "
            "so start that one (there is no way back to an older layout)",
            schema=version,
        )
    return version


async def _next(connection: Any, known: list[Migration]) -> Migration | None:
    """Applies the first migration that is missing, unless another server has done so meanwhile."""
    for _ in range(TRIES):
        try:
            async with connection.transaction():
                await connection.execute(_PATIENTLY)
                await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK_SPACE}, hashtext('migrate'))")
                version = await _version(connection, known)
                if version == len(known):
                    return None
                await connection.execute(f"SET LOCAL lock_timeout = {CHANGE_WAITS_MS}")
                return await _apply(connection, known[version])
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            # A change of several tables may wait for somebody who waits for it.
            say("migration waits")
            await asyncio.sleep(PAUSE)
        except asyncpg.InsufficientPrivilegeError as error:
            raise StorageError(
                f"the database does not permit its user to make the layout ({error}): GRANT USAGE, CREATE ON SCHEMA "
                "... TO that user, or make it the owner of the database"
            ) from None
        except asyncpg.InvalidSchemaNameError:
            raise StorageError(
                "the database has no schema of the name that search_path in its URL says: CREATE SCHEMA makes it"
            ) from None
        except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError, asyncpg.DuplicateFunctionError) as error:
            raise StorageError(
                f"the database has something of somebody else's under a name that Runyard needs ({error}): give "
                "Runyard a database of its own, or a schema (options=-c search_path=runyard in the URL)"
            ) from None
    raise Unavailable(
        "the layout could not be changed, because somebody else has held a table for all of "
        f"{TRIES} tries: pg_stat_activity shows who is in a transaction for so long; end that, and start again",
        code="database_busy",
    )


async def _apply(connection: Any, migration: Migration) -> Migration:
    if migration.number == 1:
        await connection.execute(
            "CREATE TABLE schema_versions (number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz "
            "NOT NULL DEFAULT clock_timestamp())"
        )
    await connection.execute(migration.sql)
    await connection.execute(
        "INSERT INTO schema_versions (number, name) VALUES ($1, $2)", migration.number, migration.name
    )
    return migration


async def refuse_unfinished(connection: Any) -> None:
    """Nobody serves half of a database.

    Raises:
        StorageError: a copy into it has not come to its end.
    """
    if await connection.fetchval(f"SELECT to_regclass('{PROGRESS}') IS NOT NULL"):
        raise StorageError(
            "a copy into the database is under way, or was cut: let `runyard copy` come to its end first; the same "
            "command goes on where it stopped",
            code="copy_unfinished",
        )
