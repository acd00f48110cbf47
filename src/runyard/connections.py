"""What a connection may do before it is a request: how slowly and at what length it may speak, and half of its closing.

Uvicorn waits for ever for a request that does not come, and drops one whose client has closed its sending side.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from runyard.api import problems
from runyard.api.problems import Refused

LONGEST_HEAD = 65_536
"""Bytes that a request's line and headers may have in all."""


def guarded(patience: float) -> type[HttpToolsProtocol]:
    """The protocol of connections whose requests have to come completely within `patience` seconds."""
    return type("Guarded", (_Guarded,), {"patience": patience})


class _Guarded(HttpToolsProtocol):
    patience: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._since: float | None = self.loop.time()
        """Since when a request has been coming, or the first one has been waited for; None between requests."""
        self._head_bytes = 0
        """How much came of a line and headers that are not complete; -1 once they are."""
        self._watch = self.loop.call_later(self.patience, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
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

    def _begin(self) -> None:
        self._since = self.loop.time()
        self._head_bytes = 0

    def eof_received(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Whether the connection stays open for what is still to be answered.

        Once an answer in pieces has begun it does not: whoever closes completely looks the same, and would be noticed
        only by the failure of later pieces.
        """
        cycle = self.cycle
        if cycle is None or cycle.more_body or cycle.response_started:  # pyright: ignore[reportUnnecessaryComparison]
            return False
        cycle.keep_alive = False
        return True

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
        if self.transport.is_closing():
            return
        status, body, _ = problems.answer(error)
        head = STATUS_LINE[status] + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()
