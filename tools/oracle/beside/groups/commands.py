"""The streaming protocol: commands, and streams of events."""

from __future__ import annotations

import uuid
from typing import Any

from tools.oracle.beside.talk import Talk

CHANNELS = ("values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "tasks", "custom")
SAYS = {"messages": [{"role": "user", "content": "hi", "id": "u"}]}


def script(talk: Talk) -> None:
    for graph, given in (("weather", SAYS), ("tooled", SAYS), ("careful", {"path": []}), ("outer", {"path": []}),
                         ("breaks", {"n": 1}), ("fan", {"n": 0})):  # fmt: skip
        thread = talk.knows(str(uuid.uuid4()), "thread")
        params = {"assistant_id": graph, "input": given}
        talk.ask(f"{graph}: start", "POST", f"/threads/{thread}/commands", _command("run.start", params))
        talk.settled(thread)
        for channel in CHANNELS:
            body = {"channels": [channel]}
            talk.stream(f"{graph}: {channel}", "POST", f"/threads/{thread}/stream/events", body, quiet=0.5)
        body = {"channels": ["values", "lifecycle", "messages", "input"], "namespaces": [[]], "depth": 1}
        talk.stream(f"{graph}: the root", "POST", f"/threads/{thread}/stream/events", body, quiet=0.5)
        body = {"channels": ["lifecycle"], "since": 2}
        talk.stream(f"{graph}: since", "POST", f"/threads/{thread}/stream/events", body, quiet=0.5)
        talk.ask(f"{graph}: tree", "POST", f"/threads/{thread}/commands",
                 _command("agent.getTree", {"assistant_id": graph}))  # fmt: skip
    _answered(talk)
    _refused(talk)


def _command(method: Any, params: Any, id: Any = 1) -> dict[str, Any]:
    return {"id": id, "method": method, "params": params}


def _answered(talk: Talk) -> None:
    for graph in ("careful", "two", "outer"):
        thread = talk.knows(str(uuid.uuid4()), "thread")
        path = f"/threads/{thread}/commands"
        talk.look("POST", path, _command("run.start", {"assistant_id": graph, "input": {"path": []}}))
        talk.settled(thread)
        tasks = talk.look("GET", f"/threads/{thread}/state")["tasks"]
        asked = [one["id"] for task in tasks for one in task["interrupts"]]
        bad = {"namespace": [], "interrupt_id": "f" * 32, "response": "x"}
        talk.ask(f"{graph}: respond to nothing", "POST", path, _command("input.respond", bad))
        if len(asked) > 1:
            responses = [{"namespace": [], "interrupt_id": id, "response": "yes"} for id in asked]
            talk.ask(f"{graph}: respond", "POST", path, _command("input.respond", {"responses": responses}))
        else:
            one = {"namespace": [], "interrupt_id": asked[0], "response": "yes"}
            talk.ask(f"{graph}: respond", "POST", path, _command("input.respond", one))
        talk.settled(thread)
        talk.ask(f"{graph}: state after", "GET", f"/threads/{thread}/state")
        body = {"channels": ["lifecycle", "input", "values"]}
        talk.stream(f"{graph}: after", "POST", f"/threads/{thread}/stream/events", body, quiet=0.5)


def _refused(talk: Talk) -> None:
    thread = talk.thread()
    path = f"/threads/{thread}/commands"
    bodies: dict[str, Any] = {
        "unknown method": _command("run.fly", {}),
        "no params": {"id": 1, "method": "run.start"},
        "no assistant": _command("run.start", {"input": {}}),
        "unknown assistant": _command("run.start", {"assistant_id": "nobody", "input": {}}),
        "text id": _command("run.start", {"assistant_id": "one", "input": {}}, "x"),
        "no id": {"method": "run.start", "params": {}},
        "no method": {"id": 1, "params": {}},
        "a list": [],
        "respond without question": _command("input.respond", {"namespace": [], "interrupt_id": "x", "response": 1}),
        "respond without id": _command("input.respond", {"response": 1}),
        "subscribe": _command("subscription.subscribe", {"channels": ["values"]}),
        "unsubscribe": _command("subscription.unsubscribe", {"subscription_id": "x"}),
        "tree": _command("agent.getTree", {}),
    }
    for name, body in bodies.items():
        talk.ask(f"refused: {name}", "POST", path, body)
    talk.ask("refused: bad thread", "POST", "/threads/x/commands",
             _command("run.start", {"assistant_id": "one", "input": {}}))  # fmt: skip
    events = f"/threads/{thread}/stream/events"
    for name, body in (("no channels", {}), ("empty", {"channels": []}), ("unknown", {"channels": ["x"]}),
                       ("text", {"channels": "values"}), ("bad since", {"channels": ["values"], "since": "x"}),
                       ("bad depth", {"channels": ["values"], "depth": -1})):  # fmt: skip
        talk.stream(f"events: {name}", "POST", events, body, quiet=0.5)
    for namespaces in ([], [["x"]], "x"):
        body = {"channels": ["values"], "namespaces": namespaces}
        talk.stream(f"events: namespaces {namespaces}", "POST", events, body, quiet=0.5)
