"""What every request passes first: the allowed hosts, and the rules about other origins.

A browser tells with `Origin` where a page comes from. A page from elsewhere is refused unless the settings list it, so
that a server on loopback is not at the mercy of every page its user visits; and a name that merely points to loopback
(DNS rebinding) is not among the allowed hosts.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runyard.api import problems
from runyard.api.problems import Headers, Refused, Words
from runyard.api.router import below_root
from runyard.errors import RunyardError

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
"""Who may be asked for when a server is bound to loopback and its settings say nothing else."""

_EXPOSED = (
    b"Content-Location, Location, Idempotent-Replayed, Retry-After, Runyard-Ignored, Runyard-Missed, "
    b"X-Pagination-Next, X-Pagination-Total"
)
_ALLOWED_HEADERS = (
    b"Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-API-Key, X-Auth-Scheme"
)
_ALLOWED_METHODS = b"GET, POST, PUT, PATCH, DELETE"
_PROBES = ("/ok", "/ready")
"""Asked for by machines that call a server by any address; they change nothing and say little."""


class Gate:
    """Pure ASGI: refuses foreign hosts and origins, and answers for the listed origins."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], origins: tuple[str, ...], words: Words = problems) -> None:
        self._app = app
        self._words = words
        self._any_host = not hosts or "*" in hosts
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._below = tuple(host[1:].lower().encode() for host in hosts if host.startswith("*."))
        self._any_origin = "*" in origins
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scope["runyard.headers"] = headers
        host = headers.get(b"host", b"")
        if not (self._any_host or self._knows(host)) and below_root(scope) not in _PROBES:
            await refuse(scope, receive, send, _foreign_host(host), self._words)
            return
        origin = headers.get(b"origin")
        if origin is None or _is_same(origin, host):
            await self._app(scope, receive, send)
        elif not (self._any_origin or origin.lower() in self._origins):
            await refuse(scope, receive, send, _foreign_origin(origin), self._words)
        elif scope["type"] == "http" and b"access-control-request-method" in headers:
            await _preflight(origin, send)
        else:
            await self._app(scope, receive, _sharing(origin, send))

    def _knows(self, host: bytes) -> bool:
        name = host.lower()
        name = name[: name.find(b"]") + 1] if name.startswith(b"[") else name.partition(b":")[0]
        return name in self._hosts or (bool(self._below) and name.endswith(self._below))


def _is_same(origin: bytes, host: bytes) -> bool:
    # The scheme is not compared: behind a proxy that ends TLS ours is http while the page's is https.
    return bool(host) and origin.partition(b"://")[2].lower() == host.lower()


def _sharing(origin: bytes, send: Send) -> Send:
    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_shared_with(origin)]
        await send(message)

    return send_shared


def _shared_with(origin: bytes) -> Headers:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


async def _preflight(origin: bytes, send: Send) -> None:
    headers = [
        *_shared_with(origin),
        (b"access-control-allow-methods", _ALLOWED_METHODS),
        (b"access-control-allow-headers", _ALLOWED_HEADERS),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def refuse(scope: Scope, receive: Receive, send: Send, error: RunyardError, words: Words = problems) -> None:
    """Answers an error where there is no operation that could; closes a WebSocket."""
    status, body, headers = words.answer(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    kind = "http"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": error.message[:100]})
            return
        kind = "websocket.http"
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})


def _foreign_host(host: bytes) -> Refused:
    name = host.decode("latin-1")
    return Refused(
        403,
        "forbidden",
        f"the Host header is {name!r}, which is not among the allowed hosts (setting allowed_hosts)",
        host=name,
    )


def _foreign_origin(origin: bytes) -> Refused:
    name = origin.decode("latin-1")
    return Refused(
        403,
        "forbidden",
        f"the Origin is {name!r}, which is not among the allowed origins (setting cors_origins)",
        origin=name,
    )
