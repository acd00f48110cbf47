"""The faces of the API, each with its table of paths and its words for errors, and where each is mounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from runyard.api import problems
from runyard.api.context import ApiContext
from runyard.api.gate import Gate, refuse
from runyard.api.operation import Endpoint, Operation
from runyard.api.problems import Words
from runyard.api.router import Router, below_root
from runyard.api.tracing import Traced

Table = tuple[tuple[str, Mapping[str, Operation]], ...]


@dataclass(frozen=True)
class Face:
    """One dialect of the API."""

    table: Table
    words: Words = problems

    def build(self, api: ApiContext, prefix: str = "") -> ASGIApp:
        """It as an ASGI app; `prefix` is where it is mounted, for the names of spans."""
        endpoints: dict[str, ASGIApp] = {path: Endpoint(api, methods, self.words) for path, methods in self.table}
        spans = api.spans
        if spans is not None:
            endpoints = {path: Traced(endpoint, prefix + path, spans) for path, endpoint in endpoints.items()}
        router = Router(endpoints, self._nothing_there)
        return Gate(router, api.allowed_hosts, api.cors_origins, self.words)

    async def _nothing_there(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, receive, send, problems.no_such_path(scope["path"]), self.words)


class Mounts:
    """Pure ASGI: a face at the root, and others each below a path of its own."""

    def __init__(self, root: ASGIApp, mounted: Mapping[str, ASGIApp]) -> None:
        self._root = root
        self._mounted = [(prefix, f"{prefix}/", app) for prefix, app in mounted.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = below_root(scope)
        for prefix, below, app in self._mounted:
            if path.startswith(below) or path == prefix:
                root = scope.get("root_path", "")
                await app({**scope, "path": root + path, "root_path": root + prefix}, receive, send)
                return
        await self._root(scope, receive, send)
