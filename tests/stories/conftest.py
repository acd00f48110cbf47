"""Real servers for stories: each on a free port, its files in the test's folder, none left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stories.server_process import EXAMPLES, Serve, ServerProcess


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """`serve(*targets, env=..., settings=...)` starts a server in the test's folder and waits until it is ready."""
    made: list[ServerProcess] = []

    def start(*targets: Path | str, **more: Any) -> ServerProcess:
        folder = tmp_path / f"server-{len(made)}"
        folder.mkdir()
        made.append(ServerProcess(folder, *targets, **more))
        return made[-1].start()

    yield start
    for server in made:
        server.end()


@pytest.fixture(scope="session")
def examples_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server with the example agents, for stories that leave it as they found it."""
    server = ServerProcess(tmp_path_factory.mktemp("examples-server"), EXAMPLES)
    yield server.start()
    server.end()
