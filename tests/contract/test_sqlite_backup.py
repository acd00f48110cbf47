"""SQLite: the copy of a database holds one moment, is whole or absent, and is never made over something else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from test_storage import claimed, step, wish

from runyard.errors import InvalidInput, RunyardError, StorageError
from runyard.storage.contract import Ending
from runyard.storage.sqlite import SqliteStorage, backup
from runyard.storage.sqlite.backup import copy_database
from runyard.storage.sqlite.connection import connect


def nobody(done: int, pages: int) -> None:
    """Nobody watches."""


def filled(path: Path) -> Path:
    """A database with a finished run on a thread, a pending one, an item and 3 MB beside them; served by nobody."""

    async def fill() -> None:
        storage = SqliteStorage(path)
        await storage.open()
        claim = await claimed(storage, "r1")
        batch, _ = step(claim.attempt, 1)
        await storage.finish(claim.attempt, batch, Ending("completed"), 2)
        await storage.create_run(wish("r2"))
        await storage.put_item("", ("n",), "k", b'"' + b"x" * 3_000_000 + b'"', 1)
        await storage.close()

    asyncio.run(fill())
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return filled(tmp_path / "runyard.db")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_copy_is_one_file_that_can_be_served(source: Path, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    target = tmp_path / "backup" / "copy.db"
    told: list[tuple[int, int]] = []
    holds = copy_database(source, target, overwrite=False, progress=lambda done, pages: told.append((done, pages)))
    assert holds == {"threads": 1, "runs": 2, "unfinished": 1, "items": 1, "bytes": target.stat().st_size}
    assert names(tmp_path / "backup") == {"copy.db"}
    assert len(told) >= 3
    assert told[-1][0] == told[-1][1] == target.stat().st_size // 4096

    async def serve() -> None:
        storage = SqliteStorage(target)
        await storage.open()
        assert (await storage.run("", "r1")).outcome == "completed"
        assert (await storage.snapshot("", "t", "c1")).state == {"n": b"1"}
        assert [claim.run.run_id for claim in await storage.claim({"a": None}, 5, 9)] == ["r2"]
        await storage.close()

    asyncio.run(serve())


def test_writes_between_the_steps_neither_show_nor_make_it_begin_anew(source: Path, tmp_path: Path) -> None:
    writer: Any = connect(source)
    steps: list[int] = []

    def write(done: int, pages: int) -> None:
        steps.append(done)
        writer.execute(
            "INSERT INTO items (owner, namespace, key, value, created_at, updated_at) VALUES ('', x'', ?, x'31', 1, 1)",
            (f"late {len(steps)}",),
        ).fetchall()

    holds = copy_database(source, tmp_path / "copy.db", overwrite=False, progress=write)
    assert holds["items"] == 1
    assert steps == sorted(steps)
    assert len(steps) <= holds["bytes"] // 4096 // backup.PAGES + 1
    writer.close()
    assert copy_database(source, tmp_path / "later.db", overwrite=False, progress=nobody)["items"] == 1 + len(steps)


def test_what_is_in_the_log_only_is_in_the_copy(source: Path, tmp_path: Path) -> None:
    """As it is while a server runs, and after one was killed."""
    writer: Any = connect(source)
    writer.execute("DELETE FROM items").fetchall()
    assert source.with_name("runyard.db-wal").stat().st_size > 0
    assert copy_database(source, tmp_path / "copy.db", overwrite=False, progress=nobody)["items"] == 0
    writer.close()


def test_a_file_that_exists_is_replaced_only_by_force(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(InvalidInput, match="exists already; --force replaces it"):
        copy_database(source, target, overwrite=False, progress=nobody)
    assert target.read_text() == "precious"
    assert copy_database(source, target, overwrite=True, progress=nobody)["runs"] == 2


def test_a_file_that_appears_meanwhile_is_not_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    with pytest.raises(InvalidInput, match="exists already"):
        copy_database(
            source, target, overwrite=False, progress=lambda done, pages: target.write_text("precious") and None
        )
    assert target.read_text() == "precious"


@pytest.mark.parametrize("name", ["runyard.db", "runyard.db-wal", "runyard.db-shm", "runyard.db.lock", "linked.db"])
def test_the_database_itself_is_never_the_target(source: Path, tmp_path: Path, name: str) -> None:
    os.link(source, tmp_path / "linked.db")
    before = source.read_bytes()
    with pytest.raises(InvalidInput, match="that is the database itself"):
        copy_database(source, tmp_path / name, overwrite=True, progress=nobody)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: (folder / "absent.db", folder / "copy.db"), "there is no such file to back up"),
        (lambda folder: (folder / "runyard.db", folder / "absent" / "copy.db"), "there is no folder"),
        (lambda folder: (folder / "runyard.db", folder), "that is a folder"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    source: Path, tmp_path: Path, make: Callable[[Path], tuple[Path, Path]], message: str
) -> None:
    before = names(tmp_path)
    with pytest.raises(InvalidInput, match=message):
        copy_database(*make(tmp_path), overwrite=True, progress=nobody)
    assert names(tmp_path) == before


def test_another_file_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all " * 100)
    apsw.Connection(str(tmp_path / "other.db")).execute("CREATE TABLE mine (x)")
    for name in ("notes.txt", "other.db"):
        with pytest.raises(StorageError):
            copy_database(tmp_path / name, tmp_path / "copy.db", overwrite=False, progress=nobody)
    assert "copy.db" not in names(tmp_path)
    assert not [name for name in names(tmp_path) if "partial" in name]


def test_a_damaged_database_leaves_no_copy_that_looks_sound(source: Path, tmp_path: Path) -> None:
    with source.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 8)
    with pytest.raises(StorageError):
        copy_database(source, tmp_path / "copy.db", overwrite=False, progress=nobody)
    assert names(tmp_path) == {"runyard.db", "runyard.db.lock"} | {
        n for n in names(tmp_path) if n.startswith("runyard.db-")
    }


def test_a_backup_that_breaks_off_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def interrupt(done: int, pages: int) -> None:
        raise KeyboardInterrupt

    before = names(tmp_path)
    (tmp_path / "copy.db").write_text("yesterday's")
    with pytest.raises(KeyboardInterrupt):
        copy_database(source, tmp_path / "copy.db", overwrite=True, progress=interrupt)
    assert names(tmp_path) - {"runyard.db-wal", "runyard.db-shm"} == before | {"copy.db"}
    assert (tmp_path / "copy.db").read_text() == "yesterday's"


def test_the_copy_may_be_read_by_whom_the_database_may(source: Path, tmp_path: Path) -> None:
    source.chmod(0o600)
    copy_database(source, tmp_path / "copy.db", overwrite=False, progress=nobody)
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_writer_with_a_large_log_does_not_wait_for_the_reader_of_a_backup(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above its limit the log is begun anew, which a backup's read transaction forbids: the writer must not wait."""
    from runyard.storage.sqlite import wal

    monkeypatch.setattr(wal, "PAGES_RESTART", 0)
    monkeypatch.setattr(wal, "BUSY_MS", 60_000)

    async def case() -> None:
        storage = SqliteStorage(source)
        await storage.open()
        reader: Any = connect(source, read_only=True)
        reader.execute("BEGIN").fetchall()
        reader.execute("SELECT count(*) FROM items").fetchall()
        for number in range(20):
            await asyncio.wait_for(storage.put_item("", ("n",), f"k{number}", b"{}", 1), 5)
        assert reader.execute("SELECT count(*) FROM items").fetchall() == [(1,)]
        reader.close()
        await storage.close()

    asyncio.run(case())


def test_errors_of_the_copy_are_ours(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup, "_sync", fails)
    with pytest.raises(RunyardError, match=r"the backup to .* failed: .*No space left on device"):
        copy_database(source, tmp_path / "copy.db", overwrite=False, progress=nobody)
    assert not [name for name in names(tmp_path) if "copy.db" in name]
