"""Server-sent events: from bytes, in whatever pieces, to events (WHATWG HTML, "Server-sent events")."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event: its name, its data (decoded where it is JSON, else the text), and the id to resume from."""

    event: str
    data: Any
    id: str | None = None


class EventParser:
    """Feed it bytes, get events. What is left of an unfinished event is dropped with the parser."""

    def __init__(self) -> None:
        self.last_event_id: str | None = None
        self.retry_seconds: float | None = None
        self._rest = b""
        self._started = False
        # A CR ends a line; an LF right after it, perhaps in the next piece, belongs to it.
        self._after_cr = False
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[ServerEvent]:
        """The events that this piece completes."""
        if not piece:
            return
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        buffer = self._rest + piece
        if not self._started:
            if _BOM.startswith(buffer):
                self._rest = buffer
                return
            buffer = buffer.removeprefix(_BOM)
            self._started = True
        lines = buffer.splitlines(keepends=True)
        # The last line may go on in the next piece.
        self._rest = lines.pop() if lines and not lines[-1].endswith((b"\r", b"\n")) else b""
        for line in lines:
            event = self._line(line.rstrip(b"\r\n"))
            if event is not None:
                yield event

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self.last_event_id = value.decode("utf-8", "replace") or None
        elif name == b"retry" and value.isdigit():
            self.retry_seconds = int(value) / 1000
        return None

    def _dispatch(self) -> ServerEvent | None:
        data, name = b"\n".join(self._data), self._name or "message"
        empty = not self._data
        self._data, self._name = [], ""
        return None if empty else ServerEvent(name, _decoded(data), self.last_event_id)


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError:
        return data.decode("utf-8", "replace")
