"""Crons in every storage adapter: each firing makes one run, in the transaction that moves the cron on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from runyard.assistants import Assistant
from runyard.crons import Cron, CronFilter, CronPatch, Firing
from runyard.errors import Conflict, InvalidInput, NotFound
from runyard.runs import NewRun
from runyard.storage.contract import Storage

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]

MINUTE = 60_000_000
MIDNIGHT = 1_800_057_600_000_000  # 2027-01-16T00:00:00Z


def made(name: str, **more: Any) -> Cron:
    given: dict[str, Any] = {
        "cron_id": name, "owner": "", "assistant_id": "as", "thread_id": None, "schedule": "* * * * *",
        "timezone": None, "end_time": None, "enabled": True, "on_run_completed": "delete", "created_at": 10,
        "updated_at": 10, "payload": b'{"input":1}', "next_at": MIDNIGHT, **more,
    }  # fmt: skip
    return Cron(**given)


def firing(cron: Cron, now: int = MIDNIGHT) -> Firing:
    assert cron.next_at is not None
    return Firing(cron.owner, cron.cron_id, cron.next_at, cron.revision, now)


def wish(of: Firing | None, **more: Any) -> NewRun:
    given: dict[str, Any] = {
        "run_id": "r" if of is None else of.run_id, "owner": "", "agent_id": "a", "request": b"{}", "metadata": b"{}",
        "created_at": MIDNIGHT if of is None else of.now, "thread_id": "t" if of is None else f"t-{of.run_id}",
        "stateless": True, "create_thread": False, "strategy": "enqueue", "max_attempts": 3, "resumes": False,
        "firing": of, **more,
    }  # fmt: skip
    return NewRun(**given)


async def found(storage: Storage, owner: str = "", **query: Any) -> list[str]:
    return [cron.cron_id for cron in await storage.search_crons(owner, CronFilter(**query))]


async def due(storage: Storage, now: int, limit: int = 10) -> list[str]:
    return [cron.cron_id for cron in await storage.due_crons(now, behind=None, limit=limit)]


def test_a_cron_is_kept_as_it_was_made(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_thread("", "t", b"{}", 1, if_exists="raise")
        one = made(
            "c", thread_id="t", timezone="Europe/Rome", end_time=MIDNIGHT + 1, metadata=b'{"k":1}', fired_at=3,
            revision=4, last_error="why", on_run_completed=None,
        )  # fmt: skip
        assert await storage.create_cron(one) == one
        assert await storage.cron("", "c") == one
        for owner, id in (("o", "c"), ("", "d")):
            with pytest.raises(NotFound) as refused:
                await storage.cron(owner, id)
            assert refused.value.reason == "cron_not_found"
        with pytest.raises(NotFound) as refused:
            await storage.create_cron(made("d", thread_id="nowhere"))
        assert refused.value.reason == "thread_not_found"

    on_storage(case)


def test_a_firing_makes_its_run_and_moves_the_cron_on(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        cron = await storage.create_cron(made("c", last_error="before"))
        created = await storage.create_run(wish(firing(cron)))
        assert created.run.run_id == firing(cron).run_id
        after = await storage.cron("", "c")
        assert (after.fired_at, after.next_at, after.last_error) == (MIDNIGHT, MIDNIGHT + MINUTE, None)
        assert (after.updated_at, after.revision) == (10, 1)

    on_storage(case)


def test_a_firing_is_had_once_whoever_asks_at_the_same_time(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        cron = await storage.create_cron(made("c"))
        of = firing(cron)
        several = await asyncio.gather(*[storage.create_run(wish(of)) for _ in range(5)], return_exceptions=True)
        refused = [answer for answer in several if isinstance(answer, Conflict)]
        assert [error.reason for error in refused] == ["firing_gone"] * 4
        assert [run.run_id for run in await storage.search_runs("", query())] == [of.run_id]

    on_storage(case)


def query() -> Any:
    from runyard.runs import RunFilter

    return RunFilter()


def test_a_run_that_cannot_be_made_leaves_its_firing(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_thread("", "t", b"{}", 1, if_exists="raise")
        cron = await storage.create_cron(made("c", thread_id="t"))
        on_thread = {"thread_id": "t", "stateless": False, "strategy": "reject"}
        await storage.create_run(wish(None, **on_thread))
        with pytest.raises(Conflict) as refused:
            await storage.create_run(wish(firing(cron), **on_thread))
        assert refused.value.reason == "thread_busy"
        assert await storage.cron("", "c") == cron
        await storage.pass_over(firing(cron), "busy")
        after = await storage.cron("", "c")
        assert (after.fired_at, after.next_at, after.last_error) == (MIDNIGHT, MIDNIGHT + MINUTE, "busy")
        with pytest.raises(Conflict) as refused:
            await storage.pass_over(firing(cron), "again")
        assert refused.value.reason == "firing_gone"

    on_storage(case)


@pytest.mark.parametrize("change", [CronPatch(payload={"input": 2}), CronPatch(enabled=False), None])
def test_who_has_read_a_cron_of_before_makes_no_run_of_it(on_storage: OnStorage, change: CronPatch | None) -> None:
    async def case(storage: Storage) -> None:
        cron = await storage.create_cron(made("c"))
        if change is None:
            await storage.delete_cron("", "c")
        else:
            await storage.patch_cron("", "c", change, MIDNIGHT - 1)
        with pytest.raises(Conflict) as refused:
            await storage.create_run(wish(firing(cron)))
        assert refused.value.reason == "firing_gone"
        assert await storage.search_runs("", query()) == []

    on_storage(case)


def test_what_was_missed_is_made_up_for_once(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        cron = await storage.create_cron(made("c"))
        now = MIDNIGHT + 90 * MINUTE + 7
        await storage.create_run(wish(firing(cron, now)))
        after = await storage.cron("", "c")
        assert (after.fired_at, after.next_at) == (MIDNIGHT, MIDNIGHT + 91 * MINUTE)

    on_storage(case)


def test_a_patch_changes_what_it_names_and_plans_anew(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        cron = await storage.create_cron(made("c", metadata=b'{"a":1,"b":1}', end_time=MIDNIGHT * 2))
        patch = CronPatch(schedule="30 12 * * *", timezone="Europe/Rome", payload={"webhook": "x"}, metadata={"b": 2})
        changed = await storage.patch_cron("", "c", patch, MIDNIGHT)
        assert changed == await storage.cron("", "c")
        assert changed.next_at == MIDNIGHT + (11 * 60 + 30) * MINUTE
        assert msgspec.json.decode(changed.payload) == {"input": 1, "webhook": "x"}
        assert msgspec.json.decode(changed.metadata) == {"a": 1, "b": 2}
        assert (changed.end_time, changed.updated_at, changed.revision) == (cron.end_time, MIDNIGHT, 2)
        off = await storage.patch_cron("", "c", CronPatch(enabled=False), MIDNIGHT)
        assert (off.enabled, off.next_at) == (False, None)
        on = await storage.patch_cron("", "c", CronPatch(enabled=True, end_time=None), MIDNIGHT)
        assert (on.next_at, on.end_time) == (changed.next_at, None)
        over = await storage.patch_cron("", "c", CronPatch(end_time=MIDNIGHT + 1), MIDNIGHT)
        assert (over.enabled, over.next_at) == (True, None)
        with pytest.raises(InvalidInput):
            await storage.patch_cron("", "c", CronPatch(schedule="never"), MIDNIGHT)
        with pytest.raises(NotFound):
            await storage.patch_cron("o", "c", CronPatch(), MIDNIGHT)
        assert await storage.cron("", "c") == over

    on_storage(case)


def test_a_firing_does_not_come_back_where_clocks_disagree(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        cron = await storage.create_cron(made("c"))
        await storage.create_run(wish(firing(cron)))
        behind = await storage.patch_cron("", "c", CronPatch(payload={}), MIDNIGHT - 5)
        assert behind.next_at == MIDNIGHT + MINUTE

    on_storage(case)


def test_due_crons_come_in_their_order_and_page_by_page(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        assert await storage.next_firing() is None
        several = [
            made("b", next_at=20), made("a", next_at=20), made("z", next_at=10, owner="o"), made("later", next_at=30),
            made("a", next_at=20, owner="o"), made("never", next_at=None), made("off", next_at=None, enabled=False),
        ]  # fmt: skip
        for cron in several:
            await storage.create_cron(cron)
        assert await due(storage, 9) == []
        assert await due(storage, 20) == ["z", "a", "b", "a"]
        first = await storage.due_crons(20, behind=None, limit=3)
        rest = await storage.due_crons(20, behind=first[-1], limit=3)
        assert [(cron.owner, cron.cron_id) for cron in (*first, *rest)] == [
            ("o", "z"), ("", "a"), ("", "b"), ("o", "a"),
        ]  # fmt: skip
        assert await storage.next_firing() == 10

    on_storage(case)


def test_searches_ask_for_assistant_thread_state_and_metadata(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_thread("", "t", b"{}", 1, if_exists="raise")
        for cron in (
            made("1", created_at=1, thread_id="t", metadata=b'{"k":"x"}'),
            made("2", created_at=2, assistant_id="b", metadata=b'{"k":"x","l":["m","n"]}'),
            made("3", created_at=3, enabled=False, next_at=None),
            made("4", created_at=4, owner="o"),
        ):
            await storage.create_cron(cron)
        asked: list[tuple[dict[str, Any], list[str]]] = [
            ({}, ["3", "2", "1"]),
            ({"limit": 1, "offset": 1}, ["2"]),
            ({"assistant_id": "as"}, ["3", "1"]),
            ({"thread_id": "t"}, ["1"]),
            ({"enabled": True}, ["2", "1"]),
            ({"enabled": False}, ["3"]),
            ({"metadata": {"k": "x"}}, ["2", "1"]),
            ({"metadata": {"l": ["n"]}}, ["2"]),
            ({"assistant_id": "b", "enabled": False}, []),
        ]
        for query, expected in asked:
            assert await found(storage, **query) == expected, query
            if "limit" not in query:
                assert await storage.count_crons("", CronFilter(**query, limit=1)) == len(expected)
        assert await found(storage, "o") == ["4"]

    on_storage(case)


@pytest.mark.parametrize("descending", [False, True])
def test_searches_sort_by_any_column(on_storage: OnStorage, descending: bool) -> None:
    async def case(storage: Storage) -> None:
        for thread in ("t1", "t2"):
            await storage.create_thread("", thread, b"{}", 1, if_exists="raise")
        for cron in (
            made("1", assistant_id="y", thread_id="t2", created_at=9, updated_at=100, next_at=5, end_time=None),
            made("2", assistant_id="x", thread_id=None, created_at=10, updated_at=50, next_at=None, end_time=7),
            made("3", assistant_id="x", thread_id="t1", created_at=11, updated_at=50, next_at=4, end_time=10),
        ):
            await storage.create_cron(cron)
        upwards: dict[Any, list[str]] = {
            "cron_id": ["1", "2", "3"],
            "assistant_id": ["2", "3", "1"],
            "thread_id": ["3", "1", "2"],
            "created_at": ["1", "2", "3"],
            "updated_at": ["2", "3", "1"],
            "next_run_date": ["3", "1", "2"],
            "end_time": ["2", "3", "1"],
        }
        downwards = {by: order[::-1] for by, order in upwards.items()} | {
            "assistant_id": ["1", "2", "3"],
            "updated_at": ["1", "2", "3"],
        }
        for by, expected in (downwards if descending else upwards).items():
            assert await found(storage, sort_by=by, descending=descending) == expected, by

    on_storage(case)


def test_crons_go_with_their_thread_and_with_their_assistant(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.create_assistant(Assistant("as", "", "a", 1, 1, 1, "As"), if_exists="raise")
        await storage.create_thread("", "t", b"{}", 1, if_exists="raise")
        await storage.create_thread("o", "t", b"{}", 1, if_exists="raise")
        for cron in (
            made("1", thread_id="t", assistant_id="b"), made("2"), made("3", assistant_id="b"),
            made("4", thread_id="t", owner="o"),
        ):  # fmt: skip
            await storage.create_cron(cron)
        await storage.delete_thread("", "t", 20)
        assert sorted(await found(storage)) == ["2", "3"]
        await storage.delete_assistant("", "as")
        assert (await found(storage), await found(storage, "o")) == (["3"], ["4"])
        await storage.delete_cron("", "3")
        with pytest.raises(NotFound):
            await storage.delete_cron("", "3")

    on_storage(case)


def test_a_thread_with_a_firing_to_come_outlives_its_age(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for thread in ("used", "ended", "plain"):
            await storage.create_thread("", thread, b"{}", 1, if_exists="raise")
        await storage.create_cron(made("1", thread_id="used"))
        await storage.create_cron(made("2", thread_id="ended", next_at=None))
        removed = await storage.purge(100, keys_before=0, threads_before=50)
        assert removed.threads == 2
        await storage.thread("", "used")
        assert await found(storage) == ["1"]

    on_storage(case)
