"""`/ready` tells the truth: a test for each reason not to be ready, and for the way back."""

from __future__ import annotations

import asyncio
import re
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from live_server import Server, Starter, play

from runyard import agent
from runyard.storage.sqlite import adapter, upkeep_verbs
from runyard.storage.sqlite.writer import Transaction


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No commit of a moment ago stands for the one that would fail now."""
    monkeypatch.setattr(adapter, "PROVEN_FOR", -1.0)
    monkeypatch.setattr(adapter, "PROOF_PATIENCE", 0.2)


async def reasons(s: Server) -> list[str]:
    answer = await s.get("/ready")
    told = answer.json()
    assert told["ready"] is (answer.status_code == 200)
    assert answer.status_code == (503 if told["reasons"] else 200)
    return told["reasons"]


@contextmanager
def read_only(s: Server) -> Iterator[None]:
    """The writer's connection, while it does nothing, is told to refuse writes."""
    connection = s.storage._writer._connection  # type: ignore[attr-defined]
    connection.execute("PRAGMA query_only = 1").fetchall()
    yield
    connection.execute("PRAGMA query_only = 0").fetchall()


@contextmanager
def files_that_cannot_grow(s: Server) -> Iterator[None]:
    """The system refuses what would make the write-ahead log larger than it is."""
    log = s.storage.path.with_name("runyard.db-wal")  # type: ignore[attr-defined]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_server_that_takes_runs_is_ready(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            assert await reasons(s) == []

    play(story())


@pytest.mark.sqlite("it breaks the file, or the thread that writes it")
def test_a_commit_of_a_moment_ago_is_proof_enough(server: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    proofs: list[str] = []

    async def prove(t: Transaction) -> None:
        proofs.append("one")
        await upkeep_verbs.prove(t)

    monkeypatch.setattr(adapter, "upkeep_verbs", SimpleNamespace(**{**vars(upkeep_verbs), "prove": prove}))
    monkeypatch.setattr(adapter, "PROVEN_FOR", 60.0)

    async def story() -> None:
        async with server(echo) as s:
            await s.thread()
            assert await reasons(s) == []
            assert proofs == []
            monkeypatch.setattr(adapter, "PROVEN_FOR", -1.0)
            assert await reasons(s) == []
            assert proofs == ["one"]

    play(story())


def test_before_the_start_and_after_the_end_it_is_not_ready(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            engine = s.app.engine
            await engine.drain()
            assert await reasons(s) == ["the server is stopping"]
        assert (await engine.readiness())["reasons"] == ["the server is stopping"]

    play(story())


def test_before_its_start_it_says_that_it_starts(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            s.app.engine._state = "new"  # as it is while a host app starts it
            assert await reasons(s) == ["the server is starting"]
            assert "runyard_ready 0.0" in (await s.get("/metrics")).text
            s.app.engine._state = "ready"

    play(story())


@pytest.mark.sqlite("it breaks the file, or the thread that writes it")
def test_a_database_that_has_become_read_only_is_a_reason_until_it_is_not(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            await s.thread()
            with read_only(s):
                told = await reasons(s)
                assert len(told) == 1
                assert told[0].startswith("the database cannot be written: the database is read-only: nothing was")
                assert (await s.post("/runs", {"input": 1})).status_code == 503
            assert await reasons(s) == []

    play(story())


@pytest.mark.sqlite("it breaks the file, or the thread that writes it")
def test_a_commit_that_failed_is_a_reason_until_one_succeeds(server: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PROVEN_FOR", 60.0)

    async def story() -> None:
        async with server(echo) as s:
            await s.thread()
            with files_that_cannot_grow(s):
                assert (await s.post("/runs", {"input": 1})).status_code == 503
                (reason,) = await reasons(s)
                assert reason.startswith("the database cannot be written: the database failed: ")
                assert "runyard_ready 0.0" in (await s.get("/metrics")).text
            assert await reasons(s) == []
            assert (await s.post("/runs/wait", {"input": 1})).json()["status"] == "success"
            failed = re.search(r"^runyard_commits_failed_total (.+)$", (await s.get("/metrics")).text, re.MULTILINE)
            assert failed is not None
            assert float(failed[1]) >= 2

    play(story())


@pytest.mark.sqlite("it breaks the file, or the thread that writes it")
def test_a_disk_that_is_nearly_full_is_a_reason_although_a_small_write_still_fits(
    server: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo) as s:
            with monkeypatch.context() as full:
                full.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
                assert await reasons(s) == [
                    "the disk is full: 1000 bytes are left beside the database, and 4000000 are needed"
                ]
            assert await reasons(s) == []

    play(story())


@pytest.mark.sqlite("it breaks the file, or the thread that writes it")
def test_a_commit_that_does_not_come_is_a_reason(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            released = threading.Event()

            async def wait(_: Transaction) -> None:
                released.wait(10)

            stuck = s.storage._writer.do(wait)  # type: ignore[attr-defined]
            assert await reasons(s) == ["the database has not committed within 0.2 s"]
            released.set()
            await stuck
            assert await reasons(s) == []

    play(story())


@pytest.mark.sqlite("it breaks the file, or the thread that writes it")
def test_a_writer_that_died_is_a_reason_and_nobody_waits_for_it(
    server: Starter, caplog: pytest.LogCaptureFixture
) -> None:
    async def dies(s: Server) -> None:
        async def end(t: Any) -> None:
            raise SystemExit

        with pytest.raises(Exception, match="writer has died"):
            await s.storage._writer.do(end)  # type: ignore[attr-defined]

    async def story() -> None:
        async with server(echo) as s:
            await dies(s)
            assert await reasons(s) == ["the database's writer has died; restart the server"]
            assert (await s.post("/runs", {"input": 1})).status_code == 503
        assert "writer died" in caplog.text

    play(story())


def test_a_claim_loop_that_died_is_a_reason(server: Starter, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with server(echo) as s:

            async def breaks(*_: Any) -> Any:
                raise GeneratorExit  # any other fault is tried again

            s.storage.claim = breaks  # type: ignore[method-assign]
            s.app.engine.worker._ready.set()
            await s.until(lambda: not s.app.engine.worker.alive)
            assert await reasons(s) == ["runs that wait are not claimed any more; restart the server"]
            await asyncio.sleep(0)
            assert "claim loop died" in caplog.text

    play(story())
