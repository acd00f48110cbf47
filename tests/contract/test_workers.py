"""Workers and their leases: what executes on one that is alive is left alone, what executes on another is recovered.

The first cases run on every adapter; those with several servers on the one that can be shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
from postgres_server import Postgres
from test_storage import alone, attempt_of, claimed, wish

from runyard.errors import LeaseLost
from runyard.events import entry
from runyard.runtime.contract import Record
from runyard.storage.contract import Batch, Ending, Storage
from runyard.storage.postgres import PostgresStorage

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]
LONG = 60.0
EXPIRED = 0.0
"""A lease that is over when it begins."""


def test_an_attempt_holds_its_lease_until_it_ends(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        assert await storage.holds(claim.attempt)
        await storage.append(claim.attempt, Batch([entry("custom", 1)]), 2)
        assert await storage.holds(claim.attempt)
        await storage.finish(claim.attempt, Batch(), Ending("completed"), 3)
        assert not await storage.holds(claim.attempt)

    on_storage(case)


def test_what_was_put_back_in_line_is_held_by_the_new_attempt_only(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        old = await claimed(storage, "r1")
        await storage.recover(2, 100)
        (new,) = await storage.claim({"a": None}, 1, 3)
        assert [await storage.holds(claim.attempt) for claim in (old, new)] == [False, True]
        with pytest.raises(LeaseLost):
            await storage.abandon(old.attempt, 4, None)
        assert (await storage.run("", "r1")).status == "running"

    on_storage(case)


def test_the_only_worker_is_always_alive(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.join(LONG, ["a"])
        assert await storage.renew(LONG)
        await storage.leave()
        await storage.recover(1, 100)

    on_storage(case)


def test_the_last_numbers_of_many_threads_are_told_at_once(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await claimed(storage, "r1")
        await alone(storage, 5)
        last = await storage.last_seq("", "t")
        assert last > 0
        threads = [("", "unknown"), ("", "t"), ("other", "t"), ("", "t")]
        assert await storage.last_seqs(threads) == [0, last, 0, last]
        assert await storage.last_seqs([]) == []

    on_storage(case)


# several servers

Servers = Callable[[], Awaitable[PostgresStorage]]
Story = Callable[[Servers], Awaitable[None]]


@asynccontextmanager
async def many(url: str) -> AsyncGenerator[Servers]:
    """Makes servers of one database."""
    async with AsyncExitStack() as stack:

        async def another() -> PostgresStorage:
            storage = PostgresStorage(url)
            await storage.open()
            stack.push_async_callback(storage.close)
            return storage

        yield another


@pytest.fixture
def on_servers(postgres: Postgres) -> Callable[[Story], None]:
    """Runs a case that makes its servers."""

    def run(story: Story) -> None:
        async def whole() -> None:
            async with many(await postgres.emptied()) as another:
                await story(another)

        asyncio.run(whole())

    return run


OnServers = Callable[[Story], None]


async def workers(storage: PostgresStorage) -> set[str]:
    connection: Any = await asyncpg.connect(storage._url)
    rows = await connection.fetch("SELECT worker_id FROM workers")
    await connection.close()
    return {row[0] for row in rows}


def test_what_a_living_worker_executes_is_left_to_it(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        await one.join(LONG, ["a"])
        mine = await claimed(one, "r1")
        await storage_wait(two, "r2")
        (other,) = await two.claim({"a": None}, 5, 2)  # by a server that never joined
        found = await two.recover(3, 100)
        assert (found.requeued, found.lost) == (("r2",), ())
        assert await one.holds(mine.attempt)
        assert not await two.holds(other.attempt)

    on_servers(case)


async def storage_wait(storage: Storage, run_id: str) -> None:
    """A run that waits to be claimed."""
    await storage.create_run(wish(run_id, f"t-{run_id}", stateless=True, claim=False))


@pytest.mark.parametrize("how", ["alone", "on a thread", "claimed", "next on a thread"])
def test_every_way_to_begin_a_run_tells_its_worker(on_servers: OnServers, how: str) -> None:
    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        await one.join(LONG, ["a"])
        if how == "alone":
            await alone(one, 1)
        elif how == "claimed":
            await storage_wait(two, "r1")
            assert len(await one.claim({"a": None}, 5, 2)) == 1
        else:
            await one.create_thread("", "t", b"{}", 1, if_exists="raise")
            concurrency = 5 if how == "on a thread" else None
            await one.create_run(wish("r1", "t", concurrency=concurrency, claim=True))
        await two.recover(3, 100)
        assert (await two.run("", "r1")).status == "running"
        await one.leave()
        await two.recover(4, 100)
        assert (await two.run("", "r1")).status == "pending"

    on_servers(case)


def test_what_an_expired_worker_executes_is_recovered_once(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        one, two, three = await another(), await another(), await another()
        for storage in (two, three):
            await storage.join(LONG, ["a"])
        await one.join(EXPIRED, ["a"])
        claims = [await alone(one, number) for number in range(5)]
        found = await asyncio.gather(two.recover(3, 100), three.recover(3, 100))
        assert sorted(run_id for each in found for run_id in each.requeued) == [f"r{n}" for n in range(5)]
        for claim in claims:
            with pytest.raises(LeaseLost):
                await one.append(claim.attempt, Batch([entry("custom", 1)]), 4)
        assert await workers(two) == {two.worker_id, three.worker_id}

    on_servers(case)


def test_every_write_of_an_attempt_that_lost_its_lease_is_refused(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        await one.join(EXPIRED, ["a"])
        await two.join(LONG, ["a"])
        claim = await alone(one, 1)  # remembered by its writer: its end would be told without a look
        attempt = claim.attempt
        await two.recover(2, 100)
        (again,) = await two.claim({"a": None}, 5, 3)
        record = Record("step", "s", 0, 1, b"1")
        refused: list[Callable[[], Awaitable[Any]]] = [
            lambda: one.finish(attempt, Batch([entry("custom", 1)]), Ending("completed"), 4),
            lambda: one.append(attempt, Batch([entry("custom", 1)], records=[record]), 4),
            lambda: one.put_item("", ("n",), "k", b"{}", 4, attempt=attempt),
            lambda: one.touch_items("", [(("n",), "k")], 4, attempt=attempt),
            lambda: one.delete_item("", ("n",), "k", 4, attempt=attempt),
            lambda: one.abandon(attempt, 4, None),
        ]
        for write in refused:
            with pytest.raises(LeaseLost):
                await write()
        ended = await two.finish(again.attempt, Batch(), Ending("completed"), 5)
        assert (ended.outcome, ended.attempt) == ("completed", 2)
        kinds = [event.kind for event in await two.events("", "t1", after=0, run_id=None, limit=100)]
        assert kinds == ["input", "lifecycle", "lifecycle", "lifecycle"]

    on_servers(case)


def test_an_end_does_not_pass_over_a_cancel_that_another_server_asked_for(on_servers: OnServers) -> None:
    """What a writer remembers of its own is a guess where there are others."""

    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        await one.join(LONG, ["a"])
        claims = [await alone(one, number) for number in range(3)]
        await two.cancel("", "r1", "interrupt", 2, None)
        answers = await asyncio.gather(
            *(one.finish(claim.attempt, Batch(), Ending("completed"), 3) for claim in claims), return_exceptions=True
        )
        assert [getattr(answer, "outcome", type(answer).__name__) for answer in answers] == [
            "completed", "CancelRequested", "completed",
        ]  # fmt: skip
        ended = await one.finish(claims[1].attempt, Batch(), Ending("cancelled", cancel="interrupt"), 4)
        assert ended.outcome == "cancelled"
        one_by_one = await alone(one, 7)
        await two.cancel("", "r7", "rollback", 5, None)
        answer = await asyncio.gather(
            one.finish(one_by_one.attempt, Batch(), Ending("completed"), 6), return_exceptions=True
        )
        assert type(answer[0]).__name__ == "CancelRequested"
        assert (await two.run("", "r7")).status == "running"

    on_servers(case)


def test_a_worker_that_finds_its_lease_over_joins_anew(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        assert not await one.renew(LONG)
        await one.join(EXPIRED, ["a"])
        assert not await one.renew(LONG)
        await one.join(LONG, ["a"])
        assert await one.renew(LONG)
        mine = await claimed(one, "r1")
        await two.recover(2, 100)
        assert await one.holds(mine.attempt)
        await one.leave()
        assert not await one.renew(LONG)

    on_servers(case)


def test_a_suspect_clears_only_those_beside_it_on_its_worker(on_servers: OnServers) -> None:
    """The worker died while a suspect executed: attempts of the others on it are given back, not those of others."""

    async def case(another: Servers) -> None:
        one, two, three = await another(), await another(), await another()
        await alone(one, 1)
        for now in (2, 4):
            await three.recover(now, 100)
            assert len(await one.claim({"a": None}, 5, now + 1)) == 1
        # The suspect executes on the first worker, beside it another; a third run executes on the second worker.
        await alone(one, 2)
        await alone(two, 3)
        await three.recover(6, 100)
        assert [(await three.run("", run_id)).attempt for run_id in ("r2", "r3")] == [0, 1]

    on_servers(case)


def test_agents_that_a_living_worker_offers_are_offered(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        await storage_wait(one, "r1")
        assert await one.unoffered([]) == {"a": 1}
        await two.join(EXPIRED, ["a"])
        assert await one.unoffered([]) == {"a": 1}
        await two.join(LONG, ["a"])
        assert await one.unoffered([]) == {}
        assert await one.unoffered(["b"]) == {}

    on_servers(case)


def test_claims_of_several_servers_share_the_runs_and_hold_the_limit(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        servers = [await another() for _ in range(3)]
        for storage in servers:
            await storage.join(LONG, ["a"])
        for number in range(30):
            await storage_wait(servers[number % 3], f"r{number}")
        limited = await asyncio.gather(*(storage.claim({"a": 7}, 10, 2) for storage in servers))
        assert sum(map(len, limited)) == 7
        rest = await asyncio.gather(*(storage.claim({"a": None}, 10, 3) for storage in servers))
        found = [claim.run.run_id for claims in (*limited, *rest) for claim in claims]
        assert sorted(found) == sorted(f"r{number}" for number in range(30))

    on_servers(case)


def test_numbers_of_a_thread_to_which_all_servers_write_have_no_gap(on_servers: OnServers) -> None:
    async def case(another: Servers) -> None:
        servers = [await another() for _ in range(3)]
        await servers[0].join(LONG, ["a"])
        claim = await claimed(servers[0], "r1")
        before = await servers[0].last_seq("", "t")
        await asyncio.gather(
            *(
                storage.append(claim.attempt, Batch([entry("custom", number)] * 2), 2)
                for number in range(20)
                for storage in servers
            )
        )
        events = await servers[1].events("", "t", after=before, run_id=None, limit=1000)
        assert [event.seq for event in events] == list(range(before + 1, before + 121))

    on_servers(case)


def test_servers_that_start_at_once_migrate_once(postgres: Postgres) -> None:
    async def story() -> None:
        url = await postgres.empty()
        async with many(url) as another:
            servers = await asyncio.gather(*(another() for _ in range(4)))
            assert await asyncio.gather(*(storage.figures() for storage in servers))
            attempt = (await claimed(servers[0], "r1")).attempt
            assert await attempt_of(servers[1], "r1") == attempt
        await postgres.drop(url)

    asyncio.run(story())


def test_a_server_that_stops_in_its_turn_holds_up_the_others_for_a_while_only(
    on_servers: OnServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runyard.storage.postgres.writer.STOPPED_TIMEOUT_MS", 200)

    async def case(another: Servers) -> None:
        one, two = await another(), await another()
        claim = await claimed(two, "r1")
        stopped, goes_on = asyncio.Event(), asyncio.Event()

        async def stop(t: Any) -> None:
            await t.one("thread", ("", "t"))
            stopped.set()
            await goes_on.wait()
            await t.one("thread", ("", "t"))

        stuck = asyncio.ensure_future(one._writer.do(stop))
        await stopped.wait()
        await two.append(claim.attempt, Batch([entry("custom", 1)]), 2)  # it takes until the database has had enough
        goes_on.set()
        with pytest.raises(Exception, match="database"):
            await stuck
        await one.append(claim.attempt, Batch([entry("custom", 2)]), 3)
        assert await two.last_seq("", "t") == 4

    on_servers(case)
