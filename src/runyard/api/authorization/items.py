"""The store as one request may use it: handlers say where, by the namespace, and what, by a filter on values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from runyard.api.authorization.closed import Closed
from runyard.api.authorization.filters import Pattern, shows
from runyard.api.authorization.guard import Guard, made_under
from runyard.api.indexed import IndexedItems
from runyard.errors import Forbidden, InvalidInput, NotFound, item_not_found
from runyard.items import Item, ItemSearch, Namespace, NamespaceQuery, check_namespace

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class GuardedItems(Closed):
    """`IndexedItems`, for one request."""

    def __init__(self, guard: Guard, items: IndexedItems) -> None:
        self._guard = guard
        self._items = items
        self._found: set[tuple[Namespace, str]] = set()
        """Items that this request was given: they are where they say."""
        self._gets: dict[tuple[Namespace, str], tuple[Namespace, str, Pattern | None]] = {}

    async def put_item(
        self,
        owner: str,
        namespace: Namespace,
        key: str,
        value: bytes,
        now: int,
        *,
        expires_at: int | None = None,
        index: bool | Sequence[str] | None = None,
    ) -> None:
        before = _decode(value)
        asked: dict[str, Any] = {"namespace": namespace, "key": key, "value": before, "index": index}
        pattern = await self._guard.ask("store", "put", asked)
        namespace, key = _place(asked)
        whole = made_under(_value(asked), pattern)

        async def check() -> None:
            await self._check(owner, namespace, key, now, pattern)

        await check()
        await self._items.put_item(
            owner, namespace, key, _encode(whole), now, expires_at=expires_at, index=_index(asked), at_last=check
        )

    async def _check(self, owner: str, namespace: Namespace, key: str, now: int, pattern: Pattern | None) -> None:
        """Raises `Forbidden` where there is an item already that may not be seen."""
        if pattern is None:
            return
        try:
            there = await self._items.get_item(owner, namespace, key, now)
        except NotFound:
            return
        if not shows(_decode(there.value), pattern):
            raise Forbidden(f"item {key!r} in namespace {list(namespace)!r} is somebody else's")

    async def get_item(self, owner: str, namespace: Namespace, key: str, now: int) -> Item:
        namespace, key, pattern = await self._got(namespace, key)
        item = await self._items.get_item(owner, namespace, key, now)
        if not shows(_decode(item.value), pattern):
            raise item_not_found(namespace, key)
        self._found.add((namespace, key))
        return item

    async def _got(self, namespace: Namespace, key: str) -> tuple[Namespace, str, Pattern | None]:
        if (namespace, key) not in self._gets:
            asked: dict[str, Any] = {"namespace": namespace, "key": key}
            pattern = await self._guard.ask("store", "get", asked)
            self._gets[namespace, key] = (*_place(asked), pattern)
        return self._gets[namespace, key]

    async def touch_items(self, owner: str, places: Sequence[tuple[Namespace, str]], now: int) -> None:
        touched: list[tuple[Namespace, str]] = []
        for namespace, key in places:
            if (namespace, key) in self._found:
                touched.append((namespace, key))
                continue
            namespace, key, pattern = await self._got(namespace, key)
            try:
                item = await self._items.get_item(owner, namespace, key, now)
            except NotFound:
                continue
            if shows(_decode(item.value), pattern):
                touched.append((namespace, key))
        if touched:
            await self._items.touch_items(owner, touched, now)

    async def delete_item(self, owner: str, namespace: Namespace, key: str, now: int) -> None:
        asked: dict[str, Any] = {"namespace": namespace, "key": key}
        pattern = await self._guard.ask("store", "delete", asked)
        namespace, key = _place(asked)
        if pattern is not None and not shows(
            _decode((await self._items.get_item(owner, namespace, key, now)).value), pattern
        ):
            raise item_not_found(namespace, key)
        await self._items.delete_item(owner, namespace, key, now)

    async def search_items(self, owner: str, query: ItemSearch, now: int, text: str | None = None) -> list[Item]:
        asked: dict[str, Any] = {
            "namespace": query.prefix, "filter": query.filter or None, "limit": query.limit, "offset": query.offset,
            "query": text,
        }  # fmt: skip
        pattern = await self._guard.ask("store", "search", asked)
        query = msgspec.structs.replace(query, prefix=_labels(asked["namespace"]), within=pattern)
        found = await self._items.search_items(owner, query, now, _text(asked))
        self._found.update((item.namespace, item.key) for item in found)
        return found

    async def namespaces(self, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
        asked: dict[str, Any] = {
            "namespace": query.prefix or None, "suffix": query.suffix or None, "max_depth": query.max_depth,
            "limit": query.limit, "offset": query.offset,
        }  # fmt: skip
        pattern = await self._guard.ask("store", "list_namespaces", asked)
        query = msgspec.structs.replace(query, prefix=_labels(asked["namespace"]), within=pattern)
        return await self._items.namespaces(owner, query, now)


def _place(asked: dict[str, Any]) -> tuple[Namespace, str]:
    key = asked.get("key")
    if not isinstance(key, str):
        raise Forbidden("the server's own rules failed: they made a key that is no text")
    return _labels(asked.get("namespace")), key


def _labels(namespace: Any) -> Namespace:
    """A namespace as a handler left it.

    Raises:
        Forbidden: it is none any more.
    """
    labels = () if namespace is None else namespace
    if isinstance(labels, list | tuple):
        texts = cast("list[Any] | tuple[Any, ...]", labels)
        if all(isinstance(label, str) for label in texts):
            try:
                return check_namespace(tuple(texts))
            except InvalidInput as error:
                raise Forbidden(f"the server's own rules failed: {error.message}") from None
    raise Forbidden("the server's own rules failed: they made a namespace that is no list of texts")


def _index(asked: dict[str, Any]) -> bool | Sequence[str] | None:
    index = asked.get("index")
    paths = cast("list[Any] | tuple[Any, ...]", index) if isinstance(index, list | tuple) else ()
    if (index is None or isinstance(index, bool | list | tuple)) and all(isinstance(path, str) for path in paths):
        return cast("bool | list[str] | None", index)
    raise Forbidden("the server's own rules failed: they made an index that is neither false nor a list of texts")


def _text(asked: dict[str, Any]) -> str | None:
    query = asked.get("query")
    if query is None or isinstance(query, str):
        return query
    raise Forbidden("the server's own rules failed: they made a query that is no text")


def _value(asked: dict[str, Any]) -> dict[str, Any]:
    value = asked.get("value")
    try:
        return msgspec.json.decode(_encode(value), type=dict[str, Any])
    except (msgspec.MsgspecError, TypeError) as error:
        raise Forbidden(f"the server's own rules failed: they made a value that cannot be kept ({error})") from None
