"""The verbs of the store, each inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runyard.errors import item_not_found
from runyard.items import Namespace
from runyard.runs import Attempt
from runyard.storage.verbs.line import fenced_numbers
from runyard.storage.verbs.rows import namespace_value
from runyard.storage.verbs.transaction import Transaction


async def put_item(
    t: Transaction,
    owner: str,
    namespace: Namespace,
    key: str,
    value: bytes,
    now: int,
    expires_at: int | None,
    vectors: Any,
    count: int,
    attempt: Attempt | None,
) -> None:
    """`vectors`: so many behind one another, as the database takes them. Those that the item had, triggers remove."""
    if attempt is not None:
        await fenced_numbers(t, attempt, 0)
    ttl = None if expires_at is None else expires_at - now
    place = namespace_value(namespace)
    await t.run("put_item", (owner, place, key, value, now, now, expires_at, ttl))
    if count:
        values = {"owner": owner, "namespace": place, "key": key, "vectors": vectors, "count": count}
        await t.run("put_vectors", values)


async def touch_items(
    t: Transaction, owner: str, places: Sequence[tuple[Namespace, str]], now: int, attempt: Attempt | None
) -> None:
    if attempt is not None:
        await fenced_numbers(t, attempt, 0)
    for namespace, key in places:
        await t.run("touch_item", {"owner": owner, "namespace": namespace_value(namespace), "key": key, "now": now})


async def delete_item(
    t: Transaction, owner: str, namespace: Namespace, key: str, now: int, attempt: Attempt | None
) -> None:
    if attempt is not None:
        await fenced_numbers(t, attempt, 0)
    if await t.one("delete_item", (owner, namespace_value(namespace), key, now)) is None:
        raise item_not_found(namespace, key)
