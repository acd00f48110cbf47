"""A run's life through the real client, and what of it outlives the server."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from ap_client import ApiException
from server_process import STORY_AGENTS, Serve, ServerProcess


def events_of(server: ServerProcess, run_id: str, since: int | str = 0) -> list[tuple[str | None, str, object]]:
    with server.background.stream_run_events(run_id, since=since) as events:
        return [(event.id, event.event, event.data) for event in events]


def wish(agent_id: str, input: object = None, **more: object) -> dict[str, object]:
    modes = ["updates", "messages", "custom", "values"]
    return {"agent_id": agent_id, "input": input, "stream_mode": modes, **more}


def test_start_run_stream_wait_cancel(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    door = tmp_path / "door"

    waited = server.runs.create_and_wait_run(wish("count", 2))
    assert (waited.run.status, waited.values) == ("success", {"counted": 2})

    streamed = server.runs.create_and_stream_run_events(wish("gate", {"path": str(door)}))
    names: list[str] = []
    for event in streamed:
        names.append(event.event)
        if event.event == "custom":
            door.touch()
    assert (names[0], names[-1]) == ("metadata", "end")
    assert event.data["status"] == "success"

    held = server.background.create_run(wish("gate", {"path": str(tmp_path / "never")}))
    assert held.status == "pending"
    with server.background.stream_run_events(held.run_id) as events:
        assert any(event.event == "custom" for event in events)
    server.background.cancel_run(held.run_id, wait=True)
    cancelled = server.background.wait_run(held.run_id)
    assert (cancelled.run.status, cancelled.run.outcome) == ("interrupted", "cancelled")


def test_an_idempotency_key_outlives_the_server(serve: Serve) -> None:
    server = serve(STORY_AGENTS)
    headers = {"Idempotency-Key": "order-17"}
    first = server.background.create_run(wish("count", 1), _headers=headers)
    server.kill9()
    server.restart()
    again = server.background.create_run(wish("count", 1), _headers=headers)
    assert again.run_id == first.run_id
    with pytest.raises(ApiException) as refused:
        server.background.create_run(wish("count", 2), _headers=headers)
    assert (refused.value.status, refused.value.code) == (422, "idempotency_mismatch")


def test_events_are_replayed_by_cursor_after_a_restart_without_gap_or_repetition(serve: Serve) -> None:
    server = serve(STORY_AGENTS)
    run = server.background.create_run(wish("count", 20))
    before = events_of(server, run.run_id)
    assert [data["payload"]["number"] for _, name, data in before if name == "custom"] == list(range(20))
    server.terminate()
    assert server.wait() == 0
    server.restart()
    assert events_of(server, run.run_id) == before
    for position in (0, 7, len(before) - 2):
        cursor = before[position][0]
        assert cursor is not None
        assert events_of(server, run.run_id, since=cursor) == before[position + 1 :]


def test_an_open_question_outlives_the_server(serve: Serve) -> None:
    server = serve(STORY_AGENTS)
    thread_id = str(uuid4())
    asked = server.runs.create_and_wait_run(wish("ask", thread_id=thread_id, if_not_exists="create"))
    assert (asked.run.status, asked.interrupts[0]["value"]) == ("interrupted", {"question": "which colour?"})
    server.kill9()
    server.restart()
    assert server.threads.get_thread(thread_id).status == "interrupted"
    done = server.runs.create_and_wait_run({"agent_id": "ask", "thread_id": thread_id, "command": {"resume": "green"}})
    assert (done.run.status, done.values) == ("success", {"answer": "green"})
