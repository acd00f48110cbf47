"""States and histories: looked at, changed, by checkpoints, maps, nodes and subgraphs."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk

UNKNOWN = "44444444-4444-4444-8444-444444444444"


def script(talk: Talk) -> None:
    _empty(talk)
    _done(talk)
    _failed(talk)
    _asking(talk)
    _inner(talk)
    _update(talk)


def _empty(talk: Talk) -> None:
    empty = talk.thread()
    talk.ask("empty", "GET", f"/threads/{empty}/state")
    talk.ask("empty history", "GET", f"/threads/{empty}/history")
    talk.ask("empty history by POST", "POST", f"/threads/{empty}/history", {})
    talk.ask("empty update", "POST", f"/threads/{empty}/state", {"values": {"n": 1}})
    talk.ask("unknown thread", "GET", f"/threads/{UNKNOWN}/state")
    talk.ask("unknown thread's history", "GET", f"/threads/{UNKNOWN}/history")
    talk.ask("unknown thread's update", "POST", f"/threads/{UNKNOWN}/state", {"values": {"n": 1}})
    talk.ask("bad thread", "GET", "/threads/x/state")
    named = talk.thread(metadata={"graph_id": "one"})
    talk.ask("named", "GET", f"/threads/{named}/state")
    talk.ask("named update", "POST", f"/threads/{named}/state", {"values": {"n": 1}})
    talk.ask("named updated", "GET", f"/threads/{named}/state")


def _done(talk: Talk) -> None:
    thread = talk.thread()
    talk.run(thread, "weather", {"messages": "hi"}, metadata={"m": 1}, config={"configurable": {"flavour": "mint"}})
    talk.ask("done", "GET", f"/threads/{thread}/state")
    talk.ask("done with subgraphs", "GET", f"/threads/{thread}/state?subgraphs=true")
    talk.ask("done select", "GET", f"/threads/{thread}/state?select=values&select=next")
    talk.ask("done select key", "GET", f"/threads/{thread}/state?select=values.path")
    talk.ask("done bad select", "GET", f"/threads/{thread}/state?select=colour")
    talk.ask("history without a limit", "GET", f"/threads/{thread}/history")
    history = talk.ask("history", "GET", f"/threads/{thread}/history?limit=10")
    talk.ask("history limit", "GET", f"/threads/{thread}/history?limit=1")
    for limit in (0, 1000, 1001):
        talk.ask(f"history limit {limit}", "GET", f"/threads/{thread}/history?limit={limit}")
        talk.ask(f"history by POST, limit {limit}", "POST", f"/threads/{thread}/history", {"limit": limit})
    second = history[1]["checkpoint"]["checkpoint_id"]
    talk.ask("history before", "GET", f"/threads/{thread}/history?before={second}")
    for name, before in (("id", second), ("checkpoint", {"checkpoint_id": second}),
                         ("config", {"configurable": {"checkpoint_id": second}}),
                         ("checkpoint of both", history[1]["checkpoint"])):  # fmt: skip
        talk.ask(f"history by POST, before {name}", "POST", f"/threads/{thread}/history", {"before": before})
    talk.ask("history of metadata", "POST", f"/threads/{thread}/history", {"metadata": {"source": "input"}})
    talk.ask("history of step", "POST", f"/threads/{thread}/history", {"metadata": {"step": 1}})
    talk.ask("history select", "POST", f"/threads/{thread}/history", {"limit": 1, "select": ["values", "next"]})
    talk.ask("history of a checkpoint", "POST", f"/threads/{thread}/history", {"checkpoint": history[1]["checkpoint"]})
    talk.ask("at", "GET", f"/threads/{thread}/state/{second}")
    talk.ask("at with subgraphs", "GET", f"/threads/{thread}/state/{second}?subgraphs=true")
    talk.ask("at by POST", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": history[1]["checkpoint"]})
    talk.ask("at by id", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": {"checkpoint_id": second}})
    mapped = {"checkpoint_ns": "", "checkpoint_map": {"": second}}
    talk.ask("at by map", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": mapped})
    talk.ask("at unknown", "GET", f"/threads/{thread}/state/{UNKNOWN}")
    talk.ask("at bad", "GET", f"/threads/{thread}/state/xyz")
    talk.ask("at nothing", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": {}})
    talk.ask("at null", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": None})


def _failed(talk: Talk) -> None:
    thread = talk.thread()
    talk.run(thread, "breaks", {"n": 1})
    talk.ask("failed", "GET", f"/threads/{thread}/state")
    talk.ask("failed history", "GET", f"/threads/{thread}/history?limit=10")


def _asking(talk: Talk) -> None:
    for graph in ("careful", "two"):
        thread = talk.thread()
        talk.run(thread, graph, {"path": ["x"]})
        talk.ask(f"{graph}", "GET", f"/threads/{thread}/state")
        talk.ask(f"{graph} history", "GET", f"/threads/{thread}/history?limit=10")


def _inner(talk: Talk) -> None:
    thread = talk.thread()
    talk.run(thread, "outer", {"path": ["x"]})
    talk.ask("outer", "GET", f"/threads/{thread}/state")
    told = talk.ask("outer with subgraphs", "GET", f"/threads/{thread}/state?subgraphs=true")
    place = told["tasks"][0]["state"]["checkpoint"]
    talk.ask("inner", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": place})
    short = {"checkpoint_ns": place["checkpoint_ns"]}
    talk.ask("inner by namespace", "POST", f"/threads/{thread}/state/checkpoint", {"checkpoint": short})
    talk.ask("inner history", "POST", f"/threads/{thread}/history", {"checkpoint": short})
    talk.ask("inner update", "POST", f"/threads/{thread}/state", {"values": {"path": ["new"]}, "checkpoint": short})
    talk.ask("inner updated", "GET", f"/threads/{thread}/state?subgraphs=true")
    talk.ask("outer resumed", "POST", f"/threads/{thread}/runs/wait",
             {"assistant_id": "outer", "command": {"resume": "yes"}})  # fmt: skip


def _update(talk: Talk) -> None:
    thread = talk.thread()
    talk.run(thread, "weather", {"messages": "hi"})
    path = f"/threads/{thread}/state"
    history = talk.look("GET", f"/threads/{thread}/history?limit=10")
    bodies: dict[str, Any] = {
        "values": {"values": {"path": ["by hand"]}},
        "as a node": {"values": {"path": ["as look"]}, "as_node": "look"},
        "as the start": {"values": {"messages": "again"}, "as_node": "__start__"},
        "as the input": {"values": {"messages": "again"}, "as_node": "__input__"},
        "as the end": {"values": None, "as_node": "__end__"},
        "as a copy": {"values": None, "as_node": "__copy__"},
        "as nobody": {"values": {"path": []}, "as_node": "nobody"},
        "of null": {"values": None},
        "of nothing": {},
        "of a list": {"values": [{"path": ["a"]}, {"path": ["b"]}]},
        "of unknown keys": {"values": {"colour": "red"}},
        "of a text": {"values": "x"},
        "message": {"values": {"messages": [{"role": "user", "content": "by hand", "id": "m9"}]}},
        "removed message": {"values": {"messages": [{"type": "remove", "content": "", "id": "m9"}]}},
        "at a checkpoint": {"values": {"path": ["fork"]}, "checkpoint": history[-2]["checkpoint"]},
        "at an id": {"values": {"path": ["fork"]}, "checkpoint_id": history[-2]["checkpoint_id"]},
    }
    for name, body in bodies.items():
        talk.ask(f"update {name}", "POST", path, body)
        talk.ask(f"updated {name}", "GET", path)
    talk.ask("all of them", "GET", f"/threads/{thread}/history?limit=100")
    talk.ask("the thread", "GET", f"/threads/{thread}")
    talk.ask("by PATCH", "PATCH", path, {"metadata": {"x": 1}})
