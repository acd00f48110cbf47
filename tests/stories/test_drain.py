"""SIGTERM: streams end cleanly, what runs goes back at no cost, and the next server goes on with it."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

from ap_client.sse import EventParser
from server_process import STORY_AGENTS, Serve, journal, wait_until


def test_sigterm_ends_streams_and_gives_the_attempt_back(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS, settings={"drain_grace": 0.2})
    book, door = tmp_path / "journal", tmp_path / "door"
    wish = {
        "agent_id": "steps",
        "input": {"count": 3, "hold": 1, "path": str(door), "journal": str(book)},
        "stream_mode": "custom",
    }
    run = server.background.create_run(wish)
    wait_until(lambda: journal(book)[-1:] == ["begin 1"], "the second step has begun", server.log_text)
    reader = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    reader.request("GET", f"/runs/{run.run_id}/stream?since=0")
    stream = reader.getresponse()

    server.terminate()
    # Reading to the end raises IncompleteRead where the connection is cut instead of closed in order.
    text = stream.read()
    assert server.wait() == 0, server.log_text()
    events = list(EventParser().feed(text))
    assert text.endswith(b"\n\n")
    assert [event.event for event in events[:2]] == ["metadata", "custom"]
    # The run goes on, and so the stream must not say that it has ended.
    assert [event for event in events if event.event == "end" and event.data["status"] != "pending"] == []

    door.touch()
    server.restart()
    ended = server.background.wait_run(run.run_id)
    assert (ended.run.status, ended.run.attempt) == ("success", 1)
    assert journal(book) == ["begin 0", "end 0", "begin 1", "begin 1", "end 1", "begin 2", "end 2"]


def test_a_run_that_ends_within_the_grace_period_is_finished(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS, settings={"drain_grace": 15})
    door = tmp_path / "door"
    streamed = server.runs.create_and_stream_run_events(
        {"agent_id": "gate", "input": {"path": str(door)}, "stream_mode": "custom"}, reconnect=False
    )
    for event in streamed:
        if event.event == "custom":
            server.terminate()
            door.touch()
    assert server.wait() == 0, server.log_text()
    server.restart()
    ended = server.background.wait_run(str(streamed.run_id))
    assert (ended.run.status, ended.run.attempt) == ("success", 1)


def test_a_server_that_drains_takes_no_more_runs(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS, settings={"drain_grace": 10})
    door = tmp_path / "door"
    streamed = server.runs.create_and_stream_run_events(
        {"agent_id": "gate", "input": {"path": str(door)}, "stream_mode": "custom"}, reconnect=False
    )
    assert any(event.event == "custom" for event in streamed)
    late = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    assert asked(late, "GET", "/ready") == 200
    server.terminate()
    # The door is shut, so that the drain lasts: a connection from before is told, a new one is refused.
    wait_until(lambda: asked(late, "GET", "/ready") == 503, "the server drains", server.log_text)
    wish = {"agent_id": "gate", "input": {"path": str(door)}}
    assert asked(late, "POST", "/runs", wish) == 503
    door.touch()
    assert [event.event for event in streamed][-1:] == ["end"]
    assert server.wait() == 0, server.log_text()


def asked(connection: http.client.HTTPConnection, method: str, path: str, body: object = None) -> int:
    """The status of an answer on a connection that stays open."""
    connection.request(method, path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status
