"""`make oracle ARGS=streaming.cddl`: what our server tells of a thread, against the streaming protocol's own document.

The document is the file that the protocol's repository has. Each event is held against the rule of its own kind: the
rule of all events takes too much. What the document does not have yet (`input.answered`, `runId`) is left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import cbor2
import pycddl

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "stories")]

from server_process import EXAMPLES, ServerProcess  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

RULES = {
    "lifecycle": "LifecycleEvent", "messages": "MessagesEvent", "tools": "ToolsEvent", "input.requested": "InputEvent",
    "values": "ValuesEvent", "updates": "UpdatesEvent", "checkpoints": "CheckpointsEvent", "custom": "CustomEvent",
    "tasks": "TasksEvent",
}  # fmt: skip
RESULTS = {
    "run.start": "RunResult", "subscription.subscribe": "SubscribeResult", "agent.getTree": "AgentResult",
    "state.get": "StateGetResult", "state.listCheckpoints": "ListCheckpointsResult", "state.fork": "StateForkResult",
    "input.respond": "InputResult",
}  # fmt: skip
STORIES: list[tuple[str, Any]] = [
    ("research_team", {"question": "how do bees agree?", "folder": str(EXAMPLES / "texts")}),
    ("refund", {"order": "A-1004", "reason": "damaged", "returned": "2025-03-01"}),
]


def main(arguments: list[str]) -> int:
    """Says what is wrong; 1 where something is, 2 without exactly one document."""
    if len(arguments) != 1:
        print('one document is needed: make oracle ARGS="streaming.cddl"', file=sys.stderr)
        return 2
    document = Path(arguments[0]).read_text()
    told = Counter[str]()
    faults: list[str] = []

    def hold(rule: str, value: Any) -> None:
        told[rule] += 1
        try:
            pycddl.Schema(f"start = {rule}\n{document}").validate_cbor(cbor2.dumps(value))
        except pycddl.ValidationError as error:
            faults.append(f"{rule}: {error}\n  {json.dumps(value)[:500]}")

    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder), EXAMPLES)
        try:
            server.start()
            for agent, input in STORIES:
                _hold_story(server, agent, input, hold)
        finally:
            server.end()
    print("\n".join([*(f"  {rule:24}{count}" for rule, count in sorted(told.items())), *faults]))
    return 1 if faults else 0


def _hold_story(server: ServerProcess, agent: str, input: Any, hold: Any) -> None:
    with connect(f"ws://127.0.0.1:{server.port}/threads/{uuid4()}/stream", max_size=None) as socket:
        number = 0
        waiting: list[dict[str, Any]] = []

        def ask(method: str, **params: Any) -> dict[str, Any]:
            nonlocal number
            number += 1
            socket.send(json.dumps({"id": number, "method": method, "params": params}))
            while (message := json.loads(socket.recv(timeout=20)))["type"] == "event":
                waiting.append(message)
            hold("CommandResponse" if message["type"] == "success" else "ErrorResponse", message)
            if message["type"] == "success":
                hold(RESULTS[method], message["result"])
            return message

        channels = [rule for rule in RULES if rule != "input.requested"]
        ask("subscription.subscribe", channels=[*channels, "input"])
        ask("run.start", assistantId=agent, input=input)
        asked = _follow(socket, waiting, hold)
        if asked is not None:
            ask("input.respond", namespace=[], interruptId=asked, response="approve")
            _follow(socket, waiting, hold)
        ask("agent.getTree")
        ask("state.get", namespace=[])
        listed = ask("state.listCheckpoints")
        ask("state.fork", checkpointId=listed["result"]["checkpoints"][-1]["id"], input=input)
        ask("state.get", namespace=["nowhere"])


def _follow(socket: Any, waiting: list[dict[str, Any]], hold: Any) -> str | None:
    """Until the run has ended; the id of the question that it asked."""
    asked: str | None = None
    while True:
        event = waiting.pop(0) if waiting else json.loads(socket.recv(timeout=20))
        method, params = event["method"], event["params"]
        if method in RULES:
            hold(RULES[method], {"method": method, "params": params})
        if method == "input.requested":
            asked = params["data"]["interruptId"]
        ends = method == "lifecycle" and params["data"]["event"] in ("completed", "failed", "interrupted")
        if ends and not params["namespace"]:
            return asked
