"""What a reader has had already, in bounded memory. No input and output in here."""

from ap_client.thread_events import Position, ThreadEvent

REMEMBERED = 4096
"""So many of the last events are known by name; of those before them only where in the log the last one was."""


class Seen:
    """The events that one reader has had."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._names: dict[str, Position | None] = {}
        self._floor: Position | None = None

    def add(self, event: ThreadEvent) -> bool:
        """Whether the event is new; it is known from now on. One without a name is always new."""
        name = event.event_id if event.event_id is not None else None if event.seq is None else str(event.seq)
        if name is None:
            return True
        position = event.position
        if name in self._names or (position is not None and self._floor is not None and position <= self._floor):
            return False
        self._names[name] = position
        if len(self._names) > self._remembered:
            oldest = self._names.pop(next(iter(self._names)))
            if oldest is not None and (self._floor is None or oldest > self._floor):
                self._floor = oldest
        return True
