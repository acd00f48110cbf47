"""Runs on a thread that has one already, and what becomes of each."""

from __future__ import annotations

from tools.oracle.beside.talk import Talk


def script(talk: Talk) -> None:
    for strategy in ("enqueue", "reject", "interrupt", "rollback", None):
        thread = talk.thread()
        path = f"/threads/{thread}/runs"
        first = talk.look("POST", path, {"assistant_id": "slow", "input": {"last": 1.5, "n": 1}})
        one = talk.knows(first["run_id"], "first")
        talk.reaches(thread, ["rest"])
        talk.ask(f"{strategy}: busy", "GET", f"/threads/{thread}")
        body = {"assistant_id": "one", "input": {"n": 10}, "multitask_strategy": strategy}
        second = talk.ask(f"{strategy}: second", "POST", path, body)
        if "run_id" in second:
            talk.knows(second["run_id"], "second")
            if strategy == "enqueue":
                talk.ask("pending", "GET", f"{path}?status=pending")
            talk.ended(thread, second["run_id"])
            talk.ask(f"{strategy}: second ended", "GET", f"{path}/{second['run_id']}")
        talk.settled(thread)
        talk.ask(f"{strategy}: first ended", "GET", f"{path}/{one}")
        talk.ask(f"{strategy}: thread", "GET", f"/threads/{thread}")
        talk.ask(f"{strategy}: runs", "GET", path)
    thread = talk.thread()
    first = talk.look("POST", f"/threads/{thread}/runs", {"assistant_id": "slow", "input": {"last": 2}})
    talk.knows(first["run_id"], "first")
    talk.reaches(thread, ["rest"])
    talk.ask("update of a busy thread", "POST", f"/threads/{thread}/state", {"values": {"n": 1}})
    talk.ask("state of a busy thread", "GET", f"/threads/{thread}/state")
    talk.ask("copy of a busy thread", "POST", f"/threads/{thread}/copy")
    talk.ask("delete of a running run", "DELETE", f"/threads/{thread}/runs/{first['run_id']}")
    talk.ask("delete of a busy thread", "DELETE", f"/threads/{thread}")
