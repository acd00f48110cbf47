"""The storage as one request may use it: what the API reads and writes of it beside the verbs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from runyard.api.authorization.closed import Closed
from runyard.api.authorization.guard import Guard, as_uuid
from runyard.api.authorization.threads import searched
from runyard.checkpoints import Checkpoint, Snapshot, State
from runyard.deliveries import Delivery, DeliveryFilter, Notice
from runyard.errors import NotFound, delivery_not_found, run_not_found
from runyard.events import Event
from runyard.runs import Run
from runyard.storage.contract import Standing, Storage, ThreadSizes
from runyard.threads import Thread, ThreadFilter, Ttl


class GuardedStorage(Closed):
    """`Storage`, for one request. Items are elsewhere (`GuardedItems`)."""

    def __init__(self, guard: Guard, storage: Storage) -> None:
        self._guard = guard
        self._storage = storage

    # threads

    async def thread(self, owner: str, thread_id: str) -> Thread:
        await self._guard.read(owner, thread_id)
        return await self._storage.thread(owner, thread_id)

    async def thread_ttl(self, owner: str, thread_id: str) -> Ttl | None:
        await self._guard.read(owner, thread_id)
        return await self._storage.thread_ttl(owner, thread_id)

    async def search_threads(self, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
        asked = await searched(self._guard, query)
        return [] if asked is None else await self._storage.search_threads(owner, asked)

    async def count_threads(self, owner: str, query: ThreadFilter) -> int:
        asked = await searched(self._guard, query)
        return 0 if asked is None else await self._storage.count_threads(owner, asked)

    async def thread_sizes(self, owner: str, thread_id: str) -> ThreadSizes:
        await self._guard.read(owner, thread_id)
        return await self._storage.thread_sizes(owner, thread_id)

    async def patch_thread(
        self,
        owner: str,
        thread_id: str,
        now: int,
        *,
        metadata: dict[str, Any] | None = None,
        checkpoint: Checkpoint | None = None,
        expected_head: str | None = None,
        ttl: Ttl | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> Thread | None:
        await self._let_write(owner, thread_id)
        return await self._storage.patch_thread(
            owner, thread_id, now, metadata=metadata, checkpoint=checkpoint, expected_head=expected_head, ttl=ttl
        )

    async def prune(self, owner: str, thread_id: str, keep: Sequence[str] | None, now: int) -> None:
        await self._let_write(owner, thread_id)
        await self._storage.prune(owner, thread_id, keep, now)

    async def _let_write(self, owner: str, thread_id: str) -> None:
        if not self._guard.may_write(thread_id):
            await self._guard.write(owner, thread_id, "update")

    async def snapshot(self, owner: str, thread_id: str, checkpoint_id: str, *, undone: bool = True) -> Snapshot:
        await self._guard.read(owner, thread_id)
        return await self._storage.snapshot(owner, thread_id, checkpoint_id, undone=undone)

    async def history(
        self, owner: str, thread_id: str, *, before: str | None, limit: int, namespace: str = ""
    ) -> list[Snapshot]:
        await self._guard.read(owner, thread_id)
        return await self._storage.history(owner, thread_id, before=before, limit=limit, namespace=namespace)

    async def newest(self, owner: str, thread_id: str, namespace: str) -> Snapshot | None:
        await self._guard.read(owner, thread_id)
        return await self._storage.newest(owner, thread_id, namespace)

    async def inner_namespaces(self, owner: str, thread_id: str) -> list[str]:
        await self._guard.read(owner, thread_id)
        return await self._storage.inner_namespaces(owner, thread_id)

    async def events(
        self, owner: str, thread_id: str, *, after: int, run_id: str | None, limit: int, states: bool = True
    ) -> list[Event]:
        await self._guard.read(owner, thread_id)
        return await self._storage.events(owner, thread_id, after=after, run_id=run_id, limit=limit, states=states)

    async def last_seq(self, owner: str, thread_id: str) -> int:
        return await self._storage.last_seq(owner, thread_id) if await self._sees(owner, thread_id) else 0

    async def floor_seq(self, owner: str, thread_id: str) -> int:
        return await self._storage.floor_seq(owner, thread_id) if await self._sees(owner, thread_id) else 0

    async def _sees(self, owner: str, thread_id: str) -> bool:
        try:
            await self._guard.read(owner, thread_id)
        except NotFound:
            return False
        return True

    # runs

    async def run(self, owner: str, run_id: str) -> Run:
        run = await self._storage.run(owner, run_id)
        if not self._guard.may_read(run_id):
            try:
                await self._guard.read(owner, run.thread_id, run_id=run_id)
            except NotFound:
                raise run_not_found(run_id) from None
        return run

    async def active_run(self, owner: str, thread_id: str) -> Run | None:
        await self._guard.read(owner, thread_id)
        return await self._storage.active_run(owner, thread_id)

    # webhooks: each is its run's, and so its thread's

    async def search_deliveries(self, owner: str, query: DeliveryFilter) -> list[Delivery]:
        value: dict[str, Any] = {
            "thread_id": None, "run_id": as_uuid(query.run_id), "metadata": {}, "values": {}, "status": None,
            "limit": query.limit, "offset": query.offset,
        }  # fmt: skip
        pattern = await self._guard.ask_search("threads", value)
        return await self._storage.search_deliveries(owner, msgspec.structs.replace(query, within=pattern))

    async def delivery(self, owner: str, delivery_id: str) -> Delivery:
        return await self._delivery(owner, delivery_id, "read")

    async def notice(self, owner: str, delivery_id: str) -> Notice:
        await self._delivery(owner, delivery_id, "read")
        return await self._storage.notice(owner, delivery_id)

    async def resend_delivery(self, owner: str, delivery_id: str, now: int) -> Delivery:
        await self._delivery(owner, delivery_id, "update")
        return await self._storage.resend_delivery(owner, delivery_id, now)

    async def _delivery(self, owner: str, delivery_id: str, action: str) -> Delivery:
        delivery = await self._storage.delivery(owner, delivery_id)
        about: Mapping[str, Any] = {"thread_id": delivery.thread_id, "run_id": delivery.run_id}
        pattern = await self._guard.ask_once("threads", action, **about)
        if pattern is not None:
            there = await self._storage.metadata_of(owner, delivery.thread_id)
            # A thread that was made later has its id by chance, or by intent.
            later = there is None or there[1] > delivery.created_at
            if later or not await self._guard.shows(owner, delivery.thread_id, pattern):
                raise delivery_not_found(delivery_id)
        return delivery

    # the server

    async def standing(self, now: int) -> Standing:
        return await self._storage.standing(now)
