"""One server for the room, with its dialect at `URL/langgraph`; the clients are LangGraph's own SDK."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from dialect_server import Dialect, dialect_server  # noqa: E402


@pytest.fixture(scope="session")
def dialect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dialect]:
    """A server with the agents and graphs of `dialect_agents`."""
    with dialect_server(tmp_path_factory.mktemp("dialect")) as found:
        yield found
