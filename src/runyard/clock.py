"""Time and new ids, injected everywhere so that tests can move them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import uuid_utils

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_GREGORIAN = 0x01B21DD213814000
"""The Unix epoch in UUIDs' time: units of 100 ns since the beginning of the Gregorian calendar."""


class Clock:
    """The wall clock, and ids that sort by the time of their making.

    Times are whole microseconds since the Unix epoch, UTC.
    """

    def now(self) -> int:
        """The present time in microseconds since the epoch."""
        return time.time_ns() // 1000

    def new_id(self) -> str:
        """A new UUIDv7 in its lower-case text form; ids of one process increase strictly."""
        return str(uuid_utils.uuid7())

    async def sleep(self, seconds: float) -> None:
        """Wait; a test's clock may end the wait by being moved."""
        await asyncio.sleep(seconds)


def moment_of(id: str) -> int | None:
    """When an id was made, in microseconds since the epoch; None of an id that does not say it. Ours are UUIDs of
    version 7, those that LangGraph gives its checkpoints of version 6."""
    try:
        found = UUID(id)
    except ValueError:
        return None
    if found.version == 7:
        return (found.int >> 80) * 1000
    if found.version == 6:
        ticks = (found.int >> 80) << 12 | (found.int >> 64) & 0xFFF
        return (ticks - _GREGORIAN) // 10
    return None


def rfc3339(microseconds: int) -> str:
    """A time in RFC 3339 form with microseconds and offset, e.g. `2026-01-31T12:00:00.000001+00:00`."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest:06d}+00:00"


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
