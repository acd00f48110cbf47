"""The outbox of webhooks: sending what is due, trying again later and later, parking what will not go.

A delivery is taken from the outbox under a lease, sent, and what came of it is recorded. Whoever dies in between leaves
it to be sent again, with the same id: receivers get each message at least once.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from runyard.clock import Clock
from runyard.deliveries import Delivery, Notice, Try, Verdict, retry_after, verdict
from runyard.errors import NotFound, RunyardError, StorageError, Unavailable, Undelivered
from runyard.hints.contract import MISSED, Hints
from runyard.outbound.contract import Letter, Outbound
from runyard.storage.contract import Storage
from runyard.telemetry import Telemetry

Render = Callable[[Notice, int], bytes]
"""The body of a message, JSON text, from what it tells and the time at which it is sent (microseconds)."""

RECHECK = 5.0
"""Seconds after which the outbox is looked at without a hint (DESIGN, law 8: hints may be lost)."""
STOPPING = 1.0
"""Seconds that tries under way have to end in when the server stops; those that have not are given back."""
STORAGE_PATIENCE = 0.5
"""Seconds between tries to record a result while the database refuses writes."""
LEASE_MARGIN = 60.0
"""Seconds by which the lease of a delivery outlasts the time limit of its try."""
HOST_PART = 4
"""One host gets this part of the places: a receiver that hangs holds up its own webhooks only."""


class Courier:
    """A loop that sends what is due, and the places in which it does. Times are seconds."""

    def __init__(
        self,
        *,
        storage: Storage,
        outbound: Outbound,
        hints: Hints,
        clock: Clock,
        telemetry: Telemetry,
        render: Render,
        retry_for: float,
        timeout: float,
        places: int,
    ) -> None:
        self._storage = storage
        self._outbound = outbound
        self._hints = hints
        self._clock = clock
        self._telemetry = telemetry
        self._render = render
        self._retry_for = retry_for
        self._lease = int((timeout + LEASE_MARGIN) * 1e6)
        self._places = places
        self._per_host = max(1, places // HOST_PART)
        self._sending: dict[asyncio.Task[None], Delivery] = {}
        self._busy: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._open = False
        self._loop: asyncio.Task[None] | None = None

    @property
    def sending(self) -> int:
        """How many deliveries are being sent now."""
        return len(self._sending)

    async def run_once(self) -> int:
        """Sends all that is due now, place by place; how many tries that were. Returns when each is recorded."""
        tries = 0
        while True:
            taken, _ = await self._take()
            tries += taken
            if not self._sending:
                return tries
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    # the loop

    def start(self) -> None:
        """Begins to send."""
        self._open = True
        for topic in ("outbox", MISSED):
            self._hints.subscribe(topic, lambda _: self._wake.set())
        self._loop = asyncio.get_running_loop().create_task(self._send_for_ever())

    async def stop(self) -> None:
        """Takes nothing more, lets what is under way end soon, and gives the rest back at no cost of a try."""
        self._open = False
        self._wake.set()
        if self._loop is not None:
            await self._loop
        if self._sending:
            timer = asyncio.get_running_loop().create_task(self._clock.sleep(STOPPING))
            everything = asyncio.gather(*self._sending, return_exceptions=True)
            await asyncio.wait((everything, timer), return_when=asyncio.FIRST_COMPLETED)
            timer.cancel()
        left = dict(self._sending)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for delivery in left.values():
            try:
                await self._storage.release_delivery(delivery, self._clock.now())
            except RunyardError:
                continue  # the next server on the database voids its lease

    async def _send_for_ever(self) -> None:
        while self._open:
            self._wake.clear()
            patience = RECHECK
            if self.sending < self._places:
                try:
                    taken, next_due = await self._take()
                except RunyardError as error:
                    self._telemetry.tell("outbox not read", why=error.message)
                else:
                    if taken:
                        continue
                    if next_due is not None:
                        patience = min(RECHECK, (next_due - self._clock.now()) / 1e6)
            if patience > 0:
                await self._wait(patience)

    async def _wait(self, seconds: float) -> None:
        """Until a hint, a place that becomes free, or the time has passed."""
        timer = asyncio.get_running_loop().create_task(self._clock.sleep(seconds))
        wake = asyncio.get_running_loop().create_task(self._wake.wait())
        try:
            await asyncio.wait((timer, wake), return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            wake.cancel()

    async def _take(self) -> tuple[int, int | None]:
        """Begins to send what is due, as far as there are places; how much that is, and when more is due."""
        now, room = self._clock.now(), self._places - self.sending
        if room <= 0:
            return 0, None
        taken = await self._storage.take_deliveries(
            now, until=now + self._lease, limit=room, per_host=self._per_host, busy=self._busy
        )
        for delivery in taken.deliveries:
            self._busy[delivery.host] += 1
            task = asyncio.get_running_loop().create_task(self._send(delivery))
            self._sending[task] = delivery
            task.add_done_callback(self._over)
        return len(taken.deliveries), taken.next_due

    def _over(self, task: asyncio.Task[None]) -> None:
        delivery = self._sending.pop(task)
        self._busy[delivery.host] -= 1
        if not self._busy[delivery.host]:
            del self._busy[delivery.host]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._telemetry.tell("delivery broke", delivery_id=delivery.delivery_id, why=repr(error))

    # one try

    async def _send(self, delivery: Delivery) -> None:
        """From the lease to the recorded result."""
        tried = await self._try(delivery)
        now = self._clock.now()
        result = verdict(delivery, tried, now, span=self._retry_for, chance=random.random())
        if await self._record(delivery, tried, result, now):
            self._tell(delivery, tried, result, (now - (delivery.attempted_at or now)) / 1e6)

    async def _try(self, delivery: Delivery) -> Try:
        now = delivery.attempted_at or 0
        try:
            notice = await self._storage.notice(delivery.owner, delivery.delivery_id)
            body = self._render(notice, now)
            reply = await self._outbound.send(Letter(delivery.url, delivery.delivery_id, now // 1_000_000, body))
        except Undelivered as error:
            return Try(error=error.message, final=error.reason == "not_allowed")
        except (StorageError, Unavailable, NotFound) as error:
            return Try(error=f"it could not be read from the outbox: {error.message}")
        except Exception as error:
            # A fault of ours: this one waits its turn like any other failure, and holds up nobody.
            self._telemetry.tell("delivery broke", delivery_id=delivery.delivery_id, why=repr(error))
            return Try(error="the server failed to send it; its log says why")
        if 200 <= reply.status <= 299:
            return Try(reply.status)
        asked = retry_after(reply.retry_after, now) if reply.status in (429, 503) else None
        return Try(reply.status, f"{delivery.host} answered {reply.status}", asked)

    async def _record(self, delivery: Delivery, tried: Try, result: Verdict, now: int) -> bool:
        """Whether the delivery was still ours."""
        while True:
            try:
                if result.due_at is not None:
                    return await self._storage.retry_delivery(delivery, tried, result.due_at)
                return await self._storage.settle_delivery(delivery, tried, now, delivered=result.status == "delivered")
            except (StorageError, Unavailable) as error:
                self._telemetry.tell("delivery not recorded yet", delivery_id=delivery.delivery_id, why=error.message)
                await self._clock.sleep(STORAGE_PATIENCE)

    def _tell(self, delivery: Delivery, tried: Try, result: Verdict, seconds: float) -> None:
        about: dict[str, Any] = {
            "delivery_id": delivery.delivery_id,
            "run_id": delivery.run_id,
            "thread_id": delivery.thread_id,
            "host": delivery.host,
            "attempt": delivery.attempts,
            "seconds": seconds,
        }
        if result.status == "delivered":
            self._telemetry.tell("webhook delivered", **about)
        elif result.status == "parked":
            self._telemetry.tell("webhook parked", why=tried.error, **about)
        else:
            self._telemetry.tell("webhook failed", why=tried.error, due_at=result.due_at, **about)
