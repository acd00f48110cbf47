"""The sync shell: sends calls, one after the other, over one pool of connections."""

import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from ap_client.api_response import ApiResponse
from ap_client.call import Call, Timeout, build_request, read_answer
from ap_client.configuration import Configuration
from ap_client.event_stream import EventStream
from ap_client.exceptions import ApiException
from ap_client.flow import Exchange, Flow, Follow, Now, Pause, Step
from ap_client.low_level import LowLevel, Pairs, request_of
from ap_client.rest import RESTClientObject, RESTResponse
from ap_client.sending import sending
from ap_client.subscription import Subscription

R = TypeVar("R")


class ApiClient(LowLevel):
    """A client of one server; threads may share it.

    `header_name` and `header_value` are sent with every request, and so is `cookie`. `http_client` is an
    httpx2 or httpx client to send with; its own settings (timeouts, TLS, proxies) hold, and it stays open.
    As a context manager it closes its connections at the end; using it again opens new ones.
    """

    _default: ClassVar["ApiClient | None"] = None

    def __init__(
        self,
        configuration: Configuration | None = None,
        header_name: str | None = None,
        header_value: str | None = None,
        cookie: str | None = None,
        *,
        http_client: Any = None,
    ) -> None:
        super().__init__(configuration, header_name, header_value, cookie, "python")
        self.rest_client = RESTClientObject(self.configuration, http_client)

    @classmethod
    def get_default(cls) -> "ApiClient":
        """The client that an API object takes when it gets none."""
        if cls._default is None:
            cls._default = ApiClient()
        return cls._default

    @classmethod
    def set_default(cls, default: "ApiClient | None") -> None:
        """Make this the client that an API object takes when it gets none."""
        cls._default = default

    def call_api(
        self,
        method: str,
        url: str,
        header_params: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Pairs | None = None,
        _request_timeout: Timeout = None,
    ) -> RESTResponse:
        """Send what `param_serialize` made; the answer is not read yet. Raises TransportException when none comes."""
        return self.rest_client.send(request_of(method, url, header_params, body, post_params, _request_timeout))

    def open(self, call: Call[Any]) -> RESTResponse:
        """Send a call, and return as soon as the headers of the answer are here, whatever its status code.

        Raises TransportException when they do not come, ApiValueError when the call cannot be sent.
        """
        return self.rest_client.send(build_request(call, self.configuration, self.default_headers, self.cookie))

    def send(self, call: Call[R]) -> ApiResponse[R]:
        """Send a call and read the answer, again after failures that may pass (see `Configuration.retries`).

        Raises ApiException for an answer outside 2xx.
        """
        return self.perform(sending(call, self.configuration))

    def perform(self, flow: Flow[R]) -> R:
        """Do what a flow says, and return what it returns. Raises what it raises."""
        try:
            step = next(flow)
            while True:
                try:
                    result = self._do(step)
                except ApiException as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as done:
            return done.value

    def _do(self, step: Step) -> Any:
        match step:
            case Exchange(call, seconds):
                with self.open(call) as answer:
                    content = answer.data if seconds is None else answer.read_within(seconds)
                    return read_answer(call, answer.status, answer.reason, answer.headers, content, answer)
            case Pause(seconds):
                time.sleep(seconds)
            case Now():
                return time.monotonic()
            case Follow(subscription):
                deque(self.events(subscription), maxlen=0)

    def events(self, subscription: Subscription) -> EventStream:
        """The events of a subscription; the first request is sent at once."""
        return EventStream(self, subscription)

    def close(self) -> None:
        """Close the connections."""
        self.rest_client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
