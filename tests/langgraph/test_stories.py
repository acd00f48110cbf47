"""Graphs on real servers: killed in the middle of a step, watched by two clients, waiting for a human."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import httpx2
from ap_client import Runyard
from server_process import Serve, journal, wait_until

GRAPHS = Path(__file__).with_name("story_graphs.py")


def test_a_graph_goes_on_after_kill_9_from_the_step_it_was_in(serve: Serve, tmp_path: Path) -> None:
    server = serve(GRAPHS)
    book = tmp_path / "journal"
    with Runyard(server.url) as ry:
        run = ry.run("twelve", {"folder": str(tmp_path), "seen": ["input"]})
        wait_until(lambda: {"begin step5", "end beside"} <= set(journal(book)), "step 5 is held", server.log_text)

        def kept() -> bool:
            database = apsw.Connection(str(server.database), flags=apsw.SQLITE_OPEN_READONLY)
            newest, steps = database.execute("SELECT max(checkpoint_id), count(*) FROM checkpoints").get
            on = "SELECT count(*) FROM pending_writes WHERE channel = 'seen' AND on_id = ?"
            count = database.execute(on, (newest,)).get
            database.close()
            return count > 0 and steps == 6  # the input, the entry, and steps 1 to 4

        wait_until(kept, "what the finished node gave is kept", server.log_text)
        server.kill9()
        (tmp_path / "door").touch()
        server.restart()
        done = run.wait()
    assert (done.run.status, done.run.attempt) == ("success", 2)
    begun = [line for line in journal(book) if line.startswith("begin")]
    steps = [f"begin step{number}" for number in range(1, 13)]
    assert sorted(begun) == sorted([*steps, "begin step5", "begin beside"])
    seen = done.values["seen"]
    assert seen.count("input") == 1
    assert sorted(seen) == sorted(["input", "beside", *(f"step{number}" for number in range(1, 13))])


def test_two_clients_on_one_thread_with_each_strategy(serve: Serve, tmp_path: Path) -> None:
    server = serve(GRAPHS)
    whole = ["first", "done first", "second", "done second"]
    expected = {
        "reject": [["first", "done first"]],
        "enqueue": [whole],
        # A node that ends before the word to stop has come to it has ended.
        "interrupt": [["first", "second", "done second"], whole],
        "rollback": [["second", "done second"]],
    }
    with httpx2.Client(base_url=server.url, timeout=20) as one, httpx2.Client(base_url=server.url, timeout=20) as two:
        for strategy, logs in expected.items():
            folder = tmp_path / strategy
            folder.mkdir()
            assert _meet(one, two, folder, strategy, server.log_text) in logs, strategy


def _meet(one: httpx2.Client, two: httpx2.Client, folder: Path, strategy: str, told: Callable[[], str]) -> list[str]:
    """What is on a thread after two clients have had a run on it, the second while the first one's is in its node."""
    book, door = folder / "journal", folder / "door"
    thread = one.post("/threads", json={}).json()["thread_id"]
    wish = {"agent_id": "line", "input": {"folder": str(folder), "log": ["first"]}}
    first = one.post(f"/threads/{thread}/runs", json=wish).json()
    wait_until(lambda: journal(book) == ["begin first"], "the first run is in its node", told)
    wish = {**wish, "input": {"folder": str(folder), "log": ["second"]}, "multitask_strategy": strategy}
    second = two.post(f"/threads/{thread}/runs", json=wish)
    if strategy == "reject":
        assert (second.status_code, second.json()["code"]) == (409, "thread_busy")
    door.touch()
    ended = one.get(f"/runs/{first['run_id']}/wait")
    if strategy != "reject":
        assert two.get(f"/runs/{second.json()['run_id']}/wait").json()["status"] == "success"
    assert journal(book)[:2] == ["begin first", "end first"]  # code that has begun is not torn in two
    if strategy in ("reject", "enqueue"):
        assert ended.json()["status"] == "success"
    return one.get(f"/threads/{thread}").json()["values"]["log"]


def test_an_approval_waits_through_a_restart(serve: Serve) -> None:
    server = serve(GRAPHS)
    with Runyard(server.url) as ry:
        thread = ry.thread()
        run = thread.run("approval", {"folder": "", "log": ["refund"]})
        asked = run.wait()
        assert str(asked.run.status) == "interrupted"
        server.kill9()
        server.restart()
        shown = httpx2.get(f"{server.url}/threads/{thread.thread_id}", timeout=20).json()
        assert [question["value"] for question in shown["interrupts"]] == [{"approve": ["refund"]}]
        done = run.answer("yes").wait()
        assert done.values["log"] == ["refund", "answered yes"]
