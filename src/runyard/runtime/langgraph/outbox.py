"""What an attempt of a graph has to say, gathered for a moment.

Each message wakes the engine's thread, which then takes turns with the graph's, and each commit is work for both: a
graph of small steps would spend more time on that than on its steps. So what it says within some milliseconds is sent,
and commits, together; what comes after a silence waits shortly, that its readers see it at once. A run that ends, that
asks for something or that wants a checkpoint to be durable says all that it has without waiting.
"""

from __future__ import annotations

import asyncio

from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import Write

FIRST_PAUSE = 0.004
"""Seconds for which something waits for more that comes after a silence."""
PAUSE = 0.025
"""The same for what comes sooner than that after something was sent."""
MOST = 64
"""Writes that wait at most."""
MOST_BYTES = 32_000


class Outbox:
    """The writes of one attempt, in order. Used in the lane's loop only."""

    __slots__ = ("_bytes", "_end", "_sent_at", "_timer", "_waiting")

    def __init__(self, end: AgentEnd) -> None:
        self._end = end
        self._waiting: list[tuple[Write, int]] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sent_at = 0.0

    def put(self, write: Write, size: int) -> None:
        """Something to be stored, of about `size` bytes."""
        self._waiting.append((write, size))
        self._bytes += size
        if len(self._waiting) >= MOST or self._bytes >= MOST_BYTES:
            self.send()
        elif self._timer is None:
            loop = self._end.loop
            self._timer = loop.call_at(max(loop.time() + FIRST_PAUSE, self._sent_at + PAUSE), self.send)

    def send(self) -> int:
        """Sends what waits; the number of the last write."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        self._sent_at = self._end.loop.time()
        number = 0
        for write, size in waiting:
            number = self._end.write(write, size)
        return number

    async def room(self) -> None:
        """Waits while too much is on its way to the database."""
        number = self._end.credit()
        if number:
            self.send()
            await self.stored(number)

    async def stored(self, number: int) -> None:
        """Waits until so many writes are durable, or the code is asked to stop."""
        done: asyncio.Future[None] = self._end.loop.create_future()

        def wake() -> None:
            if not done.done():
                done.set_result(None)

        self._end.when_stored(number, wake)
        await done
