"""SQLite: when the verbs of a group are committed together."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from test_storage import claimed, wish

from runyard.errors import Conflict, NotFound
from runyard.storage.contract import Created
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.sqlite.writer import Writer


def test_a_verb_that_is_refused_before_it_writes_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks has their rows written first; that is not its own doing."""

    def not_together(writer: Writer, group: list[Any]) -> None:
        raise AssertionError(f"{len(group)} verbs were committed one by one")

    async def case() -> None:
        storage = SqliteStorage(tmp_path / "runyard.db", synchronous="normal")
        await storage.open()
        try:
            await claimed(storage, "r", "t")
            monkeypatch.setattr(Writer, "_commit_one_by_one", not_together)
            answers = await asyncio.gather(
                *(storage.create_run(wish(f"r{n}", f"t{n}", stateless=True, claim=True)) for n in range(10)),
                storage.create_run(wish("busy", "t", claim=True, strategy="reject")),
                storage.cancel("", "nobody", "interrupt", 2, None),
                *(storage.create_run(wish(f"u{n}", f"u{n}", stateless=True, claim=True)) for n in range(10)),
                return_exceptions=True,
            )
            assert [type(answer) for answer in answers] == [Created] * 10 + [Conflict, NotFound] + [Created] * 10
            assert [(await storage.run("", f"{kind}{n}")).status for kind in "ru" for n in range(10)] == [
                "running"
            ] * 20
        finally:
            await storage.close()

    asyncio.run(case())
