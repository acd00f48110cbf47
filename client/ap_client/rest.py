"""The thin shell: sends the bytes of a request over httpx2 and hands back what came."""

import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import httpx2
import msgspec

from ap_client.call import SWITCHING_PROTOCOLS, Request, Timeout, timeout_pair
from ap_client.configuration import Configuration
from ap_client.exceptions import ApiException, ApiTypeError, ApiValueError, TransportException

__all__ = [
    "ApiException",
    "ApiTypeError",
    "ApiValueError",
    "RESTClientObject",
    "RESTResponse",
    "RESTResponseType",
]

CONNECT_SECONDS = 10.0


def client_settings(configuration: Configuration) -> dict[str, Any]:
    """How an httpx2 client is made for a configuration, but for its transport.

    A run may take hours, so nothing but connecting has a time limit unless `_request_timeout` sets one.
    """
    return {
        "timeout": httpx2.Timeout(None, connect=CONNECT_SECONDS),
        # A proxy of the environment would win over the configured one.
        "trust_env": configuration.proxy is None,
        "verify": configuration.tls(),
        "limits": _limits(configuration),
    }


def transport_settings(configuration: Configuration) -> dict[str, Any]:
    """How an httpx2 transport is made for a configuration."""
    proxy = None
    if configuration.proxy:
        proxy = httpx2.Proxy(configuration.proxy, headers=dict(configuration.proxy_headers or {}))
    return {
        "verify": configuration.tls(),
        "limits": _limits(configuration),
        "socket_options": configuration.socket_options,
        "proxy": proxy,
    }


def _limits(configuration: Configuration) -> httpx2.Limits:
    # As in the generated client the size says how many connections are kept, not how many there may be:
    # a client that watches a hundred runs needs a hundred, and one more to cancel them.
    return httpx2.Limits(max_connections=None, max_keepalive_connections=configuration.connection_pool_maxsize)


def transport_errors() -> tuple[type[Exception], ...]:
    """The errors by which an HTTP library says that no whole answer came; httpx's too where it is in use."""
    return _library_errors("HTTPError", "InvalidURL")


def _library_errors(*names: str) -> tuple[type[Exception], ...]:
    libraries = [httpx2, sys.modules.get("httpx")]
    return tuple(getattr(library, name) for library in libraries for name in names if hasattr(library, name))


def transport_failure(error: Exception, request: Request, answer: Any = None) -> TransportException:
    """Status 0, with a reason that says which request met which error; `answer` is one that had begun."""
    text = str(error) or type(error).__name__
    failure = TransportException(0, f"{request.method} {request.url}: {text}", answer)
    failure.unsent = isinstance(error, _library_errors("ConnectError", "ConnectTimeout", "PoolTimeout"))
    failure.timed_out = isinstance(error, (TimeoutError, *_library_errors("TimeoutException")))
    return failure


def request_arguments(request: Request, configuration: Configuration) -> dict[str, Any]:
    """A request as the arguments of `build_request` of an httpx2 (or httpx) client."""
    arguments: dict[str, Any] = {
        "method": request.method,
        "url": request.url,
        "headers": dict(request.headers),
        "content": request.content,
    }
    if request.timeout is not None:
        connect, read = request.timeout
        arguments["timeout"] = (connect, read, read, connect)
    if configuration.tls_server_name:
        arguments["extensions"] = {"sni_hostname": configuration.tls_server_name}
    return arguments


