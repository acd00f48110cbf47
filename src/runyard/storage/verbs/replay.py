"""Reading a thread's log, a bounded part at a time, for readers who may be thousands on the same part of it."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import aclosing
from itertools import islice

import msgspec

from runyard.checkpoints import fold
from runyard.events import Event, decode, events_of, lifecycle, pointer
from runyard.storage.verbs.transaction import Reads

READ_BYTES = 64_000
"""Bytes of events after which one read ends: each of thousands of readers may have one in hand."""
KEPT_BYTES = 4_000_000
"""Bytes of memory for chunks that are kept decoded: what one reader was shown the next one shares, with its frames."""
CHUNK_BYTES = 500
EVENT_BYTES = 300
"""What a chunk, and each event in it, takes beside its data, which is there twice: once in its frame."""


class Replay:
    """Reads of events. Of one reading thread only: what it keeps is not guarded."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[tuple[str, int], tuple[list[Event], int]] = OrderedDict()
        self._bytes = 0

    async def read(
        self,
        reader: Reads,
        owner: str,
        thread_id: str,
        after: int,
        run_id: str | None,
        limit: int,
        states: bool = True,
    ) -> list[Event]:
        """As the storage's `events`."""
        found: list[Event] = []
        size = 0
        async with aclosing(reader.log(owner, thread_id, after)) as rows:
            async for first_seq, last_seq, chunk_run, at, body in rows:
                if run_id is not None and chunk_run != run_id:
                    continue
                events = self._chunk(first_seq, last_seq, chunk_run, at, body)
                for event in islice(events, max(0, after + 1 - first_seq), None):
                    if len(found) >= limit or size >= READ_BYTES:
                        break
                    shown = await _with_state(reader, event) if states and event.kind == "values" else event
                    found.append(shown)
                    size += shown.size
                if len(found) >= limit or size >= READ_BYTES or (run_id is not None and _ends_run(events[-1])):
                    break
        return found

    def _chunk(self, first_seq: int, last_seq: int, run_id: str | None, at: int, body: bytes) -> list[Event]:
        """The events of a row, `values` without their states."""
        # A thread's number may come again when the thread was deleted long ago; a run does not.
        key = (run_id or "", last_seq)
        kept = self._chunks.get(key)
        if kept is not None:
            self._chunks.move_to_end(key)
            return kept[0]
        events = events_of(run_id, first_seq, at, decode(body))
        weight = CHUNK_BYTES + EVENT_BYTES * len(events) + 2 * len(body)
        if run_id is not None and weight <= KEPT_BYTES // 2:
            self._chunks[key] = events, weight
            self._bytes += weight
            while self._bytes > KEPT_BYTES:
                self._bytes -= self._chunks.popitem(last=False)[1][1]
        return events


async def _with_state(reader: Reads, event: Event) -> Event:
    chain = await reader.all("chain", (pointer(event.data).checkpoint_id,))
    if not chain:
        return event  # undone, and swept away since
    state = fold(chain)
    return msgspec.structs.replace(event, state=state, frame=None, frames=None)


def _ends_run(last: Event) -> bool:
    return last.kind == "lifecycle" and lifecycle(last.data).terminal
