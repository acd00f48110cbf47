"""Searching by meaning in PostgreSQL: with pgvector where the database has it, else with a function of ours that does
the same ten times slower. What is stored does not differ."""

from __future__ import annotations

from typing import Any

import msgspec

from runyard.items import Item, ItemSearch, passes
from runyard.storage.postgres.statements import Statement
from runyard.storage.verbs.rows import item_of
from runyard.storage.verbs.transaction import Reads

RANKED = 20_000
"""Places in the order of nearness that are asked for at once, by searches with a filter."""
PAGE = 200
"""Items that those look at per step."""
_STATEMENTS = ("search_by_meaning", "rank_by_meaning")
_PLAIN = "nearness(vector, :meaning::real[])"

Place = tuple[bytes, str]
"""A namespace and a key."""


async def use_pgvector(reader: Reads, statements: dict[str, Statement]) -> None:
    """Has statements compare by pgvector's operator, where the database has the extension now."""
    row = await reader.one("pgvector")
    if row is not None:
        schema = row[0]
        nearness = f"-(vector::{schema}.vector OPERATOR({schema}.<#>) :meaning::real[]::{schema}.vector)"
        for name in _STATEMENTS:
            statements[name] = statements[name].with_text(_PLAIN, nearness)


async def nearest(reader: Reads, query: ItemSearch, values: dict[str, Any]) -> list[Item]:
    """The nearest items that pass a filter, which only Python knows how to apply. What of it the database can apply too
    keeps the order short."""
    equal = {field: wanted for field, wanted in query.filter.items() if isinstance(wanted, str | int | float)}
    values = {**values, "equal": msgspec.json.encode(equal) if equal else None}
    found: list[Item] = []
    wanted = query.offset + query.limit
    for start in range(0, 2**31, RANKED):
        ranked = await reader.all("rank_by_meaning", {**values, "limit": RANKED, "offset": start})
        for first in range(0, len(ranked), PAGE):
            if len(found) >= wanted:
                break
            for item in await _at(reader, ranked[first : first + PAGE], values):
                if passes(msgspec.json.decode(item.value), query.filter):
                    found.append(item)
        if len(ranked) < RANKED or len(found) >= wanted:
            break
    return found[query.offset : wanted]


async def _at(reader: Reads, ranked: list[Any], values: dict[str, Any]) -> list[Item]:
    """Items in the order in which they are ranked, with their scores; those that are gone meanwhile are left out."""
    scores: dict[Place, float] = {(namespace, key): score for namespace, key, score in ranked}
    places = list(scores)
    rows = await reader.all(
        "items_at",
        {**values, "namespaces": [namespace for namespace, _ in places], "keys": [key for _, key in places]},
    )
    there = {(row[0], row[1]): tuple(row) for row in rows}
    return [item_of((*there[place], scores[place])) for place in places if place in there]
