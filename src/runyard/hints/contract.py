"""Hints: "something may have changed, look again". Losing one costs latency, never truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Listener = Callable[[str], None]

MISSED = "missed"
"""The topic of a hint that hints of other servers may have been lost: look at everything."""


class Hints(Protocol):
    """Publish and subscribe by topic.

    Topics: `ready` (a run can be claimed), `outbox` (a webhook is due), `run:ID` (look at the run again: a request to
    cancel it), `end:ID` (the run has ended), `stopped:ID` (no code of the run executes any more), `agents` (other
    agents are published), `assistants` (a default one was changed), `crons` (a cron has another next firing),
    `thread:OWNER/ID` (events were appended), and MISSED, which adapters publish.
    """

    async def open(self) -> None:
        """Begins to hear what other servers publish."""
        ...

    def publish(self, topic: str) -> None:
        """Tells every listener of `topic`, after the change it speaks of has been committed. Never blocks. The hints
        of one publisher are heard in their order; one that is on its way already need not be heard twice."""
        ...

    def tell_others(self, topics: Sequence[str]) -> None:
        """As `publish` for each topic, but nobody of this process hears it: what is told was told here already."""
        ...

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener(topic)`, in the loop of this call, for every hint from now on; returns the call that ends
        it: from then on the listener is not called, and a second call does nothing. A listener that raises does not
        keep the others from hearing."""
        ...

    async def close(self) -> None:
        """Ends all subscriptions; what is published from now on reaches nobody."""
        ...


def thread_topic(owner: str, thread_id: str) -> str:
    """The topic of a thread's events."""
    return f"thread:{owner}/{thread_id}"
