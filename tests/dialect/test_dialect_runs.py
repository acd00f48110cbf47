"""Runs through LangGraph's SDK: create, wait, list, look at, join, cancel, delete; every field that they may have."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dialect_agents
import pytest
from dialect_server import Dialect
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError
from receiver import Receiver

from runyard.api.langgraph.assistants import default_id

ABSENT = "01a20c2f-0000-7000-8000-000000000000"


@pytest.fixture
def go() -> Iterator[None]:
    """Lets `waits` go on at the end."""
    dialect_agents.GO.clear()
    yield
    dialect_agents.GO.set()


def ended(dialect: Dialect, thread_id: str, run_id: str) -> dict[str, Any]:
    dialect.sync.runs.join(thread_id, run_id)
    return dialect.sync.runs.get(thread_id, run_id)


def test_a_run_is_created_looked_at_and_listed(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    created = dialect.sync.runs.create(
        thread_id, "counts", input={"n": 2}, metadata={"why": "test"}, config={"tags": ["a"], "metadata": {"more": 1}},
        stream_mode=["values", "messages-tuple"],
    )  # fmt: skip
    assert created["thread_id"] == thread_id
    assert created["assistant_id"] == default_id("counts")
    assert created["status"] in ("pending", "running")
    labels = {"graph_id": "counts", "assistant_id": default_id("counts")}
    assert created["metadata"] == {"more": 1, "why": "test", **labels}
    assert created["multitask_strategy"] == "enqueue"
    assert created["kwargs"]["input"] == {"n": 2}
    assert created["kwargs"]["stream_mode"] == ["values", "messages-tuple"]
    assert "langgraph" not in created["kwargs"]
    run = ended(dialect, thread_id, created["run_id"])
    assert (run["status"], run["created_at"]) == ("success", created["created_at"])
    other = dialect.sync.runs.create(thread_id, default_id("counts"), input={})
    ended(dialect, thread_id, other["run_id"])
    assert [one["run_id"] for one in dialect.sync.runs.list(thread_id)] == [other["run_id"], created["run_id"]]
    assert [one["run_id"] for one in dialect.sync.runs.list(thread_id, limit=1, offset=1)] == [created["run_id"]]
    assert dialect.sync.runs.list(thread_id, status="error") == []
    assert dialect.sync.runs.list(thread_id, status="success", select=["run_id"], limit=1) == [
        {"run_id": other["run_id"]}
    ]
    page = dialect.http.get(f"/threads/{thread_id}/runs", params={"limit": 1, "metadata": '{"why":"test"}'})
    assert [one["run_id"] for one in page.json()] == [created["run_id"]]
    assert "x-pagination-next" not in page.headers
    assert dialect.http.get(f"/threads/{thread_id}/runs", params={"limit": 1}).headers["x-pagination-next"] == "1"
    thread = dialect.sync.threads.get(thread_id)
    assert thread["metadata"] == {"graph_id": "counts", "assistant_id": default_id("counts")}
    assert thread["values"]["sum"] == 3


def test_a_wait_gives_the_values_the_questions_or_the_error(dialect: Dialect) -> None:
    values = dialect.sync.runs.wait(dialect.thread(), "counts", input={"n": 5})
    assert values["sum"] == 5
    thread_id = dialect.thread()
    asked = dialect.sync.runs.wait(thread_id, "asks", input={})
    (question,) = asked["__interrupt__"]
    assert question["value"] == {"question": "sure?"}
    assert dialect.sync.threads.get(thread_id)["status"] == "interrupted"
    assert dialect.sync.threads.get(thread_id)["interrupts"] == {question["id"]: [question]}
    (run,) = dialect.sync.runs.list(thread_id)
    assert run["status"] == "success"
    assert dialect.sync.runs.list(thread_id, status="interrupted") == []
    resumed = dialect.sync.runs.wait(thread_id, "asks", command={"resume": {question["id"]: "yes"}})
    assert resumed == {"answer": "yes"}
    with pytest.raises(Exception, match=r"ValueError: no such city"):
        dialect.sync.runs.wait(dialect.thread(), "fails", input={})
    told = dialect.sync.runs.wait(None, "fails", input={}, raise_error=False)
    assert told == {"__error__": {"error": "ValueError", "message": "no such city: Atlantis"}}


def test_a_stateless_run_is_reachable_afterwards(dialect: Dialect) -> None:
    assert dialect.sync.runs.wait(None, "counts", input={"n": 1})["sum"] == 1
    run = dialect.sync.runs.create(None, "counts", input={"n": 7}, webhook=None)
    assert dialect.sync.runs.join(run["thread_id"], run["run_id"])["sum"] == 7
    assert dialect.http.get(f"/runs/{run['run_id']}").json()["status"] == "success"
    assert dialect.http.get(f"/runs/{run['run_id']}/join").json()["sum"] == 7
    with pytest.raises(NotFoundError):
        dialect.sync.threads.get(run["thread_id"])
    kept = dialect.sync.runs.create(None, "counts", input={"n": 7}, on_completion="keep")
    ended(dialect, kept["thread_id"], kept["run_id"])
    assert dialect.sync.threads.get(kept["thread_id"])["values"]["sum"] == 7


def test_headers_say_where_a_run_is_behind_the_clients_url(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    body = {"assistant_id": "counts", "input": {}}
    created = dialect.http.post(f"/threads/{thread_id}/runs", json=body)
    place = f"/threads/{thread_id}/runs/{created.json()['run_id']}"
    assert created.headers["content-location"] == place
    assert "location" not in created.headers
    waited = dialect.http.post(f"/threads/{thread_id}/runs/wait", json=body)
    place = waited.headers["content-location"]
    assert waited.headers["location"] == f"{place}/join"
    assert dialect.http.get(waited.headers["location"]).json() == waited.json()
    streamed = dialect.http.post(f"/threads/{thread_id}/runs/stream", json=body)
    place = streamed.headers["content-location"]
    assert (streamed.headers["location"], place[:9]) == (f"{place}/stream", "/threads/")
    stateless = dialect.http.post("/runs", json=body)
    assert stateless.headers["content-location"] == f"/runs/{stateless.json()['run_id']}"
    stream = dialect.http.post("/runs/stream", json=body)
    assert stream.headers["location"] == stream.headers["content-location"] + "/stream"
    assert dialect.http.get(stream.headers["location"]).status_code == 200
    wait = dialect.http.post("/runs/wait", json=body)
    assert wait.headers["content-location"].startswith("/threads/")
    assert dialect.http.get(wait.headers["location"]).json() == wait.json()


def test_a_batch_is_created_whole_or_not(dialect: Dialect) -> None:
    made = dialect.sync.runs.create_batch([
        {"assistant_id": "counts", "input": {"n": 1}}, {"assistant_id": "counts", "input": {"n": 2}},
    ])  # fmt: skip
    assert [dialect.sync.runs.join(run["thread_id"], run["run_id"])["sum"] for run in made] == [1, 2]
    refused = dialect.http.post("/runs/batch", json=[{"assistant_id": "counts"}, {"assistant_id": "nobody"}])
    assert refused.status_code == 422
    assert dialect.http.post("/runs/batch", json={"assistant_id": "counts"}).status_code == 422
    assert dialect.http.post("/runs/batch", json=[1]).status_code == 422
    assert dialect.http.post("/runs/batch", json=[]).json() == []


def test_several_runs_of_a_thread_follow_the_strategy(dialect: Dialect, go: None) -> None:
    thread_id = dialect.thread()
    first = dialect.sync.runs.create(thread_id, "waits", input={})
    queued = dialect.sync.runs.create(thread_id, "counts", input={})
    with pytest.raises(ConflictError):
        dialect.sync.runs.create(thread_id, "counts", multitask_strategy="reject")
    third = dialect.sync.runs.create(thread_id, "counts", input={"n": 9}, multitask_strategy="interrupt")
    assert dialect.sync.runs.join(thread_id, third["run_id"])["sum"] == 9
    assert [run["status"] for run in dialect.sync.runs.list(thread_id)] == ["success", "interrupted", "interrupted"]
    assert [run["run_id"] for run in dialect.sync.runs.list(thread_id, status="interrupted")] == [
        queued["run_id"], first["run_id"],
    ]  # fmt: skip


def test_a_cancel_stops_the_code(dialect: Dialect, go: None) -> None:
    thread_id = dialect.thread()
    run = dialect.sync.runs.create(thread_id, "waits", input={})
    answer = dialect.http.post(f"/threads/{thread_id}/runs/{run['run_id']}/cancel", params={"wait": 1})
    assert (answer.status_code, answer.json()) == (200, {})
    assert dialect.sync.runs.get(thread_id, run["run_id"])["status"] == "interrupted"
    with pytest.raises(NotFoundError):
        dialect.sync.runs.cancel(thread_id, run["run_id"])
    other = dialect.sync.runs.create(thread_id, "waits", input={})
    answer = dialect.http.post(f"/threads/{thread_id}/runs/{other['run_id']}/cancel")
    assert (answer.status_code, answer.content) == (202, b"")
    dialect.sync.runs.join(thread_id, other["run_id"])
    undone = dialect.sync.runs.create(thread_id, "waits", input={})
    dialect.sync.runs.cancel(thread_id, undone["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        dialect.sync.runs.get(thread_id, undone["run_id"])
    refused = dialect.http.post(f"/threads/{thread_id}/runs/{other['run_id']}/cancel", params={"action": "bogus"})
    assert refused.status_code == 422


def test_why_a_run_was_cancelled_is_kept_with_it(dialect: Dialect, go: None) -> None:
    thread_id = dialect.thread()
    first, waiting, last = (dialect.sync.runs.create(thread_id, "waits", input={}) for _ in range(3))
    for run in (waiting, first):
        dialect.sync.runs.cancel(thread_id, run["run_id"], wait=True, params={"reason": "taken"})
        found: Any = dialect.sync.runs.get(thread_id, run["run_id"])
        assert (found["status"], found["cancel_reason"].partition(":")[0]) == ("interrupted", "taken")
        assert "cancel_reason" not in found["kwargs"]
        assert dialect.native.get(f"/runs/{run['run_id']}").json()["cancel_reason"] == found["cancel_reason"]
    listed = dialect.sync.runs.list(thread_id, select=["run_id", "cancel_reason"])
    assert [run["cancel_reason"] is None for run in listed] == [True, False, False]
    for query in ({"reason": "taken", "action": "rollback"}, {"reason": "bored"}):
        refused = dialect.http.post(f"/threads/{thread_id}/runs/{last['run_id']}/cancel", params=query)
        assert (refused.status_code, "reason" in refused.json()["detail"]) == (422, True)
    dialect.sync.runs.cancel(thread_id, last["run_id"], wait=True)


def test_many_are_cancelled_at_once(dialect: Dialect, go: None) -> None:
    thread_id = dialect.thread()
    runs = [dialect.sync.runs.create(thread_id, "waits", input={}) for _ in range(2)]
    dialect.sync.runs.cancel_many(thread_id=thread_id, run_ids=[runs[1]["run_id"], ABSENT])
    assert ended(dialect, thread_id, runs[1]["run_id"])["status"] == "interrupted"
    dialect.sync.runs.cancel_many(status="all")
    assert ended(dialect, thread_id, runs[0]["run_id"])["status"] == "interrupted"
    with pytest.raises(NotFoundError):
        dialect.sync.runs.cancel_many(thread_id=thread_id, run_ids=[ABSENT])
    for body in ({}, {"status": "all", "thread_id": thread_id}, {"run_ids": [ABSENT]}):
        assert dialect.http.post("/runs/cancel", json=body).status_code == 422


def test_a_run_that_executes_is_stopped_before_it_is_deleted(dialect: Dialect, go: None) -> None:
    thread_id = dialect.thread()
    run = dialect.sync.runs.create(thread_id, "waits", input={})
    dialect.sync.runs.delete(thread_id, run["run_id"])
    with pytest.raises(NotFoundError):
        dialect.sync.runs.get(thread_id, run["run_id"])
    assert dialect.sync.threads.get(thread_id)["status"] == "idle"


def test_what_a_graph_is_asked_for_is_done(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    values = dialect.sync.runs.wait(
        thread_id, "weather", input={"messages": [{"type": "human", "content": "hi", "id": "h"}]},
        context={"tone": "warm"}, config={"configurable": {"flavour": "salt", "thread_id": thread_id}},
        durability="sync",
    )  # fmt: skip
    assert values["path"] == ["look:warm:salt", "speak", "dug"]
    first, said = values["messages"]
    assert (first["type"], first["content"], first["id"]) == ("human", "hi", "h")
    assert (said["type"], said["content"], said["tool_calls"]) == ("ai", "It rains today", [])
    before = dialect.sync.runs.wait(thread_id, "weather", input={}, interrupt_before=["speak"], checkpoint_during=False)
    assert before["path"][-1] == "look:plain:none"
    assert "__interrupt__" not in before  # nobody asked anything
    assert dialect.sync.threads.get(thread_id)["status"] == "interrupted"
    on = dialect.sync.runs.wait(thread_id, "weather", input=None)
    assert on["path"][-2:] == ["speak", "dug"]


def test_a_run_goes_on_from_an_older_state(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "weather", input={})
    states = dialect.sync.threads.get_history(thread_id)
    older = next(state for state in states if state["next"] == ["speak"])
    again = dialect.sync.runs.wait(thread_id, "weather", input=None, checkpoint=older["checkpoint"])
    assert again["path"] == ["look:plain:none", "speak", "dug"]
    by_id = older["checkpoint"]["checkpoint_id"]
    assert dialect.sync.runs.wait(thread_id, "weather", checkpoint_id=by_id)["path"] == again["path"]
    configured = {"configurable": {"checkpoint_id": by_id}}
    assert dialect.sync.runs.wait(thread_id, "weather", config=configured)["path"] == again["path"]
    elsewhere = {**older["checkpoint"], "thread_id": ABSENT}
    with pytest.raises(UnprocessableEntityError):
        dialect.sync.runs.create(thread_id, "weather", checkpoint=elsewhere)


def test_a_command_changes_and_goes(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    asked = dialect.sync.runs.wait(thread_id, "careful", input={"messages": "hello"})
    assert [one["value"] for one in asked["__interrupt__"]] == ["Are you sure?"]
    gone = dialect.sync.runs.wait(thread_id, "careful", command={"resume": "yes", "update": {"path": ["updated"]}})
    assert gone["answer"] == "yes"
    assert "updated" in gone["path"]
    moved = dialect.sync.runs.wait(thread_id, "careful", command={"goto": "speak", "update": [["path", ["pairs"]]]})
    assert moved["path"][-2:] == ["pairs", "speak"]
    with pytest.raises(UnprocessableEntityError):
        dialect.sync.runs.create(None, "careful", command={"resume": "yes"})


def test_a_delayed_run_waits(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    run = dialect.sync.runs.create(thread_id, "counts", input={}, after_seconds=3600)
    assert dialect.sync.runs.get(thread_id, run["run_id"])["status"] == "pending"
    assert dialect.sync.runs.list(thread_id, status="pending")[0]["run_id"] == run["run_id"]
    dialect.sync.runs.cancel(thread_id, run["run_id"])


def test_a_thread_is_made_where_that_is_asked_for(dialect: Dialect) -> None:
    thread_id = "01a20c2f-0000-7000-8000-00000000000a"
    with pytest.raises(NotFoundError):
        dialect.sync.runs.create(thread_id, "counts", input={})
    assert dialect.sync.runs.wait(thread_id, "counts", input={"n": 4}, if_not_exists="create")["sum"] == 4
    assert dialect.sync.threads.get(thread_id)["metadata"]["graph_id"] == "counts"


REFUSED: list[dict[str, Any]] = [
    {"assistant_id": "nobody"},
    {"assistant_id": "counts", "stream_mode": "events"},
    {"assistant_id": "counts", "stream_mode": "odd"},
    {"assistant_id": "counts", "feedback_keys": ["good"]},
    {"assistant_id": "counts", "langsmith_tracer": {"project_name": "p"}},
    {"assistant_id": "weather", "langsmith_tracer": {"example_id": "x"}},
    {"assistant_id": "weather", "langsmith_tracer": {"project_name": 5}},
    {"assistant_id": "counts", "strict_resume": False},
    {"assistant_id": "counts", "interrupt_before": ["x"]},
    {"assistant_id": "weather", "interrupt_after": ["x"]},
    {"assistant_id": "weather", "checkpoint": {"checkpoint_ns": "below:1"}},
    {"assistant_id": "weather", "checkpoint_id": "x"},
    {"assistant_id": "weather", "command": {"update": [["a", 1], ["a", 2]]}},
    {"assistant_id": "counts", "webhook": "http://10.0.0.1/"},
    {"assistant_id": "counts", "after_seconds": -1},
    {"assistant_id": "counts", "multitask_strategy": "odd"},
    {"assistant_id": "talks", "input": {"messages": [{"content": "no role"}]}},
    {},
]


@pytest.mark.parametrize("body", REFUSED)
def test_what_cannot_be_obeyed_is_refused_by_name(dialect: Dialect, body: dict[str, Any]) -> None:
    answer = dialect.http.post(f"/threads/{dialect.thread()}/runs", json=body)
    assert answer.status_code == 422, answer.text
    assert set(answer.json()) == {"detail", "code"}
    named = next((name for name in body if name != "assistant_id"), "assistant_id")
    assert named in answer.json()["detail"]


def test_a_wait_that_lasts_is_kept_alive(dialect: Dialect, go: None) -> None:
    """The newlines before the JSON are what JSON allows."""
    with dialect.http.stream("POST", "/runs/wait", json={"assistant_id": "waits", "input": {}}) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"\n"
        dialect_agents.GO.set()
        assert b"".join(pieces).strip() == b'{"waited":true}'


async def interrupted(client: LangGraphClient, thread_id: str, run_id: str) -> None:
    """Until a run is; whoever joined it would keep it."""
    while (await client.runs.get(thread_id, run_id))["status"] != "interrupted":
        await asyncio.sleep(0.001)


def test_a_run_ends_with_its_reader_where_that_is_asked_for(dialect: Dialect, go: None) -> None:
    async def story() -> None:
        client = dialect.client()
        thread_id = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread_id, "waits", input={})
        parts: Any = client.runs.join_stream(
            thread_id, run["run_id"], cancel_on_disconnect=True, stream_mode=["custom"], last_event_id="0"
        )
        while (await anext(parts)).event != "custom":
            pass
        await parts.aclose()
        await interrupted(client, thread_id, run["run_id"])
        body = {"assistant_id": "waits", "input": {}, "on_disconnect": "cancel"}
        parts = client.runs.stream(thread_id, stream_mode="custom", **body)
        while (await anext(parts)).event != "custom":
            pass
        await parts.aclose()
        newest = (await client.runs.list(thread_id))[0]
        await interrupted(client, thread_id, newest["run_id"])

    asyncio.run(story())


def test_a_webhook_is_told_as_the_vendors_is(dialect: Dialect) -> None:
    receiver = Receiver()
    try:
        asked = dialect.sync.runs.create(dialect.thread(), "asks", input={}, webhook=receiver.url, metadata={"m": 1})
        failed = dialect.sync.runs.create(None, "fails", input={}, webhook=receiver.url)
        told = {message.event["run_id"]: message.event for message in receiver.wait(2)}
    finally:
        receiver.close()
    event = told[asked["run_id"]]
    assert (event["status"], event["metadata"], event["assistant_id"]) == (
        "success", {"m": 1, "graph_id": "asks", "assistant_id": default_id("asks")}, default_id("asks"),
    )  # fmt: skip
    assert event["values"]["__interrupt__"][0]["value"] == {"question": "sure?"}
    assert event["error"] is None
    assert event["run_started_at"] <= event["run_ended_at"] <= event["webhook_sent_at"]
    assert told[failed["run_id"]]["error"] == {"error": "ValueError", "message": "no such city: Atlantis"}
    assert told[failed["run_id"]]["status"] == "error"


def test_an_idempotency_key_gives_the_same_run(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    body = {"assistant_id": "counts", "input": {}}
    first, again = (
        dialect.http.post(f"/threads/{thread_id}/runs", json=body, headers={"idempotency-key": "k"}) for _ in range(2)
    )
    assert first.json()["run_id"] == again.json()["run_id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = dialect.http.post(f"/threads/{thread_id}/runs", json={**body, "input": 1}, headers={"idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
