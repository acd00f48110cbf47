"""`runyard copy` as people use it: a killed server's file is moved, the copy is killed too, and all goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
from postgres_server import Postgres

from tests.stories.server_process import ROOT, STORY_AGENTS, ServerProcess, journal, wait_until


def copying(database: Path, target: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "runyard", "copy", f"sqlite:///{database}", target]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_a_copy_that_is_killed_goes_on_and_so_do_runs_threads_and_readers(postgres: Postgres, tmp_path: Path) -> None:
    target = asyncio.run(postgres.emptied())
    old = ServerProcess(tmp_path, STORY_AGENTS).start()
    book, door = tmp_path / "journal", tmp_path / "door"
    wish = {
        "agent_id": "steps",
        "input": {"count": 3, "hold": 1, "path": str(door), "journal": str(book)},
        "stream_mode": "custom",
    }
    thread_id = old.threads.create_thread({}).thread_id
    held = old.background.create_run({**wish, "thread_id": thread_id})
    wait_until(lambda: journal(book)[-1:] == ["begin 1"], "the second step has begun", old.log_text)
    waits = old.background.create_run(
        {"agent_id": "count", "input": 3, "thread_id": thread_id, "multitask_strategy": "enqueue"}
    )
    old.kill9()

    async def killed_in_the_middle() -> None:
        """While one of the tables is locked, the copy stands before it."""
        connection: Any = await asyncpg.connect(target)
        async with connection.transaction():
            await connection.execute("LOCK TABLE runs IN EXCLUSIVE MODE")
            first = copying(old.database, target)
            standing = "SELECT count(*) FROM pg_locks WHERE relation = 'runs'::regclass AND NOT granted"
            while not await connection.fetchval(standing):
                assert first.poll() is None, first.communicate()
                await asyncio.sleep(0.01)
            first.kill()
            first.wait()
        assert await connection.fetchval("SELECT count(*) FROM events") > 0
        assert await connection.fetchval("SELECT count(*) FROM runs") == 0
        await connection.close()

    asyncio.run(killed_in_the_middle())
    second = copying(old.database, target)
    out, told = second.communicate(timeout=30)
    assert second.returncode == 0, told
    # In a pipe there is one sentence, and no bar.
    assert (out, told.count("\n")) == ("", 1)
    assert "holds all" in told
    assert "2 of runs" in told

    folder = tmp_path / "new"
    folder.mkdir()
    new = ServerProcess(folder, STORY_AGENTS, settings={"database": target}).start()
    try:
        door.touch()
        ended = new.background.wait_run(held.run_id)
        assert (ended.run.status, ended.run.attempt, ended.values["results"]) == ("success", 2, [0, 1, 4])
        # What was recorded before the move is not done again.
        done = ["begin 0", "end 0", "begin 1", "begin 1", "end 1", "begin 2", "end 2"]
        assert journal(book) == done
        assert new.background.wait_run(waits.run_id).values["counted"] == 3
        with new.background.stream_run_events(held.run_id) as stream:
            events = list(stream)
        assert [event.data["payload"]["done"] for event in events if event.event == "custom"] == [0, 1, 2]
        ids = [int(event.id) for event in events if event.id]
        assert ids == sorted(set(ids))
    finally:
        new.end()
        old.end()
