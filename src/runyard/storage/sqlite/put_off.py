"""What a group of verbs need not ask the database for one by one: rows that are written together.

A statement gives the interpreter lock away and has to get it back. Forty rows in one statement do so once, and are
written while the event loop works.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import apsw

from runyard.storage.verbs.transaction import Poisoned

MOST_ROWS = 64
"""Rows of one statement. It is prepared for each power of two up to this."""


class PutOff:
    """Rows of one transaction that have not been written yet, in the order in which their statements came first."""

    __slots__ = ("_about", "_connection", "_rows", "_sql", "added", "changed")

    def __init__(self, connection: apsw.Connection, sql: dict[str, str]) -> None:
        self._connection: Any = connection
        self._sql = sql
        self._rows: dict[str, list[tuple[Any, ...]]] = {}
        self._about: set[str] = set()
        self.added = 0
        """How many rows were put off in all."""
        self.changed = 0
        """How many rows of the file their writing has changed so far: not what the verb did that had them written."""

    def __bool__(self) -> bool:
        return bool(self._rows)

    def concerns(self, about: str) -> bool:
        """Whether a row about that has been put off: a thread (its id), or an idempotency key."""
        return about in self._about

    def add(self, query: str, values: tuple[Any, ...], about: str) -> None:
        """Puts one row of a named `INSERT ... VALUES (...)` off."""
        self.added += 1
        self._about.add(about)
        rows = self._rows.get(query)
        if rows is None:
            self._rows[query] = [values]
        else:
            rows.append(values)

    def write(self) -> None:
        """Writes what was put off.

        Raises:
            Poisoned: a row was refused. Whose it was is not known.
        """
        rows, self._rows = self._rows, {}
        self._about.clear()
        before = self._connection.total_changes()
        try:
            for query, waiting in rows.items():
                self._insert(self._sql[query], waiting)
        except apsw.Error as error:
            raise Poisoned from error
        self.changed += self._connection.total_changes() - before

    def _insert(self, one_row: str, rows: list[tuple[Any, ...]]) -> None:
        into, values = one_row.split("VALUES", 1)
        done, left = 0, len(rows)
        while left:
            size = min(MOST_ROWS, 1 << (left.bit_length() - 1))
            statement = f"{into}VALUES{','.join([values] * size)}"
            self._connection.execute(statement, tuple(chain.from_iterable(rows[done : done + size])))
            done, left = done + size, left - size
