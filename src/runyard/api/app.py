"""The route table of the Agent Protocol, on one screen; and all that a server offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from starlette.routing import Router as StarletteRouter
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from runyard.api import agents, runs, store, system, threads, webhooks
from runyard.api.context import ApiContext
from runyard.api.custom import Custom
from runyard.api.described import described
from runyard.api.faces import Face, Mounts, Prefixed, Table
from runyard.api.gate import Gate
from runyard.api.langgraph import app as langgraph
from runyard.api.langgraph import problems as langgraph_problems
from runyard.api.streaming import routes as streaming

openapi_document, docs = described(lambda: ROUTES)

ROUTES: Table = (
    ("/runs/wait", {"POST": runs.create_and_wait_run}),
    ("/runs/stream", {"POST": runs.create_and_stream_run}),
    ("/runs", {"POST": runs.create_run}),
    ("/runs/search", {"POST": runs.search_runs}),
    ("/runs/resume", {"PATCH": runs.resume_run}),
    ("/runs/resume/wait", {"PATCH": runs.resume_and_wait_run}),
    ("/runs/resume/stream", {"PATCH": runs.resume_and_stream_run}),
    ("/runs/{run_id}", {"GET": runs.get_run, "DELETE": runs.delete_run}),
    ("/runs/{run_id}/wait", {"GET": runs.wait_run}),
    ("/runs/{run_id}/stream", {"GET": runs.stream_run}),
    ("/runs/{run_id}/cancel", {"POST": runs.cancel_run}),
    ("/threads", {"POST": threads.create_thread}),
    ("/threads/search", {"POST": threads.search_threads}),
    ("/threads/{thread_id}", {
        "GET": threads.get_thread, "PATCH": threads.patch_thread, "DELETE": threads.delete_thread,
    }),
    ("/threads/{thread_id}/history", {"GET": threads.get_thread_history}),
    ("/threads/{thread_id}/copy", {"POST": threads.copy_thread}),
    ("/threads/{thread_id}/stream", {
        "POST": streaming.open_thread_sse_stream, "GET": streaming.open_thread_websocket_stream,
    }),
    ("/threads/{thread_id}/commands", {"POST": streaming.send_thread_streaming_command}),
    ("/threads/{thread_id}/runs", {
        "POST": runs.create_run.on_thread("create_thread_run"), "GET": runs.search_thread_runs,
    }),
    ("/threads/{thread_id}/runs/wait", {
        "POST": runs.create_and_wait_run.on_thread("create_and_wait_thread_run"),
    }),
    ("/threads/{thread_id}/runs/stream", {
        "POST": runs.create_and_stream_run.on_thread("create_and_stream_thread_run"),
    }),
    ("/threads/{thread_id}/runs/{run_id}", {
        "GET": runs.get_run.on_thread("get_thread_run"),
        "DELETE": runs.delete_run.on_thread("delete_thread_run"),
    }),
    ("/threads/{thread_id}/runs/{run_id}/wait", {"GET": runs.wait_run.on_thread("wait_thread_run")}),
    ("/threads/{thread_id}/runs/{run_id}/stream", {"GET": runs.stream_run.on_thread("stream_thread_run")}),
    ("/threads/{thread_id}/runs/{run_id}/cancel", {"POST": runs.cancel_run.on_thread("cancel_thread_run")}),
    ("/store/items", {"GET": store.get_item, "PUT": store.put_item, "DELETE": store.delete_item}),
    ("/store/items/search", {"POST": store.search_items}),
    ("/store/namespaces", {"POST": store.list_namespaces}),
    ("/webhooks/search", {"POST": webhooks.search_webhooks}),
    ("/webhooks/{delivery_id}", {"GET": webhooks.get_webhook}),
    ("/webhooks/{delivery_id}/resend", {"POST": webhooks.resend_webhook}),
    ("/agents/search", {"POST": agents.search_agents}),
    ("/agents/{agent_id}", {"GET": agents.get_agent}),
    ("/agents/{agent_id}/schemas", {"GET": agents.get_agent_schemas}),
    ("/ok", {"GET": system.ok}),
    ("/ready", {"GET": system.ready}),
    ("/metrics", {"GET": system.metrics}),
    ("/info", {"GET": system.info}),
    ("/openapi.json", {"GET": openapi_document}),
    ("/docs", {"GET": docs}),
)  # fmt: skip


AGENT_PROTOCOL = Face(ROUTES)
HEALTH = Face(tuple(route for route in ROUTES if route[0] in ("/ok", "/ready", "/metrics")))
"""All that a worker answers."""
LANGGRAPH = Face(langgraph.ROUTES, langgraph_problems)

Root = Literal["agent-protocol", "langgraph"]
Faces = Mapping[str, Face]
"""By the path below which each is mounted; one is at the root, which is empty."""


def faces(root: Root = "agent-protocol") -> Faces:
    """What a server offers: one face at the root, the other below a path of its own."""
    if root == "langgraph":
        return {"": LANGGRAPH, "/agent-protocol": AGENT_PROTOCOL}
    return {"": AGENT_PROTOCOL, "/langgraph": LANGGRAPH}


def build(
    api: ApiContext,
    lifespan: Lifespan[Any] | None = None,
    offered: Faces | None = None,
    custom: Custom | None = None,
    prefix: str = "",
) -> ASGIApp:
    """The API as an ASGI app, behind the user's own one where there is one, and below `prefix`; `lifespan` is run when
    the server starts and stops it."""
    built = {place: face.build(api, place, custom) for place, face in (offered or faces()).items()}
    mounts = Mounts(built.pop(""), built)
    served = Prefixed(mounts, prefix) if prefix else mounts
    gate = Gate(served, api.allowed_hosts, api.cors, served.place_of)
    life = StarletteRouter(lifespan=lifespan)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (life if scope["type"] == "lifespan" else gate)(scope, receive, send)

    return app
