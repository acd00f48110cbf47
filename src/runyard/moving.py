"""Moving house: everything of an SQLite database goes into a PostgreSQL one, while nobody serves either of them.

A portion of rows and how far the copy is are written in one transaction, so that a copy which was cut, at whatever
moment, goes on behind the last row that is there. In the end all rows of both are read once more, in the same order:
only what is proven to be the same may be served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from runyard.databases import NAME, no_driver
from runyard.errors import StorageError, Unavailable
from runyard.storage.copying import Digest, Row, Table, key_text, plan, portions
from runyard.storage.sqlite.copy_source import CopySource

if TYPE_CHECKING:
    from runyard.storage.postgres.copy_target import CopyTarget

Stage = Literal["copying", "checking"]
Progress = Callable[[Stage, int, int], None]
"""Is told what goes on, rows done and rows in all."""


class Moved(NamedTuple):
    """What the target holds."""

    rows: dict[str, int]
    """Of each table."""
    checksums: dict[str, str]
    """Of each table: the same on both sides."""
    copied: int
    """Rows that were copied this time; the others had been before."""


def move(source: Path, url: str, *, restart: bool, progress: Progress) -> Moved:
    """Copies a database file into a PostgreSQL database, or goes on with a copy that was cut. With `restart` what was
    copied is removed first.

    Raises:
        InvalidInput: there is no such file, or the target holds, or is used by, something else.
        Unavailable: a server has the file, the target cannot be reached, or another copy is under way.
        StorageError: a schema does not fit, a row is refused, or the two are not the same in the end.
        Unsupported: PostgreSQL's driver is not installed.
    """
    try:
        from runyard.storage.postgres.copy_target import CopyTarget
    except ImportError as error:
        raise no_driver(error) from None
    return asyncio.run(_Move(CopySource(source), CopyTarget(url, NAME), progress).whole(restart))


class _Move:
    def __init__(self, source: CopySource, target: CopyTarget, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._progress = progress

    async def whole(self, restart: bool) -> Moved:
        self._source.open()
        try:
            await self._target.open()
            try:
                return await self._move(restart)
            finally:
                await self._target.close()
        finally:
            self._source.close()

    async def _move(self, restart: bool) -> Moved:
        await self._target.prepare()
        if restart:
            await self._target.restart()
        tables = plan(self._source.tables(), await self._target.tables(), await self._target.keys())
        total = sum(map(self._source.count, tables))
        try:
            copied = await self._copy(tables, total)
            moved = await self._prove(tables, total, copied)
        except Unavailable as error:
            raise Unavailable(
                f"{error.message}; the same command goes on where it stopped", code=error.reason
            ) from error
        await self._target.finish()
        return moved

    async def _copy(self, tables: Sequence[Table], total: int) -> int:
        done = await self._target.done(str(self._source.path.resolve()), tables)
        before = so_far = sum(each.rows for each in done.values())
        self._progress("copying", so_far, total)
        for table in tables:
            if done[table.name].whole:
                continue
            for rows in portions(self._source.rows(table, done[table.name].last)):
                await self._target.write(table, rows)
                so_far += len(rows)
                self._progress("copying", so_far, total)
            await self._target.whole(table)
        return so_far - before

    async def _prove(self, tables: Sequence[Table], total: int, copied: int) -> Moved:
        moved = Moved({}, {}, copied)
        faults: list[str] = []
        so_far = 0
        self._progress("checking", 0, total)
        for table in tables:
            here, there = Digest(), Digest()
            differs: Row | None = None
            async with self._target.rows(table) as found:
                for rows in portions(self._source.rows(table)):
                    copies = await found.next(len(rows))
                    here.add(rows)
                    there.add(copies)
                    differs = differs or _first_difference(table, rows, copies)
                    so_far += len(rows)
                    self._progress("checking", so_far, total)
            number = await self._target.count(table)
            if number != here.rows or here.checksum() != there.checksum():
                where = "" if differs is None else f"; they differ from the row of {key_text(differs)} on"
                faults.append(
                    f"{table.name} has {here.rows:,} rows (checksum {here.checksum()}) in the source and {number:,} "
                    f"({there.checksum()}) in the target{where}"
                )
            moved.rows[table.name], moved.checksums[table.name] = here.rows, here.checksum()
        if faults:
            raise StorageError(
                f"the copy is not the same as its source, and is not to be served: {'; '.join(faults)}. Either was "
                "changed since the copy began; --restart removes what was copied and begins anew",
                code="copy_differs",
            )
        return moved


def _first_difference(table: Table, rows: Sequence[Row], copies: Sequence[Row]) -> Row | None:
    if [*rows] == [*copies]:
        return None
    for row, copy in zip(rows, copies, strict=False):
        if row != copy:
            return min(table.key(row), table.key(copy))
    return table.key(rows[len(copies)])
