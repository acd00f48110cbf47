"""Graphs that need the engine for more than their writes: states that were put before, stores of both kinds."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


async def _first(state: Log) -> dict[str, Any]:
    return {"log": ["first"]}


async def _second(state: Log, config: RunnableConfig) -> dict[str, Any]:
    saver = config["configurable"]["__pregel_checkpointer"]
    whole = {"configurable": {"thread_id": config["configurable"]["thread_id"], "checkpoint_ns": ""}}
    history = [len(one.checkpoint["channel_values"].get("log", [])) async for one in saver.alist(whole)]
    return {"log": [history]}


looks_back = (
    StateGraph(Log)
    .add_node("first", _first)
    .add_node("second", _second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .compile()
)


async def _stores(state: Log, *, store: BaseStore) -> dict[str, Any]:
    await store.aput(("own",), "k", {"v": 1})
    item = await store.aget(("own",), "k")
    return {"log": [None if item is None else item.value, await store.aget(("own",), "none")]}


def _stores_blocking(state: Log, *, store: BaseStore) -> dict[str, Any]:
    store.put(("own",), "blocking", {"v": 2})
    return {"log": [[item.key for item in store.search(("own",))]]}


stores = (
    StateGraph(Log)
    .add_node("stores", _stores)
    .add_node("blocking", _stores_blocking)
    .add_edge(START, "stores")
    .add_edge("stores", "blocking")
    .compile()
)


def made(runtime: Any) -> Any:
    """A factory: its store belongs to the server, not to a run."""
    store = runtime.store

    async def keep(state: Log) -> dict[str, Any]:
        await store.aput(("server",), "k", {"v": 3})
        found = await store.aget(("server",), "none")
        return {"log": [found, [item.key for item in await store.asearch(("server",))]]}

    def keep_blocking(state: Log) -> dict[str, Any]:
        store.put(("server",), "blocking", {"v": 4})
        return {"log": [store.get(("server",), "blocking").value]}

    builder = StateGraph(Log).add_node("keep", keep).add_node("blocking", keep_blocking)
    return builder.add_edge(START, "keep").add_edge("keep", "blocking")
