"""Requests of agents' code to the server that executes it, without a network: plain data, like all that crosses.

LangGraph's SDK makes them where a client has no URL (`get_client()`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

import msgspec

Headers = Sequence[tuple[bytes, bytes]]


class ServerRequest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is asked. `query` is as it stands in a URL, without the question mark."""

    method: str
    path: str
    query: bytes = b""
    headers: Headers = ()
    body: bytes = b""


class ServerPiece(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of the answer: the first has the status and the headers, the last says so."""

    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    last: bool = False
    error: str | None = None
    """Why there is no (more of an) answer; then it is the last."""


ServerAnswer = Callable[[str, ServerRequest, Callable[[ServerPiece], None]], Awaitable[None]]
"""Answers a request on behalf of an owner, piece by piece; ends when the last one has been told. Cancelling it says
that nobody listens any more. It is called in the loop in which it was given."""


@runtime_checkable
class UsesServer(Protocol):
    """An agent whose code makes requests of the server, or a host of such agents."""

    def attach_server(self, answer: ServerAnswer) -> None:
        """Gives it what answers them; called in the loop in which `answer` is."""
        ...
