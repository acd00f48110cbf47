"""Hints: "something may have changed, look again". Losing one costs latency, never truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Listener = Callable[[str], None]


class Hints(Protocol):
    """Publish and subscribe by topic. Topics: `ready` (a run can be claimed), `outbox` (a webhook is due), `run:ID`
    (look at the run again: a cancel request, an end), `thread:ID` (events were appended)."""

    async def open(self) -> None:
        """Begins; before anything is published.

        Raises:
            Unavailable: the others cannot be reached.
        """
        ...

    def publish(self, topic: str) -> None:
        """Tells every listener of `topic`, after the change it speaks of has been committed. Never blocks. The hints
        of one publisher are heard in their order; one that is on its way already need not be heard twice."""
        ...

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener(topic)`, in the loop of this call, for every hint from now on; returns the call that ends
        it: from then on the listener is not called, and a second call does nothing. A listener that raises does not
        keep the others from hearing."""
        ...

    async def close(self) -> None:
        """Ends all subscriptions; what is published from now on reaches nobody."""
        ...
