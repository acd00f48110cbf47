"""Questions and their answers, commands, and runs that begin at older states."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk


def script(talk: Talk) -> None:
    commands: dict[str, Any] = {
        "resume": {"resume": "yes"},
        "resume with an object": {"resume": {"a": 1}},
        "resume false": {"resume": False},
        "resume null": {"resume": None},
        "resume and update": {"resume": "yes", "update": {"path": ["updated"]}},
        "update": {"update": {"path": ["updated"]}},
        "update pairs": {"update": [["path", ["pairs"]]]},
        "goto": {"goto": "before"},
        "goto list": {"goto": ["before"]},
        "goto send": {"goto": {"node": "before", "input": {"path": []}}},
        "goto sends": {"goto": [{"node": "before", "input": {"path": []}}, "confirm"]},
        "goto nowhere": {"goto": "nowhere"},
        "nothing": {},
    }
    for name, command in commands.items():
        _careful(talk, name, {"command": command})
    _careful(talk, "input null", {"input": None})
    _careful(talk, "new input", {"input": {"path": ["new"]}})
    _careful(talk, "input and command", {"input": {"path": ["new"]}, "command": {"resume": "yes"}})
    _two(talk)
    _unasked(talk)
    _breakpoints(talk)
    _travels(talk)


def _careful(talk: Talk, name: str, fields: dict[str, Any]) -> None:
    thread = talk.thread()
    talk.run(thread, "careful", {"path": ["x"]})
    path = f"/threads/{thread}"
    talk.ask(f"careful: {name}", "POST", f"{path}/runs/wait", {"assistant_id": "careful", **fields})
    talk.ask(f"careful: {name}: thread", "GET", path)
    talk.ask(f"careful: {name}: state", "GET", f"{path}/state")
    if isinstance(found := talk.look("GET", f"{path}/runs"), list):
        for number, run in enumerate(found):
            talk.knows(run["run_id"], f"run{number}")
    talk.ask(f"careful: {name}: runs", "GET", f"{path}/runs")


def _two(talk: Talk) -> None:
    for name in ("one of two", "both", "one value", "unknown id"):
        thread = talk.thread()
        asked = talk.run(thread, "two", {"path": ["x"]})["__interrupt__"]
        ids = [talk.knows(one["id"], f"question{number}") for number, one in enumerate(asked)]
        resume: Any = {"one of two": {ids[0]: "a"}, "both": dict.fromkeys(ids, "b"), "one value": "c",
                       "unknown id": {"f" * 32: "d"}}[name]  # fmt: skip
        body = {"assistant_id": "two", "command": {"resume": resume}}
        talk.ask(f"two: {name}", "POST", f"/threads/{thread}/runs/wait", body)
        talk.ask(f"two: {name}: thread", "GET", f"/threads/{thread}")
        talk.ask(f"two: {name}: state", "GET", f"/threads/{thread}/state")
        if name == "one of two":
            rest = {"assistant_id": "two", "command": {"resume": "rest"}}
            talk.ask("two: the rest", "POST", f"/threads/{thread}/runs/wait", rest)


def _unasked(talk: Talk) -> None:
    body = {"assistant_id": "careful", "command": {"resume": "yes"}}
    talk.ask("resume on a new thread", "POST", f"/threads/{talk.thread()}/runs/wait", body)
    talk.ask("resume on no thread", "POST", "/runs/wait", body)
    talk.ask("strict", "POST", f"/threads/{talk.thread()}/runs/wait", {**body, "strict_resume": True})
    thread = talk.thread()
    talk.run(thread, "one", {"n": 1})
    talk.ask("resume of what is done", "POST", f"/threads/{thread}/runs/wait", {**body, "assistant_id": "one"})
    goto = {"assistant_id": "one", "command": {"goto": "add", "update": {"n": 5}}}
    talk.ask("goto on what is done", "POST", f"/threads/{thread}/runs/wait", goto)
    talk.ask("goto on a new thread", "POST", f"/threads/{talk.thread()}/runs/wait", goto)
    talk.ask("goto on no thread", "POST", "/runs/wait", goto)
    asking = {"assistant_id": "careful", "input": {"path": ["x"]}}
    talk.ask("question on no thread", "POST", "/runs/wait", asking)
    talk.stream("question on no thread, streamed", "POST", "/runs/stream", asking)


def _breakpoints(talk: Talk) -> None:
    for field in ("interrupt_before", "interrupt_after"):
        thread = talk.thread()
        body = {"assistant_id": "weather", "input": {"messages": "hi"}, field: ["speak"]}
        talk.stream(
            f"{field}", "POST", f"/threads/{thread}/runs/stream", {**body, "stream_mode": ["values", "updates"]}
        )
        talk.ask(f"{field}: thread", "GET", f"/threads/{thread}")
        talk.ask(f"{field}: state", "GET", f"/threads/{thread}/state")
        on = {"assistant_id": "weather", "input": None}
        talk.ask(f"{field}: on", "POST", f"/threads/{thread}/runs/wait", on)


def _travels(talk: Talk) -> None:
    thread = talk.thread()
    talk.run(thread, "weather", {"messages": [{"role": "user", "content": "hi", "id": "u"}]})
    history = talk.look("GET", f"/threads/{thread}/history?limit=10")
    second = history[1]["checkpoint"]
    id = second["checkpoint_id"]
    bodies: dict[str, Any] = {
        "checkpoint": {"checkpoint": second, "input": None},
        "checkpoint id": {"checkpoint_id": id, "input": None},
        "configurable": {"config": {"configurable": {"checkpoint_id": id}}, "input": None},
        "with input": {"checkpoint_id": id, "input": {"path": ["new"]}},
        "map": {"checkpoint": {"checkpoint_ns": "", "checkpoint_map": {"": id}}, "input": None},
        "unknown": {"checkpoint_id": "66666666-6666-4666-8666-666666666666", "input": None},
        "bad": {"checkpoint_id": "x", "input": None},
    }
    for name, fields in bodies.items():
        body = {"assistant_id": "weather", **fields}
        talk.ask(f"from {name}", "POST", f"/threads/{thread}/runs/wait", body)
        talk.ask(f"history from {name}", "GET", f"/threads/{thread}/history?limit=4")
