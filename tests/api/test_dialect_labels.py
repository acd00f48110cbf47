"""What a thread is noted on of whose runs it has: with the run that makes it, and by a commit of its own else."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from live_server import MovableClock, Server, Starter, holds, play

from runyard import agent, streams
from runyard.assistants import default_id


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"input": input}


@agent
async def other(input: Any = None) -> dict[str, Any]:
    return {"other": True}


LABELS = {"graph_id": "echo", "assistant_id": default_id("echo")}


def sdk(s: Server) -> LangGraphClient:
    return LangGraphClient(
        httpx.AsyncClient(transport=httpx.ASGITransport(s.app), base_url="http://testserver/langgraph")
    )


class Patches:
    """How often a thread was changed by a commit of its own."""

    def __init__(self, s: Server, patching: pytest.MonkeyPatch) -> None:
        self.made = 0
        really = s.storage.patch_thread

        async def patch_thread(*args: Any, **named: Any) -> Any:
            self.made += 1
            return await really(*args, **named)

        patching.setattr(s.storage, "patch_thread", patch_thread)


def test_a_run_that_makes_its_thread_notes_on_it_in_its_own_commit(
    server: Starter, clock: MovableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo, other, clock=clock) as s:
            client, patches = sdk(s), Patches(s, monkeypatch)
            for _ in range(2):
                await client.runs.wait(thread_id := str(uuid4()), "echo", input=1, if_not_exists="create")
                await client.runs.wait(thread_id, "echo", input=2)
                assert (await client.threads.get(thread_id))["metadata"] == LABELS
            kept = await client.runs.create(None, "echo", input=1, on_completion="keep")
            assert (await client.threads.get(kept["thread_id"]))["metadata"] == LABELS
            start = {"id": 1, "method": "run.start", "params": {"assistant_id": "echo", "input": 1}}
            await s.post(f"/langgraph/threads/{(begun := str(uuid4()))}/commands", start)
            assert (await client.threads.get(begun))["metadata"] == LABELS
            await client.crons.create("echo", schedule="* * * * *", input=1, on_run_completed="keep")
            known = {thread["thread_id"] for thread in await client.threads.search(metadata=LABELS, limit=100)}
            clock.move(60)
            await s.app.engine.scheduler.run_once()
            found = {thread["thread_id"] for thread in await client.threads.search(metadata=LABELS, limit=100)}
            assert len(found - known) == 1, "the thread of the cron's run"
            assert patches.made == 0
            gone = (await client.runs.create(None, "echo", input=1))["thread_id"]
            there = await s.storage.metadata_of("", gone)
            assert there is not None
            assert there[0] == b"{}", "nobody looks for it"

    play(story())


def test_a_thread_that_was_there_is_noted_on_once_and_again_for_another_assistant(
    server: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo, other) as s:
            client, patches = sdk(s), Patches(s, monkeypatch)
            thread_id = (await client.threads.create(metadata={"mine": 1}))["thread_id"]
            for _ in range(2):
                await client.runs.wait(thread_id, "echo", input=1)
            assert (await client.threads.get(thread_id))["metadata"] == {"mine": 1, **LABELS}
            assert patches.made == 1
            await client.runs.wait(thread_id, "other", input=1, if_not_exists="create")
            assert (await client.threads.get(thread_id))["metadata"]["graph_id"] == "other"
            assert patches.made == 2

    play(story())


def test_a_run_that_ends_while_its_thread_is_noted_on_is_answered_at_once(
    server: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with server(echo) as s:
            thread_id = await s.thread()
            really = s.storage.patch_thread

            async def patch_thread(*args: Any, **named: Any) -> Any:
                await s.until(lambda: holds(s.storage.thread("", thread_id), lambda thread: thread.status == "idle"))
                return await really(*args, **named)

            monkeypatch.setattr(s.storage, "patch_thread", patch_thread)
            monkeypatch.setattr(streams, "RECHECK", 1e6)  # who has missed the end waits for ever
            answer = await s.post(f"/langgraph/threads/{thread_id}/runs/wait", {"assistant_id": "echo", "input": 1})
            assert answer.json() == {"input": 1}

    play(story())
