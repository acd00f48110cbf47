"""`ctx.store`: documents that outlive runs and threads, as agents read and write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import msgspec

from runyard.errors import InvalidInput, RunyardError, Unsupported
from runyard.items import Item, ItemSearch, NamespaceQuery, check_filter, check_namespace
from runyard.runtime.contract import StoreCall, StoreReply
from runyard.runtime.describe import shown
from runyard.runtime.index import NO_INDEX, Fields, Index, Meanings, Texts
from runyard.runtime.plain import check_name, encode
from runyard.runtime.signals import NotSerialisable

N = TypeVar("N", int, float)

MAX_TTL = 5_256_000_000.0
"""Minutes: ten thousand years, which is for ever and still a time."""
MAX_LIMIT = 2**31 - 1
MAX_KEY = 1_000_000
"""Characters in a key, and in a label of a namespace."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class StoreItem(msgspec.Struct, frozen=True):
    """A document with its place and times; `score` says how near it is to the query of a search by meaning."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    score: float | None = None


def put(
    call: int,
    namespace: Sequence[str],
    key: str,
    value: Mapping[str, Any],
    ttl: float | None,
    size: int,
    place: str = "the store value",
) -> StoreCall:
    """`size` is the most bytes that the document may take, `place` its name in errors.

    Raises:
        InvalidInput, NotSerialisable, ValueTooLarge.
    """
    text = encode(value, place, size)
    if not text.startswith(b"{"):
        raise NotSerialisable(f"{place} is {shown(value)}: must be a mapping")
    if ttl is not None:
        ttl = _number("ttl", ttl, float, 0.0, MAX_TTL)
    return StoreCall(call, "put", _namespace(namespace), _key(key), text, ttl)


def get(call: int, namespace: Sequence[str], key: str) -> StoreCall:
    return StoreCall(call, "get", _namespace(namespace), _key(key))


def delete(call: int, namespace: Sequence[str], key: str) -> StoreCall:
    return StoreCall(call, "delete", _namespace(namespace), _key(key))


def search(call: int, prefix: Sequence[str], filter: Mapping[str, Any] | None, limit: int, offset: int) -> StoreCall:
    # As plain data: objects of the code, which it may change or which do something when compared, stay on its side.
    plain = msgspec.json.decode(encode(filter or {}, "filter"))
    if not isinstance(plain, dict):
        raise NotSerialisable(f"filter is {shown(filter)}: must be a mapping")
    wanted = ItemSearch(
        _namespace(prefix),
        check_filter(cast("dict[str, Any]", plain)),
        _number("limit", limit, int, 0, MAX_LIMIT),
        _number("offset", offset, int, 0, MAX_LIMIT),
    )
    return StoreCall(call, "search", search=wanted)


def namespaces(call: int, prefix: Sequence[str]) -> StoreCall:
    return StoreCall(call, "namespaces", query=NamespaceQuery(prefix=_namespace(prefix)))


def texts_of(call: StoreCall, index: Index | None, fields: Fields, query: str | None) -> Texts:
    """What is to be embedded for a call: what is at the fields of an item that is put, or the query of a search.

    Raises:
        Unsupported: something is asked for by name, and there is no index.
        InvalidInput: there is too much of it.
    """
    if index is None:
        if fields or query:
            raise Unsupported(f"{'index' if fields else 'query'}: {NO_INDEX}", field="index" if fields else "query")
        return Texts()
    if call.method == "put":
        return Texts([index.texts(msgspec.json.decode(call.value), fields)])
    return Texts(queries=[query] if query else [])


def with_meanings(call: StoreCall, meanings: Meanings) -> StoreCall:
    """The same with the vectors of its texts."""
    if call.search is None:
        return msgspec.structs.replace(call, vectors=tuple(meanings.items[0]))
    return msgspec.structs.replace(call, search=msgspec.structs.replace(call.search, meaning=meanings.queries[0]))


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
        item.score,
    )


def _namespace(namespace: Sequence[str]) -> tuple[str, ...]:
    # A text is a sequence of letters: ("r", "e", ...) is never what was meant.
    labels = (namespace,) if isinstance(namespace, str) else tuple(namespace)
    return check_namespace([check_name(label, "a label of namespace", MAX_KEY) for label in labels])


def _key(key: str) -> str:
    return check_name(key, "key", MAX_KEY)


def _number(name: str, value: N, kind: type[N], least: N, most: N) -> N:
    if type(value) not in (int, kind) or not least <= value <= most:
        raise InvalidInput(f"{name} is {shown(value)}: must be a number from {least} to {most}", field=name)
    return kind(value)
