"""What every request passes first: the allowed hosts, and the rules about other origins.

A browser tells with `Origin` where a page comes from. A page from elsewhere is refused unless the settings list it, so
that a server on loopback is not at the mercy of every page its user visits; and a name that merely points to loopback
(DNS rebinding) is not among the allowed hosts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runyard.api import problems
from runyard.api.problems import Headers, Refused, Words
from runyard.api.router import below_root
from runyard.errors import RunyardError

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
"""Who may be asked for when a server is bound to loopback and its settings say nothing else."""

_EXPOSED = (
    "Content-Location", "Location", "Idempotent-Replayed", "Retry-After", "Runyard-Ignored", "Runyard-Missed",
    "X-Pagination-Next", "X-Pagination-Total",
)  # fmt: skip
_ALLOWED_HEADERS = (
    "Authorization", "Cache-Control", "Content-Type", "Idempotency-Key", "Last-Event-ID", "Prefer", "X-API-Key",
    "X-Auth-Scheme",
)  # fmt: skip
_ALLOWED_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PROBES = ("/ok", "/ready")
"""Asked for by machines that call a server by any address; they change nothing and say little."""


class Cors(msgspec.Struct, frozen=True):
    """Which pages of other origins may call the server, and how. `*` in a list means any; `pattern` is a regular
    expression that the whole of an origin fits. Pages may always read the headers that the API answers with."""

    origins: tuple[str, ...] = ()
    pattern: str | None = None
    methods: tuple[str, ...] = _ALLOWED_METHODS
    headers: tuple[str, ...] = _ALLOWED_HEADERS
    exposed: tuple[str, ...] = ()
    credentials: bool = False
    max_age: int = 600
    """Seconds for which a browser need not ask again."""


class Gate:
    """Pure ASGI: refuses foreign hosts and origins, and answers for the listed origins. `place_of` says of a path
    where it is below its face, and in whose words that refuses."""

    def __init__(
        self, app: ASGIApp, hosts: tuple[str, ...], cors: Cors, place_of: Callable[[str], tuple[str, Words]]
    ) -> None:
        self._app = app
        self._place_of = place_of
        self._any_host = not hosts or "*" in hosts
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._below = tuple(host[1:].lower().encode() for host in hosts if host.startswith("*."))
        self._any_origin = "*" in cors.origins
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in cors.origins)
        self._pattern = None if cors.pattern is None else re.compile(cors.pattern.encode())
        self._cors = cors
        exposed = {name.lower(): name for name in (*_EXPOSED, *cors.exposed)}
        self._shared: Headers = [(b"access-control-expose-headers", _joined(exposed.values())), (b"vary", b"Origin")]
        if cors.credentials:
            self._shared.append((b"access-control-allow-credentials", b"true"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        scope["runyard.headers"] = headers
        host = headers.get(b"host", b"")
        if not (self._any_host or self._knows(host)):
            path, words = self._place_of(below_root(scope))
            if path not in PROBES:
                await refuse(scope, receive, send, _foreign_host(host), words)
                return
        origin = headers.get(b"origin")
        if origin is None or _is_same(origin, host):
            await self._app(scope, receive, send)
        elif not self._allows(origin):
            await refuse(scope, receive, send, _foreign_origin(origin), self._place_of(below_root(scope))[1])
        elif scope["type"] == "http" and b"access-control-request-method" in headers:
            await self._preflight(origin, headers, send)
        else:
            await self._app(scope, receive, self._sharing(origin, send))

    def _knows(self, host: bytes) -> bool:
        name = host.lower()
        name = name[: name.find(b"]") + 1] if name.startswith(b"[") else name.partition(b":")[0]
        return name in self._hosts or (bool(self._below) and name.endswith(self._below))

    def _allows(self, origin: bytes) -> bool:
        return (
            self._any_origin
            or origin.lower() in self._origins
            or (self._pattern is not None and self._pattern.fullmatch(origin) is not None)
        )

    def _sharing(self, origin: bytes, send: Send) -> Send:
        async def send_shared(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._shared_with(origin)]
            await send(message)

        return send_shared

    def _shared_with(self, origin: bytes) -> Headers:
        return [(b"access-control-allow-origin", origin), *self._shared]

    async def _preflight(self, origin: bytes, asked: dict[bytes, bytes], send: Send) -> None:
        cors = self._cors
        # A `*` of theirs would not count with credentials, nor ever for `Authorization`.
        headers = asked.get(b"access-control-request-headers") if "*" in cors.headers else None
        methods = asked[b"access-control-request-method"] if "*" in cors.methods else _joined(cors.methods)
        told = [
            *self._shared_with(origin),
            (b"access-control-allow-methods", methods),
            (b"access-control-allow-headers", headers or _joined(cors.headers)),
            (b"access-control-max-age", b"%d" % cors.max_age),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": told})
        await send({"type": "http.response.body", "body": b""})


def _joined(names: Iterable[str]) -> bytes:
    return ", ".join(names).encode("latin-1")


def _is_same(origin: bytes, host: bytes) -> bool:
    # The scheme is not compared: behind a proxy that ends TLS ours is http while the page's is https.
    return bool(host) and origin.partition(b"://")[2].lower() == host.lower()


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
        f"the Origin is {name!r}, which is not among the allowed origins (setting cors_origins, or http.cors of "
        "langgraph.json)",
        origin=name,
    )
