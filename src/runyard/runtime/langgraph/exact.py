"""Whether JSON gives exactly the same value back."""

from __future__ import annotations

import math
from typing import Any, cast

MAX_DEPTH = 100
"""How deeply a plain value may be nested; what is deeper is kept in its typed form."""
MAX_PARTS = 10_000_000
"""Parts of a plain value: a list that holds another many times over is small in memory only."""

_MIN, _MAX = -(2**63), 2**64 - 1


def is_text(value: Any) -> bool:
    """Whether it is text that every database and every client can hold: no subclass, no lone surrogate, no NUL."""
    return type(value) is str and "\0" not in value and (value.isascii() or _is_unicode(value))


def is_plain(value: Any) -> bool:
    """Whether a value comes back from JSON as it is: text, booleans, None, integers of 64 bits, finite floats, lists,
    and dicts whose keys are text. Subclasses, tuples and sets are none of them."""
    return _left(value, MAX_DEPTH, MAX_PARTS) >= 0


def _left(value: Any, depth: int, left: int) -> int:
    """How many parts may follow after this one; below 0 for what is not plain."""
    kind = cast(Any, type(value))
    if kind is str:
        return left if is_text(value) else -1
    if kind is bool or value is None:
        return left
    if kind is int:
        return left if _MIN <= value <= _MAX else -1
    if kind is float:
        return left if math.isfinite(value) else -1
    if depth == 0:
        return -1
    if kind is dict:
        parts = cast("dict[Any, Any]", value)
        left -= len(parts)
        for key in parts:
            if not is_text(key):
                return -1
        items: Any = parts.values()
    elif kind is list:
        items = cast("list[Any]", value)
        left -= len(items)
    else:
        return -1
    for item in items:
        if type(item) is str:
            if not is_text(item):
                return -1
        else:
            left = _left(item, depth - 1, left)
        if left < 0:
            return -1
    return left


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
