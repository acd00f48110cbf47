"""Agents in processes of their own: what becomes of runs when code ends its process, or does not end at all. That they
do all that agents on threads do is in the contract of the Channel."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live_server import Server, play

from runyard import agent
from runyard.errors import Unsupported
from runyard.runtime.processes import ProcessHost, pause_after
from runyard.server import create_app
from runyard.settings import Settings

AGENTS = Path(__file__).with_name("process_agents.py")

Serving = Callable[..., AbstractAsyncContextManager[Server]]


@pytest.fixture
def serving(tmp_path: Path) -> Serving:
    """`async with serving(**settings) as s`: a server with one process of agents, which may still be starting."""

    @asynccontextmanager
    async def start(*targets: Path, **settings: Any) -> AsyncGenerator[Server]:
        given = {"database": f"sqlite:///{tmp_path}/runyard.db", "processes": 1, "drain_grace": 0.1, **settings}
        app = create_app(Settings(agents=tuple(map(str, targets or (AGENTS,))), **given))
        await app.engine.start()
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
                yield Server(app, http)
        finally:
            await app.engine.close()

    return start


def host_of(s: Server) -> ProcessHost:
    host = s.app.engine._host  # pyright: ignore[reportPrivateUsage]
    assert isinstance(host, ProcessHost)
    return host


async def pid_of(s: Server) -> int:
    """That of the process in which runs execute now."""
    run = await s.run(agent_id="sound")
    return (await s.wait(run["run_id"]))["values"]["pid"]


async def begin(s: Server, agent_id: str, door: Path) -> tuple[str, int]:
    """A run that executes when this returns, `held` until the door is there; its id, and that of its process."""
    run_id = (await s.run(agent_id=agent_id, input=str(door)))["run_id"]
    told = Path(f"{door}{run_id}")
    await s.until(told.exists)
    return run_id, int(told.read_text())  # noqa: ASYNC240


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# code that ends its process


@pytest.mark.parametrize(
    ("how", "told"),
    [("SIGSEGV", "signal 11"), ("exit 0", "exit code 0")],
)
def test_code_that_ends_its_process_costs_an_attempt_of_those_in_it_and_nothing_else(
    serving: Serving, tmp_path: Path, how: str, told: str
) -> None:
    async def story() -> None:
        async with serving() as s:
            door = tmp_path / "door"
            neighbour, pid = await begin(s, "held", door)
            ended = await s.wait((await s.run(agent_id="dies", input=how))["run_id"])
            assert (ended["run"]["status"], ended["run"]["error"]["code"]) == ("error", "process_lost")
            assert told in ended["run"]["error"]["message"]
            assert (await s.get("/ok")).status_code == 200
            assert await pid_of(s) != pid
            door.touch()
            values = (await s.wait(neighbour))["values"]
            assert values["attempt"] == 2
            assert values["pid"] != pid
            text = (await s.get("/metrics")).text
            assert 'runyard_attempts_lost_total{reason="process_lost"} 2.0' in text

    play(story())


def test_a_run_that_ends_its_process_again_has_one_to_itself_then(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving() as s:
            door = tmp_path / "door"
            neighbour, _ = await begin(s, "held", door)
            ended = await s.wait((await s.run(agent_id="dies_twice", input="SIGKILL"))["run_id"])
            assert (ended["run"]["attempt"], ended["run"]["error"]["code"]) == (2, "process_lost")
            door.touch()
            assert (await s.wait(neighbour))["values"]["attempt"] == 2
            # Nothing is left of the process that it had.
            await s.until(lambda: len(host_of(s)._on) == 1)  # pyright: ignore[reportPrivateUsage]

    play(story())


def test_a_process_that_ends_is_missed_though_another_holds_its_files(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving() as s:
            door = tmp_path / "door"
            ended = await s.wait((await s.run(agent_id="forks_and_dies", input=str(door)))["run_id"])
            assert ended["run"]["error"]["code"] == "process_lost"
            door.touch()

    play(story())


def test_a_run_whose_process_ends_while_it_is_cancelled_is_cancelled(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving() as s:
            run_id, pid = await begin(s, "stubborn", tmp_path / "door")
            await s.post(f"/runs/{run_id}/cancel")
            os.kill(pid, 9)
            ended = await s.wait(run_id)
            assert (ended["run"]["status"], ended["run"]["outcome"]) == ("interrupted", "cancelled")

    play(story())


# code that does not end


def test_code_that_does_not_stop_costs_its_process_where_nothing_else_executes_there(
    serving: Serving, tmp_path: Path
) -> None:
    async def story() -> None:
        async with serving(cancel_grace=0.05) as s:
            run_id, pid = await begin(s, "stubborn", tmp_path / "door")
            await s.post(f"/runs/{run_id}/cancel")
            await s.until(lambda: not is_there(pid))
            await s.until(lambda: s.app.engine.worker.executing == 0)
            assert (await s.get(f"/runs/{run_id}")).json()["outcome"] == "abandoned"
            assert await pid_of(s) != pid

    play(story())


def test_code_that_does_not_stop_costs_no_other_run_its_process(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(cancel_grace=0.05) as s:
            door = tmp_path / "door"
            neighbour, pid = await begin(s, "held", door)
            run_id, own = await begin(s, "stubborn", door)
            assert own == pid
            answer = await s.post(f"/runs/{run_id}/cancel?wait=true")
            assert (answer.status_code, answer.json()["code"]) == (504, "still_stopping")
            assert await pid_of(s) == pid
            door.touch()
            assert (await s.wait(neighbour))["values"] == {"attempt": 1, "pid": pid}
            await s.until(lambda: not is_there(pid))

    play(story())


def test_a_server_that_ends_takes_code_with_it_that_does_not(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving() as s:
            _, pid = await begin(s, "stubborn", tmp_path / "door")
            assert await s.app.engine.close() is False
            assert not is_there(pid)

    play(story())


# starting


def test_a_server_is_ready_when_its_process_is_and_keeps_runs_until_then(serving: Serving) -> None:
    async def story() -> None:
        async with serving() as s:
            answer = await s.get("/ready")
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["the processes of agents are starting"])
            # The time until then is not the run's.
            ended = await s.wait((await s.run(agent_id="hurried"))["run_id"])
            assert ended["values"] == {"output": "in time"}
            assert (await s.get("/ready")).status_code == 200

    play(story())


def test_agents_that_cannot_be_loaded_any_more_are_told_and_their_runs_wait(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        code = tmp_path / "own.py"
        code.write_text("from runyard import agent\n\n@agent\nasync def own() -> str:\n    return 'here'\n")
        async with serving(code) as s:
            code.write_text("raise ValueError('not now')\n")
            run = await s.run(agent_id="own")
            await s.until(lambda: "not now" in (host_of(s).trouble or ""))
            answer = await s.get("/ready")
            assert answer.status_code == 503
            assert "ValueError: not now" in answer.json()["reasons"][0]
            await s.post(f"/runs/{run['run_id']}/cancel?wait=true")
            assert (await s.wait(run["run_id"]))["run"]["outcome"] == "cancelled"

    play(story())


def test_processes_that_end_at_once_are_started_later_and_later() -> None:
    assert [pause_after(quick) for quick in (0, 1, 2, 3, 4, 5)] == [0, 0, 0.1, 0.2, 0.4, 0.8]
    assert pause_after(1000) == 10.0


def test_two_processes_share_the_runs(serving: Serving, tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(processes=2) as s:
            await s.until(lambda: all(p.state == "ready" for p in host_of(s)._on))  # pyright: ignore
            door = tmp_path / "door"
            held = await asyncio.gather(*(begin(s, "held", door) for _ in range(6)))
            pids = [pid for _, pid in held]
            assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3]
            door.touch()
            assert [(await s.wait(run_id))["values"]["attempt"] for run_id, _ in held] == [1] * 6

    play(story())


def test_agents_that_are_objects_cannot_be_in_other_processes(tmp_path: Path) -> None:
    @agent
    async def here() -> None: ...

    with pytest.raises(Unsupported, match="processes is 1, but agents were given as objects"):
        create_app(Settings(processes=1, database=f"sqlite:///{tmp_path}/runyard.db"), agents=[here])
