"""The lease of a worker: when it is renewed, what happens when it is not, and when others are looked after. The clock
is moved, and the storage is a list of what it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from live_server import MovableClock

from runyard.errors import Unavailable
from runyard.leases import RECOVERY, Leases
from runyard.storage.contract import STORAGE_PATIENCE, Recovered, Storage
from runyard.telemetry import Telemetry

LEASE = 6.0


class Asked:
    """A storage that writes down what it is asked for about workers."""

    def __init__(self, *, shared: bool = True) -> None:
        self.shared = shared
        self.calls: list[str] = []
        self.alive = True
        """Whether the worker's lease has not ended by the database's clock."""
        self.away = False
        self.recovered = Recovered((), ())

    def _note(self, call: str) -> None:
        if self.away:
            raise Unavailable("the database cannot be reached")
        self.calls.append(call)

    async def join(self, lease: float, agents: Sequence[str]) -> None:
        self._note(f"join {lease:g} {','.join(agents)}")
        self.alive = True

    async def renew(self, lease: float) -> bool:
        self._note(f"renew {lease:g}")
        return self.alive

    async def leave(self) -> None:
        self._note("leave")

    async def recover(self, now: int, expires_at: int) -> Recovered:
        self._note(f"recover {(expires_at - now) / 1e6:g}")
        return self.recovered

    def count(self, word: str) -> int:
        return sum(call.startswith(word) for call in self.calls)


class Case:
    def __init__(self, *, lease: float | None = LEASE, shared: bool = True) -> None:
        self.storage = Asked(shared=shared)
        self.clock = MovableClock()
        self.told: list[str] = []
        self.doubts = 0
        telemetry = Telemetry()
        telemetry.subscribe(lambda event, _: self.told.append(event))
        self.leases = Leases(
            storage=cast("Storage", self.storage),
            clock=self.clock,
            telemetry=telemetry,
            lease=lease,
            agents=["a", "b"],
            retention=90.0,
            doubt=self._doubt,
        )

    def _doubt(self) -> None:
        self.doubts += 1

    async def begin(self) -> None:
        await self.leases.take_over()
        self.leases.start()
        await settled()

    async def pass_by(self, seconds: float) -> None:
        self.clock.move(seconds)
        await settled()


async def settled() -> None:
    """Until everything that could go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


def play(story: Callable[[Case], Awaitable[None]], **of_case: Any) -> None:
    async def whole() -> None:
        case = Case(**of_case)
        try:
            await story(case)
        finally:
            case.storage.away = False
            await case.leases.stop()

    asyncio.run(whole())


def test_a_worker_joins_then_takes_over_then_renews_three_times_in_a_lease() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        assert case.storage.calls == ["join 6 a,b", "recover 90"]
        for _ in range(6):
            await case.pass_by(LEASE / 3)
        assert case.storage.count("renew 6") == 6
        assert case.storage.count("join") == 1
        assert case.leases.trouble is None

    play(story)


def test_a_renewal_that_fails_is_tried_again_at_once_and_two_cost_nothing() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        case.storage.away = True
        await case.pass_by(LEASE / 3)
        assert case.told == ["lease not renewed", "not recovered"]
        case.storage.away = False
        await case.pass_by(STORAGE_PATIENCE)
        assert case.storage.calls[-2:].count("renew 6") == 1
        assert (case.leases.trouble, case.doubts) == (None, 0)

    play(story)


def test_a_lease_that_was_not_renewed_for_its_length_is_a_trouble_until_it_is() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        case.storage.away = True
        await case.pass_by(LEASE)
        assert case.leases.trouble is None
        await case.pass_by(0.5)
        assert case.leases.trouble == "the worker's lease is over: it was not renewed for 6 s"
        case.storage.away, case.storage.alive = False, False
        await case.pass_by(STORAGE_PATIENCE)
        assert case.leases.trouble is None
        assert case.told[-1] == "worker was taken for dead"
        assert [call for call in case.storage.calls if "recover" not in call][-2:] == ["renew 6", "join 6 a,b"]
        assert case.doubts == 1

    play(story)


def test_a_renewal_counts_from_when_it_was_asked_for() -> None:
    """The database may have renewed at once, and its answer come late."""

    async def story(case: Case) -> None:
        await case.begin()
        answer = asyncio.get_running_loop().create_future()

        async def slow(lease: float) -> bool:
            return await answer

        case.storage.renew = slow
        await case.pass_by(LEASE / 3)
        await case.pass_by(LEASE)
        answer.set_result(True)
        await settled()
        assert case.leases.trouble is None
        await case.pass_by(0.5)
        assert case.leases.trouble == "the worker's lease is over: it was not renewed for 6 s"

    play(story)


def test_a_fault_of_ours_does_not_end_the_renewals() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        renew, failed = case.storage.renew, []

        async def once(lease: float) -> bool:
            failed.append(lease)
            case.storage.renew = renew
            raise ValueError("a fault")

        case.storage.renew = once
        await case.pass_by(LEASE / 3)
        await case.pass_by(STORAGE_PATIENCE)
        assert (len(failed), case.storage.count("renew")) == (1, 1)

    play(story)


def test_others_are_looked_after_all_the_time_and_what_was_found_is_told() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        await case.pass_by(RECOVERY)
        assert case.told == []
        case.storage.recovered = Recovered(("r1", "r2"), ("r3",))
        await case.pass_by(RECOVERY)
        assert case.storage.count("recover") == 3
        assert case.told == ["recovered"]

    play(story)


def test_who_executes_nothing_has_no_lease_and_looks_after_others() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        await case.pass_by(100)
        assert set(case.storage.calls) == {"recover 90"}
        assert case.leases.trouble is None
        await case.leases.stop()
        assert case.storage.count("leave") == 0

    play(story, lease=None)


def test_the_only_server_of_a_database_recovers_once_and_renews_nothing() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        await case.pass_by(100)
        assert case.storage.calls == ["join 6 a,b", "recover 90"]
        assert case.leases.trouble is None

    play(story, shared=False)


def test_a_worker_that_stops_leaves_and_does_nothing_afterwards() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        await case.leases.stop()
        assert case.storage.calls[-1] == "leave"
        await case.pass_by(100)
        assert case.storage.calls[-1] == "leave"
        assert case.leases.trouble is None

    play(story)


def test_a_worker_that_cannot_say_goodbye_stops_nevertheless() -> None:
    async def story(case: Case) -> None:
        await case.begin()
        case.storage.away = True
        await case.leases.stop()
        assert case.told == ["lease not renewed"]

    play(story)
