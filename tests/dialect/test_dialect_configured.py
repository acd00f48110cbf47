"""Graphs with configurations of their own: what runs and crons take of an assistant, and what graphs look like."""

from __future__ import annotations

import time
from typing import Any

from dialect_server import Dialect


def path_of(dialect: Dialect, assistant_id: str, **more: Any) -> str:
    """What the graph's first node saw of its configuration."""
    values: Any = dialect.sync.runs.wait(None, assistant_id, input={}, **more)
    return values["path"][0]


def test_a_run_takes_what_its_assistant_says_and_has_the_last_word(dialect: Dialect) -> None:
    created = dialect.sync.assistants.create(
        "weather", {"configurable": {"flavour": "mint", "other": 1}}, context={"tone": "warm"}
    )
    assistant = created["assistant_id"]
    assert path_of(dialect, "weather") == "look:plain:none"
    assert path_of(dialect, assistant) == "look:warm:mint"
    assert path_of(dialect, assistant, context={"tone": "cold"}) == "look:cold:mint"
    assert path_of(dialect, assistant, config={"configurable": {"flavour": "lime"}}) == "look:warm:lime"
    dialect.sync.assistants.update(assistant, context={"tone": "dry"})
    assert path_of(dialect, assistant) == "look:dry:mint"
    dialect.sync.assistants.set_latest(assistant, 1)
    assert path_of(dialect, assistant) == "look:warm:mint"
    dialect.sync.assistants.delete(assistant)


def test_an_assistants_threads_go_with_it(dialect: Dialect) -> None:
    assistant = dialect.sync.assistants.create("weather", {"configurable": {"flavour": "mint"}})["assistant_id"]
    dialect.sync.assistants.update(assistant, graph_id="careful")
    thread = dialect.thread()
    asked: Any = dialect.sync.runs.wait(thread, assistant, input={})
    assert [one["value"] for one in asked["__interrupt__"]] == ["Are you sure?"]
    assert dialect.sync.threads.get(thread)["metadata"]["assistant_id"] == assistant
    dialect.sync.assistants.delete(assistant, delete_threads=True)
    assert dialect.http.get(f"/threads/{thread}").status_code == 404


def test_a_graph_is_drawn_and_described(dialect: Dialect) -> None:
    drawn: Any = dialect.sync.assistants.get_graph("weather")
    assert [node["id"] for node in drawn["nodes"]] == ["__start__", "look", "speak", "below", "__end__"]
    assert {"source": "look", "target": "speak"} in [
        {"source": edge["source"], "target": edge["target"]} for edge in drawn["edges"]
    ]
    assert dialect.sync.assistants.get_graph("weather", xray=2)["edges"]
    schemas = dialect.sync.assistants.get_schemas("weather")
    assert schemas["graph_id"] == "weather"
    assert "path" in (schemas["state_schema"] or {})["properties"]
    assert "tone" in (schemas["context_schema"] or {})["properties"]
    inner = dialect.sync.assistants.get_subgraphs("weather", recurse=True)
    for namespace, view in inner.items():
        assert dialect.sync.assistants.get_subgraphs("weather", namespace) == {namespace: view}


def test_a_cron_fires_by_the_wall_clock(dialect: Dialect) -> None:
    thread = dialect.thread()
    created: Any = dialect.sync.crons.create_for_thread(
        thread, "weather", schedule="* * * * * *", input={}, context={"tone": "late"}
    )
    deadline = time.monotonic() + 20
    found: Any = []
    while not found:
        assert time.monotonic() < deadline, "the cron has not fired"
        found = dialect.sync.runs.list(thread)
    dialect.sync.crons.delete(created["cron_id"])
    assert dialect.sync.crons.count(thread_id=thread) == 0
    values: Any = dialect.sync.runs.join(thread, found[-1]["run_id"])
    assert values["path"][0] == "look:late:none"
    assert found[-1]["metadata"]["cron_id"] == created["cron_id"]
