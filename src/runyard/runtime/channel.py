"""The Channel between the engine and agents that run on event-loop threads of the same process.

    engine's loop                                   lanes: threads with a loop each
      ThreadInvocation.send -- Bridge (lane) ------> AgentEnd.deliver
      ThreadInvocation.receive <-- Bridge (engine) -- AgentEnd.write, .call, .finish      (also from worker threads)

Nothing but plain data crosses. A lane that user code blocks delays the runs of that lane, and nothing of the engine.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, cast

from runyard.runtime.bridge import Bridge
from runyard.runtime.contract import (
    Ended,
    FromAgent,
    LoadedAgent,
    Start,
    Stop,
    StoreCall,
    Stored,
    StoreReply,
    ToAgent,
    Write,
)
from runyard.runtime.crew import Crew
from runyard.telemetry import say

MAX_WRITES = 1024
"""Writes of an attempt that may wait to be durable before its code waits."""
MAX_BYTES = 1_000_000
"""The same in bytes of event data."""
STUCK_AFTER = 0.02
"""Seconds after which a lane that has not answered a wake-up counts as blocked by its code."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a computing agent yields the interpreter: a request then waits about 1 ms for it, not 5."""
BLOCKING_CALLS = 64
"""Threads per lane for `asyncio.to_thread` in users' code."""


class Executable(LoadedAgent, Protocol):
    """A loaded agent that lanes can execute."""

    def begin(self, start: Start, end: AgentEnd) -> None:
        """Begins an attempt: called in the lane's loop, must not block nor raise, and sees to it that
        `end.finish` is called exactly once."""
        ...


class AgentEnd:
    """The agent's end of one attempt. All methods are safe from the lane's thread and from one more at a time."""

    __slots__ = (
        "_bytes",
        "_calls",
        "_ended",
        "_engine",
        "_lock",
        "_replies",
        "_sent",
        "_sizes",
        "_stored",
        "_to_engine",
        "_waiting",
        "crew",
        "loop",
        "on_stop",
        "stopped",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        crew: Crew,
        engine: Bridge,
        to_engine: Callable[[FromAgent], None],
    ) -> None:
        self.loop = loop
        self.crew = crew
        self.stopped: str | None = None
        """The reason of the `Stop` that came, if one has come."""
        self.on_stop: Callable[[], None] | None = None
        """Called in the lane's loop when a `Stop` comes."""
        self._engine = engine
        self._to_engine = to_engine
        self._lock = threading.Lock()
        self._ended = False
        self._sent = 0
        self._stored = 0
        self._bytes = 0
        self._sizes: deque[int] = deque()
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._replies: dict[int, Callable[[StoreReply | None], None]] = {}
        self._calls = 0

    @property
    def ended(self) -> bool:
        """Whether the attempt is over: what its code does from now on reaches nobody."""
        return self._ended

    # what the code sends

    def write(self, write: Write, size: int) -> int:
        """Sends a write of about `size` bytes; its number, from 1."""
        with self._lock:
            self._sent += 1
            self._bytes += size
            self._sizes.append(size)
            self._engine.post(self._to_engine, write)
            return self._sent

    def finish(self, ended: Ended) -> None:
        """Sends the last message; a second call does nothing."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._engine.post(self._to_engine, ended)
            # The two ends, and the code's task, would else hold each other until a collection.
            self._to_engine = _drop
            self.on_stop = None

    # what the code waits for

    def credit(self) -> int:
        """The number of the write that must be durable before the code may go on; 0 when there is room."""
        if len(self._sizes) < MAX_WRITES and self._bytes < MAX_BYTES:
            return 0
        with self._lock:
            needed = self._sent - MAX_WRITES + 1
            room, number = MAX_BYTES, self._sent
            for size in reversed(self._sizes):
                room -= size
                if room <= 0:
                    break
                number -= 1
            return max(needed, number)

    def when_stored(self, number: int, wake: Callable[[], None]) -> None:
        """Has `wake` called once that many writes are durable, or the code is asked to stop."""
        with self._lock:
            if number > self._stored and self.stopped is None:
                heapq.heappush(self._waiting, (number, id(wake), wake))
                return
        wake()

    def when_replied(self, call: StoreCall, wake: Callable[[StoreReply | None], None]) -> None:
        """Sends a store call numbered by `next_call`, and has `wake` called with its reply; with None where a `Stop`
        comes first."""
        with self._lock:
            dropped = self.stopped == "lost"
            if not dropped:
                self._replies[call.call] = wake
        if dropped:
            wake(None)
        else:
            self._engine.post(self._to_engine, call)

    def next_call(self) -> int:
        """The number for another store call."""
        with self._lock:
            self._calls += 1
            return self._calls

    # what the engine sends

    def deliver(self, message: ToAgent) -> None:
        """Takes a message of the engine; called in the lane's loop."""
        if isinstance(message, Stored):
            for wake in self._now_stored(message.count):
                wake()
        elif isinstance(message, StoreReply):
            with self._lock:
                answer = self._replies.pop(message.call, None)
            if answer is not None:
                answer(message)
        elif not self._ended:
            self._stop(message)

    def _now_stored(self, count: int) -> list[Callable[[], None]]:
        woken: list[Callable[[], None]] = []
        with self._lock:
            self._stored += count
            for _ in range(min(count, len(self._sizes))):
                self._bytes -= self._sizes.popleft()
            while self._waiting and self._waiting[0][0] <= self._stored:
                woken.append(heapq.heappop(self._waiting)[2])
        return woken

    def _stop(self, message: Stop) -> None:
        with self._lock:
            first, self.stopped = self.stopped is None, message.reason
            woken = [wake for _, _, wake in self._waiting]
            answers = list(self._replies.values())
            self._waiting.clear()
            self._replies.clear()
        for wake in woken:
            wake()
        for answer in answers:
            answer(None)
        if first and self.on_stop is not None:
            self.on_stop()


