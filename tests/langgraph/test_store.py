"""LangGraph's store: the same cases on its own in-memory store, on the server's, and on that of a run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attempts import Code, open_storage
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore
from live_server import Starter

from runyard.clock import Clock
from runyard.runtime.channel import AgentEnd
from runyard.runtime.langgraph.server_store import ServerStore
from runyard.runtime.langgraph.store import RunStore
from runyard.storage.calls import answering

USERS = ("users",)


class Calls:
    """A store's methods by their plain names, each awaited: as they are for code in the loop, or from a thread."""

    def __init__(self, store: BaseStore, sync: bool) -> None:
        self.own = isinstance(store, InMemoryStore)
        """Whether it is LangGraph's own."""
        self._store = store
        self._sync = sync

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._store, name if self._sync else f"a{name}")

        async def call(*given: Any, **named: Any) -> Any:
            return await (asyncio.to_thread(method, *given, **named) if self._sync else method(*given, **named))

        return call


Case = Callable[[Calls], Awaitable[None]]
OnStore = Callable[[Case], None]


@pytest.fixture(params=["memory", "server", "run"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["async", "sync"])
def on_store(request: pytest.FixtureRequest, kind: str, tmp_path: Path, server: Starter) -> OnStore:
    """Runs a case on a fresh store."""
    sync = request.param == "sync"

    async def in_memory(case: Case) -> None:
        await case(Calls(InMemoryStore(), sync))

    async def of_the_server(case: Case) -> None:
        async with open_storage(tmp_path) as storage:
            store = ServerStore()
            store.attach(answering(storage, Clock()))
            await case(Calls(store, sync))

    async def of_a_run(case: Case) -> None:
        async def code(end: AgentEnd) -> None:
            await case(Calls(RunStore(end, 16_000_000), sync))

        agent = Code(code)
        async with server(agent) as s:
            await s.post("/runs/wait")
        agent.done()

    ways = {"memory": in_memory, "server": of_the_server, "run": of_a_run}
    return lambda case: asyncio.run(ways[kind](case))


async def keys(found: Awaitable[Any]) -> list[str]:
    return [item.key for item in await found]


async def fill(s: Calls, *values: dict[str, Any], namespace: tuple[str, ...] = USERS) -> None:
    """Puts values one after the other, under the keys 0, 1, ..."""
    for number, value in enumerate(values):
        await s.put(namespace, str(number), value)


# one item


def test_what_is_put_is_read_until_it_is_deleted(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        assert await s.get(USERS, "ada") is None
        await s.put(USERS, "ada", {"n": 1})
        item = await s.get(USERS, "ada")
        assert (item.namespace, item.key, item.value) == (USERS, "ada", {"n": 1})
        assert item.created_at == item.updated_at or s.own  # which asks for the time twice
        assert item.updated_at.utcoffset().total_seconds() == 0
        await s.put(USERS, "ada", {"other": 2})
        again = await s.get(USERS, "ada")
        assert again.value == {"other": 2}
        assert again.updated_at > item.updated_at
        # LangGraph's stores on databases keep the time of creation, its in-memory store does not.
        assert s.own or again.created_at == item.created_at
        await s.delete(USERS, "ada")
        assert await s.get(USERS, "ada") is None
        await s.delete(USERS, "ada")

    on_store(case)


def test_none_deletes(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await s.put(USERS, "ada", {"n": 1})
        await s.put(USERS, "ada", None)
        await s.put(USERS, "never there", None)
        assert await s.search(USERS) == []

    on_store(case)


def test_a_key_belongs_to_its_namespace(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await s.put(("a",), "k", {"n": 1})
        await s.put(("a", "b"), "k", {"n": 2})
        await s.put(("a", "b"), 7, {"n": 3})  # a key is made text
        assert (await s.get(("a",), "k")).value == {"n": 1}
        assert (await s.get(("a", "b"), "k")).value == {"n": 2}
        assert (await s.get(("a", "b"), "7")).value == {"n": 3}
        await s.delete(("a",), "k")
        assert (await s.get(("a", "b"), "k")).value == {"n": 2}

    on_store(case)


VALUES: list[dict[str, Any]] = [
    {},
    {"deep": {"er": [{"list": [[], {}, None, True, 1.5, -1]}]}, "": "empty key"},
    {"text": 'Zoë ☃ 😀 \u2028 "quoted" \\ \n', "ключ": "значение"},
    {"int": 2**70, "float": 1e300, "small": 5e-324, "whole": 1.0, "negative": -(2**63)},
    {"large": "x" * 2_000_000},
    {"$gt": 1, "a.b": 2, "'": 3},
]


def test_values_come_back_as_they_were(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await fill(s, *VALUES)
        for number, value in enumerate(VALUES):
            found = (await s.get(USERS, str(number))).value
            assert found == value
            assert {key: type(item) for key, item in found.items()} == {key: type(item) for key, item in value.items()}
        assert {item.key: item.value for item in await s.search(USERS)} == {str(n): v for n, v in enumerate(VALUES)}

    on_store(case)


def test_namespaces_that_are_refused(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        for namespace in [(), ("",), ("a", ""), ("a.b",), ("langgraph", "x"), (1,)]:
            with pytest.raises(InvalidNamespaceError):
                await s.put(namespace, "k", {"n": 1})
        for namespace in [("",), ("a", ""), ("a\0",), (1,)]:
            if s.own:
                break  # its older versions refuse what is written alone, and take NUL
            # In batches too, which LangGraph's base class does not look into.
            for call in (s.search(namespace), s.list_namespaces(prefix=namespace), s.batch([GetOp(namespace, "k")])):
                with pytest.raises(InvalidNamespaceError):
                    await call
            for method in (s.get, s.delete):
                with pytest.raises(InvalidNamespaceError):
                    await method(namespace, "k")
        assert await s.list_namespaces() == []

    on_store(case)


# search


def test_a_search_finds_what_is_below_its_prefix(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        places = [("a",), ("a", "b"), ("a", "bc"), ("ab",), ("b", "a")]
        for namespace in places:
            await s.put(namespace, "k", {"at": list(namespace)})
        for prefix in [(), *places, ("c",), ("a", "b", "c")]:
            found = {item.namespace for item in await s.search(prefix)}
            assert found == {namespace for namespace in places if namespace[: len(prefix)] == prefix}
        (only,) = await s.search(("b",))
        assert (only.key, only.value, only.score) == ("k", {"at": ["b", "a"]}, None)
        assert only.created_at <= only.updated_at

    on_store(case)


def test_what_was_updated_last_comes_first(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await fill(s, {}, {}, {})
        await s.put(USERS, "1", {"again": True})
        # As LangGraph's stores on databases do; its in-memory store has the order in which keys were first put.
        assert await keys(s.search(USERS)) == (["0", "1", "2"] if s.own else ["1", "2", "0"])

    on_store(case)


def test_pages_are_parts_of_the_whole(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await fill(s, *({"even": n % 2 == 0} for n in range(13)))
        whole = await keys(s.search(USERS, limit=100))
        assert len(whole) == 13
        assert await keys(s.search(USERS)) == whole[:10]
        even = [key for key in whole if int(key) % 2 == 0]
        for limit, offset in [(5, 0), (5, 5), (5, 10), (5, 13), (1, 12), (0, 0)]:
            assert await keys(s.search(USERS, limit=limit, offset=offset)) == whole[offset : offset + limit]
            found = await keys(s.search(USERS, filter={"even": True}, limit=limit, offset=offset))
            assert found == even[offset : offset + limit]

    on_store(case)


DOCUMENTS: list[dict[str, Any]] = [
    {"n": 1, "name": "ada", "tags": ["a", "b"], "in": {"x": 1, "y": {"z": 2}}},
    {"n": 2.5, "name": "bob", "tags": ["b"], "in": {"x": 2}, "none": None},
    {"n": -3, "name": "eve", "tags": [], "in": {}, "none": 0, "list": [{"a": 1, "b": 2}]},
]


FILTERS: list[tuple[dict[str, Any], str]] = [
    ({}, "012"),
    ({"n": 1}, "0"),
    ({"n": 1.0}, "0"),
    ({"n": 2}, ""),
    ({"name": "bob", "n": 2.5}, "1"),
    ({"name": "bob", "n": 1}, ""),
    ({"n": {"$eq": 2.5}}, "1"),
    ({"n": {"$ne": 2.5}}, "02"),
    ({"n": {"$gt": 1}}, "1"),
    ({"n": {"$gte": 1}}, "01"),
    ({"n": {"$lt": 1}}, "2"),
    ({"n": {"$lte": 1}}, "02"),
    ({"n": {"$gt": -3, "$lt": 2}}, "0"),
    ({"tags": ["a", "b"]}, "0"),
    ({"tags": ("a", "b")}, "0"),
    ({"tags": ["b", "a"]}, ""),
    ({"tags": []}, "2"),
    ({"in": {"x": 1}}, "0"),
    ({"in": {"y": {"z": 2}}}, "0"),
    ({"in": {}}, "012"),
    ({"in": {"y": {"z": {"$eq": 2}}}}, "0"),
    ({"in": {"$eq": {"x": 2}}}, "1"),
    ({"in": {"$eq": {"x": 1}}}, ""),
    ({"list": [{"a": 1}]}, "2"),
    ({"list": [{"a": 2}]}, ""),
    ({"list": {"a": 1}}, ""),
    ({"none": None}, "01"),
    ({"none": {"$ne": None}}, "2"),
    ({"absent": {"$ne": 1}}, "012"),
    ({"absent": 1}, ""),
    ({"name": {"$ne": "ada"}}, "12"),
]


def test_a_filter_finds(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await fill(s, *DOCUMENTS)
        found = [(wanted, "".join(sorted(await keys(s.search(USERS, filter=wanted))))) for wanted, _ in FILTERS]
        assert found == FILTERS

    on_store(case)


def test_an_unknown_operator_is_refused(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await fill(s, {"n": 1, "in": {"list": [1]}})
        for wanted in (
            {"n": {"$like": 1}},
            {"n": {"$ne": 2, "also": 1}},
            {"in": {"list": {"$like": 1}}},
            {"in": {"list": [{"$like": 1}]}},
        ):
            with pytest.raises(ValueError, match=r"like|also"):
                await s.search(USERS, filter=wanted)

    on_store(case)


def test_without_an_index_a_query_and_an_index_change_nothing(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await s.put(USERS, "0", {"text": "red"}, index=["text"])
        await s.put(USERS, "1", {"text": "blue"}, index=False)
        found = await s.search(USERS, query="red", filter={"text": {"$ne": "green"}})
        assert sorted(item.key for item in found) == ["0", "1"]
        assert [item.score for item in found] == [None, None]

    on_store(case)


# namespaces

TREE = [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("b",), ("b", "b", "c"), ("é", "b"), ("a!", "b")]


LISTINGS: list[dict[str, Any]] = [
    {},
    {"prefix": ("a",)},
    {"prefix": ("a", "b")},
    {"prefix": ("*", "b")},
    {"prefix": ("a", "*", "c")},
    {"suffix": ("c",)},
    {"suffix": ("b", "*")},
    {"suffix": ("*",)},
    {"prefix": ("a",), "suffix": ("c",)},
    {"prefix": ("a", "b", "c", "d")},
    {"max_depth": 1},
    {"max_depth": 2},
    {"prefix": ("a",), "max_depth": 2},
    {"suffix": ("c",), "max_depth": 1},
    {"limit": 2},
    {"limit": 2, "offset": 1},
    {"limit": 0},
    {"offset": 100},
    {"max_depth": 1, "limit": 1, "offset": 1},
]


def test_namespaces_are_listed_as_langgraph_lists_them(on_store: OnStore) -> None:
    reference = InMemoryStore()

    async def case(s: Calls) -> None:
        for namespace in TREE:
            reference.put(namespace, "k", {})
            await s.put(namespace, "k", {})
        for wanted in LISTINGS:
            assert (wanted, await s.list_namespaces(**wanted)) == (wanted, reference.list_namespaces(**wanted))

    on_store(case)


def test_a_namespace_is_listed_while_it_has_items(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await s.put(("a",), "k", {})
        await s.put(("b",), "k", {})
        await s.delete(("b",), "k")
        # LangGraph's stores on databases forget it too; its in-memory store lists all that were ever looked at.
        assert await s.list_namespaces() == ([("a",), ("b",)] if s.own else [("a",)])

    on_store(case)


CONDITIONS: list[tuple[list[Any], list[Any]]] = [
    ([("prefix", ("a", "*")), ("prefix", ("*", "b"))], TREE[:2]),
    ([("prefix", ("a",)), ("prefix", ("b",))], []),
    ([("suffix", ("c",)), ("suffix", ("b", "*"))], [TREE[0], TREE[4]]),
    ([("suffix", ("c",)), ("suffix", ("d",))], []),
    ([("prefix", ("b",)), ("suffix", ("b", "c"))], [TREE[4]]),
]


def test_conditions_all_hold(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await s.batch([PutOp(namespace, "k", {}) for namespace in TREE])
        asked = [tuple(MatchCondition(*one) for one in conditions) for conditions, _ in CONDITIONS]
        assert await s.batch(map(ListNamespacesOp, asked)) == [found for _, found in CONDITIONS]

    on_store(case)


# batches


def test_results_are_in_the_order_of_operations(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await fill(s, {"n": 0}, {"n": 1}, {"n": 2})
        put = PutOp(USERS, "new", {"n": 9})
        results = await s.batch(
            [
                GetOp(USERS, "2"),
                put,
                SearchOp(USERS, limit=100),
                GetOp(USERS, "absent"),
                ListNamespacesOp(),
                GetOp(USERS, "new"),
                PutOp(USERS, "0", None),
                GetOp(USERS, "0"),
            ]
        )
        assert results[0].key == "2"
        # What is read was there before the batch.
        assert sorted(item.key for item in results[2]) == ["0", "1", "2"]
        assert results[4] == [USERS]
        assert results[7].value == {"n": 0}
        assert [results[at] for at in (1, 3, 5, 6)] == [None] * 4
        assert sorted(await keys(s.search(USERS))) == ["1", "2", "new"]
        assert await s.batch([]) == []

    on_store(case)


def test_the_last_put_of_a_batch_counts(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        puts = [PutOp(USERS, key, {"n": n}) for n in range(3) for key in "ab"]
        assert await s.batch([*puts, PutOp(USERS, "b", None)]) == [None] * 7
        assert [(item.key, item.value) for item in await s.search(USERS)] == [("a", {"n": 2})]
        await s.batch([PutOp(USERS, "a", None), PutOp(USERS, "a", {"n": 3})])
        assert (await s.get(USERS, "a")).value == {"n": 3}

    on_store(case)


def test_calls_side_by_side_are_all_answered(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        await asyncio.gather(*(s.put(USERS, str(n), {"n": n}) for n in range(50)))
        found = await asyncio.gather(*(s.get(USERS, str(n)) for n in range(51)))
        assert [item.value["n"] for item in found[:50]] == list(range(50))
        assert found[50] is None

    on_store(case)


def test_what_is_no_operation_is_refused(on_store: OnStore) -> None:
    async def case(s: Calls) -> None:
        with pytest.raises(ValueError, match=r"3|int"):
            await s.batch([3])

    on_store(case)


def test_the_base_class_has_no_method_that_is_not_ours() -> None:
    """All public methods come down to `batch` and `abatch`, so the cases above are about all of them."""
    own = {name for name, _ in inspect.getmembers(BaseStore, inspect.isfunction) if not name.startswith("_")}
    plain = {"batch", "get", "search", "put", "delete", "list_namespaces"}
    assert own == plain | {f"a{name}" for name in plain}
