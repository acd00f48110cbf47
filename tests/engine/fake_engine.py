"""The engine's end of a Host, for tests: it stores what agents write in memory, and says so."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from runyard.checkpoints import Question, State, apply
from runyard.events import Entry, events_of
from runyard.items import Item
from runyard.protocol.frames import Face
from runyard.runtime.channel import ThreadHost, ThreadInvocation
from runyard.runtime.contract import (
    Ended,
    Injected,
    LoadedAgent,
    Record,
    RunInfo,
    Start,
    Stop,
    StoreCall,
    Stored,
    StoreReply,
    Write,
)

encode = msgspec.json.encode
decode = msgspec.json.decode
FACE = Face("camel")
Frame = dict[str, Any]


@contextlib.asynccontextmanager
async def hosting(threads: int = 2) -> AsyncIterator[ThreadHost]:
    host = ThreadHost(threads)
    try:
        yield host
    finally:
        await host.close(5)


class FakeEngine:
    """One thread of one agent: state, log, records and store survive its runs, as they survive attempts."""

    def __init__(self, host: ThreadHost, agent: LoadedAgent, state: dict[str, Any] | None = None) -> None:
        self.host = host
        self.agent = agent
        self.thread_id = str(uuid.uuid4())
        self.state: State = {channel: encode(value) for channel, value in (state or {}).items()}
        self.base = self.state
        self.entries: list[Entry] = []
        self.sources: list[str] = []
        self.records: list[Record] = []
        self.questions: Sequence[Question] = ()
        self.injected: list[Injected] = []
        self.invocation_now: ThreadInvocation | None = None
        self.items: dict[tuple[tuple[str, ...], str], bytes] = {}
        self.calls: list[str] = []
        self.writes = 0
        self.attempt = 0
        self.ended: Ended | None = None
        self.run_id = self.invocation = ""
        self.cut_off_at = 0
        """How many entries there were when an attempt was cut off, for tests that say so."""
        self.keys_at_cut: list[tuple[str, str, int]] = []

    async def run(self, input: Any = None, **options: Any) -> Ended:
        """A new plain run: a new invocation."""
        self.base, self.records, self.questions, self.attempt = self.state, [], (), 0
        self.injected = []
        self.run_id = self.invocation = str(uuid.uuid4())
        self.input = None if input is None else encode(input)
        return await self.again(**options)

    async def resume(self, answers: list[Any], **options: Any) -> Ended:
        """A run that answers the open questions, in their order; `...` leaves one open."""
        given = {
            question.id: encode(answer)
            for question, answer in zip(self.questions, answers, strict=True)
            if answer is not ...
        }
        self.run_id, self.attempt = str(uuid.uuid4()), 0
        return await self.again(answers=given, **options)

    async def again(self, **options: Any) -> Ended:
        """Another attempt of the run, to its end."""
        invocation = self.begin(**{k: v for k, v in options.items() if k not in PLAYING})
        return await self.play(invocation, **{k: v for k, v in options.items() if k in PLAYING})

    def begin(
        self,
        *,
        answers: dict[str, bytes] | None = None,
        messages: list[Any] | None = None,
        update: dict[str, Any] | None = None,
        steps_left: int | None = None,
        config: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ThreadInvocation:
        self.attempt += 1
        self.ended = None
        about = {} if config is None else {"configurable": config}
        agent_id = self.agent.agent.agent_id
        run = RunInfo(self.run_id, self.thread_id, agent_id, "", self.attempt, metadata or {}, about, self.invocation)
        start = Start(
            run,
            self.input,
            self.base,
            self.state,
            tuple(self.records),
            self.questions,
            answers or {},
            None if update is None else encode(update),
            None if messages is None else encode(messages),
            None,
            steps_left,
            injected=tuple(self.injected),
        )
        self.invocation_now = self.host.run(self.agent, start)
        return self.invocation_now

    def inject(self, content: str, role: str = "user") -> None:
        """Puts a message into the run, also before it has begun, or while no attempt of it executes."""
        number = len(self.injected) + 1
        message = {"id": f"i{number}", "role": role, "content": content}
        self.injected.append(Injected(number, encode(message)))
        self.entries.append(Entry("messages", msgspec.Raw(encode([message]))))
        if self.invocation_now is not None and self.ended is None:
            self.invocation_now.send(self.injected[-1])

    async def play(
        self,
        invocation: ThreadInvocation,
        *,
        crash_after: int | None = None,
        stop_at: Callable[[FakeEngine], bool] | None = None,
        inject_at: dict[int, str] | None = None,
    ) -> Ended:
        """Stores what comes, to the end. After `crash_after` writes nothing more is stored, as if the engine had died:
        the code is stopped and its end is not heard. `inject_at` puts messages in once there are so many writes."""
        stopped = False
        while True:
            for message in await invocation.receive():
                if isinstance(message, Ended):
                    self.ended = message
                    if stopped and crash_after is not None:
                        return message
                    if message.last is not None:
                        self.store(message.last)
                    self.questions = message.questions
                    return message
                if crash_after is not None and self.writes >= crash_after:
                    if not stopped:
                        invocation.send(Stop("lost"))
                        stopped = True
                elif isinstance(message, StoreCall):
                    invocation.send(self.answer(message))
                else:
                    self.store(message)
                    invocation.send(Stored(1))
                if inject_at is not None and self.writes in inject_at:
                    self.inject(inject_at.pop(self.writes))
                if stop_at is not None and not stopped and stop_at(self):
                    invocation.send(Stop("cancel"))
                    stopped = True

    def store(self, write: Write) -> None:
        self.writes += 1
        self.entries += write.entries
        for record in write.records:
            order = len(self.records) + 1
            self.records.append(msgspec.structs.replace(record, order=order))
        if write.checkpoint is not None:
            self.state = apply(self.state, write.checkpoint.changes)
            self.sources.append(write.checkpoint.source)

    def answer(self, call: StoreCall) -> StoreReply:
        self.calls.append(call.method)
        place = (call.namespace, call.key)
        match call.method:
            case "put":
                self.items[place] = call.value
            case "delete":
                self.items.pop(place, None)
            case "get":
                if place not in self.items:
                    return StoreReply(call.call, error=("item_not_found", "no such item"))
                return StoreReply(call.call, [Item(*place, self.items[place], 0, 1_000_000)])
            case "search":
                assert call.search is not None
                found = [Item(*at, value, 0, 0) for at, value in self.items.items()]
                return StoreReply(call.call, found[: call.search.limit])
            case "namespaces":
                return StoreReply(call.call, namespaces=sorted({namespace for namespace, _ in self.items}))
        return StoreReply(call.call)

    # what tests look at

    @property
    def values(self) -> dict[str, Any]:
        return {channel: decode(text) for channel, text in self.state.items()}

    def log(self, kind: str) -> list[Any]:
        """The data of all entries of a kind, in order."""
        return [decode(entry.data) for entry in self.entries if entry.kind == kind]

    def told(self, *methods: str) -> list[Frame]:
        """What the streaming protocol tells of the log: the frames of these methods, of all without one, in order."""
        events = events_of(self.run_id, 1, 0, self.entries)
        frames = [decode(frame.text) for event in events if event.kind != "values" for frame in FACE.frames(event)]
        return [frame for frame in frames if not methods or frame["method"] in methods]

    @property
    def keys(self) -> list[tuple[str, str, int]]:
        return [(record.kind, record.name, record.nth) for record in self.records]


PLAYING = {"crash_after", "stop_at", "inject_at"}


def play(story: Callable[[ThreadHost], Any], threads: int = 2) -> Any:
    """Runs an asynchronous test with a host of its own."""

    async def main() -> Any:
        async with hosting(threads) as host:
            return await asyncio.wait_for(story(host), 30)

    return asyncio.run(main())
