"""A span around every request, where traces are on; where they are off nothing of this is in the way."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runyard.telemetry import Spans


class Traced:
    """Pure ASGI: one path of the API, with a span for each request to it."""

    def __init__(self, endpoint: ASGIApp, route: str, spans: Spans) -> None:
        self._endpoint = endpoint
        self._route = route
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # It may be open for days; the runs that it begins have spans of their own.
            await self._endpoint(scope, receive, send)
            return
        with self._spans.request(scope["method"], self._route, scope["path"], scope["runyard.headers"]) as span:

            async def send_seen(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.answered(message["status"])
                await send(message)

            await self._endpoint(scope, receive, send_seen)
