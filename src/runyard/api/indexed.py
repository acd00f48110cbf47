"""The store as requests use it: what they put is embedded where there is an index of meanings, and searched by it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from runyard.api.embedding import Embedding
from runyard.errors import Unsupported
from runyard.items import Item, ItemSearch, Namespace, NamespaceQuery
from runyard.runtime.index import NO_INDEX, Fields, Texts
from runyard.storage.contract import Storage
from runyard.vectors import Vector

LARGE = 50_000
"""Bytes of a value from which on its texts are taken out of it in another thread."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class IndexedItems:
    """The part of `Storage` that holds items. Without an embedding there is no index."""

    def __init__(self, storage: Storage, embedding: Embedding | None = None) -> None:
        self._storage = storage
        self._embedding = embedding

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
        at_last: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """As `Storage`; `index` says what of it is embedded: nothing (false), what is at these paths, or what the index
        says. That may take long: `at_last` is called behind it, and may forbid the put.

        Raises:
            Unsupported: something is to be, and there is no index.
            InvalidInput: there is too much of that.
            EmbeddingFailed: the embedding failed, or took too long.
        """
        if index and self._embedding is None:
            raise Unsupported(f"index: {NO_INDEX}; leave it out", field="index")
        vectors = await self._vectors(value, None if index is True else index)
        if at_last is not None:
            await at_last()
        await self._storage.put_item(owner, namespace, key, value, now, expires_at=expires_at, vectors=vectors)

    async def _vectors(self, value: bytes, fields: Fields) -> Sequence[Vector]:
        if self._embedding is None or fields is False:
            return ()
        texts = await _texts(self._embedding, value, fields)
        return (await self._embedding.meanings(Texts([texts]))).items[0] if texts else ()

    async def search_items(self, owner: str, query: ItemSearch, now: int, text: str | None = None) -> list[Item]:
        """As `Storage`; with a text, by what that means. Raises as `put_item`."""
        if text:
            if self._embedding is None:
                raise Unsupported(f"query: {NO_INDEX}; use filter", field="query")
            meanings = await self._embedding.meanings(Texts(queries=[text]))
            query = msgspec.structs.replace(query, meaning=meanings.queries[0])
        return await self._storage.search_items(owner, query, now)

    async def get_item(self, owner: str, namespace: Namespace, key: str, now: int) -> Item:
        """As `Storage`."""
        return await self._storage.get_item(owner, namespace, key, now)

    async def delete_item(self, owner: str, namespace: Namespace, key: str, now: int) -> None:
        """As `Storage`."""
        await self._storage.delete_item(owner, namespace, key, now)

    async def touch_items(self, owner: str, places: Sequence[tuple[Namespace, str]], now: int) -> None:
        """As `Storage`."""
        await self._storage.touch_items(owner, places, now)

    async def namespaces(self, owner: str, query: NamespaceQuery, now: int) -> list[Namespace]:
        """As `Storage`."""
        return await self._storage.namespaces(owner, query, now)


async def _texts(embedding: Embedding, value: bytes, fields: Fields) -> list[str]:
    def found() -> list[str]:
        document: Mapping[str, Any] = _decode(value)
        return embedding.index.texts(document, fields)

    return found() if len(value) < LARGE else await asyncio.to_thread(found)
