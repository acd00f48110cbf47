"""A server in the test's own process: records what was asked, answers what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ap_client
import httpx2
from ap_client import aio
from ap_client.api_client import ApiClient

RUN = {
    "run_id": "11111111-1111-4111-8111-111111111111",
    "thread_id": "22222222-2222-4222-8222-222222222222",
    "agent_id": "echo",
    "status": "success",
    "created_at": "2025-04-16T18:23:20+00:00",
    "updated_at": "2025-04-16T18:23:21.500000+00:00",
    "metadata": {},
}
THREAD = {
    "thread_id": RUN["thread_id"],
    "created_at": RUN["created_at"],
    "updated_at": RUN["updated_at"],
    "metadata": {},
    "status": "idle",
}
AGENT = {"agent_id": "echo", "name": "Echo", "capabilities": {"ap.io.messages": True, "x.y": 1}}
SCHEMAS = {"agent_id": "echo", "input_schema": {}, "output_schema": {}}
WAITED = {"run": RUN, "values": {"output": 1}, "messages": []}
STATE = {"checkpoint": {"checkpoint_id": "33333333-3333-4333-8333-333333333333"}, "values": {"a": 1}}
ITEM = {
    "namespace": ["a"],
    "key": "k",
    "value": {"v": 1},
    "created_at": RUN["created_at"],
    "updated_at": RUN["updated_at"],
}
COMMANDED = {"type": "success", "id": 1, "result": {"runId": RUN["run_id"]}, "meta": {"appliedThroughSeq": 7}}
DELIVERY = {
    "delivery_id": "msg_1",
    "run_id": RUN["run_id"],
    "thread_id": RUN["thread_id"],
    "url": "https://a.example/hook",
    "status": "parked",
    "attempts": 3,
    "created_at": RUN["created_at"],
    "parked_at": RUN["updated_at"],
}
STREAM = 'id: 1\nevent: metadata\ndata: {"run_id": "r"}\n\nid: 2\nevent: end\ndata: {"status": "success"}\n\n'


def _answer_of(method: str, path: str) -> httpx2.Response:
    parts = path.strip("/").split("/")
    if method == "DELETE" or (path == "/store/items" and method == "PUT") or parts[-1] == "cancel":
        return httpx2.Response(204)
    if parts[-1] == "commands":
        return httpx2.Response(200, json=COMMANDED)
    if (method, parts[0], parts[-1]) == ("GET", "threads", "stream"):
        return httpx2.Response(101)
    if parts[-1] == "stream":
        return httpx2.Response(200, text=STREAM, headers={"content-type": "text/event-stream"})
    if parts[-1] == "wait":
        return httpx2.Response(200, json=WAITED)
    if parts[0] == "agents":
        found: Any = [AGENT] if parts[1] == "search" else SCHEMAS if len(parts) == 3 else AGENT
        return httpx2.Response(200, json=found)
    if parts[0] == "store":
        found = {"items": [ITEM]} if parts[-1] == "search" else [["a"]] if parts[-1] == "namespaces" else ITEM
        return httpx2.Response(200, json=found)
    if parts[0] == "webhooks":
        return httpx2.Response(200, json=[DELIVERY] if parts[-1] == "search" else DELIVERY)
    if parts[-1] == "history":
        return httpx2.Response(200, json=[STATE])
    if parts[0] == "threads" and parts[-1] != "runs":
        return httpx2.Response(200, json=[THREAD] if parts[-1] == "search" else THREAD)
    listed = parts[-1] in ("search", "runs") and (method, path) != ("POST", "/runs")
    return httpx2.Response(200, json=[RUN] if listed else RUN)


class FakeServer:
    """Answers every operation with something valid, unless `answer` (a response, or a function) says more."""

    def __init__(self, answer: httpx2.Response | Callable[[httpx2.Request], httpx2.Response] | None = None) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer = answer

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if isinstance(self._answer, httpx2.Response):
            return self._answer
        if self._answer is not None:
            return self._answer(request)
        return _answer_of(request.method, request.url.path)

    @property
    def last(self) -> httpx2.Request:
        return self.requests[-1]

    @property
    def last_body(self) -> Any:
        return json.loads(self.last.content)

    def client(self, configuration: ap_client.Configuration | None = None, **more: Any) -> ApiClient:
        http = httpx2.Client(transport=httpx2.MockTransport(self))
        return ApiClient(configuration or ap_client.Configuration(host="http://server"), http_client=http, **more)

    def async_client(self) -> aio.ApiClient:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return aio.ApiClient(ap_client.Configuration(host="http://server"), http_client=http)
