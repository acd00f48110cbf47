"""Crons, by the real SDK: all that is said when one is made is kept, told, and reaches its runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import msgspec
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError
from live_server import MovableClock, Server, Starter, holds, play

from runyard import agent
from runyard.runs import Run, RunFilter

DAY = 86_400


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"input": input}


def sdk(server: Server) -> LangGraphClient:
    """The SDK's client, on the app in this process."""
    transport = httpx.ASGITransport(server.app)
    return LangGraphClient(httpx.AsyncClient(transport=transport, base_url="http://testserver/langgraph"))


async def refused(reading: Any) -> tuple[int, str]:
    """The status and the words of a refusal."""
    with pytest.raises(APIStatusError) as error:
        await reading
    return error.value.status_code, error.value.response.json()["detail"]


async def first_run(server: Server, clock: MovableClock, seconds: float = DAY) -> Run:
    """The run that is made when the time has passed, when it is over."""
    clock.move(seconds)
    await server.app.engine.scheduler.run_once()
    await server.until(lambda: holds(runs(server), lambda found: bool(found) and found[0].finished))
    return (await runs(server))[0]


async def runs(server: Server) -> list[Run]:
    return await server.verbs.search_runs("", RunFilter())


async def labelled(server: Server, thread_id: str, labels: dict[str, str]) -> bool:
    """Whether a thread says whose runs it has."""
    return (await server.get(f"/threads/{thread_id}")).json()["metadata"] == labels


