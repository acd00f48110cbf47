"""What PostgreSQL and the way to it say when they fail, in the engine's words."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from runyard.errors import RunyardError, StorageError, Unavailable

UNREACHABLE = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
"""The connection is of no use any more, or there is none."""

FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""Everything that a statement or a connection may fail with."""


def translate(error: BaseException) -> RunyardError:
    """The error that the engine's callers know; nothing of the call was written."""
    match error:
        case RunyardError():
            return error
        case (
            asyncpg.IntegrityConstraintViolationError()
            | asyncpg.DataError()
            | asyncpg.exceptions.DataError()
            | asyncpg.ProgramLimitExceededError()
        ):
            return StorageError(f"the database refused a row: {error}", code="row_refused")
        case asyncpg.DiskFullError():
            return Unavailable("the database's disk is full: nothing was written", code="disk_full")
        case asyncpg.ReadOnlySQLTransactionError():
            return Unavailable("the database is read-only: nothing was written", code="database_read_only")
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return Unavailable(f"the database lets us not in: {error}", code="database_unreachable")
        case asyncpg.LockNotAvailableError():
            return Unavailable(
                "the database gave up waiting for a lock that others hold (pg_stat_activity shows them)",
                code="database_busy",
            )
        case asyncpg.DeadlockDetectedError():
            return Unavailable("the database gave up waiting for somebody who waited for us", code="database_busy")
        case asyncpg.QueryCanceledError():
            return Unavailable(f"the database gave a statement up: {error}", code="database_busy")
        case _ if isinstance(error, UNREACHABLE):
            return Unavailable(f"the database cannot be reached: {plainly(error)}", code="database_unreachable")
        case _:
            return StorageError(f"the database failed: {type(error).__name__}: {error}")


def plainly(error: BaseException) -> str:
    """What went wrong, without the address that some errors tell: clients are shown it."""
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return os.strerror(error.errno).lower() if error.errno else type(error).__name__
    return (str(error) or type(error).__name__).splitlines()[0]


@contextmanager
def translated() -> Generator[None]:
    """Within it PostgreSQL's errors are raised as the engine's."""
    try:
        yield
    except FAULTS as error:
        raise translate(error) from error
