"""A graph that is served looks to LangGraph like one that is here: `RemoteGraph`, over the server's dialect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asking_graphs
import pytest
import remote_graphs
from dialect_server import Dialect, dialect_server
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command, StateSnapshot

GO: dict[str, Any] = {"n": 1, "log": []}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dialect]:
    with dialect_server(tmp_path_factory.mktemp("remote"), agents=remote_graphs.AGENTS) as found:
        yield found


def remote(served: Dialect, name: str = "asking") -> RemoteGraph:
    return RemoteGraph(name, client=served.client(), sync_client=served.sync)


def on(served: Dialect) -> RunnableConfig:
    return {"configurable": {"thread_id": served.thread()}}


def seen(state: StateSnapshot) -> tuple[Any, ...]:
    return state.values, state.next, [one.value for task in state.tasks for one in task.interrupts]


def test_a_remote_graph_runs_asks_and_is_changed(served: Dialect) -> None:
    async def story() -> None:
        graph, config = remote(served), on(served)
        asked: Any = await graph.ainvoke(GO, config)
        assert (asked["n"], [one["value"] for one in asked["__interrupt__"]]) == (2, [{"sure": 2}])
        state = await graph.aget_state(config)
        assert seen(state) == ({"n": 2, "log": ["a"]}, ("ask",), [{"sure": 2}])
        told = [one async for one in graph.aget_state_history(config)]
        assert [one.next for one in told] == [("ask",), ("a",), ("__start__",)]
        # The state of then, and what was made of it.
        assert seen(await graph.aget_state(told[1].config)) == ({"n": 1, "log": []}, ("a",), [])
        changed = await graph.aupdate_state(config, {"n": 10, "log": ["by hand"]}, as_node="ask")
        state = await graph.aget_state(config)
        assert seen(state) == ({"n": 12, "log": ["a", "by hand"]}, ("b",), [])
        assert changed["configurable"]["checkpoint_id"] == state.config["configurable"]["checkpoint_id"]
        assert await graph.ainvoke(None, config) == {"n": 13, "log": ["a", "by hand", "b"]}
        then = told[1].config["configurable"]["checkpoint_id"]
        forked: Any = await graph.ainvoke(None, config, checkpoint_id=then)
        assert (forked["n"], forked["log"]) == (2, ["a"])

    asyncio.run(story())


def test_a_remote_graph_tells_what_happens_in_its_subgraphs(served: Dialect) -> None:
    async def story() -> None:
        graph, config = remote(served, "around"), on(served)
        told: list[Any] = [part async for part in graph.astream(GO, config, stream_mode="updates", subgraphs=True)]
        (inner,) = {namespace for namespace, _ in told if namespace}
        assert [(namespace, list(update)) for namespace, update in told[:2]] == [((), ["first"]), (inner, ["a"])]
        state = await graph.aget_state(config, subgraphs=True)
        (task,) = state.tasks
        assert isinstance(task.state, StateSnapshot)
        assert (inner, task.state.next) == ((f"inner:{task.id}",), ("ask",))
        changed = await graph.aupdate_state(task.state.config, {"n": 5, "log": ["by hand"]}, as_node="ask")
        below = await graph.aget_state(changed)
        assert (below.values, below.next) == ({"n": 8, "log": ["first", "a", "by hand"]}, ("b",))

    asyncio.run(story())


def test_an_answer_counts_for_a_subgraph_that_was_changed_since_it_asked(served: Dialect) -> None:
    async def story() -> None:
        graph, config = remote(served, "around"), on(served)
        await graph.ainvoke(GO, config)
        (task,) = (await graph.aget_state(config, subgraphs=True)).tasks
        assert isinstance(task.state, StateSnapshot)
        await graph.aupdate_state(task.state.config, {"n": 5, "log": ["by hand"]}, as_node="a")
        told = await graph.ainvoke(Command(resume="yes"), config)
        assert "__interrupt__" not in told
        assert told["log"][-4:] == ["by hand", "answered yes", "b", "last"]

    asyncio.run(story())


def test_a_remote_graph_without_async(served: Dialect) -> None:
    graph, config = remote(served), on(served)
    assert [list(update) for update in graph.stream(GO, config, stream_mode="updates")] == [["a"], ["__interrupt__"]]
    assert graph.get_state(config).next == ("ask",)
    assert graph.invoke(Command(resume="yes"), config) == {"n": 3, "log": ["a", "answered yes", "b"]}
    assert len(list(graph.get_state_history(config))) == 5


def test_a_remote_graph_is_drawn(served: Dialect) -> None:
    async def story() -> None:
        drawn = await remote(served, "around").aget_graph(xray=True)
        assert "inner:ask" in drawn.nodes
        assert ("__start__", "first") in {(edge.source, edge.target) for edge in drawn.edges}

    asyncio.run(story())
    assert list(remote(served).get_graph().nodes) == ["__start__", "a", "ask", "b", "__end__"]


def test_a_remote_graph_is_a_node_of_another_graph(served: Dialect) -> None:
    async def story() -> None:
        builder = StateGraph(asking_graphs.Count).add_node("remote", remote(served)).add_edge(START, "remote")
        graph, config = builder.compile(checkpointer=InMemorySaver()), on(served)
        asked: Any = await graph.ainvoke(GO, config)
        assert [one.value for one in asked["__interrupt__"]] == [{"sure": 2}]

    asyncio.run(story())


def test_a_remote_graph_is_watched_by_the_streaming_protocol(served: Dialect) -> None:
    async def story() -> None:
        graph, config = remote(served), on(served)
        async with await graph.astream_events(GO, config=config, version="v3") as stream:
            async for _ in stream.values:
                if await stream.interrupted():
                    break
            assert [one["value"] for one in await stream.interrupts()] == [{"sure": 2}]
        async with await graph.astream_events(Command(resume="yes"), config=config, version="v3") as stream:
            assert await stream.output() == {"n": 3, "log": ["a", "answered yes", "b"]}
            assert not await stream.interrupted()

    asyncio.run(story())
