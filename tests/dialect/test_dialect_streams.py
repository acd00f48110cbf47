"""Streams of runs, as LangGraph's SDK reads them: every mode, resumption, and the stream of a whole thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import dialect_agents
import pytest
from dialect_server import Dialect

HELLO = {"messages": [{"type": "human", "content": "hi", "id": "h"}]}


def told(dialect: Dialect, agent: str, input: Any, mode: Any, **more: Any) -> list[tuple[str, Any]]:
    """The events of a run, without those that every stream has."""
    parts = list(dialect.sync.runs.stream(more.pop("thread_id", None), agent, input=input, stream_mode=mode, **more))
    assert parts[0].event == "metadata"
    assert parts[-1].event == "end"
    return [(part.event, part.data) for part in parts[1:-1]]


def test_values_and_updates_are_told_in_langchains_words(dialect: Dialect) -> None:
    parts = told(dialect, "weather", HELLO, ["values", "updates", "custom"])
    values = [data for event, data in parts if event == "values"]
    assert [one.get("path") for one in values] == [
        None, ["look:plain:none"], ["look:plain:none", "speak"], ["look:plain:none", "speak", "dug"],
    ]  # fmt: skip
    assert [message["type"] for message in values[-1]["messages"]] == ["human", "ai"]
    updates = [data for event, data in parts if event == "updates"]
    assert [list(update) for update in updates] == [["look"], ["speak"], ["below"]]
    assert updates[1]["speak"]["messages"][0]["type"] == "ai"
    assert ("custom", {"name": "progress", "at": "look"}) in parts


def test_pieces_of_messages_come_with_where_they_are_from(dialect: Dialect) -> None:
    parts = told(dialect, "weather", HELLO, "messages-tuple")
    assert {event for event, _ in parts} == {"messages"}
    assert [piece["content"] for _, (piece, _) in parts] == ["It", " rains", " today", ""]
    piece, about = parts[0][1]
    assert (piece["type"], piece["id"], piece["tool_call_chunks"]) == ("AIMessageChunk", "says", [])
    assert (about["langgraph_node"], about["graph_id"]) == ("speak", "weather")


def test_messages_that_grow_are_told_whole_each_time(dialect: Dialect) -> None:
    parts = told(dialect, "weather", HELLO, "messages")
    assert [event for event, _ in parts] == [
        "messages/metadata", *["messages/partial"] * 4, "messages/complete",
    ]  # fmt: skip
    assert parts[0][1]["says"]["metadata"]["langgraph_node"] == "speak"
    assert [data[0]["content"] for _, data in parts[1:]] == ["It", "It rains", *["It rains today"] * 3]
    assert {data[0]["type"] for _, data in parts[1:]} == {"ai"}


def test_both_ways_of_messages_at_once_are_the_newer_one(dialect: Dialect) -> None:
    assert {event for event, _ in told(dialect, "talks", HELLO, ["messages", "messages-tuple"])} == {"messages"}


def test_a_function_agent_streams_too(dialect: Dialect) -> None:
    parts = told(dialect, "talks", HELLO, ["messages-tuple", "custom", "values"])
    assert [data[0]["content"] for event, data in parts if event == "messages"][:3] == ["hi", "You said ", "hi"]
    assert ("custom", {"heard": 1}) in parts
    last = [data for event, data in parts if event == "values"][-1]
    assert [(one["type"], one["content"]) for one in last["messages"]] == [("human", "hi"), ("ai", "You said hi")]


def test_what_subgraphs_tell_is_told_where_it_is_asked_for(dialect: Dialect) -> None:
    assert all("|" not in event for event, _ in told(dialect, "weather", HELLO, "updates"))
    parts = told(dialect, "weather", HELLO, "updates", stream_subgraphs=True)
    (inner,) = [(event, data) for event, data in parts if "|" in event]
    assert inner[0].startswith("updates|below:")
    assert inner[1] == {"dig": {"note": "dug"}}


def test_only_some_namespaces_are_told_where_they_are_named(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    run = dialect.sync.runs.create(thread_id, "weather", input=HELLO, stream_mode="updates", stream_subgraphs=True)
    dialect.sync.runs.join(thread_id, run["run_id"])

    def names(**params: Any) -> list[str]:
        place = f"/threads/{thread_id}/runs/{run['run_id']}/stream"
        text = dialect.http.get(place, params=params, headers={"last-event-id": "0"}).text
        return [line[7:] for line in text.splitlines() if line.startswith("event: ")]

    inner = next(name for name in names() if "|" in name)
    assert names(namespace="") == ["metadata", *["updates"] * 3, "end"]
    assert names(namespace=inner.partition("|")[2]) == ["metadata", inner, "end"]
    assert names(namespace=["", inner.partition("|")[2]]) == names()


def test_tasks_checkpoints_and_debug_are_those_of_the_graph(dialect: Dialect) -> None:
    parts = told(dialect, "weather", HELLO, ["tasks", "checkpoints", "debug"])
    assert {event for event, _ in parts} == {"tasks", "checkpoints", "debug"}
    checkpoints = [data for event, data in parts if event == "checkpoints"]
    assert checkpoints[-1]["values"]["messages"][-1]["type"] == "ai"
    assert next(data["name"] for event, data in parts if event == "tasks") == "look"


def test_a_question_and_an_error_are_told(dialect: Dialect) -> None:
    parts = told(dialect, "careful", HELLO, ["values", "updates"], thread_id=dialect.thread())
    (event, asked), (last, values) = parts[-2:]
    assert (event, last) == ("updates", "values")
    assert [one["value"] for one in asked["__interrupt__"]] == ["Are you sure?"]
    assert values["__interrupt__"] == asked["__interrupt__"]
    assert values["path"] == ["speak"]
    failed = list(dialect.sync.runs.stream(None, "fails", input={}))
    error = next(part.data for part in failed if part.event == "error")
    assert error == {"error": "ValueError", "message": "no such city: Atlantis"}


@pytest.fixture
def go() -> Iterator[None]:
    dialect_agents.GO.clear()
    yield
    dialect_agents.GO.set()


def test_a_stream_is_resumed_behind_any_event(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    run = dialect.sync.runs.create(thread_id, "weather", input=HELLO, stream_mode=["values", "messages-tuple"])
    dialect.sync.runs.join(thread_id, run["run_id"])
    place = f"/threads/{thread_id}/runs/{run['run_id']}/stream"

    def events(after: str | None, **params: Any) -> list[tuple[str | None, str]]:
        headers = {} if after is None else {"last-event-id": after}
        text = dialect.http.get(place, headers=headers, params=params).text
        found: list[tuple[str | None, str]] = []
        for block in text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
            if "event" in fields:
                found.append((fields.get("id"), fields["event"]))
        return found

    whole = events("0")
    assert whole == events("-1")
    ids = [id for id, _ in whole]
    assert len(set(ids)) == len(ids)
    for index, id in enumerate(ids[:-1]):
        assert events(str(id)) == whole[index + 1 :]
    assert [event for _, event in events(None)] == ["metadata", "end"]
    assert {event for _, event in events("0", stream_mode="updates")} == {"metadata", "updates", "end"}
    assert {event for _, event in events("0", stream_mode='["custom","updates"]')} >= {"custom", "updates"}
    assert dialect.http.get(place, params={"stream_mode": "tasks"}).status_code == 422
    assert dialect.http.get(place, headers={"last-event-id": "odd"}).status_code == 422
    assert dialect.http.get(f"/threads/{thread_id}/runs/{thread_id}/stream").status_code == 404


def test_all_runs_of_a_thread_are_streamed(dialect: Dialect, go: None) -> None:
    async def story() -> None:
        client = dialect.client()
        thread_id = (await client.threads.create())["thread_id"]
        await client.runs.wait(thread_id, "counts", input={"n": 2}, metadata={})
        seen: list[tuple[str, Any]] = []
        async for part in await client.threads.join_stream(thread_id, last_event_id="0"):
            seen.append((part.event, part.data))
            if part.data.get("status") == "run_done":
                if len([1 for _, data in seen if data.get("status") == "run_done"]) == 2:
                    break
                await client.runs.create(thread_id, "asks", input={}, stream_mode="updates")
        assert [event for event, _ in seen] == ["metadata", "values", "metadata", "metadata", "updates", "metadata"]
        assert seen[1][1]["sum"] == 2
        assert "__interrupt__" in seen[4][1]
        for mode, expected in (("lifecycle", ["metadata", "metadata"]), ("state_update", ["values"])):
            seen.clear()
            async for part in await client.threads.join_stream(thread_id, last_event_id="0", stream_mode=mode):
                seen.append((part.event, part.data))
                if len(seen) == len(expected):
                    break
            assert [event for event, _ in seen] == expected

    asyncio.run(story())
    assert dialect.http.get(f"/threads/{dialect.thread()}/stream", params={"stream_mode": "odd"}).status_code == 422
