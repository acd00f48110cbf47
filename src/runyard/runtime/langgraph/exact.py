"""Which Python values JSON gives back exactly as they were."""

from __future__ import annotations

import math
from typing import Any, cast

DEPTH = 100
"""How deep plain data may be nested: beyond that, decoders disagree."""
_INT = 2**63


def is_exact(value: Any, depth: int = 0) -> bool:
    """Whether a value is plain data: null, booleans, finite numbers (whole ones of 64 bits), text without lone
    surrogates, lists, and dictionaries with text as keys; none of a subclass."""
    kind = cast(Any, type(cast(object, value)))
    if kind is str:
        return cast(str, value).isascii() or _encodes(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return -_INT <= value < _INT
    if kind is float:
        return math.isfinite(value)
    if depth >= DEPTH:
        return False
    if kind is dict:
        for key, item in cast("dict[Any, Any]", value).items():
            if type(key) is not str or not (key.isascii() or _encodes(key)) or not is_exact(item, depth + 1):
                return False
        return True
    if kind is list:
        return all(is_exact(item, depth + 1) for item in cast("list[Any]", value))
    return False


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
