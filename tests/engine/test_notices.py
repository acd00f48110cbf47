"""Whichever way a run ends, its webhook is told: the very same as those who wait for it, and more; and once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest
from live_server import MovableClock, Server, Starter, holds, play
from receiver import Message, Receiver

from runyard import Context, SyncContext, agent
from runyard.api.answers import WebhookDelivery, WebhookEvent

ALLOWED = ("127.0.0.1",)
MORE = {
    "run_id", "thread_id", "agent_id", "outcome", "metadata", "created_at", "updated_at", "run_started_at",
    "run_ended_at", "webhook_sent_at",
}  # fmt: skip
"""What is told beyond the answer to a wait."""


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input, "messages": [{"role": "assistant", "content": "done", "id": "m1"}]}


@agent
async def hold(ctx: Context) -> None:
    """Works until it is stopped."""
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    await ctx.update({"draft": 1})
    return {"answer": await ctx.interrupt({"question": "sure?"})}


@agent
async def broken(ctx: Context) -> None:
    await ctx.update({"half": True})
    raise ValueError("no luck")


@agent(timeout=30)
async def slow(ctx: Context) -> None:
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


async def begun(server: Server, run: dict[str, Any]) -> None:
    await server.until(
        lambda: holds(server.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None)
    )


async def told(server: Server, receiver: Receiver, count: int = 1) -> list[Message]:
    """The messages, once there are so many and the server knows that they have arrived."""
    await server.until(lambda: len(receiver.messages) >= count and server.app.engine.courier.sending == 0)
    return receiver.messages


async def passing(clock: MovableClock, work: Any) -> Any:
    """Lets time pass until some work is done."""
    task = asyncio.ensure_future(work)
    while not task.done():
        clock.move(1)
        await asyncio.sleep(0.002)
    return task.result()


def of_run(messages: list[Message], run: dict[str, Any]) -> dict[str, Any]:
    """What was told of a run: exactly one event, whose id is the message's."""
    (found,) = (message for message in messages if message.event["data"]["run_id"] == run["run_id"])
    assert found.id == "msg_" + run["run_id"].replace("-", "")
    return found.event


@pytest.mark.parametrize("queued", [False, True], ids=["alone", "with-another-in-line"])
@pytest.mark.parametrize(
    ("name", "outcome", "values"),
    [
        ("echo", "completed", {"echo": [1]}),
        ("ask", "asked", {"draft": 1}),
        ("broken", "failed", {"half": True}),
        ("slow", "timed_out", {"begun": True}),
    ],
)
def test_a_run_that_ends_by_itself_tells_what_a_wait_is_told(
    server: Starter,
    clock: MovableClock,
    receiver: Receiver,
    name: str,
    outcome: str,
    values: dict[str, Any],
    queued: bool,
) -> None:
    async def story() -> None:
        async with server(echo, ask, broken, slow, clock=clock, webhook_allow=ALLOWED) as s:
            thread = await s.thread()
            run = await s.run(
                agent_id=name,
                thread_id=thread,
                webhook=receiver.url,
                metadata={"m": 1},
                input=[1] if name == "echo" else None,
            )
            if queued:
                await s.run(thread_id=thread, multitask_strategy="enqueue")
            waited = await passing(clock, s.wait(run["run_id"]))
            (message,) = await told(s, receiver)
            event = of_run([message], run)
            assert msgspec.convert(event, WebhookEvent)
            assert {key: value for key, value in event["data"].items() if key not in MORE} == waited
            assert event["data"]["values"] == values
            assert event["data"]["outcome"] == waited["run"]["outcome"] == outcome
            assert event["type"] == f"run.{waited['status']}"
            assert event["timestamp"] == event["data"]["run_ended_at"] == event["data"]["updated_at"]
            assert event["data"]["metadata"] == {"m": 1}
            shown = (await s.get(f"/webhooks/{message.id}")).json()
            assert msgspec.convert(shown, WebhookDelivery)
            assert shown["event"] == event
            assert event["data"]["run"] == (await s.get(f"/runs/{run['run_id']}")).json()
            assert event["data"]["run"]["webhook"] == receiver.url
            if outcome == "asked":
                assert [question["value"] for question in event["data"]["interrupts"]] == [{"question": "sure?"}]
            if outcome == "completed":
                assert event["data"]["messages"][0]["content"] == "done"

    play(story())


