"""The verbs of the store, each inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from runyard.errors import item_not_found
from runyard.items import Namespace
from runyard.runs import Attempt
from runyard.storage.sqlite.line import fenced_numbers
from runyard.storage.sqlite.rows import namespace_value
from runyard.storage.sqlite.writer import Transaction


def put_item(
    t: Transaction,
    owner: str,
    namespace: Namespace,
    key: str,
    value: bytes,
    now: int,
    expires_at: int | None,
    attempt: Attempt | None,
) -> None:
    if attempt is not None:
        fenced_numbers(t, attempt, 0)
    ttl = None if expires_at is None else expires_at - now
    t.run("put_item", (owner, namespace_value(namespace), key, value, now, now, expires_at, ttl))


def touch_items(
    t: Transaction, owner: str, places: Sequence[tuple[Namespace, str]], now: int, attempt: Attempt | None
) -> None:
    if attempt is not None:
        fenced_numbers(t, attempt, 0)
    for namespace, key in places:
        t.run("touch_item", {"owner": owner, "namespace": namespace_value(namespace), "key": key, "now": now})


def delete_item(t: Transaction, owner: str, namespace: Namespace, key: str, now: int, attempt: Attempt | None) -> None:
    if attempt is not None:
        fenced_numbers(t, attempt, 0)
    if t.one("delete_item", (owner, namespace_value(namespace), key, now)) is None:
        raise item_not_found(namespace, key)
