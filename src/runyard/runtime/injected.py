"""Messages that were put into a run, on the agent's side, until its code takes them."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Sequence

from runyard.runtime.contract import Injected


class Mailbox:
    """Those of one attempt, by their numbers. Safe from any thread; who waits is woken in the thread that rouses it."""

    __slots__ = ("_lock", "_messages", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: list[tuple[int, Injected]] = []
        self._waiting: list[Callable[[], None]] = []

    def put(self, messages: Sequence[Injected]) -> None:
        """Adds messages, also those that were taken and are not wanted."""
        with self._lock:
            for message in messages:
                heapq.heappush(self._messages, (message.number, message))
        if messages:
            self.rouse()

    def take(self, most: int | None) -> list[Injected]:
        """Up to so many (None: all) that are there, in order."""
        with self._lock:
            count = len(self._messages) if most is None else min(most, len(self._messages))
            return [heapq.heappop(self._messages)[1] for _ in range(count)]

    def when_roused(self, wake: Callable[[], None]) -> None:
        """Has `wake` called, once, when there is something, or nothing more to wait for."""
        with self._lock:
            if not self._messages:
                self._waiting.append(wake)
                return
        wake()

    def forget(self, wake: Callable[[], None]) -> None:
        """Does not call that any more."""
        with self._lock:
            if wake in self._waiting:
                self._waiting.remove(wake)

    def rouse(self) -> None:
        """Wakes all who wait: they look for themselves."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
