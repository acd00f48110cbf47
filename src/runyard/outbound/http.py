"""The only outgoing HTTP. Everything about a receiver is somebody else's: its name, its answers, its redirects.

A name is resolved once per connection; every address it has is checked, and the connection goes to one of those very
addresses, while the Host header and TLS go by the name. No connection is used twice, no proxy is asked, no cookie is
kept, and of an answer only its status and when to come back are read.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast
from urllib.parse import urldefrag, urljoin

from runyard.errors import InvalidInput, Undelivered
from runyard.outbound.contract import Letter, Reply
from runyard.outbound.guard import Address, Allowed, Bounds, Target, check, forbidden, parse_url
from runyard.outbound.signing import Secret, signed_headers

if TYPE_CHECKING:
    import ssl

    import httpx2

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name, as texts. Raises OSError where it has none."""

BODY_LIMIT = 16_384
"""Bytes of an answer's body that are read, so that an ordinary receiver can finish its sentence."""
BODY_PATIENCE = 1.0
"""Seconds for that. The status has said by then what there is to know."""
BODY_MARGIN = 0.05
"""Seconds by which reading a body ends before the time limit does: an answer that came just in time counts."""
MOST_ADDRESSES = 3
"""Addresses of a name that are tried, one after the other."""
FOLLOWED = frozenset({301, 302, 307, 308})
"""Redirects that may be followed with the same method and body; 303 asks for another."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name. On a thread of its own that nobody waits for: a name server that hangs holds up neither
    other names nor the end of the process."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def tell(found: Sequence[str] | OSError) -> None:
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    def ask() -> None:
        found: Sequence[str] | OSError
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found = [str(entry[4][0]).partition("%")[0] for entry in entries]
        except OSError as error:
            found = error
        except UnicodeError:
            found = OSError(f"{host} is no name that can be looked up")
        try:
            loop.call_soon_threadsafe(tell, found)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    threading.Thread(target=ask, name="runyard-resolver", daemon=True).start()
    return await answer


class HttpOutbound:
    """Sends letters as HTTP POST requests. `timeout` is in seconds, for one letter in all; `redirects` is how many are
    followed. `headers` go with every letter, to the receiver that its URL names and to no other."""

    def __init__(
        self,
        *,
        user_agent: str,
        allowed: Allowed,
        secrets: Sequence[Secret],
        timeout: float,
        redirects: int = 0,
        https_only: bool = False,
        bounds: Bounds = Bounds(),
        headers: Mapping[str, str] | None = None,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._user_agent = user_agent
        self._allowed = allowed
        self._secrets = secrets
        self._timeout = timeout
        self._redirects = redirects
        self._https_only = https_only
        self._bounds = bounds
        self._headers = headers or {}
        self._resolve = resolve
        self._tls = tls

    def check(self, url: str) -> None:
        self._target(url)

    async def send(self, letter: Letter) -> Reply:
        headers = {
            "content-type": "application/json",
            "user-agent": self._user_agent,
            "accept": "*/*",
            "connection": "close",
            **signed_headers(self._secrets, letter.message_id, letter.timestamp, letter.body),
        }
        tls = await self._prepared()
        try:
            target = self._target(letter.url)
            async with asyncio.timeout(self._timeout) as limit:
                return await self._follow(_Message(headers, letter.body, tls, limit.when() or 0.0), target)
        except InvalidInput as error:
            raise Undelivered(error.message, code="not_allowed") from None
        except TimeoutError:
            raise Undelivered(f"no answer within {self._timeout:g} s") from None

    def _target(self, url: str) -> Target:
        target = parse_url(url, https_only=self._https_only)
        self._bounds.check(target, url)
        check(target, self._allowed)
        return target

    async def _follow(self, message: _Message, target: Target) -> Reply:
        """The answer at the end of the redirects, or the first one that is not followed. Each is a new URL like any
        other, with the same message; what is for the first receiver alone goes to no other."""
        own = replace(message, headers={**self._headers, **message.headers})
        first = target
        for _ in range(self._redirects):
            status, answered = await self._post(own if _is_same(first, target) else message, target)
            location = answered.get("location")
            if status not in FOLLOWED or location is None:
                return Reply(status, answered.get("retry-after"))
            following = self._target(_joined(target.url, location))
            if target.scheme == "https" and following.scheme != "https":
                raise Undelivered(f"{target.host} redirects from https to {following.scheme}", code="not_allowed")
            target = following
        status, answered = await self._post(own if _is_same(first, target) else message, target)
        return Reply(status, answered.get("retry-after"))

    async def _post(self, message: _Message, target: Target) -> tuple[int, Mapping[str, str]]:
        """Status and headers of the answer."""
        import httpx2

        addresses = await self._addresses(target)
        for number, address in enumerate(addresses, start=1):
            try:
                return await _exchange(message, target, address, self._timeout / len(addresses))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if number == len(addresses):
                    why = str(error) or "it took too long"
                    raise Undelivered(f"{target.host} cannot be connected to: {why}", code="no_connection") from None
            except httpx2.HTTPError as error:
                why = str(error) or type(error).__name__
                raise Undelivered(f"{target.host} gave no answer in HTTP: {why}") from None
        raise AssertionError("a host has one address at least")

    async def _addresses(self, target: Target) -> list[Address]:
        """The addresses of a host, all of which have been checked."""
        if target.address is not None:
            return [target.address]
        try:
            found = await self._resolve(target.host, target.port)
        except OSError:
            found = ()
        addresses = list(dict.fromkeys(map(ip_address, found)))
        if not addresses:
            raise Undelivered(f"{target.host} has no address", code="name_not_found")
        kind = forbidden(addresses, target.host, self._allowed)
        if kind is not None:
            # The address itself is not told: names are no way to look around inside.
            raise Undelivered(
                f"{target.host} has a {kind} address; only the setting webhook_allow can allow that", code="not_allowed"
            )
        return addresses[:MOST_ADDRESSES]

    async def _prepared(self) -> ssl.SSLContext:
        """What certificates are checked with. Loads the HTTP library with it, when something is sent for the first
        time, and off the loop."""

        def load() -> ssl.SSLContext:
            import httpx2

            return httpx2.create_ssl_context()

        if self._tls is None:
            self._tls = await asyncio.to_thread(load)
        return self._tls


@dataclass(frozen=True)
class _Message:
    """What is sent, however often it is redirected, and the loop's time at which that has to be over."""

    headers: Mapping[str, str]
    body: bytes
    tls: ssl.SSLContext
    deadline: float


