"""The outbox of every storage adapter: who may send a delivery when, and what is recorded of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from runyard import checkpoints
from runyard.checkpoints import Asked, Checkpoint, Question, State, set_to
from runyard.deliveries import Delivery, DeliveryFilter, Try
from runyard.errors import NotFound
from runyard.runs import NewRun, Outcome, Request
from runyard.storage.contract import Batch, Claim, Ending, Storage, Taken

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]


def wish(run_id: str, url: str | None = "https://a.example/hook", thread_id: str = "", **more: Any) -> NewRun:
    request = Request() if url is None else Request(webhook=url, input=msgspec.Raw(b"1"))
    fields: dict[str, Any] = {
        "run_id": run_id, "owner": "", "agent_id": "a", "request": msgspec.json.encode(request), "metadata": b"{}",
        "created_at": 1, "thread_id": thread_id or f"t-{run_id}", "stateless": False, "create_thread": True,
        "strategy": "enqueue", "max_attempts": 3, "resumes": False, "claim": True,
    }  # fmt: skip
    return NewRun(**{**fields, **more})


async def claimed(storage: Storage, *arguments: Any, **more: Any) -> Claim:
    created = await storage.create_run(wish(*arguments, **more))
    assert created.claim is not None
    return created.claim


async def ended(storage: Storage, *arguments: Any, now: int = 10, outcome: Outcome = "completed", **more: Any) -> None:
    """A run from its creation to its end."""
    claim = await claimed(storage, *arguments, **more)
    await storage.finish(claim.attempt, Batch(), Ending(outcome, final={"n": b"1"}), now)


def saved(claim: Claim, number: int, state: State, asked: Asked | None = None) -> Checkpoint:
    return checkpoints.plan(
        checkpoint_id=f"c{number}", thread_id=claim.run.thread_id, parent=None,
        changes={channel: set_to(value) for channel, value in state.items()}, state=state, run_id=claim.run.run_id,
        created_at=number, source="step", asked=asked,
    )  # fmt: skip


async def take(storage: Storage, now: int, **more: Any) -> Taken:
    given: dict[str, Any] = {"until": now + 100, "limit": 10, "per_host": 10, "busy": {}, **more}
    return await storage.take_deliveries(now, **given)


def ids(deliveries: Any) -> list[str]:
    return [delivery.run_id for delivery in deliveries]


async def only(storage: Storage, now: int) -> Delivery:
    (delivery,) = (await take(storage, now)).deliveries
    return delivery


# what is written


def test_the_end_of_a_run_with_a_webhook_is_due_at_once(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        hints: list[str] = []
        storage.on_outbox = lambda: hints.append("due")
        await ended(storage, "r0", None)
        assert hints == []
        await ended(storage, "r-1", "https://A.example:8443/hook?x=1")
        assert hints == ["due"]
        delivery = await storage.delivery("", "msg_r1")
        assert (delivery.run_id, delivery.thread_id, delivery.url) == (
            "r-1",
            "t-r-1",
            "https://A.example:8443/hook?x=1",
        )
        assert (delivery.status, delivery.host, delivery.due_at, delivery.attempts) == ("pending", "a.example", 10, 0)
        assert ids(await storage.search_deliveries("", DeliveryFilter())) == ["r-1"]

    on_storage(case)


def test_a_notice_is_a_snapshot_that_outlives_its_run_and_thread(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        claim = await claimed(storage, "r1")
        asked = Asked("r1", "a", None, [Question("q1", msgspec.Raw(b'{"sure":true}'))])
        checkpoint = saved(claim, 1, {"n": b"[1,2]"}, asked)
        await storage.finish(claim.attempt, Batch(checkpoints=[checkpoint]), Ending("asked"), 10)
        run = await storage.run("", "r1")
        await storage.delete_run("", "r1", 11)
        await storage.delete_thread("", "t-r1", 12)
        await storage.purge(10**18, keys_before=0)
        notice = await storage.notice("", "msg_r1")
        assert (notice.run, notice.state) == (run, {"n": b"[1,2]"})
        assert [(question.id, bytes(question.value)) for question in notice.questions] == [("q1", b'{"sure":true}')]

    on_storage(case)


@pytest.mark.parametrize("executed", [True, False])
def test_every_verb_that_ends_a_run_writes_its_notice(on_storage: OnStorage, executed: bool) -> None:
    async def case(storage: Storage) -> None:
        async def begin(run_id: str) -> Claim | None:
            created = await storage.create_run(wish(run_id, claim=executed))
            if created.claim is None:
                return None
            checkpoint = saved(created.claim, int(run_id[1:]), {"of": msgspec.json.encode(run_id)})
            await storage.append(created.claim.attempt, Batch(checkpoints=[checkpoint]), 5)
            return created.claim

        expected: dict[str, tuple[str, State]] = {}

        def expect(run_id: str, outcome: str, *, undone: bool = False) -> None:
            kept = executed and not undone
            expected[run_id] = (outcome, {"of": msgspec.json.encode(run_id)} if kept else {})

        await begin("r1")
        await storage.cancel("", "r1", "interrupt", 10, None)
        await begin("r2")
        await storage.cancel("", "r2", "rollback", 10, None)
        if executed:
            for run_id in ("r1", "r2"):
                claim = await storage.claim_of(run_id)
                assert claim is not None
                await storage.abandon(claim.attempt, 11, None)
        expect("r1", "abandoned" if executed else "cancelled")
        expect("r2", "rolled_back", undone=True)
        await begin("r3")
        await storage.delete_thread("", "t-r3", 10)
        expect("r3", "cancelled")
        if executed:
            claim = await begin("r4")
            assert claim is not None
            await storage.cancel("", "r4", "rollback", 10, None)
            await storage.finish(claim.attempt, Batch(), Ending("rolled_back", cancel="rollback"), 11)
            expect("r4", "rolled_back", undone=True)
            claim = await begin("r5")
            assert claim is not None
            await storage.finish(claim.attempt, Batch(), Ending("failed", delete_thread=True), 11)
            expect("r5", "failed")
            for run_id, action in (("r6", "interrupt"), ("r7", "rollback")):
                await begin(run_id)
                await storage.cancel("", run_id, action, 10, None)  # type: ignore[arg-type]
            await claimed(storage, "r8", max_attempts=1)
            await storage.recover(12, 13)
            expect("r6", "cancelled")
            expect("r7", "rolled_back", undone=True)
            expected["r8"] = ("lost", {})
        found = await storage.search_deliveries("", DeliveryFilter(limit=100))
        notices = {each.run_id: await storage.notice("", each.delivery_id) for each in found}
        assert {run_id: (notice.run.outcome, notice.state) for run_id, notice in notices.items()} == expected

    on_storage(case)


def test_strategies_that_end_queued_runs_write_their_notices(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number, strategy, outcome in ((1, "interrupt", "cancelled"), (2, "rollback", "rolled_back")):
            thread = f"t{number}"
            await claimed(storage, f"r{number}1", None, thread)
            await storage.create_run(wish(f"r{number}2", thread_id=thread, claim=False))
            await storage.create_run(wish(f"r{number}3", None, thread, claim=False, strategy=strategy))
            assert (await storage.notice("", f"msg_r{number}2")).run.outcome == outcome

    on_storage(case)


# who may send


def test_what_is_taken_is_the_takers_until_its_lease_ends(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1")
        assert await take(storage, 9) == Taken([], 10)
        first = await only(storage, 10)
        assert (first.attempts, first.attempted_at, first.sending, first.due_at) == (1, 10, True, 110)
        assert await take(storage, 50) == Taken([], 110)
        second = await only(storage, 110)
        assert (second.attempts, second.lease) == (2, first.lease + 1)
        # The first taker is late: nothing that it records counts.
        failed = Try(500, "a.example answered 500")
        assert not await storage.settle_delivery(first, Try(200), 111, delivered=True)
        assert not await storage.retry_delivery(first, failed, 999)
        assert not await storage.release_delivery(first, 111)
        assert await storage.delivery("", "msg_r1") == second
        assert await storage.settle_delivery(second, Try(200), 112, delivered=True)
        assert not await storage.settle_delivery(second, Try(200), 113, delivered=True)
        assert (await storage.delivery("", "msg_r1")).delivered_at == 112

    on_storage(case)


def test_a_take_has_a_limit_and_leaves_room_to_other_hosts(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(5):
            await ended(storage, f"a{number}", "https://a.example/", now=10 + number)
        await ended(storage, "b0", "http://b.example/", now=20)
        await ended(storage, "c0", "http://c.example/", now=30)
        two = (await take(storage, 100, limit=2)).deliveries
        assert sorted(ids(two)) == ["a0", "a1"], "in the order in which they are due"
        rest = (await take(storage, 100, per_host=3, busy={"a.example": 2, "c.example": 3})).deliveries
        assert sorted(ids(rest)) == ["a2", "b0"]
        nothing = await take(storage, 25, per_host=3, busy={"a.example": 3})
        assert nothing == Taken([], 30), "what has no place is not waited for"
        assert ids((await take(storage, 100, per_host=3, busy={"a.example": 3})).deliveries) == ["c0"]

    on_storage(case)


def test_what_a_try_came_to_is_recorded(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(3):
            await ended(storage, f"r{number}")
        for delivery in (await take(storage, 10)).deliveries:
            if delivery.run_id == "r0":
                assert await storage.settle_delivery(delivery, Try(204), 20, delivered=True)
            elif delivery.run_id == "r1":
                assert await storage.settle_delivery(delivery, Try(410, "gone"), 20, delivered=False)
            else:
                assert await storage.retry_delivery(delivery, Try(None, "no answer"), 500)
        seen = [await storage.delivery("", f"msg_r{number}") for number in range(3)]
        assert [(each.status, each.last_status, each.last_error) for each in seen] == [
            ("delivered", 204, None), ("parked", 410, "gone"), ("pending", None, "no answer"),
        ]  # fmt: skip
        assert [(each.delivered_at, each.parked_at, each.due_at) for each in seen] == [
            (20, None, None), (None, 20, None), (None, None, 500),
        ]  # fmt: skip
        assert await take(storage, 499) == Taken([], 500)
        again = await only(storage, 500)
        assert (again.run_id, again.attempts, again.began_at) == ("r2", 2, 10)

    on_storage(case)


def test_what_is_given_back_was_not_tried(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1")
        assert await storage.release_delivery(await only(storage, 10), 15)
        delivery = await only(storage, 15)
        assert (delivery.attempts, delivery.lease) == (1, 2)

    on_storage(case)


def test_recovery_voids_what_a_server_that_is_gone_was_sending(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await ended(storage, "r1")
        await ended(storage, "r2")
        first, second = sorted((await take(storage, 10)).deliveries, key=lambda each: each.run_id)
        assert await storage.settle_delivery(second, Try(200), 11, delivered=True)
        await storage.recover(12, 13)
        now = 12
        if storage.shared:
            # The server that sends it may be alive: it is due again when that server's time is over.
            assert not (await take(storage, 12)).deliveries
            now = 110
        else:
            assert not await storage.settle_delivery(first, Try(200), 13, delivered=True)
        again = await only(storage, now)
        assert (again.run_id, again.attempts) == ("r1", 2)
        assert not await storage.settle_delivery(first, Try(200), now, delivered=True)

    on_storage(case)


def test_a_delivery_is_sent_again_whatever_became_of_it(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        hints: list[str] = []
        storage.on_outbox = lambda: hints.append("due")
        for number in range(4):
            await ended(storage, f"r{number}")
        taken = sorted((await take(storage, 10)).deliveries, key=lambda each: each.run_id)
        await storage.settle_delivery(taken[0], Try(200), 11, delivered=True)
        await storage.settle_delivery(taken[1], Try(410, "gone"), 11, delivered=False)
        await storage.retry_delivery(taken[2], Try(500, "no"), 10**6)
        hints.clear()
        for number in range(3):
            again = await storage.resend_delivery("", f"msg_r{number}", 50)
            assert (again.status, again.due_at, again.began_at, again.attempts) == ("pending", 50, 50, 0)
        assert len(hints) == 3
        sending = await storage.resend_delivery("", "msg_r3", 50)
        assert sending == taken[3], "it is on its way at this moment"
        assert sorted(ids((await take(storage, 50)).deliveries)) == ["r0", "r1", "r2"]
        for owner, delivery_id in (("", "msg_none"), ("bob", "msg_r1")):
            with pytest.raises(NotFound, match="does not exist"):
                await storage.resend_delivery(owner, delivery_id, 60)

    on_storage(case)


# looking, and forgetting


def test_deliveries_are_searched_newest_first_by_their_owner(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        for number in range(6):
            await ended(storage, f"r{number}")
        await ended(storage, "other", owner="bob")
        for delivery in (await take(storage, 10)).deliveries:
            if delivery.run_id in ("r0", "r3"):
                await storage.settle_delivery(delivery, Try(410, "gone"), 11, delivered=False)
            elif delivery.run_id == "r1":
                await storage.settle_delivery(delivery, Try(200), 11, delivered=True)

        async def found(owner: str = "", **query: Any) -> list[str]:
            return ids(await storage.search_deliveries(owner, DeliveryFilter(**query)))

        assert await found() == ["r5", "r4", "r3", "r2", "r1", "r0"]
        assert await found(limit=2, offset=1) == ["r4", "r3"]
        assert await found(status="parked") == ["r3", "r0"]
        assert await found(status="parked", limit=1, offset=1) == ["r0"]
        assert await found(status="delivered") == ["r1"]
        assert await found(status="pending") == ["r5", "r4", "r2"]
        assert await found(run_id="r3") == await found(run_id="r3", status="parked") == ["r3"]
        assert await found(run_id="r3", status="pending") == await found(run_id="r3", offset=1) == []
        assert await found(run_id="other") == []
        assert await found("bob") == ["other"]
        for look in (storage.delivery, storage.notice):
            for owner, delivery_id in (("bob", "msg_r1"), ("", "msg_none")):
                with pytest.raises(NotFound):
                    await look(owner, delivery_id)  # type: ignore[misc]

    on_storage(case)


def test_what_is_over_is_removed_after_its_time_and_what_is_not_stays(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await asyncio.gather(*(ended(storage, f"r{number}") for number in range(450)))
        taken = (await take(storage, 10, limit=450, per_host=450)).deliveries
        assert len(taken) == 450
        await storage.settle_delivery(taken[0], Try(200), 1000, delivered=True)
        gone = Try(410, "gone")
        await asyncio.gather(*(storage.settle_delivery(each, gone, 500, delivered=False) for each in taken[1:-1]))
        assert await storage.purge_deliveries(500) == 0
        assert await storage.purge_deliveries(1000) == 448
        left = await storage.search_deliveries("", DeliveryFilter(limit=1000))
        assert sorted(ids(left)) == sorted([taken[0].run_id, taken[-1].run_id])
        await storage.notice("", taken[-1].delivery_id)
        with pytest.raises(NotFound):
            await storage.notice("", taken[1].delivery_id)

    on_storage(case)
