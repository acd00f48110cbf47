"""Where the agents of a server run, and for how long its lease holds: by its database, unless it is told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runyard import agent
from runyard.errors import InvalidInput, Unsupported
from runyard.runtime.channel import ThreadHost
from runyard.runtime.processes import ProcessHost
from runyard.server import App, create_app
from runyard.settings import Settings

AGENTS = (str(Path(__file__).with_name("process_agents.py")),)
SHARED = "postgresql://localhost/none"
"""Nobody connects to it."""


@agent
async def here() -> None: ...


def place_and_lease(app: App) -> tuple[type, float]:
    return type(app.engine._host), app.engine.terms.lease  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("given", "place", "lease"),
    [
        ({}, ProcessHost, 6.0),
        ({"processes": 2}, ProcessHost, 6.0),
        ({"in_process": True}, ThreadHost, 60.0),
        ({"processes": 0}, ThreadHost, 60.0),
        ({"in_process": True, "lease": 9.0}, ThreadHost, 9.0),
        ({"lease": 30.0}, ProcessHost, 30.0),
    ],
)
def test_a_server_of_several_has_its_agents_apart_and_a_short_lease(
    given: dict[str, Any], place: type, lease: float
) -> None:
    assert place_and_lease(create_app(Settings(database=SHARED, agents=AGENTS, **given))) == (place, lease)


def test_a_server_of_a_file_has_its_agents_with_it(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/runyard.db"
    assert place_and_lease(create_app(Settings(database=database, agents=AGENTS)))[0] is ThreadHost
    assert place_and_lease(create_app(Settings(database=database, agents=AGENTS, processes=1)))[0] is ProcessHost


def test_agents_that_are_objects_stay_where_they_are() -> None:
    assert place_and_lease(create_app(Settings(database=SHARED), agents=[here])) == (ThreadHost, 60.0)
    with pytest.raises(Unsupported, match="processes is 1, but agents were given as objects"):
        create_app(Settings(database=SHARED, processes=1), agents=[here])


def test_agents_cannot_be_in_two_places() -> None:
    with pytest.raises(InvalidInput, match="in_process is true, and processes is 1"):
        create_app(Settings(database=SHARED, agents=AGENTS, in_process=True, processes=1))
