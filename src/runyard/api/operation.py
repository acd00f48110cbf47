"""An operation of the API: a handler with what its caller may send and gets back; and the ASGI end of a path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from runyard.api import problems, wire
from runyard.api.auth import Needs
from runyard.api.authorization.admit import admitted
from runyard.api.call import Call, ClientGone
from runyard.api.context import ApiContext
from runyard.api.copied import telling
from runyard.api.problems import Words
from runyard.api.socket import Socket
from runyard.api.validation import Shape
from runyard.errors import RunyardError
from runyard.telemetry import say

Handler = Callable[[Call], Awaitable[None]]
SocketHandler = Callable[[Socket], Awaitable[None]]


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What a method on a path does. The document at /openapi.json is made from these.

    `answer` is the type of the JSON body; None for 204. `media` is the answer's content type. `errors` are the
    statuses of refusals beside those that any operation may give.
    """

    id: str
    handler: Handler
    tag: str
    needs: Needs
    body: Shape[Any] | None = None
    many: bool = False
    """The body is a list of such."""
    query: Shape[Any] = wire.NOTHING
    answer: Any = None
    media: str = "application/json"
    errors: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    """Request headers that mean something to it."""
    socket: SocketHandler | None = None
    """What is done with a WebSocket that is opened here."""

    @property
    def text(self) -> str:
        """What it does, in words."""
        return self.handler.__doc__ or ""

    def named(self, id: str) -> Operation:
        """The same operation at another path."""
        return msgspec.structs.replace(self, id=id)

    def on_thread(self, id: str) -> Operation:
        """The same operation below `/threads/{thread_id}`."""
        errors = tuple(sorted({404, *self.errors}))
        return msgspec.structs.replace(self, id=id, errors=errors)


def operation(
    tag: str,
    *,
    needs: Needs,
    body: Shape[Any] | None = None,
    many: bool = False,
    query: Shape[Any] = wire.NOTHING,
    answer: Any = None,
    media: str = "application/json",
    errors: tuple[int, ...] = (),
    headers: tuple[str, ...] = (),
    socket: SocketHandler | None = None,
) -> Callable[[Handler], Operation]:
    """Makes an operation of a handler; its name becomes the operation's id."""

    def describe(handler: Handler) -> Operation:
        return Operation(
            id=getattr(handler, "__name__", ""),
            handler=handler,
            tag=tag,
            needs=needs,
            body=body,
            many=many,
            query=query,
            answer=answer,
            media=media,
            errors=errors,
            headers=headers,
            socket=socket,
        )

    return describe


class Endpoint:
    """The methods of one path, as an ASGI app: who may, what is done, and what becomes of errors."""

    def __init__(self, api: ApiContext, methods: Mapping[str, Operation], words: Words = problems) -> None:
        self._api = api
        self._words = words
        self.methods = dict(methods)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._open(scope, receive, Socket(self._api, scope, receive, send, self._words))
            return
        call = Call(self._api, scope, receive, send, scope["runyard.headers"])
        try:
            method: str = scope["method"]
            found = self.methods.get(method)
            if found is None:
                raise problems.wrong_method(method, scope["path"], sorted(self.methods))
            call.principal = self._api.keys.principal(call.headers, found.needs)
            if self._api.authority is not None and found.needs != "nothing":
                call.act_as(*await admitted(self._api, scope, receive, call.params))
            if self._api.copied is not None:
                call.api = telling(call.api, call.headers)
            await found.handler(call)
        except RunyardError as error:
            if call.started:
                # The status line is out: only a broken connection still tells the client that this is no answer.
                say("answer broke off", method=scope["method"], path=scope["path"], why=error.message)
                return
            status, body, headers = self._words.answer(error)
            if status == 500:
                say("request failed", error=error, method=scope["method"], path=scope["path"])
            await call.answer(body, status, headers)
        except ClientGone:
            return
        except Exception as error:
            say("request failed", error=error, method=scope["method"], path=scope["path"])
            if not call.started:
                status, body, headers = self._words.internal()
                await call.answer(body, status, headers)

    async def _open(self, scope: Scope, receive: Receive, socket: Socket) -> None:
        """A WebSocket: it is refused like a request until it is accepted, and closed afterwards."""
        found = self.methods.get("GET")
        try:
            if found is None or found.socket is None:
                raise problems.no_such_path(socket.path)
            socket.principal = self._api.keys.principal(socket.headers, found.needs)
            if self._api.authority is not None and found.needs != "nothing":
                socket.api, _ = await admitted(self._api, scope, receive, socket.params)
            socket.api = telling(socket.api, socket.headers)
            await found.socket(socket)
        except RunyardError as error:
            if problems.status_of(error) == 500:
                say("request failed", error=error, method="WEBSOCKET", path=socket.path)
            await socket.refuse(error)
        except ClientGone:
            return
        except Exception as error:
            say("request failed", error=error, method="WEBSOCKET", path=socket.path)
            await socket.fail()
