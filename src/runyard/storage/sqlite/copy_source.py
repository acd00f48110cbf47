"""A database file that is copied into another database: its tables, and their rows in the order of their keys."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runyard.errors import InvalidInput, StorageError, Unavailable
from runyard.storage.copying import Columns, Row, Table
from runyard.storage.migrate import migrations
from runyard.storage.sqlite.connection import PACKAGE, FileLock, close, connect, schema_version
from runyard.storage.sqlite.faults import translated


class CopySource:
    """One file, which nobody serves meanwhile, read in one transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)
        self._connection: Any = None

    def open(self) -> None:
        """Takes the right to serve the file, so that no server writes what would not go along.

        Raises:
            InvalidInput: there is no such file.
            Unavailable: a server has it.
            StorageError: it is no database of ours, or has not the schema of this version.
        """
        if not self.path.is_file():
            raise InvalidInput(f"SOURCE is {str(self.path)!r}: there is no such file", field="SOURCE")
        try:
            self._lock.acquire()
        except Unavailable as error:
            raise Unavailable(
                f"a server (process {error.metadata['holder']}) has the database {self.path}, and what it writes from "
                "now on would be left behind: stop it, then copy",
                **error.metadata,
            ) from None
        try:
            with translated():
                self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._connection = connect(self.path, read_only=True)
        self._connection.execute("BEGIN").fetchall()
        version, known = schema_version(self._connection), len(migrations(PACKAGE))
        if version == 0:
            raise StorageError(f"{self.path} is no database of Runyard")
        if version < known:
            raise StorageError(
                f"{self.path} has schema {version}, and this version copies {known}: bring it up to date first, with "
                f"runyard migrate --database sqlite:///{self.path}"
            )
        if version > known:
            raise StorageError(
                f"{self.path} has schema {version}, this Runyard knows {known}: copy it with the newer version that "
                "wrote it"
            )

    def close(self) -> None:
        if self._connection is not None:
            close(self._connection)
        self._lock.release()

    def tables(self) -> dict[str, Columns]:
        """All tables, with their columns."""
        names = self._connection.execute("SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'")
        return {
            name: dict(self._connection.execute("SELECT name, type FROM pragma_table_info(?)", (name,)).fetchall())
            for (name,) in names.fetchall()
            if not name.startswith("sqlite_")
        }

    def count(self, table: Table) -> int:
        """The number of its rows."""
        with translated():
            return self._connection.execute(f"SELECT count(*) FROM {table.name}").fetchall()[0][0]

    def rows(self, table: Table, after: Row | None = None) -> Iterator[Row]:
        """The rows behind a key, or all, in the order of their keys."""
        with translated():
            yield from self._connection.execute(self._statement(table, after is not None), after or ())

    def _statement(self, table: Table, behind: bool) -> str:
        key = ", ".join(table.read[: table.keys])
        # Left alone, SQLite would sort the whole table in memory rather than follow an index to its rows.
        found = self._connection.execute(
            "SELECT i.name FROM pragma_index_list(?) AS i WHERE i.'unique' AND i.partial = 0 AND "
            "(SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno)) = ?",
            (table.name, key),
        ).fetchall()
        by = f" INDEXED BY {found[0][0]}" if found else ""
        condition = f" WHERE ({key}) > ({', '.join('?' * table.keys)})" if behind else ""
        return f"SELECT {', '.join(table.read)} FROM {table.name}{by}{condition} ORDER BY {key}"