def test_a_cancelled_run_tells_whether_it_executed_or_waited(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        async with server(hold, webhook_allow=ALLOWED) as s:
            thread = await s.thread()
            first = await s.run(thread_id=thread, webhook=receiver.url)
            second = await s.run(thread_id=thread, webhook=receiver.url, multitask_strategy="enqueue")
            await begun(s, first)
            for run in (second, first):
                await s.post(f"/runs/{run['run_id']}/cancel?wait=true")
            messages = await told(s, receiver, 2)
            executed, waited = of_run(messages, first)["data"], of_run(messages, second)["data"]
            assert (executed["status"], executed["outcome"], executed["values"]) == (
                "interrupted",
                "cancelled",
                {"begun": True},
            )
            assert (waited["status"], waited["outcome"], waited["run_started_at"]) == ("interrupted", "cancelled", None)

    play(story())


@pytest.mark.parametrize(("strategy", "outcome"), [("interrupt", "cancelled"), ("rollback", "rolled_back")])
def test_runs_that_make_way_for_another_tell(server: Starter, receiver: Receiver, strategy: str, outcome: str) -> None:
    async def story() -> None:
        async with server(hold, echo, webhook_allow=ALLOWED) as s:
            thread = await s.thread()
            await s.http.patch(f"/threads/{thread}", json={"values": {"before": 1}})
            first = await s.run(thread_id=thread, webhook=receiver.url)
            second = await s.run(thread_id=thread, webhook=receiver.url, multitask_strategy="enqueue")
            await begun(s, first)
            third = await s.run(thread_id=thread, webhook=receiver.url, multitask_strategy=strategy, agent_id="echo")
            messages = await told(s, receiver, 3)
            for run in (first, second):
                assert of_run(messages, run)["data"]["outcome"] == outcome
            left = {"before": 1, "begun": True} if strategy == "interrupt" else {"before": 1}
            assert of_run(messages, first)["data"]["values"] == left
            assert of_run(messages, third)["data"]["outcome"] == "completed"
            gone = (await s.get(f"/runs/{first['run_id']}")).status_code
            assert gone == (404 if strategy == "rollback" else 200)

    play(story())


def test_a_run_that_is_rolled_back_is_told_and_a_finished_one_is_not_told_twice(
    server: Starter, receiver: Receiver
) -> None:
    async def story() -> None:
        async with server(hold, echo, webhook_allow=ALLOWED) as s:
            run = await s.run(thread_id=await s.thread(), webhook=receiver.url)
            await begun(s, run)
            await s.post(f"/runs/{run['run_id']}/cancel?action=rollback&wait=true")
            (message,) = await told(s, receiver)
            assert message.event["type"] == "run.interrupted"
            assert (message.event["data"]["outcome"], message.event["data"]["values"]) == ("rolled_back", {})
            done = await s.run(thread_id=await s.thread(), webhook=receiver.url, agent_id="echo")
            await s.wait(done["run_id"])
            await told(s, receiver, 2)
            assert (await s.post(f"/runs/{done['run_id']}/cancel?action=rollback")).status_code == 204
            assert await s.app.engine.courier.run_once() == 0
            assert len(receiver.messages) == 2

    play(story())


def test_code_that_does_not_stop_is_told_as_abandoned(server: Starter, clock: MovableClock, receiver: Receiver) -> None:
    door = threading.Event()

    @agent
    def stubborn(ctx: SyncContext) -> None:
        ctx.update({"begun": True})
        door.wait(20)

    async def story() -> None:
        async with server(stubborn, clock=clock, webhook_allow=ALLOWED) as s:
            run = await s.run(webhook=receiver.url)
            await begun(s, run)
            await passing(clock, s.post(f"/runs/{run['run_id']}/cancel?wait=true"))
            (message,) = await told(s, receiver)
            assert (message.event["data"]["outcome"], message.event["data"]["values"]) == ("abandoned", {"begun": True})
            door.set()

    play(story())


def test_a_deleted_thread_and_one_that_goes_with_its_run_tell(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        async with server(hold, echo, webhook_allow=ALLOWED) as s:
            thread = await s.thread()
            first = await s.run(thread_id=thread, webhook=receiver.url)
            second = await s.run(thread_id=thread, webhook=receiver.url, multitask_strategy="enqueue")
            await begun(s, first)
            assert (await s.http.delete(f"/threads/{thread}")).status_code == 204
            messages = await told(s, receiver, 2)
            assert of_run(messages, first)["data"]["values"] == {"begun": True}
            assert of_run(messages, second)["data"]["outcome"] == "cancelled"
            last = await s.run(
                thread_id=await s.thread(), webhook=receiver.url, agent_id="echo", on_completion="delete", input=2
            )
            messages = await told(s, receiver, 3)
            assert of_run(messages, last)["data"]["values"] == {"echo": 2}

    play(story())


def test_runs_that_lost_their_server_tell_after_its_restart(server: Starter, receiver: Receiver) -> None:
    @agent(id="hold", max_attempts=1)
    async def once(ctx: Context) -> None:
        await ctx.update({"begun": True})
        await asyncio.Event().wait()

    async def story() -> None:
        runs: list[dict[str, Any]] = []
        async with server(once, webhook_allow=ALLOWED) as s:
            for _ in range(3):
                runs.append(await s.run(thread_id=await s.thread(), webhook=receiver.url))
                await begun(s, runs[-1])
            for run, action in ((runs[1], "interrupt"), (runs[2], "rollback")):
                await s.storage.cancel("", run["run_id"], action, s.app.engine.clock.now(), None)  # type: ignore[arg-type]
            await die(s)
        async with server(once, webhook_allow=ALLOWED) as s:
            messages = await told(s, receiver, 3)
            outcomes = [of_run(messages, run)["data"]["outcome"] for run in runs]
            assert outcomes == ["lost", "cancelled", "rolled_back"]
            assert of_run(messages, runs[0])["data"]["error"]["code"] == "attempts_exhausted"

    play(story())


async def die(server: Server) -> None:
    """As a process that is killed: what runs writes nothing any more, and the file's lock is free."""
    for execution, _ in server.app.engine.worker._executing.values():
        execution._gave_up = True
    await server.storage.join(0.0, ())  # its lease is over
    await server.storage.close()
    server.app.engine._state = "closed"


def test_a_run_without_a_webhook_writes_nothing(server: Starter, receiver: Receiver) -> None:
    async def story() -> None:
        async with server(echo, webhook_allow=ALLOWED) as s:
            # Its input is no field of the request, whatever it looks like.
            await s.post("/runs/wait", {"input": {"webhook": receiver.url}})
            assert (await s.post("/webhooks/search")).json() == []
            assert receiver.connections == 0

    play(story())
