"""The store through LangGraph's SDK, and what the server tells of itself."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from dialect_server import Dialect
from langgraph_sdk.errors import UnprocessableEntityError


def test_items_are_put_got_searched_and_deleted(dialect: Dialect) -> None:
    async def story() -> None:
        store = dialect.client().store
        space = ["dialect", uuid.uuid4().hex]
        await store.put_item(space, "a", {"n": 1, "kind": "x"})
        await store.put_item(space, "b", {"n": 2, "kind": "x"}, ttl=60, index=False)
        item = await store.get_item(space, "a", refresh_ttl=True)
        assert (item["namespace"], item["key"], item["value"]) == (space, "a", {"n": 1, "kind": "x"})
        assert await store.get_item(space, "none") is None
        found = await store.search_items(space, filter={"n": {"$gt": 1}, "kind": "x"}, refresh_ttl=True)
        assert [one["key"] for one in found["items"]] == ["b"]
        assert [one["key"] for one in (await store.search_items(space[:1], limit=1, offset=1))["items"]]
        listed = await store.list_namespaces(prefix=space[:1], max_depth=2, limit=1000)
        assert space in listed["namespaces"]
        await store.delete_item(space, "a")
        await store.delete_item(space, "a")
        assert await store.get_item(space, "a") is None

    asyncio.run(story())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"namespace": ["langgraph"], "key": "k", "value": {}}, "namespace[0]"),
    ({"namespace": ["a.b"], "key": "k", "value": {}}, "namespace[0]"),
    ({"namespace": [], "key": "k", "value": {}}, "namespace"),
    ({"namespace": ["a"], "key": "k", "value": {}, "index": ["text"]}, "index"),
    ({"namespace": ["a"], "key": "k", "value": 1}, "value"),
    ({"namespace": ["a"], "key": "k", "value": {}, "ttl": 0}, "ttl"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED)
def test_an_item_that_cannot_be_kept_is_refused_by_name(dialect: Dialect, body: dict[str, Any], field: str) -> None:
    answer = dialect.http.put("/store/items", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(field)


def test_a_search_by_meaning_is_refused(dialect: Dialect) -> None:
    with pytest.raises(UnprocessableEntityError):
        dialect.sync.store.search_items(["a"], query="rain")


def test_the_server_tells_of_itself(dialect: Dialect) -> None:
    assert dialect.http.get("/ok").json() == {"ok": True, "services": {}}
    assert dialect.http.get("/", params={"check_db": 1}).json()["ok"] is True
    about = dialect.http.get("/info").json()
    assert about["flags"]["assistants"] is True
    assert about["langgraph_py_version"]
    assert "# HELP" in dialect.http.get("/metrics").text
    figures = dialect.http.get("/metrics", params={"format": "json"}).json()
    assert set(figures) == {"queue", "workers"}
    assert figures["workers"]["max"] == 200
    document = dialect.http.get("/openapi.json").json()
    assert "/threads/{thread_id}/runs/stream" in document["paths"]
    assert document["paths"]["/runs/batch"]["post"]["requestBody"]["content"]["application/json"]["schema"]["type"] == (
        "array"
    )
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))
    assert "LangGraph" in dialect.http.get("/docs").text
