"""Graphs whose code asks the server that executes it, by LangGraph's SDK without a URL."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client
from typing_extensions import TypedDict


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


async def _asks(state: Log) -> dict[str, Any]:
    client = get_client()
    found = await client.http.get("/info")
    await client.store.put_item(("inside",), "k", {"v": 1})
    try:
        await client.threads.get("2f6d7c1e-0000-4000-8000-000000000000")
    except Exception as error:
        return {"log": [sorted(found), type(error).__name__]}
    return {"log": [sorted(found), "a thread that is not there"]}


async def _streams(state: Log) -> dict[str, Any]:
    """Hears what a run tells while it executes, and leaves a stream that does not end."""
    client = get_client()
    thread = await client.threads.create()
    told = [part.event async for part in client.runs.stream(thread["thread_id"], "asks", input={"log": []})]
    path, wish = f"/threads/{thread['thread_id']}/stream/events", {"channels": ["lifecycle"]}
    async with client.http.client.stream("POST", path, json=wish) as stream:
        return {"log": [told[0], told[-1], stream.status_code, stream.headers["content-type"]]}


asks = StateGraph(Log).add_node("asks", _asks).add_edge(START, "asks").compile()
streams = StateGraph(Log).add_node("streams", _streams).add_edge(START, "streams").compile()
