"""A server with a cron that dies, and the one after it: no time fires twice, and what was missed makes one run."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from server_process import STORY_AGENTS, Serve, ServerProcess, wait_until

MISSED_S = 2
"""Firings that nobody is there for."""


def firings(server: ServerProcess) -> list[int]:
    """The times, in seconds, of all runs that the cron has made: a run's id tells its firing's."""
    found = post(server, "/runs/search", {"limit": 1000})
    return sorted(int(run["run_id"].replace("-", "")[:12], 16) for run in found)


def post(server: ServerProcess, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def test_each_firing_makes_one_run_through_kill_9(serve: Serve) -> None:
    server = serve(STORY_AGENTS)
    wish = {"assistant_id": "count", "input": 1, "schedule": "* * * * * *", "on_run_completed": "keep"}
    post(server, "/langgraph/runs/crons", wish)
    wait_until(lambda: bool(firings(server)), "the cron has fired", server.log_text)
    server.kill9()
    killed = time.time() * 1000
    wait_until(lambda: time.time() * 1000 > killed + 1000 * MISSED_S, "the time has passed")
    restarted = time.time() * 1000
    server.restart()
    wait_until(lambda: firings(server)[-1] > restarted, "it goes on", server.log_text)

    found = firings(server)
    assert len(found) == len(set(found))
    assert all(at % 1000 == 0 for at in found)
    missed = [at for at in found if killed < at < restarted]
    assert len(missed) <= 1, "only the first one that was missed is made up for"
    wait_until(lambda: all(run["status"] == "success" for run in post(server, "/runs/search", {})), "all have ended")
