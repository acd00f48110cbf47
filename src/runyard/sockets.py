"""The WebSocket side of uvicorn, with what it lacks: frames made once for many, and refusals that are no errors."""

from __future__ import annotations

from typing import Any, cast

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.protocol import OPEN

from runyard.api.socket import FRAMES


class Sockets(WebSocketsSansIOProtocol):
    """One connection. Its app may send `{"type": "websocket.send", "frames": bytes}`: whole frames, as they are."""

    async def run_asgi(self) -> None:
        cast("dict[str, Any]", self.scope)["extensions"][FRAMES] = {}
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        frames: bytes | None = message.get("frames")
        if frames is None:
            await super().send(message)
            if message["type"] == "websocket.accept":
                del self.request, self.response  # kilobytes, for as long as it is open, that nobody asks for any more
            if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
                self.handshake_complete = True  # it was refused, and uvicorn would tell of an app that did nothing
            return
        if not self.writable.is_set():
            await self.writable.wait()
        if self.disconnected or self.close_sent or self.conn.state is not OPEN:
            raise ClientDisconnected
        self.transport.write(frames)
