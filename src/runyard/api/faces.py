"""The faces of the API, each with its table of paths and its words for errors, and where each is mounted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from runyard.api import problems
from runyard.api.context import ApiContext
from runyard.api.custom import Custom
from runyard.api.gate import PROBES, refuse
from runyard.api.operation import Endpoint, Operation
from runyard.api.problems import Words
from runyard.api.router import Router, below_root
from runyard.api.tracing import Traced

Table = tuple[tuple[str, Mapping[str, Operation]], ...]

_GROUPS: dict[str, tuple[str, ...]] = {
    "assistants": ("/assistants", "/agents"),
    "threads": ("/threads",),
    "runs": ("/runs", "/threads/{thread_id}/runs", "/threads/{thread_id}/commands"),
    "store": ("/store",),
    "meta": ("/openapi.json", "/docs", "/info", "/metrics"),
    "mcp": ("/mcp",),
    "a2a": ("/a2a", "/.well-known"),
    "ui": ("/ui",),
}
"""Paths that can be left out together: each with all that is below it."""


def without(table: Table, groups: Collection[str]) -> Table:
    """A table without the paths of some groups."""
    gone = [path for group in groups for path in _GROUPS[group]]
    return tuple(row for row in table if not any(row[0] == path or row[0].startswith(f"{path}/") for path in gone))


class Built(NamedTuple):
    """A face as an ASGI app."""

    app: ASGIApp
    words: Words


@dataclass(frozen=True)
class Face:
    """One dialect of the API."""

    table: Table
    words: Words = problems

    def build(self, api: ApiContext, prefix: str = "", custom: Custom | None = None) -> Built:
        """It as an ASGI app, behind the user's own one where there is one; `prefix` is where it is mounted, for the
        names of spans."""
        table = without(self.table, api.disabled)
        endpoints: dict[str, ASGIApp] = {path: Endpoint(api, methods, self.words) for path, methods in table}
        spans = api.spans
        if spans is not None:
            endpoints = {path: Traced(endpoint, prefix + path, spans) for path, endpoint in endpoints.items()}
        router = Router(endpoints, self._nothing_there)
        return Built(router if custom is None else custom.before(router, router.knows), self.words)

    async def _nothing_there(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(scope, receive, send, problems.no_such_path(scope["path"]), self.words)


class Mounts:
    """Pure ASGI: a face at the root, and others each below a path of its own."""

    def __init__(self, root: Built, mounted: Mapping[str, Built]) -> None:
        self._root = root
        self._mounted = [(prefix, f"{prefix}/", built) for prefix, built in mounted.items()]

    def at(self, path: str) -> tuple[str, Built]:
        """The face to which a path belongs, and where that is mounted."""
        for prefix, below, built in self._mounted:
            if path.startswith(below) or path == prefix:
                return prefix, built
        return "", self._root

    def place_of(self, path: str) -> tuple[str, Words]:
        """A path below its face, and in whose words that refuses."""
        prefix, built = self.at(path)
        return path.removeprefix(prefix) or "/", built.words

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix, built = self.at(below_root(scope))
        await built.app(_mounted(scope, prefix) if prefix else scope, receive, send)


class Prefixed:
    """Pure ASGI: everything below one more path. What machines ask a server by any address stays at the root, too."""

    def __init__(self, mounts: Mounts, prefix: str) -> None:
        self._mounts = mounts
        self._prefix = prefix

    def place_of(self, path: str) -> tuple[str, Words]:
        """As `Mounts` has it."""
        return self._mounts.place_of(path.removeprefix(self._prefix) or "/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = below_root(scope)
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            await self._mounts(_mounted(scope, self._prefix), receive, send)
        elif path in PROBES:
            await self._mounts(scope, receive, send)
        else:
            nothing = problems.no_such_path(scope["path"])
            await refuse(scope, receive, send, nothing, self._mounts.place_of("/")[1])


def _mounted(scope: Scope, prefix: str) -> Scope:
    root = scope.get("root_path", "")
    return {**scope, "path": root + below_root(scope), "root_path": root + prefix}
