"""A server that dies in the middle of a step, and the one that goes on after it."""

from __future__ import annotations

from pathlib import Path

from server_process import STORY_AGENTS, Serve, journal, wait_until


def test_a_run_goes_on_after_kill_9_and_no_finished_step_is_done_again(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    book, door = tmp_path / "journal", tmp_path / "door"
    run = server.background.create_run(
        {
            "agent_id": "steps",
            "input": {"count": 4, "hold": 2, "path": str(door), "journal": str(book)},
            "stream_mode": "custom",
        }
    )
    wait_until(lambda: journal(book)[-1:] == ["begin 2"], "the third step has begun", server.log_text)
    server.kill9()
    assert journal(book)[-1] == "begin 2"
    door.touch()
    server.restart()

    ended = server.background.wait_run(run.run_id)
    assert (ended.run.status, ended.run.attempt) == ("success", 2)
    assert ended.values == {"results": [0, 1, 4, 9], "attempt": 2}
    first = ["begin 0", "end 0", "begin 1", "end 1", "begin 2"]
    assert journal(book) == [*first, "begin 2", "end 2", "begin 3", "end 3"]
    with server.background.stream_run_events(run.run_id) as stream:
        events = list(stream)
    assert [event.data["attempt"] for event in events if event.event == "metadata"] == [1, 2]
    assert [event.data["payload"]["done"] for event in events if event.event == "custom"] == [0, 1, 2, 3]


def test_a_stream_goes_on_through_kill_9_by_itself(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    book, door = tmp_path / "journal", tmp_path / "door"
    steps = {"count": 3, "hold": 1, "path": str(door), "journal": str(book)}
    ids: list[int] = []
    done: list[int] = []
    wish = {"agent_id": "steps", "input": steps, "stream_mode": "custom"}
    for event in server.runs.create_and_stream_run_events(wish):
        ids.append(int(event.id or 0))
        if event.event == "custom":
            done.append(event.data["payload"]["done"])
            if done == [0]:
                server.kill9()
                door.touch()
                server.restart()
    assert done == [0, 1, 2]
    assert ids == sorted(set(ids))
    assert (event.event, event.data["status"]) == ("end", "success")


def test_what_was_acknowledged_survives_kill_9(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    wishes = [{"agent_id": "count", "input": number} for number in range(20)]
    accepted = [server.background.create_run(wish).run_id for wish in wishes]
    server.kill9()
    server.restart()
    ended = [server.background.wait_run(run_id) for run_id in accepted]
    assert [answer.values for answer in ended] == [{"counted": number} for number in range(20)]
