"""Deliveries: what is told to a webhook when its run has ended. Their data, and the pure rules of trying again.

pending --2xx--> delivered
   |  '--anything else--> pending, due again later and later
   '--410, an address that is not allowed, or its time is up--> parked
delivered or parked --re-sent--> pending
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from runyard.checkpoints import Question, State
from runyard.runs import Run

Status = Literal["pending", "delivered", "parked"]
STATUSES: tuple[Status, ...] = ("pending", "delivered", "parked")

FIRST_PAUSE = 5.0
"""Seconds between a delivery's first try and its second."""
FACTOR = 3.0
"""How much longer each pause is than the one before."""
LONGEST_PART = 6
"""The longest pause is the time of trying divided by this: however long it is, its end is not one long silence."""
JITTER = 0.2
"""The part of a pause by which chance makes it longer or shorter, so that many do not come back as one."""
GONE = 410
"""The status by which a receiver says that it wants no more of it."""


class Delivery(msgspec.Struct, frozen=True):
    """One webhook on its way, or there. Times are microseconds since the epoch.

    `delivery_id` is the message's id with the receiver, the same on every try.
    """

    delivery_id: str
    owner: str
    run_id: str
    thread_id: str
    url: str
    host: str
    created_at: int
    began_at: int
    """When trying began: when the run ended, or when the delivery was re-sent last."""
    due_at: int | None
    """When it is tried next; while a try is under way, when its lease ends. None: it is tried no more."""
    lease: int
    """The fencing number of the last try: what came of a try is recorded only by who holds it."""
    sending: bool
    attempts: int
    """How many tries have begun since `began_at`."""
    attempted_at: int | None = None
    delivered_at: int | None = None
    parked_at: int | None = None
    last_status: int | None = None
    """The HTTP status of the last answer."""
    last_error: str | None = None
    """Why the last try was no success, in words."""

    @property
    def status(self) -> Status:
        if self.delivered_at is not None:
            return "delivered"
        return "pending" if self.parked_at is None else "parked"


class Notice(msgspec.Struct, frozen=True):
    """What a delivery tells: the run as it ended, the state it left, and its open questions. A snapshot, for the run
    itself may be gone before it is delivered."""

    run: Run
    state: State
    questions: list[Question]


class DeliveryFilter(msgspec.Struct, frozen=True):
    """What a search for deliveries asks for. `within` is in the metadata of their runs' threads."""

    status: Status | None = None
    run_id: str | None = None
    within: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0


class Try(msgspec.Struct, frozen=True):
    """What came of one try: the status of an answer, or why there was none."""

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None
    """Seconds that the receiver asked to be left alone for."""
    final: bool = False
    """Another try cannot end otherwise."""


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a delivery after a try; pending ones are due again at `due_at`."""

    status: Status
    due_at: int | None = None


def id_of(run_id: str) -> str:
    """The id of the delivery that tells of a run's end: a run ends once, so its own id is enough."""
    return f"msg_{run_id.replace('-', '')}"


def host_of(url: str) -> str:
    """Whom a valid URL reaches, as far as its text says: deliveries to one host share its places."""
    return (urlsplit(url).hostname or "").rstrip(".")


def verdict(delivery: Delivery, tried: Try, now: int, *, span: float, chance: float) -> Verdict:
    """What becomes of a delivery. It is tried for `span` seconds from `began_at`, the last time at their end;
    `chance` is a random number of [0, 1)."""
    if tried.error is None:
        return Verdict("delivered")
    deadline = delivery.began_at + int(span * 1e6)
    if tried.final or tried.status == GONE or now >= deadline:
        return Verdict("parked")
    wait = pause(delivery.attempts, span, chance)
    if tried.retry_after is not None:
        # A receiver may ask for more patience than ours, up to our longest; never for less.
        wait = max(wait, min(tried.retry_after, span / LONGEST_PART))
    return Verdict("pending", min(now + int(wait * 1e6), deadline))


def pause(attempts: int, span: float, chance: float) -> float:
    """Seconds to wait after the n-th try (from 1) of a delivery that is tried for `span` seconds."""
    grown = FIRST_PAUSE * FACTOR ** min(attempts - 1, 30)
    return min(grown, span / LONGEST_PART) * (1 - JITTER + 2 * JITTER * chance)


def retry_after(header: str | None, now: int) -> float | None:
    """The seconds that a `Retry-After` header asks for, in either of its forms; None where it says nothing."""
    if header is None:
        return None
    if header.isascii() and header.isdigit():
        return float(header[:9])
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.fromtimestamp(now / 1e6, UTC)).total_seconds())
