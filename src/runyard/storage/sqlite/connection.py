"""Opening the file: pragmas, the functions that our SQL calls, the schema, and the lock of its only server."""

from __future__ import annotations

import fcntl
import os
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import apsw
import msgspec

from runyard.agents import contains
from runyard.errors import StorageError, Unavailable
from runyard.items import passes
from runyard.storage.migrate import Migration, migrations

PACKAGE = "runyard.storage.sqlite"
Synchronous = Literal["full", "normal"]

BUSY_MS = 10_000
"""How long a statement waits for another connection's lock."""
MAPPED_BYTES = 268_435_456
"""The part of the file that is read as memory."""
WAL_BYTES = 67_108_864
"""What the WAL keeps on the disk when it has been folded."""
CACHE_KIB = 32_768
"""Pages that each connection keeps in memory."""

CAN_COMPARE_VECTORS = find_spec("sqlite_vec") is not None
"""Whether connections that read have the functions of sqlite-vec."""

_decode = msgspec.json.decode


def connect(
    path: Path, *, synchronous: Synchronous = "full", read_only: bool = False, vfs: str | None = None
) -> apsw.Connection:
    """A connection with our pragmas and functions. Automatic checkpoints are off: a thread of their own does them.

    `vfs` names a registered layer for SQLite to reach its files through, instead of the system's. What cannot be opened
    for writing SQLite opens for reading, and remembers: that is refused, for such a connection stays useless when the
    file can be written again.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection: Any = apsw.Connection(
        str(path), flags=flags | apsw.SQLITE_OPEN_NOMUTEX, vfs=vfs, statementcachesize=256
    )
    try:
        _prepare(connection, synchronous, read_only, layered=vfs is not None)
        if not read_only:
            _insist_on_writing(connection)
    except BaseException:
        close(connection)
        raise
    return connection


def _prepare(connection: Any, synchronous: Synchronous, read_only: bool, *, layered: bool) -> None:
    """Mapped reads go past a layer that is to see them. And after a commit SQLite cuts the WAL to its limit, and passes
    over an error in that; a layer's error is raised all the same, of a commit that has succeeded."""
    connection.set_busy_timeout(BUSY_MS)
    # Plans must not depend on bound values: else SQLite prepares many statements anew each time they are executed.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    pragmas = ["temp_store=MEMORY", f"cache_size=-{CACHE_KIB}", f"mmap_size={0 if layered else MAPPED_BYTES}"]
    if not read_only:
        pragmas += ["journal_mode=WAL", f"synchronous={synchronous.upper()}", "wal_autocheckpoint=0"]
        pragmas += [] if layered else [f"journal_size_limit={WAL_BYTES}"]
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.create_scalar_function("contains", _contains, 2, deterministic=True)
    connection.create_scalar_function("passes", _passes, 2, deterministic=True)
    if read_only and CAN_COMPARE_VECTORS:
        _load_vector_functions(connection)


def _load_vector_functions(connection: Any) -> None:
    import sqlite_vec

    connection.enable_load_extension(True)
    try:
        connection.load_extension(sqlite_vec.loadable_path())
    finally:
        connection.enable_load_extension(False)


def _insist_on_writing(connection: Any) -> None:
    """Takes the lock of writers for a moment: the WAL is a file of its own, with an owner of its own."""
    if connection.readonly("main"):
        raise apsw.ReadOnlyError("attempt to write a readonly database")
    connection.execute("BEGIN IMMEDIATE; ROLLBACK").fetchall()


def close(connection: Any) -> None:
    """Closes a connection, whatever the disk says: what could not be folded or removed is left to the next server."""
    try:
        connection.close()
    except apsw.Error:
        pass


def _contains(document: bytes, pattern: bytes) -> bool:
    return contains(_decode(document), _decode(pattern))


def _passes(value: bytes, filter: bytes) -> bool:
    return passes(_decode(value), _decode(filter))


def schema_version(connection: Any) -> int:
    """The number of the last migration that the file has; 0 for an empty file."""
    return int(_one(connection, "PRAGMA user_version"))


def migrate(connection: Any) -> list[Migration]:
    """Brings the schema up to date, each migration in a transaction of its own; those that were applied.

    Raises:
        StorageError: the file was written by a newer Runyard, or is not ours.
    """
    known = migrations(PACKAGE)
    version = schema_version(connection)
    if version > len(known):
        raise StorageError(
            f"the database has schema {version}, this Runyard knows {len(known)}: it was written by a newer version",
            schema=version,
        )
    for migration in known[version:]:
        with connection:
            connection.execute(migration.sql).fetchall()
            connection.execute(f"PRAGMA user_version={migration.number}").fetchall()
    return known[version:]


def one_step_verbs() -> str:
    """The temporary views and triggers through which the writer does a hot verb in one statement."""
    return resources.files(PACKAGE).joinpath("one_step.sql").read_text("utf-8")


def _one(connection: Any, sql: str, *values: Any) -> Any:
    row = connection.execute(sql, values).fetchall()[0]
    return row[0]


class FileLock:
    """The right to serve a database file, held through a lock file beside it until the process ends.

    A separate file, because closing any descriptor of the database itself would drop SQLite's own POSIX locks.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock at once or not at all.

        Raises:
            Unavailable: another process serves the file; the message names it.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise Unavailable(
                f"another server (process {holder}) holds the database {self.path.with_suffix('')}; "
                "stop it, or serve another file with --database sqlite:///PATH",
                code="database_locked",
                holder=holder,
            ) from None
        self._descriptor = descriptor
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        except OSError:
            pass  # the disk is full: who holds the lock is a courtesy

    def holder(self) -> str | None:
        """The process that holds the lock now; None when nobody does."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        finally:
            os.close(descriptor)
        return None

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
