"""Threads: made, found, changed, copied, pruned, deleted."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk

UNKNOWN = "22222222-2222-4222-8222-222222222222"
OWN = "33333333-3333-4333-8333-333333333333"
FIELDS = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")


def script(talk: Talk) -> None:
    made = talk.ask("create", "POST", "/threads", {"metadata": {"kind": "a", "deep": {"n": 1}}})
    one = talk.knows(made["thread_id"], "thread")
    _create(talk)
    _get(talk, one)
    _search(talk, one)
    talk.ask("patch", "PATCH", f"/threads/{one}", {"metadata": {"more": [1]}})
    talk.ask("patch nothing", "PATCH", f"/threads/{one}", {})
    talk.ask("patch null", "PATCH", f"/threads/{one}", {"metadata": None})
    talk.ask("patch minimal", "PATCH", f"/threads/{one}", {"metadata": {}}, headers={"Prefer": "return=minimal"})
    talk.ask("patch unknown", "PATCH", f"/threads/{UNKNOWN}", {"metadata": {}})
    talk.ask("patch wrong", "PATCH", f"/threads/{one}", {"metadata": "x"})
    _copy(talk, one)
    _prune(talk)
    talk.ask("storage", "GET", f"/threads/{one}/storage")
    talk.ask("delete", "DELETE", f"/threads/{one}")
    talk.ask("delete again", "DELETE", f"/threads/{one}")
    talk.ask("get deleted", "GET", f"/threads/{one}")


def _create(talk: Talk) -> None:
    bodies: dict[str, Any] = {
        "empty": {},
        "own id": {"thread_id": OWN},
        "own id again": {"thread_id": OWN},
        "own id, do nothing": {"thread_id": OWN, "if_exists": "do_nothing", "metadata": {"x": 1}},
        "own id, bad if_exists": {"thread_id": OWN, "if_exists": "replace"},
        "bad id": {"thread_id": "x"},
        "empty id": {"thread_id": ""},
        "nulls": {"thread_id": None, "metadata": None, "if_exists": None, "ttl": None, "supersteps": None},
        "wrong metadata": {"metadata": "x"},
        "extra field": {"colour": "red"},
        "supersteps": {"metadata": {"graph_id": "one"},
                       "supersteps": [{"updates": [{"values": {"n": 2}, "as_node": "__input__"}]},
                                      {"updates": [{"values": {"n": 3}, "as_node": "add"}]}]},
        "supersteps of a command": {"metadata": {"graph_id": "one"}, "supersteps": [
            {"updates": [{"command": {"update": {"n": 4}}, "as_node": "add"}]}]},
        "supersteps of two nodes": {"metadata": {"graph_id": "two"}, "supersteps": [
            {"updates": [{"values": {"path": ["x"]}, "as_node": "__input__"}]},
            {"updates": [{"values": {"answer": 1}, "as_node": "confirm"},
                         {"values": {"other": 2}, "as_node": "second"}]}]},
        "supersteps of nobody": {"metadata": {"graph_id": "nobody"},
                                 "supersteps": [{"updates": [{"values": {"n": 3}, "as_node": "add"}]}]},
        "supersteps without graph": {"supersteps": [{"updates": [{"values": {"n": 3}, "as_node": "add"}]}]},
        "supersteps of a bad node": {"metadata": {"graph_id": "one"},
                                     "supersteps": [{"updates": [{"values": {"n": 3}, "as_node": "bad"}]}]},
    }  # fmt: skip
    for name, body in bodies.items():
        made = talk.ask(f"create: {name}", "POST", "/threads", body)
        if name.startswith("supersteps") and "thread_id" in made:
            thread_id = talk.knows(made["thread_id"], "thread")
            talk.ask(f"{name}: state", "GET", f"/threads/{thread_id}/state")
            talk.ask(f"{name}: history", "GET", f"/threads/{thread_id}/history?limit=10")


def _get(talk: Talk, one: str) -> None:
    talk.ask("get", "GET", f"/threads/{one}")
    talk.ask("get with ttl", "GET", f"/threads/{one}?include=ttl")
    talk.ask("get unknown", "GET", f"/threads/{UNKNOWN}")
    talk.ask("get bad", "GET", "/threads/xyz")
    given: dict[str, Any] = {
        "one": {"n": 1},
        "breaks": {"n": 1},
        "careful": {"path": []},
        "weather": {"messages": "hi"},
    }
    for graph, input in given.items():
        thread = talk.thread()
        talk.run(thread, graph, input)
        talk.ask(f"get {graph}", "GET", f"/threads/{thread}")


def _search(talk: Talk, one: str) -> None:
    more = talk.look("POST", "/threads", {"metadata": {"kind": "a", "deep": {"n": 2}}})["thread_id"]
    talk.look("POST", f"/threads/{more}/runs/wait", {"assistant_id": "one", "input": {"n": 41}})
    mine: dict[str, Any] = {"metadata": {"kind": "a"}}
    searches: dict[str, Any] = {
        "by metadata": mine,
        "deep": {"metadata": {"deep": {"n": 2}}},
        "by values": {"values": {"n": 42}, **mine},
        "by status": {"status": "idle", **mine},
        "busy": {"status": "busy", **mine},
        "by ids": {"ids": [one]},
        "no ids": {"ids": []},
        "unknown ids": {"ids": [UNKNOWN]},
        "bad ids": {"ids": ["x"]},
        "one of more": {**mine, "limit": 1},
        "page": {**mine, "limit": 1, "offset": 1},
        "behind the end": {**mine, "offset": 9},
        "select": {**mine, "select": ["thread_id", "status"]},
        "select values": {**mine, "select": ["values", "metadata", "interrupts"]},
        "select all": {**mine, "select": ["thread_id", "created_at", "updated_at", "metadata", "config", "context",
                                          "status", "values", "interrupts"]},
        "select nothing": {**mine, "select": []},
        "bad select": {"select": ["colour"]},
        "extract": {**mine, "extract": {"n": "values.n", "kind": "metadata.kind", "none": "values.x[0].y"}},
        "extract and select": {**mine, "select": ["thread_id"], "extract": {"n": "values.n"}},
        "bad extract": {"extract": {"n": "colour.n"}},
        "bad status": {"status": "asleep"},
        "bad sort": {"sort_by": "colour"},
        "limit 0": {"limit": 0},
        "limit 1000": {**mine, "limit": 1000},
        "limit 1001": {"limit": 1001},
        "nulls": {**mine, "status": None, "values": None, "limit": None, "offset": None, "ids": None},
    }  # fmt: skip
    for name, body in searches.items():
        talk.ask(f"search: {name}", "POST", "/threads/search", body)
    for sort in FIELDS:
        for order in ("asc", "desc"):
            body = {**mine, "sort_by": sort, "sort_order": order}
            talk.ask(f"search: sort {sort} {order}", "POST", "/threads/search", body)
    for name, body in (("all of mine", mine), ("values", {"values": {"n": 42}, **mine}), ("bad", {"status": "x"})):
        talk.ask(f"count: {name}", "POST", "/threads/count", body)


def _copy(talk: Talk, one: str) -> None:
    source = talk.thread(metadata={"kind": "copied"})
    talk.run(source, "careful", {"path": ["x"]})
    copied = talk.ask("copy", "POST", f"/threads/{source}/copy")
    copy = talk.knows(copied["thread_id"], "copy")
    talk.ask("copy: thread", "GET", f"/threads/{copy}")
    talk.ask("copy: state", "GET", f"/threads/{copy}/state")
    talk.ask("copy: history", "GET", f"/threads/{copy}/history?limit=10")
    talk.ask("copy: runs", "GET", f"/threads/{copy}/runs")
    talk.ask("copy: resumed", "POST", f"/threads/{copy}/runs/wait",
             {"assistant_id": "careful", "command": {"resume": "yes"}})  # fmt: skip
    talk.ask("copy: empty one", "POST", f"/threads/{one}/copy")
    talk.ask("copy: unknown", "POST", f"/threads/{UNKNOWN}/copy")
    talk.ask("copy: bad", "POST", "/threads/x/copy")


def _prune(talk: Talk) -> None:
    pruned = talk.thread()
    talk.run(pruned, "one", {"n": 1})
    talk.ask("prune", "POST", "/threads/prune", {"thread_ids": [pruned]})
    talk.ask("pruned", "GET", f"/threads/{pruned}")
    talk.ask("prune unknown", "POST", "/threads/prune", {"thread_ids": [UNKNOWN]})
    talk.ask("prune none", "POST", "/threads/prune", {"thread_ids": []})
    talk.ask("prune bad", "POST", "/threads/prune", {"thread_ids": ["x"]})
    talk.ask("prune latest", "POST", "/threads/prune", {"thread_ids": [UNKNOWN], "strategy": "keep_latest"})
