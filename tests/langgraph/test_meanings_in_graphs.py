"""Graphs whose store has an index of meanings: it works where they execute, and tells scores as LangGraph's do."""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from indexed_graphs import indexed, searches_by_meaning
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from live_server import Server, play

from runyard.errors import EmbeddingFailed, InvalidInput
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.index import Texts
from runyard.runtime.langgraph.index import EmbeddingIndex
from runyard.runtime.langgraph.server_store import ServerStore
from runyard.server import create_app
from runyard.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
GRAPHS = Path(__file__).with_name("meaning_graphs.py")


def test_graphs_search_by_meaning(tmp_path: Path) -> None:
    """In a process of their own, and awaiting their embedding: see the tests of graphs in processes."""

    async def story() -> None:
        target = indexed(tmp_path, "embed")
        app = create_app(Settings(agents=(target,), database=f"sqlite:///{tmp_path}/runyard.db"))
        await app.engine.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
            await searches_by_meaning(Server(app, http), os.getpid())
            found = await http.post("/store/items/search", json={"namespace_prefix": ["meant"], "query": "unheard of"})
            assert [(item["key"], item["score"]) for item in found.json()["items"]] == [("tea", 0.0), ("sea", 0.0)]
        assert await app.engine.close()

    play(story())


def test_without_an_index_nothing_is_embedded_and_query_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        settings = Settings(agents=(f"{GRAPHS}:means",), database=f"sqlite:///{tmp_path}/runyard.db")
        app = create_app(settings)
        await app.engine.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
            s = Server(app, http)
            run = await s.run(agent_id="means", input={"log": []})
            _, found, *_ = (await s.wait(run["run_id"]))["values"]["log"]
            assert found == [["other", None], ["left out", None], ["sea", None], ["tea", None]]
        assert await app.engine.close()

    play(story())


def test_the_example_recalls_as_its_file_says(tmp_path: Path) -> None:
    folder = EXAMPLES / "recall"
    asked = re.findall(r"localhost:8000(/\S+) .*?-d '(.*?)'\n", (folder / "recall.py").read_text(), re.DOTALL)
    assert [path for path, _ in asked] == ["/runs/wait", "/runs/wait", "/store/items/search"]

    async def story() -> None:
        settings = Settings(agents=(str(folder / "langgraph.json"),), database=f"sqlite:///{tmp_path}/runyard.db")
        app = create_app(settings)
        await app.engine.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
            for note in ("Bees sleep at night.", "The ferry costs four crowns."):
                await http.post("/runs/wait", json={"agent_id": "recall", "input": {"note": note}})
            _, recalled, found = [(await http.post(path, json=json.loads(body))).json() for path, body in asked]
            ferry = ["The ferry to the island leaves at nine.", "The ferry costs four crowns."]
            assert recalled["values"]["found"] == ferry
            scores = [item["score"] for item in found["items"]]
            assert sorted(scores, reverse=True) == scores
            assert [item["value"]["text"] for item in found["items"]][2:] == ["Bees sleep at night."]
        assert await app.engine.close()

    play(story())


VALUES: list[dict[str, Any]] = [
    {"text": "a", "n": 1.5, "flag": True, "none": None, "list": ["x", {"y": "z"}], "deep": {"a.b": 1, "c": {"d": "e"}}},
    {},
]
PATHS = [
    "$",
    "text",
    "n",
    "flag",
    "none",
    "list",
    "list[0]",
    "list[-1].y",
    "list[*]",
    "deep.c.d",
    "*",
    "deep.*",
    "",
    "{text,n}",
]


@pytest.mark.parametrize("path", PATHS)
def test_texts_are_those_that_langgraphs_own_stores_embed(path: str) -> None:
    seen: list[str] = []

    def embed(texts: Any) -> list[list[float]]:
        seen.extend(texts)
        return [[1.0] for _ in texts]

    store = InMemoryStore(index={"dims": 1, "embed": embed, "fields": [path]})
    for number, value in enumerate(VALUES):
        store.put(("n",), str(number), value)
        assert EmbeddingIndex(embed, 1, [path]).texts(value) == list(dict.fromkeys(seen))
        seen.clear()


def test_texts_of_a_batch_are_embedded_together_and_each_once() -> None:
    calls: list[list[str]] = []

    async def embed(texts: Any) -> list[list[float]]:
        calls.append(list(texts))
        return [[1.0, float(len(text))] for text in texts]

    index = EmbeddingIndex(embed, 2)
    meanings = asyncio.run(index.meanings(Texts([["a", "bb"], [], ["bb"]], ["q"])))
    assert calls == [["a", "bb"], ["q"]]
    assert [len(item) for item in meanings.items] == [2, 0, 1]
    assert meanings.items[0][1] == meanings.items[2][0]
    assert index.meanings_now(Texts([["a"]])).items == [[meanings.items[0][0]]], "awaited in a loop of its own"


def test_nothing_of_a_batch_is_sent_when_a_text_has_no_vector() -> None:
    sent: list[StoreCall] = []

    async def answer(owner: str, call: StoreCall) -> StoreReply:
        sent.append(call)
        return StoreReply(call.call)

    def embed(texts: Any) -> list[list[float]]:
        return [[float("inf")] for _ in texts]

    async def story() -> None:
        store = ServerStore()
        store.attach(answer, EmbeddingIndex(embed, 1, place="the toy"))
        with pytest.raises(EmbeddingFailed, match="the toy gave no vector of 1 finite numbers"):
            await store.abatch([PutOp(("n",), "a", {"text": "a"}, False), PutOp(("n",), "b", {"text": "b"})])
        with pytest.raises(ValueError, match="1000001 characters"):
            await store.aput(("n",), "k", {"text": "x" * 1_000_001}, index=["text"])
        assert sent == []
        with pytest.raises(InvalidInput, match="query has 1000001 characters"):
            await store.asearch(("n",), query="x" * 1_000_001)

    asyncio.run(story())
