"""When a cron fires: five and six fields, time zones, and the two nights of a year on which clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from runyard.crons import Cron, CronPatch, Firing, changed, fired, next_firing, scheduled
from runyard.errors import InvalidInput

ROME = "Europe/Rome"
"""Clocks go from 2:00 to 3:00 on 2027-03-28, and from 3:00 to 2:00 on 2027-10-31; that is 1:00 UTC both times."""


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1_000_000)


def told(moment: int | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def firings(schedule: str, timezone: str | None, after: str, count: int) -> list[str | None]:
    moment: int | None = at(after)
    found: list[str | None] = []
    for _ in range(count):
        assert moment is not None
        moment = next_firing(schedule, timezone, moment)
        found.append(told(moment))
    return found


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("27 15 * * *", "2027-01-01T15:26:59.999999+00:00", "2027-01-01 15:27:00"),
        ("27 15 * * *", "2027-01-01T15:27:00+00:00", "2027-01-02 15:27:00"),
        ("*/5 * * * *", "2027-01-01T15:27:00+00:00", "2027-01-01 15:30:00"),
        ("0 9 * * MON-FRI", "2027-01-01T12:00:00+00:00", "2027-01-04 09:00:00"),
        ("0 0 1 1 *", "2027-01-01T00:00:00+00:00", "2028-01-01 00:00:00"),
        ("0 0 ? * MON", "2027-01-01T12:00:00+00:00", "2027-01-04 00:00:00"),
        ("0 0 1 * ? 30", "2027-01-01T12:00:00+00:00", "2027-02-01 00:00:30"),
        ("0 0 L * *", "2028-02-01T00:00:00+00:00", "2028-02-29 00:00:00"),
        ("@daily", "2027-01-01T00:00:01+00:00", "2027-01-02 00:00:00"),
        ("@Hourly", "2027-01-01T00:00:01+00:00", "2027-01-01 01:00:00"),
        ("* * * * * *", "2027-01-01T00:00:00.5+00:00", "2027-01-01 00:00:01"),
        ("* * * * * */20", "2027-01-01T00:00:20+00:00", "2027-01-01 00:00:40"),
        ("* * * * * */20", "2027-01-01T00:00:40+00:00", "2027-01-01 00:01:00"),
        ("30 8 * * * 15,45", "2027-01-01T08:30:15+00:00", "2027-01-01 08:30:45"),
        ("30 8 * * * 15,45", "2027-01-01T08:30:45+00:00", "2027-01-02 08:30:15"),
    ],
)
def test_the_next_firing_is_strictly_behind(schedule: str, after: str, expected: str) -> None:
    assert firings(schedule, None, after, 1) == [expected]
    assert firings(schedule, "UTC", after, 1) == [expected]


def test_times_of_day_are_those_of_the_time_zone() -> None:
    assert firings("0 9 * * *", ROME, "2027-01-01T00:00:00+00:00", 1) == ["2027-01-01 08:00:00"]
    assert firings("0 9 * * *", ROME, "2027-07-01T00:00:00+00:00", 1) == ["2027-07-01 07:00:00"]
    assert firings("0 0 * * *", "Asia/Kolkata", "2027-01-01T00:00:00+00:00", 1) == ["2027-01-01 18:30:00"]


@pytest.mark.parametrize("seconds", ["", " 0"])
def test_a_time_that_is_skipped_fires_behind_the_gap(seconds: str) -> None:
    assert firings(f"30 2 * * *{seconds}", ROME, "2027-03-27T01:30:00+00:00", 2) == [
        "2027-03-28 01:00:00",
        "2027-03-29 00:30:00",
    ]


@pytest.mark.parametrize("seconds", ["", " 0"])
def test_a_time_that_comes_twice_fires_once(seconds: str) -> None:
    expected = ["2027-10-31 00:30:00", "2027-11-01 01:30:00"]
    assert firings(f"30 2 * * *{seconds}", ROME, "2027-10-30T12:00:00+00:00", 2) == expected
    # Within the second of the two hours there is none left.
    assert firings(f"30 2 * * *{seconds}", ROME, "2027-10-31T01:10:00+00:00", 1) == expected[1:]


def test_seconds_of_a_changed_night_are_each_had_once() -> None:
    assert firings("30 2 * * * 0,30", ROME, "2027-10-30T12:00:00+00:00", 3) == [
        "2027-10-31 00:30:00",
        "2027-10-31 00:30:30",
        "2027-11-01 01:30:00",
    ]
    assert firings("30 2 * * * 0,30", ROME, "2027-03-28T00:00:00+00:00", 3) == [
        "2027-03-28 01:00:00",
        "2027-03-28 01:00:30",
        "2027-03-29 00:30:00",
    ]


@pytest.mark.parametrize("seconds", ["", " 0"])
def test_what_fires_often_goes_on_through_both_nights(seconds: str) -> None:
    for night in ("2027-03-28", "2027-10-31"):
        assert firings(f"*/30 * * * *{seconds}", ROME, f"{night}T00:10:00+00:00", 5) == [
            f"{night} {time}:00" for time in ("00:30", "01:00", "01:30", "02:00", "02:30")
        ]


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "x * * * *", "*/0 * * * *", "@often",
     "0 0 31 2 *", "٣ * * * *", "5-1 * * * *", "60 * * * * *", "* * * * * 60", "? * * * *", "* * * ? *", "* * * * 1#9"],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_by_name(schedule: str) -> None:
    with pytest.raises(InvalidInput, match="schedule is") as refused:
        next_firing(schedule, None, 0)
    assert refused.value.metadata["field"] == "schedule"


@pytest.mark.parametrize(
    "timezone", ["", "Europe/Atlantis", "../etc/passwd", "/etc/localtime", "CEST+1x", "a\0b", "UTC+05:00"]
)
def test_what_is_no_time_zone_is_refused_by_name(timezone: str) -> None:
    with pytest.raises(InvalidInput, match="timezone is") as refused:
        next_firing("* * * * *", timezone, 0)
    assert refused.value.metadata["field"] == "timezone"


def test_a_schedule_that_never_comes_has_no_firing() -> None:
    assert next_firing("* * */20 * 1L", None, at("2020-01-01T00:00:00+00:00")) is None


def cron(**more: object) -> Cron:
    given: dict[str, object] = {
        "cron_id": "c", "owner": "", "assistant_id": "a", "thread_id": None, "schedule": "* * * * *", "timezone": None,
        "end_time": None, "enabled": True, "on_run_completed": "delete", "created_at": 0, "updated_at": 0,
        "payload": b"{}",
    }  # fmt: skip
    return Cron(**{**given, **more})  # pyright: ignore[reportArgumentType]


def test_nothing_fires_behind_the_end() -> None:
    now = at("2027-01-01T00:00:00+00:00")
    minute = 60_000_000
    assert scheduled(cron(end_time=now + minute), now).next_at == now + minute
    assert scheduled(cron(end_time=now + minute - 1), now).next_at is None
    assert scheduled(cron(enabled=False), now).next_at is None


def test_a_fired_cron_goes_on_behind_now_and_behind_its_firing() -> None:
    now = at("2027-01-01T00:00:00+00:00")
    minute = 60_000_000
    late = fired(cron(next_at=now - 100 * minute), now + 1)
    assert (late.fired_at, late.next_at, late.last_error) == (now - 100 * minute, now + minute, None)
    early = fired(cron(next_at=now + minute), now, "why")
    assert (early.fired_at, early.next_at, early.last_error) == (now + minute, now + 2 * minute, "why")


def test_a_patch_leaves_alone_what_it_does_not_name() -> None:
    before = cron(payload=b'{"a":1}', timezone=ROME, end_time=5)
    after = changed(before, CronPatch(payload={"b": 2}), 7)
    assert (after.timezone, after.end_time, after.payload, after.revision) == (ROME, 5, b'{"a":1,"b":2}', 2)
    cleared = changed(before, CronPatch(timezone=None, end_time=None), 7)
    assert (cleared.timezone, cleared.end_time) == (None, None)


def test_a_firing_has_one_run_id_whoever_makes_it() -> None:
    moment = at("2027-01-01T00:00:00+00:00")
    one = Firing("o", "c", moment, 1, moment + 5)
    again = Firing("o", "c", moment, 2, moment + 999)
    assert one.run_id == again.run_id
    others = [Firing("p", "c", moment, 1, 0), Firing("o", "d", moment, 1, 0), Firing("o", "c", moment + 1, 1, 0)]
    assert len({one.run_id, *(other.run_id for other in others)}) == 4
    made = UUID(one.run_id)
    assert (made.version, made.variant, made.int >> 80) == (7, "specified in RFC 4122", moment // 1000)
