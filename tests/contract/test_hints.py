"""What every adapter of hints does. The cases speak the contract only; an adapter joins in `ADAPTERS`.

A hint may take its time, so a case waits until it is heard. That one is *not* heard is shown by a later one of the same
publisher that is: hints keep their order.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable

import pytest
from postgres_server import Postgres

from runyard.hints.contract import Hints, Listener
from runyard.hints.local import LocalHints
from runyard.hints.postgres import PostgresHints, payloads

ADAPTERS = ("local", "postgres", "postgres-two")
"""`postgres-two` publishes at one server and listens at another."""

Case = Callable[[Hints], Awaitable[None]]
OnHints = Callable[[Case], None]

DEADLINE = 20
"""Seconds after which a hint that does not come fails its case."""


class Two:
    """The hints of two servers."""

    def __init__(self, publisher: Hints, listener: Hints) -> None:
        self._publisher = publisher
        self._listener = listener

    async def open(self) -> None:
        await self._publisher.open()
        await self._listener.open()

    def publish(self, topic: str) -> None:
        self._publisher.publish(topic)

    def subscribe(self, topic: str, listener: Listener) -> Callable[[], None]:
        return self._listener.subscribe(topic, listener)

    async def close(self) -> None:
        await self._publisher.close()
        await self._listener.close()


@pytest.fixture(params=ADAPTERS)
def on_hints(request: pytest.FixtureRequest) -> OnHints:
    """Runs an async case on fresh hints."""

    server: Postgres | None = None if request.param == "local" else request.getfixturevalue("postgres")

    def made() -> Hints:
        if server is None:
            return LocalHints()
        if request.param == "postgres":
            return PostgresHints(server.url)
        return Two(PostgresHints(server.url), PostgresHints(server.url))

    def run(case: Case) -> None:
        async def whole() -> None:
            hints = made()
            await hints.open()
            try:
                await asyncio.wait_for(case(hints), DEADLINE)
            finally:
                await hints.close()

        asyncio.run(whole())

    return run


class Ear:
    """A listener that keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._came = asyncio.Event()

    def __call__(self, topic: str) -> None:
        self.heard.append(topic)
        self._came.set()

    async def hears(self, count: int) -> None:
        """Until so many hints have been heard in all."""
        while len(self.heard) < count:
            self._came.clear()
            await self._came.wait()


async def all_delivered(hints: Hints) -> None:
    """Until whatever was published before has been delivered."""
    ear = Ear()
    end = hints.subscribe("the end", ear)
    hints.publish("the end")
    await ear.hears(1)
    end()


