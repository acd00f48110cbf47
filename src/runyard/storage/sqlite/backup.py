"""A copy of the database as it is at one moment, while a server writes it or while none does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from runyard.errors import InvalidInput, StorageError
from runyard.storage.sqlite.connection import connect, schema_version

PAGES = 256
"""Pages per step: a megabyte, after which progress is told."""
STEPS_PER_SYNC = 8
"""Steps between which the copy goes to the disk, so that no commit of the server waits behind a mountain of it."""
SIDE_FILES = ("-wal", "-shm", ".lock")

_COUNTS = {
    "threads": "SELECT count(*) FROM threads WHERE deleted_at IS NULL AND hidden = 0",
    "runs": "SELECT count(*) FROM runs WHERE deleted_at IS NULL",
    "unfinished": "SELECT count(*) FROM runs INDEXED BY runs_active WHERE status IN ('pending', 'running')",
    "items": "SELECT count(*) FROM items",
}


def copy_database(
    source: Path, target: Path, *, overwrite: bool, progress: Callable[[int, int], None]
) -> dict[str, int]:
    """Copies the database `source` to the file `target` and checks the copy; what it holds (`threads`, `runs`,
    `unfinished` ones among them, `items`) and its size in `bytes`. `progress` is told pages done and pages in all.

    The target appears when the copy is whole and on the disk, or not at all. It is one file, with nothing beside it.

    Raises:
        InvalidInput: the target exists and is not to be overwritten, or cannot be made; or there is no such database.
        StorageError: the copy failed, or is not sound.
    """
    _check(source, target, overwrite)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        _copy(source, partial, progress)
        holds = _examine(partial)
        shutil.copymode(source, partial)
        _sync(partial)
        if target.exists() and not overwrite:  # somebody made it meanwhile
            raise _exists(target)
        partial.replace(target)
        _sync(target.parent)
        return {**holds, "bytes": target.stat().st_size}
    except (apsw.Error, OSError) as error:
        raise StorageError(f"the backup to {target} failed: {error}") from error
    finally:
        for side in ("", "-journal", *SIDE_FILES):
            partial.with_name(partial.name + side).unlink(missing_ok=True)


def _check(source: Path, target: Path, overwrite: bool) -> None:
    if not source.is_file():
        raise InvalidInput(f"database is {str(source)!r}: there is no such file to back up", field="database")
    if not target.parent.is_dir():
        raise InvalidInput(f"FILE is {str(target)!r}: there is no folder {target.parent}", field="FILE")
    for name in (source.name, *(source.name + side for side in SIDE_FILES)):
        if target.absolute() == source.with_name(name).absolute() or (target.exists() and _same(target, source, name)):
            raise InvalidInput(f"FILE is {str(target)!r}: that is the database itself", field="FILE")
    if target.is_dir():
        raise InvalidInput(f"FILE is {str(target)!r}: that is a folder; name a file in it", field="FILE")
    if target.exists() and not overwrite:
        raise _exists(target)


def _same(target: Path, source: Path, name: str) -> bool:
    other = source.with_name(name)
    return other.exists() and target.samefile(other)


def _exists(target: Path) -> InvalidInput:
    return InvalidInput(f"FILE is {str(target)!r}: it exists already; --force replaces it", field="FILE")


def _copy(source: Path, partial: Path, progress: Callable[[int, int], None]) -> None:
    origin: Any = connect(source, read_only=True)
    copy: Any = apsw.Connection(str(partial))
    try:
        if schema_version(origin) == 0:
            raise StorageError(f"{source} is no database of Runyard")
        # One read transaction for the whole copy: it sees one moment. Without it SQLite would begin anew whenever the
        # server has written between two steps, and under load never come to an end.
        origin.execute("BEGIN").fetchall()
        schema_version(origin)
        copy.execute("PRAGMA synchronous=OFF").fetchall()
        copy.execute("PRAGMA journal_mode=OFF").fetchall()
        with copy.backup("main", origin, "main") as backup:
            steps = 0
            while not backup.done:
                backup.step(PAGES)
                steps += 1
                if steps % STEPS_PER_SYNC == 0:
                    _sync(partial)
                progress(backup.page_count - backup.remaining, backup.page_count)
        origin.execute("COMMIT").fetchall()
        # The copy says of itself that it has a write-ahead log, as its origin does; it is to be a single file.
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()
    finally:
        copy.close()
        origin.close()


def _examine(partial: Path) -> dict[str, int]:
    """What the copy holds.

    Raises:
        StorageError: it is not sound.
    """
    copy: Any = connect(partial, read_only=True)
    try:
        faults = [row[0] for row in copy.execute("PRAGMA integrity_check(10)").fetchall() if row[0] != "ok"]
        if faults:
            raise StorageError(f"the database is damaged, and so is its copy, which was not kept: {'; '.join(faults)}")
        return {what: copy.execute(sql).fetchall()[0][0] for what, sql in _COUNTS.items()}
    finally:
        copy.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
