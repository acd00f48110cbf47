"""Streams of runs: created, joined, resumed, of what fails, asks and is cancelled."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk

UNKNOWN = "77777777-7777-4777-8777-777777777777"


def script(talk: Talk) -> None:
    cases: dict[str, dict[str, Any]] = {
        "values": {"assistant_id": "one", "input": {"n": 1}},
        "resumable": {"assistant_id": "one", "input": {"n": 1}, "stream_resumable": True},
        "failing": {"assistant_id": "breaks", "input": {"n": 1}, "stream_mode": ["values", "updates"]},
        "recursion": {"assistant_id": "loops", "input": {"n": 1}, "config": {"recursion_limit": 2}},
        "asking": {"assistant_id": "careful", "input": {"path": []}, "stream_mode": ["values", "updates"]},
        "asking, updates": {"assistant_id": "careful", "input": {"path": []}, "stream_mode": "updates"},
        "asking, values": {"assistant_id": "careful", "input": {"path": []}, "stream_mode": "values"},
        "two": {"assistant_id": "two", "input": {"path": []}, "stream_mode": ["values", "updates"]},
        "fan": {"assistant_id": "fan", "input": {"n": 0}, "stream_mode": "updates"},
        "commands": {"assistant_id": "hands_over", "input": {"n": 0}, "stream_mode": "updates"},
        "bad input": {"assistant_id": "one", "input": "x"},
        "unknown assistant": {"assistant_id": "nobody", "input": {}},
        "bad mode": {"assistant_id": "one", "input": {}, "stream_mode": ["values", "colours"]},
    }
    for name, body in cases.items():
        talk.stream(f"{name} on a thread", "POST", f"/threads/{talk.thread()}/runs/stream", body)
        talk.stream(f"{name} on none", "POST", "/runs/stream", body)
    talk.stream("on an unknown thread", "POST", f"/threads/{UNKNOWN}/runs/stream", cases["values"])
    _joined(talk)
    _resumed(talk)
    _threads(talk)


def _joined(talk: Talk) -> None:
    thread = talk.thread()
    body = {"assistant_id": "slow", "input": {"last": 1}, "stream_mode": ["values", "updates"],
            "stream_resumable": True}  # fmt: skip
    run = talk.knows(talk.look("POST", f"/threads/{thread}/runs", body)["run_id"], "run")
    path = f"/threads/{thread}/runs/{run}/stream"
    talk.reaches(thread, ["rest"])
    talk.stream("join live", "GET", path)
    talk.stream("join done", "GET", path)
    for last in ("0", "-1", "-"):
        talk.stream(f"join from {last}", "GET", path, headers={"Last-Event-ID": last})
    talk.stream("join for updates", "GET", f"{path}?stream_mode=updates", headers={"Last-Event-ID": "0"})
    talk.stream(
        "join for both", "GET", f"{path}?stream_mode=updates&stream_mode=values", headers={"Last-Event-ID": "0"}
    )
    talk.stream("join for a list", "GET", f'{path}?stream_mode=["updates"]', headers={"Last-Event-ID": "0"})
    talk.stream("join unknown", "GET", f"/threads/{thread}/runs/{UNKNOWN}/stream")
    talk.stream("join bad", "GET", f"/threads/{thread}/runs/x/stream")
    talk.stream("join from garbage", "GET", path, headers={"Last-Event-ID": "garbage"})
    other = talk.thread()
    body = {"assistant_id": "slow", "input": {"last": 20}, "stream_mode": ["values"], "stream_resumable": True}
    run = talk.knows(talk.look("POST", f"/threads/{other}/runs", body)["run_id"], "run")
    talk.running(other, run)
    talk.look("POST", f"/threads/{other}/runs/{run}/cancel?wait=true")
    talk.stream("join cancelled", "GET", f"/threads/{other}/runs/{run}/stream", headers={"Last-Event-ID": "0"})


def _resumed(talk: Talk) -> None:
    thread = talk.thread()
    talk.run(thread, "careful", {"path": []})
    body = {"assistant_id": "careful", "command": {"resume": "yes"}, "stream_mode": ["values", "updates"]}
    talk.stream("resume", "POST", f"/threads/{thread}/runs/stream", body)
    thread = talk.thread()
    asked = talk.run(thread, "two", {"path": []})["__interrupt__"]
    body = {"assistant_id": "two", "command": {"resume": {asked[0]["id"]: 1}}, "stream_mode": ["values", "updates"]}
    talk.stream("resume of one of two", "POST", f"/threads/{thread}/runs/stream", body)


def _threads(talk: Talk) -> None:
    for mode in ("", "?stream_modes=lifecycle", "?stream_modes=state_update", "?stream_modes=run_modes,lifecycle"):
        thread = talk.thread()
        run = talk.look("POST", f"/threads/{thread}/runs", {"assistant_id": "slow", "input": {"last": 2}})["run_id"]
        talk.knows(run, "run")
        talk.running(thread, run)
        talk.stream(f"thread{mode}", "GET", f"/threads/{thread}/stream{mode}", quiet=3)
    talk.stream("thread, bad mode", "GET", f"/threads/{thread}/stream?stream_modes=x", quiet=1)
    talk.stream("bad thread", "GET", "/threads/x/stream", quiet=1)
