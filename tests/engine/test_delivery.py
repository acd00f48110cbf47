"""What becomes of a webhook: tried again, delivered, parked, re-sent; never lost, and nobody held up by others."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import sqlite3
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from at_rest import change, look
from live_server import MovableClock, Server, Starter, play
from receiver import Receiver, hang, receiving, status

from runyard import agent
from runyard.clock import rfc3339
from runyard.errors import StorageError
from runyard.events import Chunk, ends_run
from runyard.settings import ApiKey, parse_webhook_secrets

ALLOWED = ("127.0.0.1",)
DAY = 86_400
NEW = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD = "whsec_" + base64.b64encode(bytes(range(100, 124))).decode()


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input}


async def settled(server: Server, receiver: Receiver, messages: int) -> None:
    """Until so many messages have come and nothing is being sent."""
    await server.until(lambda: len(receiver.messages) >= messages and server.app.engine.courier.sending == 0)


async def next_try(server: Server, clock: MovableClock, receiver: Receiver) -> None:
    """Moves the clock to the time of the next try, and lets it happen."""
    (delivery,) = (await server.post("/webhooks/search", {"status": "pending"})).json()
    wait = (await server.storage.delivery("", delivery["delivery_id"])).due_at
    assert wait is not None
    count = len(receiver.messages)
    clock.move((wait - clock.now()) / 1e6 + 0.000002)
    looks = 0
    while len(receiver.messages) == count:
        await asyncio.sleep(0.001)
        looks += 1
        if looks % 200 == 0:
            clock.move(5)  # its sleep had begun only after the move
    await settled(server, receiver, count + 1)


async def listed(server: Server, **query: Any) -> list[dict[str, Any]]:
    return (await server.post("/webhooks/search", query)).json()


def test_a_delivery_is_in_the_database_when_its_run_is_seen_to_have_ended(
    server: Starter, database: str, receiver: Receiver
) -> None:
    async def story() -> None:
        async with server(echo, webhook_allow=ALLOWED) as s:
            found: list[str] = []
            tell = s.storage.on_commit

            def listen(chunks: Sequence[Chunk]) -> None:
                if any(chunk.run_id is not None and ends_run(chunk.entries) for chunk in chunks):
                    found.extend(row[0] for row in look(database, "SELECT run_id FROM outbox"))
                tell(chunks)

            s.storage.on_commit = listen
            run = await s.run(webhook=receiver.url)
            await s.wait(run["run_id"])
            assert found == [run["run_id"]]

    play(story())


def test_what_fails_is_tried_again_later_with_the_same_id(
    server: Starter, clock: MovableClock, receiver: Receiver
) -> None:
    async def story() -> None:
        receiver.then(status(500), status(404))
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            run = await s.run(webhook=receiver.url, input="x")
            await settled(s, receiver, 1)
            (delivery,) = await listed(s, run_id=run["run_id"])
            assert (delivery["status"], delivery["attempts"], delivery["last_status"]) == ("pending", 1, 500)
            assert delivery["last_error"] == "127.0.0.1 answered 500"
            await next_try(s, clock, receiver)
            await next_try(s, clock, receiver)
            (delivery,) = await listed(s)
            assert (delivery["status"], delivery["attempts"], delivery["last_status"]) == ("delivered", 3, 200)
            assert "last_error" not in delivery
            assert len({message.id for message in receiver.messages}) == 1
            times = [int(message.headers["webhook-timestamp"]) for message in receiver.messages]
            assert 4 <= times[1] - times[0] <= 6 + 5
            assert 12 <= times[2] - times[1] <= 18 + 5
            events = [message.event for message in receiver.messages]
            assert [event["data"].pop("webhook_sent_at")[:19] for event in events] == [
                rfc3339(time * 1_000_000)[:19] for time in times
            ]
            assert events[0] == events[1] == events[2]

    play(story())


def test_the_tables_refuse_nonsense(server: Starter, database: str, clock: MovableClock, receiver: Receiver) -> None:
    async def story() -> None:
        receiver.then(status(500))
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            await s.run(webhook=receiver.url)
            await settled(s, receiver, 1)
        for nonsense in (
            "UPDATE outbox SET due_at = NULL",
            "UPDATE outbox SET delivered_at = 1, last_status = 200, last_error = NULL",
            "UPDATE outbox SET due_at = NULL, delivered_at = 1",
            "UPDATE outbox SET due_at = NULL, parked_at = 1, sending = 1",
            "UPDATE outbox SET sending = 2",
            "UPDATE outbox SET attempts = -1",
            "INSERT INTO outbox SELECT 99, 'other', owner, run_id, thread_id, url, host, created_at, began_at, due_at, "
            "0, 0, 0, NULL, NULL, NULL, NULL, NULL FROM outbox",
        ):
            with pytest.raises((sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)):
                await change(database, nonsense)

    play(story())


def test_messages_are_signed_with_every_secret_newest_first(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        secrets = parse_webhook_secrets(f"{NEW},{OLD}", "test")
        async with server(echo, webhook_allow=ALLOWED, webhook_secrets=secrets) as s:
            await s.run(webhook=receiver.url)
            await settled(s, receiver, 1)
        (message,) = receiver.messages
        signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.body
        expected = [
            "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            for key in (bytes(range(32)), bytes(range(100, 124)))
        ]
        assert message.headers["webhook-signature"].split(" ") == expected
        assert message.headers["content-type"] == "application/json"
        assert message.headers["user-agent"].startswith("Runyard/0.")
        assert message.line == "POST /hook HTTP/1.1"

    play(story())


def test_a_receiver_that_asks_for_patience_gets_it(server: Starter, clock: MovableClock, receiver: Receiver) -> None:
    async def story() -> None:
        receiver.then(status(429, retry_after="600"), status(503, retry_after="9999999"))
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            await s.run(webhook=receiver.url)
            await settled(s, receiver, 1)
            await next_try(s, clock, receiver)
            await next_try(s, clock, receiver)
            times = [int(message.headers["webhook-timestamp"]) for message in receiver.messages]
            first, second = (later - earlier for earlier, later in pairwise(times))
            assert 600 <= first <= 605
            assert DAY / 6 <= second <= DAY / 6 + 5

    play(story())


def test_tries_span_a_day_then_it_is_parked_until_it_is_sent_again(
    server: Starter, clock: MovableClock, receiver: Receiver
) -> None:
    async def story() -> None:
        receiver.then(*[status(500)] * 100)
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            run = await s.run(webhook=receiver.url, input=1)
            begun = clock.now()
            await settled(s, receiver, 1)
            while await listed(s, status="pending"):
                await next_try(s, clock, receiver)
            assert (clock.now() - begun) / 1e6 >= DAY
            tries = len(receiver.messages)
            assert 12 <= tries <= 18
            (parked,) = await listed(s, status="parked")
            assert (parked["run_id"], parked["attempts"], parked["last_status"]) == (run["run_id"], tries, 500)
            # The run itself, stateless, is gone since yesterday.
            await s.app.engine.reaper.run_once()
            assert (await s.get(f"/runs/{run['run_id']}")).status_code == 404
            receiver._answers.clear()
            again = (await s.post(f"/webhooks/{parked['delivery_id']}/resend")).json()
            assert (again["status"], again["attempts"]) == ("pending", 0)
            await settled(s, receiver, tries + 1)
            (delivered,) = await listed(s)
            assert (delivered["status"], delivered["attempts"]) == ("delivered", 1)
            assert receiver.messages[-1].id == receiver.messages[0].id
            assert receiver.messages[-1].event["data"]["values"] == {"echo": 1}

    play(story())


def test_what_is_gone_or_not_allowed_is_parked_at_once(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        receiver.then(status(410))
        async with server(echo, webhook_allow=("127.0.0.1", "::1")) as s:
            gone = await s.run(webhook=receiver.url)
            await settled(s, receiver, 1)
            (parked,) = await listed(s, status="parked")
            assert (parked["run_id"], parked["attempts"], parked["last_status"]) == (gone["run_id"], 1, 410)
        async with server(echo, webhook_allow=("::1",)) as s:
            # Allowed by its text, for ::1 is localhost too; refused when its addresses are known.
            await s.run(webhook=f"http://localhost:{receiver.port}/")
            await s.until(lambda: s.app.engine.courier.sending == 0)
            while len(found := await listed(s, status="parked")) < 2:
                await asyncio.sleep(0.001)
            assert "loopback address; only the setting webhook_allow" in found[0]["last_error"]
            assert "last_status" not in found[0]
            assert receiver.connections == 1

    play(story())


def test_a_receiver_that_hangs_holds_up_its_own_webhooks_only(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        with receiving(*[hang] * 100) as hanging:
            settings: dict[str, Any] = {"webhook_allow": ("127.0.0.1", "localhost"), "webhook_concurrency": 8}
            async with server(echo, **settings) as s:
                for _ in range(20):
                    await s.run(webhook=f"http://localhost:{hanging.port}/")
                await s.until(lambda: len(hanging.messages) == 2)
                for _ in range(50):
                    await s.run(webhook=receiver.url)
                await s.until(lambda: len(receiver.messages) == 50)
                assert len(hanging.messages) == 2, "a quarter of the places"
                assert s.app.engine.courier.sending >= 2
                hanging.close()

    play(story())


class Gauge:
    """How many messages are being answered at once, over all receivers that answer so. The first are answered only when
    there are as many as expected."""

    def __init__(self, expected: int) -> None:
        self.most = 0
        self._expected = expected
        self._now = 0
        self._changed = threading.Condition()

    def answer(self, receiver: Receiver, connection: socket.socket) -> None:
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._expected, 5)
        receiver.closing.wait(0.005)  # long enough for one too many to come in between
        with self._changed:
            self._now -= 1
        status(200)(receiver, connection)


@pytest.mark.parametrize(("places", "most"), [(1, 1), (4, 2), (8, 4)])
def test_at_no_time_more_are_sent_than_there_are_places(server: Starter, places: int, most: int) -> None:
    async def story() -> None:
        gauge = Gauge(most)
        answers = [gauge.answer] * 20
        with receiving(*answers) as one, receiving(*answers) as other:
            settings: dict[str, Any] = {"webhook_allow": ("127.0.0.1", "localhost"), "webhook_concurrency": places}
            async with server(echo, **settings) as s:
                for _ in range(20):
                    await s.run(webhook=one.url)
                    await s.run(webhook=f"http://localhost:{other.port}/")
                await s.until(lambda: len(one.messages) + len(other.messages) == 40)
        assert gauge.most == most, "of each host at most a quarter of the places, and one at least"

    play(story())


def test_a_lost_hint_costs_time_and_nothing_else(server: Starter, clock: MovableClock, receiver: Receiver) -> None:
    async def story() -> None:
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            s.storage.on_outbox = lambda: None
            await s.wait((await s.run(webhook=receiver.url))["run_id"])
            while not receiver.messages:
                clock.move(1)
                await asyncio.sleep(0.02)  # less than a try may take, by a clock that goes so much faster

    play(story())


def test_a_server_that_stops_gives_back_what_it_was_sending(
    server: Starter, clock: MovableClock, receiver: Receiver
) -> None:
    async def story() -> None:
        receiver.then(hang)
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            run = await s.run(webhook=receiver.url)
            await s.until(lambda: len(receiver.messages) == 1)
            stopping = asyncio.ensure_future(s.app.engine.courier.stop())
            while not stopping.done():
                clock.move(1)
                await asyncio.sleep(0.001)
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            await settled(s, receiver, 2)
            (delivery,) = await listed(s, run_id=run["run_id"])
            assert (delivery["status"], delivery["attempts"]) == ("delivered", 1)
            assert receiver.messages[0].id == receiver.messages[1].id

    play(story())


@pytest.mark.sqlite("where servers share a database, a dead one's webhook is due when its time is over: contract")
def test_a_server_that_dies_leaves_what_it_was_sending_to_the_next(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        receiver.then(hang)
        async with server(echo, webhook_allow=ALLOWED) as s:
            await s.run(webhook=receiver.url)
            await s.until(lambda: len(receiver.messages) == 1)
            await s.storage.close()
            s.app.engine._state = "closed"
            for task in tuple(s.app.engine.courier._sending):
                task.cancel()
        async with server(echo, webhook_allow=ALLOWED) as s:
            await settled(s, receiver, 2)
            (delivery,) = await listed(s)
            assert (delivery["status"], delivery["attempts"]) == ("delivered", 2)
            assert receiver.messages[0].id == receiver.messages[1].id

    play(story())


def test_a_result_that_cannot_be_recorded_yet_is_recorded_later(
    server: Starter, clock: MovableClock, receiver: Receiver
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            settle, refused = s.storage.settle_delivery, []

            async def refuse_once(*arguments: Any, **more: Any) -> bool:
                if not refused:
                    refused.append(1)
                    raise StorageError("the disk is full")
                return await settle(*arguments, **more)

            s.storage.settle_delivery = refuse_once  # type: ignore[method-assign]
            await s.run(webhook=receiver.url)
            await s.until(lambda: len(refused) == 1)
            while not await listed(s, status="delivered"):
                clock.move(0.1)
                await asyncio.sleep(0.001)
            assert len(receiver.messages) == 1

    play(story())


def test_a_body_that_cannot_be_made_is_no_endless_loop(
    server: Starter, clock: MovableClock, receiver: Receiver
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:

            def fail(*_: Any) -> bytes:
                raise ValueError("no words")

            s.app.engine.courier._render = fail
            await s.run(webhook=receiver.url)
            while not (found := await listed(s)) or not found[0].get("last_error"):
                await asyncio.sleep(0.001)
            assert (found[0]["status"], found[0]["attempts"]) == ("pending", 1)
            assert found[0]["last_error"] == "the server failed to send it; its log says why"

    play(story())


def test_each_try_is_an_event_for_logs_and_metrics(server: Starter, clock: MovableClock, receiver: Receiver) -> None:
    async def story() -> None:
        receiver.then(status(500), status(200), status(410))
        events: list[tuple[str, dict[str, Any]]] = []
        async with server(echo, clock=clock, webhook_allow=ALLOWED) as s:
            s.app.engine.telemetry.subscribe(lambda event, fields: events.append((event, fields)))
            url = receiver.url + "?token=s3cret"
            first = await s.run(webhook=url)
            await settled(s, receiver, 1)
            await next_try(s, clock, receiver)
            await s.run(webhook=url)
            await settled(s, receiver, 3)
        webhooks = [(event, fields) for event, fields in events if event.startswith("webhook")]
        assert [event for event, _ in webhooks] == ["webhook failed", "webhook delivered", "webhook parked"]
        assert [fields["attempt"] for _, fields in webhooks] == [1, 2, 1]
        assert webhooks[0][1]["run_id"] == first["run_id"]
        assert all(fields["seconds"] >= 0 and fields["host"] == "127.0.0.1" for _, fields in webhooks)
        assert "s3cret" not in str(webhooks), "a URL may hold a key of its receiver"

    play(story())


def test_what_is_over_is_kept_for_its_time_and_no_longer(
    server: Starter, clock: MovableClock, receiver: Receiver
) -> None:
    async def story() -> None:
        async with server(echo, clock=clock, webhook_allow=ALLOWED, webhook_retention=100) as s:
            await s.run(webhook=receiver.url)
            await settled(s, receiver, 1)
            receiver.then(status(503, retry_after="3600"))
            await s.run(webhook=receiver.url)
            await settled(s, receiver, 2)
            clock.move(99)
            await s.app.engine.reaper.run_once()
            assert len(await listed(s)) == 2
            clock.move(2)
            await s.app.engine.reaper.run_once()
            assert [delivery["status"] for delivery in await listed(s)] == ["pending"]

    play(story())


def test_deliveries_are_listed_and_shown_to_their_owner_alone(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        keys = (ApiKey("a", "ada"), ApiKey("b", "bob"), ApiKey("r", "ada", "read"))
        async with server(echo, api_keys=keys, webhook_allow=ALLOWED) as s:
            ada, bob, reader = ({"authorization": f"Bearer {key}"} for key in "abr")
            runs: list[dict[str, Any]] = []
            for number in range(3):
                wish = {"webhook": receiver.url, "input": number}
                runs.append((await s.post("/runs/wait", wish, headers=ada)).json()["run"])
            await settled(s, receiver, 3)

            async def ids(headers: dict[str, str], **query: Any) -> list[str]:
                found = (await s.post("/webhooks/search", query, headers=headers)).json()
                return [delivery["run_id"] for delivery in found]

            newest = [run["run_id"] for run in reversed(runs)]
            assert await ids(ada) == await ids(reader) == newest
            assert await ids(ada, limit=1, offset=1) == newest[1:2]
            assert await ids(ada, status="delivered") == newest
            assert await ids(ada, status="parked") == await ids(ada, status="pending") == await ids(bob) == []
            assert await ids(ada, run_id=newest[2], status="delivered") == newest[2:]
            assert await ids(ada, run_id=newest[2], status="parked") == []
            path = "/webhooks/msg_" + newest[2].replace("-", "")
            shown = (await s.http.get(path, headers=reader)).json()
            (message,) = (each for each in receiver.messages if each.id == shown["delivery_id"])
            assert shown["event"] == message.event
            for method, url in (("GET", path), ("POST", path + "/resend")):
                foreign = await s.http.request(method, url, headers=bob)
                absent = await s.http.request(method, url.replace(newest[2].replace("-", ""), "none"), headers=ada)
                assert (foreign.status_code, absent.status_code) == (404, 404)
                assert foreign.json()["code"] == absent.json()["code"] == "webhook_not_found"
            assert (await s.http.post(path + "/resend", headers=reader)).status_code == 403
            assert (await s.http.post(path + "/resend", headers=ada)).json()["status"] == "pending"
            await settled(s, receiver, 4)

    play(story())
