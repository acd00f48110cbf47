"""Every stream mode, of graphs with models, tools, inner graphs and questions."""

from __future__ import annotations

from tools.oracle.beside.talk import Talk

MODES = ("values", "updates", "messages", "messages-tuple", "custom", "debug", "tasks", "checkpoints")
SAYS = {"messages": [{"role": "user", "content": "hi", "id": "u"}]}


def script(talk: Talk) -> None:
    for graph, given in (("weather", SAYS), ("tooled", SAYS), ("outer", {"path": []}), ("breaks", {"n": 1})):
        for mode in MODES:
            for inner in (False, True):
                if inner and graph in ("tooled", "breaks"):
                    continue
                body = {"assistant_id": graph, "input": given, "stream_mode": [mode], "stream_subgraphs": inner}
                name = f"{graph}: {mode}{' with subgraphs' if inner else ''}"
                talk.stream(name, "POST", f"/threads/{talk.thread()}/runs/stream", body)
    for modes in (["values", "updates", "custom"], ["messages", "values"], ["messages", "messages-tuple"],
                  ["debug", "tasks", "checkpoints"]):  # fmt: skip
        body = {"assistant_id": "weather", "input": SAYS, "stream_mode": modes}
        talk.stream(f"weather: {' '.join(modes)}", "POST", f"/threads/{talk.thread()}/runs/stream", body)
    body = {"assistant_id": "weather", "input": SAYS, "stream_mode": ["messages-tuple", "tasks"],
            "config": {"configurable": {"flavour": "mint"}, "tags": ["t"], "metadata": {"m": 1}},
            "metadata": {"r": 2}}  # fmt: skip
    talk.stream("weather configured", "POST", f"/threads/{talk.thread()}/runs/stream", body)
    talk.stream("weather configured on no thread", "POST", "/runs/stream", body)
