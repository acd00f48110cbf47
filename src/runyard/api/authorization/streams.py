"""Streams as one request may use them. A thread may be watched before it is there: whether it may be seen is asked when
something happens on it, and again with each run."""

from __future__ import annotations

from runyard.api.authorization.closed import Closed
from runyard.api.authorization.guard import Guard
from runyard.api.authorization.threads import GuardedVerbs
from runyard.errors import NotFound
from runyard.readers import Made, RunReader, ThreadReader
from runyard.runs import Run
from runyard.streams import Streams


class GuardedStreams(Closed):
    """`Streams`, for one request."""

    def __init__(self, guard: Guard, streams: Streams, verbs: GuardedVerbs) -> None:
        self._guard = guard
        self._streams = streams
        self._verbs = verbs

    @property
    def made(self) -> Made:
        return self._streams.made

    @property
    def draining(self) -> bool:
        return self._streams.draining

    async def join(self, run: Run, after: int | None) -> RunReader:
        await self._verbs.see(run)
        return await self._streams.join(run, after)

    async def join_thread(self, owner: str, thread_id: str) -> ThreadReader:
        guard = self._guard
        pattern = await guard.ask_once("threads", "read", thread_id=thread_id)
        reader = await self._streams.join_thread(owner, thread_id)
        if pattern is not None:

            async def hides() -> bool:
                return not await guard.shows(owner, thread_id, pattern)

            reader.watch_over(hides)
        return reader

    def listen_for(self, owner: str, thread_id: str, channel: str) -> bool:
        return self._streams.listen_for(owner, thread_id, channel)

    async def shows(self, owner: str, thread_id: str) -> bool:
        try:
            await self._guard.read(owner, thread_id)
        except NotFound:
            return False
        return await self._streams.shows(owner, thread_id)

    async def newest_begun(self, owner: str, thread_id: str) -> Run | None:
        await self._guard.read(owner, thread_id)
        return await self._streams.newest_begun(owner, thread_id)