def test_a_cron_is_told_as_it_was_made(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            client = sdk(s)
            default = await client.assistants.get("echo")
            made: Any = await client.crons.create(
                "echo", schedule="30 9 * * MON-FRI", input={"messages": []}, metadata={"k": 1},
                config={"tags": ["t"]}, end_time=datetime(2027, 6, 1, 12), timezone=ZoneInfo("America/New_York"),
                on_run_completed="keep", multitask_strategy="enqueue", stream_mode=["values", "messages-tuple"],
                stream_resumable=True, webhook="https://example.com/hook",
            )  # fmt: skip
            assert made == await got(s, made["cron_id"])
            assert made == {
                "cron_id": made["cron_id"],
                "assistant_id": default["assistant_id"],
                "thread_id": None,
                "on_run_completed": "keep",
                "schedule": "30 9 * * MON-FRI",
                "timezone": "America/New_York",
                "end_time": "2027-06-01T12:00:00.000000+00:00",
                "enabled": True,
                "created_at": "2027-01-15T08:00:00.000000+00:00",
                "updated_at": "2027-01-15T08:00:00.000000+00:00",
                "payload": {
                    "assistant_id": default["assistant_id"],
                    "schedule": "30 9 * * MON-FRI",
                    "input": {"messages": []},
                    "config": {"tags": ["t"]},
                    "webhook": "https://example.com/hook",
                    "stream_mode": ["values", "messages-tuple"],
                    "stream_resumable": True,
                    "multitask_strategy": "enqueue",
                },
                "user_id": None,
                "next_run_date": "2027-01-15T14:30:00.000000+00:00",
                "metadata": {"k": 1},
                "last_error": None,
            }
            plain: Any = await client.crons.create("echo", schedule="@daily")
            assert (plain["on_run_completed"], plain["timezone"], plain["end_time"]) == ("delete", None, None)
            off: Any = await client.crons.create("echo", schedule="* * * * *", enabled=False)
            assert (off["enabled"], off["next_run_date"]) == (False, None)

    async def got(s: Server, cron_id: str) -> Any:
        return (await s.get(f"/langgraph/runs/crons/{cron_id}")).json()

    play(story())


def test_what_was_asked_for_reaches_the_run(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            client = sdk(s)
            assistant = await client.assistants.create(
                "echo", {"configurable": {"a": 1, "b": 1}, "tags": ["x"], "recursion_limit": 7}
            )
            made: Any = await client.crons.create(
                assistant["assistant_id"], schedule="0 0 * * *", input={"n": 1}, metadata={"k": 1},
                config={"configurable": {"b": 2}, "tags": ["y"]}, stream_mode="updates", stream_subgraphs=True,
                webhook="https://example.com/hook", on_run_completed="keep",
            )  # fmt: skip
            run = await first_run(s, clock)
            request = run.asked_for()
            assert msgspec.to_builtins(request.config) == {
                "tags": ["x", "y"], "recursion_limit": 7, "configurable": {"a": 1, "b": 2},
            }  # fmt: skip
            assert (request.webhook, request.stream_mode, request.stream_subgraphs) == (
                "https://example.com/hook", ["updates"], True,
            )  # fmt: skip
            assert msgspec.json.decode(run.metadata) == {"k": 1, "cron_id": made["cron_id"]}
            assert msgspec.to_builtins(request.langgraph)["assistant_id"] == assistant["assistant_id"]
            assert msgspec.to_builtins(request.langgraph)["cron_id"] == made["cron_id"]
            assert (await s.verbs.wait_run("", run.run_id)).state == {"input": b'{"n":1}'}
            labels = {"graph_id": "echo", "assistant_id": assistant["assistant_id"]}
            await s.until(lambda: labelled(s, run.thread_id, labels))

    play(story())


def test_a_cron_on_a_thread(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            client = sdk(s)
            thread = await s.thread()
            made: Any = await client.crons.create_for_thread(
                thread, "echo", schedule="0 0 * * *", input={"n": 1}, multitask_strategy="rollback"
            )
            assert (made["thread_id"], made["on_run_completed"]) == (thread, None)
            run = await first_run(s, clock)
            assert (run.thread_id, run.asked_for().multitask_strategy) == (thread, "rollback")
            again: Any = await client.crons.create_for_thread(thread, "echo", schedule="0 12 * * *")
            assert (await first_run(s, clock, DAY / 2)).asked_for().multitask_strategy == "enqueue"
            assert [cron["cron_id"] for cron in await client.crons.search(thread_id=thread)] == [
                again["cron_id"], made["cron_id"],
            ]  # fmt: skip
            absent = "0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5f"
            assert (await refused(client.crons.create_for_thread(absent, "echo", schedule="@daily")))[0] == 404
            path = f"/langgraph/threads/{absent}/runs/crons"
            body = {"assistant_id": "echo", "schedule": "@daily", "if_not_exists": "create"}
            assert (await s.post(path, {**body, "schedule": "@often"})).status_code == 422
            assert (await s.get(f"/threads/{absent}")).status_code == 404
            assert (await s.post(path, body)).json()["thread_id"] == absent
            assert (await s.get(f"/threads/{absent}")).status_code == 200

    play(story())


def test_a_patch_changes_what_it_names(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            crons = sdk(s).crons
            made: Any = await crons.create(
                "echo", schedule="0 0 * * *", input={"n": 1}, metadata={"a": 1, "b": 1}, timezone="Asia/Tokyo",
                end_time=datetime(2028, 1, 1, tzinfo=timezone(timedelta(hours=1))), config={"tags": ["t"]},
            )  # fmt: skip
            id = made["cron_id"]
            assert (made["end_time"], made["next_run_date"]) == (
                "2027-12-31T23:00:00.000000+00:00", "2027-01-15T15:00:00.000000+00:00",
            )  # fmt: skip
            clock.move(60)
            changed: Any = await crons.update(
                id, schedule="0 12 * * *", input={"n": 2}, metadata={"b": 2}, on_run_completed="keep"
            )
            assert (changed["schedule"], changed["timezone"]) == ("0 12 * * *", "Asia/Tokyo")
            assert changed["next_run_date"] == "2027-01-16T03:00:00.000000+00:00"
            assert changed["updated_at"] == "2027-01-15T08:01:00.000000+00:00"
            assert (changed["payload"]["input"], changed["payload"]["config"]) == ({"n": 2}, {"tags": ["t"]})
            assert (changed["metadata"], changed["on_run_completed"]) == ({"a": 1, "b": 2}, "keep")
            assert changed["end_time"] == made["end_time"]
            off: Any = await crons.update(id, enabled=False)
            assert (off["enabled"], off["next_run_date"]) == (False, None)
            on: Any = await crons.update(id, enabled=True, end_time=None, timezone=UTC)
            assert (on["end_time"], on["timezone"]) == (None, "UTC")
            assert on["next_run_date"] == "2027-01-15T12:00:00.000000+00:00"
            bare = (await s.http.patch(f"/langgraph/runs/crons/{id}", json={"timezone": None})).json()
            assert bare["timezone"] is None
            await crons.delete(id)
            assert (await refused(crons.update(id, enabled=True)))[0] == 404
            assert (await refused(crons.delete(id)))[0] == 404

    play(story())


def test_searches_and_counts(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, clock=clock) as s:
            client = sdk(s)
            thread = await s.thread()
            mine = (await client.assistants.create("echo"))["assistant_id"]
            for number in range(4):
                clock.move(1)
                await client.crons.create(
                    "echo" if number % 2 else mine, schedule=f"{9 - number} 0 * * *", metadata={"n": number},
                    enabled=number != 3,
                )  # fmt: skip
            clock.move(1)
            await client.crons.create_for_thread(thread, "echo", schedule="@daily", metadata={"n": 4})

            async def found(**query: Any) -> list[int]:
                return [cron["metadata"]["n"] for cron in await client.crons.search(**query)]

            assert await found() == [4, 3, 2, 1, 0]
            assert await found(assistant_id="echo") == [4, 3, 1]
            assert await found(assistant_id=mine.upper()) == [2, 0]
            assert await found(thread_id=thread) == [4]
            assert await found(enabled=False) == [3]
            assert await found(metadata={"n": 2}) == [2]
            assert await found(sort_by="next_run_date", sort_order="asc") == [4, 2, 1, 0, 3]
            assert await found(limit=2, offset=1) == [3, 2]
            counts = [
                await client.crons.count(**query)
                for query in ({}, {"assistant_id": "echo"}, {"thread_id": thread}, {"metadata": {"n": 9}})
            ]
            assert counts == [5, 3, 1, 0]
            chosen: Any = await client.crons.search(select=["schedule", "now"], limit=1)
            assert chosen == [{"schedule": "@daily", "now": "2027-01-15T08:00:05.000000+00:00"}]
            page = await s.post("/langgraph/runs/crons/search", {"limit": 2})
            assert (page.headers["x-pagination-next"], page.headers["x-pagination-total"]) == ("2", "5")
            await client.assistants.delete(mine)
            assert await found() == [4, 3, 1]

    play(story())


def test_what_does_not_fit_is_refused_by_name(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            thread = await s.thread()
            right = {"assistant_id": "echo", "schedule": "@daily"}
            made = (await s.post("/langgraph/runs/crons", right)).json()["cron_id"]
            for body, field in (
                ({"schedule": "@daily"}, "assistant_id"),
                ({"assistant_id": "echo"}, "schedule"),
                ({**right, "schedule": "61 * * * *"}, "schedule"),
                ({**right, "timezone": "Mars"}, "timezone"),
                ({**right, "end_time": "soon"}, "end_time"),
                ({**right, "end_time": "9999-12-31T23:59:59+00:00", "enabled": 1}, "enabled"),
                ({**right, "on_run_completed": "forget"}, "on_run_completed"),
                ({**right, "stream_mode": "events"}, "stream_mode"),
                ({**right, "webhook": "mailto:x"}, "webhook"),
                ({**right, "config": {"tags": 1}}, "config.tags"),
                ({**right, "context": {"a": 1}}, "context"),
                ({**right, "interrupt_before": ["node"]}, "interrupt_before"),
                ({**right, "multitask_strategy": "wait"}, "multitask_strategy"),
            ):
                answer = await s.post("/langgraph/runs/crons", body)
                assert (answer.status_code, field in answer.json()["detail"]) == (422, True), answer.text
            unknown = await s.post("/langgraph/runs/crons", {**right, "assistant_id": "nobody"})
            assert (unknown.status_code, "nobody" in unknown.json()["detail"]) == (422, True)
            for body, field in (({"schedule": "x"}, "schedule"), ({"stream_mode": "events"}, "stream_mode")):
                answer = await s.http.patch(f"/langgraph/runs/crons/{made}", json=body)
                assert (answer.status_code, field in answer.json()["detail"]) == (422, True)
            ignored = await s.post(f"/langgraph/threads/{thread}/runs/crons", {**right, "on_run_completed": "keep"})
            assert ignored.headers["runyard-ignored"] == "on_run_completed"
            far = await s.post("/langgraph/runs/crons", {**right, "end_time": "9999-12-31T23:59:59+00:00"})
            assert far.json()["end_time"] == "9999-12-31T23:59:59.000000+00:00"

    play(story())
