"""Checkpoints of LangGraph come back from Runyard's states as they were, and a step costs what it changed."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Interrupt, Send
from strategies import MESSAGES, ODD_MESSAGES, PLAIN, TYPED, TYPES, Colour, Outer, Place, Point

from runyard.checkpoints import HIDDEN, Changes, State, apply, fold, set_to, shown
from runyard.errors import CorruptCheckpoint
from runyard.runtime.langgraph.codec import Codec, Known
from runyard.runtime.signals import NotSerialisable

VALUES = st.one_of(
    PLAIN,
    MESSAGES,
    TYPED,
    st.lists(MESSAGES, max_size=3),
    st.lists(st.one_of(PLAIN, MESSAGES, TYPED, ODD_MESSAGES), max_size=4),
)


class Thread:
    """A state as it grows by steps, seen by the encoder that wrote the steps before."""

    def __init__(self, codec: Codec | None = None) -> None:
        self.codec = codec or Codec(TYPES)
        self.state: State = {}
        self.known: Known | None = None
        self.step = 0
        self.changes: Changes = {}

    def put(self, values: dict[str, Any], touched: Any = (), versions: dict[str, Any] | None = None) -> None:
        """A step after which the channels have these values; `versions` where not all have changed."""
        self.step += 1
        self.changes, self.known = self.codec.encode(
            checkpoint(values, versions or dict.fromkeys(values, self.step), self.step),
            {"source": "loop", "step": self.step, "run_id": "r"},
            parent_id="p",
            known=self.known,
            touched=touched,
        )
        old = self.state
        self.state = apply(old, self.changes)
        bodies = [("full", _rendered(old)), ("delta", msgspec.json.encode(self.changes))]
        assert fold(bodies) == self.state

    def values(self) -> dict[str, Any]:
        return self.codec.decode(self.state)[0]["channel_values"]

    def seen(self) -> dict[str, Any]:
        return {name: msgspec.json.decode(text) for name, text in shown(self.state).items()}

    def reopen(self) -> dict[str, Any]:
        """Reads the state as a new process does; the steps that follow are on top of that."""
        decoded, _, _, self.known = self.codec.decode(self.state)
        return decoded["channel_values"]

    def patch(self, name: str, value: Any) -> None:
        self.state = apply(self.state, {name: set_to(msgspec.json.encode(value))})


def _rendered(state: State) -> bytes:
    return msgspec.json.encode({name: msgspec.Raw(text) for name, text in state.items()})


def checkpoint(values: dict[str, Any], versions: dict[str, Any], step: int = 1) -> dict[str, Any]:
    return {
        "v": 4,
        "id": f"id-{step}",
        "ts": "2026-01-02T03:04:05+00:00",
        "channel_values": dict(values),
        "channel_versions": versions,
        "versions_seen": {"__input__": {}, "node": dict(versions)},
        "updated_channels": sorted(values),
    }


def as_langgraph_gives_back(value: Any) -> Any:
    try:
        serializer = JsonPlusSerializer(allowed_msgpack_modules=list(TYPES))
    except TypeError:  # it allows everything before 4.0
        serializer = JsonPlusSerializer()
    return serializer.loads_typed(serializer.dumps_typed(value))


def messages(count: int) -> list[Any]:
    return [HumanMessage(f"m{i}", id=str(i)) for i in range(count)]


@given(st.dictionaries(st.sampled_from(["a", "messages", "output", "b:c"]), VALUES, max_size=3))
@settings(max_examples=150, deadline=None)
def test_a_checkpoint_comes_back_as_langgraphs_own_serializer_gives_it(values: dict[str, Any]) -> None:
    codec = Codec(TYPES)
    given_ = checkpoint({**values, "branch:to:x": None, "__pregel_tasks": [Send("n", 1)]}, {"a": 1, "branch:to:x": 2})
    metadata = {"source": "loop", "step": 1, "parents": {}, "seen": {1}}
    try:
        expected = as_langgraph_gives_back(values)
    except TypeError:
        return
    changes, _ = codec.encode(given_, metadata, parent_id="p")
    decoded, about, parent, _ = codec.decode(apply({}, changes))
    assert parent == "p"
    assert about == metadata
    got = decoded.pop("channel_values")
    assert (
        got == {**values, "branch:to:x": None, "__pregel_tasks": [Send("n", 1)]}
        or {name: got[name] for name in values} == expected
    )
    decoded["channel_versions"] = {k: v for k, v in decoded["channel_versions"].items() if k in ("a", "branch:to:x")}
    assert decoded == {key: value for key, value in given_.items() if key != "channel_values"}


@given(st.lists(VALUES, min_size=1, max_size=4))
@settings(max_examples=100, deadline=None)
def test_steps_one_after_another_are_as_each_written_whole(steps: list[Any]) -> None:
    thread = Thread()
    for value in steps:
        value = as_langgraph_gives_back(value)
        thread.put({"a": value}, touched=None)
        assert thread.values() == {"a": value}
        whole = Thread()
        whole.put({"a": value})
        assert whole.seen() == thread.seen()


def test_a_list_that_grew_costs_what_was_added() -> None:
    thread = Thread()
    items = messages(200)
    thread.put({"messages": items})
    for reopened in (False, True):
        if reopened:
            items = thread.reopen()["messages"]
        items = [*items, AIMessage("more", id=f"x{len(items)}")]
        thread.put({"messages": items})
        assert thread.changes["messages"].at == len(items) - 1
        assert sum(len(change.value) for change in thread.changes.values()) < 400
        assert thread.values()["messages"] == items


def test_a_list_of_typed_objects_grows_by_tails_too() -> None:
    thread = Thread()
    items: list[Any] = [Point(i) for i in range(50)]
    thread.put({"a": items})
    items = [*thread.reopen()["a"], Point(99)]
    thread.put({"a": items})
    assert {name: change.at for name, change in thread.changes.items() if name.endswith("a")} == {
        "a": 50,
        HIDDEN + "t:a": 50,
    }
    assert thread.values() == {"a": items}
    assert thread.seen()["a"][-1] == {"x": 99, "y": None}


def test_an_unchanged_version_costs_nothing() -> None:
    thread = Thread()
    thread.put({"a": {"big": "x" * 1000}, "b": 1}, versions={"a": 1, "b": 1})
    thread.put({"a": {"big": "x" * 1000}, "b": 2}, versions={"a": 1, "b": 2})
    assert "a" not in thread.changes
    assert "b" in thread.changes


@pytest.mark.parametrize(
    "change",
    [
        lambda items: items[:-1],
        lambda items: items[::-1],
        lambda items: [],
        lambda items: [*items[:1], HumanMessage("other", id="1"), *items[2:]],
        lambda items: [*items[:1], copy.deepcopy(items[1]), *items[2:], HumanMessage("x")],
        lambda items: [items[0], *items],
        lambda items: [*items[1:], items[0], HumanMessage("x")],
        lambda items: "no list",
        lambda items: None,
        lambda items: [1, *items],
        lambda items: [*items, Point(1)],
        lambda items: tuple(items),
    ],
)
def test_what_is_no_growth_is_never_taken_for_it(change: Any) -> None:
    for kind in (messages(4), [1, 2, 3, 4], [Point(i) for i in range(4)], [{"a": 1}, 2, Point(1), HumanMessage("a")]):
        thread = Thread()
        thread.put({"a": kind})
        value = change(thread.reopen()["a"])
        thread.put({"a": value})
        assert thread.values() == {"a": as_langgraph_gives_back(value)}


def test_equal_but_different_objects_are_not_mistaken() -> None:
    thread = Thread()
    thread.put({"a": [1, 0, "x"]})
    thread.put({"a": [True, 0.0, "x", 4]})
    assert repr(thread.values()["a"]) == "[True, 0.0, 'x', 4]"


def test_a_dict_that_looks_like_a_message_stays_a_dict() -> None:
    thread = Thread()
    thread.put({"a": [{"role": "user", "content": "a"}]})
    thread.put({"a": [HumanMessage("a")]})
    assert thread.values()["a"] == [HumanMessage("a")]
    thread.put({"a": [{"role": "user", "content": "a"}, HumanMessage("a")]})
    assert thread.values()["a"] == [{"role": "user", "content": "a"}, HumanMessage("a")]
    thread.put({"a": [HumanMessage("a"), {"role": "user", "content": "a"}, Point(1)]})
    assert thread.values()["a"] == [HumanMessage("a"), {"role": "user", "content": "a"}, Point(1)]


@pytest.mark.parametrize("all_may_have_changed", [True, False])
def test_objects_that_were_changed_in_place_are_written_again(all_may_have_changed: bool) -> None:
    thread = Thread()
    items: list[Any] = [*messages(3), {"n": 1}, Point(1)]
    thread.put({"a": items})
    items[1].content = "changed"
    items[3]["n"] = 2
    items[4].x = 7
    touched = None if all_may_have_changed else {id(items[1]), id(items[3]), id(items[4])}
    items.append(HumanMessage("more"))
    thread.put({"a": items}, touched)
    assert thread.values()["a"] == items
    items.append(HumanMessage("last"))
    thread.put({"a": items}, None if all_may_have_changed else {id(items[0])})
    assert thread.changes["a"].at == 6
    assert thread.values()["a"] == items


def test_a_channel_that_is_no_more_disappears() -> None:
    thread = Thread()
    thread.put({"a": 1, "b": Point(1), "c": [Point(1)]})
    thread.put({"a": 1})
    assert thread.seen() == {"a": 1}
    assert set(thread.state) == {"a", *(HIDDEN + name for name in ("id", "graph", "names", "about"))}
    assert thread.values() == {"a": 1}
    thread.put({"a": 1, "b": [Point(2)]})
    assert thread.values() == {"a": 1, "b": [Point(2)]}
    thread.put({"a": 1, "b": [3]})
    assert HIDDEN + "t:b" not in thread.state


def test_a_state_that_no_graph_has_written_is_a_checkpoint() -> None:
    thread = Thread()
    thread.patch("messages", [{"role": "user", "content": "a"}, {"odd": 1}])
    thread.patch("n", 1)
    decoded, metadata, parent, thread.known = thread.codec.decode(thread.state)
    assert decoded["channel_values"] == {"messages": [HumanMessage("a"), {"odd": 1}], "n": 1}
    assert decoded["channel_versions"] == {"messages": 1, "n": 1}
    assert (parent, metadata["step"]) == (None, -1)
    items = [*decoded["channel_values"]["messages"], AIMessage("b")]
    thread.put({"messages": items})
    assert thread.changes["messages"].at == 2
    assert thread.values() == {"messages": items, "n": 1}
    assert thread.codec.decode({})[0]["channel_values"] == {}


def test_what_a_client_changed_counts() -> None:
    thread = Thread()
    odd = ToolMessage("t", tool_call_id="1", artifact={1})
    thread.put(
        {"p": Point(1), "l": [Point(1), Point(2)], "m": messages(2), "one": HumanMessage("a"), "o": [odd, *messages(1)]}
    )
    thread.patch("p", {"x": 5})
    thread.patch("l", [{"x": 9}, {"x": 2, "y": None}, 3])
    thread.patch("m", [{"role": "assistant", "content": "b"}])
    thread.patch("one", {"role": "ai", "content": "c"})
    thread.patch("o", [*thread.seen()["o"], {"role": "user", "content": "new"}])
    thread.patch("extra", [1])
    values = thread.reopen()
    assert values == {
        "p": {"x": 5},
        "l": [{"x": 9}, Point(2), 3],
        "m": [AIMessage("b")],
        "one": AIMessage("c"),
        "o": [odd, *messages(1), HumanMessage("new")],
        "extra": [1],
    }
    del values["extra"]
    values["l"] = [*values["l"], Point(4)]
    thread.put(values)
    assert thread.values() == {**values, "extra": [1]}


def test_messages_that_a_client_added_to_an_empty_list_are_messages() -> None:
    thread = Thread()
    thread.put({"messages": []})
    thread.patch("messages", [{"role": "user", "content": "a"}])
    assert thread.values() == {"messages": [HumanMessage("a")]}


@pytest.mark.parametrize("name", ["__root__", "__end__"])
def test_a_state_that_is_one_value_is_seen_as_output(name: str) -> None:
    thread = Thread()
    thread.put({name: [1]})
    assert thread.seen() == {"output": [1]}
    assert thread.reopen() == {name: [1]}
    thread.put({name: [*thread.reopen()[name], 2]})
    assert thread.changes["output"].at == 1
    thread.put({name: 1, "output": 2})
    assert thread.values() == {name: 1, "output": 2}
    assert thread.seen() == {"output": 2}


def test_what_is_langgraphs_own_is_not_seen() -> None:
    thread = Thread()
    own = {
        "__start__": {"m": [HumanMessage("a")]},
        "branch:to:x": None,
        "__pregel_tasks": [Send("a", 1)],
        "join:a:b": {"a"},
    }
    thread.put({"n": 1, **own})
    assert thread.seen() == {"n": 1}
    assert thread.values() == {"n": 1, **own}


def test_classes_that_the_graph_does_not_have_are_plain_data() -> None:
    thread = Thread(Codec())
    thread.put({"a": Point(1), "b": Place(name="x"), "c": Colour.RED, "d": Interrupt("q", id="i")})
    assert thread.values() == {
        "a": {"x": 1, "y": None},
        "b": {"name": "x", "tags": []},
        "c": "red",
        "d": Interrupt("q", id="i"),
    }


def test_nested_classes_and_fields_that_are_set_later_come_back() -> None:
    thread = Thread(Codec({(__name__, "Later"), *TYPES}))
    later = Later(1)
    later.sum = 5
    thread.put({"a": Outer.Inner(3), "b": later, "c": deque([1])})
    assert thread.values() == {"a": Outer.Inner(3), "b": later, "c": deque([1])}


@dataclasses.dataclass
class Later:
    x: int
    sum: int = dataclasses.field(init=False, default=0)


def test_what_cannot_be_stored_names_its_channel() -> None:
    with pytest.raises(NotSerialisable, match=r"state\.a"):
        Thread().put({"a": object()})


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_writes_come_back(value: Any) -> None:
    codec = Codec(TYPES)
    assert codec.decode_write(codec.encode_write(value)) in (value, as_langgraph_gives_back(value))


def test_older_and_newer_keys_of_a_checkpoint_are_kept() -> None:
    codec = Codec()
    older = checkpoint({"a": 1}, {"a": "00000002.0.5"})
    del older["updated_channels"]
    older["pending_sends"] = [Send("n", 1)]
    changes, _ = codec.encode(older, {}, parent_id=None)
    decoded, metadata, parent, _ = codec.decode(apply({}, changes))
    assert (decoded, metadata, parent) == (older, {}, None)


@pytest.mark.parametrize(
    ("channel", "text"),
    [
        ("graph", b"{}"),
        ("graph", b"[4,1,null,[],[],null,[0,{}],[]]"),
        ("graph", b'[4,"t",null,[0,[]],[],null,[0,{}],[]]'),
        ("graph", b'[4,"t",null,[-1,1],[],null,[0,{}],[]]'),
        ("graph", b'[4,"t",null,[0],[],null,[0,{}],[]]'),
        ("graph", b'[4,"t",null,[],[],null,[2,{}],[]]'),
        ("names", b"{}"),
        ("about", b"[0,[]]"),
        ("about", b'[1,"!"]'),
        ("id", b"1"),
    ],
)
def test_hidden_channels_that_are_none_of_ours_are_refused(channel: str, text: bytes) -> None:
    thread = Thread()
    thread.put({"a": [1]})
    thread.codec.decode(thread.state)
    with pytest.raises(CorruptCheckpoint):
        thread.codec.decode({**thread.state, HIDDEN + channel: text})


@pytest.mark.parametrize("data", [b"", b"x", b"j{", b"m{}", b"l[1]", b"t", b"tq", b"tm\xc1"])
def test_writes_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptCheckpoint):
        Codec().decode_write(data)
