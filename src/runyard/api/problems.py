"""Errors on the wire: which error is which HTTP status, decided here and nowhere else.

Every refusal has the same body, `{"code", "message", "metadata"}`, those of HTTP itself (404, 405, 408, 413, 415)
included.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from runyard import errors
from runyard.errors import InvalidInput, RunyardError

Headers = list[tuple[bytes, bytes]]

_STATUS: dict[type[RunyardError], int] = {
    errors.InvalidInput: 422,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.TooManyRuns: 429,
    errors.StillStopping: 504,
    errors.AgentFailed: 502,
    errors.AgentTimeout: 504,
    errors.AgentElsewhere: 501,
    errors.EmbeddingFailed: 502,
    errors.EmbeddingTimeout: 504,
    errors.Unavailable: 503,
    errors.StorageError: 503,
}

_RETRY_AFTER_SECONDS = b"1"


class Words(Protocol):
    """How a face tells of errors: this module, or one like it."""

    def answer(self, error: RunyardError) -> tuple[int, bytes, Headers]:
        """The status, the body and the additional headers of a refusal."""
        ...

    def internal(self) -> tuple[int, bytes, Headers]:
        """The same of a fault of ours."""
        ...


class Refused(RunyardError):
    """What HTTP itself forbids: it has a status of its own and perhaps headers."""

    def __init__(self, status: int, code: str, message: str, headers: Headers | None = None, **metadata: Any) -> None:
        super().__init__(message, code=code, **metadata)
        self.status = status
        self.headers = headers or []


def no_such_path(path: str) -> Refused:
    return Refused(404, "not_found", f"there is nothing at {path}; /docs lists what there is", path=path)


def wrong_method(method: str, path: str, allowed: list[str]) -> Refused:
    return Refused(
        405,
        "method_not_allowed",
        f"{path} does not take {method}; allowed: {', '.join(allowed)}",
        [(b"allow", ", ".join(allowed).encode())],
        method=method,
        allowed=allowed,
    )


def wrong_media_type(given: str) -> Refused:
    return Refused(
        415,
        "unsupported_media_type",
        f"the content-type is {given!r}; allowed: application/json",
        content_type=given,
    )


def too_slow(seconds: float) -> Refused:
    return Refused(
        408,
        "request_timeout",
        f"the request had not come completely after {seconds:g} s (setting body_timeout)",
        [(b"connection", b"close")],
        body_timeout=seconds,
    )


def status_of(error: RunyardError) -> int:
    """The HTTP status of an error; 500 for one that no client should ever see."""
    if isinstance(error, Refused):
        return error.status
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return 500


def answer(error: RunyardError) -> tuple[int, bytes, Headers]:
    """The status, the JSON body and the additional headers that tell a client about an error."""
    status = status_of(error)
    if status == 500:
        return internal()
    metadata = error.metadata
    if isinstance(error, InvalidInput) and "errors" not in metadata:
        fault = {"field": metadata.get("field"), "message": error.message}
        metadata = {**metadata, "errors": [fault]}
    return status, body_of(error.reason, error.message, metadata), headers_of(error, status)


def internal() -> tuple[int, bytes, Headers]:
    """What a client learns about a fault of ours: nothing but that it was one. The log has the rest."""
    return 500, body_of("internal_error", "the server failed; its log says why", {}), []


def body_of(code: str, message: str, metadata: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"code": code, "message": message, "metadata": metadata}, enc_hook=repr)


def headers_of(error: RunyardError, status: int) -> Headers:
    """The additional headers of a refusal."""
    if isinstance(error, Refused):
        return error.headers
    if status == 401:
        return [(b"www-authenticate", b'Bearer realm="runyard"')]
    if status in (429, 503):
        return [(b"retry-after", _RETRY_AFTER_SECONDS)]
    return []
