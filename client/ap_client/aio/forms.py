"""From an operation to the coroutine methods that send it. Names, types and words are the operation's."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from ap_client.aio.client import ApiClient, RESTResponse
from ap_client.aio.event_stream import EventStream
from ap_client.api_response import ApiResponse
from ap_client.call import Call
from ap_client.subscription import Subscription

P = ParamSpec("P")
R = TypeVar("R")


class Api:
    """A part of the API, over one client."""

    def __init__(self, api_client: ApiClient) -> None:
        self.api_client = api_client


def data(operation: Callable[P, Call[R]]) -> Callable[Concatenate[Api, P], Coroutine[Any, Any, R]]:
    """The plain form: what the answer holds."""

    @functools.wraps(operation)
    async def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> R:
        return (await self.api_client.send(operation(*args, **kwargs))).data

    return method


def http_info(operation: Callable[P, Call[R]]) -> Callable[Concatenate[Api, P], Coroutine[Any, Any, ApiResponse[R]]]:
    """The `_with_http_info` form: the same with status code and headers."""

    @functools.wraps(operation)
    async def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> ApiResponse[R]:
        return await self.api_client.send(operation(*args, **kwargs))

    return method


def raw(operation: Callable[P, Call[Any]]) -> Callable[Concatenate[Api, P], Coroutine[Any, Any, RESTResponse]]:
    """The `_without_preload_content` form: the raw answer, not read yet; no status code raises."""

    @functools.wraps(operation)
    async def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> RESTResponse:
        return await self.api_client.open(operation(*args, **kwargs))

    return method


def events(operation: Callable[P, Subscription]) -> Callable[Concatenate[Api, P], Coroutine[Any, Any, EventStream]]:
    """The events of a run, as they happen: `async for event in await api.stream_run_events(...)`."""

    @functools.wraps(operation)
    async def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> EventStream:
        stream = EventStream(self.api_client, operation(*args, **kwargs))
        await stream.connect()
        return stream

    return method
