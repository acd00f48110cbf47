"""The heartbeat of all streams: one timer, whatever the number of connections.

Members are spread over the slots of a wheel, so that ten thousand idle streams are not written to in one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

SLOTS = 16


class Member(Protocol):
    """Something that has a heart."""

    def beat(self) -> None:
        """Called once per period. Must not block."""
        ...


class Pulse:
    """Beats every member once per `period` seconds. The timer only runs while there are members."""

    def __init__(self, period: float) -> None:
        self._interval = period / SLOTS
        self._slots: list[set[Member]] = [set() for _ in range(SLOTS)]
        self._now = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    @contextmanager
    def joined(self, member: Member) -> Generator[None]:
        """Membership for the duration of a `with`; the first beat comes after one period."""
        slot = self._slots[self._now]
        slot.add(member)
        self._count += 1
        if self._timer is None:
            self._wind()
        try:
            yield
        finally:
            slot.discard(member)
            self._count -= 1
            if self._count == 0 and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wind(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._turn)

    def _turn(self) -> None:
        self._now = (self._now + 1) % SLOTS
        for member in list(self._slots[self._now]):
            member.beat()
        self._wind()
