"""The sync shell: sends calls, one after the other, over one pool of connections."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from ap_client.api_response import ApiResponse
from ap_client.call import Call, Timeout, build_request, read_answer
from ap_client.configuration import Configuration
from ap_client.low_level import LowLevel, Pairs, request_of
from ap_client.rest import RESTClientObject, RESTResponse

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
        """Send a call and read the answer. Raises ApiException for an answer outside 2xx."""
        with self.open(call) as answer:
            return read_answer(call, answer.status, answer.reason, answer.headers, answer.data, answer)

    def close(self) -> None:
        """Close the connections."""
        self.rest_client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
