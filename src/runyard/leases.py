"""The lease of this server's worker, and those of others: one is renewed, what dead workers executed is recovered.

Only where several servers share a database. Nothing that is written depends on what is done here: every write of an
attempt is fenced by the attempt's own lease. Who is late here finds its attempts refused, and executes again what it
claims from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from runyard.clock import Clock
from runyard.errors import RunyardError
from runyard.storage.contract import STORAGE_PATIENCE, Storage
from runyard.telemetry import Telemetry

RENEWALS = 3
"""How often a lease is renewed in its time: two renewals may fail."""
RECOVERY = 2.0
"""Seconds between two looks for workers that are not alive any more."""


class Leases:
    """Times are seconds. `lease` is None where nothing is executed here: then others are looked after only."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        telemetry: Telemetry,
        lease: float | None,
        agents: Sequence[str],
        retention: float,
        doubt: Callable[[], None],
    ) -> None:
        """`doubt` is called when what executes here may have been given to others."""
        self._storage = storage
        self._clock = clock
        self._telemetry = telemetry
        self._lease = lease
        self._agents = agents
        self._retention = int(retention * 1e6)
        self._doubt = doubt
        self._away = False
        """Whether the database could not be reached when it was looked at last."""
        self._loops: list[asyncio.Task[None]] = []
        self._renewed_at = 0
        """The last time, by our clock, at which a renewal was asked for that came about."""

    @property
    def trouble(self) -> str | None:
        """Why others may have been given what executes here; None while the lease holds, and where there is none."""
        if self._lease is None or not self._loops:
            return None
        late = (self._clock.now() - self._renewed_at) / 1e6
        return None if late <= self._lease else f"the worker's lease is over: it was not renewed for {late:.0f} s"

    async def take_over(self) -> None:
        """At the start: what was left executing by whoever is not alive."""
        if self._lease is not None:
            await self._join(self._lease)
        await self.recover_once()

    async def _join(self, lease: float) -> None:
        asked_at = self._clock.now()
        await self._storage.join(lease, self._agents)
        self._renewed_at = asked_at

    async def recover_once(self) -> None:
        """Puts back in line, or ends, what executes on workers that are not alive."""
        now = self._clock.now()
        recovered = await self._storage.recover(now, now + self._retention)
        if recovered.requeued or recovered.lost:
            self._telemetry.tell("recovered", requeued=len(recovered.requeued), lost=len(recovered.lost))

    async def look_once(self) -> None:
        """The same, but not right after the database was away: nobody could renew meanwhile, and those who are alive do
        it now."""
        if not self._away:
            await self.recover_once()
        elif await self._storage.trouble() is None:
            self._away = False

    async def renew_once(self) -> None:
        """Renews the lease. Where it has ended, another begins, and everything that executes here is in doubt."""
        assert self._lease is not None  # nobody renews what there is not
        asked_at = self._clock.now()
        if await self._storage.renew(self._lease):
            self._renewed_at = asked_at
        else:
            await self._join(self._lease)
            self._telemetry.tell("worker was taken for dead")
            self._doubt()

    def start(self) -> None:
        """Begins to renew and to look, where the database is shared."""
        if not self._storage.shared:
            return
        if self._lease is not None:
            self._repeat(self._lease / RENEWALS, self.renew_once, self._not_renewed)
        self._repeat(RECOVERY, self.look_once, self._not_recovered)

    async def stop(self) -> None:
        """Nothing executes here any more."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()
        if self._lease is not None:
            try:
                await self._storage.leave()
            except RunyardError as error:
                self._not_renewed(error)  # it ends by itself

    def _not_renewed(self, error: Exception) -> None:
        self._telemetry.tell("lease not renewed", why=str(error) or repr(error))

    def _not_recovered(self, error: Exception) -> None:
        self._away = True
        self._telemetry.tell("not recovered", why=str(error) or repr(error))

    def _repeat(
        self, seconds: float, once: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[Exception], None]
    ) -> None:
        async def for_ever() -> None:
            wait = seconds
            while True:
                await self._clock.sleep(wait)
                wait = seconds
                try:
                    await once()
                except Exception as error:  # a fault of ours must not end the lease either
                    failed(error)
                    wait = min(seconds, STORAGE_PATIENCE)

        self._loops.append(asyncio.get_running_loop().create_task(for_ever()))
