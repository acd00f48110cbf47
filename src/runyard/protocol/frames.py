"""Events of the log as frames of the streaming protocol, encoded once for all readers of a face."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard.errors import InvalidInput
from runyard.events import Event
from runyard.protocol.filters import Filter, namespace_of
from runyard.protocol.names import EVENT_DATA, Case
from runyard.protocol.told import Told, told

_encode = msgspec.json.Encoder().encode
SNAPSHOT = "snap:"
"""With what the id of a baseline begins; its checkpoint follows."""
MISSED = "missed:"
"""With what the id of the event begins that tells of events which are gone; their first and last numbers follow."""
_LONGEST = 18
"""Digits: any of so many is a number of 64 bits."""


class Cursor(msgspec.Struct, frozen=True):
    """Where a reader stands: behind the event `seq`, or (with `part`) behind that one of those that it is told in."""

    seq: int
    part: int | None = None

    @property
    def after(self) -> int:
        """The number of the last event of the log of which nothing has to be told any more."""
        return self.seq if self.part is None else self.seq - 1


class Frame(msgspec.Struct, frozen=True):
    """One event of the protocol, ready to be sent. `text` is its JSON text; empty where its state was not read."""

    told: Told
    path: str
    id: str
    text: bytes

    def sse(self) -> bytes:
        """As a server-sent event."""
        return b"event: %b\nid: %b\ndata: %b\n\n" % (self.told.method.encode(), self.id.encode(), self.text)


class Face:
    """How the protocol is spelled at one mount."""

    def __init__(self, case: Case) -> None:
        self.case: Case = case
        camel = case == "camel"
        self._event_id, self._run_id = (b"eventId", b"runId") if camel else (b"event_id", b"run_id")

    def frames(self, event: Event) -> list[Frame]:
        """The frames of an event of the log, kept on it; a state that it was given since is in them."""
        if event.frames is None:
            event.frames = {}
        kept: list[Frame] | None = event.frames.get(self.case)
        if kept is None:
            kept = event.frames[self.case] = self._frames(event)
        return kept

    def shown(self, event: Event, wanted: Sequence[Filter], after: Cursor | None = None) -> list[Frame]:
        """Those of the event's frames that a subscription sees, from behind a cursor within them on."""
        frames = self.frames(event)
        if after is not None and after.part is not None and after.seq == event.seq:
            frames = frames[after.part + 1 :]
        if len(wanted) == 1:
            only = wanted[0]
            return [frame for frame in frames if frame.text and only.shows(frame.told, frame.path)]
        return [frame for frame in frames if frame.text and any(one.shows(frame.told, frame.path) for one in wanted)]

    def _frames(self, event: Event) -> list[Frame]:
        events = told(event)
        last = len(events) - 1
        return [
            self.frame(
                one, event.namespace, event_id(event.seq, None if index == last else index), event.run_id, event.at,
                event.seq if index == last else None,
            )
            for index, one in enumerate(events)
        ]  # fmt: skip

    def frame(self, one: Told, path: str, id: str, run_id: str | None, at: int, seq: int | None = None) -> Frame:
        """An event with its envelope; `at` is in microseconds."""
        data = one.data
        if data is None:
            return Frame(one, path, id, b"")
        if self.case == "snake" and one.method in EVENT_DATA:
            data = _encode(EVENT_DATA[one.method].spell(msgspec.json.decode(data), "snake"))
        head = [b'{"type":"event","', self._event_id, b'":"', id.encode(), b'"']
        if seq is not None:
            head.append(b',"seq":%d' % seq)
        if run_id is not None:
            head += (b',"', self._run_id, b'":"', run_id.encode(), b'"')
        namespace = _encode(namespace_of(path)) if path else b"[]"
        head.append(
            b',"method":"%b","params":{"namespace":%b,"timestamp":%d,' % (one.method.encode(), namespace, at // 1000)
        )
        if one.node is not None and one.method in ("messages", "tools"):
            head += (b'"node":', _encode(one.node), b",")
        return Frame(one, path, id, b"".join((*head, b'"data":', data, b"}}")))


def event_id(seq: int, part: int | None = None) -> str:
    """The id of an event of the protocol: that of the log's for the last one that it is told in."""
    return str(seq) if part is None else f"{seq}-{part}"


def cursor_of(id: str, field: str) -> Cursor | None:
    """The cursor that an event's id is; None for a baseline, behind which nothing has been told yet.

    Raises:
        InvalidInput: it is no id of an event.
    """
    if id.startswith(SNAPSHOT):
        return None
    if id.startswith(MISSED):
        id = id.rpartition("-")[2]
    seq, dash, part = id.partition("-")
    numbers = (seq, part) if dash else (seq,)
    if not all(n.isascii() and n.isdigit() and len(n) <= _LONGEST for n in numbers):
        raise InvalidInput(f"{field} is {id[:40]!r}; the id of an event is needed, as in eventId", field=field)
    return Cursor(int(seq), int(part) if dash else None)
