"""The user's own routes: an ASGI app that requests pass before they come to the API.

What it has a route for is its own, also where the API has the same path. But the pages that describe the API stay, and
an app that serves whatever is below its root (a folder of files) leaves the API what belongs to that. Its middleware
sees every request. It executes in the server, as code that is trusted like the server itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.routing import BaseRoute, Match, Mount, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from runyard.api.router import below_root

_WAY = "runyard.way"
_DESCRIBED = ("/docs", "/openapi.json")
"""Paths that some frameworks take without being asked to."""

Admit = Callable[[Scope, Receive, Send], Awaitable[Receive | None]]
"""Finds out who asks and puts it into the scope: where the body is to be read from; None where it has refused."""


class Custom:
    """A user's app. `admit` is asked before a route of its own is taken; by None all are open."""

    def __init__(self, app: ASGIApp, admit: Admit | None = None) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        """What its lifespan gave to every request."""
        self._admit = admit
        router: Any = getattr(app, "router", None)
        self._routes = _crossing(router) if hasattr(router, "routes") and hasattr(router, "default") else None

    def before(self, face: ASGIApp, knows: Callable[[str], bool]) -> ASGIApp:
        """A face of the API, behind the app; `knows` tells whether a path is in its table."""
        way = _Way(face, knows, self._admit)

        async def onward(scope: Scope, receive: Receive, send: Send) -> None:
            if self._routes is None:
                # An app of whose routes nothing is known has what the API has not.
                if knows(below_root(scope)):
                    await face(scope, receive, send)
                    return
                admitted = receive if self._admit is None else await self._admit(scope, receive, send)
                if admitted is None:
                    return
                receive = admitted
            state = {**self.state, **scope.get("state", {})}
            await self.app({**scope, "state": state, _WAY: way}, receive, send)

        return onward


class _Way:
    """Where a request goes that is not the app's own."""

    def __init__(self, face: ASGIApp, knows: Callable[[str], bool], admit: Admit | None) -> None:
        self.face = face
        self.knows = knows
        self.admit = admit

    async def go(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The app's middleware may have changed them.
        scope["runyard.headers"] = dict(scope["headers"])
        await self.face(scope, receive, send)


class _Crossing(BaseRoute):
    """The first route of a user's app: it takes what is the API's, and asks who wants the others."""

    def __init__(self, router: Any) -> None:
        self._router = router

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        way: _Way | None = scope.get(_WAY)
        if way is None:
            return Match.NONE, {}
        takes = way.admit is not None if self._is_own(scope, way) else way.knows(below_root(scope))
        return (Match.FULL if takes else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        way: _Way = scope[_WAY]
        if not self._is_own(scope, way):
            await way.go(scope, receive, send)
            return
        admitted = receive if way.admit is None else await way.admit(scope, receive, send)
        if admitted is not None:
            del scope[_WAY]
            await self._router.app(scope, admitted, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> Any:
        raise NoMatchFound(name, path_params)

    def _is_own(self, scope: Scope, way: _Way) -> bool:
        path = below_root(scope)
        theirs = way.knows(path)
        if theirs and path in _DESCRIBED:
            return False
        return any(
            route.matches(scope)[0] is not Match.NONE and not (theirs and isinstance(route, Mount) and not route.path)
            for route in self._router.routes
            if route is not self
        )


def _crossing(router: Any) -> _Crossing:
    """Has a router send onward what it has no route for; once, however many servers the app is in."""
    if router.routes and isinstance(router.routes[0], _Crossing):
        return router.routes[0]
    otherwise: ASGIApp = router.default

    async def default(scope: Scope, receive: Receive, send: Send) -> None:
        way: _Way | None = scope.get(_WAY)
        await (otherwise if way is None else way.go)(scope, receive, send)

    crossing = _Crossing(router)
    router.routes.insert(0, crossing)
    router.default = default
    return crossing
