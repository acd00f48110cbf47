"""The API for the code of agents that this server executes: the same table, without a network, keys and foreign hosts.

Whoever runs code here may do what its owner may. Where the deployment has rules of its own, they are asked as they are
for every request: who the user is stands in the headers that the code sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from starlette.types import ASGIApp, Message, Scope

from runyard.api.auth import Keys, Needs, Principal
from runyard.api.context import ApiContext
from runyard.runtime.inside import ServerAnswer, ServerPiece, ServerRequest

_OWNER = b"runyard-owner"
"""The header that says for whom a request is: only what is here can set it, and nothing from outside comes here."""
_UNSENT = frozenset({_OWNER, b"host", b"content-length", b"transfer-encoding", b"connection", b"origin"})


class _Owners(Keys):
    """Everybody is who the request says."""

    def principal(self, headers: dict[bytes, bytes], needs: Needs) -> Principal:
        return Principal(headers[_OWNER].decode())


def inside(api: ApiContext, build: Callable[[ApiContext], ASGIApp]) -> ServerAnswer:
    """What answers requests of agents' code; `build` makes the app for them."""
    app = build(replace(api, keys=_Owners(), allowed_hosts=()))

    async def answer(owner: str, request: ServerRequest, tell: Callable[[ServerPiece], None]) -> None:
        await _Exchange(app, owner, request, tell).run()

    return answer


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, owner: str, request: ServerRequest, tell: Callable[[ServerPiece], None]) -> None:
        self._app = app
        self._request = request
        self._give = tell
        self._owner = owner
        self._start: Message = {}
        self._asked = False
        self._ended = False
        self._gone = asyncio.Event()

    async def run(self) -> None:
        """Answers; where it is cancelled, the app is told that the client has gone."""
        working = asyncio.get_running_loop().create_task(self._work())
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            self._ended = True
            self._gone.set()
            await working
            raise

    async def _work(self) -> None:
        await self._app(self._scope(), self._receive, self._send)
        if not self._ended:
            self._give(ServerPiece(last=True, error="the answer broke off"))

    def _scope(self) -> Scope:
        headers = [(name.lower(), value) for name, value in self._request.headers if name.lower() not in _UNSENT]
        length = str(len(self._request.body)).encode()
        headers += [(b"host", b"api"), (b"content-length", length), (_OWNER, self._owner.encode())]
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "scheme": "http",
            "path": self._request.path,
            "raw_path": self._request.path.encode(),
            "query_string": self._request.query,
            "root_path": "",
            "headers": headers,
            "runyard.headers": dict(headers),
            "client": None,
            "server": None,
        }

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._request.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        self._ended = not message.get("more_body", False)
        body, start = message.get("body", b""), self._start
        self._start = {}
        self._give(ServerPiece(start.get("status", 0), list(start.get("headers", ())), bytes(body), self._ended))
