"""One request for every route of both faces, on things that somebody has, and what those look like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from projects import Guarded

from runyard.api.app import AGENT_PROTOCOL, LANGGRAPH

SECRET = "s3cr3t"
"""Stands in everything that is somebody's."""
FACES = {"": AGENT_PROTOCOL, "/langgraph": LANGGRAPH}
SAYS_NOTHING = {"metrics"}
"""Operations that take a user, and say nothing of what any user has."""
NEW = "019b0000-0000-7000-8000-000000000000"
"""An id of nothing."""
STREAMS = {
    "open_thread_sse_stream", "open_thread_event_stream", "join_thread_stream",
}  # fmt: skip
"""Those that do not end by themselves."""


class Things(NamedTuple):
    """What somebody has."""

    thread_id: str
    run_id: str
    stateless_id: str
    checkpoint_id: str
    assistant_id: str
    cron_id: str
    delivery_id: str
    agent_id: str = "echo"
    namespace: str = "a:b"


class Attempt(NamedTuple):
    """One operation, and a request for it."""

    operation: str
    method: str
    path: str
    body: Any
    query: dict[str, str]


async def things_of(s: Guarded, who: str) -> Things:
    """One of everything, made by somebody over the API."""
    thread_id = await s.thread(who, metadata={"note": SECRET})
    hook = {"webhook": "https://example.invalid/hook"}
    ran = await s.post(who, f"/threads/{thread_id}/runs/wait", {"input": SECRET, "metadata": {"n": SECRET}, **hook})
    alone = await s.post(who, "/runs/wait", {"input": SECRET})
    (state, *_) = (await s.get(who, f"/threads/{thread_id}/history")).json()
    assistant = await s.post(
        who, "/langgraph/assistants", {"graph_id": "echo", "name": SECRET, "config": {"configurable": {"k": SECRET}}}
    )
    cron = await s.post(
        who, "/langgraph/runs/crons", {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": SECRET}
    )
    await s.ask(who, "PUT", "/store/items", {"namespace": ["kept"], "key": "item", "value": {"v": SECRET}})
    (delivery, *_) = (await s.post(who, "/webhooks/search")).json()
    return Things(
        thread_id, ran.json()["run"]["run_id"], alone.json()["run"]["run_id"], state["checkpoint"]["checkpoint_id"],
        assistant.json()["assistant_id"], cron.json()["cron_id"], delivery["delivery_id"],
    )  # fmt: skip


def attempts(face: str, things: Things) -> Iterator[Attempt]:
    """A request for each operation that is not for everybody, but for WebSockets."""
    for path, methods in FACES[face].table:
        for method, operation in methods.items():
            asked = operation.needs != "nothing" and operation.id not in SAYS_NOTHING
            if asked and operation.socket is None:
                stateless = "/threads/" not in path and "{run_id}" in path
                names = {**things._asdict(), "run_id": things.stateless_id if stateless else things.run_id}
                body = _body(face, operation.id, things) if method in ("POST", "PUT", "PATCH", "DELETE") else None
                query = {"namespace": "kept", "key": "item"} if operation.id == "get_item" else {}
                yield Attempt(operation.id, method, face + path.format(**names), body, query)


def sockets(face: str, things: Things) -> list[str]:
    """The paths of WebSockets."""
    table = FACES[face].table
    return [face + path.format(**things._asdict()) for path, ops in table if any(op.socket for op in ops.values())]


def _body(face: str, operation: str, things: Things) -> Any:
    item = {"namespace": ["kept"], "key": "item"}
    run = {"assistant_id": "echo", "input": "x"} if face else {"thread_id": things.thread_id, "input": "x"}
    cron = {"assistant_id": "echo", "schedule": "0 0 1 1 *", "input": "x"}
    checkpoint = {"checkpoint": {"checkpoint_id": things.checkpoint_id}}
    bodies: dict[str, Any] = {
        "put_item": {**item, "value": {"v": "mine"}},
        "delete_item": item,
        "search_items": {"namespace_prefix": ["kept"]},
        "create_runs": [run],
        "resume_run": {"thread_id": things.thread_id, "input": "yes"},
        "cancel_runs": {"thread_id": things.thread_id, "run_ids": [things.run_id]},
        "prune_threads": {"thread_ids": [things.thread_id], "strategy": "keep_latest"},
        "patch_thread": {"metadata": {"note": "mine"}},
        "create_assistant": {"graph_id": "echo", "assistant_id": things.assistant_id},
        "patch_assistant": {"name": "mine"},
        "set_latest_assistant_version": {"version": 1},
        "update_state": {"values": {"heard": "mine"}},
        "post_state_at": checkpoint,
        "create_cron": cron,
        "create_thread_cron": cron,
        "patch_cron": {"schedule": "0 1 1 1 *"},
        "create_thread": {"thread_id": things.thread_id, "if_exists": "do_nothing"},
        "open_thread_sse_stream": {"channels": ["values", "lifecycle"], "since": 0},
        "open_thread_event_stream": {"channels": ["values", "lifecycle"], "since": 0},
        "send_thread_streaming_command": {"id": 1, "method": "state.get", "params": {}},
        "send_thread_command": {"id": 1, "method": "state.get", "params": {}},
    }
    if operation in bodies:
        return bodies[operation]
    if operation.startswith("resume_"):
        return bodies["resume_run"]
    creates = operation.startswith(("create_", "wait_", "stream_")) and operation not in ("create_thread",)
    return run if creates else {}


async def tried(s: Guarded, who: str, attempt: Attempt) -> tuple[int, str]:
    """The status and the whole of an answer; of a stream that does not end, as much as comes while nothing happens."""
    if attempt.operation not in STREAMS:
        answer = await s.ask(who, attempt.method, attempt.path, attempt.body, params=attempt.query)
        return answer.status_code, answer.text
    watch = Watch(s, who, attempt)
    await asyncio.wait({watch.handling}, timeout=0.2)
    await watch.leave()
    return watch.status, watch.text


class Watch:
    """A stream that somebody reads while others do something."""

    def __init__(self, s: Guarded, who: str, attempt: Attempt) -> None:
        self.status = 0
        self.text = ""
        self._sent = False
        self._left = asyncio.Event()
        self._body = b"" if attempt.body is None else json.dumps(attempt.body).encode()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": attempt.method,
            "scheme": "http", "path": attempt.path, "raw_path": attempt.path.encode(), "query_string": b"",
            "root_path": "", "server": ("testserver", 80), "client": ("127.0.0.1", 1),
            "headers": [(b"host", b"testserver"), (b"authorization", f"Bearer {who}".encode())],
        }  # fmt: skip
        self.handling = asyncio.ensure_future(s.server.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._sent:
            self._sent = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message.get("body", b"").decode()

    async def leave(self) -> None:
        self._left.set()
        await self.handling


async def world(s: Guarded, who: str, things: Things) -> dict[str, Any]:
    """What somebody has, as they see it."""
    thread = (await s.get(who, f"/threads/{things.thread_id}")).json()
    seen = {
        "thread": {key: thread.get(key) for key in ("metadata", "values", "status")},
        "history": len((await s.get(who, f"/threads/{things.thread_id}/history")).json()),
        "runs": [(run["run_id"], run["status"]) for run in (await s.post(who, "/runs/search", {"limit": 100})).json()],
        "item": (await s.get(who, "/store/items", params={"namespace": "kept", "key": "item"})).json().get("value"),
        "assistant": (await s.get(who, f"/langgraph/assistants/{things.assistant_id}")).json(),
        "cron": (await s.get(who, f"/langgraph/runs/crons/{things.cron_id}")).json(),
    }
    assert SECRET in json.dumps(seen["thread"])
    return seen
