"""`runyard doctor` on a PostgreSQL database, and `runyard migrate`: what is there, who works, what waits."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fronts import Pooler, front, through
from postgres_server import Postgres

from runyard.cli import run_command
from runyard.storage.migrate import migrations
from runyard.storage.postgres import PostgresStorage
from runyard.storage.postgres.connection import PACKAGE

ECHO = str(Path(__file__).parents[2] / "examples" / "echo.py")
LATEST = len(migrations(PACKAGE))
Diagnosis = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A database without the schema."""
    made = asyncio.run(postgres.empty())
    yield made
    asyncio.run(postgres.drop(made))


@pytest.fixture
def found(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
    """Verdicts and texts about the database and its workers."""
    for name in [name for name in os.environ if name.startswith("RUNYARD_")]:
        monkeypatch.delenv(name)

    def diagnose(url: str, *arguments: str) -> list[tuple[str, str]]:
        capfd.readouterr()
        run_command(["doctor", ECHO, "--json", "--port", "0", "--database", url, *arguments])
        told = json.loads(capfd.readouterr().out)
        subjects = ("database", "workers")
        return [(each["verdict"], each["text"]) for each in told["findings"] if each["subject"] in subjects]

    return diagnose


def do(url: str, what: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    async def whole() -> None:
        connection: Any = await asyncpg.connect(url)
        try:
            await what(connection)
        finally:
            await connection.close()

    asyncio.run(whole())


def test_what_is_there_is_told_from_nothing_to_a_newer_layout(url: str, found: Diagnosis) -> None:
    assert found(url)[0] == ("ok", f"{url} is not there yet; the first start makes it")
    assert run_command(["migrate", "--database", url]) == 0
    assert found(url)[0] == ("ok", f"{url} has this version's layout ({LATEST})")
    do(url, lambda c: c.execute(f"DELETE FROM schema_versions WHERE number = {LATEST}"))
    assert found(url)[0] == ("ok", f"{url} has layout {LATEST - 1}; the next start brings it to {LATEST}")
    do(url, lambda c: c.execute(f"INSERT INTO schema_versions (number, name) VALUES ({LATEST + 1}, 'later')"))
    assert found(url)[0] == ("problem", f"{url}: it has schema {LATEST + 1}, written by a newer version")
    assert run_command(["migrate", "--database", url]) == 1


def test_who_works_and_what_waits_for_nobody_is_told(url: str, found: Diagnosis) -> None:
    async def begin() -> None:
        storage = PostgresStorage(url)
        await storage.open()
        await storage.join(60.0, ["echo"])
        await storage.close()

    asyncio.run(begin())
    wait = "INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, \
        max_attempts, invocation, first_seq, line, strategy) \
        VALUES ($1, $1, '', $2, 'pending', 1, 1, '{}', '{}', 3, 'i', 0, 1, 'reject')"
    do(url, lambda c: c.executemany(wait, [("r1", "echo"), ("r2", "other"), ("r3", "other")]))
    told = found(url)
    assert ("warning", "runs wait that no worker can execute: 2 of other") in told
    assert [text for verdict, text in told if verdict == "ok" and text.startswith("alive are ")] == [
        f"alive are process {os.getpid()} on {os.uname().nodename}"
    ]
    do(url, lambda c: c.execute("UPDATE workers SET expires_at = clock_timestamp()"))
    assert ("warning", "runs wait that no worker can execute: 1 of echo, 2 of other") in found(url)


def test_a_database_that_may_lose_what_was_acknowledged_is_a_warning(url: str, found: Diagnosis) -> None:
    name = url.partition("?")[0].rpartition("/")[2]
    do(url, lambda c: c.execute(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    verdict, text = found(url)[1]
    assert verdict == "warning"
    assert "synchronous_commit = off" in text
    assert text.endswith("a crash may take what was acknowledged")


def test_a_database_that_is_not_reached_is_a_problem_and_its_password_no_text(found: Diagnosis) -> None:
    ((verdict, text),) = found("postgresql://mia:hunter2@localhost:1/runs")
    assert verdict == "problem"
    assert "nobody listens there" in text
    assert "hunter2" not in text


def test_a_pooler_in_transaction_mode_is_a_problem(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def story() -> None:
        async with front(Pooler(url, transaction=True)) as port:
            arguments = ["doctor", ECHO, "--port", "0", "--database", through(url, port)]
            assert await asyncio.to_thread(run_command, arguments) == 1

    asyncio.run(story())
    assert "have the pooler use pool_mode=session" in capfd.readouterr().out
