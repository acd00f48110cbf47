"""Server-sent events: the transport of run streams. What a frame holds is the business of `runyard.streams`.

A connection is one reader of the run's stream and one watch for the client's leaving: no server raises when something
is sent to a client that has gone. The events that a reader is given go out in one piece, unless they are large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import get_args

from msgspec import UNSET, UnsetType

from runyard.api.call import Call
from runyard.api.wire import StreamMode
from runyard.errors import InvalidInput
from runyard.events import Event, Mode
from runyard.readers import PIECE, Made, Portion
from runyard.runs import Run
from runyard.streams import frame, shown

DEFAULT_MODES: frozenset[Mode] = frozenset({"values"})

_MODES: tuple[Mode, ...] = get_args(StreamMode)
HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
LARGEST_PIECE = 2 * PIECE
"""Bytes that are sent at once: what a client does not take yet is kept for it alone."""
_RETRY = b"retry: 1000\n\n"
_BEAT = b": heartbeat\n\n"
DRAINING = b"retry: 1000\n: draining, reconnect with Last-Event-ID\n\n"
CUT = b": too slow and cut, reconnect with Last-Event-ID\n\n"
_START = ("-1", "-")
_LONGEST_CURSOR = 18
"""Digits: any of so many is a number of 64 bits."""


def cursor(call: Call, since: str | UnsetType | None) -> int | None:
    """The number of the event after which a stream begins: `Last-Event-ID`, else `since`; None for live only.

    Raises:
        InvalidInput: it is not a number from 0 on (`-1` and `-` mean 0, the start).
    """
    asked = None if since is UNSET or since is None else _number("since", since)
    text = call.header(b"last-event-id")
    return asked if text is None else _number("Last-Event-ID", text)


def _number(name: str, text: str) -> int:
    if text in _START:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_CURSOR:
        raise InvalidInput(f"{name} is {text[:40]!r}; an event id is needed, or 0 for the start", field=name)
    return int(text)


def listed(texts: Iterable[str]) -> list[str]:
    """Modes that were repeated, or separated by commas.

    Raises:
        InvalidInput: one is unknown.
    """
    found = [mode.strip() for text in texts for mode in text.split(",")]
    for mode in found:
        if mode not in _MODES:
            raise InvalidInput(f"stream_mode is {mode[:40]!r}; allowed: {', '.join(_MODES)}", field="stream_mode")
    return found


def modes(asked: str | Iterable[str] | UnsetType) -> frozenset[Mode]:
    """The modes that a stream shows; `metadata`, `error` and `end` always come."""
    if asked is UNSET:
        return DEFAULT_MODES
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    return frozenset(mode for mode in _MODES if mode in names)


async def stream(
    call: Call, run: Run, *, after: int | None, modes: frozenset[Mode], inner: bool, cancels: bool
) -> None:
    """Streams a run's events until it has ended, the server drains, or the client leaves.

    `inner`: what subgraphs tell is shown, too. `cancels`: the run is to end when the client leaves and nobody else
    takes its place.
    """
    kept = call.api.streams.made

    async def pieces(events: list[Event]) -> Sequence[bytes]:
        return _pieces(events, modes, inner, kept)

    call.tell(b"content-location", call.path(f"/runs/{run.run_id}"))
    await follow(call, run, after=after, pieces=pieces, cancels=cancels)


Pieces = Callable[[list[Event]], Awaitable[Sequence[bytes]]]
"""What is shown of events, as it is sent."""


async def follow(call: Call, run: Run, *, after: int | None, pieces: Pieces, cancels: bool) -> None:
    """Streams what is shown of a run's events, as `stream` does."""
    verbs = call.api.verbs
    with verbs.attach(run.run_id):
        reader = await call.api.streams.join(run, after)
        run_id = run.run_id
        del run  # ten thousand idle readers would each hold its row
        connection = Connection(call)
        watch = asyncio.ensure_future(connection.watch(reader.close))
        try:
            if reader.missed is not None:
                call.tell(b"runyard-missed", b"%d-%d" % reader.missed)
            await call.begin(list(HEADERS))
            with call.api.pulse.joined(connection):
                async for events in reader:
                    await connection.send(await pieces(events))
                    del events  # they would be held until the next ones come
            connection.quieten()
            if not connection.left:
                await call.finish(DRAINING if reader.drained else CUT if reader.cut else b"")
        finally:
            reader.close()
            watch.cancel()
    if connection.left and cancels:
        verbs.disconnected(call.owner, run_id)


def joined(frames: Sequence[bytes]) -> list[bytes]:
    """Frames in one piece, unless they are large."""
    text = b"".join(frames)
    if len(text) <= LARGEST_PIECE:
        return [text] if text else []
    return [text[start : start + LARGEST_PIECE] for start in range(0, len(text), LARGEST_PIECE)]


def _pieces(events: list[Event], modes: frozenset[Mode], inner: bool, kept: Made) -> Sequence[bytes]:
    """What a run's stream shows of events: made for the first of the readers who see the same."""
    key = (modes, inner)
    made = events.made.get(key) if isinstance(events, Portion) else None
    if made is None:
        made = joined([frame(event) for event in events if shown(event, modes, inner)])
        if isinstance(events, Portion):
            kept.keep(events, key, made)
    return made


class Connection:
    """One client that reads a stream."""

    __slots__ = ("_beating", "_call", "_greeting", "_writing", "left")

    def __init__(self, call: Call) -> None:
        self.left = False
        self._call = call
        self._writing = False
        self._greeting = _RETRY
        self._beating: asyncio.Task[None] | None = None

    async def greet(self) -> None:
        """Lets the client know at once that it is heard, where nothing may come for long."""
        greeting, self._greeting = self._greeting, b""
        await self._call.write(greeting)

    async def send(self, pieces: Sequence[bytes]) -> None:
        """Frames as `joined` gives them; there may be none."""
        self._writing = True
        for piece in pieces:
            if self._greeting:
                piece, self._greeting = self._greeting + piece, b""
            await self._call.write(piece)
        self._writing = False

    def beat(self) -> None:
        """A comment, unless something is still on its way."""
        if not self._writing and self._beating is None:
            self._beating = asyncio.ensure_future(self._call.write(_BEAT))
            self._beating.add_done_callback(self._beaten)

    def _beaten(self, _: asyncio.Task[None]) -> None:
        self._beating = None

    async def watch(self, end: Callable[[], None]) -> None:
        """Ends the reader when the client has left."""
        await self._call.gone()
        self.left = True
        end()

    def quieten(self) -> None:
        """No beat is written after this."""
        if self._beating is not None:
            self._beating.cancel()
