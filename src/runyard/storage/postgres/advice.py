"""What to do when a database is not reached, or does not let us in. No address is told: `/ready` shows these
sentences."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg

from runyard.errors import InvalidInput, RunyardError, StorageError, Unavailable
from runyard.storage.place import Place
from runyard.storage.postgres.faults import FAULTS, plainly, translate

CODE = "database_unreachable"


@contextmanager
def reaching(timeout: float) -> Generator[None]:
    """Within it a connection is made, which may take so many seconds.

    Raises:
        Unavailable, InvalidInput, StorageError: it fails; the message says why, and what to do.
    """
    try:
        yield
    except (*FAULTS, TimeoutError, ValueError) as error:
        raise unreached(error, timeout) from error


@contextmanager
def named(place: Place) -> Generator[None]:
    """Within it failures name the database, for whoever starts something on it."""
    try:
        yield
    except Unavailable as error:
        raise Unavailable(f"{error.message} [{place.shown}]", code=error.reason) from error


def unreached(error: BaseException, timeout: float) -> RunyardError:
    """A failure to connect, in words of what to do next."""
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError) and not isinstance(error, ssl.SSLError):
        return InvalidInput(f"database: {plainly(error)}", field="database")
    refused = _refused(error)
    if refused is not None:
        return refused
    why = _unreached(error, timeout)
    return translate(error) if why is None else Unavailable(f"the database cannot be reached: {why}", code=CODE)


def _refused(error: BaseException) -> RunyardError | None:
    """The server answers, and says no."""
    match error:
        case asyncpg.InvalidPasswordError():
            told = "check the user and the password (of the URL, of PGPASSWORD, or of a passfile)"
        case asyncpg.InvalidAuthorizationSpecificationError():
            told = "where its pg_hba.conf has no line for this user, database and way to connect, add one there"
        case asyncpg.InvalidCatalogNameError():
            told = "make the database first: createdb, or CREATE DATABASE"
        case asyncpg.InsufficientPrivilegeError():
            told = "the user needs CONNECT on the database, and USAGE and CREATE on its schema"
        case asyncpg.ProtocolViolationError() if "startup parameter" in str(error):
            told = (
                "a pooler in between does not pass on what the URL sets for its sessions; take that out of the URL, or "
                "connect to PostgreSQL itself"
            )
        case asyncpg.TooManyConnectionsError():
            told = (
                "each server takes up to database_connections: lower that, stop somebody else, or raise "
                "max_connections of PostgreSQL"
            )
        case asyncpg.DuplicatePreparedStatementError() | asyncpg.InvalidSQLStatementNameError():
            return pooled()  # the session has what others prepared, or has not what we did
        case _:
            return None
    return Unavailable(f"the database lets us not in ({plainly(error)}): {told}", code=CODE)


def _unreached(error: BaseException, timeout: float) -> str | None:
    """Nobody answers, or not as PostgreSQL does."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not trusted ({error.verify_message}): sslrootcert=FILE in the URL names the "
                "authority that signed it (or the certificate, where it signed itself), and the host in the URL has to "
                "be a name that is in it"
            )
        case ssl.SSLError():
            return f"TLS failed ({error.reason or plainly(error)})"
        case socket.gaierror():
            return "its host has no address; check the name in the URL"
        case TimeoutError():
            return (
                f"no answer within {timeout:g} s; something may drop what is sent to it, or it has too much to do "
                "(connect_timeout=SECONDS in the URL waits longer)"
            )
        case ConnectionRefusedError() | FileNotFoundError():
            return "nobody listens there; is PostgreSQL started, and does it listen on that host and port?"
        case ConnectionError() if "SSL" in str(error):
            return "it does not take TLS; turn ssl on there, or say sslmode=disable in the URL where the way is safe"
        case OSError():
            return plainly(error)
        case asyncpg.CannotConnectNowError():
            return f"{plainly(error)}; it will be ready in a moment, or never: see its log"
        case asyncpg.TargetServerAttributeNotMatched():
            return "none of its hosts is what target_session_attrs asks for"
        case _:
            return None


def too_old(found: int, needed: int) -> StorageError:
    return StorageError(f"the database is PostgreSQL {found}; Runyard needs {needed} or newer: upgrade it")


def standby() -> Unavailable:
    return Unavailable(
        "the database is a standby, which only reads: name its primary in the URL, or all hosts with "
        "target_session_attrs=read-write",
        code="database_read_only",
    )


def pooled() -> InvalidInput:
    return InvalidInput(
        "database: between here and PostgreSQL is a pooler that gives each transaction another session (PgBouncer's "
        "pool_mode=transaction, or the like). Runyard needs sessions of its own, for LISTEN, prepared statements and "
        "settings: name PostgreSQL itself in the URL (a pooler has another port), or have the pooler use "
        "pool_mode=session. A server takes no more than database_connections connections",
        field="database",
    )
