"""The loop that lets crons fire: it creates the runs of all firings that have come.

Every server of a database has one. They need not agree on who does it: a firing is claimed in the transaction that
creates its run, so it makes one run, whoever is faster and whoever dies meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from runyard.clock import Clock
from runyard.crons import Cron, Firing
from runyard.errors import Conflict, RunyardError, StorageError, TooManyRuns, Unavailable
from runyard.hints.contract import MISSED, Hints
from runyard.lifecycle import CreateRun
from runyard.runs import Run
from runyard.storage.contract import STORAGE_PATIENCE, Created, Storage
from runyard.telemetry import Telemetry

Wish = Callable[[Cron], Awaitable[CreateRun]]
"""What a cron's runs are asked for, now: its assistant may be another than when the cron was made."""
Made = Callable[[Cron, Run], Awaitable[None]]
"""Told of each run that was made."""

RECHECK = 5.0
"""Seconds after which the crons are looked at without a hint (DESIGN, law 8: hints may be lost)."""
AGAIN = 1.0
"""Seconds after which a firing is tried again that could make no run now."""
PAGE = 100
"""Firings that are claimed at a time; they share commits."""


class Scheduler:
    """`create` is the verb that makes runs durable and executes them."""

    def __init__(
        self,
        *,
        storage: Storage,
        create: Callable[[str, CreateRun], Awaitable[Created]],
        wish: Wish,
        made: Made,
        hints: Hints,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._storage = storage
        self._create = create
        self._wish = wish
        self._made = made
        self._hints = hints
        self._clock = clock
        self._telemetry = telemetry
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None

    async def run_once(self) -> bool:
        """Lets all fire whose time has come; whether each is done with."""
        now = self._clock.now()
        behind: Cron | None = None
        done = True
        while True:
            page = await self._storage.due_crons(now, behind=behind, limit=PAGE)
            done = all(await asyncio.gather(*[self._fire(cron, now) for cron in page])) and done
            if len(page) < PAGE:
                return done
            behind = page[-1]

    async def _fire(self, cron: Cron, now: int) -> bool:
        """Whether the firing is done with, by a run or without one."""
        assert cron.next_at is not None
        firing = Firing(cron.owner, cron.cron_id, cron.next_at, cron.revision, now)
        about: dict[str, Any] = {"cron_id": cron.cron_id, "run_id": firing.run_id}
        try:
            if cron.end_time is not None and now > cron.end_time:
                await self._storage.pass_over(firing, "its end_time has passed before a server could let it fire")
                return True
            wish = msgspec.structs.replace(await self._wish(cron), firing=firing)
            created = await self._create(cron.owner, wish)
        except (StorageError, Unavailable, TooManyRuns) as error:
            self._telemetry.tell("cron not fired yet", why=error.message, **about)
            return False
        except RunyardError as error:
            if error.reason == "firing_gone":
                return True
            return await self._pass_over(firing, error.message, about)
        except Exception as error:  # a fault of ours: this cron waits for its next time, and holds up nobody
            return await self._pass_over(firing, "the server failed; its log says why", about, error)
        self._telemetry.tell("cron fired", **about)
        await self._tell_made(cron, created.run)
        return True

    async def _tell_made(self, cron: Cron, run: Run) -> None:
        try:
            await self._made(cron, run)
        except Exception as error:  # the run is made all the same
            self._telemetry.tell("cron's thread not labelled", error=error, cron_id=cron.cron_id, run_id=run.run_id)

    async def _pass_over(self, firing: Firing, why: str, about: dict[str, Any], error: Exception | None = None) -> bool:
        self._telemetry.tell("cron passed over", error=error, why=why, **about)
        try:
            await self._storage.pass_over(firing, why)
        except Conflict:
            pass  # somebody else was faster
        except RunyardError as failure:
            self._telemetry.tell("cron not fired yet", why=failure.message, **about)
            return False
        return True

    # the loop

    def start(self) -> None:
        """Begins to let them fire."""
        for topic in ("crons", MISSED):
            self._hints.subscribe(topic, lambda _: self._wake.set())
        self._loop = asyncio.get_running_loop().create_task(self._fire_for_ever())

    async def stop(self) -> None:
        """A firing that is under way is made, or left to the next server."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)

    async def _fire_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                patience = await self._patience() if await self.run_once() else AGAIN
            except RunyardError as error:
                self._telemetry.tell("crons not read", why=error.message)
                patience = STORAGE_PATIENCE
            except Exception as error:  # a fault of ours must not end all crons
                self._telemetry.tell("crons not read", error=error, why=repr(error))
                patience = RECHECK
            if patience > 0:
                await self._wait(patience)

    async def _patience(self) -> float:
        """Seconds until there may be something to do."""
        next_at = await self._storage.next_firing()
        return RECHECK if next_at is None else min(RECHECK, (next_at - self._clock.now()) / 1e6)

    async def _wait(self, seconds: float) -> None:
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        wake = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((timer, wake), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            wake.cancel()
