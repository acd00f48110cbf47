"""Everything this client raises.

    OpenApiException
    ├── ApiTypeError        (TypeError)       an argument or field of the wrong kind; nothing was sent
    ├── ApiValueError       (ValueError)      a value the protocol does not allow; nothing was sent
    ├── ApiAttributeError   (AttributeError)  a field that the model does not have
    ├── ApiKeyError         (KeyError)        a key that the model does not have
    ├── EventsMissed                      the server's log no longer holds events of a thread that is watched
    ├── SubscriptionOverrun               a subscription to a thread was not read, and has been cut
    └── ApiException                          the call failed; `status` is the HTTP status code
        ├── CommandError                 200    a thread refused a command; `code` says why
        ├── TransportException             0    no whole answer came: refused, timed out, cut off
        ├── BadRequestException          400
        ├── UnauthorizedException        401
        ├── ForbiddenException           403
        ├── NotFoundException            404
        ├── ConflictException            409
        ├── UnprocessableEntityException 422
        └── ServiceException             5xx

Any other status code is a plain `ApiException`.
"""

from collections.abc import Mapping
from typing import Any, Self


class OpenApiException(Exception):
    """The root of every error this client raises."""


class _WithPath(OpenApiException):
    def __init__(self, msg: str, path_to_item: list[str | int] | None = None) -> None:
        super().__init__(msg)
        self.path_to_item = path_to_item


class ApiTypeError(_WithPath, TypeError):
    """An argument or field of the wrong kind. `path_to_item` leads to it."""


class ApiValueError(_WithPath, ValueError):
    """A value that the protocol does not allow. `path_to_item` leads to it."""


class ApiAttributeError(_WithPath, AttributeError):
    """A field that the model does not have."""


class ApiKeyError(_WithPath, KeyError):
    """A key that the model does not have."""

    def __str__(self) -> str:
        # KeyError would show the repr of the message.
        return Exception.__str__(self)


class EventsMissed(OpenApiException):
    """Events of a thread are gone: its log did not hold them any more when they were asked for again.

    `missed` says which. The iteration can be taken up again; it goes on behind them.
    """

    def __init__(self, missed: Any) -> None:
        many = "events" if missed.count is None else f"{missed.count} events"
        super().__init__(f"the log no longer holds {many}, of its entries {missed.first} to {missed.last}")
        self.missed = missed


class SubscriptionOverrun(OpenApiException):
    """A subscription was not read while others were, until it held `held` events. It is over; others go on."""

    def __init__(self, held: int) -> None:
        super().__init__(f"the subscription holds {held} events that nobody has read; no more are kept for it")
        self.held = held


class ApiException(OpenApiException):
    """The call failed.

    `status` is the HTTP status code, or 0 when no whole answer came. `body` is the text of the answer,
    `data` what was read from it (an `ErrorResponse` where the server sent one, a string where it sent a
    bare JSON string), `headers` its headers, `http_resp` the raw answer.
    """

    def __init__(
        self,
        status: int | None = None,
        reason: str | None = None,
        http_resp: Any = None,
        *,
        body: str | None = None,
        data: Any = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.body = body
        self.data = data
        self.headers: Mapping[str, str] | None = None
        self.http_resp = http_resp
        if http_resp is not None:
            if self.status is None:
                self.status = http_resp.status
            if self.reason is None:
                self.reason = http_resp.reason
            self.headers = http_resp.getheaders()
        super().__init__(status, reason)

    @classmethod
    def from_response(cls, *, http_resp: Any, body: str | None, data: Any) -> Self:
        """Raises the error that an answer outside 2xx means; it never returns."""
        raise exception_for(http_resp.status)(http_resp=http_resp, body=body, data=data)

    @property
    def code(self) -> str | None:
        """The server's stable error code (such as `thread_busy`), where it sent one."""
        code: object = getattr(self.data, "code", None)
        return code if isinstance(code, str) else None

    def __str__(self) -> str:
        text = f"({self.status})\nReason: {self.reason}\n"
        if self.headers:
            text += f"HTTP response headers: {dict(self.headers)}\n"
        if self.data or self.body:
            text += f"HTTP response body: {self.data or self.body}\n"
        return text


class TransportException(ApiException):
    """No whole answer came: `status` is 0 and `__cause__` is the HTTP library's own error.

    `unsent`: the server cannot have seen the request. `timed_out`: the time for it is up.
    """

    unsent: bool = False
    timed_out: bool = False


class CommandError(ApiException):
    """A thread refused a command. `code` says why, such as `no_such_interrupt`; `message` is a sentence."""

    def __init__(self, code: str, message: str, data: Any = None) -> None:
        super().__init__(200, f"{code}: {message}", data=data)
        self.error = code
        self.message = message

    @property
    def code(self) -> str | None:
        """Why: invalid_argument, unknown_command, no_such_run, no_such_interrupt, no_such_checkpoint, ..."""
        return self.error

    def __str__(self) -> str:
        return f"{self.error}: {self.message}"


class BadRequestException(ApiException):
    """400: the request is malformed."""


class UnauthorizedException(ApiException):
    """401: the server wants credentials, or other ones."""


class ForbiddenException(ApiException):
    """403: these credentials do not allow it."""


class NotFoundException(ApiException):
    """404: there is no such agent, thread, run or item (for these credentials)."""


class ConflictException(ApiException):
    """409: the state of things does not allow it, such as a second run on a busy thread."""


class UnprocessableEntityException(ApiException):
    """422: the server refused a field; its message names it."""


class ServiceException(ApiException):
    """5xx: the server failed, or is not ready."""


_BY_STATUS: Mapping[int, type[ApiException]] = {
    0: TransportException,
    400: BadRequestException,
    401: UnauthorizedException,
    403: ForbiddenException,
    404: NotFoundException,
    409: ConflictException,
    422: UnprocessableEntityException,
}


def exception_for(status: int) -> type[ApiException]:
    """The class of error that a status code means."""
    if 500 <= status <= 599:
        return ServiceException
    return _BY_STATUS.get(status, ApiException)
