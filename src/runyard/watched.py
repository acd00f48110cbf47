"""Threads that readers of this server follow, where other servers write to them too.

What is committed here is told here at once, from memory. What another server commits is told by a hint that there is
more in the log. Either may come before what precedes it, and a hint late, twice or never. Readers are told in the
order of the log all the same: an event waits until all before it are told, and what is missing is read from the log,
once for all readers of the thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Protocol

from runyard.clock import Clock
from runyard.errors import RunyardError
from runyard.events import Chunk, Event, events_of
from runyard.hints.contract import MISSED, Hints, thread_topic
from runyard.readers import PAGE, PIECE
from runyard.storage.contract import STORAGE_PATIENCE, Storage

RECHECK = 5.0
"""Seconds after which all threads that are followed are compared with the log (DESIGN, law 8)."""

Thread = tuple[str, str]
"""A thread's owner and id."""


class Audience(Protocol):
    """Those who follow threads here."""

    def show(self, thread: Thread, run_id: str | None, events: list[Event]) -> None:
        """The next events of a run on a thread."""
        ...


class Watched:
    """One thread, while it has readers here."""

    __slots__ = (
        "_audience", "_clock", "_early", "_more", "_opening", "_reading", "_storage", "end_hints", "readers", "thread",
        "told",
    )  # fmt: skip

    def __init__(self, thread: Thread, storage: Storage, clock: Clock, audience: Audience) -> None:
        self.thread = thread
        self.readers = 0
        self.told: int | None = None
        """The last number that has been told; None until it is known where telling begins."""
        self.end_hints: Callable[[], None] | None = None
        self._storage = storage
        self._clock = clock
        self._audience = audience
        self._early: list[Chunk] = []
        """What was committed here, and has to wait for what precedes it."""
        self._more = False
        """The log may hold more than has been told."""
        self._opening: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """From here on everything is told that has a larger number than the log had at some time before."""
        if self.told is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.get_running_loop().create_task(self._open())
            await asyncio.shield(self._opening)

    async def _open(self) -> None:
        self.told = await self._storage.last_seq(*self.thread)
        self._pass_on()
        if self._more or self._early:
            self.look()

    def committed(self, chunk: Chunk) -> None:
        """Events that this server has made durable."""
        told = self.told
        if told is None or chunk.first_seq > told + 1:
            self._early.append(chunk)
            self.look()
        else:
            self._tell_chunk(chunk)

    def look(self, _: str = "") -> None:
        """There may be more in the log."""
        self._more = True
        if self._reading is None and self.told is not None:  # else that is done when it is known
            self._reading = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            while self.readers and (self._more or self._early):
                self._more = False
                try:
                    events = await self._read()
                except RunyardError:
                    self._more = True
                    await self._clock.sleep(STORAGE_PATIENCE)
                    continue
                self._tell_events(events)
                if len(events) >= PAGE or sum(event.size for event in events) >= PIECE:
                    self._more = True
                self._pass_on()
                if self._early and not events and not self._more:
                    # Retention has removed what was missing.
                    self.told = min(chunk.first_seq for chunk in self._early) - 1
                    self._pass_on()
        finally:
            self._reading = None

    async def _read(self) -> list[Event]:
        assert self.told is not None  # nobody reads before
        owner, thread_id = self.thread
        return await self._storage.events(owner, thread_id, after=self.told, run_id=None, limit=PAGE)

    def _pass_on(self) -> None:
        """Tells what waited and has nothing missing before it any more."""
        if not self._early:
            return
        early, self._early = sorted(self._early, key=_first), []
        for chunk in early:
            assert self.told is not None  # nothing is passed on before
            if chunk.first_seq > self.told + 1:
                self._early.append(chunk)
            else:
                self._tell_chunk(chunk)

    def _tell_chunk(self, chunk: Chunk) -> None:
        assert self.told is not None  # it waits until then
        if chunk.last_seq > self.told:
            events = events_of(chunk.run_id, chunk.first_seq, chunk.at, chunk.entries, chunk.states)
            self._tell_events(events)

    def _tell_events(self, events: Sequence[Event]) -> None:
        told = self.told
        assert told is not None  # they wait until then
        new = [event for event in events if event.seq > told]
        if not new:
            return
        self.told = new[-1].seq
        for run_id, of_run in groupby(new, _run):
            self._audience.show(self.thread, run_id, list(of_run))

    def close(self) -> None:
        """It has no readers any more."""
        if self.end_hints is not None:
            self.end_hints()
        for task in (self._opening, self._reading):
            if task is not None:
                task.cancel()


class Watches:
    """All threads that are followed here."""

    def __init__(self, storage: Storage, clock: Clock, hints: Hints, audience: Audience) -> None:
        self._storage = storage
        self._clock = clock
        self._hints = hints
        self._audience = audience
        self._watched: dict[Thread, Watched] = {}
        self._looking: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        hints.subscribe(MISSED, self._missed)

    def committed(self, chunk: Chunk) -> None:
        """Events that this server has made durable."""
        watched = self._watched.get((chunk.owner, chunk.thread_id))
        if watched is not None:
            watched.committed(chunk)

    def enter(self, thread: Thread) -> None:
        """A reader comes; `leave` has to follow."""
        watched = self._watched.get(thread)
        if watched is None:
            watched = self._watched[thread] = Watched(thread, self._storage, self._clock, self._audience)
            watched.end_hints = self._hints.subscribe(thread_topic(*thread), watched.look)
        watched.readers += 1
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_now_and_then())

    async def mark(self, thread: Thread) -> int:
        """The last number of the log of a thread that a reader has entered: what is larger will be told to it."""
        watched = self._watched[thread]
        await watched.begin()
        mark = await self._storage.last_seq(*thread)
        if watched.told is not None and mark > watched.told:
            watched.look()
        return mark

    def leave(self, thread: Thread) -> None:
        """A reader goes."""
        watched = self._watched[thread]
        watched.readers -= 1
        if not watched.readers:
            del self._watched[thread]
            watched.close()
            if not self._watched and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def _missed(self, _: str) -> None:
        """Hints were lost for a while."""
        if self._looking is not None:
            self._hurry.set()

    async def _look_now_and_then(self) -> None:
        while True:
            sleeping = asyncio.ensure_future(self._clock.sleep(RECHECK))
            hurrying = asyncio.ensure_future(self._hurry.wait())
            try:
                await asyncio.wait((sleeping, hurrying), return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                hurrying.cancel()
            self._hurry.clear()
            try:
                await self._look()
            except RunyardError:
                continue  # whoever reads the log says so

    async def _look(self) -> None:
        """One question for all threads, whatever their number."""
        threads = [*self._watched]
        for thread, last in zip(threads, await self._storage.last_seqs(threads), strict=True):
            watched = self._watched.get(thread)
            if watched is not None and watched.told is not None and last > watched.told:
                watched.look()


def _first(chunk: Chunk) -> int:
    return chunk.first_seq


def _run(event: Event) -> str | None:
    return event.run_id
