"""What SQLite says when it fails, in the engine's words."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import apsw

from runyard.errors import RunyardError, StorageError, Unavailable


def translate(error: apsw.Error) -> RunyardError:
    """The error that the engine's callers know; nothing of the call was written."""
    match error:
        case apsw.ConstraintError():
            return StorageError(f"the database refused a row: {error}", code="row_refused")
        case apsw.FullError():
            return Unavailable("the disk is full: nothing was written", code="disk_full")
        case apsw.ReadOnlyError():
            return Unavailable(
                "the database is read-only: nothing was written; its files and their folder have to be writable for "
                "the user that the server runs as",
                code="database_read_only",
            )
        case _:
            return StorageError(f"the database failed: {type(error).__name__}: {error}")


@contextmanager
def translated() -> Generator[None]:
    """Within it SQLite's errors are raised as the engine's."""
    try:
        yield
    except apsw.Error as error:
        raise translate(error) from error
