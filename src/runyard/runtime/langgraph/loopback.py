"""Clients of LangGraph's SDK without a URL (`get_client()`) that code of a run makes: they ask the server that executes
the run, on behalf of its owner.

The SDK leaves such clients without a server, to be given one later; they are made by graphs whenever they need one. So
what it makes of them is replaced, once in a process, by what finds the server by the run in which it is used: two
servers in one process are told apart.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any, cast

from runyard.runtime.inside import ServerAnswer, ServerPiece, ServerRequest
from runyard.telemetry import run_of_code


class Server:
    """Where the requests go."""

    def __init__(self, answer: ServerAnswer, loop: asyncio.AbstractEventLoop) -> None:
        """`loop` is the one in which `answer` is."""
        self._answer = answer
        self._loop = loop

    def ask(self, owner: str, request: ServerRequest) -> Reply:
        """Begins a request; called in the loop of the code."""
        return Reply(self._answer, self._loop, owner, request)


class Reply:
    """The answer to one request, while it comes."""

    def __init__(
        self, answer: ServerAnswer, loop: asyncio.AbstractEventLoop, owner: str, request: ServerRequest
    ) -> None:
        own = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[ServerPiece] = asyncio.Queue()

        def tell(piece: ServerPiece) -> None:
            try:
                own.call_soon_threadsafe(self._pieces.put_nowait, piece)
            except RuntimeError:  # the loop of the code has been closed
                return

        async def serve() -> None:
            try:
                await answer(owner, request, tell)
            except Exception as error:
                tell(ServerPiece(last=True, error=f"{type(error).__name__}: {error}"))

        # In a context of its own: what the server does for this code is not done by this code (see `lane`).
        self._serving: Future[None] = contextvars.Context().run(asyncio.run_coroutine_threadsafe, serve(), loop)

    async def piece(self) -> ServerPiece:
        """The next one."""
        return await self._pieces.get()

    def close(self) -> None:
        """Nobody listens any more."""
        self._serving.cancel()


SERVER: contextvars.ContextVar[Server | None] = contextvars.ContextVar("runyard_server", default=None)
"""That of the code that executes here."""


def install() -> None:
    """Has clients without a URL ask the server in which their code executes; does nothing where there is no SDK that
    has such clients."""
    try:
        made_by: Any = importlib.import_module("langgraph_sdk._async.client")
        http: Any = importlib.import_module("httpx")
    except ImportError:
        return
    if hasattr(made_by, "get_asgi_transport") and not getattr(made_by.get_asgi_transport, "of_runyard", False):
        transport = _transport(http)

        def get_asgi_transport() -> Any:
            return transport

        cast(Any, get_asgi_transport).of_runyard = True
        made_by.get_asgi_transport = get_asgi_transport


def _transport(http: Any) -> Any:
    """The class of transports, in the words of the SDK's HTTP client."""

    class Body(http.AsyncByteStream):
        def __init__(self, reply: Reply, first: ServerPiece) -> None:
            self._reply = reply
            self._first = first

        async def __aiter__(self) -> AsyncIterator[bytes]:
            piece = self._first
            while True:
                if piece.error is not None:
                    raise http.ReadError(piece.error)
                if piece.body:
                    yield piece.body
                if piece.last:
                    return
                piece = await self._reply.piece()

        async def aclose(self) -> None:
            self._reply.close()

    class Transport(http.AsyncBaseTransport):
        def __init__(self, app: Any = None, root_path: str = "") -> None:
            self.app = app
            """Set by the SDK; nothing here goes by it."""

        async def handle_async_request(self, request: Any) -> Any:
            server, run = SERVER.get(), run_of_code.get()
            if server is None or run is None:
                raise http.ConnectError(
                    "this client has no url, and no run of a graph executes here whose server it could ask; give it one"
                )
            url = request.url
            asked = ServerRequest(request.method, url.path, url.query, request.headers.raw, await request.aread())
            reply = server.ask(cast(Any, run).owner, asked)
            try:
                first = await reply.piece()
            except BaseException:
                reply.close()
                raise
            if first.error is not None:
                raise http.ConnectError(first.error)
            return http.Response(first.status, headers=list(first.headers), stream=Body(reply, first))

    return Transport
