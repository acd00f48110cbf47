"""Each operation asks for what the protocol's two documents say, in every form, sync and async.

The table holds the method, path, query and body of both documents: the version of April 2025 and the newest; and of
what Runyard has beyond them.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

import ap_client
import pytest
from ap_client import aio
from ap_client.models import (
    Agent,
    AgentSchema,
    EventStreamRequest,
    Item,
    Run,
    RunCreate,
    RunSearchRequest,
    RunStream,
    RunWaitResponse,
    SearchAgentsRequest,
    SearchItemsResponse,
    StoreDeleteRequest,
    StoreListNamespacesRequest,
    StorePutRequest,
    StoreSearchRequest,
    StreamingChannel,
    StreamingCommand,
    StreamingCommandResponse,
    Thread,
    ThreadCreate,
    ThreadPatch,
    ThreadSearchRequest,
    ThreadState,
    WebhookDelivery,
    WebhookSearchRequest,
)

from .fake import STREAM, FakeServer

T = "22222222-2222-4222-8222-222222222222"
R = "11111111-1111-4111-8111-111111111111"

# class, method, arguments by their documented names (in order), HTTP method, path, query, body, answer
OPERATIONS: list[tuple[str, str, dict[str, Any], str, str, list[tuple[str, str]], Any, Any]] = [
    ("AgentsApi", "get_agent", {"agent_id": "a/b"}, "GET", "/agents/a%2Fb", [], None, Agent),
    ("AgentsApi", "get_agent_schemas", {"agent_id": "e"}, "GET", "/agents/e/schemas", [], None, AgentSchema),
    (
        "AgentsApi",
        "search_agents",
        {"search_agents_request": SearchAgentsRequest(name="e", metadata={"a": 1}, limit=5, offset=2)},
        "POST",
        "/agents/search",
        [],
        {"name": "e", "metadata": {"a": 1}, "limit": 5, "offset": 2},
        [Agent],
    ),
    (
        "BackgroundRunsApi",
        "cancel_run",
        {"run_id": R, "wait": False, "action": "rollback"},
        "POST",
        f"/runs/{R}/cancel",
        [("wait", "false"), ("action", "rollback")],
        None,
        None,
    ),
    ("BackgroundRunsApi", "cancel_run", {"run_id": R}, "POST", f"/runs/{R}/cancel", [], None, None),
    (
        "BackgroundRunsApi",
        "create_run",
        {"run_create": RunCreate(agent_id="e", input={"a": 1})},
        "POST",
        "/runs",
        [],
        {"agent_id": "e", "input": {"a": 1}},
        Run,
    ),
    ("BackgroundRunsApi", "delete_run", {"run_id": R}, "DELETE", f"/runs/{R}", [], None, None),
    ("BackgroundRunsApi", "get_run", {"run_id": R}, "GET", f"/runs/{R}", [], None, Run),
    (
        "BackgroundRunsApi",
        "search_thread_runs",
        {"thread_id": T, "limit": 3, "offset": 1},
        "GET",
        f"/threads/{T}/runs",
        [("limit", "3"), ("offset", "1")],
        None,
        [Run],
    ),
    (
        "BackgroundRunsApi",
        "search_runs",
        {"run_search_request": RunSearchRequest(status="error", thread_id=T, agent_id="e", limit=1)},
        "POST",
        "/runs/search",
        [],
        {"status": "error", "thread_id": T, "agent_id": "e", "limit": 1},
        [Run],
    ),
    ("BackgroundRunsApi", "stream_run", {"run_id": R}, "GET", f"/runs/{R}/stream", [], None, STREAM),
    ("BackgroundRunsApi", "wait_run", {"run_id": R}, "GET", f"/runs/{R}/wait", [], None, RunWaitResponse),
    (
        "RunsApi",
        "create_and_stream_run",
        {"run_create": RunCreate(input=None, stream_mode=["values", "custom"])},
        "POST",
        "/runs/stream",
        [],
        {"input": None, "stream_mode": ["values", "custom"]},
        STREAM,
    ),
    (
        "RunsApi",
        "create_and_wait_run",
        {"run_create": RunCreate(thread_id=T, on_disconnect="continue")},
        "POST",
        "/runs/wait",
        [],
        {"thread_id": T, "on_disconnect": "continue"},
        RunWaitResponse,
    ),
    (
        "StoreApi",
        "delete_item",
        {"store_delete_request": StoreDeleteRequest(key="k", namespace=["a"])},
        "DELETE",
        "/store/items",
        [],
        {"key": "k", "namespace": ["a"]},
        None,
    ),
    (
        "StoreApi",
        "get_item",
        {"key": "a b", "namespace": ["x", "y&z"]},
        "GET",
        "/store/items",
        [("key", "a b"), ("namespace", "x"), ("namespace", "y&z")],
        None,
        Item,
    ),
    (
        "StoreApi",
        "list_namespaces",
        {"store_list_namespaces_request": StoreListNamespacesRequest(prefix=["a"], max_depth=2)},
        "POST",
        "/store/namespaces",
        [],
        {"prefix": ["a"], "max_depth": 2},
        [["a"]],
    ),
    (
        "StoreApi",
        "put_item",
        {"store_put_request": StorePutRequest(namespace=[], key="k", value={"a": None})},
        "PUT",
        "/store/items",
        [],
        {"namespace": [], "key": "k", "value": {"a": None}},
        None,
    ),
    (
        "StoreApi",
        "search_items",
        {"store_search_request": StoreSearchRequest(namespace_prefix=None, filter={"a": {"$gt": 1}})},
        "POST",
        "/store/items/search",
        [],
        {"namespace_prefix": None, "filter": {"a": {"$gt": 1}}},
        SearchItemsResponse,
    ),
    (
        "StreamingApi",
        "open_thread_sse_stream",
        {
            "thread_id": T,
            "event_stream_request": EventStreamRequest(
                channels=["messages", StreamingChannel("custom:cost")], namespaces=[[]], depth=0, since=42
            ),
        },
        "POST",
        f"/threads/{T}/stream",
        [],
        {"channels": ["messages", "custom:cost"], "namespaces": [[]], "depth": 0, "since": 42},
        STREAM,
    ),
    ("StreamingApi", "open_thread_websocket_stream", {"thread_id": T}, "GET", f"/threads/{T}/stream", [], None, None),
    (
        "StreamingApi",
        "send_thread_streaming_command",
        {"thread_id": T, "streaming_command": StreamingCommand(id=1, method="run.start", params={"assistantId": "e"})},
        "POST",
        f"/threads/{T}/commands",
        [],
        {"id": 1, "method": "run.start", "params": {"assistantId": "e"}},
        StreamingCommandResponse,
    ),
    ("ThreadsApi", "copy_thread", {"thread_id": T}, "POST", f"/threads/{T}/copy", [], None, Thread),
    (
        "ThreadsApi",
        "create_thread",
        {"thread_create": ThreadCreate(metadata={"m": 1}, if_exists="do_nothing")},
        "POST",
        "/threads",
        [],
        {"metadata": {"m": 1}, "if_exists": "do_nothing"},
        Thread,
    ),
    ("ThreadsApi", "delete_thread", {"thread_id": T}, "DELETE", f"/threads/{T}", [], None, None),
    ("ThreadsApi", "get_thread", {"thread_id": T}, "GET", f"/threads/{T}", [], None, Thread),
    (
        "ThreadsApi",
        "get_thread_history",
        {"thread_id": T, "limit": 2, "before": "c"},
        "GET",
        f"/threads/{T}/history",
        [("limit", "2"), ("before", "c")],
        None,
        [ThreadState],
    ),
    (
        "ThreadsApi",
        "patch_thread",
        {"thread_id": T, "thread_patch": ThreadPatch(values={"a": 1})},
        "PATCH",
        f"/threads/{T}",
        [],
        {"values": {"a": 1}},
        Thread,
    ),
    (
        "ThreadsApi",
        "search_threads",
        {"thread_search_request": ThreadSearchRequest(status="busy", values={"a": 1})},
        "POST",
        "/threads/search",
        [],
        {"status": "busy", "values": {"a": 1}},
        [Thread],
    ),
    ("WebhooksApi", "get_webhook", {"delivery_id": "msg_1"}, "GET", "/webhooks/msg_1", [], None, WebhookDelivery),
    (
        "WebhooksApi",
        "resend_webhook",
        {"delivery_id": "msg_1"},
        "POST",
        "/webhooks/msg_1/resend",
        [],
        None,
        WebhookDelivery,
    ),
    (
        "WebhooksApi",
        "search_webhooks",
        {"webhook_search_request": WebhookSearchRequest(status="parked", run_id=R, limit=5, offset=1)},
        "POST",
        "/webhooks/search",
        [],
        {"status": "parked", "run_id": R, "limit": 5, "offset": 1},
        [WebhookDelivery],
    ),
]
NAMES = [f"{row[0]}.{row[1]}" for row in OPERATIONS]


def check_request(server: FakeServer, method: str, path: str, query: list[tuple[str, str]], body: Any) -> None:
    sent = server.last
    assert (sent.method, sent.url.raw_path.partition(b"?")[0].decode()) == (method, path)
    assert list(sent.url.params.multi_items()) == query
    if body is None:
        assert sent.content == b""
        assert "content-type" not in sent.headers
    else:
        assert json.loads(sent.content) == body
        assert sent.headers["content-type"] == "application/json"


def check_answer(data: Any, wanted: Any) -> None:
    if isinstance(wanted, list) and isinstance(wanted[0], type):
        assert [type(each) for each in data] == wanted
    elif isinstance(wanted, type):
        assert type(data) is wanted
    else:
        assert data == wanted


@pytest.mark.parametrize(
    ("api", "name", "arguments", "method", "path", "query", "body", "wanted"), OPERATIONS, ids=NAMES
)
def test_every_form_sends_the_documented_request(
    server: FakeServer,
    api: str,
    name: str,
    arguments: Any,
    method: str,
    path: str,
    query: Any,
    body: Any,
    wanted: Any,
) -> None:
    instance = getattr(ap_client, api)(server.client())

    check_answer(getattr(instance, name)(*arguments.values()), wanted)
    check_request(server, method, path, query, body)

    answer = getattr(instance, f"{name}_with_http_info")(**arguments)
    assert isinstance(answer, ap_client.ApiResponse)
    assert answer.status_code in (101, 200, 204)
    check_answer(answer.data, wanted)
    check_request(server, method, path, query, body)

    raw = getattr(instance, f"{name}_without_preload_content")(**arguments)
    assert raw.data == answer.raw_data
    check_request(server, method, path, query, body)


@pytest.mark.parametrize(
    ("api", "name", "arguments", "method", "path", "query", "body", "wanted"), OPERATIONS, ids=NAMES
)
def test_the_async_api_sends_the_same(
    server: FakeServer,
    api: str,
    name: str,
    arguments: Any,
    method: str,
    path: str,
    query: Any,
    body: Any,
    wanted: Any,
) -> None:
    async def scene() -> None:
        async with server.async_client() as client:
            instance = getattr(aio, api)(client)
            check_answer(await getattr(instance, name)(*arguments.values()), wanted)
            check_request(server, method, path, query, body)
            answer = await getattr(instance, f"{name}_with_http_info")(**arguments)
            check_answer(answer.data, wanted)
            async with await getattr(instance, f"{name}_without_preload_content")(**arguments) as raw:
                assert await raw.read() == answer.raw_data

    asyncio.run(scene())


def test_the_wish_for_a_run_goes_by_either_name(server: FakeServer) -> None:
    background, runs = ap_client.BackgroundRunsApi(server.client()), ap_client.RunsApi(server.client())
    for wish in (RunCreate(agent_id="e"), RunStream(agent_id="e"), {"agent_id": "e"}):
        for create in (background.create_run, runs.create_and_stream_run):
            create(wish)
            create(run_create=wish)
            create(run_stream=wish)
    assert {request.content for request in server.requests} == {b'{"agent_id":"e"}'}


def test_the_wish_under_both_names_or_none_is_refused(server: FakeServer) -> None:
    api = ap_client.BackgroundRunsApi(server.client())
    with pytest.raises(ap_client.ApiTypeError, match="two names of one argument"):
        api.create_run(RunCreate(), run_stream=RunStream())
    with pytest.raises(ap_client.ApiTypeError, match="run_create must be a RunCreate or a mapping, not None"):
        api.create_run()
    assert server.requests == []


def test_a_mapping_is_sent_with_all_its_keys(server: FakeServer) -> None:
    body = {"agent_id": "e", "x_later": {"a": [1]}, "messages": [{"role": "user", "content": "hi", "x": 1}]}
    ap_client.BackgroundRunsApi(server.client()).create_run(body)
    assert server.last_body == body


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_an_id_that_names_nothing_is_refused(server: FakeServer, value: str) -> None:
    with pytest.raises(ap_client.ApiValueError, match="run_id must name something"):
        ap_client.BackgroundRunsApi(server.client()).get_run(value)
    assert server.requests == []


def test_an_id_may_be_a_uuid(server: FakeServer) -> None:
    ap_client.BackgroundRunsApi(server.client()).get_run(UUID(R))
    assert server.last.url.path == f"/runs/{R}"


def test_an_id_of_another_type_is_named(server: FakeServer) -> None:
    with pytest.raises(ap_client.ApiTypeError, match="run_id must be a string or a UUID, not None"):
        ap_client.BackgroundRunsApi(server.client()).get_run(None)
