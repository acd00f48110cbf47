"""Threads: the unit of state, order and history. Data and pure rules."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from runyard.runs import Outcome

Status = Literal["idle", "busy", "interrupted", "error"]
SortBy = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]
"""What threads can be listed by; `state_updated_at` is when their state was made."""
Expiry = Literal["delete", "keep_latest"]
"""What becomes of a thread whose time is over: it goes, or its history is cut to the newest state."""


class Thread(msgspec.Struct, frozen=True):
    """A thread's header. `metadata` is the JSON text of an object; times are microseconds since the epoch."""

    thread_id: str
    owner: str
    created_at: int
    updated_at: int
    metadata: bytes
    status: Status
    head: str | None
    """The checkpoint that is the current state; None before the first."""
    last_seq: int
    lease: int = 0
    hidden: bool = False
    """The thread of a stateless run: absent from every thread route."""
    floor_seq: int = 0
    """Events up to this number are gone by retention."""
    asking: bool = False
    """Whether the questions of the head are open: no run has answered them or given them up."""


class Ttl(msgspec.Struct, frozen=True):
    """A thread's own time to live: microseconds from its last change on."""

    length: int
    strategy: Expiry = "delete"

    @property
    def minutes(self) -> float:
        return self.length / 60e6


class ThreadFilter(msgspec.Struct, frozen=True):
    """What a search for threads asks for; `metadata` and `values` are contained recursively. `ids`: none but these."""

    ids: tuple[str, ...] | None = None
    metadata: dict[str, Any] | None = None
    values: dict[str, Any] | None = None
    status: Status | None = None
    sort_by: SortBy = "created_at"
    descending: bool = True
    limit: int = 10
    offset: int = 0

    @property
    def in_order(self) -> bool:
        """Whether the newest come first, as they do where nothing else is asked for."""
        return self.sort_by == "created_at" and self.descending


def status_of(*, active: bool, asking: bool, last: Outcome | None) -> Status:
    """A thread's status, derived: busy with any run due or executing; else interrupted with an open question at its
    head; else error when the run that finished last failed; else idle."""
    if active:
        return "busy"
    if asking:
        return "interrupted"
    return "error" if last in ("failed", "lost", "timed_out") else "idle"


def upsert_messages(current: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages combined: one with a known id replaces it in place, any other is appended."""
    result = list(current)
    places = {message.get("id"): place for place, message in enumerate(result)}
    for message in new:
        place = places.get(message.get("id"))
        if place is None:
            places[message.get("id")] = len(result)
            result.append(message)
        else:
            result[place] = message
    return result
