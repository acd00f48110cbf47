"""What every adapter of hints does. The cases speak the contract only; an adapter joins in `ADAPTERS`.

A hint may take its time, so a case waits until it is heard. That one is *not* heard is shown by a later one of the same
publisher that is: hints keep their order.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from postgres_server import Postgres

from runyard.hints import postgres as postgres_hints
from runyard.hints.contract import MISSED, Hints
from runyard.hints.local import LocalHints
from runyard.hints.postgres import PAYLOAD_BYTES, PostgresHints, payloads

ADAPTERS = ("local", "postgres")

Case = Callable[[Hints], Awaitable[None]]
OnHints = Callable[[Case], None]

DEADLINE = 20
"""Seconds after which a hint that does not come fails its case."""


@pytest.fixture(params=ADAPTERS)
def on_hints(request: pytest.FixtureRequest) -> OnHints:
    """Runs an async case on fresh hints."""

    def run(case: Case) -> None:
        async def whole() -> None:
            hints: Hints = LocalHints()
            if request.param == "postgres":
                server: Postgres = request.getfixturevalue("postgres")
                hints = PostgresHints(server.url)
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


def test_nobody_of_this_process_hears_what_others_are_told(on_hints: OnHints) -> None:
    async def case(hints: Hints) -> None:
        ear = Ear()
        hints.subscribe("thread:1", ear)
        hints.tell_others(["thread:1", "thread:2"])
        await all_delivered(hints)
        assert ear.heard == []

    on_hints(case)


# between servers

Pair = Callable[[Callable[[PostgresHints, PostgresHints], Awaitable[None]]], None]


@pytest.fixture
def on_two(postgres: Postgres) -> Pair:
    """Runs a case on the hints of two servers of one database."""

    def run(case: Callable[[PostgresHints, PostgresHints], Awaitable[None]]) -> None:
        async def whole() -> None:
            one, other = PostgresHints(postgres.url), PostgresHints(postgres.url)
            await one.open()
            await other.open()
            try:
                await asyncio.wait_for(case(one, other), DEADLINE)
            finally:
                await one.close()
                await other.close()

        asyncio.run(whole())

    return run


def test_other_servers_hear_what_is_published_and_what_they_are_told(on_two: Pair) -> None:
    async def case(one: PostgresHints, other: PostgresHints) -> None:
        here, there = Ear(), Ear()
        for topic in ("ready", "thread:a/b", "end:1", "last"):
            one.subscribe(topic, here)
            other.subscribe(topic, there)
        one.publish("ready")
        one.tell_others(["thread:a/b", "end:1"])
        one.publish("last")
        await there.hears(4)
        assert there.heard == ["ready", "thread:a/b", "end:1", "last"]
        assert here.heard == ["ready", "last"]

    on_two(case)


def test_what_is_published_meanwhile_is_told_to_the_others_once(on_two: Pair) -> None:
    async def case(one: PostgresHints, other: PostgresHints) -> None:
        ear, last = Ear(), Ear()
        other.subscribe("ready", ear)
        other.subscribe("last", last)
        for _ in range(1000):
            one.publish("ready")
        one.publish("last")
        await last.hears(1)
        assert ear.heard == ["ready"]

    on_two(case)


def test_a_topic_of_any_text_comes_as_it_was(on_two: Pair) -> None:
    async def case(one: PostgresHints, other: PostgresHints) -> None:
        there = Ear()
        topics = ['thread:"/\\', "thread:\n,[]", "thread:\u20ac\x00/1"]
        for topic in topics:
            other.subscribe(topic, there)
        one.tell_others(topics)
        await there.hears(3)
        assert there.heard == topics

    on_two(case)


def test_many_topics_are_told_in_few_notifications(on_two: Pair) -> None:
    async def case(one: PostgresHints, other: PostgresHints) -> None:
        there = Ear()
        topics = [f"thread:owner/{number:050}" for number in range(2000)]
        for topic in topics:
            other.subscribe(topic, there)
        for topic in topics:
            one.publish(topic)
            one.publish(topic)
        await there.hears(2000)
        assert there.heard == topics

    on_two(case)
    parts = payloads([f"thread:owner/{number:050}" for number in range(2000)])
    assert max(map(len, parts)) <= PAYLOAD_BYTES
    assert len(parts) < 20


def test_more_than_can_be_told_has_others_look_at_everything(on_two: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_hints, "MOST_WAITING", 10)

    async def case(one: PostgresHints, other: PostgresHints) -> None:
        there = Ear()
        other.subscribe(MISSED, there)
        one.tell_others([f"thread:{number}" for number in range(11)])
        await there.hears(1)
        one.publish("thread:" + "x" * 9000)
        await there.hears(2)

    on_two(case)


def test_a_lost_connection_is_made_anew_and_both_sides_look_at_everything(on_two: Pair, postgres: Postgres) -> None:
    async def case(one: PostgresHints, other: PostgresHints) -> None:
        here, there = Ear(), Ear()
        one.subscribe(MISSED, here)
        other.subscribe(MISSED, there)
        await postgres.execute(f"SELECT pg_terminate_backend({one._pid})")
        one.tell_others(["thread:1"])
        await here.hears(1)
        await there.hears(1)
        heard = Ear()
        other.subscribe("ready", heard)
        one.publish("ready")
        await heard.hears(1)

    on_two(case)


def test_what_was_published_before_the_end_is_told(on_two: Pair) -> None:
    async def case(one: PostgresHints, other: PostgresHints) -> None:
        there = Ear()
        other.subscribe("stopped:1", there)
        one.publish("stopped:1")
        await one.close()
        await there.hears(1)

    on_two(case)


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
