"""The streaming protocol as LangGraph's SDK speaks it, sync and async, over SSE and over WebSockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import dialect_agents
import pytest
from dialect_server import Dialect

from runyard.api.langgraph.assistants import default_id

HELLO: dict[str, Any] = {"messages": [{"type": "human", "content": "hi", "id": "h"}]}
Transport = Literal["sse", "websocket"]
transports = pytest.mark.parametrize("transport", ["sse", "websocket"])


@pytest.fixture
def go() -> Iterator[None]:
    dialect_agents.GO.clear()
    yield
    dialect_agents.GO.set()


@transports
def test_an_async_client_asks_and_answers(dialect: Dialect, transport: Transport) -> None:
    async def story() -> None:
        client = dialect.client()
        async with client.threads.stream(assistant_id="careful", transport=transport) as thread:
            started = await thread.run.start(input=HELLO, metadata={"why": "test"})
            async for _ in thread.values:
                pass
            assert thread.interrupted
            assert [one["value"] for one in thread.interrupts] == ["Are you sure?"]
            # The client hears of questions by a stream of their own, and ends the others' iterations then.
            state = await client.threads.get_state(thread.thread_id)
            assert [message["type"] for message in state["values"]["messages"]] == ["human", "ai"]
            await thread.run.respond("yes")
            final = await thread.output
            assert final["answer"] == "yes"
            run = await client.runs.get(thread.thread_id, started["run_id"])
            assert (run["metadata"]["why"], run["assistant_id"]) == ("test", default_id("careful"))
        found = await client.threads.get(thread.thread_id)
        assert found["metadata"] == {"graph_id": "careful", "assistant_id": default_id("careful")}

    asyncio.run(story())


@transports
def test_a_sync_client_asks_and_answers(dialect: Dialect, transport: Transport) -> None:
    with dialect.sync.threads.stream(assistant_id=default_id("asks"), transport=transport) as thread:
        thread.run.start(input={"x": 1})
        list(thread.values)
        assert thread.interrupts[0]["value"] == {"question": "sure?"}
        thread.run.respond({"so": "yes"})
        assert thread.output == {"answer": {"so": "yes"}}


def test_messages_and_named_events_are_read_as_they_come(dialect: Dialect) -> None:
    async def story() -> None:
        async with dialect.client().threads.stream(assistant_id="talks") as thread:
            await thread.run.start(input=HELLO)
            progress = [event async for event in thread.extensions["progress"]]
            assert progress == [{"name": "progress", "payload": {"heard": 1}}]
        async with dialect.client().threads.stream(assistant_id="talks") as thread:
            await thread.run.start(input=HELLO)
            said = [message async for message in thread.messages]
            assert "".join([text async for text in said[-1].text]) == "You said hi"

    asyncio.run(story())


def test_what_a_graph_writes_under_a_name_is_read_as_it_wrote_it(dialect: Dialect) -> None:
    with dialect.sync.threads.stream(assistant_id="weather") as thread:
        thread.run.start(input=HELLO)
        (event,) = thread.extensions["progress"]
        assert (event["name"], event["at"]) == ("progress", "look")


def test_a_cancelled_run_ends_for_its_reader(dialect: Dialect, go: None) -> None:
    async def story() -> None:
        client = dialect.client()
        async with client.threads.stream(assistant_id="waits") as thread:
            run = await thread.run.start(input={})
            await client.runs.cancel(thread.thread_id, run["run_id"])
            async for _ in thread.values:
                pass
            with pytest.raises(RuntimeError, match="aborted"):
                await thread.output

    asyncio.run(story())


def events(dialect: Dialect, thread_id: str, channels: list[str], last: str, **more: Any) -> list[dict[str, Any]]:
    """The frames of a thread's event stream up to one of a method."""
    found: list[dict[str, Any]] = []
    body = {"channels": channels, "since": 0, **more}
    with dialect.http.stream("POST", f"/threads/{thread_id}/stream/events", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:]))
                if last in (found[-1]["method"], found[-1]["params"]["data"].get("event")):
                    return found
    raise AssertionError("it ended")


