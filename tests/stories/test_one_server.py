"""One server per database file, and what a person is told who starts a second one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from server_process import EXAMPLES, Serve, ServerProcess


def refused(server: ServerProcess) -> str:
    """What a server says that does not start; it must end with code 1 and without a traceback."""
    ended = subprocess.run(server.command, cwd=server.folder, capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_a_second_server_on_the_same_file_is_refused(serve: Serve, tmp_path: Path) -> None:
    server = serve(EXAMPLES / "echo.py")
    second = ServerProcess(server.folder, EXAMPLES / "echo.py")
    message = refused(second)
    assert str(server.database) in message
    assert server.runs.create_and_wait_run({"input": 1}).values == {"echo": 1}


def test_kill_9_gives_the_file_free(serve: Serve) -> None:
    server = serve(EXAMPLES / "echo.py")
    server.kill9()
    server.restart()
    assert server.runs.create_and_wait_run({"input": 1}).values == {"echo": 1}


def test_a_port_that_is_taken_is_named(serve: Serve, tmp_path: Path) -> None:
    server = serve(EXAMPLES / "echo.py")
    second = ServerProcess(tmp_path, EXAMPLES / "echo.py")
    second.command[second.command.index("--port") + 1] = str(server.port)
    assert str(server.port) in refused(second)
