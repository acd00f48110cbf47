"""One request and its one answer, on plain ASGI."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Generator
from typing import Any, TypeVar

import msgspec
from starlette.types import Message, Receive, Scope, Send

from runyard.api import profile
from runyard.api.auth import ANYONE, Principal
from runyard.api.context import ApiContext
from runyard.api.problems import Headers, too_slow, wrong_media_type
from runyard.api.validation import Shape, canonical_uuid
from runyard.errors import InvalidInput, TooLarge

T = TypeVar("T", bound=msgspec.Struct)

_JSON = (b"content-type", b"application/json")
_MOST_IGNORED = 20
_TOKEN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-$")


class ClientGone(Exception):
    """The client left before it had sent its request."""


class _Begun:
    """Something awaitable whose first step was taken by hand, with what it waits for since."""

    __slots__ = ("_steps", "_waits_for")

    def __init__(self, steps: Generator[Any, Any, Message], waits_for: Any) -> None:
        self._steps = steps
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, Message]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    sent = yield waits_for
                except BaseException as error:
                    waits_for = self._steps.throw(error)
                else:
                    waits_for = self._steps.send(sent)
        except StopIteration as done:
            return done.value


class Call:
    """What a handler works with. It answers once: with `answer`, with `no_content`, or piecewise with `begin`, `write`
    and `finish`."""

    __slots__ = (
        "_answer_headers",
        "_document",
        "_ignored",
        "_receive",
        "_scope",
        "_send",
        "api",
        "headers",
        "params",
        "principal",
        "started",
    )

    def __init__(
        self, api: ApiContext, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]
    ) -> None:
        self.api = api
        self.headers = headers
        self.params: dict[str, str] = scope["path_params"]
        self.principal: Principal = ANYONE
        self.started = False
        self._scope = scope
        self._receive = receive
        self._send = send
        self._document: dict[str, Any] = {}
        self._ignored: list[str] = []
        self._answer_headers: Headers = []

    @property
    def owner(self) -> str:
        return self.principal.owner

    def act_as(self, api: ApiContext, receive: Receive) -> None:
        """From now on it is a user's, who may not do everything."""
        self.api = api
        self._receive = receive

    # the request

    def uuid(self, name: str) -> str:
        """A path parameter that is a UUID.

        Raises:
            InvalidInput: it is none.
        """
        return canonical_uuid(name, self.params[name])

    def query(self, shape: Shape[T]) -> T:
        """The query string. Parameters that are not known are ignored, and named in the answer."""
        value, unknown = shape.parse_query(self._scope["query_string"])
        self._ignored += unknown
        return value

    async def body(self, shape: Shape[T]) -> T:
        """The body. Fields that are not known are ignored, and named in the answer.

        Raises:
            InvalidInput: it is not a JSON object, or does not fit.
            Refused: it says that it is something else than JSON, or has not come in time.
            TooLarge: it is larger than the server allows.
        """
        self._document = document = profile.decode(await self._read())
        value = shape.parse(document)
        self._ignored += shape.unknown(document)
        return value

    async def bodies(self, shape: Shape[T]) -> list[T]:
        """The body, where it is a list of such. Fields that are not known are ignored, and named in the answer.

        Raises:
            InvalidInput: it is no list of JSON objects, or one does not fit.
            Refused, TooLarge: as `body`.
        """
        found: list[T] = []
        for document in profile.decode_list(await self._read()):
            found.append(shape.parse(document))
            self._ignored += [name for name in shape.unknown(document) if name not in self._ignored]
        return found

    async def document(self) -> dict[str, Any]:
        """The body as plain data.

        Raises:
            InvalidInput: it is not a JSON object.
            Refused, TooLarge: as `body`.
        """
        self._document = profile.decode(await self._read())
        return self._document

    def pass_over(self, names: list[str]) -> None:
        """Fields of the document that are not known: they are ignored, and named in the answer."""
        self._ignored += names

    def body_hash(self, **more: str) -> str:
        """A digest of the parsed body (with what the path adds to it), whatever the order and spacing of its fields."""
        document = {**self._document, **more}
        return hashlib.sha256(msgspec.json.encode(document, order="deterministic")).hexdigest()

    def header(self, name: bytes) -> str | None:
        """A request header as text; None when absent."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def gone(self) -> None:
        """Returns when the client has left. Only once the body has been read or is not wanted."""
        # The first message of a GET is its (empty) body, not the disconnect.
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _read(self) -> bytes:
        content_type = self.headers.get(b"content-type")
        if content_type is not None and content_type != b"application/json":
            kind = content_type.partition(b";")[0].strip().lower()
            if kind != b"application/json" and not kind.endswith(b"+json"):
                raise wrong_media_type(content_type.decode("latin-1"))
        limit = self.api.max_body_bytes
        length = self.headers.get(b"content-length")
        if length is not None and length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        # Nearly always all of it is there already, and then no clock has to be wound.
        first = self._receive().__await__()
        try:
            waits_for = next(first)
        except StopIteration as received:
            message: Message = received.value
            if not message.get("more_body") and message["type"] == "http.request":
                body: bytes = message.get("body", b"")
            else:
                body = await self._read_in_time(message, limit)
        else:
            body = await self._read_in_time(_Begun(first, waits_for), limit)
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _read_in_time(self, first: Message | _Begun, limit: int) -> bytes:
        try:
            async with asyncio.timeout(self.api.body_timeout):
                return await self._read_all(await first if isinstance(first, _Begun) else first, limit)
        except TimeoutError:
            raise too_slow(self.api.body_timeout) from None

    async def _read_all(self, message: Message, limit: int) -> bytes:
        """The body from its first message on, or as much of it as shows that it is too large."""
        pieces: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece: bytes = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > limit or not message.get("more_body"):
                break
            message = await self._receive()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # the answer

    def path(self, path: str) -> bytes:
        """A path of this API as the client has to spell it, wherever the API is mounted."""
        root: str = self._scope.get("root_path", "")
        return (root + path).encode("latin-1", "replace")

    def tell(self, name: bytes, value: bytes) -> None:
        """Adds a header to the answer."""
        self._answer_headers.append((name, value))

    async def answer(self, body: bytes, status: int = 200, headers: Headers | None = None) -> None:
        """Answers with JSON text."""
        await self._start(status, [_JSON, (b"content-length", b"%d" % len(body)), *(headers or ())])
        await self._send({"type": "http.response.body", "body": body})

    async def no_content(self) -> None:
        """Answers 204."""
        await self._start(204, [])
        await self._send({"type": "http.response.body", "body": b""})

    async def accepted(self) -> None:
        """Answers 202: it is done later."""
        await self._start(202, [(b"content-length", b"0")])
        await self._send({"type": "http.response.body", "body": b""})

    async def page(self, body: bytes, headers: Headers) -> None:
        """Answers with something else than JSON."""
        await self._start(200, [(b"content-length", b"%d" % len(body)), *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def begin(self, headers: Headers) -> None:
        """Begins an answer of unknown length: status 200."""
        await self._start(200, headers)

    async def write(self, piece: bytes) -> None:
        """One more piece of an answer that has begun. Never raises for a client that has left: see `gone`."""
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def finish(self, piece: bytes = b"") -> None:
        """The last piece of an answer that has begun."""
        await self._send({"type": "http.response.body", "body": piece})

    async def _start(self, status: int, headers: Headers) -> None:
        self.started = True
        headers += self._answer_headers
        if self._ignored:
            headers.append((b"runyard-ignored", _header_list(self._ignored)))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


def idempotency_key(call: Call) -> str | None:
    """The `Idempotency-Key` of a request; None when it has none.

    Raises:
        InvalidInput: it is empty, or longer than 255 characters.
    """
    key = call.header(b"idempotency-key")
    if key is not None and not 1 <= len(key) <= 255:
        raise InvalidInput(
            f"the header Idempotency-Key has {len(key)} characters; allowed: 1 to 255",
            field="Idempotency-Key",
        )
    return key


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", max_body_bytes=limit)


def _header_list(names: list[str]) -> bytes:
    """Field names as a header's value: what is no plain character is percent-encoded, and the list has an end."""
    spelled = [_header_safe(name) for name in names[:_MOST_IGNORED]]
    if len(names) > _MOST_IGNORED:
        spelled.append(b"...")
    return b", ".join(spelled)


def _header_safe(name: str) -> bytes:
    raw = name[:64].encode()
    return b"".join(b"%c" % byte if byte in _TOKEN else b"%%%02X" % byte for byte in raw)
