"""`ap_client.ThreadStream`, sync and async, over both transports, against real servers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ap_client import CommandError, LifecycleEvent, Runyard, ThreadEvent, ThreadStream, ToolsEvent, aio
from server_process import EXAMPLES, STORY_AGENTS, Serve, ServerProcess, wait_until

both = pytest.mark.parametrize("transport", ["sse", "websocket"])
TEAM = {"question": "How many bees live in a hive in winter?", "folder": str(EXAMPLES / "texts")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    made = ServerProcess(tmp_path_factory.mktemp("watched"), STORY_AGENTS, EXAMPLES / "research_team.py")
    yield made.start()
    made.end()


@pytest.fixture
def ry(server: ServerProcess) -> Iterator[Runyard]:
    with Runyard(server.url) as made:
        yield made


@both
def test_a_team_is_watched_from_several_sides_over_one_connection(ry: Runyard, transport: str) -> None:
    with ry.stream(agent_id="research_team", transport=transport) as stream:
        run_id = stream.start(TEAM)
        lead, team = stream.messages(depth=0), stream.messages(["reader", "counter"])
        tools, lifecycle, events = stream.tools(["reader"]), stream.lifecycle(), stream.events()
        plan, answer = lead
        assert plan.text == "I will have the texts searched for sentences and for figures."
        assert plan.reasoning.startswith("The question is 'How many bees")
        assert [call["name"] for call in plan.tool_calls] == ["read", "count"]
        assert "".join(answer) == answer.text
        assert (answer.status, answer.namespace, answer.run_id) == ("complete", (), run_id)
        assert {message.namespace[0].partition(":")[0] for message in team} == {"reader", "counter"}
        called = [event for event in tools if event.event == "tool-started"]
        assert [event.tool_name for event in called] == ["list_files"] + 5 * ["search"]
        begun = {event.graph_name: event.namespace for event in lifecycle if event.event == "started"}
        assert set(begun) == {"research_team", "reader", "counter"}
        assert begun["reader"] == called[0].namespace
        told = list(events)
        ids = [event.event_id for event in told if not event.is_snapshot]
        assert ids == sorted(set(ids), key=order)
        assert {event.channel for event in told} >= {"messages", "tools", "lifecycle", "values", "checkpoints"}
        assert isinstance(told[-1], LifecycleEvent)
        assert (told[-1].is_end, told[-1].namespace) == (True, ())
        assert [event.event_id for event in told if isinstance(event, ToolsEvent) and _of_reader(event)] == [
            event.event_id for event in stream.tools(["reader"])
        ]
        tree = stream.tree()
        assert (tree.graph_name, tree.status) == ("research_team", "completed")
        assert {child.graph_name for child in tree.children} == {"reader", "counter"}


def order(event_id: str | None) -> tuple[int, float]:
    number, _, part = str(event_id).partition("-")
    return int(number), int(part) if part else float("inf")


def _of_reader(event: ThreadEvent) -> bool:
    return bool(event.namespace) and event.namespace[0].startswith("reader:")


@both
def test_questions_states_and_forks(ry: Runyard, transport: str) -> None:
    with ry.stream(agent_id="count", transport=transport) as stream:
        stream.start(2)
        assert [event.payload["number"] for event in stream.custom("count")] == [0, 1]
        (checkpoint,) = list(stream.checkpoints())
        (listed,) = stream.list_checkpoints()
        assert listed.id == checkpoint.checkpoint_id == stream.state().checkpoint_id
        assert stream.state(["counted"]).values == {"counted": 2}

        fork = stream.fork(checkpoint.checkpoint_id, 3)
        assert (fork.run_id, fork.thread_id) == (stream.run_id, stream.thread_id)
        seen = [event.values["counted"] for event in stream.values()]
        assert seen[-1] == 3
        newest, oldest = stream.list_checkpoints()
        assert (newest.metadata["parent_id"], oldest.id) == (listed.id, listed.id)
        assert stream.list_checkpoints(before=newest.id) == [oldest] == stream.list_checkpoints(1, newest.id)

        asked_by = stream.start(agent_id="ask")
        assert [event.data["payload"] for event in stream.inputs()] == [{"question": "which colour?"}]
        (question,) = stream.questions
        assert (question.payload, question.run_id) == ({"question": "which colour?"}, asked_by)
        with pytest.raises(CommandError) as refused:
            stream.respond("another", "blue")
        assert refused.value.code == "no_such_interrupt"
        question.answer("blue", update={"counted": 9})
        assert [event.event for event in stream.lifecycle()][-1] == "completed"
        assert stream.questions == []
        assert ry.get_run(stream.run_id or "").wait().values == stream.state().values
        assert stream.state(["answer", "counted"]).values == {"answer": "blue", "counted": 9}

        stream.start(agent_id="ask")
        assert [event.event for event in stream.lifecycle()][-1] == "interrupted"
        (question,) = stream.questions
        stream.respond({question: "red"})
        assert [event.event for event in stream.lifecycle()][-1] == "completed"
        assert stream.state().values["answer"] == "red"
        for refused_call, code in (
            (lambda: stream.fork(str(uuid4())), "no_such_checkpoint"),
            (lambda: stream.tree(str(uuid4())), "no_such_run"),
            (lambda: stream.inject("hello"), "no_such_run"),
            (lambda: stream.state(namespace="nowhere"), "no_such_namespace"),
            (lambda: stream.start(agent_id="nobody"), "invalid_argument"),
        ):
            with pytest.raises(CommandError) as refused:
                refused_call()
            assert refused.value.code == code


@both
def test_everything_is_there_with_asyncio(server: ServerProcess, transport: str, tmp_path: Path) -> None:
    door = tmp_path / "door"

    async def scene() -> None:
        async with aio.Runyard(server.url) as ry, ry.stream(transport=transport) as stream:
            await stream.start({"count": 2, "hold": 1, "path": str(door)}, agent_id="talk")
            pieces: list[list[str]] = []
            async with asyncio.TaskGroup() as group:
                changes = group.create_task(_all(stream.updates(depth=0)))
                steps = group.create_task(_all(stream.checkpoints()))
                async for message in stream.messages():
                    pieces.append([])
                    async for piece in message:
                        pieces[-1].append(piece)
                        if len(pieces) == 2:
                            door.touch()  # it goes on only when its first words have been told
            assert pieces == [["one ", "two ", "three "]] * 2
            written = [event.values for event in changes.result() if "messages_written" in event.values]
            assert written == [{"messages_written": 1}, {"messages_written": 2}]
            assert (await stream.list_checkpoints())[0].id == steps.result()[-1].checkpoint_id
            assert {child.graph_name for child in (await stream.tree()).children} == {"helper"}

            notes = {"hold": -1, "path": "", "journal": str(tmp_path / "journal")}
            await stream.start(notes, agent_id="notes")
            heard = stream.messages()
            assert await anext(stream.custom())
            for text in ("a", "stop"):
                await stream.inject(text)
            said = [message async for message in heard]
            assert [(message.role, message.text) for message in said] == [("human", "a"), ("human", "stop")]
            assert (await stream.state(["taken"])).values == {"taken": ["a"]}

            await stream.start(agent_id="ask")
            assert [event.event async for event in stream.lifecycle()][-1] == "interrupted"
            (question,) = stream.questions
            await question.answer("green")
            assert (await _all(stream.values()))[-1].values["answer"] == "green"
            fork = await stream.fork((await stream.list_checkpoints())[0].id)
            assert fork.run_id == stream.run_id
            with pytest.raises(CommandError, match="no_such_interrupt"):
                await stream.respond("another", "blue")

    asyncio.run(scene())


async def _all(subscription: aio.ThreadSubscription[Any]) -> list[Any]:
    return [event async for event in subscription]


class Reader(threading.Thread):
    """Reads all that a thread tells, and its messages, until so many runs have ended."""

    def __init__(self, url: str, thread_id: str, runs: int, *, transport: str, asynchronous: bool) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.thread_id = thread_id
        self.runs = runs
        self.transport = transport
        self.asynchronous = asynchronous
        self.events: list[ThreadEvent] = []
        self.texts: list[str] = []

    def run(self) -> None:
        if self.asynchronous:
            asyncio.run(self._read_async())
            return
        with Runyard(self.url) as ry, ry.stream(self.thread_id, transport=self.transport, since=0) as stream:
            messages = stream.messages()
            for event in stream.events():
                self.events.append(event)
                if self.over:
                    break
            while self.runs * 3 > len(self.texts):
                self._hear(next(messages))

    async def _read_async(self) -> None:
        async with aio.Runyard(self.url) as ry:
            async with ry.stream(self.thread_id, transport=self.transport, since=0) as stream:
                messages = stream.messages()
                async for event in stream.events():
                    self.events.append(event)
                    if self.over:
                        break
                while self.runs * 3 > len(self.texts):
                    self._hear(await anext(messages))

    def _hear(self, message: Any) -> None:
        if message.status == "complete":
            self.texts.append(message.text)

    @property
    def ids(self) -> list[str | None]:
        return [event.event_id for event in self.events]

    @property
    def over(self) -> bool:
        ends = [each for each in self.events if isinstance(each, LifecycleEvent) and each.is_end and not each.namespace]
        return len(ends) == self.runs

    def half_told(self, run_id: str) -> bool:
        """The run has told the first half of the message in whose middle it is held."""
        told = [event for event in tuple(self.events) if event.run_id == run_id and event.channel == "messages"]
        return [event.data["delta"].get("text") for event in told if "delta" in event.data][-2:] == ["one ", "two "]


def test_a_server_that_is_killed_and_one_that_drains_are_not_noticed(serve: Serve, tmp_path: Path) -> None:
    server, thread_id = serve(STORY_AGENTS, settings={"drain_grace": 0.2}), str(uuid4())
    readers = [
        Reader(server.url, thread_id, 2, transport=transport, asynchronous=asynchronous)
        for transport in ("sse", "websocket")
        for asynchronous in (False, True)
    ]
    for reader in readers:
        reader.start()

    def drain() -> None:
        server.terminate()
        assert server.wait() == 0

    ways_to_end: list[Callable[[], None]] = [server.kill9, drain]
    runs: list[str] = []
    with ThreadStream(server.client, thread_id, "talk") as stream:
        for end in ways_to_end:
            door = tmp_path / f"door-{len(runs)}"
            run_id = stream.start({"count": 3, "hold": 1, "path": str(door)})
            runs.append(run_id)
            wait_until(lambda: all(reader.half_told(runs[-1]) for reader in readers), "half a message is told")
            end()
            server.restart()
            door.touch()
            assert [event.event for event in stream.lifecycle(depth=0)] == [
                "started",
                "running",
                "running",
                "completed",
            ]
    for reader in readers:
        reader.join(20)
    late = Reader(server.url, thread_id, 2, transport="sse", asynchronous=False)
    late.start()
    late.join(20)
    for reader in (*readers, late):
        assert reader.ids == sorted(set(reader.ids), key=order)
        assert reader.events == late.events
        assert reader.texts == ["one two three "] * 6
    assert {event.run_id for event in late.events} == set(runs)
