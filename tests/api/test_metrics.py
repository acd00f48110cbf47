"""Metrics: what Prometheus is told, and that the documentation tells the same."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asgi_client import Puppet, WatchedClock, connect
from live_server import MovableClock, Server, Starter, holds, play
from prometheus_client.parser import text_string_to_metric_families

from runyard import Context, Retry, agent
from runyard.runs import NewRun
from runyard.settings import ApiKey

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"echo": input}


@agent
async def hold(ctx: Context) -> None:
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


@agent
async def ask(ctx: Context) -> dict[str, Any]:
    return {"answer": await ctx.interrupt("sure?")}


@agent(max_attempts=2, retry=Retry(on=("ValueError",), initial=0.0))
async def moody(ctx: Context) -> None:
    raise ValueError("not today")


@agent
async def broken() -> None:
    raise KeyError("never")


@agent(concurrency=1)
async def single(ctx: Context) -> None:
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


@agent(timeout=60)
async def slow(ctx: Context) -> None:
    await ctx.update({"begun": True})
    await asyncio.Event().wait()


class Exposed:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"runyard_{name}", frozenset(labels.items())))


async def scrape(s: Server) -> Exposed:
    answer = await s.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Exposed(answer.text)


async def begun(s: Server, run: dict[str, Any]) -> None:
    await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None))


def test_the_table_of_the_documentation_is_what_is_exposed(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            await s.post("/runs/wait", {"input": 1})
            told = (await scrape(s)).families
            table = OPERATIONS.split("<!-- metrics -->")[1].split("<!-- /metrics -->")[0]
            rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| (.+) \|$", table, re.MULTILINE)
            documented = {name: (kind, set(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}
            names = {f"{name}_total" if family.type == "counter" else name: family for name, family in told.items()}
            assert list(documented) == list(names)
            for name, family in names.items():
                kind, labels, text = documented[name]
                assert kind == family.type
                for sample in family.samples:
                    assert sample.labels.keys() - {"le"} == labels, name
                if name.startswith("runyard_"):
                    assert text.replace("`", "") == family.documentation

    play(story())


def test_the_text_is_of_the_type_that_it_says(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            answer = await s.get("/metrics")
            assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert "_created" not in answer.text

    play(story())


def test_runs_are_counted_by_agent_and_status_while_they_last_and_by_outcome_when_they_end(server: Starter) -> None:
    async def story() -> None:
        clock = WatchedClock()
        door = threading.Event()

        @agent
        async def deaf(ctx: Context) -> None:
            await ctx.update({"begun": True})
            while not door.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.001)

        agents = (echo, hold, ask, broken, slow, deaf)
        async with server(*agents, clock=clock, cancel_grace=7, default_agent="echo") as s:
            for _ in range(3):
                await s.post("/runs/wait", {"input": 1})
            await s.post("/runs/wait", {"agent_id": "broken"})
            await s.post("/runs/wait", {"agent_id": "ask"})
            held = await s.run(agent_id="hold")
            later = await s.run(agent_id="hold", after_seconds=999)
            await begun(s, held)
            now = await scrape(s)
            assert now("runs", agent="hold", status="running") == 1
            assert now("runs", agent="hold", status="pending") == 1
            assert now("runs", agent="echo", status="running") == 0
            assert now("attempts_executing") == 1
            assert now("places_free") == 199
            await s.post(f"/runs/{held['run_id']}/cancel?wait=true")
            await s.post(f"/runs/{later['run_id']}/cancel?action=rollback")
            late = await s.run(agent_id="slow")
            await begun(s, late)
            clock.move(61)
            await s.wait(late["run_id"])
            stubborn = await s.run(agent_id="deaf")
            await begun(s, stubborn)
            clock.waits.clear()
            cancelling = asyncio.ensure_future(s.post(f"/runs/{stubborn['run_id']}/cancel?wait=true"))
            await s.until(lambda: 7.0 in clock.waits)
            clock.move(8)
            assert (await cancelling).status_code == 504
            door.set()
            now = await scrape(s)
            ended = {
                (dict(labels)["agent"], dict(labels)["status"], dict(labels)["outcome"]): n
                for (name, labels), n in now.samples.items()
                if name == "runyard_runs_ended_total"
            }
            assert ended == {
                ("echo", "success", "completed"): 3,
                ("broken", "error", "failed"): 1,
                ("ask", "interrupted", "asked"): 1,
                ("hold", "interrupted", "cancelled"): 1,
                ("hold", "interrupted", "rolled_back"): 1,
                ("slow", "timeout", "timed_out"): 1,
                ("deaf", "interrupted", "abandoned"): 1,
            }
            assert now("attempts_total", agent="echo") == 3
            assert now("runs", agent="hold", status="running") == 0

    play(story())


def test_runs_that_another_run_ends_are_counted_too(server: Starter) -> None:
    async def story() -> None:
        async with server(hold) as s:
            thread_id = await s.thread()
            first = await s.run(thread_id=thread_id)
            await begun(s, first)
            await s.run(thread_id=thread_id, multitask_strategy="enqueue")
            last = await s.run(thread_id=thread_id, multitask_strategy="interrupt")
            await s.wait(first["run_id"])
            await begun(s, last)
            assert (await s.http.delete(f"/threads/{thread_id}", timeout=20)).status_code == 204
            now = await scrape(s)
            assert now("runs_ended_total", agent="hold", status="interrupted", outcome="cancelled") == 3

    play(story())


def test_what_a_restart_finds_is_counted(server: Starter) -> None:
    async def story() -> None:
        async with server(hold) as s:
            # An attempt that no worker knows of is one that a server left behind.
            await s.storage.create_run(
                NewRun("r1", "", "hold", b"{}", b"{}", 1, "t1", True, True, "reject", 3, False, claim=True)
            )
        async with server(hold, drain_grace=0) as s:
            now = await scrape(s)
            assert now("attempts_lost_total", reason="server_lost") == 1
            assert now("attempts_lost_total", reason="lease_lost") == 0

    play(story())


def test_the_queue_shows_its_depth_and_age_and_a_claim_how_long_it_took(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(single, clock=clock) as s:
            first = await s.run()
            await begun(s, first)
            now = await scrape(s)
            assert (now("queue_runs", agent="single"), now("queue_oldest_seconds", agent="single")) == (0, 0)
            await s.run()
            clock.move(3)
            second = await s.run()
            clock.move(4)
            now = await scrape(s)
            assert (now("queue_runs", agent="single"), now("queue_oldest_seconds", agent="single")) == (2, 7)
            assert (now("claim_seconds_count"), now("claim_seconds_sum")) == (1, 0)
            await s.post(f"/runs/{first['run_id']}/cancel?wait=true")
            await s.until(lambda: s.app.engine.worker.executing == 1)
            now = await scrape(s)
            assert (now("claim_seconds_count"), now("claim_seconds_sum")) == (2, 7)
            assert now("claim_seconds_bucket", le="10.0") == 2
            assert now("claim_seconds_bucket", le="5.0") == 1
            assert (await s.storage.run("", second["run_id"])).status == "pending"

    play(story())


def test_a_run_behind_another_waits_for_a_claim_only_from_when_its_thread_is_free(server: Starter) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(hold, clock=clock) as s:
            thread_id = await s.thread()
            first = await s.run(thread_id=thread_id)
            await begun(s, first)
            second = await s.run(thread_id=thread_id, multitask_strategy="enqueue")
            clock.move(100)
            await s.post(f"/runs/{first['run_id']}/cancel?wait=true")
            await begun(s, second)
            now = await scrape(s)
            assert (now("claim_seconds_count"), now("claim_seconds_sum")) == (2, 0)

    play(story())


def test_tried_again_attempts_are_counted(server: Starter) -> None:
    async def story() -> None:
        async with server(moody) as s:
            await s.post("/runs/wait")
            now = await scrape(s)
            assert now("attempts_total", agent="moody") == 2
            assert now("attempts_retried_total", agent="moody") == 1
            assert now("claim_seconds_count") == 1

    play(story())


def test_commits_events_and_readers_are_counted(server: Starter) -> None:
    async def story() -> None:
        puppet = Puppet()
        async with server(puppet.agent, reader_queue_bytes=65536) as s:
            before = await scrape(s)
            run = await s.run(stream_mode="custom")
            reading = connect(s, "GET", f"/runs/{run['run_id']}/stream?since=0")
            puppet.emit("a", "b")
            await reading.until('"b"')
            slow = connect(s, "GET", f"/runs/{run['run_id']}/stream")
            await slow.until("metadata")
            now = await scrape(s)
            assert now("readers") == 2
            assert now("readers_cut_total") == 0
            assert now("events_delivered_total") == 5  # input, metadata, a, b; metadata
            slow.stop_reading()
            for number in range(4):
                puppet.emit(f"{number} {'x' * 30_000}")
                await reading.until(f'"{number} xxx')
            assert (await scrape(s))("readers_cut_total") == 1
            puppet.end()
            await reading.end()
            slow.read_on()
            await slow.end()
            now = await scrape(s)
            assert now("readers") == 0
            assert now("events_appended_total") == await s.storage.last_seq("", run["thread_id"])
            assert now("commit_seconds_count") > before("commit_seconds_count")
            assert now("commit_verbs_sum") >= now("commit_verbs_count") > 0
            assert now("commits_failed_total") == 0
            assert now("database_bytes") > 0
            assert (now("wal_bytes") > 0) is not s.storage.shared
            assert now.samples["process_resident_memory_bytes", frozenset()] > 1_000_000

    play(story())


def test_webhooks_that_telemetry_tells_of_are_counted(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            for event in ("webhook delivered", "webhook failed", "webhook failed", "webhook parked"):
                s.app.engine.telemetry.tell(event, run_id="r1")
            now = await scrape(s)
            assert [now("webhooks_total", result=result) for result in ("delivered", "failed", "parked")] == [1, 2, 1]

    play(story())


def test_firings_of_crons_that_telemetry_tells_of_are_counted(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            for event in ("cron fired", "cron fired", "cron passed over"):
                s.app.engine.telemetry.tell(event, cron_id="c1")
            now = await scrape(s)
            assert [now("cron_firings_total", result=result) for result in ("run", "passed_over")] == [2, 1]

    play(story())


def test_a_loop_that_comes_late_is_seen_and_logged(server: Starter, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with server(echo) as s:
            assert (await scrape(s))("loop_lag_seconds_count") == 0
            asyncio.get_running_loop().call_soon(time.sleep, 1.6)  # nothing else happens in this loop meanwhile
            while (now := await scrape(s))("loop_lag_seconds_count") == 0:
                pass
            assert now("loop_lag_seconds_sum") >= 1.0
            assert now("loop_lag_seconds_bucket", le="0.5") == 0
        assert "event loop late seconds=1." in caplog.text

    play(story())


def test_a_key_that_may_read_may_read_metrics(server: Starter) -> None:
    async def story() -> None:
        keys = (ApiKey("s3cret-of-prometheus", "ops", "read"),)
        async with server(echo, api_keys=keys) as s:
            assert (await s.get("/metrics")).status_code == 401
            given = {"authorization": "Bearer s3cret-of-prometheus"}
            assert (await s.http.get("/metrics", headers=given)).status_code == 200

    play(story())


def test_two_servers_in_one_process_count_for_themselves(server: Starter, tmp_path: Path) -> None:
    async def story() -> None:
        other = f"sqlite:///{tmp_path}/other.db"
        async with server(echo) as one, server(echo, database=other) as two:
            await one.post("/runs/wait", {"input": 1})
            assert (await scrape(one))("attempts_total", agent="echo") == 1
            assert (await scrape(two))("attempts_total", agent="echo") == 0

    play(story())


def test_a_database_that_fails_costs_its_own_figures_only(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:

            async def fails(now: int) -> Any:
                raise httpx2.HTTPError("unreachable")

            async def trouble() -> str:
                return "the database cannot be written: the disk is full"

            s.storage.trouble = trouble  # type: ignore[method-assign]
            s.storage.standing = fails  # type: ignore[method-assign]
            now = await scrape(s)
            assert now("ready") == 0
            assert now("attempts_total", agent="echo") == 0
            assert "runyard_runs" not in now.families

    play(story())
