"""One WebSocket, on plain ASGI: JSON texts both ways."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from starlette.types import Receive, Scope, Send

from runyard.api import gate, problems, profile
from runyard.api.auth import ANYONE, Principal
from runyard.api.call import ClientGone
from runyard.api.context import ApiContext
from runyard.api.validation import canonical_uuid
from runyard.errors import InvalidInput, RunyardError
from runyard.readers import PIECE

RESTART, TOO_SLOW, REFUSED, FAILED = 1012, 1013, 1008, 1011
"""Why the server closes: RFC 6455 and its registry have them as service restart, try again later, policy violation and
internal error."""
FRAMES = "runyard.frames"
"""The ASGI extension of a server that takes frames as `framed` makes them: once for all who are sent the same."""
LARGEST_PIECE = 2 * PIECE
"""Bytes of frames that are sent at once: what a client does not take yet is kept for it alone."""
_SHORT, _LONG = 126, 2**16
"""From how many bytes on a frame tells its length in two, and in eight."""
_LONGEST_REASON = 120
"""Bytes of a reason that fit into the frame that closes."""


def framed(texts: Iterable[bytes]) -> list[bytes]:
    """Texts as frames of a server (RFC 6455, section 5.2), a message each; those that are small in one piece."""
    pieces: list[bytes] = []
    piece: list[bytes] = []
    held = 0
    for text in texts:
        size = len(text)
        if size < _SHORT:
            head = b"\x81%c" % size
        elif size < _LONG:
            head = b"\x81\x7e" + size.to_bytes(2)
        else:
            head = b"\x81\x7f" + size.to_bytes(8)
        piece += (head, text)
        held += size
        if held >= LARGEST_PIECE:
            pieces.append(b"".join(piece))
            piece, held = [], 0
    if piece:
        pieces.append(b"".join(piece))
    return pieces


class Socket:
    """What a handler works with: it accepts the connection, then receives and sends until one side closes."""

    __slots__ = (
        "_closed",
        "_receive",
        "_scope",
        "_send",
        "_words",
        "accepted",
        "api",
        "headers",
        "params",
        "principal",
        "takes_frames",
    )

    def __init__(
        self, api: ApiContext, scope: Scope, receive: Receive, send: Send, words: problems.Words = problems
    ) -> None:
        self.api = api
        self.headers: dict[bytes, bytes] = scope["runyard.headers"]
        self.params: dict[str, str] = scope["path_params"]
        self.principal: Principal = ANYONE
        self.accepted = False
        self._closed = False
        self.takes_frames = FRAMES in scope.get("extensions", {})
        """What many are sent may be made once."""
        self._scope = scope
        self._receive = receive
        self._send = send
        self._words = words

    @property
    def path(self) -> str:
        return self._scope["path"]

    def uuid(self, name: str) -> str:
        """A path parameter that is a UUID. Raises `InvalidInput`."""
        return canonical_uuid(name, self.params[name])

    async def accept(self) -> None:
        """Agrees to speak.

        Raises:
            ClientGone: the client has left before that.
        """
        await self._receive()
        try:
            await self._send({"type": "websocket.accept"})
        except (OSError, RuntimeError):
            self._closed = True
            raise ClientGone from None
        self.accepted = True

    async def receive(self) -> dict[str, Any]:
        """The next message as plain data.

        Raises:
            ClientGone: the connection is over.
            InvalidInput: it is no JSON object.
        """
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._closed = True
            raise ClientGone
        text = message.get("text")
        if text is None:
            raise InvalidInput("the message is binary; a JSON text is needed", field="body")
        return profile.decode(text.encode())

    async def send(self, *texts: bytes) -> None:
        """Sends JSON texts, each as a message of its own; waits while the client is slow.

        Raises:
            ClientGone: the connection is over.
        """
        await self.send_packed(framed(texts) if self.takes_frames else texts)

    async def send_packed(self, pieces: Sequence[bytes]) -> None:
        """Sends what was made of texts by `framed`, where it `takes_frames`, and else the texts; raises as `send`."""
        if self._closed:
            raise ClientGone
        try:
            for piece in pieces:
                if self.takes_frames:
                    await self._send({"type": "websocket.send", "frames": piece})
                else:
                    await self._send({"type": "websocket.send", "text": piece.decode()})
        except (OSError, RuntimeError):
            # What a server raises where its client has gone is an OSError since ASGI 2.4, and anything before.
            self._closed = True
            raise ClientGone from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Ends the conversation."""
        if not self._closed:
            self._closed = True
            try:
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:_LONGEST_REASON]})
            except (OSError, RuntimeError):
                pass  # the client was faster

    async def refuse(self, error: RunyardError) -> None:
        """Answers the request for a WebSocket with an error; where it has been accepted, closes it."""
        if self.accepted:
            await self.close(REFUSED if problems.status_of(error) < 500 else FAILED, error.message)
        else:
            await gate.refuse(self._scope, self._receive, self._send, error, self._words)

    async def fail(self) -> None:
        """Ends it for a fault of ours, of which the log has the rest."""
        await self.refuse(problems.Refused(500, "internal_error", "the server failed; its log says why"))
