"""What crosses between the engine's process and one in which agents run: the contract's messages as bytes.

    length (4 bytes, big-endian) | msgpack of one packet | length | ...

Where the contract's structs hold JSON text as it is (`msgspec.Raw`), msgpack has no place for it: such parts travel as
bytes, and the functions here take messages apart and put them together again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import msgspec
from msgspec import Raw

from runyard.checkpoints import Asked, Change, Checkpoint, PendingWrite, Question, Snapshot, Source, State
from runyard.events import Entry, Kind
from runyard.runtime.contract import (
    CheckpointWrite,
    Ended,
    FromAgent,
    Injected,
    Record,
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
from runyard.runtime.inside import ServerPiece, ServerRequest

_Questions = list[tuple[str, bytes, str, int, str, bytes]]


class WriteParts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `Write`."""

    entries: list[tuple[Kind, bytes, str, bytes]]
    checkpoint: CheckpointParts | None
    records: Sequence[Record]
    pending: Sequence[PendingWrite]
    settled: Sequence[PendingWrite]


class CheckpointParts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A `CheckpointWrite`."""

    changes: dict[str, tuple[bytes, int | None]]
    source: Source
    checkpoint_id: str | None
    namespace: str
    fresh: bool
    shows: bool


# to the agents' process


class Setup(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """The first packet: what the process is to be."""

    targets: tuple[str, ...]
    folder: str
    """What paths among the targets are relative to."""
    path: list[str]
    """Where modules are looked for."""
    threads: int
    log_format: str
    log_level: str
    traces: bool
    version: str


class Begin(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """An attempt; `number` is its own among all of the process."""

    number: int
    start: Start
    questions: _Questions
    same: bool
    """Whether the head is the base too, and travels once."""


class Durable(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """`Stored`."""

    number: int
    count: int


class Halt(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """`Stop`."""

    number: int
    stop: Stop


class StoreGave(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """`StoreReply`."""

    number: int
    reply: StoreReply


class StateGave(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """`StateReply`."""

    number: int
    reply: StateReply
    snapshots: list[tuple[Checkpoint, bytes | None, State]]


class ServerStoreGave(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """The answer to a `ServerStoreAsked`."""

    call: int
    reply: StoreReply


class Close(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """No attempt follows, and none executes: the process is to end in order."""


class Inject(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """`Injected`."""

    number: int
    message: Injected


class ServerGave(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=9):
    """A part of the answer to a `ServerWanted`."""

    call: int
    piece: ServerPiece


# from the agents' process


class Ready(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """The agents are loaded: their ids and versions."""

    agents: dict[str, str]


class Unable(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """They cannot be loaded; the process ends."""

    why: str


class Wrote(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """`Write`."""

    number: int
    write: WriteParts


class StoreAsked(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    """`StoreCall`."""

    number: int
    call: StoreCall


class StateAsked(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    """`StateCall`."""

    number: int
    call: StateCall


class Over(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    """`Ended`."""

    number: int
    ended: Ended
    last: WriteParts | None
    questions: _Questions


class ServerWanted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    """A request to the server, for an owner."""

    call: int
    owner: str
    request: ServerRequest


class ServerUnwanted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=8):
    """Nobody listens to the answer to a `ServerWanted` any more."""

    call: int


class ServerStoreAsked(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    """A call of a store that belongs to no attempt, for an owner."""

    call: int
    owner: str
    wanted: StoreCall


ToProcess = Setup | Begin | Durable | Halt | StoreGave | StateGave | ServerStoreGave | Close | Inject | ServerGave
FromProcess = Ready | Unable | Wrote | StoreAsked | StateAsked | Over | ServerStoreAsked | ServerWanted | ServerUnwanted

pack = msgspec.msgpack.Encoder().encode
read_to_process = msgspec.msgpack.Decoder(ToProcess).decode
read_from_process = msgspec.msgpack.Decoder(FromProcess).decode
_ASKED = msgspec.json.Decoder(Asked)


# the beginning


def begin(number: int, start: Start) -> Begin:
    """An attempt's start, taken apart."""
    same = start.head is start.base
    if not same and not start.questions:
        return Begin(number, start, [], False)
    head = cast(State, {}) if same else start.head
    return Begin(number, msgspec.structs.replace(start, head=head, questions=()), _plain(start.questions), same)


