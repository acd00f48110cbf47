"""What is told of an entry of the log, and what is not even written where nobody sees it."""

from __future__ import annotations

import gc
import json
from itertools import combinations
from typing import Any

import msgspec
import pytest

from runyard.events import Entry, Event, Kind, entry, events_of
from runyard.protocol.filters import CHANNELS, Filter, Filters
from runyard.protocol.frames import Face
from runyard.protocol.told import CHANNELS_OF, told

RUN = "01932f3a-7d7e-7e11-9d6b-5d8a7c6b5a49"
STATE = {"answer": b"42"}
POINTER = {"checkpoint_id": RUN, "step": 1, "source": "step"}
ENTRIES: dict[Kind, Any] = {
    "lifecycle": {"event": "running", "run_id": RUN, "agent_id": "a", "attempt": 1},
    "nested": {"event": "started", "graphName": "child"},
    "values": POINTER,
    "updates": {"a": {"answer": 42}},
    "messages": [{"id": "m", "role": "assistant", "content": "hello"}],
    "blocks": [{"event": "message-finish", "id": "m"}],
    "tools": {"event": "tool-finished", "toolCallId": "c", "output": 1},
    "custom": {"name": "named", "payload": 1},
    "tasks": {"id": "t"},
    "asked": {"checkpoint": POINTER, "questions": [{"id": "q", "value": 1}]},
    "input": {"answers": ["q"]},
    "error": {"code": "c", "message": "m"},
    "debug": {"type": "task"},
    "checkpoints": {"config": {}},
}


def event(kind: Kind, data: Any = None) -> Event:
    states = {0: STATE} if kind == "values" else {}
    return events_of(RUN, 7, 1_000_000, [entry(kind, ENTRIES[kind] if data is None else data)], states)[0]


def piece(content: Any, said: str = "[0]", **more: Any) -> Event:
    data = [{"id": "m", "role": "assistant", "content": content, "delta": True, **more}]
    raw = Entry("messages", msgspec.Raw(json.dumps(data).encode()), "", msgspec.Raw(said.encode()))
    return events_of(RUN, 7, 1_000_000, [raw])[0]


@pytest.mark.parametrize("kind", ENTRIES)
def test_entries_that_a_subscription_passes_over_have_nothing_for_it(kind: Kind) -> None:
    channels = {one.channel for one in told(event(kind))}
    assert channels == CHANNELS_OF.get(kind, frozenset())
    for wanted in [*combinations(CHANNELS, 1), *combinations(CHANNELS, 2), ("custom:named",), ("custom:other",)]:
        only = Filter(wanted)
        seen = [one for one in told(event(kind)) if only.shows(one, "")]
        assert [frame.told.method for frame in Face("camel").shown(event(kind), (only,))] == [o.method for o in seen]
        assert not seen or kind in only.kinds


def test_a_state_is_not_written_for_those_who_do_not_see_it() -> None:
    step = event("values")
    step.state = {"answer": object()}  # type: ignore[dict-item]
    assert [frame.told.method for frame in Face("camel").shown(step, (Filter(["checkpoints"]),))] == ["checkpoints"]
    assert Face("camel").shown(step, (Filter(["messages"]),)) == []
    assert step.frames is None
    step.state = STATE
    assert [frame.told.method for frame in Face("camel").shown(step, (Filter(["values"]),))] == ["values"]


@pytest.mark.parametrize("text", ["", "plain", 'with "quotes" \\ and\nlines', "\u00e4\u2028\U0001f600"])
def test_a_piece_of_text_is_told_as_it_is(text: str) -> None:
    (frame,) = Face("camel").frames(piece(text, "[3]"))
    assert json.loads(frame.text)["params"]["data"] == {
        "event": "content-block-delta", "index": 3, "delta": {"type": "text-delta", "text": text}, "id": "m",
    }  # fmt: skip


def test_pieces_of_other_blocks_are_told_with_what_they_add() -> None:
    (frame,) = Face("camel").frames(piece([{"type": "reasoning", "reasoning": "hm"}]))
    assert json.loads(frame.text)["params"]["data"]["delta"] == {"type": "reasoning-delta", "reasoning": "hm"}


@pytest.mark.parametrize("case", ["camel", "snake"])
def test_what_is_told_beside_its_data(case: Any) -> None:
    face = Face(case)
    id, run = ("eventId", "runId") if case == "camel" else ("event_id", "run_id")
    start, delta = face.frames(piece("x", '[{"event":"message-start","role":"ai","id":"m"},0]', node='a "node"'))
    assert [json.loads(frame.text) for frame in (start, delta)] == [
        {
            "type": "event", id: "7-0", run: RUN, "method": "messages",
            "params": {
                "namespace": [], "timestamp": 1000, "node": 'a "node"',
                "data": {"event": "message-start", "role": "ai", "id": "m"},
            },
        },
        {
            "type": "event", id: "7", "seq": 7, run: RUN, "method": "messages",
            "params": {
                "namespace": [], "timestamp": 1000, "node": 'a "node"',
                "data": {
                    "event": "content-block-delta", "index": 0, "delta": {"type": "text-delta", "text": "x"}, "id": "m",
                },
            },
        },
    ]  # fmt: skip
    made_up = face.frame(told(event("custom"))[0], 'child:1|"x":2', "snap:1", None, 2_000)
    assert json.loads(made_up.text) == {
        "type": "event", id: "snap:1", "method": "custom",
        "params": {"namespace": ["child:1", '"x":2'], "timestamp": 2, "data": {"name": "named", "payload": 1}},
    }  # fmt: skip


def test_those_who_ask_for_the_same_share_a_filter_while_it_is_used() -> None:
    filters = Filters()
    one = filters.shared(Filter(["values", "custom"], [["a"]], 2))
    assert filters.shared(Filter(["custom", "values"], [["a"]], 2)) is one
    assert filters.shared(Filter(["custom", "values"], [["a"]], 3)) is not one
    key = one.key
    del one
    gc.collect()
    assert key not in filters.used
