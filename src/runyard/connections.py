"""What a connection may do before it is a request: how slowly and at what length it may speak, and half of its closing.

Uvicorn waits for ever for a request that does not come, drops one whose client has closed its sending side, and speaks
plain text where it refuses.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from runyard.api import problems
from runyard.api.problems import Refused
from runyard.corked import Corked

LONGEST_HEAD = 65_536
"""Bytes that a request's line and headers may have in all."""


LINGER = 2.0
"""Seconds that a client has to read a refusal: a connection that is closed on data that is still coming is reset, and
what had been sent on it is lost."""


PROBES = 2
PROBE_INTERVAL = 0.05


def guarded(patience: float) -> type[HttpToolsProtocol]:
    """The protocol of connections whose requests have to come completely within `patience` seconds."""
    return type("Guarded", (_Guarded,), {"patience": patience})


class _Guarded(HttpToolsProtocol):
    patience: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(cast(asyncio.Transport, Corked(transport, self.loop)))
        self._since: float | None = self.loop.time()
        """Since when a request has been coming, or the first one has been waited for; None between requests."""
        self._head_bytes = 0
        """How much came of a line and headers that are not complete; -1 once they are."""
        self._refused = False
        self._watch = self.loop.call_later(self.patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._since is None:
            self._begin()
        super().data_received(data)
        if self._head_bytes >= 0 and self._since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > LONGEST_HEAD:
                told = f"the request's line and headers have more than {LONGEST_HEAD} bytes"
                self._refuse(Refused(431, "headers_too_large", told, max_head_bytes=LONGEST_HEAD))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_bytes = -1

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._since = None
        self._head_bytes = 0

    def handle_websocket_upgrade(self) -> None:
        """Hands the connection over; what is said on it from now on has other rules."""
        self._watch.cancel()
        super().handle_websocket_upgrade()

    def _begin(self) -> None:
        self._since = self.loop.time()
        self._head_bytes = 0

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether the connection stays open, for what is still to be answered."""
        cycle = self.cycle
        if self._refused or cycle is None or cycle.more_body or cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            return False
        cycle.keep_alive = False
        self._probe(PROBES)
        return True

    def _probe(self, left: int) -> None:
        """Finds out whether a client that has closed its sending side still reads: one that does not answers the first
        piece with a reset, on which the second one breaks. The answers that come in pieces are event streams and JSON
        that has not begun, and a newline means nothing in either."""
        if self.transport.is_closing() or self.cycle.response_complete:
            return
        if self.cycle.chunked_encoding:
            self.transport.write(b"1\r\n\n\r\n")
            left -= 1
        if left:
            self.loop.call_later(PROBE_INTERVAL, self._probe, left)

    def send_400_response(self, msg: str) -> None:
        self._refuse(Refused(400, "malformed_request", "the request is not HTTP/1.1"))

    def _look(self) -> None:
        """Ends what has taken too long: a request that is not complete, unless its operation still waits for it."""
        now, since = self.loop.time(), self._since
        if since is not None and now - since >= self.patience:
            if self._head_bytes > 0:
                self._refuse(problems.too_slow(self.patience))
                return
            if self._head_bytes == 0 or self.cycle.response_complete:
                self.transport.close()
                return
            since = None
        due = now + self.patience / 2 if since is None else since + self.patience
        self._watch = self.loop.call_later(due - now, self._look)

    def _refuse(self, error: Refused) -> None:
        if self.transport.is_closing() or self._refused:
            return
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.more_body and not cycle.response_complete:  # pyright: ignore[reportUnnecessaryComparison]
            # What came before it is still being answered; the connection ends with that.
            cycle.keep_alive = False
            return
        if cycle is not None and cycle.more_body:  # pyright: ignore[reportUnnecessaryComparison]
            # Its operation has begun, and must neither act on half a request nor answer it.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        status, body, _ = problems.answer(error)
        head = STATUS_LINE[status] + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.write_eof()
        self._watch.cancel()
        self._watch = self.loop.call_later(LINGER, self.transport.close)
