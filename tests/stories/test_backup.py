"""A backup of a server at work, and the restore that the documentation describes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from server_process import ROOT, STORY_AGENTS, Serve, journal, wait_until


def run_backup(file: Path, database: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runyard", "backup", str(file), "--database", f"sqlite:///{database}", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_what_was_acknowledged_before_a_backup_is_there_after_the_restore(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    book, door = tmp_path / "journal", tmp_path / "door"
    held = server.background.create_run(
        {"agent_id": "steps", "input": {"count": 3, "hold": 1, "path": str(door), "journal": str(book)}}
    )
    wait_until(lambda: journal(book)[-1:] == ["begin 1"], "the second step has begun", server.log_text)
    acknowledged: list[str] = []
    enough = threading.Event()

    def load() -> None:
        while not enough.is_set():
            acknowledged.append(server.background.create_run({"agent_id": "count", "input": len(acknowledged)}).run_id)

    clients = [threading.Thread(target=load) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: len(acknowledged) >= 50, "the server is at work", server.log_text)
        before = list(acknowledged)
        done = run_backup(tmp_path / "backup.db", server.database)
        assert done.returncode == 0, done.stderr
        after = len(acknowledged)
        wait_until(lambda: len(acknowledged) >= after + 20, "it goes on", server.log_text)
    finally:
        enough.set()
        for client in clients:
            client.join()
    # In a pipe there is one sentence, and no bar.
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "is sound" in done.stderr
    server.kill9()
    restored = tmp_path / "restored" / "runyard.db"
    restored.parent.mkdir()
    (tmp_path / "backup.db").rename(restored)
    door.touch()
    again = serve(STORY_AGENTS, settings={"database": f"sqlite:///{restored}"})
    for run_id in before:
        assert again.background.wait_run(run_id).run.status == "success"
    # What executed goes on from its last step.
    ended = again.background.wait_run(held.run_id)
    assert (ended.run.status, ended.run.attempt) == ("success", 2)
    assert ended.values == {"results": [0, 1, 4], "attempt": 2}
    assert journal(book) == ["begin 0", "end 0", "begin 1", "begin 1", "end 1", "begin 2", "end 2"]


def test_a_stopped_and_a_killed_database_are_backed_up_too(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    first = server.background.create_run({"agent_id": "count", "input": 3}).run_id
    server.background.wait_run(first)
    server.kill9()
    assert server.database.with_name("runyard.db-wal").stat().st_size > 0
    done = run_backup(tmp_path / "killed.db", server.database)
    assert done.returncode == 0, done.stderr
    assert "holds 0 threads, 1 run and 0 items" in done.stderr
    again = run_backup(tmp_path / "killed.db", server.database)
    assert again.returncode == 2
    assert "exists already; --force replaces it" in again.stderr
    assert run_backup(tmp_path / "killed.db", server.database, "--force").returncode == 0
