"""What a subscription is told of a thread: its state now, a replay of the log, and what happens from then on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from runyard.api.context import ApiContext
from runyard.checkpoints import State, render, shown
from runyard.errors import NotFound
from runyard.events import Event, pointer
from runyard.protocol.filters import Filter
from runyard.protocol.frames import MISSED, SNAPSHOT, Cursor, Face, Frame
from runyard.protocol.told import Told
from runyard.readers import PAGE, Portion

EVENTS_MISSED = "ap.missed_events"
"""The name of the custom event that tells of events which retention has removed."""

Pack = Callable[[Sequence[Frame]], Sequence[bytes]]
"""How a transport joins frames into what it sends at once."""

_encode = msgspec.json.Encoder().encode


class Feed:
    """A thread as one connection sees it, in the spelling of its face."""

    __slots__ = ("_api", "_face", "_owner", "_thread_id", "covered")

    def __init__(self, api: ApiContext, face: Face, owner: str, thread_id: str) -> None:
        self._api = api
        self._face = face
        self._owner = owner
        self._thread_id = thread_id
        self.covered = 0
        """The number up to which states are in the one that the last replay began with; 0 where it began with none."""

    async def replay(self, wanted: Sequence[Filter], after: Cursor | None, upto: int) -> AsyncIterator[list[Frame]]:
        """The frames of the log up to a number that any of the subscriptions sees, a part at a time.

        With a cursor: what is behind it. Without one: the thread's state now, then what the newest run that has begun
        has told; states that the first one covers are left out. What retention has removed, before or meanwhile, is
        told where it is missed.
        """
        streams, storage = self._api.streams, self._api.storage
        self.covered = 0
        if not await streams.shows(self._owner, self._thread_id):
            return
        covered = False
        floor = await storage.floor_seq(self._owner, self._thread_id)
        if after is None:
            baseline = await self._baseline(wanted)
            if baseline is not None:
                covered = True
                yield [baseline]
            newest = await streams.newest_begun(self._owner, self._thread_id)
            start = upto if newest is None else max(newest.first_seq, floor)
        else:
            start = after.after
        states = any(one.wants("values") for one in wanted) and not covered
        while start < upto:
            floor = await storage.floor_seq(self._owner, self._thread_id)
            if start < floor:
                yield [self._missed(start + 1, floor)]
                start = floor
                continue
            events = await storage.events(
                self._owner, self._thread_id, after=start, run_id=None, limit=PAGE, states=states
            )
            floor = await storage.floor_seq(self._owner, self._thread_id)
            if start < floor and not (events and events[0].seq <= floor):
                continue  # what comes next was removed before it was read
            if not events:
                return
            start = events[-1].seq
            if covered:
                events = [await self._with_inner_state(event) for event in events]
            frames = [
                frame
                for event in events
                if event.seq <= upto
                for frame in self._face.shown(event, wanted, after)
                if not (covered and frame.told.method == "values" and not frame.path)
            ]
            if frames:
                yield frames

    async def pieces(
        self, events: list[Event], wanted: tuple[Filter, ...], covered: Sequence[int], pack: Pack
    ) -> Sequence[bytes]:
        """What `live` gives, as it is sent: made for the first of those who see the same over the same transport."""
        if not isinstance(events, Portion) or events[0].seq <= max(covered, default=0):
            return pack(await self.live(events, wanted, covered))
        key = (self._face.case, pack, wanted)
        made = events.made.get(key)
        if made is None:
            made = pack(await self.live(events, wanted))
            self._api.streams.made.keep(events, key, made)
        return made

    async def live(self, events: Sequence[Event], wanted: Sequence[Filter], covered: Sequence[int] = ()) -> list[Frame]:
        """The frames of events that were just committed, each once, that any of the subscriptions sees.

        `covered` is for each of them what `covered` was after its replay: a state may be committed before a reader is
        given it, and was told to it.
        """
        first = max(covered, default=0)
        frames: list[Frame] = []
        for event in events:
            if event.kind == "values" and event.state is None and any(one.wants("values") for one in wanted):
                event.state = await self._state_of(event)
                event.frames = None
            shown = self._face.shown(event, wanted)
            if event.kind == "values" and not event.namespace and event.seq <= first:
                behind = [one for one, upto in zip(wanted, covered, strict=True) if event.seq > upto]
                shown = [f for f in shown if f.told.method != "values" or any(one.shows(f.told, "") for one in behind)]
            frames += shown
        return frames

    async def _with_inner_state(self, event: Event) -> Event:
        """The event of a subgraph's state with that: of those the baseline has none."""
        if event.kind != "values" or not event.namespace:
            return event
        state = await self._state_of(event)
        return event if state is None else msgspec.structs.replace(event, state=state, frames=None)

    async def _state_of(self, event: Event) -> State | None:
        """The state that a `values` event points to; None where it is gone."""
        try:
            at = pointer(event.data).checkpoint_id
            return (await self._api.storage.snapshot(self._owner, self._thread_id, at)).state
        except NotFound:
            return None

    async def _baseline(self, wanted: Sequence[Filter]) -> Frame | None:
        if not any(one.shows(Told("values", b""), "") for one in wanted):
            return None
        storage = self._api.storage
        try:
            through, head = -1, None
            # Another thread commits: the two are of one moment where nothing was told between them.
            while through != (through := await storage.last_seq(self._owner, self._thread_id)):
                head = (await storage.thread(self._owner, self._thread_id)).head
            if head is None:
                return None
            snapshot = await storage.snapshot(self._owner, self._thread_id, head)
        except NotFound:
            return None
        self.covered = through
        now = self._api.verbs.clock.now()
        return self._face.state(render(shown(snapshot.state)), SNAPSHOT + head, now)

    def _missed(self, first: int, last: int) -> Frame:
        payload = {"from": first, "to": last, "count": last - first + 1}
        told = Told("custom", _encode({"name": EVENTS_MISSED, "payload": payload}), EVENTS_MISSED)
        return self._face.frame(told, "", f"{MISSED}{first}-{last}", None, self._api.verbs.clock.now())
