"""The heartbeat of all streams: one timer, whatever the number of connections.

Members are spread over the slots of a wheel, so that ten thousand idle streams are not written to in one moment.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

SLOTS = 16


class Member(Protocol):
    """Something that has a heart."""

    def beat(self) -> None:
        """Called once per period. Must not block."""
        ...


class Membership:
    """A `with` block. A class, because ten thousand idle streams are in one, and a generator is four times as large."""

    __slots__ = ("_member", "_pulse", "_slot")

    def __init__(self, pulse: Pulse, slot: set[Member], member: Member) -> None:
        self._pulse = pulse
        self._slot = slot
        self._member = member

    def __enter__(self) -> None:
        self._slot.add(self._member)
        self._pulse.count(1)

    def __exit__(self, *_: object) -> None:
        self._slot.discard(self._member)
        self._pulse.count(-1)


class Pulse:
    """Beats every member once per `period` seconds. The timer only runs while there are members."""

    def __init__(self, period: float) -> None:
        self._interval = period / SLOTS
        self._slots: list[set[Member]] = [set() for _ in range(SLOTS)]
        self._now = 0
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def joined(self, member: Member) -> Membership:
        """Membership for the duration of a `with`; the first beat comes after one period."""
        return Membership(self, self._slots[self._now], member)

    def count(self, change: int) -> None:
        """So many more members."""
        self._count += change
        if self._count and self._timer is None:
            self._wind()
        elif not self._count and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wind(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._turn)

    def _turn(self) -> None:
        self._now = (self._now + 1) % SLOTS
        for member in list(self._slots[self._now]):
            member.beat()
        self._wind()
