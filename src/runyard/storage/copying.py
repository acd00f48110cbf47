"""What goes along when a database is copied into another, of another kind, and how the two are compared.

Nothing here lists the tables that there are. Both databases are asked for theirs, so that a table or a column which a
migration adds goes along by itself, or is refused by its name where the two differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from runyard.errors import StorageError
from runyard.vectors import packed, unpacked

ROWS = 5_000
"""The most rows of a portion."""
BYTES = 8_000_000
"""What a portion holds at most, but for its last row."""

STAY = {
    "labels": "the target's triggers make them anew, from the metadata of runs and threads",
    "marks": "writers ask by them what became of their own transactions, and each begins anew",
    "workers": "leases are by the clock of one database, and nobody executes anything while it is copied",
}
"""Tables that stay behind, and why."""
ELSEWHERE = {("checkpoints", "number"): "rowid"}
"""Columns of PostgreSQL's tables for what SQLite's have under another name: the order in which rows were stored."""
LEFT_OUT = {("runs", "worker"): "who executes a run is nobody any more; where this is empty, it is put back in line"}
"""Columns of PostgreSQL's tables of which SQLite's know nothing, and why they stay as they are by default."""

FLOATS = "real[]"
"""The type of PostgreSQL for vectors."""
TYPES = {"INTEGER": ("smallint", "integer", "bigint"), "TEXT": ("text",), "BLOB": ("bytea", FLOATS)}
"""The types of SQLite, and those of PostgreSQL that hold the same."""

Row = tuple[Any, ...]
Columns = Mapping[str, str]
"""The columns of a table, with their types."""

_encode = msgspec.msgpack.Encoder().encode


class Table(NamedTuple):
    """One table that goes along."""

    name: str
    columns: tuple[str, ...]
    """By their names in the target; those of the key first."""
    read: tuple[str, ...]
    """The same by their names in the source."""
    keys: int
    """How many columns the key has, by which rows are put in order: in both databases by their bytes."""
    floats: tuple[int, ...] = ()
    """The places of columns that are vectors: bytes here, numbers in the target."""

    def key(self, row: Row) -> Row:
        """What tells a row from all others, and the order of rows."""
        return row[: self.keys]

    def for_target(self, row: Row) -> Row:
        """A row as the target takes it."""
        return self._with_floats(row, unpacked) if self.floats else row

    def from_target(self, row: Row) -> Row:
        """The inverse."""
        return self._with_floats(row, packed) if self.floats else row

    def _with_floats(self, row: Row, change: Callable[[Any], Any]) -> Row:
        return tuple(change(value) if place in self.floats else value for place, value in enumerate(row))


def plan(
    source: Mapping[str, Columns], target: Mapping[str, Columns], keys: Mapping[str, Sequence[str]]
) -> tuple[Table, ...]:
    """What goes along from the tables of SQLite into those of PostgreSQL, with the keys of the latter.

    Raises:
        StorageError: one of them has something that the other has not, and nothing is known of it here.
    """
    alone = (source.keys() ^ target.keys()) - STAY.keys()
    if alone:
        raise StorageError(f"only one of the two databases has the table {min(alone)!r}; this version cannot copy it")
    return tuple(_table(name, source[name], target[name], keys[name]) for name in sorted(source.keys() - STAY.keys()))


def _table(name: str, source: Columns, target: Columns, key: Sequence[str]) -> Table:
    there = {ELSEWHERE.get((name, column), column): column for column in target if (name, column) not in LEFT_OUT}
    known = {**source, "rowid": "INTEGER"} if "rowid" in there else source
    alone = there.keys() ^ known.keys()
    if alone:
        raise StorageError(
            f"only one of the two databases has the column {min(alone)!r} of {name}; this version cannot copy it"
        )
    for read, column in there.items():
        if target[column] not in TYPES.get(known[read], ()):
            raise StorageError(
                f"the column {column!r} of {name} is {known[read]} in one database and {target[column]} in the other; "
                "this version cannot copy it"
            )
    names = {column: read for read, column in there.items()}
    columns = (*key, *(column for column in names if column not in key))
    floats = tuple(place for place, column in enumerate(columns) if target[column] == FLOATS)
    return Table(name, columns, tuple(names[column] for column in columns), len(key), floats)


def portions(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows in portions of a bounded size."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        portion.append(row)
        size += sum(len(value) for value in row if isinstance(value, (bytes, str)))
        if len(portion) >= ROWS or size >= BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


class Digest:
    """The number of rows, and a checksum over all their values in the order of their keys."""

    __slots__ = ("_hash", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, rows: Sequence[Row]) -> None:
        """The next rows, whatever the portions."""
        self.rows += len(rows)
        self._hash.update(b"".join(map(_encode, rows)))

    def checksum(self) -> str:
        return self._hash.hexdigest()


def key_text(key: Row) -> str:
    """A key for people's eyes."""
    return ", ".join(repr(part) for part in key)


def encode_key(key: Row) -> bytes:
    """A key as it is kept with what has been done."""
    return _encode(key)


def decode_key(text: bytes) -> Row:
    return tuple(msgspec.msgpack.decode(text))
