"""API servers and workers as processes of their own, on one PostgreSQL: some are killed, some stop for a while."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres

from tests.stories.server_process import STORY_AGENTS, ServerProcess, journal, wait_until

LEASE_S = 6
GOES_ON_S = 10.0
"""Within this time the runs of a worker that is gone go on elsewhere: that is promised, and so it is held here."""


class Processes:
    """Servers of one database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder
        self.made: list[ServerProcess] = []

    def api(self) -> ServerProcess:
        return self._start("serve", workers=0)

    def worker(self) -> ServerProcess:
        return self._start("worker", STORY_AGENTS, lease=LEASE_S)

    def _start(self, command: str, *targets: Path, **settings: object) -> ServerProcess:
        folder = self._folder / f"server-{len(self.made)}"
        folder.mkdir()
        server = ServerProcess(folder, *targets, settings={**settings, "database": self.url})
        server.command = [command if part == "serve" else part for part in server.command]
        self.made.append(server)
        return server.start()

    def log_text(self) -> str:
        return "\n".join(server.log_text() for server in self.made)


@pytest.fixture
def processes(postgres: Postgres, tmp_path: Path) -> Iterator[Processes]:
    made = Processes(asyncio.run(postgres.emptied()), tmp_path)
    yield made
    for server in made.made:
        if server.process is not None and server.process.poll() is None:
            server.process.send_signal(signal.SIGCONT)
        server.end()


class Seen:
    """What a client sees of a run's stream, in a thread of its own: ids and events."""

    def __init__(self, server: ServerProcess, run_id: str) -> None:
        self.events: list[Any] = []

        def read() -> None:
            with server.background.stream_run_events(run_id) as stream:
                self.events += stream

        self._reading = threading.Thread(target=read)
        self._reading.start()

    def end(self) -> list[Any]:
        self._reading.join(30)
        assert not self._reading.is_alive(), "the stream has not ended"
        return self.events


def held(processes: Processes, api: ServerProcess, tmp_path: Path) -> tuple[Any, Path, Path]:
    """A run that is held in its third step."""
    book, door = tmp_path / "journal", tmp_path / "door"
    wish = {
        "agent_id": "steps",
        "input": {"count": 4, "hold": 2, "path": str(door), "journal": str(book)},
        "stream_mode": "custom",
    }
    run = api.background.create_run(wish)
    wait_until(lambda: journal(book)[-1:] == ["begin 2"], "the third step has begun", processes.log_text)
    return run, book, door


def all_once(events: list[Any], attempts: list[int]) -> None:
    ids = [int(event.id) for event in events if event.id]
    assert ids == sorted(set(ids))
    assert [event.data["attempt"] for event in events if event.event == "metadata"] == attempts
    assert [event.data["payload"]["done"] for event in events if event.event == "custom"] == [0, 1, 2, 3]
    assert events[-1].event == "end"


def test_runs_of_a_killed_worker_go_on_elsewhere_and_readers_see_everything_once(
    processes: Processes, tmp_path: Path
) -> None:
    a, b = processes.api(), processes.api()
    first = processes.worker()
    run, book, door = held(processes, a, tmp_path)
    seen = [Seen(server, run.run_id) for server in (a, b)]
    processes.worker()
    killed = time.monotonic()
    first.kill9()
    wait_until(lambda: journal(book).count("begin 2") == 2, "the step is done again elsewhere", processes.log_text)
    assert time.monotonic() - killed < GOES_ON_S
    door.touch()
    ended = b.background.wait_run(run.run_id)
    assert (ended.run.status, ended.run.attempt) == ("success", 2)
    assert ended.values == {"results": [0, 1, 4, 9], "attempt": 2}
    done = ["begin 0", "end 0", "begin 1", "end 1", "begin 2"]
    assert journal(book) == [*done, "begin 2", "end 2", "begin 3", "end 3"]
    for each in seen:
        all_once(each.end(), [1, 2])


def test_a_worker_that_stood_still_for_longer_than_its_lease_is_refused(processes: Processes, tmp_path: Path) -> None:
    a = processes.api()
    first = processes.worker()
    run, book, door = held(processes, a, tmp_path)
    seen = Seen(a, run.run_id)
    assert first.process is not None
    os.kill(first.process.pid, signal.SIGSTOP)
    processes.worker()
    wait_until(lambda: journal(book).count("begin 2") == 2, "the step is done again elsewhere", processes.log_text)
    os.kill(first.process.pid, signal.SIGCONT)
    wait_until(lambda: "taken for dead" in first.log_text(), "the worker has noticed", processes.log_text)
    door.touch()
    ended = a.background.wait_run(run.run_id)
    assert (ended.run.status, ended.run.attempt, ended.values["attempt"]) == ("success", 2, 2)
    all_once(seen.end(), [1, 2])
    again = a.background.create_run({"agent_id": "count", "input": 3})
    assert a.background.wait_run(again.run_id).values == {"counted": 3}


def test_a_cancel_by_one_server_stops_a_run_that_another_made_and_a_worker_executes(
    processes: Processes, tmp_path: Path
) -> None:
    a, b = processes.api(), processes.api()
    processes.worker()
    run, book, _ = held(processes, a, tmp_path)
    seen = Seen(b, run.run_id)
    b.background.cancel_run(run.run_id, wait=True)
    assert a.background.get_run(run.run_id).status == "interrupted"
    events = seen.end()
    assert (events[-1].event, events[-1].data["status"]) == ("end", "interrupted")
    assert journal(book)[-1] == "begin 2"


def test_servers_and_workers_that_stop_in_order_give_back_what_executes_at_no_cost(
    processes: Processes, tmp_path: Path
) -> None:
    """Their leases would hold for an hour: only who gives a run back lets others have it."""
    order = {"lease": 3600, "drain_grace": 0.2}
    server = processes._start("serve", STORY_AGENTS, **order)
    run, book, door = held(processes, server, tmp_path)
    worker = processes._start("worker", STORY_AGENTS, **order)
    server.terminate()
    assert server.wait() == 0, server.log_text()
    wait_until(lambda: journal(book).count("begin 2") == 2, "the worker goes on with it", processes.log_text)
    assert [worker.get(path)[0] for path in ("/ok", "/ready", "/runs", "/docs")] == [200, 200, 404, 404]
    with urllib.request.urlopen(f"{worker.url}/metrics", timeout=5) as answer:
        metrics = answer.read().decode()
    assert "runyard_attempts_executing 1.0" in metrics
    assert "runyard_ready 1.0" in metrics

    server.restart()
    worker.terminate()
    assert worker.wait() == 0, worker.log_text()
    wait_until(lambda: journal(book).count("begin 2") == 3, "the server goes on with it", processes.log_text)
    door.touch()
    ended = server.background.wait_run(run.run_id)
    assert (ended.run.status, ended.run.attempt) == ("success", 1)


def test_one_server_alone_refuses_to_be_one_of_several(tmp_path: Path) -> None:
    for command, told in (("worker", "takes a PostgreSQL database"), ("serve", "takes a PostgreSQL database")):
        folder = tmp_path / command
        folder.mkdir()
        settings = {"workers": 0} if command == "serve" else {}
        server = ServerProcess(folder, STORY_AGENTS, settings=settings)
        server.command = [command if part == "serve" else part for part in server.command]
        server.spawn()
        assert server.wait() == 2
        assert told in server.log_text()
        server.end()
