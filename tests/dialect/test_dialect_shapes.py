"""What clients find in an answer beside what they asked for: the fields that LangGraph's servers give."""

from __future__ import annotations

import inspect
import uuid
from datetime import datetime
from typing import Any

import pytest
from dialect_agents import FITS
from dialect_server import Dialect
from langgraph.types import interrupt
from langgraph_sdk.errors import NotFoundError

from runyard.api.langgraph.messages import piece
from runyard.assistants import default_id


def test_a_thread_says_when_its_state_was_made(dialect: Dialect) -> None:
    created: Any = dialect.sync.threads.create()
    assert created["state_updated_at"] == created["created_at"]
    for agent in ("counts", "weather"):  # whose checkpoints have ids of two kinds
        thread_id = dialect.thread()
        dialect.sync.runs.wait(thread_id, agent, input={"messages": "hi"} if agent == "weather" else {})
        state = dialect.sync.threads.get_state(thread_id)
        patched: Any = dialect.sync.threads.update(thread_id, metadata={"x": 1})
        made, stated = (
            datetime.fromisoformat(str(text)) for text in (patched["state_updated_at"], state["created_at"])
        )
        assert abs((made - stated).total_seconds()) < 0.5
        assert patched["updated_at"] > patched["state_updated_at"]


def test_a_thread_says_how_its_last_run_failed(dialect: Dialect) -> None:
    thread_id = dialect.thread(metadata={"shape": "failed"})
    dialect.sync.runs.wait(thread_id, "fails", input={}, raise_error=False)
    why = {"error": "ValueError", "message": "no such city: Atlantis"}
    found: Any = dialect.sync.threads.get(thread_id)
    assert (found["status"], found["error"]) == ("error", why)
    listed: Any = dialect.sync.threads.search(metadata={"shape": "failed"})
    assert listed[0]["error"] == why
    dialect.sync.runs.wait(thread_id, "counts", input={})
    again: Any = dialect.sync.threads.get(thread_id)
    assert (again["status"], again["error"]) == ("idle", None)


