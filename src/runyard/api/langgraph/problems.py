"""Errors in the dialect: `{"detail": text}`, and beside it the code that is the same under every face."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from runyard.api import problems
from runyard.api.problems import Headers
from runyard.errors import RunyardError


class ErrorDetail(msgspec.Struct, kw_only=True):
    """Every refusal, whatever refused."""

    detail: Annotated[str, Meta(description="For people: the field, its value, what is allowed.")]
    code: Annotated[str, Meta(description="Stable, for programs; the same under every face.")]


def answer(error: RunyardError) -> tuple[int, bytes, Headers]:
    """The status, the JSON body and the additional headers that tell a client about an error."""
    status = problems.status_of(error)
    if status == 500:
        return internal()
    return status, body_of(error.reason, error.message), problems.headers_of(error, status)


def internal() -> tuple[int, bytes, Headers]:
    """What a client learns about a fault of ours."""
    return 500, body_of("internal_error", "the server failed; its log says why"), []


def body_of(code: str, message: str) -> bytes:
    return msgspec.json.encode({"detail": message, "code": code})
