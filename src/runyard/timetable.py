"""The crons of an owner: what makes them, changes them and ends them. That they fire is the scheduler's."""

from __future__ import annotations

from typing import Any

import msgspec

from runyard.clock import Clock
from runyard.crons import ACTING, Cron, CronFilter, CronPatch, OnRunCompleted, changed, next_firing, scheduled
from runyard.errors import InvalidInput
from runyard.hints.contract import Hints
from runyard.lifecycle import Lifecycle
from runyard.scheduler import Wish
from runyard.storage.contract import Storage

_encode = msgspec.json.Encoder().encode


class CreateCron(msgspec.Struct, frozen=True, kw_only=True):
    """A client's wish for a cron; times are microseconds since the epoch."""

    assistant_id: str
    schedule: str
    payload: dict[str, Any]
    thread_id: str | None = None
    timezone: str | None = None
    end_time: int | None = None
    enabled: bool = True
    on_run_completed: OnRunCompleted | None = None
    metadata: dict[str, Any] = {}
    acting: dict[str, Any] | None = None
    """See `Cron.acting`."""


class Timetable:
    """The verbs. `wish` says what a cron's runs are asked for."""

    def __init__(self, *, storage: Storage, verbs: Lifecycle, hints: Hints, clock: Clock, wish: Wish) -> None:
        self._storage = storage
        self._verbs = verbs
        self._hints = hints
        self._clock = clock
        self._wish = wish

    async def create(self, owner: str, asked: CreateCron) -> Cron:
        """A cron whose runs can be created, as far as that can be told now.

        Raises:
            NotFound: thread, assistant.
            InvalidInput: schedule, time zone, or what its runs are asked for.
        """
        cron = self._planned(owner, asked)
        await self._check(cron, cron.created_at)
        created = await self._storage.create_cron(scheduled(cron, cron.created_at))
        self._hints.publish("crons")
        return created

    async def check(self, owner: str, asked: CreateCron) -> None:
        """Refuses what `create` would refuse, whether its thread is there or not.

        Raises:
            NotFound, InvalidInput: as `create`.
        """
        cron = self._planned(owner, asked)
        await self._check(cron, cron.created_at)

    def _planned(self, owner: str, asked: CreateCron) -> Cron:
        now = self._clock.now()
        payload = asked.payload if asked.acting is None else {**asked.payload, ACTING: asked.acting}
        return Cron(
            cron_id=self._clock.new_id(), owner=owner, assistant_id=asked.assistant_id, thread_id=asked.thread_id,
            schedule=asked.schedule, timezone=asked.timezone, end_time=asked.end_time, enabled=asked.enabled,
            on_run_completed=asked.on_run_completed, created_at=now, updated_at=now, payload=_encode(payload),
            metadata=_encode(asked.metadata),
        )  # fmt: skip

    async def _check(self, cron: Cron, now: int, *, run: bool = True) -> None:
        if next_firing(cron.schedule, cron.timezone, now) is None:
            raise InvalidInput(f"schedule is {cron.schedule[:80]!r}: it never comes", field="schedule")
        if run:
            self._verbs.check_run(await self._wish(cron))

    async def get(self, owner: str, cron_id: str) -> Cron:
        """Raises `NotFound`."""
        return await self._storage.cron(owner, cron_id)

    async def search(self, owner: str, query: CronFilter) -> list[Cron]:
        """In the query's order."""
        return await self._storage.search_crons(owner, query)

    async def count(self, owner: str, query: CronFilter) -> int:
        """How many a search would find, whatever its limit and offset."""
        return await self._storage.count_crons(owner, query)

    async def patch(self, owner: str, cron_id: str, patch: CronPatch) -> Cron:
        """Changes what is named; the next firing is planned anew.

        Raises:
            NotFound.
            InvalidInput: as `create`; `on_run_completed` of a cron on a thread.
        """
        now = self._clock.now()
        cron = await self._storage.cron(owner, cron_id)
        if cron.thread_id is not None and patch.on_run_completed is not msgspec.UNSET:
            raise InvalidInput(
                f"on_run_completed: cron {cron_id} is on a thread, which is kept", field="on_run_completed"
            )
        # Whatever becomes of its agent, a cron can be switched off.
        await self._check(changed(cron, patch, now), now, run=bool(patch.payload) or patch.enabled is True)
        patched = await self._storage.patch_cron(owner, cron_id, patch, now)
        self._hints.publish("crons")
        return patched

    async def delete(self, owner: str, cron_id: str) -> None:
        """Runs that it has made go on. Raises `NotFound`."""
        await self._storage.delete_cron(owner, cron_id)
