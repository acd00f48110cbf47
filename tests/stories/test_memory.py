"""What code hands over is too much: its run ends, the memory comes back, and the server goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from server_process import Serve, ServerProcess, wait_until

AGENTS = Path(__file__).with_name("nonsense_agents.py")


def rss(server: ServerProcess) -> int:
    """Bytes of memory that the server holds now."""
    assert server.process is not None
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(server.process.pid)])) * 1024


def works(server: ServerProcess) -> None:
    assert server.runs.create_and_wait_run({"agent_id": "sound"}).values == {"output": "fine"}


@pytest.mark.parametrize("agent_id", ["gives_100_mb", "yields_100_mb"])
def test_a_value_of_100_mb_ends_its_run_and_its_memory_comes_back(serve: Serve, agent_id: str) -> None:
    server = serve(AGENTS)
    works(server)
    before = rss(server)
    for _ in range(2):
        run = server.background.create_run({"agent_id": agent_id})
        server.background.wait_run(run.run_id)
        found = server.get(f"/runs/{run.run_id}")[1]
        assert (found["status"], found["error"]["code"]) == ("error", "value_too_large")
        assert "max_value_bytes allows 16000000" in found["error"]["message"]
    works(server)
    wait_until(lambda: rss(server) - before < 40_000_000, "the memory is given back", lambda: str(rss(server) - before))


@pytest.mark.parametrize("agent_id", ["pours", "pours_blocking"])
def test_memory_is_bounded_while_code_emits_as_fast_as_it_can(serve: Serve, agent_id: str) -> None:
    server = serve(AGENTS)
    works(server)
    before = rss(server)
    run = server.background.create_run({"agent_id": agent_id, "input": 30_000})
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, rss(server) - before)
        return server.get(f"/runs/{run.run_id}")[1]["status"] == "success"

    wait_until(ended, "the run has ended")
    assert most < 60_000_000
    works(server)
