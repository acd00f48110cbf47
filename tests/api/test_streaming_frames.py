"""The checks that every frame in the tests passes: that they can fail, that the CDDL and the published types agree
about what passes, and that respelling leaves alone what users put in."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from streaming_frames import (
    BLOCKS,
    DATA,
    DELTAS,
    PARAMETERS,
    RECORDS,
    RESULT,
    UNFINISHED,
    WrongFrame,
    check_command,
    check_event,
    check_order,
    check_response,
    check_whole,
    spell_event,
)

from runyard.protocol.names import PARAMS, RESULTS

Change = Callable[[dict[str, Any]], Any]

PROTOCOL_WORDS = [
    "fileId", "file_id", "mimeType", "mime_type", "toolCallId", "tool_call_id", "eventId", "interruptIds", "runId",
    "run_id", "graphName", "inputTokens", "cache_read", "checkpointId", "assistantId", "sinceEventId", "", "é", "a b",
]  # fmt: skip
"""Keys that users may have, too."""


def event(method: str, data: Any, *, namespace: tuple[str, ...] = (), id: str = "43", **more: Any) -> dict[str, Any]:
    """An event as the server makes it."""
    frame: dict[str, Any] = {"type": "event", "eventId": id}
    if id.isdigit():
        frame["seq"] = int(id)
    params = {"namespace": list(namespace), "timestamp": 1_764_060_000_000, "data": data}
    return {**frame, "runId": "r", "method": method, "params": params, **more}


START = {"event": "content-block-start", "index": 0, "content": {"type": "text", "text": ""}, "id": "m"}
RIGHT = {
    "block": event("messages", START),
    "delta": event("messages", {"event": "content-block-delta", "index": 0, "id": "m",
                                "delta": {"type": "text-delta", "text": "x"}}),
    "tool": event("tools", {"event": "tool-started", "toolCallId": "c", "toolName": "t", "input": {"fileId": 1}}),
    "end": event("lifecycle", {"event": "failed", "error": "no"}),
    "checkpoint": event("checkpoints", {"id": "c", "step": -1, "source": "input"}, id="43-0"),
    "values": event("values", {"fileId": {"tool_call_id": 1}}),
    "asked": event("input.requested", {"interruptId": "i", "payload": None}),
}  # fmt: skip


def _data(key: str, value: Any) -> Change:
    return lambda frame: frame["params"]["data"].__setitem__(key, value)


def _without(key: str) -> Change:
    return lambda frame: frame["params"]["data"].pop(key)


WRONG: list[tuple[str, Change]] = [
    ("block", _data("event", "content-block-begun")),
    ("block", _data("index", -1)),
    ("block", _data("content", {"type": "text"})),
    ("block", _data("content", {"type": "texts", "text": ""})),
    ("block", _data("content", {"type": "tool_call_chunk", "id": None, "name": "t"})),
    ("block", lambda f: f["params"]["data"].update(event="content-block-finish", content={
        "type": "tool_call_chunk", "id": None, "name": "t", "args": ""})),
    ("block", _data("content", {"type": "image", "mime_type": "image/png"})),
    ("block", _without("id")),
    ("delta", _data("delta", {"type": "text-delta"})),
    ("delta", _data("delta", {"type": "args-delta", "args": ""})),
    ("delta", _data("delta", {"type": "data-delta", "data": "", "encoding": "hex"})),
    ("tool", lambda f: f["params"]["data"].update(tool_call_id=f["params"]["data"].pop("toolCallId"))),
    ("tool", _data("toolName", 1)),
    ("end", _data("event", "cancelled")),
    ("end", _data("runId", "r")),
    ("end", _data("cause", {"type": "toolCall"})),
    ("checkpoint", _data("step", 1.5)),
    ("checkpoint", _data("source", "step")),
    ("checkpoint", lambda f: f.update(seq=43)),
    ("values", lambda f: f.pop("seq")),
    ("values", lambda f: f.update(seq=44)),
    ("values", lambda f: f.update(eventId="abc")),
    ("values", lambda f: f.update(method="value")),
    ("values", lambda f: f["params"].update(namespace="")),
    ("values", lambda f: f["params"].update(runId="r")),
    ("values", lambda f: f["params"].update(node="agent")),
    ("values", lambda f: f["params"].update(timestamp="now")),
    ("asked", _without("payload")),
    ("asked", lambda f: f.update(eventId="snap:01a20c2f-0000-7000-8000-000000000000")),
]  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_frame_passes(name: str) -> None:
    assert check_event(copy.deepcopy(RIGHT[name])) == RIGHT[name]


@pytest.mark.parametrize(("name", "change"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_frame_does_not(name: str, change: Change) -> None:
    frame = copy.deepcopy(RIGHT[name])
    change(frame)
    with pytest.raises(WrongFrame):
        check_event(frame)


@pytest.mark.parametrize(
    ("response", "method"),
    [
        ({"type": "success", "id": 1, "result": {"run_id": "r"}, "meta": {"appliedThroughSeq": 1}}, "run.start"),
        ({"type": "success", "id": 1, "result": {"runId": "r", "x": 1}, "meta": {"appliedThroughSeq": 1}}, "run.start"),
        ({"type": "success", "id": 1, "result": {"runId": "r"}, "meta": {}}, "run.start"),
        ({"type": "success", "id": None, "result": {}, "meta": {"appliedThroughSeq": 1}}, "input.respond"),
        ({"type": "error", "id": 1, "error": "no_such_thread", "message": ""}, "state.get"),
        ({"type": "error", "id": 1, "error": "no_such_run"}, "agent.getTree"),
        ({"type": "success", "id": 1, "meta": {"appliedThroughSeq": 1}, "result": {"restored": "yes"}},
         "subscription.reconnect"),
    ],
)  # fmt: skip
def test_a_wrong_response_does_not(response: dict[str, Any], method: str) -> None:
    with pytest.raises((WrongFrame, KeyError)):
        check_response(response, method)


def _told(*events: tuple[str, Any]) -> list[dict[str, Any]]:
    return [event(method, data, id=str(number)) for number, (method, data) in enumerate(events, 1)]


MESSAGE = ("messages", {"event": "message-start", "role": "ai", "id": "m"})
FINISH = ("messages", {"event": "content-block-finish", "index": 0, "content": {"type": "text", "text": ""}, "id": "m"})
COMPLETED = ("lifecycle", {"event": "completed"})


@pytest.mark.parametrize(
    "told",
    [
        _told(("messages", START)),
        _told(MESSAGE, ("messages", START), ("messages", {**START, "index": 1})),
        _told(MESSAGE, FINISH),
        _told(MESSAGE, ("messages", START), ("messages", {"event": "message-finish", "id": "m"})),
        _told(COMPLETED, COMPLETED),
        _told(COMPLETED, ("custom", {"payload": 1})),
        _told(("values", {})),
        _told(("tools", {"event": "tool-finished", "toolCallId": "c", "output": 1})),
        [event("lifecycle", {"event": "started"}, namespace=("a:1",), id="1"), event(*COMPLETED, id="2")],
    ],
)
def test_what_does_not_hang_together_is_seen(told: list[dict[str, Any]]) -> None:
    for frame in told:
        check_event(frame)
    with pytest.raises(WrongFrame):
        check_whole(told)


@pytest.mark.parametrize("ids", [["2", "1"], ["1", "1"], ["2", "2-0"], ["3-1", "3-0"], ["1", "snap:x"]])
def test_a_wrong_order_is_seen(ids: list[str]) -> None:
    with pytest.raises(WrongFrame):
        check_order([event("values", {}, id=id) for id in ids])
    check_order([event("values", {}, id=id) for id in ("snap:x", "1", "2-0", "2-1", "2", "3", "10-0")])


# what the records allow, made from them


scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.sampled_from(["", "x", "é☂"])
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(PROTOCOL_WORDS), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(PROTOCOL_WORDS), json_values, max_size=4)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "text": st.sampled_from(["", "x", "toolCallId"]), "int": st.integers(-5, 2**53), "uint": st.integers(0, 2**53),
    "bool": st.booleans(), "null": st.none(), "any": json_values, "object": objects, "scalar": scalars,
}  # fmt: skip
LINES = {re.split(r"[*:= ]", line)[0]: line for line in RECORDS.strip().splitlines()}


def kind(text: str) -> st.SearchStrategy[Any]:
    """Values of a type of the short form."""
    depth = [text[:at].count("[") - text[:at].count("]") for at in range(len(text))]
    bars = [at for at, letter in enumerate(text) if letter == "|" and not depth[at]]
    if bars:
        ends = [-1, *bars, len(text)]
        return st.one_of(*(kind(text[a + 1 : b].strip()) for a, b in itertools.pairwise(ends)))
    if text.startswith("["):
        inner = text[1:-1]
        return st.lists(kind(inner.rstrip("+")), min_size=int(inner.endswith("+")), max_size=2)
    if text.startswith('"'):
        return st.just(text.strip('"'))
    return SIMPLE[text] if text in SIMPLE else record(text)


def any_block(kinds: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(*(record(BLOCKS[name]).map(lambda block, name=name: {**block, "type": name}) for name in kinds))


SPECIAL: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "BlockStart.content": lambda: any_block(set(BLOCKS)),
    "BlockFinish.content": lambda: any_block(set(BLOCKS) - UNFINISHED),
    "BlockDelta.fields": lambda: any_block(set(BLOCKS)),
    "BlockDeltaEvent.delta": lambda: st.one_of(*map(record, DELTAS.values())),
    "Node.children": lambda: st.just([]),
}


def record(name: str) -> st.SearchStrategy[Any]:
    """Records, with and without what may be absent."""
    return st.deferred(lambda: _record(name))


def _record(name: str) -> st.SearchStrategy[Any]:
    line = LINES[name]
    if " = " in line:
        return kind(line.partition(" = ")[2])
    fields = [field.strip() for field in line.partition(":")[2].split(", ") if field.strip()]
    needed: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in fields:
        key, _, of = field.partition(" ")
        if key == "*":
            continue
        special = SPECIAL.get(f"{name}.{key.rstrip('?')}")
        values = kind(of) if special is None else special()
        (optional if key.endswith("?") else needed)[key.rstrip("?")] = values
    return st.fixed_dictionaries(needed, optional=optional)


def events_of(method: str) -> st.SearchStrategy[dict[str, Any]]:
    kinds = DATA[method]
    names = [kinds] if isinstance(kinds, str) else list(kinds.values())
    data = st.one_of(*(kind(name) for name in names))
    if method == "values":
        data = objects
    return data.map(lambda told: event(method, told))


quick = settings(
    max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("method", DATA)
def test_the_cddl_and_the_published_types_agree_on_events_and_respelling_keeps_them(method: str) -> None:
    @quick
    @given(events_of(method))
    def holds(frame: dict[str, Any]) -> None:
        before = json.dumps(frame)
        check_event(frame)  # the CDDL, the types in snake_case, and back
        snake = spell_event(frame, "snake")
        assert spell_event(snake, "snake") == snake
        assert spell_event(frame, "camel") == frame
        assert json.dumps(frame) == before
        for path in USERS.get(method, ()):
            assert _at(snake["params"]["data"], path) == _at(frame["params"]["data"], path)

    holds()


USERS: dict[str, list[tuple[str, ...]]] = {
    "values": [()], "updates": [("values",)], "custom": [("payload",)], "tasks": [()],
    "input.requested": [("payload",)], "tools": [("input",), ("output",)],
    "messages": [("content", "args"), ("content", "value"), ("content", "output"), ("delta", "fields", "args")],
}  # fmt: skip
"""Where in an event's data users have put something."""


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@pytest.mark.parametrize("method", PARAMETERS)
def test_parameters_come_back_from_either_spelling(method: str) -> None:
    names = [PARAMETERS[method], *(["RespondMany"] if method == "input.respond" else [])]

    @quick
    @given(st.one_of(*map(record, names)))
    def holds(params: dict[str, Any]) -> None:
        if method == "subscription.subscribe":
            params["channels"] = ["custom:x"]
        check_command({"id": 1, "method": method, "params": params})
        if method in PARAMS:
            snake = PARAMS[method].spell(params, "snake")
            assert PARAMS[method].spell(snake, "camel") == params
            for theirs in ("input", "response", "update", "config", "metadata", "goto"):
                assert snake.get(theirs) == params.get(theirs)

    holds()


@pytest.mark.parametrize("method", RESULT)
def test_results_come_back_from_either_spelling(method: str) -> None:
    @quick
    @given(record(RESULT[method]))
    def holds(result: dict[str, Any]) -> None:
        check_response({"type": "success", "id": 1, "result": result, "meta": {"appliedThroughSeq": 0}}, method)
        if method in RESULTS:
            assert RESULTS[method].spell(RESULTS[method].spell(result, "snake"), "camel") == result

    holds()
