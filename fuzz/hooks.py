"""What Schemathesis has to know beside the document.

Numbers of 64 bits and texts without NUL are asked for in every corner of a body, below fields that may hold anything
too: JSON Schema cannot say that, so documents that are outside of the profile are not sent as valid ones. (The grammar
fuzzer and the tests send them, to see them refused.)

And a run that is to begin in fifty years is waited for, as its client asked: those of this client begin soon. A key
that made a run answers with it even when the run has been deleted since: keys of this client are used once.
"""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import schemathesis

from runyard.api.profile import decode
from runyard.errors import InvalidInput

LONGEST_KEY = 240
_USED = count(1)
SOON = 0.5
LATEST = 3_155_760_000
"""Seconds: what is larger is refused, and has to be sent as it is."""


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    return not isinstance(body, dict) or is_in_profile(body)


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    return "\0" not in str(query) and "\\x00" not in repr(query)


@schemathesis.hook
def map_headers(context: Any, headers: Any) -> Any:
    key = headers.get("Idempotency-Key") if headers else None
    if isinstance(key, str) and 0 < len(key) < LONGEST_KEY:
        headers["Idempotency-Key"] = f"{key}{next(_USED)}"
    return headers


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    delay = body.get("after_seconds") if isinstance(body, dict) else None
    if isinstance(delay, int | float) and not isinstance(delay, bool) and SOON < delay <= LATEST:
        return {**body, "after_seconds": SOON}
    return body


def is_in_profile(body: dict[str, Any]) -> bool:
    try:
        decode(json.dumps(body).encode())
    except (InvalidInput, TypeError):
        return False
    return True
