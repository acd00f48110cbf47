"""Sending to other servers: messages whose addresses users choose, so that none of them is trusted."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Letter(msgspec.Struct, frozen=True):
    """One message to a URL. `message_id` stays the same when it is sent again; `timestamp` is that of this try, in
    seconds since the epoch. `body` is JSON text."""

    url: str
    message_id: str
    timestamp: int
    body: bytes


class Reply(msgspec.Struct, frozen=True):
    """What a receiver answered: nothing else of its answer is kept. `retry_after` is the header's text."""

    status: int
    retry_after: str | None = None


class Outbound(Protocol):
    """All that this server sends by itself."""

    def check(self, url: str) -> None:
        """Whether a message may be sent to a URL, as far as its text says; no name is resolved.

        Raises:
            InvalidInput: it may not; `field` is `webhook`.
        """
        ...

    async def send(self, letter: Letter) -> Reply:
        """Sends a message, signed, within the time limit, and returns the receiver's answer, whatever its status.

        Raises:
            Undelivered: no answer came (no_answer, no_connection, name_not_found), or the address is one that nothing
                may be sent to (not_allowed): trying that again is of no use.
        """
        ...
