"""Subscriptions whose WebSocket is gone: kept for a while, for a client that comes back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping

import msgspec

from runyard.protocol.filters import Filter

KEPT_FOR = 120_000_000
"""Microseconds."""
MOST_KEPT = 10_000


class Subscription(msgspec.Struct):
    """What is watched, and the number up to which it was told; `covered` is as in `Feed`."""

    wanted: Filter
    seen: int
    covered: int = 0


class Detached:
    """Those of one server. What a restart loses, its clients subscribe to again."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._kept: OrderedDict[str, tuple[int, str, str, Subscription]] = OrderedDict()

    def keep(self, owner: str, thread_id: str, subscriptions: Mapping[str, Subscription]) -> None:
        """Keeps the subscriptions of a connection that has ended."""
        until = self._now() + KEPT_FOR
        for id, subscription in subscriptions.items():
            self._kept[id] = until, owner, thread_id, subscription
        while self._kept and (len(self._kept) > MOST_KEPT or next(iter(self._kept.values()))[0] <= self._now()):
            self._kept.popitem(last=False)

    def take(self, owner: str, thread_id: str, ids: Iterable[str]) -> dict[str, Subscription]:
        """Those of these subscriptions that are kept, and are of this thread."""
        taken: dict[str, Subscription] = {}
        for id in ids:
            kept = self._kept.get(id)
            if kept is not None and kept[0] > self._now() and kept[1:3] == (owner, thread_id):
                del self._kept[id]
                taken[id] = kept[3]
        return taken