def test_a_run_says_whose_it_is_and_all_that_it_was_created_with(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    run: Any = dialect.sync.runs.create(thread_id, "counts", input={"n": 2}, metadata={"graph_id": "mine"})
    assert run["metadata"] == {"graph_id": "mine", "assistant_id": default_id("counts")}
    assert run["kwargs"] == {
        "input": {"n": 2}, "command": None, "config": {}, "context": {}, "webhook": None, "interrupt_before": None,
        "interrupt_after": None, "feedback_keys": None, "durability": "async", "checkpoint_during": True,
        "stream_mode": ["values"], "resumable": False, "subgraphs": False, "temporary": False,
    }  # fmt: skip
    other: Any = dialect.sync.runs.create(
        None, "weather", input={}, stream_subgraphs=True, stream_resumable=True, durability="exit"
    )
    told = {name: other["kwargs"][name] for name in ("resumable", "subgraphs", "temporary", "checkpoint_during")}
    assert told == {"resumable": True, "subgraphs": True, "temporary": True, "checkpoint_during": False}


def test_a_run_out_of_steps_fails_as_langgraph_does(dialect: Dialect) -> None:
    config: Any = {"recursion_limit": 1}
    told = dialect.sync.runs.wait(None, "weather", input={}, config=config, raise_error=False)
    assert told["__error__"]["error"] == "GraphRecursionError"  # pyright: ignore
    assert told["__error__"]["message"].startswith("Recursion limit of 1 reached")  # pyright: ignore


def test_an_assistant_that_is_not_there_is_not_found_by_its_id(dialect: Dialect) -> None:
    with pytest.raises(NotFoundError):
        dialect.sync.runs.create(dialect.thread(), str(uuid.uuid4()), input={})
    with pytest.raises(NotFoundError):
        dialect.sync.assistants.create("nobody")


def test_a_question_says_what_its_answer_is_to_fit(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    told: Any = dialect.sync.runs.wait(thread_id, "careful", input={})
    thread: Any = dialect.sync.threads.get(thread_id)
    state: Any = dialect.sync.threads.get_state(thread_id)
    (of_thread,) = thread["interrupts"].values()
    knows = "response_schema" in inspect.signature(interrupt).parameters
    for (one,) in (told["__interrupt__"], of_thread, state["interrupts"], state["tasks"][0]["interrupts"]):
        assert (one["value"], one["response_schema"]) == ("Are you sure?", FITS if knows else None)
    plain: Any = dialect.sync.runs.wait(dialect.thread(), "asks", input={})
    assert plain["__interrupt__"][0]["response_schema"] is None


def test_messages_say_whose_run_they_are_of_and_by_which_model(dialect: Dialect) -> None:
    def about(agent: str, **more: Any) -> dict[str, Any]:
        parts = dialect.sync.runs.stream(
            None, agent, input={"messages": []}, metadata={"user": "mia"}, stream_mode="messages-tuple", **more
        )
        return next(part.data[1] for part in parts if part.event == "messages")

    told = about("weather")
    assert (told["langgraph_node"], told["user"], told["tags"]) == ("speak", "mia", [])
    assert about("weather", config={"tags": ["mine"]})["tags"] == ["mine"]
    assert sorted(about("jokes", config={"tags": ["mine"]})["tags"]) == ["joke", "mine"]
    parts = dialect.sync.runs.stream(None, "jokes", input={}, stream_mode="messages")
    (metadata,) = [part.data for part in parts if part.event == "messages/metadata"]
    assert [one["metadata"]["tags"] for one in metadata.values()] == [["joke"]]


def test_a_piece_says_which_call_it_begins() -> None:
    chunks = [
        {"name": "weather", "args": '{"city"', "id": "c", "index": 0, "type": "tool_call_chunk"},
        {"name": None, "args": ': "Paris"}', "id": None, "index": 0, "type": "tool_call_chunk"},
    ]
    told = piece({"role": "assistant", "content": "", "id": "m", "tool_call_chunks": chunks})
    assert told["tool_calls"] == [{"name": "weather", "args": {}, "id": "c", "type": "tool_call"}]
    assert (told["tool_call_chunks"], told["chunk_position"]) == (chunks, None)
    whole = [{"name": "weather", "args": '{"city": "Paris"}', "id": "c", "index": 0, "type": "tool_call_chunk"}]
    last = piece({"role": "assistant", "content": "", "id": "m", "tool_call_chunks": whole, "last": True})
    assert (last["tool_calls"][0]["args"], last["chunk_position"]) == ({"city": "Paris"}, "last")


def test_debug_tells_checkpoints_as_states_are_told(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    parts = dialect.sync.runs.stream(thread_id, "weather", input={}, stream_mode="debug")
    steps: Any = [part.data["payload"] for part in parts if part.data and part.data.get("type") == "checkpoint"]
    history = dialect.sync.threads.get_history(thread_id)
    assert [step["checkpoint"] for step in steps] == [state["checkpoint"] for state in reversed(history)]
    assert [step["parent_checkpoint"] for step in steps] == [state["parent_checkpoint"] for state in reversed(history)]
    (digs,) = [step["tasks"][0] for step in steps if step["next"] == ["below"]]
    assert digs["checkpoint"]["checkpoint_ns"].startswith("below:")
    assert "state" not in digs


def test_a_task_says_what_it_raised(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "stumbles", input={}, raise_error=False)
    (task,) = dialect.sync.threads.get_state(thread_id)["tasks"]
    assert task["error"] == "ValueError('no such city: Atlantis')"


def test_a_changed_state_is_named_beside_its_place(dialect: Dialect) -> None:
    thread_id = dialect.thread(metadata={"graph_id": "weather"})
    told: Any = dialect.sync.threads.update_state(thread_id, {"path": ["x"]})
    assert told["checkpoint_id"] == told["checkpoint"]["checkpoint_id"]


def test_items_that_are_found_have_a_score(dialect: Dialect) -> None:
    dialect.sync.store.put_item(["shapes"], "a", {"n": 1})
    (item,) = dialect.sync.store.search_items(["shapes"])["items"]
    assert "score" in item
    assert item["score"] is None


def test_the_history_of_one_checkpoint_is_that_one(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "weather", input={})
    second: Any = dialect.sync.threads.get_history(thread_id)[1]
    assert dialect.sync.threads.get_history(thread_id, checkpoint=second["checkpoint"]) == [second]
    step = second["metadata"]["step"]
    for asked, found in (({"step": step}, [second]), ({"step": step + 1}, [])):
        told = dialect.sync.threads.get_history(thread_id, checkpoint=second["checkpoint"], metadata=asked)
        assert told == found


def test_who_waits_for_a_cancel_is_told_where_the_run_is(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    run = dialect.sync.runs.create(thread_id, "counts", input={}, after_seconds=3600)
    place = f"/threads/{thread_id}/runs/{run['run_id']}"
    answer = dialect.http.post(f"{place}/cancel?wait=true")
    assert (answer.status_code, answer.headers["content-location"]) == (200, place)
    assert answer.headers["location"] == f"{place}/join"
