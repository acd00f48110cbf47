"""A network between a server and its database that loses what is said: whether something was committed is known in the
end, and whoever waits goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from postgres_server import Postgres

from chaos.cluster.proxy import Link, Proxy
from runyard.errors import Unavailable
from runyard.events import entry
from runyard.runs import Attempt, NewRun
from runyard.storage.contract import Batch
from runyard.storage.postgres import PostgresStorage
from runyard.storage.postgres.attention import end_session

OnProxy = Callable[[Callable[[PostgresStorage, Proxy, Any], Awaitable[None]]], None]


@pytest.fixture
def on_proxy(postgres: Postgres) -> OnProxy:
    """Runs a case on a storage that reaches its database through a proxy, and a connection that does not."""

    @asynccontextmanager
    async def opened(url: str) -> AsyncGenerator[tuple[PostgresStorage, Proxy, Any]]:
        direct: Any = await asyncpg.connect(url)
        async with Proxy(url) as proxy:
            storage = PostgresStorage(proxy.url)
            await storage.open()
            try:
                yield storage, proxy, direct
            finally:
                proxy.heal()
                await storage.close()
                await direct.close()

    def run(case: Callable[[PostgresStorage, Proxy, Any], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with opened(await postgres.emptied()) as (storage, proxy, direct):
                await case(storage, proxy, direct)

        asyncio.run(whole())

    return run


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("SILENCE", 0.1), ("PATIENCE", 0.2), ("UNANSWERED", 0.05)):
        monkeypatch.setattr(f"runyard.storage.postgres.attention.{name}", seconds)
    monkeypatch.setattr("runyard.storage.postgres.connection.CONNECT_TIMEOUT", 0.2)
    monkeypatch.setattr("runyard.storage.postgres.workers.ANSWER_PATIENCE", 0.2)


def wish(run_id: str, **more: Any) -> NewRun:
    fields: dict[str, Any] = {
        "run_id": run_id, "owner": "", "agent_id": "a", "request": b"{}", "metadata": b"{}", "created_at": 1,
        "thread_id": f"t-{run_id}", "stateless": True, "create_thread": False, "strategy": "enqueue",
        "max_attempts": 3, "resumes": False, "claim": True,
    }  # fmt: skip
    return NewRun(**{**fields, **more})


async def attempt_of(storage: PostgresStorage, run_id: str, **more: Any) -> Attempt:
    claim = (await storage.create_run(wish(run_id, **more))).claim
    assert claim is not None
    return claim.attempt


async def there(direct: Any, statement: str) -> None:
    while not await direct.fetchval(statement):
        await asyncio.sleep(0.005)


def test_a_run_that_began_although_the_answer_was_lost_is_executed(on_proxy: OnProxy) -> None:
    """Nobody else would: it is ours, and we are alive."""

    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        await attempt_of(storage, "before")
        proxy.hole(way="from")
        creating = asyncio.ensure_future(storage.create_run(wish("r1")))
        await there(direct, "SELECT count(*) FROM runs WHERE run_id = 'r1'")
        proxy.heal()
        proxy.cut()
        created = await creating
        assert created.claim is not None
        await storage.append(created.claim.attempt, Batch([entry("custom", 1)]), 2)

    on_proxy(case)


def test_a_commit_whose_answer_was_lost_is_told_as_done(on_proxy: OnProxy) -> None:
    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        attempt = await attempt_of(storage, "r1")
        proxy.on_sent = lambda link, piece: b"COMMIT" not in piece or not swallow(proxy, link)
        appending = asyncio.ensure_future(storage.append(attempt, Batch([entry("custom", 1)]), 2))
        await there(direct, "SELECT count(*) FROM events WHERE last_seq = 3")
        proxy.heal()
        proxy.cut()
        await appending
        events = await storage.events("", "t-r1", after=2, run_id=None, limit=9)
        assert [event.seq for event in events] == [3]

    def swallow(proxy: Proxy, link: Link) -> bool:
        proxy.on_sent = None
        proxy.hole(way="from")
        return False

    on_proxy(case)


def test_a_commit_that_never_came_is_told_as_not_done(on_proxy: OnProxy) -> None:
    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        attempt = await attempt_of(storage, "r1")

        def swallow(link: Link, piece: bytes) -> bool:
            if b"COMMIT" in piece:
                link.cut()
                return False
            return True

        proxy.on_sent = swallow
        with pytest.raises(Unavailable):
            await storage.append(attempt, Batch([entry("custom", 1)]), 2)
        proxy.on_sent = None
        await storage.append(attempt, Batch([entry("custom", 2)]), 2)
        events = await storage.events("", "t-r1", after=2, run_id=None, limit=9)
        assert [event.seq for event in events] == [3]

    on_proxy(case)


def test_an_outcome_is_asked_for_until_it_is_known_and_others_are_refused_meanwhile(on_proxy: OnProxy) -> None:
    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        attempt = await attempt_of(storage, "r1")

        def lose(link: Link, piece: bytes) -> bool:
            if b"COMMIT" in piece:
                proxy.on_sent = None
                proxy.hole(way="from")
            return True

        proxy.on_sent = lose
        appending = asyncio.ensure_future(storage.append(attempt, Batch([entry("custom", 1)]), 2))
        await there(direct, "SELECT count(*) FROM events WHERE last_seq = 3")
        proxy.close()
        while True:
            try:
                await asyncio.wait_for(storage.put_item("", ("n",), "k", b"{}", 1), 5)
            except Unavailable:
                break
        assert not appending.done()
        proxy.heal()
        await appending

    on_proxy(case)


def test_a_session_that_may_still_commit_is_ended_before_its_outcome_is_told(on_proxy: OnProxy) -> None:
    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        session = storage._writer._connection.session
        blocker: Any = await asyncpg.connect(storage._url)
        ended = [await end_session(blocker, session)]
        while not ended[-1]:
            ended.append(await end_session(blocker, session))
        assert ended[0] is False
        assert not await direct.fetch("SELECT 1 FROM pg_stat_activity WHERE pid = $1", session.pid)
        await blocker.close()

    on_proxy(case)


@pytest.mark.parametrize("way", ["both", "to", "from"])
def test_a_network_that_swallows_everything_is_noticed_and_all_goes_on_when_it_is_whole(
    on_proxy: OnProxy, way: Any
) -> None:
    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        await storage.join(60, ["a"])
        attempt = await attempt_of(storage, "r1")
        proxy.hole(way=way)
        calls = [
            lambda: storage.append(attempt, Batch([entry("custom", 1)]), 2),
            lambda: storage.renew(60),
            lambda: storage.run("", "r1"),
        ]
        waiting = [asyncio.ensure_future(again(call)) for call in calls]
        await asyncio.sleep(0.3)
        proxy.heal()
        await asyncio.gather(*waiting)
        await storage.append(attempt, Batch([entry("custom", 2)]), 2)
        events = await storage.events("", "t-r1", after=2, run_id=None, limit=9)
        assert [event.seq for event in events] == [3, 4]

    on_proxy(case)


async def again(call: Callable[[], Awaitable[Any]]) -> None:
    while True:
        try:
            await call()
            return
        except Unavailable:
            await asyncio.sleep(0.01)


def test_a_statement_that_takes_long_is_left_alone(on_proxy: OnProxy, postgres: Postgres) -> None:
    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        attempt = await attempt_of(storage, "r1")
        async with direct.transaction():
            await direct.execute("SELECT 1 FROM threads FOR UPDATE")
            appending = asyncio.ensure_future(storage.append(attempt, Batch([entry("custom", 1)]), 2))
            reading = asyncio.ensure_future(storage._pool.fetch("SELECT pg_sleep(0.5)"))
            await asyncio.sleep(0.5)
            assert not appending.done()
        await asyncio.gather(appending, reading)

    on_proxy(case)


def test_a_server_stops_while_its_database_says_nothing(on_proxy: OnProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runyard.storage.postgres.writer.FAREWELL", 0.2)
    monkeypatch.setattr("runyard.storage.postgres.connection.CLOSE_TIMEOUT", 0.2)

    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        attempt = await attempt_of(storage, "r1")
        proxy.hole()
        appending = asyncio.ensure_future(storage.append(attempt, Batch([entry("custom", 1)]), 2))
        await asyncio.sleep(0)
        await asyncio.wait_for(storage.close(), 10)
        with pytest.raises(Unavailable):
            await appending

    on_proxy(case)


def test_old_marks_go(on_proxy: OnProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runyard.storage.postgres.writer.MARKS_KEPT", 10)

    async def case(storage: PostgresStorage, proxy: Proxy, direct: Any) -> None:
        attempt = await attempt_of(storage, "r1")
        for number in range(35):
            await storage.append(attempt, Batch([entry("custom", number)]), 2)
        assert await direct.fetchval("SELECT count(*) FROM marks") <= 11
        await cut_writer(storage)
        await storage.append(attempt, Batch([entry("custom", 1)]), 2)
        await storage.close()
        assert await direct.fetchval("SELECT count(*) FROM marks") == 0

    on_proxy(case)


async def cut_writer(storage: PostgresStorage) -> None:
    storage._writer._connection.terminate()
