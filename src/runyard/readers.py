"""Readers of a thread's log: register, mark, replay, flush, follow.

A reader registers first and takes the log's last number as its mark; it then reads what the log holds up to the mark
and follows with what is told after commits. Whatever a commit tells has a larger number than the mark or is in the
replay: no gap, no duplicate, no reordering at the seam. A reader that does not keep up is cut, never the run.

What a reader has in hand of its own is small: it is given a piece at a time, and the next one when it has sent that.
The events that wait for it are shared with all readers of its run or thread, and so is what was made of them: readers
that keep up are given the same lists of events, and the first one of those who want the same makes its text.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from typing import Protocol, Self
from weakref import ref

from runyard.events import Event, Lifecycle, entry, lifecycle
from runyard.runs import Run, lifecycle_of
from runyard.storage.contract import Storage

PAGE = 500
"""Events per read of a replay: bounds the length of a transaction and the memory of a reader far behind."""
PIECE = 32_000
"""Bytes of events after which a reader is given no more at once. What it is given becomes its own copy on the way to
its client, and a thousand slow ones have one each."""
MADE_BYTES = 16_000_000
MOST_MADE = 4096
"""What is kept of texts that were made for several readers, in all."""
BESIDE = 200
"""Bytes that an event takes beside its data."""


class Portion(list[Event]):
    """Events that one commit appended for a run, or several commits: about a piece of them at most. It is shared, and
    must not be changed."""

    __slots__ = ("__weakref__", "_joined", "_parts", "counted", "made", "size")

    def __init__(self, events: Iterable[Event], size: int, counted: int) -> None:
        super().__init__(events)
        self.size = size
        """In bytes."""
        self.counted = counted
        """How much it counts of what may wait for a reader."""
        self.made: dict[Hashable, Sequence[bytes]] = {}
        """What was made of it for readers, by what they asked for: see `Made`."""
        self._joined: Portion | None = None
        self._parts = 1
        """How many portions it was joined of."""

    def joined(self, before: Sequence[Portion]) -> Portion:
        """One portion of this and those that a reader has right before it."""
        joined = self._joined
        # A reader of the thread is told what other runs do in between, one of a run is not: both may begin alike.
        if joined is None or joined[0] is not before[0][0] or joined._parts != len(before) + 1:
            events = [event for portion in (*before, self) for event in portion]
            joined = self._joined = Portion(events, 0, 0)
            joined._parts = len(before) + 1
        return joined


class Made:
    """What was made of portions for the first of their readers who see the same, for the others: the newest of it. They
    all come soon, but for slow ones, who keep a portion for long."""

    def __init__(self) -> None:
        self._kept: deque[tuple[ref[Portion], Hashable, int]] = deque()
        self._bytes = 0

    def keep(self, portion: Portion, key: Hashable, pieces: Sequence[bytes]) -> None:
        """Keeps it with the portion, for as long as there is room."""
        portion.made[key] = pieces
        size = sum(map(len, pieces))
        self._kept.append((ref(portion), key, size))
        self._bytes += size
        while self._bytes > MADE_BYTES or len(self._kept) > MOST_MADE:
            oldest, key, size = self._kept.popleft()
            self._bytes -= size
            old = oldest()
            if old is not None:
                old.made.pop(key, None)


def portions(events: Sequence[Event], most: int) -> list[Portion]:
    """The events of a commit; all of them together count for `most` at most."""
    told: list[Portion] = []
    start, size = 0, 0
    for end, event in enumerate(events, 1):
        size += event.size + BESIDE
        if size >= PIECE or end == len(events):
            counted = min(size, most)
            told.append(Portion(events[start:end], size, counted))
            start, size, most = end, 0, most - counted
    return told


class Home(Protocol):
    """Where readers come from: what they tell it, and the log that it reads."""

    storage: Storage
    delivered: int
    cut: int

    def leave(self, reader: Reader) -> None:
        """Nothing more is for this reader."""
        ...


class Reader:
    """One reader. Iterate it for lists of events."""

    __slots__ = (
        "_bytes", "_home", "_limit", "_over", "_replays", "_seen", "_waiting", "_wake", "cut", "drained", "missed",
        "thread",
    )  # fmt: skip

    def __init__(self, home: Home, thread: tuple[str, str], limit: int) -> None:
        self.thread = thread
        """The owner and id of the thread whose events it reads."""
        self._home = home
        self._limit = limit
        self._waiting: list[Portion] = []  # a deque would take ten times as much of an idle reader
        self._bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._seen = 0
        self._over = False
        self._replays = False
        """Something comes before the events that are told."""
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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[Event]:
        if self._replays:
            events = await self._from_log()
            if events:
                return self._deliver(events)
            self._replays = False
        while True:
            events = self.take()
            if events:
                return events
            if self.over:
                raise StopAsyncIteration
            await self.change()

    def take(self) -> list[Event]:
        """What was committed and waits for this reader, up to about a piece of it; it may be nothing."""
        while self._waiting and not self._over:
            events = self._take()
            if events:
                return self._deliver(events)
        return []

    @property
    def over(self) -> bool:
        """Nothing comes any more behind what waits."""
        return self._over or self.cut or self.drained

    async def change(self) -> None:
        """Returns when something was committed, when the reader is over, or when it was roused."""
        self._wake = asyncio.get_running_loop().create_future()
        await self._wake

    async def _from_log(self) -> list[Event]:
        """What comes before the events that are told; none when that is over."""
        raise NotImplementedError

    def _take(self) -> list[Event]:
        """What waits and was not replayed, up to about a piece of it."""
        waiting = self._waiting
        first = waiting[0]
        taken, size = 1, first.size
        if first[0].seq > self._seen:
            while taken < len(waiting) and size + waiting[taken].size <= PIECE:
                size += waiting[taken].size
                taken += 1
        portion = first if taken == 1 else waiting[taken - 1].joined(waiting[: taken - 1])
        self._bytes -= sum(one.counted for one in waiting[:taken])
        del waiting[:taken]
        if portion[0].seq > self._seen:
            return portion
        return [event for event in portion if event.seq > self._seen]

    def close(self) -> None:
        """Leaves; nothing more is kept for this reader."""
        self._over = True
        self._home.leave(self)
        self.rouse()

    def _deliver(self, events: list[Event]) -> list[Event]:
        self._seen = max(self._seen, events[-1].seq)
        self._home.delivered += len(events)
        return events

    def receive(self, commit: Sequence[Portion]) -> None:
        """What was just committed."""
        for portion in commit:
            self._waiting.append(portion)
            self._bytes += portion.counted
        if self._bytes > self._limit:
            self.cut = True
            self._home.cut += 1
            self._home.leave(self)
            self._waiting.clear()
            self._bytes = 0
        self.rouse()

    def drain(self) -> None:
        """The server stops: it ends after what it has."""
        self.drained = True
        self.rouse()

    def rouse(self) -> None:
        """Has whoever awaits a change look again."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class RunReader(Reader):
    """One reader of one run. It ends after the run's terminal event."""

    __slots__ = ("_first", "_log", "_mark", "run_id")

    def __init__(self, home: Home, run: Run, limit: int) -> None:
        super().__init__(home, (run.owner, run.thread_id), limit)
        self.run_id = run.run_id
        self._first: Event | None = None
        self._log: Run | None = None
        """The run, while its log is being read for this reader."""
        self._mark = 0
        """The log's last number when the reader registered: what is larger will be told, or is in the replay."""

    def begin(self, *, first: Event | None, log: Run | None, mark: int, seen: int) -> None:
        """How the reader starts: a made-up event, then the log from a cursor, then what is told."""
        self._first, self._log, self._mark, self._seen = first, log, mark, seen
        self._replays = first is not None or log is not None

    async def _from_log(self) -> list[Event]:
        if self._first is not None:
            first, self._first = self._first, None
            return [first]
        while self._log is not None and not self._over:
            events = await self._replay(self._log)
            if events:
                return events
        return []

    async def _replay(self, run: Run) -> list[Event]:
        """The next events of the log. Where there are no more, the reader lets go of the log."""
        events = await self._home.storage.events(
            run.owner, run.thread_id, after=self._seen, run_id=run.run_id, limit=PAGE
        )
        if not events:
            self._log = None
            if run.finished:
                # Its last event has left the log since: retention was faster.
                return [ended(run)]
        elif events[-1].seq >= self._mark:
            self._log = None
        return events

    def _deliver(self, events: list[Event]) -> list[Event]:
        super()._deliver(events)
        last = events[-1]
        if last.kind == "lifecycle" and lifecycle(last.data).terminal:
            self._over = True
            self._home.leave(self)
        return events


