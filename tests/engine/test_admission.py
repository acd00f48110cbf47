"""The cap on pending runs: what is let in, what is refused, and how seldom anybody counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from live_server import MovableClock, Server, Starter, play

from runyard import agent
from runyard.admission import FRESH, LEAST, PART, RECOUNT, Ledger
from runyard.errors import TooManyRuns


class Database:
    """Knows how many runs wait, and how often it was asked."""

    def __init__(self, pending: int = 0) -> None:
        self.pending = pending
        self.asked = 0
        self.broken = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def count(self) -> int:
        self.asked += 1
        if self.broken:
            raise OSError("gone")
        found = self.pending
        await self.answers.wait()
        return found


def ledger(database: Database, cap: int, *, shared: bool = False) -> tuple[Ledger, MovableClock]:
    clock = MovableClock()
    return Ledger(cap, "this server", database.count, clock, shared=shared), clock


async def create(book: Ledger, database: Database, *, waits: bool = True) -> None:
    await book.admit()
    database.pending += waits
    book.settle(waits)


def test_runs_are_let_in_up_to_the_cap_and_counted_once() -> None:
    async def story() -> None:
        database = Database(2)
        book, _ = ledger(database, 5)
        for _ in range(3):
            await create(book, database)
        with pytest.raises(TooManyRuns, match=r"5 runs are pending, and 5 are the most that this server may have"):
            await create(book, database)
        assert (database.pending, database.asked) == (5, 1)

    play(story())


def test_a_run_that_began_at_once_takes_nothing() -> None:
    async def story() -> None:
        database = Database()
        book, _ = ledger(database, 1)
        for _ in range(10):
            await create(book, database, waits=False)
        assert database.asked == 1

    play(story())


def test_while_it_is_full_the_database_is_asked_now_and_then() -> None:
    async def story() -> None:
        database = Database(1)
        book, clock = ledger(database, 1)
        for _ in range(50):
            with pytest.raises(TooManyRuns):
                await create(book, database)
        assert database.asked == 1
        database.pending = 0
        clock.move(RECOUNT)
        await create(book, database)
        assert (database.pending, database.asked) == (1, 2)

    play(story())


def test_many_who_come_at_once_are_never_more_than_the_cap() -> None:
    async def story() -> None:
        database = Database()
        database.answers.clear()
        book, _ = ledger(database, 7)
        coming = [asyncio.ensure_future(create(book, database)) for _ in range(20)]
        await asyncio.sleep(0)
        database.answers.set()
        done = await asyncio.gather(*coming, return_exceptions=True)
        assert sum(isinstance(error, TooManyRuns) for error in done) == 13
        assert (database.pending, database.asked) == (7, 1)

    play(story())


def test_what_is_created_while_it_counts_is_not_lost() -> None:
    async def story() -> None:
        database = Database(1)
        book, clock = ledger(database, 3)
        await book.admit()
        await book.admit()  # both are being created: 3 with the one that waits
        clock.move(RECOUNT)
        database.answers.clear()
        third = asyncio.ensure_future(book.admit())
        await asyncio.sleep(0)
        database.pending += 2  # they are committed, but after the count
        book.settle(True)
        book.settle(True)
        database.answers.set()
        with pytest.raises(TooManyRuns):
            await third

    play(story())


def test_servers_that_share_a_database_let_in_up_to_the_cap_together() -> None:
    async def story() -> None:
        database = Database()
        books = [ledger(database, 20, shared=True)[0] for _ in range(3)]
        for number in range(20):
            await create(books[number % 3], database)
        for book in books:
            with pytest.raises(TooManyRuns):
                await create(book, database)
        assert database.pending == 20

    play(story())


def test_what_a_server_lets_in_by_an_old_count_is_a_part_of_what_was_free() -> None:
    """One counts, and lets nothing in; meanwhile others fill it all."""

    async def story() -> None:
        database = Database()
        slow, _ = ledger(database, 800, shared=True)
        await create(slow, database)
        database.pending = 800
        for _ in range(800 // PART - 1):
            await create(slow, database)
        with pytest.raises(TooManyRuns):
            await create(slow, database)

    play(story())


def test_an_old_count_is_renewed_beside_the_work() -> None:
    async def story() -> None:
        database = Database()
        book, clock = ledger(database, 800, shared=True)
        await create(book, database)
        database.pending = 800
        clock.move(FRESH)
        database.answers.clear()
        await create(book, database)  # does not wait for the new count
        assert database.asked == 1
        await asyncio.sleep(0)
        assert database.asked == 2
        database.answers.set()
        await asyncio.sleep(0.001)
        with pytest.raises(TooManyRuns):
            await create(book, database)

    play(story())


def test_a_count_that_fails_beside_the_work_is_made_again() -> None:
    async def story() -> None:
        database = Database()
        book, clock = ledger(database, 800, shared=True)
        await create(book, database)
        clock.move(FRESH)
        database.broken = True
        await create(book, database)
        await asyncio.sleep(0.001)
        database.broken, database.pending = False, 800
        await create(book, database)
        await asyncio.sleep(0.001)
        assert database.asked == 3
        with pytest.raises(TooManyRuns):
            await create(book, database)

    play(story())


def test_a_large_cap_is_seldom_counted_even_when_it_is_near() -> None:
    async def story() -> None:
        cap = 10 * LEAST
        database = Database(cap - 100)
        book, _ = ledger(database, cap, shared=True)
        for _ in range(100):
            await create(book, database)
        with pytest.raises(TooManyRuns):
            await create(book, database)
        assert database.asked <= 100 // (cap // LEAST) + 1

    play(story())


@agent
async def hold(input: Any = None) -> None:
    await asyncio.Event().wait()


@agent(concurrency=1)
async def one_at_a_time(input: Any = None) -> None:
    await asyncio.Event().wait()


async def refused(s: Server, **wish: Any) -> dict[str, Any]:
    answer = await s.post("/runs", wish)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_runs"), answer.text
    assert int(answer.headers["retry-after"]) > 0
    return answer.json()["metadata"]


def test_a_run_that_would_wait_is_refused_when_as_many_wait_as_may(server: Starter) -> None:
    async def story() -> None:
        async with server(hold, max_runs=2, max_pending=3, drain_grace=0) as s:
            for _ in range(2 + 3):
                await s.run()
            assert await refused(s) == {"pending": 3, "limit": 3}
            for path in ("/runs/wait", "/runs/stream"):
                assert (await s.post(path, {})).status_code == 429
            assert len((await s.post("/runs/search", {})).json()) == 5

    play(story())


def test_a_batch_that_has_no_room_leaves_nothing(server: Starter) -> None:
    async def story() -> None:
        async with server(hold, max_runs=1, max_pending=2, drain_grace=0) as s:
            refused = await s.post("/langgraph/runs/batch", [{"assistant_id": "hold", "input": None}] * 4)
            assert refused.status_code == 429, refused.text
            assert (await s.post("/runs/search", {})).json() == []

    play(story())


def test_delayed_runs_and_those_of_a_busy_agent_count(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(one_at_a_time, clock=clock, max_pending=3, drain_grace=0) as s:
            await s.run()
            await s.run()
            await s.run(after_seconds=100)
            thread = await s.thread()
            await s.run(thread_id=thread)
            await refused(s)
            await refused(s, after_seconds=5)

    play(story())


def test_there_is_room_again_when_one_was_cancelled(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(hold, clock=clock, max_runs=1, max_pending=1, drain_grace=0) as s:
            await s.run()
            waits = await s.run()
            await refused(s)
            await s.post(f"/runs/{waits['run_id']}/cancel?wait=true")
            clock.move(RECOUNT)
            await s.run()

    play(story())


def test_an_owner_has_a_cap_of_its_own_and_a_known_key_passes(server: Starter) -> None:
    from runyard.settings import ApiKey

    async def story() -> None:
        keys = (ApiKey("a", "ada"), ApiKey("b", "bob"))
        async with server(hold, api_keys=keys, max_runs=1, max_pending_per_owner=1, drain_grace=0) as s:
            ada, bob = ({"authorization": f"Bearer {key}"} for key in "ab")
            await s.post("/runs", {}, headers=ada)
            first = await s.post("/runs", {}, headers={**ada, "idempotency-key": "k"})
            full = await s.post("/runs", {}, headers=ada)
            assert (full.status_code, full.json()["code"]) == (429, "too_many_runs")
            assert "'ada'" in full.json()["message"]
            again = await s.post("/runs", {}, headers={**ada, "idempotency-key": "k"})
            assert again.json()["run_id"] == first.json()["run_id"]
            assert (await s.post("/runs", {}, headers=bob)).status_code == 200

    play(story())
