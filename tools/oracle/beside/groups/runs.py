"""Runs: created, waited for, listed, joined, cancelled, deleted."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk

UNKNOWN = "55555555-5555-4555-8555-555555555555"
ONE: dict[str, Any] = {"assistant_id": "one", "input": {"n": 1}}
FIELDS: dict[str, Any] = {
    "least": {"assistant_id": "one"},
    "null input": {"assistant_id": "one", "input": None},
    "list input": {"assistant_id": "one", "input": [1]},
    "text input": {"assistant_id": "one", "input": "x"},
    "metadata": {**ONE, "metadata": {"a": 1}},
    "config": {**ONE, "config": {"configurable": {"x": 1}, "tags": ["t"], "recursion_limit": 9, "metadata": {"z": 1}}},
    "context": {"assistant_id": "weather", "input": {"messages": "hi"}, "context": {"tone": "warm"}},
    "config and context": {"assistant_id": "weather", "input": {}, "config": {"configurable": {"x": 1}},
                           "context": {"tone": "warm"}},
    "modes": {**ONE, "stream_mode": ["values", "updates"]},
    "mode": {**ONE, "stream_mode": "updates"},
    "no modes": {**ONE, "stream_mode": []},
    "bad mode": {**ONE, "stream_mode": "colours"},
    "nulls": {**ONE, "metadata": None, "config": None, "webhook": None, "stream_mode": None, "after_seconds": None},
    "extra field": {**ONE, "colour": "red"},
    "durability": {**ONE, "durability": "exit"},
    "bad durability": {**ONE, "durability": "often"},
    "checkpoint during": {**ONE, "checkpoint_during": False},
    "interrupt before": {**ONE, "interrupt_before": ["add"]},
    "interrupt after all": {**ONE, "interrupt_after": "*"},
    "recursion": {"assistant_id": "loops", "input": {"n": 0}, "config": {"recursion_limit": 3}},
    "recursion 0": {**ONE, "config": {"recursion_limit": 0}},
    "failing": {"assistant_id": "breaks", "input": {"n": 1}},
    "sends": {"assistant_id": "fan", "input": {"n": 0}},
    "commands": {"assistant_id": "hands_over", "input": {"n": 0}},
    "the store": {"assistant_id": "remembers", "input": {"n": 3}},
    "tools": {"assistant_id": "tooled", "input": {"messages": [{"role": "human", "content": "hi", "id": "h"}]}},
    "unknown assistant": {"assistant_id": "nobody"},
    "unknown assistant id": {"assistant_id": UNKNOWN},
    "no assistant": {"input": {}},
    "null assistant": {"assistant_id": None},
    "webhook": {**ONE, "webhook": "not a url"},
    "if not exists": {**ONE, "if_not_exists": "create"},
    "multitask": {**ONE, "multitask_strategy": "reject"},
    "bad multitask": {**ONE, "multitask_strategy": "hope"},
    "on disconnect": {**ONE, "on_disconnect": "cancel"},
    "on completion": {**ONE, "on_completion": "keep"},
    "after": {**ONE, "after_seconds": 1},
    "after -1": {**ONE, "after_seconds": -1},
}  # fmt: skip


def script(talk: Talk) -> None:
    _on_threads(talk)
    _stateless(talk)
    _listed(talk)
    _joined(talk)
    _cancelled(talk)


def _on_threads(talk: Talk) -> None:
    for name, body in FIELDS.items():
        thread = talk.thread()
        path = f"/threads/{thread}/runs"
        talk.ask(f"wait: {name}", "POST", f"{path}/wait", body)
        if isinstance(found := talk.look("GET", path), list) and found:
            talk.knows(found[0]["run_id"], "run")
        talk.ask(f"run of {name}", "GET", path)
        talk.ask(f"thread of {name}", "GET", f"/threads/{thread}")
    thread = talk.thread()
    created = talk.ask("create", "POST", f"/threads/{thread}/runs", ONE)
    talk.ended(thread, talk.knows(created["run_id"], "run"))
    talk.ask("get", "GET", f"/threads/{thread}/runs/{created['run_id']}")
    talk.ask("create on an unknown thread", "POST", f"/threads/{UNKNOWN}/runs", ONE)
    talk.ask("wait on an unknown thread", "POST", f"/threads/{UNKNOWN}/runs/wait", ONE)
    talk.ask("create on a bad thread", "POST", "/threads/x/runs", ONE)
    new = "56565656-5656-4656-8656-565656565656"
    talk.ask("create with the thread", "POST", f"/threads/{new}/runs", {**ONE, "if_not_exists": "create"})
    talk.settled(new)
    talk.ask("the created thread", "GET", f"/threads/{new}")


def _stateless(talk: Talk) -> None:
    for name, body in FIELDS.items():
        talk.ask(f"stateless: {name}", "POST", "/runs/wait", body)
    kept = talk.ask("stateless kept", "POST", "/runs", {**ONE, "on_completion": "keep"})
    talk.ended(talk.knows(kept["thread_id"], "thread"), talk.knows(kept["run_id"], "run"))
    talk.ask("kept thread", "GET", f"/threads/{kept['thread_id']}")
    talk.ask("kept run", "GET", f"/threads/{kept['thread_id']}/runs/{kept['run_id']}")
    talk.ask("stateless created", "POST", "/runs", ONE)
    talk.ask("batch", "POST", "/runs/batch", [ONE, {**ONE, "metadata": {"second": True}}])
    talk.ask("batch of none", "POST", "/runs/batch", [])
    talk.ask("batch of one bad", "POST", "/runs/batch", [ONE, {"assistant_id": "nobody"}])
    talk.ask("batch of no list", "POST", "/runs/batch", ONE)


def _listed(talk: Talk) -> None:
    thread = talk.thread()
    for number in range(3):
        talk.run(thread, "one", {"n": number}, metadata={"number": number})
    talk.run(thread, "breaks", {"n": 0})
    queries = (
        "", "?limit=1", "?limit=2&offset=1", "?offset=9", "?status=success", "?status=error", "?status=pending",
        "?status=bad", "?limit=0", "?limit=1000", "?limit=1001", "?select=run_id&select=status", "?select=kwargs",
        "?select=colour", "?metadata=%7B%22number%22%3A1%7D", "?offset=-1", "?limit=x",
    )  # fmt: skip
    for query in queries:
        talk.ask(f"list{query}", "GET", f"/threads/{thread}/runs{query}")
    talk.ask("list of an unknown thread", "GET", f"/threads/{UNKNOWN}/runs")
    talk.ask("get unknown", "GET", f"/threads/{thread}/runs/{UNKNOWN}")
    talk.ask("get bad", "GET", f"/threads/{thread}/runs/x")


def _joined(talk: Talk) -> None:
    for name, graph, given in (("done", "one", {"n": 1}), ("failed", "breaks", {"n": 1}),
                               ("asking", "careful", {"path": []})):  # fmt: skip
        thread = talk.thread()
        created = talk.look("POST", f"/threads/{thread}/runs", {"assistant_id": graph, "input": given})
        talk.ended(thread, talk.knows(created["run_id"], "run"))
        talk.ask(f"join {name}", "GET", f"/threads/{thread}/runs/{created['run_id']}/join")
        talk.ask(f"run {name}", "GET", f"/threads/{thread}/runs/{created['run_id']}")
        talk.ask(f"delete {name}", "DELETE", f"/threads/{thread}/runs/{created['run_id']}")
        talk.ask(f"deleted {name}", "GET", f"/threads/{thread}/runs/{created['run_id']}")
        talk.ask(f"thread of deleted {name}", "GET", f"/threads/{thread}")
    thread = talk.thread()
    created = talk.look("POST", f"/threads/{thread}/runs", {"assistant_id": "slow", "input": {"last": 0.5}})
    talk.knows(created["run_id"], "run")
    talk.ask("join running", "GET", f"/threads/{thread}/runs/{created['run_id']}/join")
    talk.ask("join unknown", "GET", f"/threads/{thread}/runs/{UNKNOWN}/join")
    talk.ask("delete unknown", "DELETE", f"/threads/{thread}/runs/{UNKNOWN}")


def _cancelled(talk: Talk) -> None:
    for query in ("", "?wait=true", "?wait=true&action=rollback", "?wait=0&action=interrupt"):
        thread = talk.thread()
        created = talk.look("POST", f"/threads/{thread}/runs", {"assistant_id": "slow", "input": {"last": 20}})
        run = talk.knows(created["run_id"], "run")
        talk.reaches(thread, ["rest"])
        talk.ask(f"cancel{query}", "POST", f"/threads/{thread}/runs/{run}/cancel{query}")
        talk.settled(thread)
        talk.ask(f"cancelled{query}", "GET", f"/threads/{thread}/runs/{run}")
        talk.ask(f"thread of cancelled{query}", "GET", f"/threads/{thread}")
        talk.ask(f"state of cancelled{query}", "GET", f"/threads/{thread}/state")
        talk.ask(f"cancel again{query}", "POST", f"/threads/{thread}/runs/{run}/cancel{query}")
        talk.ask(f"join cancelled{query}", "GET", f"/threads/{thread}/runs/{run}/join")
    thread = talk.thread()
    talk.ask("cancel unknown", "POST", f"/threads/{thread}/runs/{UNKNOWN}/cancel")
    created = talk.look("POST", f"/threads/{thread}/runs", {**ONE, "after_seconds": 900})
    run = talk.knows(created["run_id"], "run")
    talk.ask("delayed", "GET", f"/threads/{thread}/runs/{run}")
    talk.ask("thread of delayed", "GET", f"/threads/{thread}")
    many: dict[str, Any] = {
        "by ids": {"thread_id": thread, "run_ids": [run]},
        "by ids again": {"thread_id": thread, "run_ids": [run]},
        "status with thread": {"thread_id": thread, "status": "all"},
        "nothing": {},
        "bad status": {"status": "x"},
        "unknown": {"thread_id": UNKNOWN, "run_ids": [UNKNOWN]},
        "all of none": {"status": "all"},
    }
    for name, body in many.items():
        talk.ask(f"cancel many: {name}", "POST", "/runs/cancel", body)
    talk.ask("delayed cancelled", "GET", f"/threads/{thread}/runs/{run}")
