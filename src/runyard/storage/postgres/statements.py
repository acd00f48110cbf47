"""The statements of `queries.sql`, as PostgreSQL takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from runyard.storage.migrate import named_queries

_NAMED = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_NUMBERED = re.compile(r"\$(\d+)")
_WRITES = re.compile(r"\b(INSERT INTO|UPDATE \w+ SET|UPDATE \w+\nSET|DELETE FROM|SELECT (give|lay_aside)\()")


class Statement:
    """One statement. `many`: it takes any number of rows, a list for each column."""

    __slots__ = ("_given", "_names", "many", "rides", "sql", "writes")

    def __init__(self, sql: str) -> None:
        names: list[str] = []

        def number(match: re.Match[str]) -> str:
            if match[1] not in names:
                names.append(match[1])
            return f"${names.index(match[1]) + 1}"

        self._given = sql
        self.sql = _NAMED.sub(number, sql)
        self._names = names
        self.many = "FROM unnest(" in sql
        self.rides = self.many and sql.startswith("INSERT INTO")
        """It only adds rows, which no other statement of a group looks at: it can be a part of any of them."""
        self.writes = _WRITES.search(sql) is not None

    def with_text(self, old: str, new: str) -> Statement:
        """The same with other words in one place."""
        before, found, after = self._given.partition(old)
        assert found, f"{old!r} is not in the statement"
        return Statement(before + new + after)

    def bound(self, values: Any) -> Any:
        """The values in the order of their numbers."""
        if self.many:
            return [[value] for value in values]
        return [values[name] for name in self._names] if isinstance(values, dict) else values


def together(riders: Sequence[str], last: str) -> str:
    """Statements that take rows, in one: the values of the riders come first. The status is that of the last."""
    parts: list[str] = []
    shift = 0
    for place, sql in enumerate(riders):
        parts.append(f"rider_{place} AS (\n{_shifted(sql, shift)}\n)")
        shift += _values(sql)
    sql = _shifted(last, shift)
    return f"WITH {', '.join(parts)}{', ' + sql[5:] if sql.startswith('WITH ') else ' ' + sql}"


def _values(sql: str) -> int:
    return max(map(int, _NUMBERED.findall(sql)))


def _shifted(sql: str, by: int) -> str:
    return _NUMBERED.sub(lambda match: f"${int(match[1]) + by}", sql)


def statements(package: str) -> dict[str, Statement]:
    """All statements of a package, by name."""
    return {name: Statement(sql) for name, sql in named_queries(package).items()}
