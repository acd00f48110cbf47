"""Asks one server, and keeps what it answered under the names of the steps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

NOTHING: Any = object()
READ = ("content-type", "location", "content-location", "x-pagination-next", "x-pagination-total", "cache-control",
        "access-control-allow-origin", "access-control-expose-headers")  # fmt: skip
"""The headers that clients read."""
FINISHED = ("success", "error", "timeout", "interrupted")


@dataclass(frozen=True)
class Answer:
    """What a server said: its status, the headers that clients read, and a body: JSON, text, or events."""

    status: int
    headers: dict[str, str]
    body: Any
    known: dict[str, str] = field(default_factory=dict)
    """The ids that the script knows so far, with its names for them."""


class Talk:
    """One script's talk with one server."""

    def __init__(self, url: str) -> None:
        self.answers: dict[str, Answer] = {}
        self._http = httpx2.Client(
            base_url=url, timeout=httpx2.Timeout(20), limits=httpx2.Limits(max_keepalive_connections=0)
        )
        self._known: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def knows(self, id: Any, name: str) -> Any:
        """Shows an id by a name from now on: it is to stand in the same places of both answers."""
        if isinstance(id, str):
            self._known[id] = name
        return id

    def ask(
        self,
        step: str,
        method: str,
        path: str,
        body: Any = NOTHING,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Any:
        """One request, and the JSON of its answer."""
        sent: dict[str, Any] = {"headers": dict(headers or {})}
        if content is not None:
            sent["content"] = content
            sent["headers"].setdefault("content-type", "application/json")
        elif body is not NOTHING:
            sent["json"] = body
        try:
            answer = self._http.request(method, path, **sent)
            told, status, read = _content(answer.text), answer.status_code, answer.headers
        except httpx2.HTTPError as problem:
            told, status, read = type(problem).__name__, 0, {}
        self._keep(step, status, read, told)
        return told

    def stream(
        self,
        step: str,
        method: str,
        path: str,
        body: Any = NOTHING,
        *,
        headers: Mapping[str, str] | None = None,
        quiet: float | None = None,
    ) -> list[dict[str, Any]]:
        """The server-sent events of an answer; where it stays open, until it was `quiet` for so many seconds."""
        sent = {} if body is NOTHING else {"json": body}
        timeout = httpx2.Timeout(20, read=quiet or 20)
        lines: list[str] = []
        status, read = 0, {}
        try:
            with self._http.stream(method, path, headers=dict(headers or {}), timeout=timeout, **sent) as answer:
                status, read = answer.status_code, dict(answer.headers)
                lines += answer.iter_lines() if quiet is None else []
                if quiet is not None:
                    for line in answer.iter_lines():
                        lines.append(line)
        except httpx2.ReadTimeout:
            if quiet is None:
                lines += ["event: (never ended)", "data: null", ""]
        except httpx2.HTTPError as problem:
            lines += [f"event: ({type(problem).__name__})", "data: null", ""]
        if not read.get("content-type", "").startswith("text/event-stream"):
            self._keep(step, status, read, _content("\n".join(lines)))
            return []
        events = list(_events(lines))
        self._keep(step, status, read, events)
        return events

    def look(self, method: str, path: str, body: Any = NOTHING) -> Any:
        """A request that is not compared."""
        sent = {} if body is NOTHING else {"json": body}
        return _content(self._http.request(method, path, **sent).text)

    def thread(self, **fields: Any) -> str:
        return self.knows(self.look("POST", "/threads", fields)["thread_id"], "thread")

    def ended(self, thread_id: str, run_id: str, seconds: float = 20) -> str:
        """Waits for a run's end; its status."""
        return self._until(f"/threads/{thread_id}/runs/{run_id}", FINISHED, seconds)

    def reaches(self, thread_id: str, next: list[str]) -> None:
        """Waits until a thread's state stands before these nodes."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.look("GET", f"/threads/{thread_id}/state").get("next") != next:
            time.sleep(0.05)

    def running(self, thread_id: str, run_id: str) -> str:
        return self._until(f"/threads/{thread_id}/runs/{run_id}", ("running", *FINISHED), 20)

    def settled(self, thread_id: str, seconds: float = 20) -> str:
        return self._until(f"/threads/{thread_id}", ("idle", "interrupted", "error"), seconds)

    def _until(self, path: str, wanted: tuple[str, ...], seconds: float) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.look("GET", path)
            if isinstance(found, dict) and found.get("status") in wanted:
                return found["status"]
            time.sleep(0.05)
        return "(waited in vain)"

    def run(self, thread_id: str, graph: str, input: Any = NOTHING, **fields: Any) -> Any:
        """A run that is waited for, and not compared."""
        given = {} if input is NOTHING else {"input": input}
        return self.look("POST", f"/threads/{thread_id}/runs/wait", {"assistant_id": graph, **given, **fields})

    def _keep(self, step: str, status: int, headers: Mapping[str, str], body: Any) -> None:
        assert step not in self.answers, f"{step}: the name is taken"
        read = {name: headers[name] for name in READ if name in headers}
        self.answers[step] = Answer(status, read, body, dict(self._known))


def _content(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _events(lines: list[str]) -> Any:
    event: dict[str, Any] = {}
    for line in lines:
        if not line:
            if "event" in event:  # else it only tells clients how long to wait before they come back
                yield event
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            event[name] = _content(value.removeprefix(" ")) if name == "data" else value.removeprefix(" ")
