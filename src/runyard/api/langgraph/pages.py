"""Lists in the dialect: which page of one is answered, and which fields of each entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from runyard.api.call import Call
from runyard.errors import InvalidInput


def tell_pages(call: Call, offset: int, limit: int, found: int, total: int | None = None) -> None:
    """Where the next page begins, if `found` shows that there is one more; how many there are, where that is known."""
    more = found > limit
    if more:
        call.tell(b"x-pagination-next", b"%d" % (offset + limit))
    elif offset == 0 or found:
        total = offset + found
    if total is not None:
        call.tell(b"x-pagination-total", b"%d" % total)


def check_select(select: list[str], of: type[msgspec.Struct], *more: str) -> list[str]:
    """The fields that are to be told.

    Raises:
        InvalidInput: one is unknown.
    """
    known = [*(field.encode_name for field in msgspec.structs.fields(of)), *more]
    for name in select:
        if name not in known:
            raise InvalidInput(f"select has {name[:40]!r}; allowed: {', '.join(known)}", field="select")
    return select


def select(fields: dict[str, Any], chosen: Sequence[str] | None) -> dict[str, Any]:
    """The chosen ones of an answer's fields; None: all."""
    return fields if chosen is None else {name: fields[name] for name in chosen}
