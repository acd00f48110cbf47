"""How many runs may wait: a cap on pending runs, of all servers together and of each owner, that costs nothing while it
is far.

Nobody counts at each creation. A ledger keeps an upper bound: what was counted last and everything that was let in
since. Only when the bound reaches the cap is the database asked again, once for all who come meanwhile, and not more
often than every `RECOUNT` seconds. What executes and goes back in line is not asked: the cap may be passed by that.

Where other servers let runs in too, a count says less. Then a server lets in a part of what was free, and asks again;
and it asks, beside its work, when it has not for `FRESH` seconds. The cap may be passed there by what the others let in
since they counted last: by `1 / PART` of what was free then for each of them, and what they have under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from runyard.clock import Clock
from runyard.errors import TooManyRuns

RECOUNT = 0.25
"""Seconds between two countings while the cap is reached: who is refused meanwhile is told to come again."""
FRESH = 1.0
"""Seconds after which a count is renewed where others let runs in too."""
PART = 8
"""There, one in so many of the places that were free is given away before the database is asked again."""
LEAST = 1000
"""But one in so many of all places at least, so that the last ones do not cost a count each."""


class Ledger:
    """An upper bound of what waits, against a cap. `count` asks the database, which knows what has been committed.
    `shared` says that others let runs in too."""

    def __init__(
        self, cap: int, whose: str, count: Callable[[], Awaitable[int]], clock: Clock, *, shared: bool = False
    ) -> None:
        self._cap = cap
        self._whose = whose
        self._count = count
        self._clock = clock
        self._shared = shared
        self._bound = 0
        self._asks_at = 0
        """The bound at which the database is asked again."""
        self._uncommitted = 0
        self._counted_at: int | None = None
        self._counting: asyncio.Task[None] | None = None

    async def admit(self) -> None:
        """Lets one more run wait; `settle` has to follow.

        Raises:
            TooManyRuns: as many wait as may.
        """
        while (self._counted_at is None or self._bound >= self._asks_at) and self._may_count():
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
        self._refresh()

    def settle(self, waits: bool) -> None:
        """The creation of an admitted run is over, and whether the run waits."""
        self._uncommitted -= 1
        if not waits:
            self._bound -= 1

    def _may_count(self) -> bool:
        if self._counted_at is None or self._counting is not None or self._bound < self._cap:
            return True
        return self._clock.now() - self._counted_at >= RECOUNT * 1e6

    async def _recount(self) -> None:
        # Shielded: the caller may be cancelled (its client left), the others still want the figure.
        await asyncio.shield(self._count_soon())

    def _count_soon(self) -> asyncio.Task[None]:
        if self._counting is None:
            self._counting = asyncio.get_running_loop().create_task(self._count_anew())
        return self._counting

    def _refresh(self) -> None:
        """Asks without waiting for it where the count is old; who comes meanwhile goes by the old one."""
        if self._shared and self._counted_at is not None and self._clock.now() - self._counted_at >= FRESH * 1e6:
            self._count_soon().add_done_callback(_passed_over)

    async def _count_anew(self) -> None:
        try:
            # What is being created now may be in the figure already, or not yet: it is added, to stay above the truth.
            before = self._bound - self._uncommitted
            counted = await self._count()
            self._bound += counted - before
            self._counted_at = self._clock.now()
            free = self._cap - self._bound
            part = max(1, free // PART, self._cap // LEAST) if self._shared else free
            self._asks_at = min(self._cap, self._bound + part)
        finally:
            self._counting = None


def _passed_over(counting: asyncio.Task[None]) -> None:
    """Nobody waits for it: where it failed, the next one asks again."""
    if not counting.cancelled():
        counting.exception()


class Admission:
    """The ledgers of one server: one for all runs, one for each owner that creates some."""

    def __init__(
        self,
        *,
        count: Callable[[str | None], Awaitable[int]],
        clock: Clock,
        most: int,
        most_of_owner: int,
        shared: bool = False,
    ) -> None:
        """`count` gives the number of pending runs of an owner, or of all (None). `shared`: see `Ledger`."""
        self._count = count
        self._clock = clock
        self._most_of_owner = most_of_owner
        self._shared = shared
        self._all = Ledger(
            most, "this server" if not shared else "the servers together", lambda: count(None), clock, shared=shared
        )
        self._of_owner: dict[str, Ledger] = {}

    async def admit(self, owner: str) -> Callable[[bool], None]:
        """Lets one more run of the owner wait; what it gives is to be called when the creation is over, with whether
        the run waits.

        Raises:
            TooManyRuns: as many wait as may, in all or of this owner.
        """
        mine = self._of_owner.get(owner)
        if mine is None:
            mine = Ledger(
                self._most_of_owner, f"owner {owner!r}", lambda: self._count(owner), self._clock, shared=self._shared
            )
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
