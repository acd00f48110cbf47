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
        self._loops: list[asyncio.Task[None]] = []

    async def take_over(self) -> None:
        """At the start: what was left executing by whoever is not alive."""
        if self._lease is not None:
            await self._storage.join(self._lease, self._agents)
        await self.recover_once()

    async def recover_once(self) -> None:
        """Puts back in line, or ends, what executes on workers that are not alive."""
        now = self._clock.now()
        recovered = await self._storage.recover(now, now + self._retention)
        if recovered.requeued or recovered.lost:
            self._telemetry.tell("recovered", requeued=len(recovered.requeued), lost=len(recovered.lost))

    async def renew_once(self) -> None:
        """Renews the lease. Where it has ended, another begins, and everything that executes here is in doubt."""
        assert self._lease is not None  # nobody renews what there is not
        if not await self._storage.renew(self._lease):
            await self._storage.join(self._lease, self._agents)
            self._telemetry.tell("worker was taken for dead")
            self._doubt()

    def start(self) -> None:
        """Begins to renew and to look, where the database is shared."""
        if not self._storage.shared:
            return
        if self._lease is not None:
            self._repeat(self._lease / RENEWALS, self.renew_once, self._not_renewed)
        self._repeat(RECOVERY, self.recover_once, self._not_recovered)

    async def stop(self) -> None:
        """Nothing executes here any more."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        if self._lease is not None:
            try:
                await self._storage.leave()
            except RunyardError as error:
                self._not_renewed(error)  # it ends by itself

    def _not_renewed(self, error: Exception) -> None:
        self._telemetry.tell("lease not renewed", why=str(error) or repr(error))

    def _not_recovered(self, error: Exception) -> None:
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
