"""Retention: removing what has expired, in small batches, now and then."""

from __future__ import annotations

import asyncio

import msgspec

from runyard.clock import Clock
from runyard.errors import RunyardError
from runyard.storage.contract import Retention, Storage
from runyard.telemetry import Telemetry
from runyard.threads import Expiry


class Reaper:
    """Sweeps once per interval. Times are seconds; 0 keeps runs, events and threads for ever."""

    def __init__(
        self,
        *,
        storage: Storage,
        clock: Clock,
        telemetry: Telemetry,
        interval: float,
        keys_kept: float,
        deliveries_kept: float,
        runs_kept: float = 0.0,
        events_kept: float = 0.0,
        threads_kept: float = 0.0,
        threads_by: Expiry = "delete",
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._telemetry = telemetry
        self._interval = interval
        self._keys_kept = int(keys_kept * 1e6)
        self._deliveries_kept = int(deliveries_kept * 1e6)
        self._runs_kept = int(runs_kept * 1e6)
        self._events_kept = int(events_kept * 1e6)
        self._threads_kept = int(threads_kept * 1e6)
        self._threads_by: Expiry = threads_by
        self._loop: asyncio.Task[None] | None = None

    async def run_once(self) -> Retention:
        """One sweep; what it removed."""
        now = self._clock.now()
        await self._storage.purge_deliveries(now - self._deliveries_kept)
        return await self._storage.purge(
            now,
            keys_before=now - self._keys_kept,
            runs_before=_before(now, self._runs_kept),
            events_before=_before(now, self._events_kept),
            threads_before=_before(now, self._threads_kept),
            threads_by=self._threads_by,
        )

    def start(self) -> None:
        self._loop = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _sweep_for_ever(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            try:
                removed = await self.run_once()
            except RunyardError as error:
                self._telemetry.tell("sweep failed", why=error.message)
            except Exception as error:  # a fault of ours must not end retention
                self._telemetry.tell("sweep failed", error=error, why=repr(error))
            else:
                self._telemetry.tell("swept", **msgspec.structs.asdict(removed))


def _before(now: int, kept: int) -> int | None:
    return now - kept if kept else None
