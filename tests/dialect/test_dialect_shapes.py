"""What clients find in an answer beside what they asked for: the fields that LangGraph's servers give."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import pytest
from dialect_server import Dialect
from langgraph_sdk.errors import NotFoundError

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


def test_a_changed_state_is_named_beside_its_place(dialect: Dialect) -> None:
    thread_id = dialect.thread(metadata={"graph_id": "weather"})
    told: Any = dialect.sync.threads.update_state(thread_id, {"path": ["x"]})
    assert told["checkpoint_id"] == told["checkpoint"]["checkpoint_id"]


def test_items_that_are_found_have_a_score(dialect: Dialect) -> None:
    dialect.sync.store.put_item(["shapes"], "a", {"n": 1})
    (item,) = dialect.sync.store.search_items(["shapes"])["items"]
    assert "score" in item
    assert item["score"] is None
