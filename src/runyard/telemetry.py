"""What happens in the engine, as named events. All sentences that Runyard logs about its work stand here."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

Subscriber = Callable[[str, dict[str, Any]], None]

LEVELS: dict[str, int] = {
    "run ended": logging.DEBUG,
    "lease lost": logging.WARNING,
    "attempt not begun yet": logging.WARNING,
    "outcome not stored yet": logging.WARNING,
    "events not stored yet": logging.WARNING,
    "attempt broke": logging.ERROR,
    "recovered": logging.INFO,
    "swept": logging.DEBUG,
    "sweep failed": logging.WARNING,
    "claim failed": logging.WARNING,
    "draining": logging.INFO,
    "drained": logging.INFO,
    "not given back": logging.WARNING,
    "still executing": logging.WARNING,
}
"""Every event, with the level of its log line."""


class Telemetry:
    """Tells events to the log and to subscribers. A subscriber that raises harms nobody but itself."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._log = logger or logging.getLogger("runyard")
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Calls `subscriber(event, fields)` for everything told from now on."""
        self._subscribers.append(subscriber)

    def tell(self, event: str, **fields: Any) -> None:
        """Something happened."""
        level = LEVELS[event]
        if self._log.isEnabledFor(level):
            told = " ".join(f"{name}={value}" for name, value in fields.items())
            self._log.log(level, "%s %s", event, told, extra={"event": event, "fields": fields})
        for subscriber in self._subscribers:
            try:
                subscriber(event, fields)
            except Exception:
                self._log.exception("a telemetry subscriber failed on %r", event)
