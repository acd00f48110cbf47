"""Whatever can be written can be read, by whoever comes later; and a step costs what it adds, wherever it stands."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import operator
import pathlib
import re
import sys
import uuid
from collections import OrderedDict, defaultdict, deque
from typing import Annotated, Any, Generic, NamedTuple, TypedDict, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import StateGraph
from langgraph.types import Command, Send
from pydantic import BaseModel, Field, SecretStr, field_validator
from strategies import MESSAGES, PLAIN, TYPED, TYPES, Pair, Place, Point
from test_codec import Thread, checkpoint

from runyard.checkpoints import HIDDEN, REMOVED, apply
from runyard.runtime.langgraph.codec import ABOUT, GRAPH, TWIN, Codec
from runyard.runtime.langgraph.types import types_of
from runyard.runtime.signals import NotSerialisable

T = TypeVar("T")


class Moment(datetime.datetime): ...


class Day(datetime.date): ...


class Span(datetime.timedelta): ...


class Key(uuid.UUID): ...


class Money(decimal.Decimal): ...


class Bag(set[Any]): ...


class Name(str): ...


class Number(int): ...


class Size(enum.IntEnum):
    BIG = 2


class Named(NamedTuple):
    a: int


class Renamed(BaseModel):
    name: str = Field(alias="theName")


class Strict(BaseModel):
    name: str

    @field_validator("name")
    @classmethod
    def is_short(cls, name: str) -> str:
        assert len(name) < 5
        return name


class Box(BaseModel, Generic[T]):
    inner: T


@dataclasses.dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(self.x)


@dataclasses.dataclass
class With:
    given: dataclasses.InitVar[int]
    x: int = 0


def changed(value: Any, **fields: Any) -> Any:
    for name, field in fields.items():
        setattr(value, name, field)
    return value


OWN = [Moment, Day, Span, Key, Money, Bag, Name, Number, Size, Named, Renamed, Strict, Box, Picky, With]
ODD: list[Any] = [
    Moment(2026, 1, 2),
    Day(2026, 1, 2),
    Span(1),
    Key(int=1),
    Money("1.5"),
    Bag([1]),
    Name("a"),
    {Name("a"): Name("b")},
    Number(1),
    Size.BIG,
    {Size.BIG: 1, 2: 3, None: 4},
    Named(1),
    Renamed(theName="a"),
    changed(Strict(name="a"), name="much longer"),
    changed(Strict(name="a"), name=5),
    Box[int](inner=1),
    Box[Any](inner=Box[Any](inner={1})),
    changed(Picky(1), x=-1),
    With(1),
    SecretStr("s"),
    ValueError("a"),
    changed(Document(page_content="a"), metadata=None),
    OrderedDict(a=1),
    defaultdict(list, a=[1]),
    deque([1], maxlen=1),
    datetime.timezone(datetime.timedelta(hours=1), "X"),
    datetime.time(1, 2, tzinfo=datetime.UTC, fold=1),
    decimal.Decimal("NaN"),
    decimal.Decimal("Infinity"),
    float("nan"),
    float("-inf"),
    2**64 - 1,
    "a\0b",
    "\ud800",
    {"a\0": 1},
    {(1, 2): 3},
    (1, (2,)),
    b"",
    bytearray(b"a"),
    pathlib.PurePosixPath("a"),
    Send("a", Send("b", {1})),
    Command(update={"a": {1}}, goto=[Send("a", 1)], resume=1),
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{type(value).__name__} {value!a}"[:40])
@pytest.mark.parametrize("listed", [False, True])
def test_what_can_be_written_can_be_read(value: Any, listed: bool) -> None:
    codec = Codec({(kind.__module__, kind.__qualname__) for kind in OWN} if listed else ())
    try:
        write = codec.encode_write(value)
    except NotSerialisable:
        assert isinstance(value, pathlib.PurePosixPath), "LangGraph can store it"
        return
    back = codec.decode_write(write)
    for values in ({"a": value}, {"a": [value, HumanMessage("x")]}, {"__own": value}, {"__root__": value}):
        thread = Thread(codec)
        thread.put(values)
        assert repr(thread.reopen()) == repr(thread.values())
        json.dumps(thread.seen())
    again = codec.decode_write(codec.encode_write(back))
    assert repr(again) == repr(back)
    if listed and type(value) in (*OWN[8:10], Strict):
        assert back == value


def test_a_pattern_that_was_to_be_told_of_is_not_told_of_again(capsys: pytest.CaptureFixture[str]) -> None:
    pattern = re.compile("a", re.DEBUG)
    capsys.readouterr()
    codec = Codec()
    assert codec.decode_write(codec.encode_write(pattern)).pattern == "a"
    assert capsys.readouterr().out == ""


def test_objects_in_objects_are_had_again_or_refused() -> None:
    codec = Codec(TYPES)
    chain: Any = None
    for n in range(100):
        chain = Point(n, chain)
    for _ in range(sys.getrecursionlimit() // 2 // 100):
        assert codec.decode_write(codec.encode_write(chain)) == chain
    with pytest.raises(NotSerialisable, match="100 objects in each other"):
        codec.encode_write(Point(1, chain))
    for n in range(1000):
        chain = [{"a": Point(n, chain)}]
    with pytest.raises(NotSerialisable):
        codec.encode_write(chain)


def test_deep_plain_data_are_had_again_or_refused() -> None:
    codec = Codec()
    for depth in (50, 100, 101, 200, 400, 900, 1200, 5000):
        value: Any = 1
        for _ in range(depth):
            value = [value]
        try:
            write = codec.encode_write(value)
            changes, _ = codec.encode(checkpoint({"a": value}, {"a": 1}), {}, parent_id=None)
        except NotSerialisable:
            assert depth > 100
            continue
        assert repr(codec.decode_write(write)) == repr(value)
        assert repr(codec.decode(apply({}, changes))[0]["channel_values"]) == repr({"a": value})


CHANNELS = st.sampled_from(["a", "b", "messages", "branch:to:x", "__own"])
STEPS = st.lists(
    st.dictionaries(CHANNELS, st.lists(MESSAGES | TYPED | PLAIN, max_size=3) | TYPED | MESSAGES, max_size=3),
    min_size=2,
    max_size=4,
)


@given(STEPS, st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_channels_come_change_and_go(steps: list[dict[str, Any]], reopened: bool, told: bool) -> None:
    thread = Thread()
    for values in steps:
        thread.put(values, () if told else None)
        assert thread.values() == values
        whole = Thread()
        whole.put(values)
        assert whole.seen() == thread.seen()
        assert {name for name in whole.state if name[:1] == HIDDEN} == {
            name for name in thread.state if name[:1] == HIDDEN
        }
        if reopened:
            thread.reopen()


LISTS: dict[str, list[Any]] = {
    "messages": [HumanMessage(f"q{n}", id=f"{n}") for n in range(12)],
    "plain": [{"n": n} for n in range(12)],
    "objects": [Point(n) for n in range(12)],
    "mixed": [HumanMessage("a", additional_kwargs={"at": {1}}), {"role": "user"}, Place(name="x"), 1, None, *range(7)],
}


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("reopened", [False, True])
@pytest.mark.parametrize("told", [False, True])
def test_what_is_appended_is_written_alone(kind: str, reopened: bool, told: bool) -> None:
    values = LISTS[kind]
    thread = Thread()
    thread.put({"a": values[:8], "b": 1})
    for have, length in ((8, 9), (9, 11), (11, 12)):
        if reopened:
            thread.reopen()
        thread.put({"a": values[:length], "b": 1}, {id(value) for value in values} if told else None)
        written = {name: change for name, change in thread.changes.items() if name in ("a", "b", TWIN + "a")}
        assert written.keys() - {TWIN + "a"} == {"a"}
        for change in written.values():
            assert change.at == have
            assert len(json.loads(bytes(change.value))) == length - have
        assert thread.values()["a"] == values[:length]


@pytest.mark.parametrize("kind", LISTS)
def test_a_step_writes_the_same_at_any_length(kind: str) -> None:
    sizes: set[int] = set()
    for length in (10, 1000):
        thread = Thread()
        values = LISTS[kind][:1] * length
        thread.put({"a": values})
        thread.put({"a": [*values, values[0]]})
        sizes.add(sum(len(change.value) for name, change in thread.changes.items() if name != ABOUT))
    assert len(sizes) == 1


@pytest.mark.parametrize("kind", LISTS)
def test_equal_objects_are_no_change(kind: str) -> None:
    thread = Thread()
    thread.put({"a": LISTS[kind]})
    for touched in ((), None):
        thread.put({"a": thread.values()["a"]}, touched)
        assert thread.changes.keys() == {GRAPH, HIDDEN + "id"}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_the_graph_goes_on_with_is_not_what_is_known(kind: str) -> None:
    thread = Thread()
    values = list(LISTS[kind][:4])
    thread.put({"a": values})
    values.append(LISTS[kind][4])
    thread.put({"a": values})
    assert thread.changes["a"].at == 4
    values = thread.reopen()["a"]
    values.append(LISTS[kind][5])
    thread.put({"a": values})
    assert thread.changes["a"].at == 5
    del values[0]
    thread.put({"a": values})
    assert thread.changes["a"].at is None
    assert thread.values()["a"] == values


@pytest.mark.parametrize("kind", LISTS)
def test_several_states_can_follow_one(kind: str) -> None:
    thread = Thread()
    thread.put({"a": LISTS[kind]})
    state, known = thread.state, thread.known
    for end in ({1}, {2}, HumanMessage("x"), Point(1, 2), 5, AIMessage("y", id="0")):
        thread.state, thread.known = state, known
        for ends in ([end], [end, end], [end, end, Pair(1, {end.x}) if isinstance(end, Point) else end]):
            thread.put({"a": [*LISTS[kind], *ends]})
            assert thread.values() == {"a": [*LISTS[kind], *ends]}


def test_a_state_goes_on_from_what_a_client_wrote() -> None:
    thread = Thread()
    thread.put({"a": {1, 2}, "b": [Point(1)], "log": LISTS["messages"]})
    thread.state["a"] = b"[3]"
    thread.state["b"] = b'[ {"x": 5} ]'
    thread.state["log"] = b'[ {"content": "new", "role": "user"} ]'
    values = thread.reopen()
    assert values == {"a": [3], "b": [{"x": 5}], "log": [HumanMessage("new")]}
    thread.put({"a": values["a"], "b": [*values["b"], {"x": 6}], "log": [*values["log"], HumanMessage("y")]})
    assert {name: change.at for name, change in thread.changes.items() if name not in (GRAPH, HIDDEN + "id")} == {
        "b": 1,
        "log": 1,
        TWIN + "a": REMOVED,
        TWIN + "b": REMOVED,
    }
    thread.state["a"] = b"5"
    thread.reopen()
    thread.put({"a": {1, 2}, "b": [Point(1)], "log": []})
    assert thread.values() == {"a": {1, 2}, "b": [Point(1)], "log": []}


def test_a_typed_value_that_a_client_wrote_over_and_put_back() -> None:
    thread = Thread()
    thread.put({"a": {1, 2}})
    text = thread.state["a"]
    thread.state["a"] = b"[3]"
    assert thread.values() == {"a": [3]}
    thread.state["a"] = text
    assert thread.values() == {"a": {1, 2}}


def test_what_is_no_message_among_messages_stays_as_the_client_wrote_it() -> None:
    thread = Thread()
    thread.put({"log": [HumanMessage("a")], "n": 1})
    thread.state["log"] = b'[{"role":"user","content":"a"},5,{"no":"message"},{"role":"user","content":7}]'
    expected = [HumanMessage("a"), 5, {"no": "message"}, {"role": "user", "content": 7}]
    for n in range(3):
        values = thread.reopen()
        assert values["log"] == expected
        thread.put({"log": values["log"], "n": n}, versions={"log": 1, "n": n + 2})
    thread.put({"log": [*expected, AIMessage("b")], "n": 1})
    assert thread.values()["log"] == [*expected, AIMessage("b")]


def test_what_is_no_message_in_a_state_that_no_graph_has_made_stays_too() -> None:
    thread = Thread()
    thread.state = {"messages": b'[{"role":"user","content":"a"},5]'}
    for _ in range(2):
        values = thread.reopen()
        assert values == {"messages": [HumanMessage("a"), 5]}
        thread.put(values)


def test_the_classes_of_a_graphs_schemas_are_listed() -> None:
    class Mine(TypedDict):
        points: Annotated[list[Point], operator.add]
        places: dict[str, Place | None]
        messages: list[AnyMessage]

    def node(state: Mine) -> Mine:
        return state

    types = types_of(StateGraph(Mine).add_node("n", node).set_entry_point("n").compile(), None)
    assert types.find(Point.__module__, "Point") is Point
    assert types.find(Place.__module__, "Place") is Place
    assert types.find(Pair.__module__, "Pair") is None
    assert types.find("subprocess", "Popen") is None