class ThreadReader(Reader):
    """One reader of what happens on a thread from now on, across runs. It ends when it is closed, cut or drained."""

    __slots__ = ("_guard", "_hides", "channels", "mark")

    def __init__(self, home: Home, owner: str, thread_id: str, limit: int) -> None:
        super().__init__(home, (owner, thread_id), limit)
        self.channels: frozenset[str] = frozenset()
        """What it is subscribed to."""
        self.mark = 0
        """The log's last number when the reader came: what is larger will be told."""
        self._hides: Callable[[], Awaitable[bool]] | None = None
        self._guard: Callable[[], Awaitable[bool]] | None = None

    def begin(self, mark: int, hides: Callable[[], Awaitable[bool]] | None) -> None:
        """What is told begins behind the mark. `hides` says whether a thread that was not there when the reader came is
        one that nobody may see; None where the thread was there."""
        self.mark = self._seen = mark
        self._hides = hides

    def watch_over(self, hides: Callable[[], Awaitable[bool]]) -> None:
        """Has it asked whether the thread is one that this reader may not see: before anything is told, and again when
        a run is made on it."""
        before = self._hides

        async def either() -> bool:
            return (before is not None and await before()) or await hides()

        self._hides = self._guard = either

    def receive(self, commit: Sequence[Portion]) -> None:
        if self._guard is not None and any(event.kind == "input" for portion in commit for event in portion):
            self._hides = self._guard
        super().receive(commit)

    def take(self) -> list[Event]:
        """What was committed and waits for this reader, up to about a piece of it; nothing before it is known whether
        it may see it, which `change` finds out."""
        return super().take() if self._hides is None else []

    async def change(self) -> None:
        """Returns when something was committed, when the reader is over, or when it was roused."""
        if self._hides is None or not self._waiting:
            await super().change()
            return
        hidden = tuple(self._waiting)
        if not await self._hides():
            self._hides = None
        elif self._waiting:  # else it was cut
            del self._waiting[: len(hidden)]
            self._bytes -= sum(one.counted for one in hidden)


def ended(run: Run) -> Event:
    """The end of a run, made up from its row."""
    assert run.outcome is not None  # the run is finished
    event = Lifecycle(event=lifecycle_of(run.outcome), run_id=run.run_id, status=run.status, outcome=run.outcome)
    return Event(0, run.run_id, "lifecycle", run.updated_at, bytes(entry("lifecycle", event).data))
