"""Threads and their states through LangGraph's SDK."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from dialect_server import Dialect
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

ABSENT = "01a20c2f-0000-7000-8000-000000000000"


def labelled(dialect: Dialect, count: int, **metadata: Any) -> list[str]:
    """Threads that have a label of their own."""
    return [dialect.thread(metadata=metadata) for _ in range(count)]


def test_a_thread_is_created_once(dialect: Dialect) -> None:
    created = dialect.sync.threads.create(metadata={"user": "mia"})
    assert (created["status"], created["values"], created["interrupts"]) == ("idle", None, {})
    thread_id = created["thread_id"]
    assert dialect.sync.threads.get(thread_id) == created
    with pytest.raises(ConflictError):
        dialect.sync.threads.create(thread_id=thread_id)
    again = dialect.sync.threads.create(thread_id=thread_id, if_exists="do_nothing", metadata={"user": "ada"})
    assert again["metadata"] == {"user": "mia"}
    assert dialect.sync.threads.get(thread_id, include=["ttl"])["ttl"] is None
    for body in ({"thread_id": "x"}, {"ttl": "soon"}, {"if_exists": "odd"}):
        assert dialect.http.post("/threads", json=body).status_code == 422
    with pytest.raises(NotFoundError):
        dialect.sync.threads.get(ABSENT)


def test_threads_are_searched_and_counted(dialect: Dialect) -> None:
    label = uuid.uuid4().hex
    ids = labelled(dialect, 3, label=label)
    dialect.sync.runs.wait(ids[0], "counts", input={"n": 41})
    dialect.sync.runs.wait(ids[1], "asks", input={})
    search = dialect.sync.threads.search

    def found(**query: Any) -> list[str]:
        return [thread["thread_id"] for thread in search(metadata={"label": label}, **query)]

    assert found() == ids[::-1]
    assert found(sort_by="thread_id", sort_order="asc") == sorted(ids)
    assert found(sort_by="state_updated_at", limit=1) == [ids[1]]
    assert found(ids=[ids[2], ids[0]]) == [ids[2], ids[0]]
    assert found(values={"sum": 41}) == [ids[0]]
    assert found(status="interrupted") == [ids[1]]
    (asking,) = search(ids=[ids[1]], select=["interrupts", "status"])
    assert asking["status"] == "interrupted"
    assert [[one["value"] for one in asked] for asked in asking["interrupts"].values()] == [[{"question": "sure?"}]]
    (told,) = search(ids=[ids[0]], extract={"total": "values.sum", "none": "values.path[-1]", "who": "metadata.label"})
    assert told["extracted"] == {"total": 41, "none": None, "who": label}
    count = dialect.sync.threads.count
    assert (count(metadata={"label": label}), count(metadata={"label": label}, status="idle")) == (3, 2)
    assert count(metadata={"label": label}, values={"sum": 41}) == 1
    page = dialect.http.post("/threads/search", json={"metadata": {"label": label}, "limit": 2})
    assert (page.headers["x-pagination-next"], page.headers["x-pagination-total"]) == ("2", "3")
    rest = dialect.http.post("/threads/search", json={"metadata": {"label": label}, "limit": 2, "offset": 2})
    assert "x-pagination-next" not in rest.headers
    assert rest.headers["x-pagination-total"] == "3"
    for body in ({"select": ["odd"]}, {"extract": {"a": "$..x"}}, {"sort_by": "odd"}, {"limit": 1001}, {"ids": ["x"]}):
        assert dialect.http.post("/threads/search", json=body).status_code == 422, body


def test_a_thread_is_patched_copied_pruned_and_deleted(dialect: Dialect) -> None:
    thread_id = dialect.thread(metadata={"a": 1})
    assert dialect.sync.threads.update(thread_id, metadata={"b": 2})["metadata"] == {"a": 1, "b": 2}
    minimal = dialect.http.patch(
        f"/threads/{thread_id}", json={"metadata": {"c": 3}}, headers={"prefer": "return=minimal"}
    )
    assert (minimal.status_code, minimal.content) == (204, b"")
    dialect.sync.runs.wait(thread_id, "counts", input={"n": 3})
    dialect.sync.runs.wait(thread_id, "counts", input={"n": 4})
    copy = dialect.sync.threads.copy(thread_id)
    assert copy["values"]["sum"] == 7
    assert copy["metadata"]["c"] == 3
    assert len(dialect.sync.threads.get_history(copy["thread_id"])) == 2
    before = dialect.http.get(f"/threads/{thread_id}/storage").json()
    assert (before["checkpoints"]["count"], before["pending_writes"]) == (2, {"count": 0, "bytes": 0})
    assert before["total_bytes"] == before["checkpoints"]["bytes"] > 0
    assert dialect.http.get(f"/threads/{ABSENT}/storage").status_code == 404
    assert dialect.sync.threads.prune([thread_id, ABSENT], strategy="keep_latest") == {"pruned_count": 1}
    assert dialect.http.get(f"/threads/{thread_id}/storage").json()["checkpoints"]["count"] == 1
    (left,) = dialect.sync.threads.get_history(thread_id)
    assert left["values"]["sum"] == 7
    assert dialect.sync.threads.prune([thread_id]) == {"pruned_count": 1}
    for gone in (thread_id, ABSENT):
        with pytest.raises(NotFoundError):
            dialect.sync.threads.get(gone)
    dialect.sync.threads.delete(copy["thread_id"])
    with pytest.raises(NotFoundError):
        dialect.sync.threads.copy(copy["thread_id"])


def test_the_state_of_a_graph_says_what_comes_next(dialect: Dialect) -> None:
    async def story() -> None:
        threads, runs = dialect.client().threads, dialect.client().runs
        thread_id = (await threads.create())["thread_id"]
        assert (await threads.get_state(thread_id))["next"] == []
        asked = await runs.wait(thread_id, "careful", input={"messages": [{"role": "user", "content": "hi"}]})
        state = await threads.get_state(thread_id)
        assert state["next"] == ["confirm"]
        assert [task["interrupts"] for task in state["tasks"]] == [asked["__interrupt__"]]
        assert [message["type"] for message in state["values"]["messages"]] == ["human", "ai"]
        assert state["checkpoint"]["thread_id"] == thread_id
        history = await threads.get_history(thread_id, limit=2)
        assert history[0]["checkpoint"] == state["checkpoint"]
        assert history[1]["checkpoint"] == state["parent_checkpoint"]
        older = history[1]["checkpoint"]
        assert (await threads.get_state(thread_id, checkpoint=older))["checkpoint"] == older
        assert (await threads.get_state(thread_id, checkpoint_id=older["checkpoint_id"]))["checkpoint"] == older
        before = await threads.get_history(thread_id, before=older)
        assert [one["checkpoint"] for one in before] == [
            one["checkpoint"] for one in (await threads.get_history(thread_id, before=older["checkpoint_id"]))
        ]
        assert older not in [one["checkpoint"] for one in before]
        assert await threads.get_state(thread_id, select=["next", "values.path"]) == {
            "next": ["confirm"], "values": {"path": ["speak"]},
        }  # fmt: skip
        with pytest.raises(UnprocessableEntityError):
            await threads.get_state(thread_id, select=["odd"])
        with pytest.raises(NotFoundError):
            await threads.get_state(thread_id, checkpoint_id=ABSENT)

    asyncio.run(story())


def test_a_state_is_changed_as_if_a_node_had(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "careful", input={"messages": "hi"})
    updated = dialect.sync.threads.update_state(thread_id, {"path": ["patched"]})
    state = dialect.sync.threads.get_state(thread_id)
    assert state["values"]["path"] == ["speak", "patched"]
    assert state["checkpoint"]["checkpoint_id"] == updated["checkpoint"]["checkpoint_id"]
    assert state["next"] == ["confirm"]
    dialect.sync.threads.update_state(thread_id, {"answer": "skipped"}, as_node="confirm")
    assert dialect.sync.threads.get_state(thread_id)["next"] == []
    older = dialect.sync.threads.get_history(thread_id)[-2]["checkpoint"]
    dialect.sync.threads.update_state(thread_id, {"path": ["again"]}, checkpoint=older)
    assert dialect.sync.threads.get_state(thread_id)["values"]["path"] == ["again"]
    refused = dialect.http.post(f"/threads/{thread_id}/state", json={"values": {"path": ["x"]}, "as_node": "nowhere"})
    assert refused.status_code == 422


def test_a_state_of_a_function_agent_is_changed_too(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "counts", input={"n": 1})
    dialect.sync.threads.update_state(thread_id, {"sum": 10, "messages": [{"type": "human", "content": "hi"}]})
    state = dialect.sync.threads.get_state(thread_id)
    assert state["values"]["sum"] == 10
    assert state["values"]["messages"][0]["type"] == "human"
    assert dialect.native.get(f"/threads/{thread_id}").json()["messages"][0]["role"] == "user"
    assert dialect.sync.runs.wait(thread_id, "counts", input={"n": 1})["sum"] == 11


def test_a_thread_begins_with_what_was_made_elsewhere(dialect: Dialect) -> None:
    created = dialect.sync.threads.create(
        graph_id="careful",
        supersteps=[
            {"updates": [{"values": {"messages": [{"role": "user", "content": "hi"}]}, "as_node": "__start__"}]},
            {"updates": [{"values": {"path": ["speak"]}, "as_node": "speak"}]},
        ],
    )  # fmt: skip
    assert created["values"]["path"] == ["speak"]
    state = dialect.sync.threads.get_state(created["thread_id"])
    assert state["next"] == ["confirm"]
    answer = dialect.http.post(
        "/threads", json={"supersteps": [{"updates": [{"values": {"a": 1}}]}], "thread_id": ABSENT}
    )
    assert answer.status_code == 422
    with pytest.raises(NotFoundError):
        dialect.sync.threads.get(ABSENT)
