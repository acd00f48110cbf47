"""The outbox: what webhooks are told, and the verbs of a delivery's life, each inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from runyard.checkpoints import Asked, Question, State, fold, shown
from runyard.deliveries import Delivery, DeliveryFilter, Notice, Try, host_of, id_of
from runyard.errors import delivery_not_found
from runyard.runs import Run
from runyard.storage.contract import Taken
from runyard.storage.verbs.rows import delivery_of, notice_of, notice_values
from runyard.storage.verbs.transaction import Reads, Transaction

_encode = msgspec.json.Encoder().encode
_asked = msgspec.json.Decoder(Asked)


async def announce(t: Transaction, run: Run, final: State | None) -> None:
    """Puts the end of a run that has a webhook into the outbox, with a snapshot of all that is told. `final` is the
    state that the run left, where the caller has it at hand."""
    url = run.asked_for().webhook
    assert url is not msgspec.UNSET
    assert run.ended_at is not None
    number = (await t.one(
        "insert_delivery",
        {
            "delivery_id": id_of(run.run_id), "owner": run.owner, "run_id": run.run_id, "thread_id": run.thread_id,
            "url": url, "host": host_of(url), "now": run.ended_at,
        },
    ))[0]  # fmt: skip
    state = await _state_after(t, run) if final is None or run.outcome == "rolled_back" else final
    await t.run("insert_notice", notice_values(number, run, shown(state), await _open_questions(t, run)))
    t.outbox = True


async def _state_after(t: Transaction, run: Run) -> State:
    """What those who wait for the run would be told."""
    at = run.prior_head if run.outcome == "rolled_back" else run.values_at
    return {} if at is None else fold(await t.all("chain", (at,)))


async def _open_questions(t: Transaction, run: Run) -> list[Question]:
    if run.outcome != "asked":
        return []
    row = await t.one("asked_of", (run.last_checkpoint,))
    return [] if row is None or row[0] is None else _asked.decode(row[0]).questions


async def take_deliveries(
    t: Transaction, now: int, until: int, limit: int, per_host: int, busy: Mapping[str, int]
) -> Taken:
    taken: list[Delivery] = []
    next_due: int | None = None
    for host, due_at in await t.all("due_hosts"):
        room = per_host - busy.get(host, 0)
        if room <= 0:
            continue  # a place of this host that becomes free is told to the sender by itself
        if due_at > now:
            next_due = due_at
            break  # hosts come in the order of their first delivery
        values = {"host": host, "now": now, "until": until, "limit": min(room, limit - len(taken))}
        taken += map(delivery_of, await t.all("take_deliveries", values))
        if len(taken) == limit:
            break
    return Taken(taken, next_due)


async def settle_delivery(t: Transaction, delivery: Delivery, tried: Try, now: int, delivered: bool) -> bool:
    values = {
        "delivery_id": delivery.delivery_id, "lease": delivery.lease, "status": tried.status, "error": tried.error,
        "delivered_at": now if delivered else None, "parked_at": None if delivered else now,
    }  # fmt: skip
    return await t.one("settle_delivery", values) is not None


async def retry_delivery(t: Transaction, delivery: Delivery, tried: Try, due_at: int) -> bool:
    values = {
        "delivery_id": delivery.delivery_id, "lease": delivery.lease, "status": tried.status, "error": tried.error,
        "due_at": due_at,
    }  # fmt: skip
    return await t.one("retry_delivery", values) is not None


async def release_delivery(t: Transaction, delivery: Delivery, now: int) -> bool:
    return await t.one("release_delivery", (now, delivery.delivery_id, delivery.lease)) is not None


async def resend_delivery(t: Transaction, owner: str, delivery_id: str, now: int) -> Delivery:
    await t.run("resend_delivery", {"delivery_id": delivery_id, "owner": owner, "now": now})
    t.outbox = True
    return await found_delivery(t, owner, delivery_id)


async def found_delivery(t: Reads, owner: str, delivery_id: str) -> Delivery:
    """Raises `NotFound`."""
    row = await t.one("delivery", (delivery_id, owner))
    if row is None:
        raise delivery_not_found(delivery_id)
    return delivery_of(row)


async def found_notice(t: Reads, owner: str, delivery_id: str) -> Notice:
    """Raises `NotFound`."""
    row = await t.one("notice", (delivery_id, owner))
    if row is None:
        raise delivery_not_found(delivery_id)
    return notice_of(row)


async def search_deliveries(t: Reads, owner: str, query: DeliveryFilter) -> list[Delivery]:
    within = {"within": None if query.within is None else _encode(query.within)}
    if query.run_id is not None:
        found = map(delivery_of, await t.all("delivery_of_run", {"owner": owner, "run_id": query.run_id, **within}))
        wanted = [delivery for delivery in found if query.status in (None, delivery.status)]
        return wanted[query.offset : query.offset + query.limit]
    name = "search_deliveries" if query.status is None else f"search_deliveries_{query.status}"
    values = {"owner": owner, "limit": query.limit, "offset": query.offset, **within}
    return [*map(delivery_of, await t.all(name, values))]


async def purge_deliveries(t: Transaction, before: int) -> int:
    """Removes one batch; 0 when nothing is left."""
    rows = await t.all("settled_deliveries", (before,))
    for (number,) in rows:
        await t.run("delete_notice", (number,))
        await t.run("delete_delivery", (number,))
    return len(rows)
