"""One WebSocket, on plain ASGI: JSON texts both ways."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from runyard.api import gate, problems, profile
from runyard.api.auth import ANYONE, Principal
from runyard.api.call import ClientGone
from runyard.api.context import ApiContext
from runyard.api.validation import canonical_uuid
from runyard.errors import InvalidInput, RunyardError

RESTART, TOO_SLOW, REFUSED, FAILED = 1012, 1013, 1008, 1011
"""Why the server closes: RFC 6455 and its registry have them as service restart, try again later, policy violation and
internal error."""
TEXTS = "runyard.texts"
"""The ASGI extension of a server that takes many texts at once."""
_LONGEST_REASON = 120
"""Bytes of a reason that fit into the frame that closes."""


class Socket:
    """What a handler works with: it accepts the connection, then receives and sends until one side closes."""

    __slots__ = (
        "_closed",
        "_receive",
        "_scope",
        "_send",
        "_sends_many",
        "accepted",
        "api",
        "headers",
        "params",
        "principal",
    )

    def __init__(self, api: ApiContext, scope: Scope, receive: Receive, send: Send) -> None:
        self.api = api
        self.headers: dict[bytes, bytes] = scope["runyard.headers"]
        self.params: dict[str, str] = scope["path_params"]
        self.principal: Principal = ANYONE
        self.accepted = False
        self._closed = False
        self._sends_many = TEXTS in scope.get("extensions", {})
        self._scope = scope
        self._receive = receive
        self._send = send

    @property
    def path(self) -> str:
        return self._scope["path"]

    def uuid(self, name: str) -> str:
        """A path parameter that is a UUID. Raises `InvalidInput`."""
        return canonical_uuid(name, self.params[name])

    async def accept(self) -> None:
        """Agrees to speak."""
        await self._receive()
        await self._send({"type": "websocket.accept"})
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
        if self._closed:
            raise ClientGone
        try:
            if self._sends_many:
                await self._send({"type": "websocket.send", "texts": texts})
            else:
                for text in texts:
                    await self._send({"type": "websocket.send", "text": text.decode()})
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
            await gate.refuse(self._scope, self._receive, self._send, error)

    async def fail(self) -> None:
        """Ends it for a fault of ours, of which the log has the rest."""
        await self.refuse(problems.Refused(500, "internal_error", "the server failed; its log says why"))
