"""What a deployment's own rules need of a storage: threads that are made with metadata; runs and webhooks that are
found by the metadata of their threads, and items by what is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from runyard.agents import both
from runyard.deliveries import DeliveryFilter
from runyard.errors import NotFound
from runyard.items import ItemSearch, NamespaceQuery
from runyard.runs import NewRun, Request, RunFilter
from runyard.storage.contract import Storage
from runyard.storage.verbs import searches
from runyard.storage.verbs.searches import FEW

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]

ADA, BOB = {"owner": "ada"}, {"owner": "bob"}
NOBODY = {"owner": "nobody"}
LONG = "n" * 201


def wish(run_id: str, thread_id: str, whose: dict[str, Any] | None = None, **more: Any) -> NewRun:
    request = Request(webhook="https://example.com/") if more.pop("webhook", False) else Request()
    fields: dict[str, Any] = {
        "run_id": run_id, "owner": "", "agent_id": "a", "request": msgspec.json.encode(request),
        "metadata": b"{}", "created_at": 1, "thread_id": thread_id, "stateless": False, "create_thread": True,
        "strategy": "enqueue", "max_attempts": 3, "resumes": False,
        "thread_metadata": msgspec.json.encode(whose or {}), "within": whose,
    }  # fmt: skip
    return NewRun(**{**fields, **more})


@pytest.mark.parametrize("claim", [False, True])
def test_a_run_makes_its_thread_with_metadata(on_storage: OnStorage, claim: bool) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_run(wish("r1", "t1", ADA, claim=claim))
        await storage.create_run(wish("r2", "t2", ADA, claim=claim, stateless=True, create_thread=False))
        assert await storage.metadata_of("", "t1") == (b'{"owner":"ada"}', 1)
        assert await storage.metadata_of("", "t2") == (b'{"owner":"ada"}', 1), "that of a run on no thread, too"
        assert await storage.metadata_of("", "t3") is await storage.metadata_of("other", "t1") is None
        await storage.delete_thread("", "t1", 2)
        assert await storage.metadata_of("", "t1") is None

    on_storage(case)


@pytest.mark.parametrize("claim", [False, True])
def test_a_run_is_made_on_no_thread_of_somebody_else(on_storage: OnStorage, claim: bool) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_thread("", "t1", msgspec.json.encode(ADA), 1, if_exists="raise")
        with pytest.raises(NotFound, match="thread t1"):
            await storage.create_run(wish("r1", "t1", BOB, claim=claim))
        assert (await storage.create_run(wish("r2", "t1", ADA, claim=claim))).run.thread_id == "t1"
        with pytest.raises(NotFound, match="thread gone"):
            await storage.create_run(wish("r3", "gone", BOB, claim=claim, create_thread=False))

    on_storage(case)


def test_runs_are_found_by_the_metadata_of_their_threads_in_pages(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(8):
            whose = (ADA, BOB)[number % 2]
            label = {"metadata": msgspec.json.encode({"kind": "x" if number < 4 else "y"})}
            stateless = {"stateless": True, "create_thread": False} if number > 5 else {}
            await storage.create_run(
                wish(f"r{number}", f"t{number}", whose, agent_id="ab"[number // 4], **label, **stateless)
            )
        await storage.cancel("", "r2", "interrupt", 2, None)

        async def found(whose: dict[str, Any], **query: Any) -> list[str]:
            return [run.run_id for run in await storage.search_runs("", RunFilter(within=whose, **query))]

        assert await found(ADA) == ["r6", "r4", "r2", "r0"]
        assert await found(ADA, limit=2, offset=1) == ["r4", "r2"]
        assert await found(BOB, agent_id="a") == ["r3", "r1"]
        assert await found(BOB, thread_id="t3") == ["r3"]
        assert await found(ADA, thread_id="t3") == []
        assert await found(ADA, statuses=("interrupted",)) == ["r2"]
        assert await found(ADA, metadata={"kind": "y"}, limit=1, offset=1) == ["r4"]
        assert await found(NOBODY) == []
        assert await found({}) == [f"r{number}" for number in range(7, -1, -1)]

    on_storage(case)


def test_runs_of_somebody_with_few_threads_are_found_as_those_of_somebody_with_many(
    on_storage: OnStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they are looked up by their threads or among all runs, it is the same list."""

    async def case(storage: Storage) -> None:
        for number in range(12):
            kind = msgspec.json.encode({"kind": ["x", "y"][number % 2], "n": number})
            whose = {**(ADA if number % 3 else BOB), "team": "red", LONG: "x"}
            await storage.create_run(wish(f"r{number}", f"t{number % 4 if number % 3 else 9}", whose, metadata=kind))
        await storage.cancel("", "r5", "interrupt", 2, None)
        await storage.create_thread("", "empty", msgspec.json.encode(ADA), 3, if_exists="raise")
        lists: list[list[list[str]]] = []
        for few in (FEW, 0):
            monkeypatch.setattr(searches, "FEW", few)
            lists.append([])
            for within in (ADA, BOB, {**ADA, "team": "red"}, {**ADA, "team": "blue"}, NOBODY, {LONG: "x"}):
                for query in (
                    {}, {"limit": 3}, {"limit": 2, "offset": 2}, {"offset": 7}, {"agent_id": "a"}, {"agent_id": "b"},
                    {"metadata": {"n": 4}}, {"statuses": ("pending", "interrupted")}, {"outcomes": ("cancelled",)},
                ):  # fmt: skip
                    found = await storage.search_runs("", RunFilter(within=within, **query))
                    lists[-1].append([run.run_id for run in found])
        assert lists[0] == lists[1]
        assert len(lists[0][-9]) == 10, "a name that no index holds is found, too"
        assert lists[0][:3] == [
            [f"r{number}" for number in (11, 10, 8, 7, 5, 4, 2, 1)], ["r11", "r10", "r8"], ["r8", "r7"],
        ]  # fmt: skip

    on_storage(case)


