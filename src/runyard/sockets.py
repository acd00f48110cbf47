"""The WebSocket side of uvicorn, with what it lacks: many texts in one write, and refusals that are no errors."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from runyard.api.socket import TEXTS


class Sockets(WebSocketsSansIOProtocol):
    """One connection. Its app may send `{"type": "websocket.send", "texts": [...]}`: UTF-8 texts, a frame each."""

    async def run_asgi(self) -> None:
        cast("dict[str, Any]", self.scope)["extensions"][TEXTS] = {}
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        texts: list[bytes] | None = message.get("texts")
        if texts is None:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
                self.handshake_complete = True  # it was refused, and uvicorn would tell of an app that did nothing
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        try:
            for text in texts:
                self.conn.send_text(text)
        except InvalidState:
            raise ClientDisconnected from None
        self.transport.write(b"".join(self.conn.data_to_send()))
