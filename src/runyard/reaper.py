"""Retention: removing what has expired, in small batches, now and then."""

from __future__ import annotations

import asyncio

from runyard.clock import Clock
from runyard.errors import RunyardError
from runyard.storage.contract import Retention, Storage
from runyard.telemetry import Telemetry


class Reaper:
    """Sweeps once per interval. Times are seconds."""

    def __init__(
        self, *, storage: Storage, clock: Clock, telemetry: Telemetry, interval: float, keys_kept: float
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._telemetry = telemetry
        self._interval = interval
        self._keys_kept = int(keys_kept * 1e6)
        self._loop: asyncio.Task[None] | None = None

    async def run_once(self) -> Retention:
        """One sweep; what it removed."""
        now = self._clock.now()
        return await self._storage.purge(now, keys_before=now - self._keys_kept)

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
            except Exception as error:
                # Nobody else would ever sweep: whatever it was, it is tried again.
                self._telemetry.tell(
                    "sweep failed", why=error.message if isinstance(error, RunyardError) else repr(error)
                )
            else:
                self._telemetry.tell("swept", runs=removed.runs, threads=removed.threads, items=removed.items)
