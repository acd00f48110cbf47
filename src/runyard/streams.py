"""All readers and waiters of a server: whom a commit is told, and how a reader comes in.

What a reader does once it is in: `runyard.readers`. What a run's stream shows of an event: the end of this file.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Collection, Sequence

from runyard.clock import Clock
from runyard.errors import NotFound
from runyard.events import Chunk, Event, Lifecycle, ends_run, entry, events_of, lifecycle, values_text
from runyard.hints.contract import MISSED, Hints
from runyard.readers import PIECE, Made, Reader, RunReader, ThreadReader, portions
from runyard.runs import Run, RunFilter
from runyard.storage.contract import Storage
from runyard.watched import Thread, Watches

RECHECK = 5.0
"""Seconds after which all who wait for an end are told to look at their run again (DESIGN, law 8)."""
COMMIT_SHARE = 4
"""A commit counts for a quarter of what may wait for a reader at most: one commit, however large, does not show that
a reader is slow."""
NEWEST_RUNS = 50
"""Runs of a thread among which the newest that has begun is looked for, at a time."""

Place = str | tuple[str, str]
"""Where a reader listens: at a run (its id), or at a thread (its owner and id)."""


class Ending(asyncio.Future[Chunk | None]):
    """Resolves when a run has ended, with the chunk that says so; None asks to look at the run again."""


class Streams:
    """All readers and waiters of this process. Fed by the storage after each commit, and by hints of what other servers
    commit, where there are others (`hints` is given)."""

    def __init__(self, storage: Storage, clock: Clock, *, queue_bytes: int, hints: Hints | None = None) -> None:
        self.storage = storage
        self._clock = clock
        self._queue_bytes = queue_bytes
        # More than a piece, so that what is large is taken piece by piece.
        self._commit_bytes = max(queue_bytes // COMMIT_SHARE, PIECE + 1)
        self._readers: dict[Place, list[Reader]] = {}
        self._endings: dict[str, list[Ending]] = {}
        self._hints = hints
        self._watches = None if hints is None else Watches(storage, clock, hints, self)
        self._ears: dict[str, Callable[[], None]] = {}
        """What ends listening for hints of a run's end, by the run."""
        if hints is not None:
            hints.subscribe(MISSED, lambda _: self._look_again())
        self._recheck: asyncio.TimerHandle | None = None
        self.made = Made()
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
            if self._watches is not None:
                self._watches.committed(chunk)
            elif run_id in self._readers or (chunk.owner, chunk.thread_id) in self._readers:
                events = events_of(run_id, chunk.first_seq, chunk.at, chunk.entries, chunk.states)
                self.show((chunk.owner, chunk.thread_id), run_id, events)
            if run_id in self._endings and ends_run(chunk.entries):
                self._end(run_id, chunk)

    def show(self, thread: Thread, run_id: str | None, events: list[Event]) -> None:
        """The next events of a run on a thread, to those who read either."""
        at_run = () if run_id is None else self._readers.get(run_id, ())
        commit = portions(events, self._commit_bytes)
        for reader in (*at_run, *self._readers.get(thread, ())):
            reader.receive(commit)

    def _end(self, run_id: str, chunk: Chunk | None) -> None:
        """Resolves those who wait for the end of a run."""
        endings = self._endings.pop(run_id, ())
        self._close_ear(run_id)
        for ending in endings:
            if not ending.done():
                ending.set_result(chunk)

    def ending(self, run_id: str) -> Ending:
        """A future for the run's end, as of now: look at the run after asking for it, and again when it gives None."""
        ending = Ending()
        self._endings.setdefault(run_id, []).append(ending)
        if self._hints is not None and run_id not in self._ears:
            self._ears[run_id] = self._hints.subscribe(f"end:{run_id}", lambda _: self._end(run_id, None))
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
                self._close_ear(run_id)

    def _close_ear(self, run_id: str) -> None:
        if self._hints is not None and (close := self._ears.pop(run_id, None)) is not None:
            close()

    async def join(self, run: Run, after: int | None) -> RunReader:
        """A reader of a run's events.

        Without a cursor it is live: an executing run is joined where it stands, behind a made-up event that tells the
        attempt; a finished one gives that and its last event. With a cursor it first replays the events with a larger
        number; one beyond the last event counts as that.
        """
        reader = RunReader(self, run, self._queue_bytes)
        self._enter(reader)
        try:
            mark = await self._mark(reader)
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

    async def join_thread(self, owner: str, thread_id: str) -> ThreadReader:
        """A reader of what happens on a thread from now on (from behind its `mark`), whether it is there yet or not."""
        reader = ThreadReader(self, owner, thread_id, self._queue_bytes)
        self._enter(reader)
        try:
            hidden: Callable[[], Awaitable[bool]] | None = None
            if not await self.shows(owner, thread_id):
                hidden = functools.partial(self._is_hidden, owner, thread_id)
            reader.begin(await self._mark(reader), hidden)
        except BaseException:
            self.leave(reader)
            raise
        if self.draining:
            reader.drain()
        return reader

    def _enter(self, reader: Reader) -> None:
        self._readers.setdefault(_place(reader), []).append(reader)
        if self._watches is not None:
            self._watches.enter(reader.thread)

    async def _mark(self, reader: Reader) -> int:
        """The last number of the log, of which a larger one will be told to a reader that has entered."""
        if self._watches is not None:
            return await self._watches.mark(reader.thread)
        return await self.storage.last_seq(*reader.thread)

    def listen_for(self, owner: str, thread_id: str, channel: str) -> bool:
        """Whether a reader of the thread is subscribed to a channel."""
        readers = self._readers.get((owner, thread_id), ())
        return any(isinstance(reader, ThreadReader) and channel in reader.channels for reader in readers)

    async def shows(self, owner: str, thread_id: str) -> bool:
        """Whether a thread is there, to be seen."""
        try:
            await self.storage.thread(owner, thread_id)
        except NotFound:
            return False
        return True

    async def _is_hidden(self, owner: str, thread_id: str) -> bool:
        """Whether a thread has events, and is one that nobody may see: that of a stateless run."""
        return not await self.shows(owner, thread_id) and await self.storage.last_seq(owner, thread_id) > 0

    async def newest_begun(self, owner: str, thread_id: str) -> Run | None:
        """The run of a thread that began last; None where none has."""
        offset = 0
        while True:
            query = RunFilter(thread_id=thread_id, limit=NEWEST_RUNS, offset=offset)
            runs = await self.storage.search_runs(owner, query)
            begun = [run for run in runs if run.started_at is not None]
            if begun:
                return max(begun, key=_began)
            if len(runs) < NEWEST_RUNS:
                return None
            offset += NEWEST_RUNS

    def leave(self, reader: Reader) -> None:
        """Nothing more is told to a reader."""
        place = _place(reader)
        readers = self._readers.get(place)
        if readers is not None and reader in readers:
            readers.remove(reader)
            if not readers:
                del self._readers[place]
            if self._watches is not None:
                self._watches.leave(reader.thread)

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
        for run_id in tuple(self._endings):
            self._end(run_id, None)


def _standing(run: Run, clock: Clock) -> Event:
    event = Lifecycle(event="running", run_id=run.run_id, agent_id=run.agent_id, attempt=run.attempt)
    return Event(0, run.run_id, "lifecycle", clock.now(), bytes(entry("lifecycle", event).data))


def _place(reader: Reader) -> Place:
    if isinstance(reader, RunReader):
        return reader.run_id
    assert isinstance(reader, ThreadReader)  # there are no others
    return reader.thread


def _began(run: Run) -> int:
    return run.started_at or 0


def shown(event: Event, modes: Collection[str], inner: bool = True) -> bool:
    """Whether a run's stream in these modes shows an event: attempts, errors and the end always, what subgraphs tell
    only where `inner` says so."""
    if event.kind == "values" and event.state is None:
        return False  # its state is gone
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
    if event.kind == "values":
        data = values_text(event)
    elif event.kind == "lifecycle":
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
