"""A PostgreSQL database that another one is copied into: how far the copy is stands in the database itself.

The table `copy_progress` is there from before the first row is until all rows are proven. While it is there no server
begins on the database, and nobody but a copy touches its rows.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from runyard.errors import InvalidInput, StorageError, Unavailable
from runyard.storage.copying import STAY, Columns, Row, Table, decode_key, encode_key, key_text
from runyard.storage.place import read
from runyard.storage.postgres.connection import LOCK_SPACE, PROGRESS, connect
from runyard.storage.postgres.faults import FAULTS, UNREACHABLE, translated
from runyard.storage.postgres.schema import migrate

STATEMENT_TIMEOUT_MS = 3_600_000
"""The statistics of a large table, or emptying it, may take a while."""


class Done(NamedTuple):
    """How far a table is."""

    rows: int
    last: Row | None
    """The key of the last row that was copied."""
    whole: bool


class CopyTarget:
    """One database, which nobody serves meanwhile."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: Any = None

    async def open(self) -> None:
        """Connects. Only one copy at a time gets further.

        Raises:
            Unavailable: it cannot be reached, or another copy is under way.
        """
        self._connection = await connect(self._url, f"{self._name}, copy", statement_timeout=str(STATEMENT_TIMEOUT_MS))
        with translated():
            mine = await self._connection.fetchval(
                "SELECT pg_try_advisory_lock($1, hashtext('copy ' || current_schema()))", LOCK_SPACE
            )
        if not mine:
            await self.close()
            raise Unavailable("another copy into the target is under way: wait for it, or stop it")

    async def close(self) -> None:
        if self._connection is not None:
            try:
                await self._connection.close(timeout=5)
            except (*FAULTS, TimeoutError):
                self._connection.terminate()

    async def prepare(self) -> None:
        """Makes the schema where there is none, and keeps servers away from here on. What an unfinished copy has done
        stays.

        Raises:
            InvalidInput: there are rows that no copy has brought, or servers.
            StorageError: a newer version wrote it.
        """
        with translated():
            async with self._connection.transaction():
                await migrate(self._connection)
                if await self._unfinished():
                    return
                await self._refuse_others()
                await self._connection.execute(
                    f"CREATE TABLE {PROGRESS} (name text PRIMARY KEY, source text NOT NULL, rows bigint NOT NULL, "
                    "last bytea, whole boolean NOT NULL)"
                )

    async def _unfinished(self) -> bool:
        return bool(await self._connection.fetchval(f"SELECT to_regclass('{PROGRESS}') IS NOT NULL"))

    async def _refuse_others(self) -> None:
        servers = await self._connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND (application_name LIKE 'runyard%' OR starts_with(application_name, $1 || ','))",
            read(self._url).named(self._name),
        )
        if servers:
            raise InvalidInput(
                f"TARGET is in use: servers have {servers} connections to it; stop them, or name a database of its own",
                field="TARGET",
            )
        for table in sorted((await self.tables()).keys() - {"labels"}):
            if await self._connection.fetchval(f"SELECT EXISTS (SELECT 1 FROM {table})"):
                raise InvalidInput(
                    f"TARGET holds rows of its own (of {table}), and a copy would mix with them: name an empty "
                    "database; a copy that has come to its end is not made twice",
                    field="TARGET",
                )

    async def tables(self) -> dict[str, Columns]:
        """All tables of ours, with their columns."""
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in await self._connection.fetch(_COLUMNS, ["schema_versions", PROGRESS]):
            found.setdefault(table, {})[column] = kind
        return {**found}

    async def keys(self) -> dict[str, Sequence[str]]:
        """The columns of each table's primary key."""
        return {row[0]: row[1] for row in await self._connection.fetch(_KEYS)}

    async def done(self, source: str, tables: Sequence[Table]) -> dict[str, Done]:
        """How far each table is with that source.

        Raises:
            InvalidInput: what was begun here is the copy of another.
        """
        with translated():
            async with self._connection.transaction():
                await self._connection.executemany(
                    f"INSERT INTO {PROGRESS} VALUES ($1, $2, 0, NULL, false) ON CONFLICT DO NOTHING",
                    [(table.name, source) for table in tables],
                )
                rows = await self._connection.fetch(f"SELECT name, source, rows, last, whole FROM {PROGRESS}")
                others = {row["source"] for row in rows} - {source}
                if others:
                    raise InvalidInput(
                        f"TARGET holds an unfinished copy of {min(others)}: go on with that, or begin anew with "
                        "--restart",
                        field="SOURCE",
                    )
        return {
            row["name"]: Done(row["rows"], None if row["last"] is None else decode_key(row["last"]), row["whole"])
            for row in rows
        }

    async def restart(self) -> None:
        """Removes what a copy has brought."""
        with translated():
            async with self._connection.transaction():
                for table in (await self.tables()).keys() - (STAY.keys() - {"labels"}):
                    await self._connection.execute(f"TRUNCATE {table}")
                await self._connection.execute(f"DELETE FROM {PROGRESS}")

    async def write(self, table: Table, rows: Sequence[Row]) -> None:
        """The next rows of a table, and that they are there, in one transaction.

        Raises:
            StorageError: PostgreSQL refuses one of them; the message says which.
        """
        try:
            with translated():
                async with self._connection.transaction():
                    await self._copy(table, rows)
                    await self._connection.execute(
                        f"UPDATE {PROGRESS} SET rows = rows + $2, last = $3 WHERE name = $1",
                        table.name, len(rows), encode_key(table.key(rows[-1])),
                    )  # fmt: skip
        except StorageError as error:
            raise await self._refused(table, rows, error) from error

    async def _copy(self, table: Table, rows: Sequence[Row]) -> None:
        records = map(table.for_target, rows)
        await self._connection.copy_records_to_table(table.name, records=records, columns=table.columns)

    async def _refused(self, table: Table, rows: Sequence[Row], error: StorageError) -> StorageError:
        """The error of rows, of which one at least is refused, told as that of the first."""
        for row in rows:
            try:
                async with self._connection.transaction():
                    await self._copy(table, [row])
                    raise _Undo
            except _Undo:
                continue
            except FAULTS as refused:
                if isinstance(refused, UNREACHABLE):
                    break
                return StorageError(
                    f"PostgreSQL refuses a row of {table.name}, that of {key_text(table.key(row))}: {refused}; it has "
                    "to be changed or removed in the source"
                )
        return error

    async def whole(self, table: Table) -> None:
        """All rows of a table are there."""
        with translated():
            await self._connection.execute(f"UPDATE {PROGRESS} SET whole = true WHERE name = $1", table.name)

    @asynccontextmanager
    async def rows(self, table: Table) -> AsyncGenerator[Rows]:
        """The rows of a table in the order of their keys."""
        key = ", ".join(table.columns[: table.keys])
        with translated():
            async with self._connection.transaction(isolation="repeatable_read", readonly=True):
                cursor = await self._connection.cursor(
                    f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {key}"
                )
                yield Rows(table, cursor)

    async def count(self, table: Table) -> int:
        """The number of its rows."""
        with translated():
            return await self._connection.fetchval(f"SELECT count(*) FROM {table.name}")

    async def finish(self) -> None:
        """All is there and proven: numbers go on behind those that there are, and servers may begin."""
        with translated():
            async with self._connection.transaction():
                for table, column in await self._connection.fetch(_IDENTITIES):
                    await self._connection.execute(
                        f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), "
                        f"coalesce(max({column}), 0) + 1, false) FROM {table}"
                    )
                await self._connection.execute(f"DROP TABLE {PROGRESS}")
            await self._connection.execute("ANALYZE")


class Rows:
    """The rows of a table, as many at a time as are asked for."""

    def __init__(self, table: Table, cursor: Any) -> None:
        self._table = table
        self._cursor = cursor

    async def next(self, number: int) -> list[Row]:
        """The next rows; fewer where there are no more."""
        with translated():
            return [self._table.from_target(tuple(row)) for row in await self._cursor.fetch(number)]


class _Undo(Exception):
    """Leaves a transaction without a trace."""


_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relname = ANY($1)
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""
_KEYS = """
SELECT c.relname, array_agg(a.attname::text ORDER BY place)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE i.indisprimary AND c.relnamespace = current_schema()::regnamespace
GROUP BY c.relname
"""
_IDENTITIES = """
SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attidentity <> ''
"""
