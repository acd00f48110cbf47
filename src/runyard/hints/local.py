"""Hints inside one process: a dictionary of listeners."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runyard.hints.contract import Listener
from runyard.telemetry import say


class LocalHints:
    """For the embedded stack: everything that can change something lives in this process."""

    def __init__(self) -> None:
        # By topic, then by subscription: a listener may be there twice.
        self._listeners: dict[str, dict[object, Listener]] = {}

    async def open(self) -> None:
        """There are no others."""

    def publish(self, topic: str) -> None:
        listeners = self._listeners.get(topic)
        if listeners is None:
            return
        for subscription, listener in tuple(listeners.items()):
            if subscription not in listeners:
                continue  # another listener has just ended it
            try:
                listener(topic)
            except Exception as error:
                say("hint listener failed", error=error, topic=topic)

    def tell_others(self, topics: Sequence[str]) -> None:
        """There are no others."""

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        subscription = object()
        self._listeners.setdefault(topic, {})[subscription] = listener

        def unsubscribe() -> None:
            listeners = self._listeners.get(topic, {})
            listeners.pop(subscription, None)
            if not listeners:
                self._listeners.pop(topic, None)

        return unsubscribe

    async def close(self) -> None:
        self._listeners.clear()