def _is_same(one: Target, other: Target) -> bool:
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def _joined(base: str, location: str) -> str:
    """Where a redirect leads: its fragment would not be sent."""
    try:
        return urldefrag(urljoin(base, location)).url
    except ValueError:
        return location  # no URL: it is refused as one


async def _exchange(
    message: _Message, target: Target, address: Address, patience: float
) -> tuple[int, Mapping[str, str]]:
    """One request on a connection of its own, to this address; `patience` is for connecting, in seconds."""
    import httpx2

    request = httpx2.Request(
        "POST",
        httpx2.URL(scheme=target.scheme, host=str(address), port=target.port, raw_path=target.path.encode("ascii")),
        headers={"host": target.authority, **message.headers},
        content=message.body,
        extensions={
            "sni_hostname": target.host,
            "timeout": {"connect": patience, "read": None, "write": None, "pool": None},
        },
    )
    async with httpx2.AsyncHTTPTransport(verify=message.tls, trust_env=False) as transport:
        response = await transport.handle_async_request(request)
        try:
            await _read_some(response, message.deadline)
        finally:
            await response.aclose()
        return response.status_code, response.headers


async def _read_some(response: httpx2.Response, deadline: float) -> None:
    """Lets the receiver send a body of ordinary size. What it is, and whether it comes to its end, is all the same."""
    import httpx2

    pieces = cast("AsyncIterable[bytes]", response.stream)
    until = min(asyncio.get_running_loop().time() + BODY_PATIENCE, deadline - BODY_MARGIN)
    size = 0
    try:
        async with asyncio.timeout_at(until):
            async for piece in pieces:
                size += len(piece)
                if size > BODY_LIMIT:
                    return
    except (TimeoutError, httpx2.HTTPError):
        return
