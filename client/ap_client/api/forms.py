"""From an operation to the methods that send it. Names, types and words are the operation's."""

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from ap_client.api_client import ApiClient
from ap_client.api_response import ApiResponse
from ap_client.call import Call
from ap_client.event_stream import EventStream
from ap_client.rest import RESTResponse
from ap_client.subscription import Subscription

P = ParamSpec("P")
R = TypeVar("R")


class Api:
    """A part of the API, over one client; the default client where none is given."""

    def __init__(self, api_client: ApiClient | None = None) -> None:
        self.api_client = ApiClient.get_default() if api_client is None else api_client


def data(operation: Callable[P, Call[R]]) -> Callable[Concatenate[Api, P], R]:
    """The plain form: what the answer holds."""

    @functools.wraps(operation)
    def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.api_client.send(operation(*args, **kwargs)).data

    return method


def http_info(operation: Callable[P, Call[R]]) -> Callable[Concatenate[Api, P], ApiResponse[R]]:
    """The `_with_http_info` form: the same with status code and headers."""

    @functools.wraps(operation)
    def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> ApiResponse[R]:
        return self.api_client.send(operation(*args, **kwargs))

    return method


def raw(operation: Callable[P, Call[Any]]) -> Callable[Concatenate[Api, P], RESTResponse]:
    """The `_without_preload_content` form: the raw answer, not read yet; no status code raises."""

    @functools.wraps(operation)
    def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> RESTResponse:
        return self.api_client.open(operation(*args, **kwargs))

    return method


def events(operation: Callable[P, Subscription]) -> Callable[Concatenate[Api, P], EventStream]:
    """The events of a run, as they happen."""

    @functools.wraps(operation)
    def method(self: Api, *args: P.args, **kwargs: P.kwargs) -> EventStream:
        return EventStream(self.api_client, operation(*args, **kwargs))

    return method
