"""Traces: one tree from the caller's request through the engine to what the agent's code does, across restarts."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from live_server import MovableClock, Server, Starter, holds, play
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from runyard import Context, Retry, SyncContext, agent
from runyard.runs import NewRun
from runyard.settings import ApiKey

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collected:
    """A provider of tracers, and the spans that have ended."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("users code")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def the(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def seen() -> Collected:
    return Collected()


@agent
async def echo(input: Any = None) -> Any:
    return {"echo": input}


def about(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert span.parent is not None
    return (span.parent.trace_id, span.parent.span_id) == (parent.context.trace_id, parent.context.span_id)


async def due(s: Server, clock: MovableClock, run_id: str) -> None:
    """Time passes until a delayed run has ended; the server may not have looked at the clock yet when it is moved."""
    while not (await s.storage.run("", run_id)).finished:
        clock.move(61)
        await asyncio.sleep(0.001)


def test_a_request_a_run_and_its_code_are_one_trace_below_the_caller(server: Starter, seen: Collected) -> None:
    @agent
    async def work(ctx: Context) -> None:
        with seen.tracer.start_as_current_span("work"):
            await ctx.step("asynchronous", inner)
            await ctx.step("blocking", blocking)
        await ctx.emit({"done": True})

    async def inner() -> None:
        seen.tracer.start_span("inner").end()

    def blocking() -> None:
        seen.tracer.start_span("in a thread").end()

    async def story() -> None:
        async with server(work, tracer_provider=seen.provider) as s:
            answer = await s.post("/runs/wait", headers={"traceparent": CALLER, "tracestate": "vendor=1"})
            run = answer.json()["run"]
        request = seen.the("POST /runs/wait")
        assert request.kind is SpanKind.SERVER
        assert request.parent is not None
        assert f"{request.parent.span_id:016x}" == "b7ad6b7169203331"
        assert dict(about(request)) == {
            "http.request.method": "POST", "http.route": "/runs/wait", "url.path": "/runs/wait",
            "http.response.status_code": 200,
        }  # fmt: skip
        created = seen.the("create_run work")
        assert is_child(created, request)
        assert created.kind is SpanKind.PRODUCER
        assert about(created)["runyard.run_id"] == run["run_id"]
        attempt = seen.the("invoke_agent work")
        assert is_child(attempt, created)
        assert attempt.kind is SpanKind.CONSUMER
        assert dict(about(attempt)) == {
            "runyard.run_id": run["run_id"], "runyard.thread_id": run["thread_id"], "runyard.agent_id": "work",
            "runyard.attempt": 1, "runyard.outcome": "completed", "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.id": "work", "gen_ai.conversation.id": run["thread_id"],
        }  # fmt: skip
        assert attempt.status.status_code is StatusCode.UNSET
        assert is_child(seen.the("work"), attempt)
        assert is_child(seen.the("inner"), seen.the("work"))
        assert is_child(seen.the("in a thread"), seen.the("work"))
        assert len(seen.spans) == 6
        for span in seen.spans:
            assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
            assert span.context.trace_state.to_header() == "vendor=1"

    play(story())


def test_what_a_synchronous_agent_makes_is_below_its_attempt(server: Starter, seen: Collected) -> None:
    @agent
    def work(ctx: SyncContext) -> None:
        with seen.tracer.start_as_current_span("work"):
            ctx.step("asynchronous", inner)

    async def inner() -> None:
        seen.tracer.start_span("inner").end()

    @agent
    def generate() -> Iterator[dict[str, Any]]:
        seen.tracer.start_span("first").end()
        yield {"n": 1}
        seen.tracer.start_span("second").end()

    async def story() -> None:
        async with server(work, generate, tracer_provider=seen.provider) as s:
            await s.post("/runs/wait", {"agent_id": "work"})
            await s.post("/runs/wait", {"agent_id": "generate"})
        assert is_child(seen.the("work"), seen.the("invoke_agent work"))
        assert is_child(seen.the("inner"), seen.the("work"))
        assert is_child(seen.the("first"), seen.the("invoke_agent generate"))
        assert is_child(seen.the("second"), seen.the("invoke_agent generate"))

    play(story())


def test_runs_that_execute_side_by_side_do_not_mix(server: Starter, seen: Collected) -> None:
    @agent
    async def work(input: int, ctx: Context) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            seen.tracer.start_span("of run", attributes={"run": ctx.run_id}).end()

    async def story() -> None:
        async with server(work, tracer_provider=seen.provider) as s:
            await asyncio.gather(*(s.post("/runs/wait", {"input": number}) for number in range(10)))
        attempts = {about(span)["runyard.run_id"]: span for span in seen.named("invoke_agent work")}
        assert len(attempts) == 10
        assert len({span.context.trace_id for span in attempts.values()}) == 10
        assert len(seen.named("of run")) == 30
        assert all(is_child(span, attempts[about(span)["run"]]) for span in seen.named("of run"))

    play(story())


def test_the_wait_in_line_is_a_span_of_its_own(server: Starter, seen: Collected) -> None:
    door = threading.Event()

    @agent(concurrency=1)
    async def single() -> None:
        while not door.is_set():
            await asyncio.sleep(0.001)

    async def story() -> None:
        clock = MovableClock()
        async with server(single, clock=clock, tracer_provider=seen.provider) as s:
            await s.run()
            second = await s.run()
            clock.move(5)
            door.set()
            await s.wait(second["run_id"])
        queue = seen.the("queue")
        assert about(queue)["runyard.run_id"] == second["run_id"]
        assert queue.start_time is not None
        assert queue.end_time is not None
        assert queue.end_time - queue.start_time == 5_000_000_000
        created = [s for s in seen.named("create_run single") if about(s)["runyard.run_id"] == second["run_id"]]
        assert is_child(queue, created[0])

    play(story())


def test_an_attempt_after_a_restart_belongs_to_the_request_that_created_the_run(
    server: Starter, seen: Collected
) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(echo, clock=clock, tracer_provider=seen.provider) as s:
            run = await s.run(after_seconds=60)
        later = Collected()
        async with server(echo, clock=clock, tracer_provider=later.provider) as s:
            await due(s, clock, run["run_id"])
        assert is_child(later.the("invoke_agent echo"), seen.the("create_run echo"))
        assert is_child(seen.the("create_run echo"), seen.the("POST /runs"))

    play(story())


def test_a_second_attempt_after_a_crash_is_in_the_same_trace(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        async with server(echo) as s:
            # As a server leaves it that dies while the run executes.
            left = NewRun(
                "r1", "", "echo", b"{}", b"{}", 1, "t1", True, True, "reject", 3, False, claim=True, trace=CALLER
            )
            await s.storage.create_run(left)
        async with server(echo, tracer_provider=seen.provider) as s:
            await s.until(lambda: holds(s.storage.run("", "r1"), lambda run: run.finished))
        attempt = seen.the("invoke_agent echo")
        assert about(attempt)["runyard.attempt"] == 2
        assert attempt.parent is not None
        assert (attempt.parent.trace_id, attempt.parent.span_id) == (
            0x0AF7651916CD43DD8448EB211C80319C,
            0xB7AD6B7169203331,
        )

    play(story())


def test_a_run_that_was_created_untraced_gets_a_trace_of_its_own(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(echo, clock=clock) as s:
            run = await s.run(after_seconds=60)
        async with server(echo, clock=clock, tracer_provider=seen.provider) as s:
            await due(s, clock, run["run_id"])
        assert seen.the("invoke_agent echo").parent is None

    play(story())


def test_a_failure_is_recorded_with_its_exception_and_where_it_was_raised(server: Starter, seen: Collected) -> None:
    class Mishap(Exception):
        pass

    @agent(max_attempts=2, retry=Retry(on=("ValueError",), initial=0.0))
    async def moody(ctx: Context) -> None:
        if ctx.attempt == 1:
            raise ValueError("not today: really")
        raise Mishap("nor tomorrow")

    async def story() -> None:
        async with server(moody, tracer_provider=seen.provider) as s:
            await s.post("/runs/wait")
        first, second = seen.named("invoke_agent moody")
        assert [about(span)["runyard.outcome"] for span in (first, second)] == ["tried_again", "failed"]
        for span in (first, second):
            assert span.status.status_code is StatusCode.ERROR
            assert is_child(span, seen.the("create_run moody"))
        told = [dict(span.events[0].attributes or {}) for span in (first, second)]
        assert [event["exception.type"] for event in told] == ["ValueError", f"{__name__}.{Mishap.__qualname__}"]
        assert [event["exception.message"] for event in told] == ["not today: really", "nor tomorrow"]
        assert 'raise ValueError("not today: really")' in str(told[0]["exception.stacktrace"])

    play(story())


def test_each_way_to_end_is_the_outcome_of_the_span(server: Starter, seen: Collected) -> None:
    door = threading.Event()

    @agent
    async def hold(ctx: Context) -> None:
        await ctx.update({"begun": True})
        await asyncio.Event().wait()

    @agent(timeout=60)
    async def slow(ctx: Context) -> None:
        await ctx.update({"begun": True})
        await asyncio.Event().wait()

    @agent
    async def deaf(ctx: Context) -> None:
        await ctx.update({"begun": True})
        while not door.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.001)

    async def begun(s: Server, agent_id: str, **wish: Any) -> str:
        run = await s.run(agent_id=agent_id, **wish)
        await s.until(lambda: holds(s.storage.run("", run["run_id"]), lambda run: run.last_checkpoint is not None))
        return run["run_id"]

    async def story() -> None:
        clock = MovableClock()
        async with server(hold, slow, deaf, clock=clock, cancel_grace=5, tracer_provider=seen.provider) as s:
            cancelled = await begun(s, "hold")
            await s.post(f"/runs/{cancelled}/cancel?wait=true")
            undone = await begun(s, "hold")
            await s.post(f"/runs/{undone}/cancel?wait=true&action=rollback")
            late = await begun(s, "slow")
            clock.move(61)
            await s.wait(late)
            thread_id = await s.thread()
            await begun(s, "hold", thread_id=thread_id)
            await s.http.delete(f"/threads/{thread_id}", timeout=20)
            stubborn = await begun(s, "deaf")
            await s.post(f"/runs/{stubborn}/cancel")
            while (await s.storage.run("", stubborn)).outcome is None:
                clock.move(5)
                await asyncio.sleep(0.001)
            door.set()
            await s.until(lambda: s.app.engine.worker.executing == 0)
            await begun(s, "hold")
        outcomes = [about(span)["runyard.outcome"] for span in seen.spans if span.name.startswith("invoke_agent")]
        assert outcomes == ["cancelled", "rolled_back", "timed_out", "lease_lost", "abandoned", "drained"]

    play(story())


def test_a_resume_points_at_the_run_that_asked(server: Starter, seen: Collected) -> None:
    @agent
    async def ask(ctx: Context) -> Any:
        return {"answer": await ctx.interrupt("sure?")}

    async def story() -> None:
        async with server(ask, tracer_provider=seen.provider) as s:
            thread_id = await s.thread()
            await s.post("/runs/wait", {"thread_id": thread_id})
            await s.post("/runs/wait", {"thread_id": thread_id, "command": {"resume": "yes"}})
        asked, resumed = seen.named("invoke_agent ask")
        assert [about(span)["runyard.outcome"] for span in (asked, resumed)] == ["asked", "completed"]
        assert asked.links == ()
        assert [link.context.span_id for link in resumed.links] == [seen.named("create_run ask")[0].context.span_id]
        assert asked.context.trace_id != resumed.context.trace_id

    play(story())


def test_a_repeated_request_is_told_from_a_new_run(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        async with server(echo, tracer_provider=seen.provider) as s:
            for _ in range(2):
                await s.post("/runs/wait", {"input": 1}, headers={"idempotency-key": "k"})
        first, second = seen.named("create_run echo")
        assert [about(span)["runyard.repeated"] for span in (first, second)] == [False, True]
        assert about(first)["runyard.run_id"] == about(second)["runyard.run_id"]
        seen.the("invoke_agent echo")

    play(story())


def test_refusals_and_odd_contexts(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        async with server(echo, tracer_provider=seen.provider) as s:
            for odd in ("", "x", "00-0-0-0", CALLER + "-more", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "\xff" * 600):
                answer = await s.http.get("/ok", headers=[(b"traceparent", odd.encode("latin-1"))])
                assert answer.status_code == 200
            await s.post("/runs", {"agent_id": "nobody"})
            await s.get("/runs/11111111-1111-1111-1111-111111111111")
        assert [span.parent for span in seen.named("GET /ok")] == [None] * 6
        assert about(seen.the("POST /runs"))["http.response.status_code"] == 404
        read = seen.the("GET /runs/{run_id}")
        assert about(read)["http.response.status_code"] == 404
        assert read.status.status_code is StatusCode.UNSET

    play(story())


def test_a_fault_of_the_server_is_an_error_of_the_request(server: Starter, seen: Collected) -> None:
    async def breaks(*_: Any) -> Any:
        raise ZeroDivisionError

    async def story() -> None:
        async with server(echo, tracer_provider=seen.provider) as s:
            s.storage.create_run = breaks  # type: ignore[method-assign]
            assert (await s.post("/runs")).status_code == 500
        request = seen.the("POST /runs")
        assert about(request)["error.type"] == "500"
        assert request.status.status_code is StatusCode.ERROR
        assert seen.the("create_run echo").events[0].name == "exception"

    play(story())


def test_below_the_span_of_a_host_app_a_request_is_a_part_of_it(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        async with server(echo, tracer_provider=seen.provider) as s:
            with seen.tracer.start_as_current_span("host") as host:
                await s.http.get("/ok", headers={"traceparent": CALLER})
            assert isinstance(host, ReadableSpan)
        assert is_child(seen.the("GET /ok"), host)
        assert seen.the("GET /ok").kind is SpanKind.INTERNAL

    play(story())


def test_no_key_no_header_and_no_content_gets_into_a_span(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        keys = (ApiKey("canary-key", "mia"),)
        async with server(echo, api_keys=keys, tracer_provider=seen.provider) as s:
            await s.post("/runs/wait?q=canary-query", {"input": "canary-input"}, headers={"x-api-key": "canary-key"})
            headers = {"authorization": "Bearer canary-wrong", "cookie": "canary-cookie"}
            assert (await s.post("/runs", headers=headers)).status_code == 401
        assert len(seen.spans) == 4
        assert "canary" not in "".join(span.to_json() for span in seen.spans)

    play(story())


def test_the_context_goes_with_the_run(server: Starter, seen: Collected) -> None:
    async def story() -> None:
        clock = MovableClock()
        async with server(echo, clock=clock, tracer_provider=seen.provider) as s:
            run = (await s.post("/runs/wait")).json()["run"]
            assert await s.storage.trace(run["run_id"]) is not None
            clock.move(3700)
            await s.app.engine.reaper.run_once()
            assert await s.storage.trace(run["run_id"]) is None

    play(story())


def test_where_opentelemetry_is_turned_off_nothing_is_kept(server: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    off = Collected()

    async def story() -> None:
        async with server(echo, tracer_provider=off.provider) as s:
            run = (await s.post("/runs/wait")).json()["run"]
            assert await s.storage.trace(run["run_id"]) is None
        assert off.spans == []

    play(story())


def test_code_of_an_untraced_run_has_no_span_of_somebody_else(server: Starter, seen: Collected) -> None:
    found: list[bool] = []

    @agent
    async def look() -> None:
        found.append(trace.get_current_span().get_span_context().is_valid)

    @agent
    def look_blocking() -> None:
        found.append(trace.get_current_span().get_span_context().is_valid)

    async def story() -> None:
        async with server(look, look_blocking) as s:
            with seen.tracer.start_as_current_span("of the host app"):
                await s.post("/runs/wait", {"agent_id": "look"})
                await s.post("/runs/wait", {"agent_id": "look_blocking"})
        assert found == [False, False]

    play(story())


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


SERVE = """
import asyncio, sys, httpx2
from runyard import Settings, agent, create_app

@agent
async def echo(input):
    return input

@agent
def blocking(input):
    return input

async def main():
    app = create_app(Settings(database=f"sqlite:///{sys.argv[1] if len(sys.argv) > 1 else 'x'}", default_agent="echo"),
                     agents=[echo, blocking])
    await app.engine.start()
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
        for agent_id in ("echo", "blocking"):
            answer = await http.post("/runs/wait", json={"agent_id": agent_id, "input": {"a": 1}})
            assert answer.json()["status"] == "success", answer.text
    await app.engine.close()

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_the_setting_nothing_of_opentelemetry_is_imported(tmp_path: Any) -> None:
    code = SERVE.replace("sys.argv[1] if len(sys.argv) > 1 else 'x'", repr(str(tmp_path / "x.db")))
    done = run_python(code)
    assert done.stdout == "[]\n", done.stderr


def test_with_the_setting_and_without_the_extra_the_refusal_says_what_to_install(tmp_path: Any) -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from runyard.cli import run_command\n"
        f"sys.exit(run_command(['serve', '--traces', '--port', '0', '--database', 'sqlite:///{tmp_path}/x.db']))"
    )
    done = run_python(code)
    assert done.returncode == 2
    assert done.stderr == (
        "error: traces is on, but opentelemetry is not installed: pip install 'runyard[otel]', or turn traces off\n"
    )


def test_the_contract_carries_text_only() -> None:
    """What crosses to the agent's side is plain data, so that it may cross to another process."""
    from runyard.runtime.contract import Ended, RunInfo, Start

    start = Start(RunInfo("r", "t", "a", "", 1, {}, {}), None, {}, {}, trace=CALLER)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(start), type=Start).trace == CALLER
    ended = Ended("failed", stacktrace="Traceback ...")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ended), type=Ended).stacktrace == "Traceback ..."
