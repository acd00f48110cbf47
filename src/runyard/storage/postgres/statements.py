"""The statements of `queries.sql`, as PostgreSQL takes them."""

from __future__ import annotations

import re
from typing import Any

from runyard.storage.migrate import named_queries

_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_WRITES = re.compile(r"\b(INSERT INTO|UPDATE \w+ SET|UPDATE \w+\nSET|DELETE FROM|SELECT (give|lay_aside)\()")


class Statement:
    """One statement. `many`: it takes any number of rows, a list for each column."""

    __slots__ = ("_names", "many", "sql", "writes")

    def __init__(self, sql: str) -> None:
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        self.sql = _NAMED.sub(number, sql)
        self._names = names
        self.many = "FROM unnest(" in sql
        self.writes = _WRITES.search(sql) is not None

    def bound(self, values: Any) -> Any:
        """The values in the order of their numbers."""
        if self.many:
            return [[value] for value in values]
        return [values[name] for name in self._names] if isinstance(values, dict) else values


def statements(package: str) -> dict[str, Statement]:
    """All statements of a package, by name."""
    return {name: Statement(sql) for name, sql in named_queries(package).items()}
