"""Graphs that search by meaning, with a store of each kind, awaiting and blocking."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from typing import Annotated, Any

from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore, PutOp, SearchItem, SearchOp
from typing_extensions import TypedDict

PLACES: dict[str, int] = {}


class Log(TypedDict):
    log: Annotated[list[Any], operator.add]


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Counts words."""
    vectors = [[0.0] * 32 for _ in texts]
    for vector, text in zip(vectors, texts, strict=True):
        for word in text.split():
            vector[PLACES.setdefault(word, len(PLACES))] += 1.0
    return vectors


async def aembed(texts: Sequence[str]) -> list[list[float]]:
    """The same, awaited."""
    return embed(texts)


def told(found: Sequence[SearchItem]) -> list[Any]:
    return [[item.key, None if item.score is None else round(item.score, 3)] for item in found]


async def _awaits(state: Log, *, store: BaseStore) -> dict[str, Any]:
    await store.aput(("meant",), "tea", {"text": "green tea", "n": 1})
    await store.aput(("meant",), "sea", {"text": "green sea", "n": 2})
    await store.aput(("meant",), "left out", {"text": "green tea"}, index=False)
    await store.aput(("meant",), "other", {"text": "red", "title": "green tea"}, index=["title"])
    found = await store.asearch(("meant",), query="green tea")
    pages = await store.asearch(("meant",), query="green tea", filter={"n": {"$gt": 0}}, limit=1, offset=1)
    all_of_them = await store.asearch(("meant",))
    return {"log": [os.getpid(), told(found), told(pages), len(all_of_them), told(all_of_them)[0][1]]}


def _blocks(state: Log) -> dict[str, Any]:
    store = get_store()
    ops = [
        SearchOp(("meant",), query="green sea", limit=2),
        PutOp(("meant",), "tea", {"text": "coffee"}),
        SearchOp(("meant",), query="coffee", limit=1),
        PutOp(("meant",), "other", None),
    ]
    before, _, nothing, _ = store.batch(ops)
    assert isinstance(before, list)
    assert isinstance(nothing, list)
    return {"log": [told(before), told(nothing), told(store.search(("meant",), query="coffee"))]}


means = (
    StateGraph(Log)
    .add_node("awaits", _awaits)
    .add_node("blocks", _blocks)
    .add_edge(START, "awaits")
    .add_edge("awaits", "blocks")
    .compile()
)


def kept(runtime: Any) -> Any:
    """A factory: its store belongs to the server, not to a run."""
    store = runtime.store

    async def awaits(state: Log) -> dict[str, Any]:
        await store.aput(("kept",), "sea", {"text": "blue sea"})
        return {"log": [told(await store.asearch(("kept",), query="blue sea"))]}

    def blocks(state: Log) -> dict[str, Any]:
        store.put(("kept",), "tea", {"text": "blue tea"})
        return {"log": [told(store.search(("kept",), query="tea"))]}

    builder = StateGraph(Log).add_node("awaits", awaits).add_node("blocks", blocks)
    return builder.add_edge(START, "awaits").add_edge("awaits", "blocks")
