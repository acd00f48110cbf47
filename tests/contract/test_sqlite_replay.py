"""Reads of the log on SQLite: who shares them, and whom they keep waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from runyard.events import entry
from runyard.runs import Attempt, NewRun, RunFilter
from runyard.storage.contract import Batch
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.verbs import replay as replay_module
from runyard.storage.verbs.replay import Replay

Case = Callable[[SqliteStorage, Attempt], Awaitable[None]]


@pytest.fixture
def on_run(tmp_path: Path) -> Callable[[Case], None]:
    """Runs an async case on a storage with one running run, r1 on thread t."""

    def run(case: Case) -> None:
        async def whole() -> None:
            storage = SqliteStorage(tmp_path / "runyard.db")
            await storage.open()
            try:
                new = NewRun(
                    run_id="r1", owner="", agent_id="a", request=b"{}", metadata=b"{}", created_at=1, thread_id="t",
                    stateless=False, create_thread=True, strategy="enqueue", max_attempts=3, resumes=False, claim=True,
                )  # fmt: skip
                created = await storage.create_run(new)
                assert created.claim is not None
                await case(storage, created.claim.attempt)
            finally:
                await storage.close()

        asyncio.run(whole())

    return run


def test_reads_of_the_log_keep_no_other_read_waiting(on_run: Callable[[Case], None]) -> None:
    async def case(storage: SqliteStorage, attempt: Attempt) -> None:
        goes_on = threading.Event()
        read = Replay.read

        def late(*arguments: Any) -> Any:
            goes_on.wait(30)
            return read(*arguments)

        with mock.patch.object(Replay, "read", late):
            replays = [asyncio.ensure_future(storage.events("", "t", after=0, run_id="r1", limit=9)) for _ in range(20)]
            try:
                assert len(await storage.search_runs("", RunFilter())) == 1
                assert not any(replay.done() for replay in replays)
            finally:
                goes_on.set()
            assert all(await asyncio.gather(*replays))

    on_run(case)


def test_readers_of_the_same_part_of_the_log_share_its_events(on_run: Callable[[Case], None]) -> None:
    async def case(storage: SqliteStorage, attempt: Attempt) -> None:
        last = await storage.append(attempt, Batch([entry("custom", number) for number in range(10)]), 2)
        one = await storage.events("", "t", after=last - 8, run_id="r1", limit=9)
        two = await storage.events("", "t", after=last - 3, run_id="r1", limit=9)
        assert [event.seq for event in two] == [last - 2, last - 1, last]
        assert all(shared is event for shared, event in zip(two, one[5:], strict=True))

    on_run(case)


def test_little_of_the_log_is_kept_for_the_next_reader(on_run: Callable[[Case], None]) -> None:
    async def case(storage: SqliteStorage, attempt: Attempt) -> None:
        last = 0
        for _ in range(10):
            last = await storage.append(attempt, Batch([entry("custom", "x" * 300)]), 2)
        with mock.patch.object(replay_module, "KEPT_BYTES", 5000):
            one = await storage.events("", "t", after=last - 10, run_id="r1", limit=20)
            two = await storage.events("", "t", after=last - 3, run_id="r1", limit=20)
            three = await storage.events("", "t", after=last - 10, run_id="r1", limit=1)
        assert one == await storage.events("", "t", after=last - 10, run_id="r1", limit=20)
        assert [event is shared for event, shared in zip(two, one[-3:], strict=True)] == [True, True, True]
        assert three[0] == one[0]
        assert three[0] is not one[0]

    on_run(case)
