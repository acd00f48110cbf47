"""A call as data: what to ask, and how to read the answer. No input and output in here.

An operation makes a `Call`; `build_request` turns it into the bytes to send, with a configuration;
`read_answer` turns the bytes that came back into a typed value, or raises the exception they mean.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any, Generic, TypedDict, TypeVar, cast, get_args, get_origin
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4

import msgspec

from ap_client.api_response import ApiResponse
from ap_client.configuration import Configuration
from ap_client.conversion import Structured, encode, read, shown
from ap_client.exceptions import ApiException, ApiTypeError, ApiValueError, exception_for
from ap_client.model import Model
from ap_client.models.error_response import ErrorResponse

R = TypeVar("R")
M = TypeVar("M", bound=Model)

Id = str | UUID
Timeout = float | tuple[float | None, float | None] | None
"""Seconds for everything, or (to connect, between two pieces of the answer); None waits for ever."""

RUN_IN_PATH = re.compile(r"/runs/([^/?#]+)")
"""Where an address, such as that in `Content-Location`, names a run."""

JSON = "application/json"
SWITCHING_PROTOCOLS = 101
ANY_STREAM = "text/event-stream, application/json"


class RequestOptions(TypedDict, total=False):
    """The keywords that every method takes, for one request.

    - `_request_timeout`: seconds, or (connect, read).
    - `_request_auth`: credentials instead of the configured ones, such as
      `{"in": "header", "key": "Authorization", "value": "Bearer ..."}` (in: header, query or cookie).
    - `_content_type`: what the body is called; it is JSON in any case.
    - `_headers`: headers to add, such as `Idempotency-Key`.
    - `_host_index`: which of the configuration's hosts to ask.
    """

    _request_timeout: Timeout
    _request_auth: dict[str, Any] | None
    _content_type: str | None
    _headers: Mapping[str, str] | None
    _host_index: int


_OPTIONS = frozenset(RequestOptions.__annotations__)
_IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One wish to ask a server something. Query values that are None are not sent.

    `headers` are what the operation itself needs; those of the options win over them. `idempotent`: doing it twice is
    the same as doing it once; where not said, the method says it. `creates`: it creates a run, once for each
    `Idempotency-Key`. `waits`: it is answered when a run has ended.
    """

    method: str
    path: str
    returns: type[R]
    options: RequestOptions
    ids: Mapping[str, Id] = field(default_factory=dict[str, Id])
    query: Mapping[str, object] = field(default_factory=dict[str, object])
    body: Model | None = None
    accept: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    idempotent: bool | None = None
    creates: bool = False
    waits: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether sending it twice is the same as sending it once; a creation is keyed when it is sent."""
        return self.creates or (self.method in _IDEMPOTENT if self.idempotent is None else self.idempotent)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.options) - _OPTIONS)
        if unknown:
            raise ApiTypeError(f"unexpected keyword {unknown[0]!r}; beyond its own a method takes {sorted(_OPTIONS)}")


def with_options(call: Call[R], **changes: Any) -> Call[R]:
    """The call with other options in these places."""
    return replace(call, options=cast("RequestOptions", {**call.options, **changes}))


def keyed(call: Call[R]) -> Call[R]:
    """The call with an `Idempotency-Key`, so that sending it twice creates one run; a key of its own stays."""
    headers = dict(call.options.get("_headers") or {})
    if any(name.lower() == "idempotency-key" for name in headers):
        return call
    return with_options(call, _headers=headers | {"Idempotency-Key": str(uuid4())})


@dataclass(frozen=True, slots=True)
class Request:
    """What goes over the wire. `timeout` is None where the HTTP client's own holds."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None = None
    timeout: tuple[float | None, float | None] | None = None


def body_of(kind: type[M], value: M | Mapping[str, Any] | None, name: str) -> M:
    """A request's body: a model, or a mapping with JSON names (sent with all its keys).

    Raises ApiTypeError, naming the argument, for anything else.
    """
    if isinstance(value, kind):
        return value
    if isinstance(value, Mapping):
        return kind.from_dict(value)
    raise ApiTypeError(f"{name} must be a {kind.__name__} or a mapping, not {shown(value)}", [name])


def build_request(
    call: Call[Any],
    configuration: Configuration,
    default_headers: Mapping[str, str],
    cookie: str | None = None,
) -> Request:
    """The bytes that a call means.

    Raises ApiValueError for a body, an id or a query that the protocol does not allow; unless the
    configuration has `client_side_validation` off, in which case the server says so.
    """
    if call.body is not None and configuration.client_side_validation:
        call.body.validate()
    headers = {**default_headers, "Accept": call.accept, **call.headers}
    query = [*_query_pairs(call.query)]
    content = None
    if call.body is not None:
        content = encode(call.body)
        headers["Content-Type"] = call.options.get("_content_type") or JSON
    if cookie:
        headers["Cookie"] = cookie
    request_auth = call.options.get("_request_auth")
    for auth in [request_auth] if request_auth else configuration.auth_settings().values():
        apply_auth(auth, headers, query)
    headers = _with(headers, call.options.get("_headers") or {})
    url = configuration.host_at(call.options.get("_host_index", 0)) + _path(call, configuration)
    if query:
        url += "?" + urlencode(query, quote_via=quote)
    return Request(call.method, url, headers, content, timeout_pair(call.options.get("_request_timeout")))