def test_a_subscriber_of_a_topic_hears_its_hints_and_no_others(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        ear = Ear()
        hints.subscribe("run:1", ear)
        hints.publish("run:1")
        await ear.hears(1)
        hints.publish("run:10")
        hints.publish("run:")
        hints.publish("RUN:1")
        hints.publish("run:1")
        await ear.hears(2)
        await all_delivered(hints)
        assert ear.heard == ["run:1", "run:1"]

    on_hints(case)


def test_a_hint_that_nobody_waits_for_is_forgotten(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        hints.publish("ready")
        ear = Ear()
        await all_delivered(hints)
        hints.subscribe("ready", ear)
        await all_delivered(hints)
        assert ear.heard == []

    on_hints(case)


def test_hints_are_heard_in_the_order_in_which_they_were_published(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        ear = Ear()
        topics = [f"thread:{number}" for number in range(50)]
        for topic in reversed(topics):
            hints.subscribe(topic, ear)
        for topic in topics:
            hints.publish(topic)
        await ear.hears(50)
        assert ear.heard == topics

    on_hints(case)


def test_every_subscriber_of_a_topic_hears_a_hint_once(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        ears = [Ear() for _ in range(1000)]
        for ear in ears:
            hints.subscribe("ready", ear)
        hints.publish("ready")
        await all_delivered(hints)
        assert [ear.heard for ear in ears] == [["ready"]] * 1000

    on_hints(case)


def test_after_its_end_a_subscription_hears_nothing(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        gone, stays = Ear(), Ear()
        end = hints.subscribe("ready", gone)
        hints.subscribe("ready", stays)
        hints.publish("ready")
        await gone.hears(1)
        end()
        hints.publish("ready")
        await stays.hears(2)
        await all_delivered(hints)
        assert gone.heard == ["ready"]

    on_hints(case)


def test_two_subscriptions_of_one_listener_end_each_for_itself(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        ear = Ear()
        first = hints.subscribe("ready", ear)
        hints.subscribe("ready", ear)
        hints.publish("ready")
        await ear.hears(2)
        first()
        first()
        hints.publish("ready")
        await ear.hears(3)
        await all_delivered(hints)
        assert len(ear.heard) == 3

    on_hints(case)


def test_a_subscription_that_another_listener_ends_hears_nothing_more(on_hints: OnHints) -> None:
    """Whoever has left is not called, not even by the hint that is just going round."""

    async def case(hints: Hints) -> None:
        heard: list[str] = []
        ends: dict[str, Callable[[], None]] = {}

        def subscribe(name: str, other: str) -> None:
            def listener(_: str) -> None:
                heard.append(name)
                ends[other]()

            ends[name] = hints.subscribe("ready", listener)

        subscribe("one", "two")
        subscribe("two", "one")
        hints.publish("ready")
        await all_delivered(hints)
        hints.publish("ready")
        await all_delivered(hints)
        # Whichever was called first has ended the other before its turn.
        assert heard in (["one", "one"], ["two", "two"])

    on_hints(case)


def test_a_subscriber_that_raises_harms_no_other(on_hints: OnHints, caplog: pytest.LogCaptureFixture) -> None:
    async def case(hints: Hints) -> None:
        def broken(topic: str) -> None:
            raise ValueError(f"cannot bear {topic}")

        before, after = Ear(), Ear()
        hints.subscribe("ready", before)
        hints.subscribe("ready", broken)
        hints.subscribe("ready", after)
        for count in (1, 2):
            hints.publish("ready")
            await before.hears(count)
            await after.hears(count)

    on_hints(case)
    assert "cannot bear ready" in caplog.text


def test_listeners_are_called_in_the_loop_of_their_subscriber(on_hints: OnHints) -> None:
    """So that a listener may wake what waits in the loop, which is what listeners are for."""

    async def case(hints: Hints) -> None:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[tuple[int, asyncio.AbstractEventLoop]] = loop.create_future()

        def wake(_: str) -> None:
            woken.set_result((threading.get_ident(), asyncio.get_running_loop()))

        hints.subscribe("run:1", wake)
        loop.call_soon(hints.publish, "run:1")
        assert await woken == (threading.get_ident(), loop)

    on_hints(case)


def test_a_listener_may_publish_and_subscribe(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        ear = Ear()

        def pass_on(_: str) -> None:
            hints.subscribe("second", ear)
            hints.publish("second")

        hints.subscribe("first", pass_on)
        hints.publish("first")
        await ear.hears(1)

    on_hints(case)


def test_closed_hints_reach_nobody_and_break_nothing(on_hints: OnHints) -> None:
    """Code that outlives the engine, such as the end of a run, may still publish or leave."""

    async def case(hints: Hints) -> None:
        ear = Ear()
        end = hints.subscribe("ready", ear)
        await hints.close()
        hints.publish("ready")
        end()
        assert ear.heard == []

    on_hints(case)


def test_two_engines_in_one_process_do_not_hear_each_other() -> None:
    """Local hints are an object of their engine, not of the module."""
    heard: list[str] = []
    one, other = LocalHints(), LocalHints()
    one.subscribe("ready", heard.append)
    other.publish("ready")
    assert heard == []


def test_what_is_published_meanwhile_is_told_to_the_others_once(postgres: Postgres) -> None:
    async def case() -> None:
        hints = Two(PostgresHints(postgres.url), PostgresHints(postgres.url))
        await hints.open()
        try:
            ear = Ear()
            hints.subscribe("ready", ear)
            for _ in range(1000):
                hints.publish("ready")
            await all_delivered(hints)
            assert ear.heard == ["ready"]
        finally:
            await hints.close()

    asyncio.run(asyncio.wait_for(case(), DEADLINE))


def test_whoever_lost_its_connection_looks_again_and_hears_what_comes(postgres: Postgres) -> None:
    async def case() -> None:
        hints = Two(PostgresHints(postgres.url, name="one"), PostgresHints(postgres.url, name="other"))
        await hints.open()
        try:
            ear = Ear()
            hints.subscribe("ready", ear)
            await postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'other hints'"
            )
            await ear.hears(1)
            hints.publish("ready")
            await ear.hears(2)
        finally:
            await hints.close()

    asyncio.run(asyncio.wait_for(case(), DEADLINE))


def test_what_was_published_without_a_connection_is_told_later(postgres: Postgres) -> None:
    async def case() -> None:
        hints = Two(PostgresHints(postgres.url, name="one"), PostgresHints(postgres.url, name="other"))
        await hints.open()
        try:
            ear = Ear()
            hints.subscribe("ready", ear)
            await postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'one hints'"
            )
            hints.publish("ready")
            await ear.hears(1)
        finally:
            await hints.close()

    asyncio.run(asyncio.wait_for(case(), DEADLINE))


def test_many_topics_go_in_few_notifications_and_each_of_them_fits() -> None:
    topics = [f"thread:{number:036}" for number in range(1000)]
    told = list(payloads(topics))
    assert [topic for payload in told for topic in json.loads(payload)] == topics
    assert len(told) == 6
    assert all(len(payload.encode()) < 8000 for payload in told)


def test_two_databases_do_not_hear_each_other(postgres: Postgres) -> None:
    async def case() -> None:
        here, there = PostgresHints(postgres.url), PostgresHints(await postgres.emptied())
        heard: list[str] = []
        try:
            await here.open()
            await there.open()
            there.subscribe("ready", heard.append)
            here.publish("ready")
            await all_delivered(here)
            await all_delivered(there)
            assert heard == []
        finally:
            await here.close()
            await there.close()

    asyncio.run(asyncio.wait_for(case(), DEADLINE))
