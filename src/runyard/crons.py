"""Crons: runs that are created again and again, at the times of a schedule. Data and pure rules.

A firing is one time of the schedule. The cron knows its next one; whoever creates the run of a firing moves the cron on
in the same transaction. Firings that were missed are made up for by one run.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from runyard.errors import InvalidInput

OnRunCompleted = Literal["delete", "keep"]
SortBy = Literal["cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date", "end_time"]

NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
ACTING = "__acting__"
"""The key of a payload that is no client's."""
_DAYS = (2, 4)
"""The places of day of month and day of week, one of which may be `?`: any."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = timedelta(minutes=1)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Cron(msgspec.Struct, frozen=True):
    """A cron as stored. `payload` and `metadata` are the JSON text of objects. Times are microseconds since the
    epoch."""

    cron_id: str
    owner: str
    assistant_id: str
    thread_id: str | None
    """The thread of its runs; None: each run has one of its own."""
    schedule: str
    timezone: str | None
    end_time: int | None
    """It does not fire behind this time."""
    enabled: bool
    on_run_completed: OnRunCompleted | None
    """What becomes of a run's own thread."""
    created_at: int
    updated_at: int
    payload: bytes
    """What its runs are asked for, and for whom: see `wished` and `acting`."""
    metadata: bytes = b"{}"
    next_at: int | None = None
    """Its next firing; None where there is none."""
    fired_at: int | None = None
    """Its last firing."""
    revision: int = 1
    """Counts changes from outside: what was read of a cron before one of them is of no use behind it."""
    last_error: str | None = None
    """Why the last firing made no run; None where it did."""

    @property
    def wished(self) -> dict[str, Any]:
        """What its runs are asked for, as it was sent."""
        return {name: value for name, value in _decode(self.payload).items() if name != ACTING}

    @property
    def acting(self) -> dict[str, Any] | None:
        """For whom it makes its runs (`acting`, and `within`: what its thread's metadata have to contain), where the
        deployment says who may do what."""
        return _decode(self.payload).get(ACTING)


class CronPatch(msgspec.Struct, frozen=True, kw_only=True):
    """What is changed of a cron; what is unset stays. `payload` is merged into what there is, key by key."""

    schedule: str | msgspec.UnsetType = msgspec.UNSET
    timezone: str | msgspec.UnsetType | None = msgspec.UNSET
    end_time: int | msgspec.UnsetType | None = msgspec.UNSET
    enabled: bool | msgspec.UnsetType = msgspec.UNSET
    on_run_completed: OnRunCompleted | msgspec.UnsetType = msgspec.UNSET
    payload: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class CronFilter(msgspec.Struct, frozen=True):
    """What a search for crons asks for; `metadata` is contained recursively."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata: dict[str, Any] | None = None
    sort_by: SortBy = "created_at"
    descending: bool = True
    limit: int = 10
    offset: int = 0


class Firing(msgspec.Struct, frozen=True):
    """One time of a cron's schedule, as it was read: whoever creates its run has to find the cron as it was."""

    owner: str
    cron_id: str
    at: int
    revision: int
    now: int
    """The time of creation, behind which the next firing is."""

    @property
    def run_id(self) -> str:
        """The id of its run, which is the same whoever creates it: a UUIDv7 of its time."""
        digest = hashlib.sha256(f"{self.owner}\0{self.cron_id}\0{self.at}".encode()).digest()
        number = (self.at // 1000) << 80 | int.from_bytes(digest[:10])
        number = number & ~(0xF << 76) | 0x7 << 76
        return str(UUID(int=number & ~(0x3 << 62) | 0x2 << 62))


def next_firing(schedule: str, timezone: str | None, after: int) -> int | None:
    """The first time of a schedule strictly behind another; None where there is none within fifty years.

    Times of day are those of the time zone (UTC where there is none). As with Debian's cron, a time of day that is
    skipped when clocks go forward fires right behind the gap, and one that comes twice when they go back fires once; a
    schedule of every hour or every minute goes on through both.

    Raises:
        InvalidInput: no such schedule, or no such time zone.
    """
    fields = NAMED.get(schedule.strip().lower(), schedule).split()
    if len(fields) not in (5, 6):
        raise _no_schedule(schedule, f"{len(fields)} fields")
    zone = _zone(timezone)
    start = (_EPOCH + timedelta(microseconds=after) - _MINUTE).astimezone(zone)
    five = ["*" if field == "?" and place in _DAYS else field for place, field in enumerate(fields[:5])]
    try:
        # Seconds are looked at here: so six fields have the same rules where clocks are changed as five.
        seconds = sorted(CronSim(" ".join([fields[5], *five]), start).seconds) if len(fields) == 6 else [0]
        minutes = CronSim(" ".join(five), start)
    except CronSimError as error:
        raise _no_schedule(schedule, str(error)) from None
    for minute in minutes:
        at = (minute.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
        for second in seconds:
            if at + second * 1_000_000 > after:
                return at + second * 1_000_000
    return None


def _no_schedule(schedule: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"schedule is {schedule[:80]!r}: {why}; it has five fields (minute, hour, day of month, month, day of week), "
        "or six with seconds behind them",
        field="schedule",
    )


def _zone(name: str | None) -> ZoneInfo | Any:
    if name is None or name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidInput(
            f"timezone is {name[:80]!r}: it has to be a name of the IANA database, such as Europe/Rome",
            field="timezone",
        ) from None


def scheduled(cron: Cron, now: int) -> Cron:
    """A cron with its next firing: behind now, and behind its last one (another server's clock may be ahead).

    Raises:
        InvalidInput: see `next_firing`.
    """
    found = next_firing(cron.schedule, cron.timezone, max(now, cron.fired_at or 0))
    over = found is not None and cron.end_time is not None and found > cron.end_time
    return msgspec.structs.replace(cron, next_at=None if over or not cron.enabled else found)


def changed(cron: Cron, patch: CronPatch, now: int) -> Cron:
    """A cron as a patch leaves it.

    Raises:
        InvalidInput: see `next_firing`.
    """
    given = {
        name: value
        for name in ("schedule", "timezone", "end_time", "enabled", "on_run_completed")
        if (value := getattr(patch, name)) is not msgspec.UNSET
    }
    kept = msgspec.structs.replace(
        cron,
        **given,
        payload=_encode({**_decode(cron.payload), **patch.payload}),
        metadata=_encode({**_decode(cron.metadata), **patch.metadata}),
        updated_at=now,
        revision=cron.revision + 1,
    )
    return scheduled(kept, now)


def fired(cron: Cron, now: int, error: str | None = None) -> Cron:
    """A cron behind its firing, which made a run, or none for a reason."""
    return scheduled(msgspec.structs.replace(cron, fired_at=cron.next_at, last_error=error), now)