def _with(headers: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Header names differ in case alone: the later one wins."""
    names = {name.lower() for name in more}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(more)


def _path(call: Call[Any], configuration: Configuration) -> str:
    path = call.path
    for name, value in call.ids.items():
        if not isinstance(cast("object", value), str | UUID):
            raise ApiTypeError(f"{name} must be a string or a UUID, not {shown(value)}", [name])
        text = str(value)
        if text in ("", ".", ".."):
            raise ApiValueError(f"{name} must name something, not {text!r}", [name])
        path = path.replace("{" + name + "}", quote(text, safe=configuration.safe_chars_for_path_param))
    return path


def _query_pairs(query: Mapping[str, object]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, list | tuple):
            pairs += [(name, str(each)) for each in cast("list[object]", value)]
        elif isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        elif value is not None:
            pairs.append((name, str(value)))
    return pairs


def timeout_pair(given: Timeout) -> tuple[float | None, float | None] | None:
    """Seconds to connect and between two pieces of the answer; None where none were given."""
    if given is None:
        return None
    if isinstance(given, tuple):
        return given
    return given, given


def apply_auth(auth: Mapping[str, Any], headers: dict[str, str], query: list[tuple[str, str]]) -> None:
    """Put one credential where it says. Raises ApiValueError for another place than header, query or cookie."""
    place, key, value = auth.get("in"), str(auth.get("key")), auth.get("value")
    if not value:
        return
    if auth.get("type") == "basic" and not str(value).startswith("Basic "):
        value = "Basic " + base64.b64encode(str(value).encode()).decode()
    if place == "header":
        headers[key] = str(value)
    elif place == "query":
        query.append((key, str(value)))
    elif place == "cookie":
        mine = f"{key}={value}"
        headers["Cookie"] = f"{headers['Cookie']}; {mine}" if "Cookie" in headers else mine
    else:
        raise ApiValueError(f"authentication must be in header, query or cookie, not {place!r}")


def read_answer(
    call: Call[R],
    status: int,
    reason: str | None,
    headers: Mapping[str, str],
    content: bytes,
    raw: Any = None,
) -> ApiResponse[R]:
    """The typed value that an answer holds.

    Raises the ApiException of its status code outside 2xx, and for a body that cannot be read.
    """
    media = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if not (200 <= status <= 299 or (status == SWITCHING_PROTOCOLS and "Upgrade" in call.headers)):
        raise failure(status, reason, content, raw)
    returns = cast("Any", call.returns)
    if returns is NoneType:
        return ApiResponse(status, headers, cast("R", None), content)
    if returns is str or (returns is object and not is_json(media)):
        return ApiResponse(status, headers, cast("R", content.decode("utf-8", "replace")), content)
    try:
        plain = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        text = content.decode("utf-8", "replace")
        raise exception_for(status)(status, f"the answer is not JSON: {error}", raw, body=text[:2000]) from error
    if not _shaped(returns, plain):
        wanted = "a list" if get_origin(returns) is list else "an object"
        raise exception_for(status)(status, f"the answer is not {wanted}", raw, data=plain)
    return ApiResponse(status, headers, cast("R", read(returns, plain)), content)


def failure(status: int, reason: str | None, content: bytes, raw: Any) -> ApiException:
    """The exception that an answer outside 2xx means."""
    text = content.decode("utf-8", "replace")
    data: Any = text
    try:
        found = msgspec.json.decode(content)
        data = ErrorResponse.from_dict(cast("Mapping[str, Any]", found)) if isinstance(found, Mapping) else found
    except msgspec.DecodeError:
        data = None
    return exception_for(status)(status, reason, raw, body=text, data=data)


def is_json(media: str) -> bool:
    """Whether a media type is JSON; none at all is taken for it."""
    name = media.partition(";")[0].strip().lower()
    return name in ("", JSON) or name.endswith("+json")


def _shaped(returns: Any, value: object) -> bool:
    if get_origin(returns) is list:
        inner = get_args(returns)[0]
        return isinstance(value, list) and all(_shaped(inner, each) for each in cast("list[object]", value))
    if isinstance(returns, type) and issubclass(returns, Structured):
        return isinstance(value, Mapping)
    return True
