"""Which adapters a database takes, and what can be done with it while nobody serves it.

Those of PostgreSQL are imported where such a database is opened only.
"""

from __future__ import annotations

import asyncio
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from runyard.errors import RunyardError, Unsupported
from runyard.hints.contract import Hints
from runyard.hints.local import LocalHints
from runyard.storage.contract import Storage
from runyard.storage.migrate import migrations
from runyard.storage.place import read
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.sqlite import connection as sqlite

NAME = f"runyard {version('runyard')}"
"""How connections of commands are named in the database's own lists."""


class Adapters(NamedTuple):
    """What an engine works on."""

    storage: Storage
    hints: Hints


def sqlite_adapters(path: Path, synchronous: Literal["full", "normal"]) -> Adapters:
    """For one file, and one server."""
    return Adapters(SqliteStorage(path, synchronous=synchronous), LocalHints())


def postgres_adapters(
    url: str, role: Literal["serve", "api", "worker"], *, connections: int, statement_timeout: float
) -> Adapters:
    """For any number of servers. `connections` are this one's at most, `statement_timeout` is in seconds, and `role`
    tells it from others in the database's own lists.

    Raises:
        InvalidInput: the URL is wrong.
        Unsupported: its driver is not installed.
    """
    try:
        from runyard.hints.postgres import PostgresHints
        from runyard.storage.postgres import PostgresStorage
    except ImportError as error:
        raise no_driver(error) from None
    name = f"runyard {role} {version('runyard')}"
    storage = PostgresStorage(url, name=name, connections=connections, statement_timeout=statement_timeout)
    return Adapters(storage, PostgresHints(url, name=name))


def no_driver(error: ImportError) -> Unsupported:
    return Unsupported(
        f"database is a PostgreSQL one, but {error.name} is not installed: pip install 'runyard[postgres]'",
        field="database",
    )


def migrate_sqlite(path: Path, synchronous: Literal["full", "normal"]) -> int:
    """Brings a file to this version's schema; how many migrations were applied.

    Raises:
        Unavailable: a server holds it.
        StorageError: it was written by a newer version.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = sqlite.FileLock(path)
    lock.acquire()
    try:
        connection = sqlite.connect(path, synchronous=synchronous)
        applied = sqlite.migrate(connection)
        connection.close()
    finally:
        lock.release()
    return len(applied)


def migrate_postgres(url: str) -> int:
    """The same for a database, whoever serves it meanwhile.

    Raises:
        Unavailable: it cannot be reached.
        StorageError: it was written by a newer version.
    """
    try:
        from runyard.storage.postgres import connection as postgres
        from runyard.storage.postgres.advice import named
        from runyard.storage.postgres.faults import translated
        from runyard.storage.postgres.schema import migrate
    except ImportError as error:
        raise no_driver(error) from None

    async def once() -> int:
        with named(read(url)):
            connection = await postgres.connect(url, f"{NAME}, migrate")
        try:
            with translated():
                return len(await migrate(connection))
        finally:
            await connection.close()

    return asyncio.run(once())


def inspect_sqlite(path: Path) -> dict[str, Any]:
    """What there is to tell of a file (see `runyard.offline.inspect`)."""
    facts: dict[str, Any] = {
        "path": str(path),
        "exists": path.exists(),
        "schema": 0,
        "latest": len(migrations(sqlite.PACKAGE)),
        "holder": sqlite.FileLock(path).holder(),
        "problem": None,
        "workers": None,
        "unoffered": {},
        "unsafe": (),
    }
    try:
        if facts["exists"]:
            connection = sqlite.connect(path, read_only=True)
            facts["schema"] = sqlite.schema_version(connection)
            connection.close()
            if facts["schema"] > facts["latest"]:
                facts["problem"] = f"it has schema {facts['schema']}, written by a newer version"
            elif not os.access(path, os.W_OK):
                facts["problem"] = "it is not writable by this user"
        else:
            facts["problem"] = _parent_problem(path)
    except Exception as error:
        facts["problem"] = f"it cannot be read as a database ({error})"
    return facts


def inspect_postgres(url: str, name: str) -> dict[str, Any]:
    """What there is to tell of a database (see `runyard.offline.inspect`)."""
    facts: dict[str, Any] = {
        "path": name, "exists": False, "schema": 0, "latest": 0, "holder": None, "problem": None,
        "workers": [], "unoffered": {}, "unsafe": (),
    }  # fmt: skip
    try:
        from runyard.storage.postgres import connection as postgres
        from runyard.storage.postgres.schema import schema_version
        from runyard.storage.postgres.workers import standing, unsafe
    except ImportError as error:
        return {**facts, "problem": no_driver(error).message}
    facts["latest"] = len(migrations(postgres.PACKAGE))

    async def look() -> None:
        connection = await postgres.connect(url, f"{NAME}, doctor")
        try:
            facts["schema"] = await schema_version(connection)
            facts["exists"] = facts["schema"] > 0
            facts["unsafe"] = await unsafe(connection)
            if facts["schema"] > facts["latest"]:
                facts["problem"] = f"it has schema {facts['schema']}, written by a newer version"
            elif facts["schema"] == facts["latest"]:
                facts["workers"], facts["unoffered"] = await standing(connection)
        finally:
            await connection.close()

    try:
        asyncio.run(look())
    except RunyardError as error:
        facts["problem"] = error.message
    return facts


def _parent_problem(path: Path) -> str | None:
    folder = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    if not folder.is_dir():
        return f"{folder} is not a folder"
    return None if os.access(folder, os.W_OK) else f"the folder {folder} is not writable by this user"
