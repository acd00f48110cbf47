"""Joining a run's events: register, mark, replay, flush, follow.

A reader registers first and takes the log's last number as its mark; it then reads what the log holds up to the mark
and follows with what is told after commits. Whatever a commit tells has a larger number than the mark or is in the
replay: no gap, no duplicate, no reordering at the seam. A reader that does not keep up is cut, never the run.

What a reader has in hand of its own is small: it is given a piece at a time, and the next one when it has sent that.
The events that wait for it are shared with all readers of its run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import islice

from runyard.clock import Clock
from runyard.events import Chunk, Event, Lifecycle, ends_run, entry, lifecycle, live_events
from runyard.runs import Run, lifecycle_of
from runyard.storage.contract import Storage

RECHECK = 5.0
"""Seconds after which all who wait for an end are told to look at their run again (DESIGN, law 8)."""
PAGE = 500
"""Events per read of a replay: bounds the length of a transaction and the memory of a reader far behind."""


PIECE = 32_000
"""Bytes of events after which a reader is given no more at once. What it is given becomes its own copy on the way to
its client, and a thousand slow ones have one each."""
BESIDE = 200
"""Bytes that an event takes beside its data."""
COMMIT_SHARE = 4
"""A commit counts for a quarter of what may wait for a reader at most: one commit, however large, does not show that
a reader is slow."""

Commit = tuple[list[Event], int]
"""The events that one commit appended for a run, and how much they count of what may wait for a reader."""


class Ending(asyncio.Future[Chunk | None]):
    """Resolves when a run has ended, with the chunk that says so; None asks to look at the run again."""


class Reader:
    """One reader of one run. Iterate it for lists of events; it ends after the run's terminal event."""

    __slots__ = (
        "_bytes",
        "_first",
        "_limit",
        "_log",
        "_mark",
        "_over",
        "_seen",
        "_streams",
        "_waiting",
        "_wake",
        "cut",
        "drained",
        "missed",
        "run_id",
    )

    def __init__(self, streams: Streams, run_id: str, limit: int) -> None:
        self._streams = streams
        self._limit = limit
        self._waiting: list[Commit] = []  # a deque would take ten times as much of an idle reader
        self._bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._first: Event | None = None
        self._log: Run | None = None
        """The run, while its log is being read for this reader."""
        self._mark = 0
        """The log's last number when the reader registered: what is larger will be told, or is in the replay."""
        self._seen = 0
        self._over = False
        self.run_id = run_id
        self.missed: tuple[int, int] | None = None
        """The numbers (from, to) that retention has removed between the cursor and the log's floor."""
        self.drained = False
        """The server is stopping: the client should come back with its cursor."""
        self.cut = False
        """This reader was too slow: the client should come back with its cursor."""

    @property
    def waiting_bytes(self) -> int:
        """How much of what was committed it has still to take."""
        return self._bytes

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> list[Event]:
        if self._first is not None:
            first, self._first = self._first, None
            return self._deliver([first])
        while self._log is not None and not self._over:
            events = await self._replay(self._log)
            if events:
                return self._deliver(events)
        while True:
            if self._over or self.cut:
                raise StopAsyncIteration
            if self._waiting:
                events = self._take()
                if events:
                    return self._deliver(events)
                continue
            if self.drained:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake

    async def _replay(self, run: Run) -> list[Event]:
        """The next events of the log. Where there are no more, the reader lets go of the log."""
        events = await self._streams.storage.events(
            run.owner, run.thread_id, after=self._seen, run_id=run.run_id, limit=PAGE
        )
        if not events:
            self._log = None
            if run.finished:
                # Its last event has left the log since: retention was faster.
                return [_ended(run)]
        elif events[-1].seq >= self._mark:
            self._log = None
        return events

    def _take(self) -> list[Event]:
        """What waits and was not replayed, up to about a piece of it."""
        seen, waiting = self._seen, self._waiting
        if self._bytes <= PIECE:
            events = [event for batch, _ in waiting for event in batch if event.seq > seen]
            waiting.clear()
            self._bytes = 0
            return events
        events, size, taken = list[Event](), 0, 0
        for batch, counted in waiting:
            for event in islice(batch, max(0, seen + 1 - batch[0].seq), None):
                if size >= PIECE:
                    break
                events.append(event)
                size += len(event.data) + BESIDE
            if not events or events[-1] is batch[-1]:
                taken += 1
                self._bytes -= counted
            if size >= PIECE:
                break
        del waiting[:taken]
        return events

    def close(self) -> None:
        """Leaves; nothing more is kept for this reader."""
        self._over = True
        self._streams.leave(self)
        self._rouse()

    def _deliver(self, events: list[Event]) -> list[Event]:
        self._seen = max(self._seen, events[-1].seq)
        self._streams.delivered += len(events)
        last = events[-1]
        if last.kind == "lifecycle" and lifecycle(last.data).terminal:
            self._over = True
            self._streams.leave(self)
        return events

    def receive(self, commit: Commit) -> None:
        """What was just committed."""
        self._waiting.append(commit)
        self._bytes += commit[1]
        if self._bytes > self._limit:
            self.cut = True
            self._streams.cut += 1
            self._streams.leave(self)
            self._waiting.clear()
            self._bytes = 0
        self._rouse()

    def drain(self) -> None:
        self.drained = True
        self._rouse()

    def begin(self, *, first: Event | None, log: Run | None, mark: int, seen: int) -> None:
        """How the reader starts: a made-up event, then the log from a cursor, then what is told."""
        self._first, self._log, self._mark, self._seen = first, log, mark, seen

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Streams:
    """All readers and waiters of this process. Fed by the storage after each commit."""

    def __init__(self, storage: Storage, clock: Clock, *, queue_bytes: int) -> None:
        self.storage = storage
        self._clock = clock
        self._queue_bytes = queue_bytes
        # More than a piece, so that what is large is taken piece by piece.
        self._commit_bytes = max(queue_bytes // COMMIT_SHARE, PIECE + 1)
        self._readers: dict[str, list[Reader]] = {}
        self._endings: dict[str, list[Ending]] = {}
        self._recheck: asyncio.TimerHandle | None = None
        self.draining = False
        self.delivered = 0
        """Events that readers were given."""
        self.cut = 0
        """Readers that were too slow."""

    @property
    def readers(self) -> int:
        """How many readers are attached."""
        return sum(map(len, self._readers.values()))

    def committed(self, chunks: Sequence[Chunk]) -> None:
        """The storage's `on_commit`."""
        for chunk in chunks:
            run_id = chunk.run_id
            if run_id is None:
                continue
            readers = self._readers.get(run_id)
            if readers:
                events = live_events(chunk)
                size = sum(len(event.data) for event in events) + BESIDE * len(events)
                commit = (events, min(size, self._commit_bytes))
                for reader in tuple(readers):
                    reader.receive(commit)
            endings = self._endings.get(run_id)
            if endings and ends_run(chunk.entries):
                del self._endings[run_id]
                for ending in endings:
                    if not ending.done():
                        ending.set_result(chunk)

    def ending(self, run_id: str) -> Ending:
        """A future for the run's end, as of now: look at the run after asking for it, and again when it gives None."""
        ending = Ending()
        self._endings.setdefault(run_id, []).append(ending)
        if self._recheck is None:
            self._recheck = asyncio.get_running_loop().call_later(RECHECK, self._look_again)
        return ending

    def forget(self, run_id: str, ending: Ending) -> None:
        """Takes a future back."""
        endings = self._endings.get(run_id)
        if endings is not None and ending in endings:
            endings.remove(ending)
            if not endings:
                del self._endings[run_id]

    async def join(self, run: Run, after: int | None) -> Reader:
        """A reader of a run's events.

        Without a cursor it is live: an executing run is joined where it stands, behind a made-up event that tells the
        attempt; a finished one gives that and its last event. With a cursor it first replays the events with a larger
        number; one beyond the last event counts as that.
        """
        reader = Reader(self, run.run_id, self._queue_bytes)
        self._readers.setdefault(run.run_id, []).append(reader)
        try:
            mark = await self.storage.last_seq(run.owner, run.thread_id)
            now = await self.storage.run(run.owner, run.run_id)
            floor = 0 if after is None else await self.storage.floor_seq(run.owner, run.thread_id)
        except BaseException:
            self.leave(reader)
            raise
        if after is not None:
            # Nobody has seen what there is not: a cursor beyond the log would hide the run's end from its reader.
            start = max(min(after, mark), run.first_seq)
            if now.finished:
                start = min(start, now.last_seq - 1)  # the last event is always delivered, also to who saw it
            if start < min(floor, now.last_seq or floor):
                reader.missed = (start + 1, floor)
            reader.begin(first=None, log=now, mark=mark, seen=start)
        elif now.finished:
            reader.begin(first=_standing(now, self._clock), log=now, mark=mark, seen=now.last_seq - 1)
        else:
            first = _standing(now, self._clock) if now.status == "running" else None
            reader.begin(first=first, log=None, mark=mark, seen=mark)
        if self.draining:
            reader.drain()
        return reader

    def leave(self, reader: Reader) -> None:
        readers = self._readers.get(reader.run_id)
        if readers is not None and reader in readers:
            readers.remove(reader)
            if not readers:
                del self._readers[reader.run_id]

    def drain(self) -> None:
        """The server stops: every reader ends after what it has; every waiter looks once more."""
        self.draining = True
        self._look_again()
        for readers in tuple(self._readers.values()):
            for reader in tuple(readers):
                reader.drain()

    def _look_again(self) -> None:
        """One timer for all waiters; it stops when nobody waits."""
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None
        waiting, self._endings = self._endings, {}
        for endings in waiting.values():
            for ending in endings:
                if not ending.done():
                    ending.set_result(None)


def _standing(run: Run, clock: Clock) -> Event:
    event = Lifecycle(event="running", run_id=run.run_id, agent_id=run.agent_id, attempt=run.attempt)
    return Event(0, run.run_id, "lifecycle", clock.now(), bytes(entry("lifecycle", event).data))


def _ended(run: Run) -> Event:
    assert run.outcome is not None  # the run is finished
    event = Lifecycle(event=lifecycle_of(run.outcome), run_id=run.run_id, status=run.status, outcome=run.outcome)
    return Event(0, run.run_id, "lifecycle", run.updated_at, bytes(entry("lifecycle", event).data))


def shown(event: Event, modes: Collection[str], inner: bool = True) -> bool:
    """Whether a run's stream in these modes shows an event: attempts, errors and the end always, what subgraphs tell
    only where `inner` says so."""
    return (event.kind in modes and (inner or not event.namespace)) or event.kind in ("lifecycle", "error")


def frame(event: Event) -> bytes:
    """The event as a server-sent event of a run's stream, encoded once and kept on the event.

    An event that is not in the log (number 0) has no id, so that a client's cursor stays where it is.
    """
    if event.frame is None:
        event.frame = _frame(event)
    return event.frame


def _frame(event: Event) -> bytes:
    name, data = event.kind.encode(), event.data
    if event.kind == "lifecycle":
        name, data = _lifecycle_frame(event)
    if event.namespace:
        name += b"|" + event.namespace.encode()
    id_line = b"id: %d\n" % event.seq if event.seq else b""
    return b"event: " + name + b"\n" + id_line + b"data: " + data + b"\n\n"


def _lifecycle_frame(event: Event) -> tuple[bytes, bytes]:
    told = lifecycle(event.data)
    if not told.terminal:
        content = {"run_id": told.run_id, "attempt": told.attempt}
        if told.resumed_from is not None and (told.attempt or 0) > 1:
            content["resumed_from"] = told.resumed_from
        return b"metadata", bytes(entry("lifecycle", content).data)
    content = {"run_id": told.run_id, "status": told.status, "outcome": told.outcome}
    if told.reason is not None:
        content["reason"] = told.reason
    return b"end", bytes(entry("lifecycle", content).data)
