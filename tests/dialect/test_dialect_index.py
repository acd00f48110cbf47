"""Searches by meaning through LangGraph's SDK, on a server whose `langgraph.json` has an index."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from dialect_server import Dialect, dialect_server
from langgraph_sdk.errors import InternalServerError

EMBED = """
PLACES = {}

async def embed(texts):
    if "down" in texts:
        raise OSError("the provider is down")
    return [[float(text.split().count(word)) for word in ("tea", "sea", "green")] for text in texts]
"""


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dialect]:
    folder: Path = tmp_path_factory.mktemp("searched")
    (folder / "embed.py").write_text(EMBED)
    index = {"embed": "./embed.py:embed", "dims": 3, "fields": ["text"]}
    (folder / "langgraph.json").write_text(json.dumps({"graphs": {}, "store": {"index": index}}))
    with dialect_server(folder, targets=(str(folder / "langgraph.json"),)) as found:
        yield found


def test_the_nearest_come_first_with_their_scores(searched: Dialect) -> None:
    async def story() -> None:
        store = searched.client().store
        await store.put_item(["facts", "ada"], "tea", {"text": "green tea"})
        await store.put_item(["facts", "ada"], "sea", {"text": "sea", "kind": "place"})
        await store.put_item(["facts", "ada"], "secret", {"text": "green tea"}, index=False)
        await store.put_item(["facts", "bob"], "title", {"title": "tea", "text": "sea"}, index=["title"])
        found = (await store.search_items(["facts"], query="tea"))["items"]
        told = [(item["key"], round(item.get("score") or 0.0, 3)) for item in found]
        assert told == [("title", 1.0), ("tea", 0.707), ("sea", 0.0)]
        found = (await store.search_items(["facts", "ada"], query="tea", filter={"kind": "place"}, limit=1))["items"]
        assert [item["key"] for item in found] == ["sea"]
        assert (await store.search_items(["facts"], limit=1))["items"][0]["score"] is None

    asyncio.run(story())


def test_a_provider_that_is_down_is_told_by_name(searched: Dialect) -> None:
    with pytest.raises(InternalServerError, match=r"store\.index\.embed .* failed: OSError: the provider is down"):
        searched.sync.store.search_items(["facts"], query="down")
