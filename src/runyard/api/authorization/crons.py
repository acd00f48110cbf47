"""Crons as one request may use them. A cron makes its runs for who made it; one on a thread takes what a run there
would."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from runyard.api.authorization.closed import Closed
from runyard.api.authorization.filters import Pattern, shows
from runyard.api.authorization.guard import Guard, as_uuid, changed, made_under
from runyard.api.authorization.threads import within
from runyard.crons import Cron, CronFilter, CronPatch
from runyard.errors import Forbidden, cron_not_found, thread_not_found
from runyard.timetable import CreateCron, Timetable

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class GuardedTimetable(Closed):
    """`Timetable`, for one request."""

    def __init__(self, guard: Guard, timetable: Timetable) -> None:
        self._guard = guard
        self._timetable = timetable

    async def create(self, owner: str, asked: CreateCron) -> Cron:
        guard = self._guard
        payload = {**asked.payload, "assistant_id": asked.assistant_id, "metadata": dict(asked.metadata)}
        value = {
            "payload": payload, "schedule": asked.schedule, "cron_id": None, "thread_id": as_uuid(asked.thread_id),
            "user_id": guard.user.identity, "end_time": asked.end_time, "metadata": payload["metadata"],
        }  # fmt: skip
        pattern = await guard.ask("crons", "create", value)
        metadata = made_under(_stamped(value, asked.metadata), pattern)
        bound: Pattern | None = None
        if asked.thread_id is not None:
            run = {
                "thread_id": as_uuid(asked.thread_id), "assistant_id": as_uuid(asked.assistant_id), "run_id": None,
                "metadata": dict(metadata), "kwargs": asked.payload, "if_not_exists": "reject",
            }  # fmt: skip
            bound = await guard.ask("threads", "create_run", run)
            if not await guard.shows(owner, asked.thread_id, bound):
                raise thread_not_found(asked.thread_id)
        acting = msgspec.to_builtins({"acting": guard.acting, "within": bound})
        asked = msgspec.structs.replace(asked, metadata=metadata, acting=acting)
        return await self._timetable.create(owner, asked)

    async def check(self, owner: str, asked: CreateCron) -> None:
        await self._timetable.check(owner, asked)

    async def get(self, owner: str, cron_id: str) -> Cron:
        return await self._seen(owner, cron_id, await self._guard.ask_once("crons", "read", cron_id=cron_id))

    async def _seen(self, owner: str, cron_id: str, pattern: Pattern | None) -> Cron:
        cron = await self._timetable.get(owner, cron_id)
        if not shows(_decode(cron.metadata), pattern):
            raise cron_not_found(cron_id)
        return cron

    async def search(self, owner: str, query: CronFilter) -> list[Cron]:
        asked = await self._searched(query)
        return [] if asked is None else await self._timetable.search(owner, asked)

    async def count(self, owner: str, query: CronFilter) -> int:
        asked = await self._searched(query)
        return 0 if asked is None else await self._timetable.count(owner, asked)

    async def _searched(self, query: CronFilter) -> CronFilter | None:
        value = {
            "assistant_id": as_uuid(query.assistant_id), "thread_id": as_uuid(query.thread_id), "limit": query.limit,
            "offset": query.offset, "metadata": dict(query.metadata or {}),
        }  # fmt: skip
        pattern = await self._guard.ask_search("crons", value)
        metadata = within(changed(value, query.metadata or {}), pattern)
        return None if metadata is None else msgspec.structs.replace(query, metadata=metadata or query.metadata)

    async def patch(self, owner: str, cron_id: str, patch: CronPatch) -> Cron:
        payload = {**patch.payload, "metadata": dict(patch.metadata)}
        value: dict[str, Any] = {
            "cron_id": as_uuid(cron_id), "payload": payload, "metadata": payload["metadata"],
            "schedule": None if patch.schedule is msgspec.UNSET else patch.schedule,
        }  # fmt: skip
        pattern = await self._guard.ask("crons", "update", value)
        metadata = _stamped(value, patch.metadata)
        cron = await self._seen(owner, cron_id, pattern)
        if not shows({**_decode(cron.metadata), **metadata}, pattern):
            raise Forbidden("metadata: with these, those who changed the cron could not see it", field="metadata")
        return await self._timetable.patch(owner, cron_id, msgspec.structs.replace(patch, metadata=metadata))

    async def delete(self, owner: str, cron_id: str) -> None:
        await self._seen(owner, cron_id, await self._guard.ask_once("crons", "delete", cron_id=cron_id))
        await self._timetable.delete(owner, cron_id)


def _stamped(value: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The metadata as a handler left them: it may have put them beside the payload, or into it."""
    beside, payload = changed(value, before), value.get("payload")
    inside = changed(cast("dict[str, Any]", payload), before) if isinstance(payload, dict) else beside
    return {**inside, **beside}