class RESTResponse:
    """A raw answer whose body is read when asked for. Close it, or use it as a context manager.

    It has the ways of a urllib3 answer that code written for the generated client relies on.
    """

    def __init__(self, answer: Any, request: Request) -> None:
        self._answer = answer
        self._request = request
        self._pieces: Iterator[bytes] | None = None
        self._waiting = b""
        self._whole: bytes | None = None
        self.status: int = answer.status_code
        self.reason: str = answer.reason_phrase
        self.headers: Mapping[str, str] = answer.headers

    @property
    def data(self) -> bytes:
        """The whole body; after pieces of it were read, what is left."""
        if self._whole is not None:
            return self._whole
        if self._pieces is not None:
            self._waiting += b"".join(self._pieces)
            return self._waiting
        with self._failing():
            return bytes(self._answer.read())

    def stream(self, amt: int | None = None) -> Iterator[bytes]:
        """The body in pieces as they come (of `amt` bytes where given)."""
        with self._failing():
            yield from self._answer.iter_bytes(amt)

    def read(self, amt: int | None = None) -> bytes:
        """The next `amt` bytes of the body, or all that is left."""
        if self._pieces is None and amt is None:
            self._whole, self._pieces = self.data, iter(())
            return self._whole
        if self._pieces is None:
            self._pieces = self.stream()
        while amt is None or len(self._waiting) < amt:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._waiting += piece
        size = len(self._waiting) if amt is None else amt
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken

    def __iter__(self) -> Iterator[bytes]:
        return self.stream()

    def json(self) -> Any:
        """The whole body, decoded."""
        return msgspec.json.decode(self.data)

    def getheaders(self) -> Mapping[str, str]:
        """All headers; names in any case."""
        return self.headers

    def getheader(self, name: str, default: str | None = None) -> str | None:
        """One header."""
        return self.headers.get(name, default)

    @property
    def network_stream(self) -> Any:
        """The open connection of an answer that switched protocols (httpx2's network stream); None for any other."""
        return self._answer.extensions.get("network_stream") if self.status == SWITCHING_PROTOCOLS else None

    @property
    def raw(self) -> Any:
        """The HTTP library's own answer."""
        return self._answer

    def hang_up(self) -> None:
        """End the connection, also under another thread that reads from it: it meets the end of the stream."""
        stream = self._answer.extensions.get("network_stream")
        connection = None if stream is None else stream.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back, or end it when the body is not read to its end."""
        self._answer.close()

    release_conn = close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_within(self, seconds: float) -> bytes:
        """The whole body. Raises TransportException when that takes longer, looking when a piece has come."""
        until = time.monotonic() + seconds
        with self._failing():
            pieces: list[bytes] = []
            for piece in self._answer.iter_bytes():
                pieces.append(piece)
                if time.monotonic() > until:
                    raise transport_failure(TimeoutError(f"no answer within {seconds:g} s"), self._request, self)
            return b"".join(pieces)

    def _failing(self) -> "Failing":
        return Failing(self._request, self)


RESTResponseType = RESTResponse


class Failing:
    """Turns the HTTP library's errors into ours."""

    def __init__(self, request: Request, answer: Any = None) -> None:
        self._request = request
        self._answer = answer

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, transport_errors()):
            raise transport_failure(error, self._request, self._answer) from error


class RESTClientObject:
    """Owns the HTTP client, made when first needed; or uses one that was handed in, and leaves it open."""

    def __init__(self, configuration: Configuration, http_client: Any = None) -> None:
        self.configuration = configuration
        self._given = http_client
        self._own: httpx2.Client | None = None
        self._lock = threading.Lock()

    @property
    def owns_http(self) -> bool:
        """Whether the HTTP client is its own."""
        return self._given is None

    def send(self, request: Request) -> RESTResponse:
        """Send it, and return as soon as the headers are here.

        Raises TransportException when they do not come.
        """
        http = self._given if self._given is not None else self._own_client()
        with Failing(request):
            message = http.build_request(**request_arguments(request, self.configuration))
            return RESTResponse(http.send(message, stream=True), request)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        _request_timeout: Timeout = None,
    ) -> RESTResponse:
        """Send these bytes. Raises TransportException when no answer comes."""
        return self.send(Request(method, url, headers or {}, body, timeout_pair(_request_timeout)))

    def close(self) -> None:
        """Close the connections. A later `send` opens new ones."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close()

    def _own_client(self) -> httpx2.Client:
        with self._lock:
            if self._own is None:
                transport = httpx2.HTTPTransport(**transport_settings(self.configuration))
                self._own = httpx2.Client(transport=transport, **client_settings(self.configuration))
            return self._own
