"""Channels that LangGraph would store as what they were given, not as what they hold, are seen and changed like all."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.messages import BaseMessage, RemoveMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Overwrite, interrupt
from live_server import Server, Starter, play
from typing_extensions import TypedDict

from runyard import graph
from runyard.checkpoints import HIDDEN, name_of

delta = pytest.importorskip("langgraph.channels.delta", reason="this LangGraph has no such channels")
from langgraph.graph.message import _messages_delta_reducer  # noqa: E402


def appended(state: list[Any], writes: list[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


class State(TypedDict):
    messages: Annotated[list[BaseMessage], delta.DeltaChannel(_messages_delta_reducer, snapshot_frequency=3)]
    log: Annotated[list[int], delta.DeltaChannel(appended, snapshot_frequency=3)]


def answer(state: State) -> dict[str, Any]:
    heard = state["messages"][-1].text
    if heard == "forget":
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES)], "log": Overwrite([0])}
    return {"messages": [{"role": "assistant", "content": f"heard {heard}"}], "log": [len(state["log"])]}


CHAT = graph(StateGraph(State).add_node("answer", answer).add_edge(START, "answer"), id="chat")


async def say(s: Server, thread: str, text: str, **more: Any) -> Any:
    wish = {"messages": [{"role": "user", "content": text}], **more}
    answer = await s.post(f"/threads/{thread}/runs/wait", wish)
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(told: Any) -> list[str]:
    return [message["content"] for message in told["messages"]]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_the_thread_shows_what_they_hold(server: Starter, durability: str) -> None:
    async def story() -> None:
        async with server(CHAT) as s:
            thread = await s.thread()
            for turn in range(8):  # more than the channels' frequency of snapshots
                done = await say(s, thread, str(turn), durability=durability)
                assert done["values"]["log"] == list(range(turn + 1))
            assert texts(done) == [text for turn in range(8) for text in (str(turn), f"heard {turn}")]
            assert all(message["id"] for message in done["messages"])
            shown = (await s.get(f"/threads/{thread}")).json()
            assert (shown["values"], shown["messages"]) == (done["values"], done["messages"])

    play(story())


def test_a_client_changes_them(server: Starter) -> None:
    async def story() -> None:
        async with server(CHAT) as s:
            thread = await s.thread()
            first = (await say(s, thread, "one"))["messages"][0]
            patch = {"messages": [{**first, "content": "uno"}], "values": {"log": [7, 8]}}
            assert (await s.http.patch(f"/threads/{thread}", json=patch)).status_code == 200
            done = await say(s, thread, "two")
            assert texts(done) == ["uno", "heard one", "two", "heard two"]
            assert done["values"]["log"] == [7, 8, 2]

    play(story())


def test_a_fork_begins_with_what_they_held(server: Starter) -> None:
    async def story() -> None:
        async with server(CHAT) as s:
            thread = await s.thread()
            await say(s, thread, "one")
            early = (await s.get(f"/threads/{thread}/history?limit=1")).json()[0]["checkpoint"]
            await say(s, thread, "two")
            done = await say(s, thread, "three", checkpoint=early)
            assert texts(done) == ["one", "heard one", "three", "heard three"]
            assert done["values"]["log"] == [0, 1]

    play(story())


def test_they_are_emptied_and_overwritten(server: Starter) -> None:
    async def story() -> None:
        async with server(CHAT) as s:
            thread = await s.thread()
            await say(s, thread, "one")
            done = await say(s, thread, "forget")
            assert (texts(done), done["values"]["log"]) == ([], [0])
            done = await say(s, thread, "two")
            assert (texts(done), done["values"]["log"]) == (["two", "heard two"], [0, 1])

    play(story())


def ask(state: State) -> dict[str, Any]:
    return {"log": [interrupt(len(state["log"]))]}


def test_a_subgraph_that_asks_finds_again_what_its_own_held(server: Starter) -> None:
    inner = StateGraph(State).add_sequence([("one", answer), ("ask", ask), ("two", answer)]).add_edge(START, "one")

    async def delegate(state: State) -> dict[str, Any]:
        ended = await inner_graph.ainvoke({"messages": [{"role": "user", "content": "go"}], "log": [5, 6]})
        return {"log": [ended["log"]]}

    inner_graph = inner.compile()
    outer = graph(StateGraph(State).add_node("delegate", delegate).add_edge(START, "delegate"), id="outer")

    async def story() -> None:
        async with server(outer) as s:
            thread = await s.thread()
            asked = await say(s, thread, "begin")
            assert [question["value"] for question in asked["interrupts"]] == [3]
            answer = await s.post(f"/threads/{thread}/runs/wait", {"command": {"resume": 9}})
            assert answer.json()["values"]["log"] == [[5, 6, 2, 9, 4]]

    play(story())


def test_nothing_of_them_is_kept_twice(server: Starter) -> None:
    async def story() -> None:
        async with server(CHAT) as s:
            thread = await s.thread()
            for text in ("x" * 10_000, "two", "three", "four"):  # the channels' frequency of snapshots is passed
                await say(s, thread, text)
            history = await s.storage.history("", thread, before=None, limit=20)
            assert len(history) == 12
            for snapshot in history[:-1]:  # the oldest has the input whole
                beside = {name: len(value) for name, value in snapshot.state.items() if name.startswith(HIDDEN)}
                assert sum(beside.values()) < 5_000, beside
                assert await s.storage.pending_writes("", thread, "", name_of(snapshot.state) or "") == []

    play(story())
