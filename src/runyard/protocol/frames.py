"""Events of the log as frames of the streaming protocol, encoded once for all readers of a face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

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


_ENVELOPES = 256
"""What is kept of envelopes: the events of a commit have mostly one."""


class Cursor(msgspec.Struct, frozen=True):
    """Where a reader stands: behind the event `seq`, or (with `part`) behind that one of those that it is told in."""

    seq: int
    part: int | None = None

    @property
    def after(self) -> int:
        """The number of the last event of the log of which nothing has to be told any more."""
        return self.seq if self.part is None else self.seq - 1


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event of the protocol, ready to be sent. `text` is its JSON text; empty where its state was not read."""

    told: Told
    path: str
    id: str
    text: bytes

    def sse(self) -> bytes:
        """As a server-sent event."""
        return b"event: %b\nid: %b\ndata: %b\n\n" % (self.told.method.encode(), self.id.encode(), self.text)


Retold = Callable[[Told, Event], Told | None]
"""What is told of an event, in other words; None where it is not told."""


class Face:
    """How the protocol is spelled at one mount. `retold` puts what is told into the words of that mount, `values` the
    text of a state; None: as it is. Two faces of one case are one: what they make of an event is kept under it."""

    def __init__(
        self, case: Case, retold: Retold | None = None, values: Callable[[bytes], bytes] | None = None
    ) -> None:
        self.case: Case = case
        self._retold = retold
        self._values = values
        camel = case == "camel"
        self._head = b'{"type":"event","%b":"' % (b"eventId" if camel else b"event_id")
        self._run_id = "runId" if camel else "run_id"

    def frames(self, event: Event) -> list[Frame]:
        """The frames of an event of the log, kept on it; a state that it was given since is in them."""
        kept: dict[str, list[Frame]] | None = event.frames
        if kept is None:
            frames = self._frames(event)
            event.frames = {self.case: frames}
        elif self.case in kept:
            frames = kept[self.case]
        else:
            frames = kept[self.case] = self._frames(event)
        return frames

    def shown(self, event: Event, wanted: Sequence[Filter], after: Cursor | None = None) -> list[Frame]:
        """Those of the event's frames that a subscription sees, from behind a cursor within them on."""
        only = wanted[0] if len(wanted) == 1 else None
        kind = event.kind
        if not (any(kind in one.kinds for one in wanted) if only is None else kind in only.kinds):
            return []
        if event.state is not None and not any(one.wants("values") for one in wanted):
            event = msgspec.structs.replace(event, state=None, frames=None)  # nobody has to write it
        frames = self.frames(event)
        if after is not None and after.part is not None and after.seq == event.seq:
            frames = frames[after.part + 1 :]
        if only is not None:
            return [frame for frame in frames if frame.text and only.shows(frame.told, frame.path)]
        return [frame for frame in frames if frame.text and any(one.shows(frame.told, frame.path) for one in wanted)]

    def _frames(self, event: Event) -> list[Frame]:
        frames: list[Frame] = []
        seq = event.seq
        events = told(event)
        if self._retold is not None:
            retold = [self._retold(one, event) for one in events]
            events = [one for one in retold if one is not None]
        for one in events:
            path = event.namespace if one.namespace is None else one.namespace
            if len(frames) == len(events) - 1:
                frames.append(self.frame(one, path, event_id(seq), event.run_id, event.at, seq))
            else:
                part = event_id(seq, len(frames))
                frames.append(self.frame(one, path, part, event.run_id, event.at))
        return frames

    def state(self, data: bytes, id: str, at: int) -> Frame:
        """A state with which a replay begins, as JSON text; `at` is in microseconds."""
        one = Told("values", data if self._values is None else self._values(data))
        return self.frame(one, "", id, None, at)

    def frame(self, one: Told, path: str, id: str, run_id: str | None, at: int, seq: int | None = None) -> Frame:
        """An event with its envelope; `at` is in microseconds."""
        data = one.data
        if data is None:
            return Frame(one, path, id, b"")
        if self.case == "snake" and one.method in EVENT_DATA:
            data = _encode(EVENT_DATA[one.method].spell(msgspec.json.decode(data), "snake"))
        name = id.encode()
        numbered = (b'","seq":', b"%d" % seq) if seq is not None else (b'"',)
        node = one.node if one.method in ("messages", "tools") else None
        envelope = _envelope(self._run_id, run_id, one.method, path, at // 1000, node)
        return Frame(one, path, id, b"".join((self._head, name, *numbered, envelope, data, b"}}")))


@lru_cache(maxsize=_ENVELOPES)
def _envelope(run_key: str, run_id: str | None, method: str, path: str, at: int, node: str | None) -> bytes:
    """What stands between an event's number and its data; `at` is in milliseconds."""
    head = b"" if run_id is None else b',"%b":"%b"' % (run_key.encode(), run_id.encode())
    namespace = _encode(namespace_of(path)) if path else b"[]"
    by = b"" if node is None else b'"node":%b,' % _encode(node)
    parts = (head, method.encode(), namespace, at, by)
    return b'%b,"method":"%b","params":{"namespace":%b,"timestamp":%d,%b"data":' % parts


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
