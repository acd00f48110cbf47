"""What servers in this process ask of PostgreSQL, counted on every connection that they open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from asyncpg.connection import Connection


class Asked:
    """Counts since the last `forget`."""

    def __init__(self) -> None:
        self.transactions = 0
        """Those that were ended, and each statement outside of them."""
        self.statements: Counter[str] = Counter()
        """By their first line; each is a round trip."""

    @property
    def trips(self) -> int:
        """Times that the database was waited for."""
        return self.statements.total()

    def forget(self) -> None:
        """Counts from now on."""
        self.transactions = 0
        self.statements.clear()


class _Session:
    """What one connection asks."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._within = False

    def heard(self, record: Any) -> None:
        text = record.query.strip()
        word = text.split(None, 1)[0].rstrip(";").upper()
        self._asked.statements[text.splitlines()[0]] += 1
        if word in ("BEGIN", "START"):
            self._within = True
        elif word in ("COMMIT", "ROLLBACK") and not text.upper().startswith("ROLLBACK TO"):
            self._within = False
        self._asked.transactions += not self._within


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Generator[Asked]:
    """Counts on connections that are opened within."""
    asked = Asked()
    made = Connection.__init__

    def make(connection: Any, *arguments: Any) -> None:
        made(connection, *arguments)
        connection.add_query_logger(_Session(asked).heard)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "__init__", make)
        yield asked
