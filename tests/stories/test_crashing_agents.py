"""Agents in a process of their own: it crashes, its server is killed, a terminal interrupts both."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from server_process import STORY_AGENTS, Serve, ServerProcess, journal, wait_until

AGENTS = Path(__file__).with_name("crashing_agents.py")


def pid_of_agents(server: ServerProcess, nth: int = -1) -> int:
    """The process of the agents, as the log tells it."""
    pids = re.findall(r"process ready process=\S+ pid=(\d+)", server.log_text())
    return int(pids[nth])


def is_there(pid: int) -> bool:
    """Whether it executes; one that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_agent_that_crashes_costs_attempts_and_never_the_server(serve: Serve, tmp_path: Path) -> None:
    server = serve(AGENTS, STORY_AGENTS, settings={"processes": 1})
    assert server.process is not None
    pid = server.process.pid
    book, door = tmp_path / "journal", tmp_path / "door"
    held = server.background.create_run(
        {"agent_id": "steps", "input": {"count": 3, "hold": 1, "path": str(door), "journal": str(book)}}
    )
    wait_until(lambda: journal(book)[-1:] == ["begin 1"], "the second step has begun", server.log_text)
    crashing = server.background.create_run({"agent_id": "crashes"})
    wait_until(lambda: "process ended" in server.log_text(), "their process has crashed", server.log_text)
    door.touch()
    crashed = server.background.wait_run(crashing.run_id)
    assert (crashed.run.status, crashed.run.attempt) == ("error", 3)
    error = crashed.run.to_dict()["error"]
    assert (error["code"], "signal 11" in error["message"]) == ("process_lost", True)
    assert "Fatal Python error: Segmentation fault" in server.log_text()  # with the line of the code

    ended = server.background.wait_run(held.run_id)
    assert ended.run.status == "success"
    # It was in that process at most twice; what it had done it did not do again.
    assert ended.values == {"results": [0, 1, 4], "attempt": ended.run.attempt}
    assert ended.run.attempt <= 3
    assert journal(book).count("begin 0") == 1
    assert server.process.poll() is None
    assert server.process.pid == pid
    assert server.background.wait_run(server.background.create_run({"agent_id": "count", "input": 2}).run_id).values


@pytest.mark.parametrize("agent_id", ["steps", "holds_the_lock"])
def test_kill_9_of_the_server_leaves_no_orphan_and_loses_nothing(serve: Serve, tmp_path: Path, agent_id: str) -> None:
    if agent_id == "holds_the_lock" and sys.platform != "linux":
        return  # elsewhere such a process ends when its code lets go of the lock
    server = serve(AGENTS, STORY_AGENTS, settings={"processes": 1, "log_level": "debug"})
    pid = pid_of_agents(server)
    book, door = tmp_path / "journal", tmp_path / "door"
    steps = {"count": 2, "hold": 1, "path": str(door), "journal": str(book)}
    run = server.background.create_run({"agent_id": "steps", "input": steps})
    wait_until(lambda: journal(book)[-1:] == ["begin 1"], "the second step has begun", server.log_text)
    if agent_id == "holds_the_lock":
        lock = tmp_path / "lock"
        server.background.create_run({"agent_id": agent_id, "input": str(lock)})
        wait_until(lambda: journal(lock) == ["begun"], "the lock is held", server.log_text)
    server.kill9()
    wait_until(lambda: not is_there(pid), "the agents' process has ended", server.log_text)
    assert journal(book)[-1] == "begin 1"

    door.touch()
    server.restart()
    ended = server.background.wait_run(run.run_id)
    assert (ended.run.status, ended.values) == ("success", {"results": [0, 1], "attempt": 2})
    assert journal(book) == ["begin 0", "end 0", "begin 1", "begin 1", "end 1"]


def test_signals_to_all_processes_end_the_agents_only_after_the_drain(serve: Serve, tmp_path: Path) -> None:
    server = serve(AGENTS, STORY_AGENTS, settings={"processes": 1, "drain_grace": 15, "log_level": "debug"})
    assert server.process is not None
    door = tmp_path / "door"
    stream = server.runs.create_and_stream_run_events(
        {"agent_id": "gate", "input": {"path": str(door)}, "stream_mode": "custom"}, reconnect=False
    )
    logs = server.background.create_run({"agent_id": "logs"})
    for event in stream:
        if event.event == "custom":
            server.background.wait_run(logs.run_id)
            # As a terminal does at Ctrl-C, and a service manager at its stop.
            os.kill(pid_of_agents(server), signal.SIGINT)
            os.kill(pid_of_agents(server), signal.SIGTERM)
            server.terminate()
            door.touch()
    assert (event.event, event.data["status"]) == ("end", "success")
    assert server.wait() == 0, server.log_text()
    assert not is_there(pid_of_agents(server))
    # And what an agent logs in its process tells its run.
    (line,) = [line for line in server.log_text().splitlines() if "a word of mine" in line]
    assert f"WARNING mine: a word of mine run_id={logs.run_id}" in line
