"""Every operation of both documents, through the client, against a real server: what is answered is what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import ap_client
import protocol_documents as documents
import pytest
from ap_client import ApiException
from server_process import ServerProcess

NOT_SERVED_YET = {"open_thread_sse_stream", "open_thread_websocket_stream", "send_thread_streaming_command"}
ABSENT = "01a20c2f-0000-7000-8000-000000000000"
SERVED = [
    (version, operation)
    for version in documents.VERSIONS
    for operation in documents.operations(version).values()
    if operation.name not in NOT_SERVED_YET
]


class Situation:
    """A thread with a finished run, and an item; each made anew for the one who asks."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        thread = server.threads.create_thread({"metadata": {"of": "documents"}})
        self.thread_id = thread.thread_id
        done = server.runs.create_and_wait_run(self.wish())
        assert done.run is not None
        self.run_id = done.run.run_id
        ap_client.StoreApi(server.client).put_item({"namespace": ["docs"], "key": "k", "value": {"a": 1}})

    def wish(self) -> dict[str, Any]:
        return {"agent_id": "echo", "thread_id": self.thread_id, "input": "hello", "metadata": {"m": 1}}


BODIES: dict[str, Callable[[Situation], dict[str, Any]]] = {
    "SearchAgentsRequest": lambda s: {"name": "echo", "limit": 5},
    "ThreadCreate": lambda s: {"metadata": {"a": 1}},
    "ThreadSearchRequest": lambda s: {"metadata": {"of": "documents"}, "limit": 3},
    "ThreadPatch": lambda s: {"values": {"a": 1}, "metadata": {"b": 2}},
    "RunSearchRequest": lambda s: {"thread_id": s.thread_id, "limit": 3},
    "RunCreate": Situation.wish,
    "RunStream": lambda s: {**s.wish(), "stream_mode": ["values", "updates"]},
    "StorePutRequest": lambda s: {"namespace": ["docs"], "key": "k2", "value": {"a": 1}},
    "StoreDeleteRequest": lambda s: {"namespace": ["docs"], "key": "k"},
    "StoreSearchRequest": lambda s: {"namespace_prefix": ["docs"], "limit": 5},
    "StoreListNamespacesRequest": lambda s: {"prefix": ["docs"]},
}
QUERIES: dict[str, dict[str, Any]] = {
    "get_thread_history": {"limit": 5},
    "search_thread_runs": {"limit": 5, "offset": 0},
    "cancel_run": {"wait": True, "action": "interrupt"},
    "get_item": {"key": "k", "namespace": ["docs"]},
}


def named(value: Any) -> str:
    return value.name if isinstance(value, documents.DocumentedOperation) else str(value)


def arguments(version: str, operation: documents.DocumentedOperation, situation: Situation) -> list[Any]:
    ids = {"agent_id": "echo", "thread_id": situation.thread_id, "run_id": situation.run_id}
    found = [ids[name] for name in operation.ids]
    found += [QUERIES.get(operation.name, {}).get(field.name) for field in operation.query]
    if operation.body:
        body = BODIES[operation.body](situation)
        assert list(documents.problems(operation.body, body, version)) == []
        # The names differ by a version; the call is by position.
        found.append(body)
    return found


@pytest.mark.parametrize(("version", "operation"), SERVED, ids=named)
def test_what_is_answered_is_what_is_documented(
    version: str, operation: documents.DocumentedOperation, examples_server: ServerProcess
) -> None:
    situation = Situation(examples_server)
    api = getattr(ap_client, operation.api)(examples_server.client)
    answer = getattr(api, f"{operation.name}_with_http_info")(*arguments(version, operation, situation))
    if operation.answer.isdigit():
        assert (answer.status_code, answer.raw_data, answer.data) == (int(operation.answer), b"", None)
        return
    assert answer.status_code == 200
    media = answer.headers["content-type"].partition(";")[0]
    if operation.answer == "text/event-stream" or operation.name == "stream_run":
        assert media == "text/event-stream"
        assert answer.data == answer.raw_data.decode()
        assert "event: end\n" in answer.data
        return
    assert media == "application/json"
    told = json.loads(answer.raw_data)
    assert list(documents.problems(operation.answer, told, version)) == []
    assert told, "an empty list would prove nothing"
    read = answer.data
    assert ([plain(each) for each in read] if isinstance(read, list) else plain(read)) == without_nulls(told)


def without_nulls(value: Any) -> Any:
    """As the client tells it: what is null reads as None, like what is not there."""
    if isinstance(value, list):
        return [without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return value


def plain(value: Any) -> Any:
    return json.loads(value.to_json()) if hasattr(value, "to_json") else value


WITH_IDS = [pair for pair in SERVED if pair[1].ids]
UNKNOWN = [(404, *pair) for pair in WITH_IDS]
# An agent's id is any text.
NO_ID = [(422, *pair) for pair in WITH_IDS if pair[1].ids != ["agent_id"]]


@pytest.mark.parametrize(("status", "version", "operation"), UNKNOWN + NO_ID, ids=named)
def test_an_id_that_is_unknown_or_none_is_answered_as_documented(
    status: int, version: str, operation: documents.DocumentedOperation, examples_server: ServerProcess
) -> None:
    wrong = ABSENT if status == 404 else "no-uuid"
    api = getattr(ap_client, operation.api)(examples_server.client)
    body = [{}] if operation.body else []
    with pytest.raises(ApiException) as caught:
        getattr(api, operation.name)(wrong, *[None for _ in operation.query], *body)
    assert caught.value.status == status
    assert status in operation.errors
    assert list(documents.problems("ErrorResponse", json.loads(caught.value.body or ""), "new")) == []
    assert caught.value.code
