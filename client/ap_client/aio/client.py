"""The async shell: sends the same calls over an async httpx2 client."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from ap_client.aio.event_stream import EventStream
from ap_client.api_response import ApiResponse
from ap_client.call import SWITCHING_PROTOCOLS, Call, Request, Timeout, build_request, read_answer
from ap_client.configuration import Configuration
from ap_client.exceptions import ApiException, TransportException
from ap_client.flow import Exchange, Flow, Follow, Now, Pause, Step
from ap_client.low_level import LowLevel, Pairs, request_of
from ap_client.rest import Failing, client_settings, request_arguments, transport_settings
from ap_client.sending import sending
from ap_client.subscription import Subscription

R = TypeVar("R")


class RESTResponse:
    """A raw answer whose body is read when asked for. Close it, or use it as an async context manager."""

    def __init__(self, answer: Any, request: Request) -> None:
        self._answer = answer
        self._request = request
        self.status: int = answer.status_code
        self.reason: str = answer.reason_phrase
        self.headers: Mapping[str, str] = answer.headers

    async def read(self) -> bytes:
        """The whole body."""
        with Failing(self._request, self):
            return bytes(await self._answer.aread())

    async def stream(self, amt: int | None = None) -> AsyncIterator[bytes]:
        """The body in pieces as they come (of `amt` bytes where given)."""
        with Failing(self._request, self):
            async for piece in self._answer.aiter_bytes(amt):
                yield piece

    def getheaders(self) -> Mapping[str, str]:
        """All headers; names in any case."""
        return self.headers

    @property
    def network_stream(self) -> Any:
        """The open connection of an answer that switched protocols (httpx2's network stream); None for any other."""
        return self._answer.extensions.get("network_stream") if self.status == SWITCHING_PROTOCOLS else None

    async def close(self) -> None:
        """Give the connection back, or end it when the body is not read to its end."""
        await self._answer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class ApiClient(LowLevel):
    """`ap_client.ApiClient` with `await`. It belongs to one event loop; `http_client` is an async client."""

    def __init__(
        self,
        configuration: Configuration | None = None,
        header_name: str | None = None,
        header_value: str | None = None,
        cookie: str | None = None,
        *,
        http_client: Any = None,
    ) -> None:
        super().__init__(configuration, header_name, header_value, cookie, "python, async")
        self._given = http_client
        self._own: httpx2.AsyncClient | None = None

    async def open(self, call: Call[Any]) -> RESTResponse:
        """Send a call, and return as soon as the headers of the answer are here, whatever its status code.

        Raises TransportException when they do not come, ApiValueError when the call cannot be sent.
        """
        return await self._send(build_request(call, self.configuration, self.default_headers, self.cookie))

    async def call_api(
        self,
        method: str,
        url: str,
        header_params: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Pairs | None = None,
        _request_timeout: Timeout = None,
    ) -> RESTResponse:
        """Send what `param_serialize` made; the answer is not read yet. Raises TransportException when none comes."""
        return await self._send(request_of(method, url, header_params, body, post_params, _request_timeout))

    async def _send(self, request: Request) -> RESTResponse:
        http = self._given if self._given is not None else self._own_client()
        with Failing(request):
            message = http.build_request(**request_arguments(request, self.configuration))
            return RESTResponse(await http.send(message, stream=True), request)

    async def send(self, call: Call[R]) -> ApiResponse[R]:
        """Send a call and read the answer, again after failures that may pass (see `Configuration.retries`).

        Raises ApiException for an answer outside 2xx.
        """
        return await self.perform(sending(call, self.configuration))

    async def perform(self, flow: Flow[R]) -> R:
        """Do what a flow says, and return what it returns. Raises what it raises."""
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._do(step)
                except ApiException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as done:
            return done.value

    async def _do(self, step: Step) -> Any:
        match step:
            case Exchange(call, seconds):
                return await self._exchange(call, seconds)
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Now():
                return time.monotonic()
            case Follow(subscription):
                async for _ in self.events(subscription):
                    pass

    async def _exchange(self, call: Call[R], seconds: float | None) -> ApiResponse[R]:
        answer: RESTResponse | None = None
        try:
            async with asyncio.timeout(seconds):
                async with await self.open(call) as answer:
                    content = await answer.read()
                    return read_answer(call, answer.status, answer.reason, answer.headers, content, answer)
        except TimeoutError as error:
            failure = TransportException(0, f"{call.method} {call.path}: no answer within {seconds:g} s", answer)
            failure.timed_out = True
            raise failure from error

    def events(self, subscription: Subscription) -> EventStream:
        """The events of a subscription; the first request is sent when the first event is asked for."""
        return EventStream(self, subscription)

    async def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        own, self._own = self._own, None
        if own is not None:
            await own.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _own_client(self) -> httpx2.AsyncClient:
        if self._own is None:
            transport = httpx2.AsyncHTTPTransport(**transport_settings(self.configuration))
            self._own = httpx2.AsyncClient(transport=transport, **client_settings(self.configuration))
        return self._own
