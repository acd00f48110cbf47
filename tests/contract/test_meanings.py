"""Items that are found by what they mean: how near their vectors are to the one that is asked for."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from postgres_server import Postgres

from runyard.errors import LeaseLost, Unsupported
from runyard.items import ItemSearch, Namespace
from runyard.runs import NewRun
from runyard.storage.contract import Storage
from runyard.storage.migrate import named_queries
from runyard.storage.postgres import PostgresStorage, nearness
from runyard.storage.sqlite import SqliteStorage
from runyard.storage.sqlite import adapter as sqlite_adapter
from runyard.storage.sqlite.connection import PACKAGE, close, connect, migrate
from runyard.vectors import Vector, unit_vector

driver: Any = asyncpg  # it has no types of its own

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]

NORTH, EAST, NORTH_EAST, SOUTH = (
    unit_vector([0, 1, 0], 3),
    unit_vector([1, 0, 0], 3),
    unit_vector([3, 3, 0], 3),
    unit_vector([0, -2, 0], 3),
)


async def put(
    storage: Storage, key: str, *vectors: Vector, at: int = 1, space: Namespace = ("n",), **more: Any
) -> None:
    value = msgspec.json.encode(more.pop("value", {"key": key}))
    await storage.put_item(more.pop("owner", ""), space, key, value, at, vectors=vectors, **more)


async def near(
    storage: Storage, meaning: Vector = NORTH, *, now: int = 5, owner: str = "", prefix: Namespace = ("n",), **more: Any
) -> list[tuple[str, float]]:
    query = ItemSearch(prefix=prefix, meaning=meaning, **more)
    found = await storage.search_items(owner, query, now)
    return [(item.key, round(item.score if item.score is not None else math.nan, 3)) for item in found]


def test_the_nearest_comes_first_with_its_score(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        storage.check_meanings()
        await put(storage, "east", EAST)
        await put(storage, "between", NORTH_EAST)
        await put(storage, "south", SOUTH)
        await put(storage, "north", NORTH)
        await put(storage, "nothing")
        expected = [("north", 1.0), ("between", 0.707), ("east", 0.0), ("south", -1.0)]
        assert await near(storage) == expected
        assert await near(storage, limit=2, offset=1) == expected[1:3]
        assert await near(storage, limit=0) == []
        without = await storage.search_items("", ItemSearch(prefix=("n",)), 5)
        assert sorted(item.key for item in without) == ["between", "east", "north", "nothing", "south"]
        assert {item.score for item in without} == {None}

    on_storage(case)


def test_the_best_of_an_items_vectors_counts(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await put(storage, "one", NORTH_EAST)
        await put(storage, "many", EAST, SOUTH, NORTH, EAST)
        await put(storage, "zeros", unit_vector([0, 0, 0], 3))
        assert await near(storage) == [("many", 1.0), ("one", 0.707), ("zeros", 0.0)]
        assert await near(storage, EAST) == [("many", 1.0), ("one", 0.707), ("zeros", 0.0)]
        assert {score for _, score in await near(storage, unit_vector([0, 0, 0], 3))} == {0.0}

    on_storage(case)


def test_of_the_equally_near_those_updated_last_come_first(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for at, key in enumerate(("old", "b", "a", "new")):
            await put(storage, key, NORTH, at=(1, 2, 2, 3)[at])
        assert [key for key, _ in await near(storage)] == ["new", "a", "b", "old"]

    on_storage(case)


def test_vectors_go_with_the_value_that_they_are_of(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await put(storage, "same", NORTH)
        await put(storage, "same", EAST, at=2)
        assert await near(storage) == [("same", 0.0)]
        await put(storage, "same", at=3)
        assert await near(storage) == [], "put again without any"
        await put(storage, "same", NORTH, at=4)
        await storage.delete_item("", ("n",), "same", 5)
        await put(storage, "same", at=6)
        assert await near(storage, now=7) == [], "deleted and put again"
        await put(storage, "short", NORTH, EAST, at=6, expires_at=8)
        await put(storage, "longer", NORTH, at=6, expires_at=9)
        assert len(await near(storage, now=7)) == 2
        assert await near(storage, now=8) == [("longer", 1.0)], "expired, and not swept yet"
        assert (await storage.purge(8, keys_before=0)).items == 1, "its vectors do not count"
        await put(storage, "short", at=9)
        assert await near(storage, now=8) == [("longer", 1.0)]
        await storage.touch_items("", [(("n",), "longer")], 8)
        assert await near(storage, now=10) == [("longer", 1.0)], "a look at it changes nothing of it"

    on_storage(case)


def test_only_what_is_below_the_namespace_and_the_owners_is_looked_at(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await put(storage, "here", NORTH, space=("a", "b"))
        await put(storage, "above", NORTH, space=("a",))
        await put(storage, "beside", NORTH, space=("a", "bb"))
        await put(storage, "here", EAST, space=("a", "c"))
        await put(storage, "theirs", NORTH, space=("a", "b"), owner="bob")
        assert await near(storage, prefix=("a", "b")) == [("here", 1.0)]
        assert await near(storage, prefix=("a", "b"), owner="bob") == [("theirs", 1.0)]
        assert await near(storage, prefix=("a",)) == [("above", 1.0), ("here", 1.0), ("beside", 1.0), ("here", 0.0)]
        assert await near(storage, prefix=()) == await near(storage, prefix=("a",))
        assert await near(storage, prefix=("b",)) == []

    on_storage(case)


def test_filters_hold_for_what_is_near(on_storage: OnStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "RANKED", 4)
    monkeypatch.setattr(nearness, "PAGE", 3)

    async def case(storage: Storage) -> None:
        for number in range(12):
            whose = ("ada", "bob")[number % 2]
            vector = unit_vector([number, 12 - number, 0], 3)
            await put(storage, f"k{number:02}", vector, value={"n": number, "owner": whose})

        async def keys(**more: Any) -> list[int]:
            return [int(key[1:]) for key, _ in await near(storage, limit=more.pop("limit", 3), **more)]

        assert await keys(filter={"n": {"$gte": 4}}) == [4, 5, 6]
        assert await keys(filter={"n": {"$gte": 4}}, offset=2) == [6, 7, 8]
        assert await keys(filter={"n": {"$gte": 10}}) == [10, 11]
        assert await keys(filter={"n": 100}) == []
        assert await keys(filter={"n": 7.0, "owner": "bob", "gone": None}) == [7]
        assert await keys(filter={"n": True}) == []
        assert await keys(within={"owner": "bob"}) == [1, 3, 5]
        assert await keys(within={"owner": "bob"}, filter={"n": {"$gt": 3}}, limit=9) == [5, 7, 9, 11]

    on_storage(case)


def test_vectors_of_another_length_are_never_compared(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await put(storage, "before", unit_vector([0, 1], 2))
        await put(storage, "now", NORTH)
        assert await near(storage) == [("now", 1.0)]
        assert await near(storage, unit_vector([0, 5], 2)) == [("before", 1.0)]

    on_storage(case)


def test_an_attempt_without_its_lease_stores_no_vectors(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        new = NewRun(
            run_id="r", owner="", agent_id="a", request=b"{}", metadata=b"{}", created_at=1, thread_id="t",
            stateless=False, create_thread=True, strategy="enqueue", max_attempts=3, resumes=False, claim=True,
        )  # fmt: skip
        claim = (await storage.create_run(new)).claim
        assert claim is not None
        await put(storage, "mine", NORTH, attempt=claim.attempt)
        lost = msgspec.structs.replace(claim.attempt, lease=claim.attempt.lease + 1)
        with pytest.raises(LeaseLost):
            await put(storage, "mine", EAST, attempt=lost)
        assert await near(storage) == [("mine", 1.0)]

    on_storage(case)


def test_pgvector_is_used_where_the_database_has_it(postgres: Postgres) -> None:
    async def story() -> None:
        url = await postgres.emptied()
        connection: Any = await driver.connect(url)
        plain = PostgresStorage(url)
        await plain.open()
        try:
            vectors = [unit_vector([math.sin(number * axis + 1) for axis in range(7)], 7) for number in range(40)]
            for number, vector in enumerate(vectors):
                await put(plain, f"k{number}", vector, vectors[-number])
            expected = await near(plain, vectors[3], limit=40)
            assert len(expected) == 40
            await connection.execute('CREATE SCHEMA "else Where"; CREATE EXTENSION vector SCHEMA "else Where"')
            fast = PostgresStorage(url, name="fast")
            await fast.open()
            try:
                sql = fast._statements["search_by_meaning"].sql  # pyright: ignore[reportPrivateUsage]
                assert '"else Where".<#>' in sql
                assert "nearness(" not in sql
                assert await near(fast, vectors[3], limit=40) == expected
                filtered = await near(fast, vectors[3], limit=40, filter={"key": {"$ne": "k3"}})
                assert filtered == [one for one in expected if one[0] != "k3"]
            finally:
                await fast.close()
        finally:
            await connection.execute('DROP SCHEMA IF EXISTS "else Where" CASCADE')
            await connection.close()
            await plain.close()

    asyncio.run(story())


def test_sqlite_without_its_extension_says_what_to_install(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_adapter, "CAN_COMPARE_VECTORS", False)
    with pytest.raises(Unsupported, match=r"pip install 'runyard\[vectors\]'"):
        SqliteStorage(tmp_path / "db").check_meanings()


def test_sqlite_looks_at_no_vectors_but_those_below_the_namespace(tmp_path: Any) -> None:
    connection: Any = connect(tmp_path / "runyard.db")
    migrate(connection)
    close(connection)
    names = ("owner", "low", "high", "now", "filter", "within", "meaning", "limit", "offset")
    reading: Any = connect(tmp_path / "runyard.db", read_only=True)
    plan = reading.execute(
        "EXPLAIN QUERY PLAN " + named_queries(PACKAGE)["search_by_meaning"], dict.fromkeys(names)
    ).fetchall()
    close(reading)
    searches = [row[3] for row in plan if row[3].startswith(("SEARCH", "SCAN"))]
    assert searches[:1] == [
        "SEARCH vectors USING INDEX sqlite_autoindex_vectors_1 (owner=? AND namespace>? AND namespace<?)"
    ]
    assert "SEARCH items USING PRIMARY KEY (owner=? AND namespace=? AND key=?)" in searches
    assert {line for line in searches if line.startswith("SCAN")} == {"SCAN near"}, "what was found"


BAD: list[tuple[list[Any], str]] = [
    ([1.0], "has 1 numbers, not 2"),
    ([1.0, math.nan], "not finite"),
    ([1.0, math.inf], "not finite"),
    ([1.7e308, 1.7e308], "too large"),
]


@pytest.mark.parametrize(("numbers", "why"), BAD)
def test_numbers_that_are_no_vector_are_refused(numbers: list[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        unit_vector(numbers, 2)