def test_webhooks_are_found_by_the_metadata_of_their_runs_threads(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(6):
            await storage.create_run(wish(f"r{number}", f"t{number}", (ADA, BOB)[number % 2], webhook=True))
            await storage.cancel("", f"r{number}", "interrupt", 2, None)

        async def found(whose: dict[str, Any] | None, **query: Any) -> list[str]:
            return [one.run_id for one in await storage.search_deliveries("", DeliveryFilter(within=whose, **query))]

        assert await found(ADA) == ["r4", "r2", "r0"]
        assert await found(ADA, status="pending", limit=1, offset=1) == ["r2"]
        assert await found(ADA, run_id="r2") == ["r2"]
        assert await found(BOB, run_id="r2") == await found(BOB, status="parked") == []
        await storage.delete_thread("", "t2", 3)
        await storage.create_thread("", "t2", msgspec.json.encode(BOB), 4, if_exists="raise")
        assert await found(BOB) == ["r5", "r3", "r1"], "who makes the thread anew gets none of what was there before"

    on_storage(case)


def test_items_and_namespaces_are_found_by_what_is_in_items(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(6):
            value = {**(ADA, BOB)[number % 2], "tags": ["x", f"n{number}"], "n": number}
            await storage.put_item("", (f"s{number % 4}",), f"k{number}", msgspec.json.encode(value), number)

        async def found(whose: dict[str, Any], **query: Any) -> list[str]:
            return [item.key for item in await storage.search_items("", ItemSearch(within=whose, **query), 10)]

        assert await found(ADA) == ["k4", "k2", "k0"]
        assert await found(ADA, limit=1, offset=1) == ["k2"]
        assert await found(ADA, filter={"n": {"$gt": 1}}, limit=1, offset=1) == ["k2"]
        assert await found(BOB, prefix=("s1",)) == ["k5", "k1"]
        assert await found({"tags": ["n4", "x"]}) == ["k4"]

        async def spaces(whose: dict[str, Any], **query: Any) -> list[tuple[str, ...]]:
            return await storage.namespaces("", NamespaceQuery(within=whose, **query), 10)

        assert await spaces(ADA) == [("s0",), ("s2",)]
        assert await spaces(BOB, limit=1, offset=1) == [("s3",)]
        assert await spaces(ADA, prefix=("s1",)) == await spaces(NOBODY) == []
        assert await spaces(BOB, prefix=("s1",)) == [("s1",)]

    on_storage(case)


@pytest.mark.parametrize(
    ("one", "other", "whole"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}),
        ({"a": [1]}, {"a": [2]}, {"a": [1, 2]}),
        ({"a": 1}, {"a": 1}, {"a": 1}),
        ({}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": 2}, None),
        ({"a": 1}, {"a": True}, None),
        ({"a": [1]}, {"a": 1}, None),
        ({"a": {}}, {"a": []}, None),
    ],
)
def test_two_patterns_are_one_where_something_contains_both(one: Any, other: Any, whole: Any) -> None:
    if whole is None:
        for first, second in ((one, other), (other, one)):
            with pytest.raises(ValueError, match="nothing contains both"):
                both(first, second)
    else:
        assert both(one, other) == whole