def _drop(_: FromAgent) -> None:
    """Where messages of code go that has ended."""


class ThreadInvocation:
    """The engine's end of one attempt. Used in the engine's loop only."""

    __slots__ = ("_gone", "_lane", "_messages", "_reader", "end")

    def __init__(self, lane: Lane, engine: Bridge, gone: Callable[[ThreadInvocation], None]) -> None:
        self.end = AgentEnd(lane.loop, lane.crew, engine, self._arrive)
        self._lane = lane
        self._gone = gone
        self._messages: list[FromAgent] = []
        self._reader: asyncio.Future[None] | None = None

    @property
    def lane(self) -> Lane:
        return self._lane

    async def receive(self) -> list[FromAgent]:
        """All messages that wait, in order; waits for the first. `Ended` is the last one ever."""
        while not self._messages:
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        messages, self._messages = self._messages, []
        return messages

    def send(self, message: ToAgent) -> None:
        """Never blocks; a message to code that has ended is dropped."""
        self._lane.bridge.post(self.end.deliver, message)

    def _arrive(self, message: FromAgent) -> None:
        self._messages.append(message)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if isinstance(message, Ended):
            self._gone(self)


class Lane:
    """A thread with an event loop, on which the code of many attempts takes turns."""

    def __init__(self, name: str, crew: Crew) -> None:
        self.loop = asyncio.new_event_loop()
        self.bridge = Bridge(self.loop)
        self.crew = crew
        self.load = 0
        """Attempts that execute here; counted in the engine's loop."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        blocking = ThreadPoolExecutor(BLOCKING_CALLS, thread_name_prefix=f"{self._thread.name}-blocking")
        self.loop.set_default_executor(blocking)
        while not self._closing:
            try:
                self.loop.run_forever()
            except BaseException as error:
                # A task that user code made may raise SystemExit: asyncio lets it through the loop. It ends
                # whoever awaits that task, not the other runs of this lane.
                say("exit raised in a task of an agent", kind=type(error).__name__)
        blocking.shutdown(wait=False)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def close(self) -> None:
        """Ends the thread after what it is doing."""
        self.bridge.post(self._close, None)

    def _close(self, _: None) -> None:
        self._closing = True
        self.loop.stop()

    def join(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()


class ThreadHost:
    """Runs agents on `threads` lanes of this process. The lanes start with the first run.

    The engine's loop is the one in which `run` is called.
    """

    def __init__(self, threads: int = 2) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}: must be 1 or more")
        self._threads = threads
        self._lanes: list[Lane] = []
        self._crew = Crew()
        self._turn = 0
        self._engine: tuple[asyncio.AbstractEventLoop, Bridge] | None = None
        self._running: set[ThreadInvocation] = set()
        self._idle: asyncio.Event | None = None
        self._switch_interval: float | None = None
        self._closed = False

    def run(self, agent: LoadedAgent, start: Start) -> ThreadInvocation:
        """Begins an attempt. Never raises for what the agent's code does: that arrives as `Ended`."""
        if not self._lanes:
            self._start()
        loop = asyncio.get_running_loop()
        if self._engine is None or self._engine[0] is not loop:
            self._engine = (loop, Bridge(loop))
        lane = self._freest()
        lane.load += 1
        invocation = ThreadInvocation(lane, self._engine[1], self._gone)
        self._running.add(invocation)
        executable = cast(Executable, agent)
        lane.bridge.post(lambda end: executable.begin(start, end), invocation.end)
        return invocation

    async def close(self, grace: float) -> bool:
        """Asks all code to stop and ends the threads; whether all code had ended within `grace` seconds.

        Threads whose code does not end stay: they are daemons and go with the process.
        """
        self._closed = True
        for invocation in self._running:
            if invocation.end.stopped is None:
                invocation.send(Stop("drain"))
        if self._running:
            self._idle = asyncio.Event()
            try:
                await asyncio.wait_for(self._idle.wait(), grace)
            except TimeoutError:
                say("agents have not stopped", attempts=len(self._running), grace=grace)
        for lane in self._lanes:
            if lane.load == 0:
                lane.close()
        joins = [asyncio.to_thread(lane.join, 1.0) for lane in self._lanes if lane.load == 0]
        await asyncio.gather(*joins)
        self._crew.close()
        if self._switch_interval is not None:
            sys.setswitchinterval(self._switch_interval)
            self._switch_interval = None
        return not self._running

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("this host has been closed")
        if sys.getswitchinterval() > SWITCH_INTERVAL:
            self._switch_interval = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL)
        self._lanes = [Lane(f"runyard-agents-{number}", self._crew) for number in range(1, self._threads + 1)]
        self._last = self._lanes[0]

    def _freest(self) -> Lane:
        """The lane with the least load, in turn among equals; one whose code blocks it only if all do.

        Runs that begin together go to one lane, at one wake-up: the last one, while it has not come round yet.
        """
        waits = self._last.bridge.waits_for()
        if 0.0 < waits < STUCK_AFTER:
            return self._last
        self._turn += 1
        turn = self._turn % len(self._lanes)
        lanes = self._lanes[turn:] + self._lanes[:turn]
        free = [lane for lane in lanes if lane.bridge.waits_for() <= STUCK_AFTER] or lanes
        self._last = min(free, key=_load)
        return self._last

    def _gone(self, invocation: ThreadInvocation) -> None:
        invocation.lane.load -= 1
        self._running.discard(invocation)
        if self._idle is not None and not self._running:
            self._idle.set()


def _load(lane: Lane) -> int:
    return lane.load
