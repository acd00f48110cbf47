"""Carrying calls into the event loop of another thread, at one wake-up per batch."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any


class Bridge:
    """One direction between threads: what is posted is called in the loop's thread, in order.

    Waking a loop costs ten times what passing a message costs, so a loop that was woken and has not come round yet
    is not woken again. Posting is safe from any thread and never blocks.
    """

    __slots__ = ("_loop", "_queue", "_wanted", "_woken_at")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._wanted = False
        self._woken_at = 0.0

    def post(self, call: Callable[[Any], None], argument: Any) -> None:
        """Has `call(argument)` called in the loop. Dropped where the loop has been closed: nobody is left to care."""
        self._queue.append((call, argument))
        # The order matters: the reader lowers the flag before it takes, so an item that was put while the flag
        # was up is always taken by the batch to come.
        if not self._wanted:
            self._wanted = True
            self._woken_at = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._take)
            except RuntimeError:
                self._queue.clear()

    def waits_for(self) -> float:
        """Seconds since the loop was woken for a batch that it has not taken yet; 0.0 when nothing waits."""
        return time.monotonic() - self._woken_at if self._wanted else 0.0

    def _take(self) -> None:
        self._wanted = False
        queue = self._queue
        try:
            for _ in range(len(queue)):
                call, argument = queue.popleft()
                call(argument)
        finally:
            # Only a call that raised leaves something behind; the rest of its batch must not wait for luck.
            if queue and not self._wanted:
                self._wanted = True
                self._loop.call_soon(self._take)
