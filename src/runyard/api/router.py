"""Which endpoint a request's path leads to.

What stands in the table as it is asked for is found at once, and the rest among the few paths that have as many pieces
and begin alike: a request does not pay for the length of the table.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

Piece = tuple[bool, str]
"""A part of a path between two slashes: whether it varies, and its text, or the name of what stands there."""


class Router:
    """Pure ASGI: the paths of an API (`/threads/{thread_id}/runs`), each with its endpoint.

    What varies is in the scope's `path_params`; it is never empty and holds no slash. Paths are below `root_path`,
    where the API is mounted.
    """

    def __init__(self, endpoints: Mapping[str, ASGIApp], otherwise: ASGIApp) -> None:
        """`otherwise` is for requests to no path of the table."""
        self._whole = {path: endpoint for path, endpoint in endpoints.items() if "{" not in path}
        self._alike: dict[tuple[int, str], list[tuple[list[Piece], ASGIApp]]] = {}
        for path, endpoint in endpoints.items():
            if "{" in path:
                pieces = path.split("/")
                alike = self._alike.setdefault((len(pieces), pieces[1]), [])
                alike.append(([_piece(text) for text in pieces], endpoint))
        self._otherwise = otherwise

    def knows(self, path: str) -> bool:
        """Whether a path is in the table."""
        return self._find(path)[0] is not self._otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint, params = self._find(below_root(scope))
        scope["path_params"] = params
        await endpoint(scope, receive, send)

    def _find(self, path: str) -> tuple[ASGIApp, dict[str, str]]:
        endpoint = self._whole.get(path)
        if endpoint is not None:
            return endpoint, {}
        asked = path.split("/")
        if len(asked) > 1:
            for pieces, endpoint in self._alike.get((len(asked), asked[1]), ()):
                params = _match(pieces, asked)
                if params is not None:
                    return endpoint, params
        return self._otherwise, {}


def _piece(text: str) -> Piece:
    return (True, text[1:-1]) if text.startswith("{") else (False, text)


def _match(pieces: list[Piece], asked: list[str]) -> dict[str, str] | None:
    params: dict[str, str] = {}
    for (varies, text), piece in zip(pieces, asked, strict=True):
        if varies and piece:
            params[text] = piece
        elif varies or piece != text:
            return None
    return params


def below_root(scope: Scope) -> str:
    """A request's path as it is below where the API is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root):
        below = path[len(root) :]
        if below[:1] in ("", "/"):
            return below or "/"
    return path
