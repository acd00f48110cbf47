"""`ctx.store`: documents that outlive runs and threads, as agents read and write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from runyard.errors import RunyardError
from runyard.items import Item, ItemSearch, check_filter, check_namespace
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.plain import encode
from runyard.runtime.signals import NotSerialisable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoreItem(msgspec.Struct, frozen=True):
    """A document with its place and times."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime


def put(call: int, namespace: Sequence[str], key: str, value: Mapping[str, Any], ttl: float | None) -> StoreCall:
    """Raises InvalidInput, NotSerialisable."""
    text = encode(value, "the store value")
    if not text.startswith(b"{"):
        raise NotSerialisable(f"the store value is {value!r:.80}: must be a mapping")
    return StoreCall(call, "put", _namespace(namespace), key, text, ttl)


def get(call: int, namespace: Sequence[str], key: str) -> StoreCall:
    return StoreCall(call, "get", _namespace(namespace), key)


def delete(call: int, namespace: Sequence[str], key: str) -> StoreCall:
    return StoreCall(call, "delete", _namespace(namespace), key)


def search(call: int, prefix: Sequence[str], filter: Mapping[str, Any] | None, limit: int, offset: int) -> StoreCall:
    wanted = ItemSearch(_namespace(prefix), check_filter(dict(filter or {})), limit, offset)
    return StoreCall(call, "search", search=wanted)


def namespaces(call: int, prefix: Sequence[str]) -> StoreCall:
    return StoreCall(call, "namespaces", prefix=_namespace(prefix))


def checked(reply: StoreReply) -> StoreReply:
    """The reply itself, where the call did what it should. An absent item is no error.

    Raises:
        RunyardError: with the code of what went wrong.
    """
    if reply.error is not None and reply.error[0] not in ("item_not_found", "not_found"):
        raise RunyardError(reply.error[1], code=reply.error[0])
    return reply


def items(reply: StoreReply) -> list[StoreItem]:
    return [_item(item) for item in checked(reply).items]


def _item(item: Item) -> StoreItem:
    return StoreItem(
        item.namespace,
        item.key,
        msgspec.json.decode(item.value),
        _EPOCH + timedelta(microseconds=item.created_at),
        _EPOCH + timedelta(microseconds=item.updated_at),
    )


def _namespace(namespace: Sequence[str]) -> tuple[str, ...]:
    # A text is a sequence of letters: ("r", "e", ...) is never what was meant.
    return check_namespace((namespace,) if isinstance(namespace, str) else tuple(namespace))
