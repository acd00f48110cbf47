"""The SQLite adapter on a disk that fails: what it refuses, what it keeps, and that it goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chaos import points
from chaos.disk import Disk, Fault, Kind
from runyard.errors import NotFound, StorageError, Unavailable
from runyard.storage.sqlite import SqliteStorage, connection, wal

Case = Callable[[SqliteStorage, Disk], Awaitable[None]]


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[..., None]:
    """Runs an async case on an open storage whose disk does what the case says."""

    def run(case: Case, **disk: Any) -> None:
        async def whole() -> None:
            faulty = Disk("broken-disk", Random(1), **disk)
            storage = SqliteStorage(tmp_path / "live" / "runyard.db", vfs=faulty.name)
            try:
                await storage.open()
                await case(storage, faulty)
                await storage.close()
            finally:
                faulty.close()

        asyncio.run(whole())

    return run


async def put(storage: SqliteStorage, key: str, size: int = 10) -> None:
    await storage.put_item("", ("a",), key, b'{"text":"%s"}' % (b"x" * size), 1)


async def keys(storage: SqliteStorage, names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        try:
            found.append((await storage.get_item("", ("a",), name, 2)).key)
        except NotFound:
            pass
    return found


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


def test_crash_points() -> None:
    found = dict(points.run(seed=7_000, points=60))
    assert found["crash points"] == "60"
    assert int(found["verbs refused, none seen, done again"]) > 20


@pytest.mark.parametrize(
    ("kind", "code"),
    [("full", "disk_full"), ("short", "disk_full"), ("io", "storage_error")],
)
def test_writes_are_refused_by_name_while_the_disk_fails_reads_go_on_and_then_writes_do(
    on_disk: Callable[..., None], kind: Kind, code: str
) -> None:
    async def case(storage: SqliteStorage, disk: Disk) -> None:
        await put(storage, "before")
        disk.set(Fault(kind, at=1, times=None))
        for _ in range(3):
            refused = await asyncio.gather(*(put(storage, f"k{n}") for n in range(5)), return_exceptions=True)
            assert [getattr(error, "reason", None) for error in refused] == [code] * 5
        assert storage.problem is not None
        assert await keys(storage, ["before", "k0", "k4"]) == ["before"]
        disk.repair()
        await asyncio.gather(*(put(storage, f"k{n}") for n in range(5)))
        assert storage.problem is None
        assert await keys(storage, ["before", "k0", "k4"]) == ["before", "k0", "k4"]

    on_disk(case)


@pytest.mark.parametrize("file", [".db", "-wal"])
def test_files_that_may_not_be_written_are_refused_by_name_until_they_may(tmp_path: Path, file: str) -> None:
    async def case() -> None:
        disk = Disk("broken-disk", Random(1))
        storage = SqliteStorage(tmp_path / "runyard.db", vfs=disk.name)
        try:
            await storage.open()
            await put(storage, "before")
            await storage.close()
            disk.set(Fault("read_only", at=1, times=None, file=file))
            for _ in range(2):
                with pytest.raises(Unavailable) as refused:
                    await storage.open()
                assert refused.value.reason == "database_read_only"
            disk.repair()
            await storage.open()
            await put(storage, "after")
            assert await keys(storage, ["before", "after"]) == ["before", "after"]
            await storage.close()
        finally:
            disk.close()

    asyncio.run(case())


def test_checkpoints_outlive_a_time_when_the_file_may_not_be_written(
    on_disk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def case(storage: SqliteStorage, disk: Disk) -> None:
        monkeypatch.setattr(wal, "PAGES_PASSIVE", 0)
        disk.set(Fault("read_only", at=1, times=None))  # the connection of the checkpoints is opened when it is needed
        opened, folded = disk.calls["open"], disk.folded
        await put(storage, "a")
        await until(lambda: disk.calls["open"] > opened)
        assert disk.folded == folded
        disk.repair()
        while disk.folded == folded:
            await put(storage, "a")

    on_disk(case)


def test_a_verb_that_an_io_error_stops_takes_no_other_of_its_commit_with_it(
    on_disk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CACHE_KIB", 40)  # so that verbs read the disk

    async def case(storage: SqliteStorage, disk: Disk) -> None:
        names = [f"k{n}" for n in range(40)]
        for name in names:
            await put(storage, name, 3000)
        text, spoilt = b"y" * 3000, 0
        for at in range(1, 60, 3):
            disk.set(Fault("read", at=at, times=3))
            answers = await asyncio.gather(
                *(storage.put_item("", ("a",), name, b'{"text":"%s"}' % text, 100 + at) for name in names),
                return_exceptions=True,
            )
            disk.set()
            spoilt += sum(isinstance(answer, StorageError) for answer in answers)
            assert all(answer is None or isinstance(answer, StorageError) for answer in answers)
            for name, answer in zip(names, answers, strict=True):
                item = await storage.get_item("", ("a",), name, 1)
                assert (item.updated_at == 100 + at) == (answer is None), (at, name)
        assert spoilt

    on_disk(case)


def test_reads_that_fail_are_refused_and_not_broken(on_disk: Callable[..., None]) -> None:
    async def case(storage: SqliteStorage, disk: Disk) -> None:
        await storage.create_thread("", "t", b"{}", 1, if_exists="raise")
        disk.set(Fault("open", at=1, times=None))
        with pytest.raises(StorageError):
            await storage.events("", "t", after=0, run_id=None, limit=10)
        disk.set(Fault("read", at=1, times=None))
        with pytest.raises(StorageError):
            await storage.thread("", "t")
        disk.set()
        assert (await storage.thread("", "t")).thread_id == "t"
        assert await storage.events("", "t", after=0, run_id=None, limit=10) == []

    on_disk(case)


def test_pages_that_a_failed_sync_forgot_are_written_again(
    on_disk: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A checkpoint that a reader holds up copies pages and counts them as done, unsynced. If the sync of a later one
    fails, and the system forgets what it could not write, nothing but the WAL has them."""
    monkeypatch.setattr(wal, "PAGES_PASSIVE", 0)
    names = [f"k{n}" for n in range(60)]

    async def case(storage: SqliteStorage, disk: Disk) -> None:
        for name in names[:20]:
            await put(storage, name, 3000)
        held: Any = connection.connect(storage.path, read_only=True, vfs=disk.name)
        held.execute("BEGIN").fetchall()
        held.execute("SELECT count(*) FROM items").fetchall()
        for name in names[20:40]:
            await put(storage, name, 3000)
        await asyncio.sleep(0.02)  # the checkpoint that is held up has no sign of its own
        disk.set(Fault("fsync", at=1, file=".db"))
        opened = disk.calls["open"]
        held.close()
        await put(storage, names[40], 3000)
        await until(lambda: disk.calls["open"] > opened)  # everything is opened anew
        for name in names[41:]:
            folded = disk.folded
            await put(storage, name, 3000)
            await until(lambda folded=folded: disk.folded > folded)
        disk.image(tmp_path / "found")

    on_disk(case, forgets=1.0)
    database: Any = connection.connect(tmp_path / "found" / "runyard.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = [key for (key,) in database.execute("SELECT key FROM items").fetchall()]
    database.close()
    assert sorted(found) == sorted(names)


@pytest.mark.parametrize("kind", ["open", "full", "fsync", "read"])
def test_a_database_that_cannot_be_opened_is_refused_and_can_be_tried_again(tmp_path: Path, kind: Kind) -> None:
    async def story() -> None:
        disk = Disk("cannot-open", Random(1))
        try:
            refused = 0
            for at in (1, 2, 3, 5, 8, 13, 21):
                storage = SqliteStorage(tmp_path / f"{at}.db", vfs=disk.name)
                disk.set(Fault(kind, at=at))
                try:
                    await storage.open()
                except (StorageError, Unavailable):
                    refused += 1
                    disk.set()
                    await storage.open()
                await put(storage, "k")
                await storage.close()
            assert refused
        finally:
            disk.close()

    asyncio.run(story())


def test_the_lock_is_taken_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    lock = connection.FileLock(tmp_path / "runyard.db")
    lock.acquire()
    assert connection.FileLock(tmp_path / "runyard.db").holder() is not None
    lock.release()
