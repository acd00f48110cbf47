"""A server whose agents take long to load says that it lives, and that it is not ready."""

from __future__ import annotations

from pathlib import Path

from server_process import ServerProcess, wait_until

SLOW = """
import time
from pathlib import Path

from runyard import agent

while not (Path(__file__).parent / "door").exists():
    time.sleep(0.005)


@agent
def plain():
    return {}
"""


def test_ok_is_answered_while_agents_are_loaded_and_ready_waits(tmp_path: Path) -> None:
    target = tmp_path / "slow.py"
    target.write_text(SLOW)
    server = ServerProcess(tmp_path, target)
    try:
        server.spawn()
        wait_until(lambda: server.get("/ok") == (200, {"ok": True}), "the process answers", server.log_text)
        assert server.get("/ready")[0] == 503
        assert server.get("/agents/plain")[0] == 503
        (tmp_path / "door").touch()
        wait_until(lambda: server.get("/ready")[0] == 200, "the server is ready", server.log_text)
        assert server.get("/agents/plain")[0] == 200
    finally:
        server.end()
