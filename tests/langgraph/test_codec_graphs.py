"""Graphs whose every checkpoint goes through the codec do what they do with LangGraph's own saver in memory."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph import types as lg
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple, get_checkpoint_metadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt
from strategies import TYPES, Point

from runyard.checkpoints import State, apply, shown
from runyard.runtime.langgraph.codec import Codec, Known
from runyard.runtime.langgraph.parts import touched_by


class CodecSaver(BaseCheckpointSaver[int]):
    """A saver that keeps nothing but what the codec makes; each step is encoded on top of what it knew before."""

    def __init__(self, reopened: bool) -> None:
        super().__init__()
        self.codec = Codec(TYPES)
        self.reopened = reopened
        self.states: dict[str, tuple[State, Known]] = {}
        self.writes: dict[str, dict[tuple[str, int], tuple[str, str, bytes]]] = {}
        self.returned: dict[str, list[Any]] = {}
        self.last: str | None = None

    def put(self, config: RunnableConfig, checkpoint: Any, metadata: Any, new_versions: Any) -> RunnableConfig:
        parent = config["configurable"].get("checkpoint_id")
        state, known = self.states.get(parent, ({}, None))
        if known is not None and self.reopened:
            known = self.codec.decode(state)[3]
        touched = touched_by(self.returned.pop(parent, []))
        about = dict(get_checkpoint_metadata(config, metadata))
        changes, known = self.codec.encode(checkpoint, about, parent_id=parent, known=known, touched=touched)
        self.states[checkpoint["id"]] = apply(state, changes), known
        self.last = checkpoint["id"]
        return {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": checkpoint["id"]}}

    def put_writes(self, config: Any, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        on = config["configurable"]["checkpoint_id"]
        kept = self.writes.setdefault(on, {})
        for index, (channel, value) in enumerate(writes):
            place = WRITES_IDX_MAP.get(channel, index)
            kept[task_id, place] = (task_id, channel, self.codec.encode_write(value))
            self.returned.setdefault(on, []).append(value)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        name = config["configurable"].get("checkpoint_id") or self.last
        if name not in self.states:
            return None
        checkpoint, metadata, parent, _ = self.codec.decode(self.states[name][0])
        place = {"thread_id": "t", "checkpoint_ns": ""}
        writes = [(task, channel, self.codec.decode_write(data)) for task, channel, data in self._on(name)]
        return CheckpointTuple(
            {"configurable": {**place, "checkpoint_id": name}},
            checkpoint,  # pyright: ignore
            metadata,  # pyright: ignore
            {"configurable": {**place, "checkpoint_id": parent}} if parent else None,
            writes,
        )

    def _on(self, name: str) -> list[tuple[str, str, bytes]]:
        return list(self.writes.get(name, {}).values())

    def list(self, config: Any, **_: Any) -> Iterator[CheckpointTuple]:
        for name in sorted(self.states, reverse=True):
            found = self.get_tuple({"configurable": {"thread_id": "t", "checkpoint_id": name}})
            assert found is not None
            yield found


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    points: Annotated[list[Any], operator.add]
    note: Any


def chat() -> StateGraph:
    def speak(state: Chat) -> Any:
        last = state["messages"][-1]
        if last.content == "forget":
            return {"messages": [RemoveMessage(id=state["messages"][0].id or "")], "note": None}
        first = state["messages"][0]
        first.additional_kwargs["read"] = first.additional_kwargs.get("read", 0) + 1
        return {"messages": [first, AIMessage(f"re: {last.content}", id=f"a{len(state['messages'])}")], "note": {1, 2}}

    def fan(state: Chat) -> Any:
        return [Send("work", {"n": n}) for n in range(3)]

    def work(task: Any) -> Any:
        return {"points": [Point(task["n"])]}

    def ask(state: Chat) -> Any:
        return {"points": [interrupt(Point(7))]}

    graph = StateGraph(Chat)
    graph.add_node("speak", speak)
    graph.add_node("work", work)
    graph.add_node("ask", ask)
    graph.add_edge(START, "speak")
    graph.add_conditional_edges("speak", fan, ["work"])
    graph.add_edge("work", "ask")
    graph.add_edge("ask", END)
    return graph


def history(graph: Any, config: RunnableConfig) -> list[Any]:
    return [
        (one.values, one.next, one.metadata["source"], one.metadata["step"], len(one.tasks))
        for one in graph.get_state_history(config)
    ]


@pytest.mark.parametrize("reopened", [False, True])
def test_a_conversation_with_questions_is_the_same(reopened: bool) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    told: list[Any] = []
    for saver in (InMemorySaver(), CodecSaver(reopened)):
        graph = chat().compile(checkpointer=saver)
        results: list[Any] = []
        for number, text in enumerate(["one", "two", "forget", "three"]):
            # Else a node may change a message in place before or after the background has stored it.
            asked = graph.invoke({"messages": [HumanMessage(text, id=f"h{number}")]}, config, durability="sync")
            results.append([one.value for one in asked.pop("__interrupt__")])
            results.append(asked)
            results.append(graph.invoke(Command(resume=number), config, durability="sync"))
        graph.update_state(config, {"note": "by hand"})
        results.append(graph.get_state(config).values)
        back = [one for one in graph.get_state_history(config) if one.next == ("ask",)][-1]
        results.append(graph.invoke(None, {**back.config, "configurable": {**back.config["configurable"]}}).keys())
        told.append((results, history(graph, config)))
        if isinstance(saver, CodecSaver):
            seen = shown(saver.states[saver.last or ""][0])
            assert set(seen) == {"messages", "points", "note"}
    for memory, ours in zip(told[0][1], told[1][1], strict=True):
        assert ours == memory
    assert told[0] == told[1]


def by_name(left: list[Point], right: Any) -> list[Point]:
    """A reducer that is given what to change and what to add."""
    return [*left, *right.get("add", [])] if isinstance(right, dict) else [*left, *right]


@pytest.mark.skipif(not hasattr(lg, "Overwrite"), reason="LangGraph has it since 1.0")
@pytest.mark.parametrize("reopened", [False, True])
def test_what_nodes_change_in_place_is_stored_as_it_is_when_they_give_it(reopened: bool) -> None:
    class State(TypedDict, total=False):
        log: Annotated[list[Any], by_name]
        last: list[Any]

    def replace(state: State) -> Any:
        state["log"][0].y = "overwritten"
        return {"log": lg.Overwrite(state["log"])}

    def name(state: State) -> Any:
        state["log"][1].y = "named"
        return {"log": {"changed": {"a": state["log"][1]}, "add": [Point(5)]}}

    def keep(state: State) -> Any:
        state["last"][0]["n"] += 1
        return {"last": state["last"]}

    def again(state: State) -> Any:
        state["last"][0]["n"] += 1
        state["log"][0].y = "again"
        return {"last": [*state["last"], 2], "log": [state["log"][0]]}

    told: list[Any] = []
    for saver in (InMemorySaver(), CodecSaver(reopened)):
        graph = StateGraph(State).add_sequence([replace, name, keep, again]).set_entry_point("replace")
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        compiled = graph.compile(checkpointer=saver)
        compiled.invoke({"log": [Point(1), Point(2)], "last": [{"n": 1}]}, config, durability="sync")
        told.append([one.values for one in compiled.get_state_history(config)])
    assert told[1] == told[0]


@pytest.mark.parametrize("reopened", [False, True])
def test_an_entrypoint_remembers_what_it_returned(reopened: bool) -> None:
    told: list[Any] = []
    for saver in (InMemorySaver(), CodecSaver(reopened)):

        @entrypoint(checkpointer=saver)
        def count(n: int, *, previous: Any = None) -> Any:
            return entrypoint.final(value=n, save=Point((previous.x if previous else 0) + n))

        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        told.append([count.invoke(n, config) for n in (1, 2)] + [count.get_state(config).values])
        told[-1].append(saver.get_tuple(config).checkpoint["channel_values"]["__previous__"])  # pyright: ignore
    assert told[0] == told[1]
    assert told[1][-1] == Point(3)
