"""The verbs of crons, each inside one transaction."""

from __future__ import annotations

from typing import Any

import msgspec

from runyard.crons import Cron, CronFilter, CronPatch, Firing, changed, fired
from runyard.errors import Conflict, cron_not_found
from runyard.storage.verbs.threads import visible_thread
from runyard.storage.verbs.transaction import Reads, Transaction

_encode = msgspec.json.Encoder().encode


async def create_cron(t: Transaction, cron: Cron) -> Cron:
    if cron.thread_id is not None:
        await visible_thread(t, cron.owner, cron.thread_id)
    await t.run("insert_cron", (*_row(cron).values(),))
    return cron


def _row(cron: Cron) -> dict[str, Any]:
    return {**msgspec.structs.asdict(cron), "enabled": int(cron.enabled)}


async def patch_cron(t: Transaction, owner: str, cron_id: str, patch: CronPatch, now: int) -> Cron:
    cron = changed(await found_cron(t, owner, cron_id), patch, now)
    await _change(t, cron)
    return cron


async def _change(t: Transaction, cron: Cron) -> None:
    unchanged = ("assistant_id", "thread_id", "created_at")
    await t.run("change_cron", {name: value for name, value in _row(cron).items() if name not in unchanged})


async def delete_cron(t: Transaction, owner: str, cron_id: str) -> None:
    if await t.one("delete_cron", (owner, cron_id)) is None:
        raise cron_not_found(cron_id)


async def found_cron(t: Reads, owner: str, cron_id: str) -> Cron:
    """Raises `NotFound`."""
    row = await t.one("cron", (owner, cron_id))
    if row is None:
        raise cron_not_found(cron_id)
    return _cron_of(row)


def _cron_of(row: tuple[Any, ...]) -> Cron:
    values = list(row)
    values[7] = bool(row[7])
    return Cron(*values)


async def firing_cron(t: Transaction, firing: Firing) -> Cron:
    """The cron of a firing that is still to be had.

    Raises:
        Conflict: firing_gone, where the firing was somebody else's, or the cron is not what it was.
    """
    row = await t.one("cron", (firing.owner, firing.cron_id))
    cron = None if row is None else _cron_of(row)
    if cron is None or cron.next_at != firing.at or cron.revision != firing.revision:
        raise Conflict(
            f"the firing of cron {firing.cron_id} is not to be had any more",
            code="firing_gone",
            cron_id=firing.cron_id,
        )
    return cron


async def move_on(t: Transaction, cron: Cron, now: int, error: str | None = None) -> None:
    """Behind its firing, which has made a run, or none for a reason."""
    await _change(t, fired(cron, now, error))


async def pass_over(t: Transaction, firing: Firing, error: str) -> None:
    await move_on(t, await firing_cron(t, firing), firing.now, error)


async def due_crons(t: Reads, now: int, behind: Cron | None, limit: int) -> list[Cron]:
    values = {"now": now, "limit": limit, "at": -1, "owner": "", "cron_id": ""}
    if behind is not None:
        values |= {"at": behind.next_at, "owner": behind.owner, "cron_id": behind.cron_id}
    return [_cron_of(row) for row in await t.all("due_crons", values)]


async def search_crons(t: Reads, owner: str, query: CronFilter) -> list[Cron]:
    values = {
        **_asked(owner, query), "sort_by": query.sort_by, "descending": query.descending, "limit": query.limit,
        "offset": query.offset,
    }  # fmt: skip
    return [_cron_of(row) for row in await t.all("search_crons", values)]


async def count_crons(t: Reads, owner: str, query: CronFilter) -> int:
    return (await t.one("count_crons", _asked(owner, query)))[0]


def _asked(owner: str, query: CronFilter) -> dict[str, Any]:
    return {
        "owner": owner,
        "assistant_id": query.assistant_id,
        "thread_id": query.thread_id,
        "enabled": None if query.enabled is None else int(query.enabled),
        "metadata": None if query.metadata is None else _encode(query.metadata),
    }
