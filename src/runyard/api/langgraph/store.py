"""The store in the dialect: items under namespaces and keys."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from runyard.api.call import Call
from runyard.api.langgraph import answers, wire
from runyard.api.operation import operation
from runyard.errors import InvalidInput, NotFound
from runyard.items import ItemSearch, Namespace, NamespaceQuery, check_filter, check_namespace

_RESERVED = "langgraph"

_encode = msgspec.json.Encoder().encode


@operation("Store", needs="write", body=wire.ITEM_PUT)
async def put_item(call: Call) -> None:
    """Store or update an item"""
    body = await call.body(wire.ITEM_PUT)
    now = call.api.verbs.clock.now()
    expires_at = call.api.lasting.until(now, body.ttl)
    namespace = _named(body.namespace, "namespace")
    value = _encode(body.value)
    await call.api.items.put_item(
        call.owner, namespace, _key(body.key), value, now, expires_at=expires_at, index=body.index
    )
    await call.no_content()


@operation("Store", needs="read", query=wire.ITEM_QUERY, answer=answers.Item | None)
async def get_item(call: Call) -> None:
    """Retrieve a single item

    null where there is none.
    """
    query = call.query(wire.ITEM_QUERY)
    namespace, key, now = _joined(query), _key(query.key), call.api.verbs.clock.now()
    try:
        if call.api.lasting.refresh if query.refresh_ttl is UNSET else query.refresh_ttl:
            await call.api.items.touch_items(call.owner, [(namespace, key)], now)
        item = await call.api.items.get_item(call.owner, namespace, key, now)
    except NotFound:
        await call.answer(b"null")
        return
    await call.answer(_encode(answers.item(item)))


@operation("Store", needs="write", body=wire.ITEM_DELETE)
async def delete_item(call: Call) -> None:
    """Delete an item

    One that is not there is as good as deleted.
    """
    body = await call.body(wire.ITEM_DELETE)
    now = call.api.verbs.clock.now()
    try:
        namespace = check_namespace(body.namespace or [])
        await call.api.items.delete_item(call.owner, namespace, _key(body.key), now)
    except NotFound:
        pass
    await call.no_content()


@operation("Store", needs="read", body=wire.STORE_SEARCH, answer=answers.FoundItems)
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
    found = await call.api.items.search_items(call.owner, search, now, body.query)
    if call.api.lasting.refresh if body.refresh_ttl is None else body.refresh_ttl:
        await call.api.items.touch_items(call.owner, [(item.namespace, item.key) for item in found], now)
    await call.answer(_encode({"items": [answers.found_item(item) for item in found]}))


@operation("Store", needs="read", body=wire.NAMESPACES, answer=answers.Namespaces)
async def list_namespaces(call: Call) -> None:
    """List namespaces

    Sorted, each once, cut to `max_depth`.
    """
    body = await call.body(wire.NAMESPACES)
    query = NamespaceQuery(
        prefix=check_namespace(body.prefix or [], "prefix"),
        suffix=check_namespace(body.suffix or [], "suffix"),
        max_depth=body.max_depth,
        limit=body.limit,
        offset=body.offset,
    )
    found = await call.api.items.namespaces(call.owner, query, call.api.verbs.clock.now())
    await call.answer(_encode({"namespaces": found}))


def _named(labels: list[str], field: str) -> Namespace:
    """A namespace to put something into.

    Raises:
        InvalidInput: it is empty or reserved, or a label is empty, or holds `.` or NUL.
    """
    if not labels:
        raise InvalidInput(f"{field} is empty; one label is needed at least", field=field)
    if labels[0] == _RESERVED:
        raise InvalidInput(f"{field}[0] is {_RESERVED!r}, which is reserved", field=f"{field}[0]")
    for index, label in enumerate(labels):
        if "." in label:
            raise InvalidInput(
                f"{field}[{index}] is {label[:80]!r}: a label has no `.`, which joins them", field=f"{field}[{index}]"
            )
    return check_namespace(labels, field)


def _joined(query: wire.ItemQuery) -> Namespace:
    texts = [] if query.namespace is UNSET else query.namespace
    return check_namespace([label for text in texts for label in text.split(".") if text])


def _key(key: str) -> str:
    if "\0" in key:
        raise InvalidInput(f"key is {key!r}; NUL is not allowed in it", field="key")
    return key
