"""The store: items under namespaces and keys."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from runyard.api import answers, wire
from runyard.api.call import Call
from runyard.api.operation import operation
from runyard.api.problems import Refused
from runyard.errors import InvalidInput
from runyard.items import Item, ItemSearch, Namespace, NamespaceQuery, check_filter, check_namespace

_encode = msgspec.json.Encoder().encode


@operation("Store", needs="write", body=wire.STORE_PUT)
async def put_item(call: Call) -> None:
    """Store or update an item"""
    body = await call.body(wire.STORE_PUT)
    now = call.api.verbs.clock.now()
    expires_at = call.api.lasting.until(now, None if body.ttl is UNSET else body.ttl)
    await call.api.items.put_item(
        call.owner,
        check_namespace(body.namespace),
        _key(body.key),
        _encode(body.value),
        now,
        expires_at=expires_at,
        index=None if body.index is UNSET else body.index,
    )
    await call.no_content()


@operation("Store", needs="write", body=wire.STORE_DELETE, errors=(404,))
async def delete_item(call: Call) -> None:
    """Delete an item"""
    body = await call.body(wire.STORE_DELETE)
    now = call.api.verbs.clock.now()
    await call.api.items.delete_item(call.owner, _namespace(body.namespace), _key(body.key), now)
    await call.no_content()


@operation("Store", needs="read", query=wire.ITEM_QUERY, answer=answers.Item, errors=(400, 404))
async def get_item(call: Call) -> None:
    """Retrieve a single item"""
    query = call.query(wire.ITEM_QUERY)
    try:
        namespace = _namespace(query.namespace)
    except InvalidInput as error:
        # The protocol lists a 400 for this operation alone; a namespace in a body is a 422 like any other field.
        raise Refused(400, error.reason, error.message, **error.metadata) from None
    now = call.api.verbs.clock.now()
    item = await call.api.items.get_item(call.owner, namespace, _key(query.key), now)
    await _used(call, [item], now)
    await call.answer(answers.item(item))


@operation("Store", needs="read", body=wire.STORE_SEARCH, answer=answers.SearchItemsResponse)
async def search_items(call: Call) -> None:
    """Search for items below a namespace prefix

    Updated last comes first; with a query, those whose meaning is nearest to its.
    """
    body = await call.body(wire.STORE_SEARCH)
    search = ItemSearch(
        prefix=check_namespace(body.namespace_prefix or [], "namespace_prefix"),
        filter=check_filter(body.filter or {}),
        limit=body.limit,
        offset=body.offset,
    )
    now = call.api.verbs.clock.now()
    found = await call.api.items.search_items(call.owner, search, now, None if body.query is UNSET else body.query)
    await _used(call, found, now)
    await call.answer(b'{"items":' + answers.array(map(answers.item, found)) + b"}")


@operation("Store", needs="read", body=wire.STORE_NAMESPACES, answer=list[list[str]])
async def list_namespaces(call: Call) -> None:
    """List namespaces

    Sorted, each once, cut to `max_depth`.
    """
    body = await call.body(wire.STORE_NAMESPACES)
    query = NamespaceQuery(
        prefix=check_namespace(body.prefix, "prefix"),
        suffix=check_namespace(body.suffix, "suffix"),
        max_depth=None if body.max_depth is UNSET else body.max_depth,
        limit=body.limit,
        offset=body.offset,
    )
    found = await call.api.items.namespaces(call.owner, query, call.api.verbs.clock.now())
    await call.answer(_encode(found))


async def _used(call: Call, found: Sequence[Item], now: int) -> None:
    """Items that are kept for a time after they were last used have been, where the server is told to count reading."""
    places = [(item.namespace, item.key) for item in found if item.ttl is not None]
    if places and call.api.lasting.refresh:
        await call.api.items.touch_items(call.owner, places, now)


def _namespace(labels: list[str] | UnsetType) -> Namespace:
    return () if labels is UNSET else check_namespace(labels)


def _key(key: str) -> str:
    if "\0" in key:
        raise InvalidInput(f"key is {key!r}; NUL is not allowed in it", field="key")
    return key
