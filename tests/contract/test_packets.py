"""That messages between processes arrive as they were sent, whole and in order, and that nonsense harms nobody."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Raw

from runyard.checkpoints import Asked, Checkpoint, PendingWrite, Question, Snapshot, append, remove, set_to
from runyard.events import Entry
from runyard.items import Item, ItemSearch, Lasting, NamespaceQuery
from runyard.runtime import packets
from runyard.runtime.chores import Change, Chore, Draw, ListSubgraphs, ReadHistory, ReadState, UpdateState
from runyard.runtime.contract import (
    CheckpointWrite,
    Ended,
    FromAgent,
    Injected,
    Record,
    RunInfo,
    Start,
    StateCall,
    StateReply,
    Stop,
    StoreCall,
    Stored,
    StoreReply,
    ToAgent,
    Write,
)
from runyard.runtime.link import Link

RUN = RunInfo("r", "t", "a", "mia", 2, {"m": [1, None, 2.5]}, {"configurable": {"k": "\u00e9"}}, "inv", "as")
PENDING = PendingWrite("n", "on", "task", -1, "channel", b"\x00\xff", "path", "r")
RECORD = Record("step", "name", 3, b'{"x":1}', 7)
QUESTION = Question("q", Raw(b'{"which":"one?"}'), "name", 2, "node:1", Raw(b'{"type":"string"}'))
WRITE = Write(
    entries=[Entry("custom", Raw(b'{"payload": 1 }'), "node:1"), Entry("messages", Raw(b"[]"), "", Raw(b"[0,[0]]"))],
    checkpoint=CheckpointWrite(
        {"x": set_to(b'"\xc3\xa9"'), "y": append(2, b"[3]"), "z": remove()}, "input", "id", "node:1", True, False
    ),
    records=[RECORD],
    pending=[PENDING],
    settled=[PENDING],
)
CHECKPOINT = Checkpoint("c", "t", None, "r", 5, 0, "step", "full", b'{"x":1}', 7, 0, namespace="node:1")
ASKED = Asked("inv", "a", None, [QUESTION], Raw(b'{"in":1}'))

CHORES: list[Chore] = [
    ReadState("c", "node:1", True),
    ReadHistory(3, "c", "node:1", {"step": 1}),
    UpdateState([[Change(b'{"x":1}', "a"), Change()], [Change()]], "c", "node:1", True),
    Draw(2),
    Draw(True),
    ListSubgraphs("node", True),
]
STARTS: dict[str, Start] = {
    "plain": Start(
        RUN, None, {}, {}, [], [], {}, interrupt_before=[], interrupt_after="*", modes=[], writes=[], injected=[]
    ),
    "resume": Start(
        RUN,
        b"{}",
        base={"x": b"1"},
        head={"x": b"2"},
        records=[RECORD],
        questions=[QUESTION],
        answers={"q": b'"yes"'},
        command_update=b"{}",
        messages=b"[]",
        goto=b'["a"]',
        steps_left=5,
        trace="00-abc",
        durability="exit",
        context=b"{}",
        interrupt_before=["a"],
        interrupt_after=["b"],
        modes=["tasks"],
        addressed=True,
        begun=True,
        writes=[PENDING],
        inner=True,
        apart=True,
        injected=[Injected(1, b"{}")],
        max_value_bytes=2000,
        lasting=Lasting(5.0, True),
    ),
    **{
        f"chore {n}: {type(chore).__name__}": Start(
            RUN,
            None,
            {},
            {},
            [],
            [],
            {},
            interrupt_before=[],
            interrupt_after=[],
            modes=[],
            writes=[],
            injected=[],
            chore=chore,
        )
        for n, chore in enumerate(CHORES)
    },
}
FROM_AGENT: dict[str, FromAgent] = {
    "write": WRITE,
    "empty write": Write([], None, [], [], []),
    "put": StoreCall(1, "put", ("a", "b"), "k", b"{}", 2.5, (b"\0\xff", b"\1")),
    "search": StoreCall(
        2, "search", search=ItemSearch(("a",), {"x": {"$gt": 1}}, 5, 6, {"o": 1}, b"\xfe"), refresh=True
    ),
    "namespaces": StoreCall(3, "namespaces", query=NamespaceQuery(("a",), ("*",), 2, 3, 4, {"o": 1})),
    "history": StateCall(4, "history", "n", "c", 20),
    "completed": Ended("completed", WRITE, [], exceptions=[]),
    "asked": Ended("asked", None, [QUESTION], exceptions=[]),
    "answered": Ended("completed", None, [], exceptions=[], result=b'{"values":{}}'),
    "failed": Ended("failed", None, [], "code", "message", ["ValueError"], "stack"),
}
TO_AGENT: dict[str, ToAgent] = {
    "stored": Stored(3),
    "stop": Stop("lost"),
    "injected": Injected(3, b'{"id":"m"}'),
    "items": StoreReply(1, [Item(("a",), "k", b"{}", 1, 2, 3, 0.5)], [("a", "b")], None),
    "refused": StoreReply(1, [], [], ("code", "message")),
    "states": StateReply(
        2,
        [Snapshot(CHECKPOINT, {"x": b"1"}), Snapshot(msgspec.structs.replace(CHECKPOINT, asked=ASKED), {"y": b"2"})],
        [[PENDING], []],
        None,
    ),
    "no states": StateReply(3, [], [], ("code", "message")),
}


# packets


@pytest.mark.parametrize("name", STARTS)
def test_a_start_arrives_as_it_was_sent(name: str) -> None:
    packet = packets.read_to_process(packets.pack(packets.begin(7, STARTS[name])))
    assert isinstance(packet, packets.Begin)
    assert (packet.number, packets.start_of(packet)) == (7, STARTS[name])


def test_a_head_that_is_the_base_travels_once() -> None:
    state = {"x": b"1" * 1000}
    start = msgspec.structs.replace(STARTS["plain"], base=state, head=state)
    data = packets.pack(packets.begin(1, start))
    assert len(data) < 2000
    packet = packets.read_to_process(data)
    assert isinstance(packet, packets.Begin)
    arrived = packets.start_of(packet)
    assert arrived == start
    assert arrived.head is arrived.base


@pytest.mark.parametrize("name", FROM_AGENT)
def test_what_code_tells_arrives_as_it_was_sent(name: str) -> None:
    packet: Any = packets.read_from_process(packets.pack(packets.from_agent(7, FROM_AGENT[name])))
    assert (packet.number, packets.message_from_agent(packet)) == (7, FROM_AGENT[name])


@pytest.mark.parametrize("name", TO_AGENT)
def test_what_code_is_told_arrives_as_it_was_sent(name: str) -> None:
    packet: Any = packets.read_to_process(packets.pack(packets.to_agent(7, TO_AGENT[name])))
    assert (packet.number, packets.message_to_agent(packet)) == (7, TO_AGENT[name])


def test_every_kind_of_message_is_among_those_above() -> None:
    assert {type(message) for message in FROM_AGENT.values()} == set(get_args(FromAgent))
    assert {type(message) for message in TO_AGENT.values()} == set(get_args(ToAgent))
    assert {type(chore) for chore in CHORES} == set(get_args(Chore))


def test_every_part_of_a_message_is_shown_above_to_arrive() -> None:
    known: dict[type[Any], set[str]] = {}
    for one in structs_in([*STARTS.values(), *FROM_AGENT.values(), *TO_AGENT.values()]):
        shown = known.setdefault(type(one), set())
        shown.update(field.name for field in msgspec.structs.fields(one) if is_telling(one, field))
    fields = {kind: {field.name for field in msgspec.structs.fields(kind)} for kind in known}
    assert {kind: fields[kind] - known[kind] for kind in known if fields[kind] - known[kind]} == {}


def structs_in(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        value = [getattr(value, name) for name in value.__struct_fields__]
    if isinstance(value, list | tuple | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from structs_in(part)


def is_telling(one: msgspec.Struct, field: msgspec.structs.FieldInfo) -> bool:
    """Whether the part has a value that it would not have, had it been left out."""
    value = getattr(one, field.name)
    if field.required:
        return True
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return bool(value != default and (value or default))


# links


class End:
    """One end of a socket pair, which keeps what it hears."""

    def __init__(self, sock: socket.socket, read: Callable[[Any], Any]) -> None:
        self.heard: list[Any] = []
        self.lost = asyncio.Event()
        self.sock = sock
        self.link: Link[Any, Any] = Link(sock, read, self.heard.append, self.lost.set)

    async def until(self, count: int) -> list[Any]:
        while len(self.heard) < count:
            await asyncio.sleep(0)
        return self.heard


@pytest.fixture
def on_pair() -> Callable[[Callable[[End, End], Coroutine[Any, Any, None]]], None]:
    """Runs an async case with both ends, attached."""

    def run(case: Callable[[End, End], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            one, other = socket.socketpair()
            engine, agents = End(one, packets.read_from_process), End(other, packets.read_to_process)
            engine.link.attach(asyncio.get_running_loop())
            agents.link.attach(asyncio.get_running_loop())
            await asyncio.wait_for(case(engine, agents), 20)
            engine.link.close()
            agents.link.close()

        asyncio.run(whole())

    return run


def test_packets_of_all_sizes_arrive_whole_and_in_order(on_pair: Any) -> None:
    sizes = [0, 1, 100, 70_000, 3, 5_000_000, 2, 262_140, 262_144, 9]

    async def case(engine: End, agents: End) -> None:
        for number, size in enumerate(sizes):
            agents.link.send(packets.Unable(f"{number}:" + "x" * size))
        assert [len(packet.why) - 2 for packet in await engine.until(len(sizes))] == sizes

    on_pair(case)


def test_a_packet_that_comes_byte_by_byte_is_one(on_pair: Any) -> None:
    async def case(engine: End, agents: End) -> None:
        data = packets.pack(packets.Unable("why"))
        for byte in len(data).to_bytes(4, "big") + data:
            agents.sock.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await engine.until(1))[0].why == "why"

    on_pair(case)


def test_what_one_turn_sends_goes_in_one_write(on_pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []

    class Counting:
        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock

        def send(self, data: memoryview) -> int:
            writes.append(len(data))
            return self._sock.send(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._sock, name)

    async def case(engine: End, agents: End) -> None:
        monkeypatch.setattr(agents.link, "_sock", Counting(agents.sock))
        for number in range(50):
            agents.link.send(packets.Unable(str(number)))
        assert [packet.why for packet in await engine.until(50)] == [str(number) for number in range(50)]
        assert len(writes) == 1
        monkeypatch.undo()

    on_pair(case)


@pytest.mark.parametrize("nonsense", [b"\0\0\0\1\xc1", b"\0\0\0\3abc", b"\0\0\0\2\x91\x63"])
def test_an_end_that_sends_nonsense_is_given_up(on_pair: Any, nonsense: bytes) -> None:
    async def case(engine: End, agents: End) -> None:
        agents.sock.send(nonsense)
        await engine.lost.wait()
        assert engine.heard == []
        await agents.lost.wait()

    on_pair(case)


def test_what_an_end_sent_before_it_went_is_heard(on_pair: Any) -> None:
    async def case(engine: End, agents: End) -> None:
        for number in range(1000):
            agents.link.send(packets.Unable(str(number)))
        await asyncio.sleep(0)
        agents.link.close()
        engine.link.drain()
        assert engine.lost.is_set()
        assert [packet.why for packet in engine.heard] == [str(number) for number in range(1000)]
        engine.link.send(packets.Close())

    on_pair(case)
