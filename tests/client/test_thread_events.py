"""Frames are read in both cases; filters choose as the protocol says; what was had is known in bounded memory."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ap_client import (
    ApiValueError,
    CheckpointEvent,
    CustomEvent,
    InputAnswered,
    InputRequested,
    LifecycleEvent,
    Missed,
    ThreadEvent,
    ToolsEvent,
    UpdatesEvent,
    ValuesEvent,
)
from ap_client.filters import CHANNELS, wanted
from ap_client.seen import Seen
from ap_client.thread_events import LAST, read_event


def frame(method: str, data: Any, **more: Any) -> dict[str, Any]:
    return {"type": "event", "method": method, "params": {"namespace": [], "timestamp": 5, "data": data}, **more}


def read(method: str, data: Any, **more: Any) -> Any:
    return read_event(frame(method, data, **more))


def test_an_event_has_what_its_frame_says_in_either_case() -> None:
    params = {"namespace": ["a:1", "b"], "timestamp": 17, "node": "n", "data": {"some_key": 1, "someKey": 2}}
    camel = read_event(
        {"type": "event", "eventId": "43", "seq": 43, "runId": "r", "method": "values", "params": params}
    )
    snake = read_event(
        {"type": "event", "event_id": "43", "seq": 43, "run_id": "r", "method": "values", "params": params}
    )
    assert camel == snake
    assert isinstance(camel, ValuesEvent)
    assert (camel.event_id, camel.seq, camel.run_id, camel.node, camel.timestamp) == ("43", 43, "r", "n", 17)
    assert camel.namespace == ("a:1", "b")
    assert camel.values == {"some_key": 1, "someKey": 2}


def test_each_kind_says_its_own() -> None:
    updates = read("updates", {"node": "n", "values": {"a": 1}})
    assert isinstance(updates, UpdatesEvent)
    assert (updates.step, updates.values) == ("n", {"a": 1})
    assert read("updates", {"a": 1}).values == {"a": 1}
    tools = read("tools", {"event": "tool-started", "toolCallId": "c", "tool_name": "t", "input": {"q": 1}})
    assert isinstance(tools, ToolsEvent)
    assert (tools.event, tools.tool_call_id, tools.tool_name, tools.input) == ("tool-started", "c", "t", {"q": 1})
    assert read("tools", {"event": "tool-finished", "output": 3}).output == 3
    assert read("tools", {"event": "tool-error", "message": "m"}).message == "m"
    assert read("tools", {"event": "tool-output-delta", "delta": "d"}).delta == "d"
    begun = read("lifecycle", {"event": "started", "graphName": "g", "cause": {"type": "toolCall", "toolCallId": "c"}})
    assert isinstance(begun, LifecycleEvent)
    assert (begun.event, begun.graph_name, begun.is_end) == ("started", "g", False)
    assert begun.cause == {"type": "toolCall", "toolCallId": "c"}
    failed = read("lifecycle", {"event": "failed", "error": "why"})
    assert (failed.is_end, failed.error) == (True, "why")
    asked = read("input.requested", {"interrupt_id": "i", "payload": {"q": 1}})
    assert isinstance(asked, InputRequested)
    assert (asked.interrupt_id, asked.payload, asked.channel) == ("i", {"q": 1}, "input")
    answered = read("input.answered", {"interruptIds": ["i"]})
    assert isinstance(answered, InputAnswered)
    assert (answered.interrupt_ids, answered.channel) == (["i"], "input")
    saved = read("checkpoints", {"id": "c2", "parentId": "c1", "step": -1, "source": "input"})
    assert isinstance(saved, CheckpointEvent)
    assert (saved.checkpoint_id, saved.parent_id, saved.step, saved.source) == ("c2", "c1", -1, "input")
    own = read("custom", {"name": "progress", "payload": 0.5})
    assert isinstance(own, CustomEvent)
    assert (own.name, own.payload) == ("progress", 0.5)
    assert read("messages", {"event": "message-start"}).event == "message-start"
    assert type(read("tasks", 1)).__name__ == "TasksEvent"
    assert type(read("holograms", 1)) is ThreadEvent


@pytest.mark.parametrize(
    "odd", [None, 3, "text", [], {}, {"type": "event"}, {"method": "values"}, {"method": 1, "params": {}}]
)
def test_what_is_no_event_is_none(odd: Any) -> None:
    assert read_event(odd) is None


def test_an_event_of_odd_fields_is_read_as_far_as_it_goes() -> None:
    event = read_event({"method": "values", "params": {"namespace": "x"}, "seq": "4", "eventId": 3, "runId": None})
    assert event == ValuesEvent("values", None)
    assert {event: 1}[event] == 1


def test_missed_events_are_told_apart_from_an_agents_own() -> None:
    told = read("custom", {"name": "ap.missed_events", "payload": {"from": 3, "to": 9, "count": 7}})
    assert told == Missed(3, 9, 7)
    assert read("custom", {"name": "ap.missed_events", "payload": None}) == Missed(None, None, None)


@pytest.mark.parametrize(
    ("event_id", "seq", "position"),
    [
        ("43", 43, (43, LAST)),
        ("43-0", None, (43, 0)),
        ("43-12", None, (43, 12)),
        (None, 7, (7, LAST)),
        ("opaque", 7, (7, LAST)),
        ("opaque", None, None),
        ("snap:43", None, None),
        ("4٣", None, None),
        (None, None, None),
    ],
)
def test_the_place_in_the_log_is_in_the_names(event_id: str | None, seq: int | None, position: Any) -> None:
    assert ThreadEvent("values", 1, event_id=event_id, seq=seq).position == position
    assert ThreadEvent("values", 1, event_id="43-1").position < ThreadEvent("values", 1, event_id="43").position


@pytest.mark.parametrize(
    ("namespaces", "depth", "namespace", "matches"),
    [
        (None, None, ("a", "b"), True),
        ([], None, ("a",), True),
        ([[]], 0, (), True),
        ([[]], 0, ("a",), False),
        (None, 0, ("a",), False),
        (None, 1, ("a:1",), True),
        (None, 1, ("a:1", "b"), False),
        (["a"], None, ("a:1", "b:2"), True),
        ([["a"]], 1, ("a:1", "b:2"), True),
        ([["a"]], 0, ("a:1", "b:2"), False),
        ([["a:1"]], None, ("a:1",), True),
        ([["a:1"]], None, ("a:2",), False),
        ([["a:1"]], None, ("a",), False),
        ([["a", "b"]], None, ("a:1",), False),
        ([["x"], ["a"]], None, ("a:1",), True),
        ("a", None, ("a",), True),
    ],
)
def test_namespaces_and_depth(namespaces: Any, depth: int | None, namespace: tuple[str, ...], matches: bool) -> None:
    assert wanted("values", namespaces, depth).matches(ValuesEvent("values", 1, namespace)) is matches


def test_channels() -> None:
    one, other = (CustomEvent("custom", {"name": name, "payload": 1}) for name in ("one", "other"))
    assert [wanted("custom:one").matches(each) for each in (one, other)] == [True, False]
    assert [wanted("custom").matches(each) for each in (one, other)] == [True, True]
    assert wanted(["custom:one", "custom", "values"]).to_wire() == {"channels": ["values", "custom"]}
    assert wanted(["custom:b", "custom:a", "values", "values"]).channels == ("values", "custom:a", "custom:b")
    assert wanted("input").matches(InputRequested("input.requested", {}))
    assert wanted(CHANNELS, ["a", ["b", "c"]], 2).to_wire() == {
        "channels": list(CHANNELS), "namespaces": [["a"], ["b", "c"]], "depth": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("channels", "depth", "why"),
    [
        ("message", None, "'message'"),
        ([], None, "at least one"),
        ("custom:", None, "'custom:'"),
        ("values", -1, "depth"),
    ],
)
def test_what_the_protocol_does_not_have_is_refused(channels: Any, depth: int | None, why: str) -> None:
    with pytest.raises(ApiValueError, match=why):
        wanted(channels, None, depth)


def names(first: int, last: int) -> list[ThreadEvent]:
    """Entries of three events each."""
    told: list[ThreadEvent] = []
    for seq in range(first, last):
        told += [ThreadEvent("values", 1, event_id=f"{seq}-{place}") for place in (0, 1)]
        told.append(ThreadEvent("values", 1, event_id=str(seq), seq=seq))
    return told


def test_what_was_had_is_known_however_long_ago_and_however_it_comes_again() -> None:
    seen = Seen(remembered=8)
    assert all(seen.add(event) for event in names(1, 100))
    again = names(1, 100)
    random.Random(1).shuffle(again)
    assert not any(seen.add(event) for event in again)
    assert len(seen._names) <= 9
    assert all(seen.add(event) for event in names(100, 110))


def test_what_comes_late_is_no_duplicate_of_what_came_early() -> None:
    seen = Seen(remembered=8)
    assert seen.add(names(5, 6)[2])
    assert all(seen.add(event) for event in names(2, 4))


def test_events_without_a_name_are_always_new_and_opaque_ones_are_known_for_a_while() -> None:
    seen = Seen(remembered=2)
    assert [seen.add(ThreadEvent("values", 1)) for _ in range(2)] == [True, True]
    assert [seen.add(ThreadEvent("values", 1, seq=4)) for _ in range(2)] == [True, False]
    assert [seen.add(ThreadEvent("values", 1, event_id=name)) for name in ("a", "b", "a", "b")] == [
        True,
        True,
        False,
        False,
    ]