def test_frames_are_in_snake_case_and_langchains_words(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "careful", input=HELLO)
    told = events(dialect, thread_id, ["values", "updates", "input", "checkpoints", "lifecycle"], "interrupted")
    assert {"event_id", "seq", "run_id"} <= set(told[-1])
    (asked,) = [one["params"]["data"] for one in told if one["method"] == "input.requested"]
    assert asked["payload"] == asked["value"] == "Are you sure?"
    assert set(asked) == {"interrupt_id", "payload", "value"}
    update = next(one["params"]["data"] for one in told if one["method"] == "updates")
    assert update["values"]["messages"][0]["type"] == "ai"
    assert any("parent_id" in one["params"]["data"] for one in told if one["method"] == "checkpoints")
    # Without a cursor the state now comes first.
    with dialect.http.stream("POST", f"/threads/{thread_id}/stream/events", json={"channels": ["values"]}) as answer:
        first = next(json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
    assert [message["type"] for message in first["params"]["data"]["messages"]] == ["human", "ai"]
    assert [frame["method"] for frame in events(dialect, thread_id, ["lifecycle"], "interrupted")][-1] == "lifecycle"


def test_commands_that_fail_say_so(dialect: Dialect) -> None:
    def send(thread_id: str, body: Any) -> Any:
        return dialect.http.post(f"/threads/{thread_id}/commands", json=body)

    thread_id = dialect.thread()
    unknown = send(thread_id, {"id": 1, "method": "run.start", "params": {"assistant_id": "nobody"}})
    assert (unknown.status_code, unknown.json()["type"], unknown.json()["error"]) == (200, "error", "invalid_argument")
    assert send(thread_id, {"id": 2, "method": "odd"}).json()["error"] == "unknown_command"
    malformed = send(thread_id, {"method": "run.start"})
    assert (malformed.status_code, malformed.json()["id"]) == (400, None)
    started = send(thread_id, {
        "id": 3, "method": "run.start",
        "params": {
            "assistant_id": "counts", "input": {"n": 2}, "multitaskStrategy": "enqueue",
            "config": {"configurable": {"thread_id": thread_id, "flavour": "salt"}},
        },
    }).json()  # fmt: skip
    assert set(started["result"]) == {"run_id"}
    assert "applied_through_seq" in started["meta"]
    assert dialect.sync.runs.join(thread_id, started["result"]["run_id"])["configured"] == {"flavour": "salt"}
    state = send(thread_id, {"id": 4, "method": "state.get", "params": {"keys": ["sum"]}}).json()
    assert state["result"]["values"] == {"sum": 2}
    assert dialect.http.get(f"/threads/{thread_id}/stream/events").status_code == 426


def test_langgraphs_remote_graph_runs_here(dialect: Dialect) -> None:
    from langgraph.pregel.remote import RemoteGraph
    from langgraph.types import Command

    remote = RemoteGraph("careful", url=dialect.url)
    config: Any = {"configurable": {"thread_id": dialect.thread()}}
    asked = list(remote.stream({"messages": [{"role": "user", "content": "hi"}]}, config, stream_mode="updates"))
    assert "__interrupt__" in asked[-1]
    assert remote.invoke(Command(resume="yes"), config)["answer"] == "yes"
    assert remote.get_state(config).next == ()
    remote.update_state(config, {"path": ["patched"]})
    assert remote.get_state(config).values["path"][-1] == "patched"
    assert len(list(remote.get_state_history(config))) > 3


def test_messages_that_nodes_return_are_told_with_the_state_only(dialect: Dialect) -> None:
    thread_id = dialect.thread()
    dialect.sync.runs.wait(thread_id, "weather", input=HELLO)
    told = events(dialect, thread_id, ["messages", "lifecycle"], "completed")
    starts = [one["params"]["data"] for one in told if one["params"]["data"]["event"] == "message-start"]
    assert [start["id"] for start in starts] == ["says"]
