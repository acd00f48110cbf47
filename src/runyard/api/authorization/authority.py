"""The deployment's `Auth` object: who asks, and what its handlers say to it.

The object is known by its parts and not by its class, so that the SDK is imported by nobody but the user's own code.
What a handler raises with a status keeps it; an assertion that fails is a refusal in its own words; anything else is
a refusal, too, and is logged with the handler's name.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from starlette.requests import HTTPConnection, Request
from starlette.types import Message, Receive, Scope

from runyard.api import profile
from runyard.api.authorization.filters import BadFilter, Pattern, pattern_of
from runyard.api.authorization.remembered import Remembered
from runyard.api.problems import Refused
from runyard.api.router import below_root
from runyard.errors import Forbidden, InvalidInput, TooLarge, Unauthorized
from runyard.telemetry import say
from runyard.users import User

Resource = Literal["threads", "assistants", "crons", "store"]
Value = dict[str, Any]
"""What is asked for, as handlers see it; what they change in it counts."""

_KNOWN = frozenset({
    "request", "body", "path", "method", "path_params", "query_params", "headers", "authorization", "scopes",
})  # fmt: skip
_CODES = {401: "unauthorized", 403: "forbidden", 404: "not_found", 409: "conflict", 429: "too_many_runs"}


@dataclass
class Context:
    """What handlers are told beside the value, where the SDK has no class for it."""

    permissions: list[str]
    user: User
    resource: str
    action: str


class Authority:
    """`auth` is the object; `place` names it in messages; bodies that `authenticate` reads have at most so many bytes;
    who is `remembered` is not asked for again.

    Raises:
        InvalidInput: it is no such object, or its `authenticate` asks for what is not known.
    """

    def __init__(self, auth: Any, place: str, most: int = 4_000_000, remembered: Remembered | None = None) -> None:
        self._remembered = remembered
        self._handlers: Mapping[tuple[str, str], list[Callable[..., Any]]] | None = getattr(auth, "_handlers", None)
        self._everything: list[Callable[..., Any]] | None = getattr(auth, "_global_handlers", None)
        self._authenticate: Callable[..., Any] | None = getattr(auth, "_authenticate_handler", None)
        self._context: Callable[..., Any] = getattr(getattr(auth, "types", None), "AuthContext", Context)
        self._place = place
        self._most = most
        if self._handlers is None or self._everything is None:
            raise InvalidInput(f"{place} is {type(auth).__name__}, no Auth object of langgraph_sdk", code="bad_target")
        if self._authenticate is None:
            raise InvalidInput(f"{place} has no function under @authenticate", code="bad_target")
        self._wants = _parameters(self._authenticate, place)

    # who asks

    async def user(self, scope: Scope, receive: Receive, params: Mapping[str, str]) -> tuple[User, Receive]:
        """Who asks, and where the request's body is to be read from now on.

        Raises:
            Refused, Unauthorized, Forbidden: it is refused.
            TooLarge: its body is.
        """
        if self._remembered is None or (key := self._remembered.key_of(scope["runyard.headers"])) is None:
            return await self._ask_for(scope, receive, params)
        known = self._remembered.user(key)
        if known is not None:
            return known, receive
        user, receive = await self._ask_for(scope, receive, params)
        self._remembered.remember(key, user)
        return user, receive

    async def _ask_for(self, scope: Scope, receive: Receive, params: Mapping[str, str]) -> tuple[User, Receive]:
        assert self._authenticate is not None  # see above
        given, receive = await self._given(scope, receive, params)
        try:
            if inspect.iscoroutinefunction(self._authenticate):
                found: Any = await self._authenticate(**given)
            else:
                # It may wait for something, and all other requests would with it.
                found = await asyncio.to_thread(self._authenticate, **given)
                found = await found if inspect.isawaitable(found) else found
            return _user(found), receive
        except Exception as error:
            raise _refusal(error, self._authenticate, self._place, Unauthorized) from None
        finally:
            if isinstance(receive, _Read):
                receive.rewind()

    async def _given(self, scope: Scope, receive: Receive, params: Mapping[str, str]) -> tuple[dict[str, Any], Receive]:
        headers: dict[bytes, bytes] = scope["runyard.headers"]
        connection = HTTPConnection(scope)
        is_http = scope["type"] == "http"
        if is_http and self._wants & {"body", "request"}:
            receive = await _read(receive, self._most)
        told: dict[str, Callable[[], Any]] = {
            "path": lambda: below_root(scope),
            "method": lambda: scope["method"] if is_http else "GET",
            "path_params": lambda: dict(params),
            "query_params": lambda: dict(connection.query_params),
            "headers": lambda: headers,
            "authorization": lambda: connection.headers.get("authorization"),
            "scopes": list[str],
        }
        given = {name: told[name]() for name in self._wants if name in told}
        if "request" in self._wants:
            given["request"] = Request(scope, receive) if is_http else connection
        if "body" in self._wants:
            given["body"] = receive.document() if isinstance(receive, _Read) else {}
        return given, receive

    # what they may do

    def handler(self, resource: Resource, action: str) -> Callable[..., Any] | None:
        """The most specific of the handlers that are for it; None where there is none."""
        assert self._handlers is not None  # see above
        for key in ((resource, action), (resource, "*"), ("*", action)):
            found = self._handlers.get(key)
            if found:
                return found[-1]
        return self._everything[-1] if self._everything else None

    async def ask(self, user: User, resource: Resource, action: str, value: Value) -> Pattern | None:
        """What metadata have to contain of whatever is seen or changed; None where anything may be. The handler may
        have changed `value`.

        Raises:
            Refused, Forbidden: it may not be done.
        """
        handler = self.handler(resource, action)
        if handler is None:
            return None
        context = self._context(permissions=user.permissions, user=user, resource=resource, action=action)
        try:
            said: Any = handler(ctx=context, value=value)
            said = await said if inspect.isawaitable(said) else said
            if isinstance(said, Mapping):
                return pattern_of(cast("Mapping[Any, Any]", said)) or None
        except Exception as error:
            raise _refusal(error, handler, self._place, Forbidden) from None
        if said is None or said is True:
            return None
        if said is not False:
            say("auth handler gave no answer", handler=_name(handler), gave=type(said).__name__)
        raise Forbidden(f"{resource}.{action} is not allowed to {user.identity}", resource=resource, action=action)


def _user(found: Any) -> User:
    fields = _fields(found)
    if not isinstance(fields.get("identity"), str) or not fields["identity"]:
        raise TypeError(f"authenticate gave {type(found).__name__} without an identity")
    permissions: Any = fields.get("permissions") or ()
    return User({**fields, "permissions": [str(one) for one in permissions]})


def _fields(found: Any) -> dict[str, Any]:
    """What is known of a user: from a text, which is the identity, a mapping, or any object."""
    if isinstance(found, str):
        return {"identity": found}
    if isinstance(found, Mapping):
        return dict(cast("Mapping[str, Any]", found))
    names = ("identity", "display_name", "is_authenticated", "permissions")
    own = {name: value for name, value in getattr(found, "__dict__", {}).items() if not name.startswith("_")}
    return {**{name: getattr(found, name) for name in names if hasattr(found, name)}, **own}


def _refusal(
    error: Exception, handler: Callable[..., Any], place: str, otherwise: type[Unauthorized | Forbidden]
) -> Exception:
    """What a request is told of what user code has raised."""
    if isinstance(error, Refused | Unauthorized | Forbidden | TooLarge):
        return error
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if type(status) is int and 400 <= status < 600:
        headers: Mapping[str, str] = getattr(error, "headers", None) or {}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return Refused(status, _CODES.get(status, "refused"), str(detail or error), raw)
    if isinstance(error, AssertionError):
        return otherwise(str(error) or "not allowed")
    say("auth handler failed", error=error, handler=_name(handler), place=place)
    why = f"{error}" if isinstance(error, BadFilter) else "its log says why"
    return Forbidden(f"the server's own rules failed: {why}")


def _name(handler: Callable[..., Any]) -> str:
    return getattr(handler, "__qualname__", repr(handler))


def _parameters(authenticate: Callable[..., Any], place: str) -> frozenset[str]:
    wanted: set[str] = set()
    for parameter in inspect.signature(authenticate).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in _KNOWN:
            wanted.add(parameter.name)
        elif parameter.default is parameter.empty:
            raise InvalidInput(
                f"{place}: authenticate has a parameter {parameter.name!r}; allowed: {', '.join(sorted(_KNOWN))}",
                code="bad_target",
            )
    return frozenset(wanted)


class _Read:
    """The messages of a request that was read, to be read again."""

    def __init__(self, messages: list[Message], receive: Receive) -> None:
        self._messages = messages
        self._receive = receive
        self._next = 0

    async def __call__(self) -> Message:
        if self._next < len(self._messages):
            self._next += 1
            return self._messages[self._next - 1]
        return await self._receive()

    def rewind(self) -> None:
        self._next = 0

    def document(self) -> dict[str, Any]:
        """The body as plain data; nothing where it is no JSON object, which what is asked for says better."""
        body = b"".join(message.get("body", b"") for message in self._messages)
        try:
            return profile.decode(body) if body else {}
        except InvalidInput:
            return {}


async def _read(receive: Receive, most: int) -> _Read:
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > most:
            raise TooLarge(f"the body is larger than {most} bytes", max_body_bytes=most)
        if message["type"] != "http.request" or not message.get("more_body"):
            return _Read(messages, receive)
