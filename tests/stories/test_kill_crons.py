"""A server with a cron that dies, and the one after it: no time fires twice, and what was missed makes one run."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from itertools import pairwise
from typing import Any

from server_process import STORY_AGENTS, Serve, ServerProcess, wait_until


def post(server: ServerProcess, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def fired(server: ServerProcess) -> list[tuple[float, float]]:
    """The times of all firings, in seconds, each with the time at which its run was made: its id tells the former."""
    found = post(server, "/runs/search", {"limit": 1000})
    return sorted(
        (int(run["run_id"].replace("-", "")[:12], 16) / 1000, datetime.fromisoformat(run["created_at"]).timestamp())
        for run in found
    )


def test_each_firing_makes_one_run_through_kill_9(serve: Serve) -> None:
    server = serve(STORY_AGENTS)
    wish = {"assistant_id": "count", "input": 1, "schedule": "* * * * * *", "on_run_completed": "keep"}
    post(server, "/langgraph/runs/crons", wish)
    wait_until(lambda: bool(fired(server)), "the cron has fired", server.log_text)
    server.kill9()
    server.restart()
    before = len(fired(server))
    wait_until(lambda: len(fired(server)) >= before + 2, "it goes on", server.log_text)

    found = fired(server)
    assert all(at.is_integer() for at, _ in found)
    for (at, made), (next_at, _) in pairwise(found):
        assert at < made < next_at, "a time that passed before the last run was made is not made up for again"
    wait_until(lambda: all(run["status"] == "success" for run in post(server, "/runs/search", {})), "all have ended")
