"""Hints inside one process: a dictionary of listeners."""

from __future__ import annotations

import logging
from collections.abc import Callable

from runyard.hints.contract import Listener

_log = logging.getLogger("runyard.hints")


class LocalHints:
    """For the embedded stack: everything that can change something lives in this process."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def publish(self, topic: str) -> None:
        for listener in tuple(self._listeners.get(topic, ())):
            try:
                listener(topic)
            except Exception:
                _log.exception("a listener of %s failed", topic)

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        self._listeners.setdefault(topic, []).append(listener)

        def unsubscribe() -> None:
            listeners = self._listeners.get(topic, [])
            if listener in listeners:
                listeners.remove(listener)
            if not listeners:
                self._listeners.pop(topic, None)

        return unsubscribe

    async def close(self) -> None:
        self._listeners.clear()
