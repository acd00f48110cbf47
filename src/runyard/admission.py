"""How many runs may wait: a cap on pending runs, of the server and of each owner, that costs nothing while it is far.

Nobody counts at each creation. A ledger keeps an upper bound: what was counted last and everything that was let in
since. Only when the bound reaches the cap is the database asked again, once for all who come meanwhile, and not more
often than every `RECOUNT` seconds. What executes and goes back in line is not asked: the cap may be passed by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runyard.clock import Clock
from runyard.errors import TooManyRuns

RECOUNT = 0.25
"""Seconds between two countings while the cap is reached: who is refused meanwhile is told to come again."""


class Ledger:
    """An upper bound of what waits, against a cap. `count` asks the database, which knows what has been committed."""

    def __init__(self, cap: int, whose: str, count: Callable[[], Awaitable[int]], clock: Clock) -> None:
        self._cap = cap
        self._whose = whose
        self._count = count
        self._clock = clock
        self._bound = 0
        self._uncommitted = 0
        self._counted_at: int | None = None
        self._counting: asyncio.Task[None] | None = None

    async def admit(self) -> None:
        """Lets one more run wait; `settle` has to follow.

        Raises:
            TooManyRuns: as many wait as may.
        """
        if self._counted_at is None or self._bound >= self._cap:
            await self._recount()
        if self._bound >= self._cap:
            raise TooManyRuns(
                f"{self._bound} runs are pending, and {self._cap} are the most that {self._whose} may have; send the "
                "request again when some have begun",
                pending=self._bound,
                limit=self._cap,
            )
        self._bound += 1
        self._uncommitted += 1

    def settle(self, waits: bool) -> None:
        """The creation of an admitted run is over, and whether the run waits."""
        self._uncommitted -= 1
        if not waits:
            self._bound -= 1

    async def _recount(self) -> None:
        now = self._clock.now()
        if self._counting is None:
            if self._counted_at is not None and now - self._counted_at < RECOUNT * 1e6:
                return
            self._counting = asyncio.get_running_loop().create_task(self._count_anew(now))
        # Shielded: the caller may be cancelled (its client left), the others still want the figure.
        await asyncio.shield(self._counting)

    async def _count_anew(self, now: int) -> None:
        try:
            # What is being created now may be in the figure already, or not yet: it is added, to stay above the truth.
            before = self._bound - self._uncommitted
            counted = await self._count()
            self._bound += counted - before
            self._counted_at = now
        finally:
            self._counting = None


class Admission:
    """The ledgers of one server: one for all runs, one for each owner that creates some."""

    def __init__(
        self,
        *,
        count: Callable[[str | None], Awaitable[int]],
        clock: Clock,
        most: int,
        most_of_owner: int,
    ) -> None:
        """`count` gives the number of pending runs of an owner, or of all (None)."""
        self._count = count
        self._clock = clock
        self._most_of_owner = most_of_owner
        self._all = Ledger(most, "this server", lambda: count(None), clock)
        self._of_owner: dict[str, Ledger] = {}

    async def admit(self, owner: str) -> Callable[[bool], None]:
        """Lets one more run of the owner wait; what it gives is to be called when the creation is over, with whether
        the run waits.

        Raises:
            TooManyRuns: as many wait as may, in all or of this owner.
        """
        mine = self._of_owner.get(owner)
        if mine is None:
            mine = Ledger(self._most_of_owner, f"owner {owner!r}", lambda: self._count(owner), self._clock)
            self._of_owner[owner] = mine
        await mine.admit()
        try:
            await self._all.admit()
        except BaseException:
            mine.settle(False)
            raise

        def settle(waits: bool) -> None:
            mine.settle(waits)
            self._all.settle(waits)

        return settle
