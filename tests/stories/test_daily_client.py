"""The client for daily use, sync and async, against real servers, one of which dies on the way."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ap_client import RunAsks, RunCancelled, RunFailed, RunTimedOut, Runyard, WaitTimeout, aio
from ap_client.exceptions import ConflictException, NotFoundException
from server_process import EXAMPLES, STORY_AGENTS, Serve, ServerProcess, wait_until

CLIENT_AGENTS = Path(__file__).with_name("client_agents.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path_factory.mktemp("daily"), STORY_AGENTS, CLIENT_AGENTS)
    yield made.start()
    made.end()


@pytest.fixture
def ry(server: ServerProcess) -> Iterator[Runyard]:
    with Runyard(server.url) as made:
        yield made


def test_a_run_is_iterated_and_has_a_result(ry: Runyard) -> None:
    run = ry.run("count", 2)
    assert (run.agent_id, run.done) == ("count", run.status != "pending")
    events = list(run)
    assert [event.data["payload"] for event in events if event.event == "custom"] == [{"number": 0}, {"number": 1}]
    assert (events[0].event, events[-1].event) == ("metadata", "end")
    assert (run.status, run.done) == ("success", True)
    assert run.result() == {"counted": 2}
    assert run.info.outcome == "completed"
    assert [event.id for event in run.events(since=events[1].id)] == [event.id for event in events[2:]]


def test_a_question_is_an_error_that_holds_it_and_is_answered(ry: Runyard) -> None:
    run = ry.run("ask")
    with pytest.raises(RunAsks, match="which colour") as caught:
        run.result()
    assert caught.value.run is run
    assert [each["value"] for each in caught.value.questions] == [{"question": "which colour?"}]
    assert run.answer("blue", run.questions[0]["id"]).result() == {"answer": "blue"}
    with pytest.raises(ConflictException):
        run.answer("red")


def test_ends_without_a_result_are_errors_with_code_and_message(ry: Runyard) -> None:
    failed = ry.run("fails", "no such order")
    with pytest.raises(RunFailed, match="no such order") as caught:
        failed.result()
    assert (caught.value.code, caught.value.run, caught.value.values) == ("agent_error", failed, {"begun": True})
    assert failed.wait().error is not None
    assert failed.status == "error"
    with pytest.raises(RunTimedOut) as late:
        ry.run("slow").result()
    assert late.value.code == "timeout"
    assert isinstance(late.value, TimeoutError)


def test_a_wait_has_a_time_and_the_run_goes_on_until_it_is_cancelled(ry: Runyard, tmp_path: Path) -> None:
    run = ry.run("gate", {"path": str(tmp_path / "door")})
    with pytest.raises(WaitTimeout, match="it goes on") as caught:
        run.result(timeout=0.05)
    assert caught.value.run is run
    assert run.refresh() == "pending"
    run.cancel()
    assert run.status == "interrupted"
    with pytest.raises(RunCancelled) as cancelled:
        run.result()
    assert cancelled.value.code == "cancelled"
    run.delete()
    with pytest.raises(NotFoundException):
        run.wait()


def test_threads_agents_and_the_store(ry: Runyard) -> None:
    assert {"count", "ask"} <= {agent.agent_id for agent in ry.agents()}
    thread = ry.thread(metadata={"user": "ada"})
    assert thread.run("count", 3).result() == {"counted": 3}
    assert thread.refresh() == thread.values == {"counted": 3}
    second = ry.run("ask", thread=thread)
    second.wait()
    assert [run.agent_id for run in thread.runs()] == ["ask", "count"]
    assert thread.update({"more": 1})["more"] == 1
    assert thread.history(limit=1)[0].values["more"] == 1
    assert ry.thread(thread.thread_id).values["more"] == 1
    assert [found.thread_id for found in ry.threads(metadata={"user": "ada"})] == [thread.thread_id]
    assert ry.get_run(second.run_id).thread_id == thread.thread_id
    assert [run.run_id for run in ry.runs(agent="ask", thread=thread)] == [second.run_id]
    twin = thread.copy()
    assert twin.values["more"] == 1
    thread.delete()
    with pytest.raises(NotFoundException):
        thread.refresh()

    ry.store.put(["notes", "ada"], "first", {"text": "hi"})
    assert ry.store.get(["notes", "ada"], "first") == {"text": "hi"}
    assert [item.key for item in ry.store.search("notes")] == ["first"]
    assert ry.store.namespaces("notes") == [["notes", "ada"]]
    ry.store.delete(["notes", "ada"], "first")
    assert ry.store.get(["notes", "ada"], "first") is None


def test_creating_with_the_same_key_is_the_same_run(ry: Runyard) -> None:
    first, again = (ry.run("count", 1, idempotency_key="daily-1") for _ in range(2))
    assert first.run_id == again.run_id


def test_everything_is_there_with_asyncio_too(server: ServerProcess) -> None:
    async def scene() -> None:
        async with aio.Runyard(server.url) as ry:
            run = await ry.run("count", 2)
            events = [event async for event in run]
            assert (events[-1].event, run.status) == ("end", "success")
            assert await run.result() == {"counted": 2}
            asking = await (await ry.thread()).run("ask")
            with pytest.raises(RunAsks):
                await asking.result()
            assert await (await asking.answer("red")).result() == {"answer": "red"}
            shown = io.StringIO()
            await run.show(shown)
            assert "success" in shown.getvalue()
            held = await ry.run("gate", {"path": "/nowhere/at/all"})
            with pytest.raises(WaitTimeout):
                await held.result(timeout=0.05)
            await held.cancel()
            assert held.status == "interrupted"

    asyncio.run(scene())


def test_what_a_person_sees_of_a_run(ry: Runyard) -> None:
    shown = io.StringIO()
    run = ry.run("speaks", "hello there")
    run.show(shown)
    assert shown.getvalue().splitlines() == [
        f"run {run.run_id}",
        "assistant: hello there",
        'speaks: {"said": "hello there"}',
        "success",
    ]


def test_watching_shows_and_yields(ry: Runyard) -> None:
    shown = io.StringIO()
    run = ry.run("ask")
    names = [event.event for event in ry.watch(run, shown)]
    assert (names[0], names[-1]) == ("metadata", "end")
    assert shown.getvalue().splitlines()[-2:] == ['it asks: {"question": "which colour?"}', "interrupted"]


def test_in_a_pipe_nothing_is_shown(ry: Runyard, capsys: pytest.CaptureFixture[str]) -> None:
    ry.run("speaks", "hello").show()
    assert capsys.readouterr().out == ""


def test_a_notebook_gets_one_output_that_is_drawn_anew(ry: Runyard, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    bundles: list[dict[str, str]] = []

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            bundles.append(bundle)

    def display(bundle: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        bundles.append(bundle)
        return Handle()

    ipython: Any = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    displays: Any = types.ModuleType("IPython.display")
    displays.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", displays)
    ry.run("speaks", "<b>").show()
    assert "assistant: <b>" in bundles[-1]["text/plain"]
    assert "assistant: &lt;b&gt;" in bundles[-1]["text/html"]


def test_the_example_does_what_it_says(examples_server: ServerProcess) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "client" / "daily.py")],
        env={**os.environ, "RUNYARD_URL": examples_server.url},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "it asks: Refund EUR 389.00 to" in done.stdout
    assert lines[-1] == "refused: agent_error"
    kept = "{'order': 'A-1002', 'amount': 38900, 'decided_by': 'person'}"
    assert lines[-3:-1] == [f"refund: {kept}", f"kept: {kept}"]


def test_the_example_of_watching_does_what_it_says(examples_server: ServerProcess) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "client" / "watch_thread.py")],
        env={**os.environ, "RUNYARD_URL": examples_server.url},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "lead: I will have the texts searched for sentences and for figures."
    assert {line.partition(":")[0] for line in lines} >= {"lead", "reader", "counter"}
    assert lines[-3] == "tools: count, figures, list_files, read, search, search, search, search, search"
    assert lines[-2].startswith("it asks: Refund EUR 389.00 to")
    assert lines[-1] == "refund: {'order': 'A-1002', 'amount': 38900, 'decided_by': 'person'}"


def test_a_result_is_there_through_kill_9_in_the_middle_of_waiting(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    book, door = tmp_path / "journal", tmp_path / "door"
    wish = {"count": 3, "hold": 1, "path": str(door), "journal": str(book)}
    found: list[Any] = []
    with Runyard(server.url) as ry:
        run = ry.run("steps", wish)
        waiter = threading.Thread(target=lambda: found.append(run.result(timeout=30)))
        waiter.start()
        wait_until(lambda: book.exists() and "begin 1" in book.read_text(), "the second step has begun")
        server.kill9()
        door.touch()
        assert waiter.is_alive()
        server.restart()
        waiter.join(30)
    assert found == [{"results": [0, 1, 4], "attempt": 2}]


def test_iterating_goes_on_through_kill_9(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    door = tmp_path / "door"
    wish = {"count": 3, "hold": 1, "path": str(door), "journal": str(tmp_path / "journal")}
    done: list[int] = []

    async def scene() -> None:
        async with aio.Runyard(server.url) as ry:
            run = await ry.run("steps", wish)
            async for event in run:
                if event.event == "custom":
                    done.append(event.data["payload"]["done"])
                    if done == [0]:
                        await asyncio.to_thread(server.kill9)
                        door.touch()
                        await asyncio.to_thread(server.restart)
            assert run.status == "success"

    asyncio.run(scene())
    assert done == [0, 1, 2]
