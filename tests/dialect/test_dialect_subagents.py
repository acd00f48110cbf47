"""A deep agent starts others beside itself (`AsyncSubAgent`): on the server that executes it, without a URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import remote_graphs
from dialect_server import Dialect, dialect_server

pytest.importorskip("deepagents")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dialect]:
    with dialect_server(tmp_path_factory.mktemp("deep"), agents=remote_graphs.deep_agents()) as found:
        yield found
        remote_graphs.HELPS.set()


def asked(served: Dialect, thread_id: str, text: str) -> dict[str, Any]:
    """What the boss's thread is when it has been asked something."""
    return served.sync.runs.wait(thread_id, "boss", input={"messages": [{"role": "user", "content": text}]})


def last(values: dict[str, Any]) -> str:
    return values["messages"][-1]["content"]


def test_a_deep_agent_is_told_what_others_have_found_while_it_did_nothing(served: Dialect) -> None:
    remote_graphs.HELPS.clear()
    thread_id = served.thread()
    started = asked(served, thread_id, "start_async_task look for it")
    (task,) = started["async_tasks"].values()
    assert (task["agent_name"], task["status"]) == ("helper", "running")
    assert "status: running" in last(asked(served, thread_id, "list_async_tasks "))
    # It can be told more, which has it begin again; and it says when it is done, to whom has started it.
    asked(served, thread_id, f"update_async_task {task['task_id']} quickly")
    remote_graphs.HELPS.set()
    while "the helper says 42" not in last(served.sync.threads.get_state(thread_id)["values"]):
        pass
    values = served.sync.threads.get_state(thread_id)["values"]
    (known,) = values["async_tasks"].values()
    assert known["status"] == "success"
    notice = values["messages"][-2]["content"]
    assert "42, to look for it and quickly" in "".join(block["text"] for block in notice)
    (found,) = served.sync.threads.search(metadata={"parent_thread_id": thread_id})
    assert found["thread_id"] == task["task_id"]


def test_a_deep_agent_stops_what_it_has_started(served: Dialect) -> None:
    remote_graphs.HELPS.clear()
    thread_id = served.thread()
    (task,) = asked(served, thread_id, "start_async_task look for it")["async_tasks"].values()
    stopped = asked(served, thread_id, f"cancel_async_task {task['task_id']}")
    remote_graphs.HELPS.set()
    assert stopped["async_tasks"][task["task_id"]]["status"] == "cancelled"
    while (run := served.sync.runs.get(task["thread_id"], task["run_id"]))["status"] == "running":
        pass
    assert run["status"] == "interrupted"