def start_of(packet: Begin) -> Start:
    """The inverse."""
    start = packet.start
    if not packet.same and not packet.questions:
        return start
    head = start.base if packet.same else start.head
    return msgspec.structs.replace(start, head=head, questions=_questions(packet.questions))


# from the engine


def to_agent(number: int, message: ToAgent) -> ToProcess:
    """A message for an attempt's code, taken apart."""
    if isinstance(message, Stored):
        return Durable(number, message.count)
    if isinstance(message, Stop):
        return Halt(number, message)
    if isinstance(message, StoreReply):
        return StoreGave(number, message)
    if isinstance(message, Injected):
        return Inject(number, message)
    snapshots = [
        (
            msgspec.structs.replace(one.checkpoint, asked=None),
            None if one.checkpoint.asked is None else msgspec.json.encode(one.checkpoint.asked),
            one.state,
        )
        for one in message.snapshots
    ]
    return StateGave(number, msgspec.structs.replace(message, snapshots=()), snapshots)


def message_to_agent(packet: Durable | Halt | StoreGave | StateGave | Inject) -> ToAgent:
    """The inverse."""
    if isinstance(packet, Durable):
        return Stored(packet.count)
    if isinstance(packet, Halt):
        return packet.stop
    if isinstance(packet, StoreGave):
        return packet.reply
    if isinstance(packet, Inject):
        return packet.message
    snapshots = [
        Snapshot(
            checkpoint if asked is None else msgspec.structs.replace(checkpoint, asked=_ASKED.decode(asked)), state
        )
        for checkpoint, asked, state in packet.snapshots
    ]
    return msgspec.structs.replace(packet.reply, snapshots=snapshots)


# from the agent


def from_agent(number: int, message: FromAgent) -> FromProcess:
    """A message of an attempt's code, taken apart."""
    if isinstance(message, Write):
        return Wrote(number, _parts(message))
    if isinstance(message, StoreCall):
        return StoreAsked(number, message)
    if isinstance(message, StateCall):
        return StateAsked(number, message)
    last = None if message.last is None else _parts(message.last)
    bare = msgspec.structs.replace(message, last=None, questions=()) if last or message.questions else message
    return Over(number, bare, last, _plain(message.questions))


def message_from_agent(packet: Wrote | StoreAsked | StateAsked | Over) -> FromAgent:
    """The inverse."""
    if isinstance(packet, Wrote):
        return _whole(packet.write)
    if isinstance(packet, StoreAsked | StateAsked):
        return packet.call
    if packet.last is None and not packet.questions:
        return packet.ended
    last = None if packet.last is None else _whole(packet.last)
    return msgspec.structs.replace(packet.ended, last=last, questions=_questions(packet.questions))


def _parts(write: Write) -> WriteParts:
    put = write.checkpoint
    checkpoint = put and CheckpointParts(
        {channel: (bytes(change.value), change.at) for channel, change in put.changes.items()},
        put.source,
        put.checkpoint_id,
        put.namespace,
        put.fresh,
        put.shows,
    )
    entries: list[tuple[Kind, bytes, str, bytes]] = [
        (entry.kind, bytes(entry.data), entry.namespace, bytes(entry.told)) for entry in write.entries
    ]
    return WriteParts(entries, checkpoint, write.records, write.pending, write.settled)


def _whole(parts: WriteParts) -> Write:
    put = parts.checkpoint
    checkpoint = put and CheckpointWrite(
        {channel: Change(Raw(value), at) for channel, (value, at) in put.changes.items()},
        put.source,
        put.checkpoint_id,
        put.namespace,
        put.fresh,
        put.shows,
    )
    entries = [Entry(kind, Raw(data), namespace, Raw(told)) for kind, data, namespace, told in parts.entries]
    return Write(entries, checkpoint, parts.records, parts.pending, parts.settled)


def _plain(questions: Sequence[Question]) -> _Questions:
    return [(one.id, bytes(one.value), one.name, one.nth, one.namespace, bytes(one.schema)) for one in questions]


def _questions(plain: _Questions) -> list[Question]:
    return [
        Question(id, Raw(value), name, nth, namespace, Raw(schema)) for id, value, name, nth, namespace, schema in plain
    ]
