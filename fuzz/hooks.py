"""What Schemathesis has to know beside the document.

Numbers of 64 bits and texts without NUL are asked for in every corner of a body, below fields that may hold anything
too: JSON Schema cannot say that, so documents that are outside of the profile are not sent as valid ones. (The grammar
fuzzer and the tests send them, to see them refused.)
"""

from __future__ import annotations

import json
from typing import Any

import schemathesis

from runyard.api.profile import decode
from runyard.errors import InvalidInput


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    return not isinstance(body, dict) or is_in_profile(body)


@schemathesis.hook
def filter_query(context: Any, query: Any) -> bool:
    return "\0" not in str(query) and "\\x00" not in repr(query)


def is_in_profile(body: dict[str, Any]) -> bool:
    try:
        decode(json.dumps(body).encode())
    except (InvalidInput, TypeError):
        return False
    return True
