"""The Channel between the engine and agents that run on event-loop threads of the same process.

    engine's loop                                   lanes: threads with a loop each
      ThreadInvocation.send -- Bridge (lane) ------> AgentEnd.deliver
      ThreadInvocation.receive <-- Bridge (engine) -- AgentEnd.write, .call, .finish      (also from worker threads)

Nothing but plain data crosses. A lane that user code blocks delays the asynchronous code that has begun on it, and
nothing else: attempts that have not begun are taken to another lane, which is started where there is none.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, cast, overload

from runyard.runtime.bridge import Bridge
from runyard.runtime.contract import (
    LANE_LOST,
    Ended,
    FromAgent,
    Injected,
    LoadedAgent,
    Start,
    StateCall,
    StateReply,
    Stop,
    StoreAnswer,
    StoreCall,
    Stored,
    StoreReply,
    ToAgent,
    Write,
)
from runyard.runtime.crew import Crew
from runyard.runtime.inbox import Inbox
from runyard.runtime.index import Index
from runyard.runtime.injected import Mailbox
from runyard.runtime.lane import Lane
from runyard.telemetry import say

MAX_WRITES = 1024
"""Writes of an attempt that may wait to be durable before its code waits."""
MAX_BYTES = 1_000_000
"""The same in bytes of event data."""
STUCK_AFTER = 0.02
"""Seconds after which a lane that has not answered a wake-up counts as blocked by its code."""
SWITCH_INTERVAL = 0.0005
"""Seconds after which a computing agent yields the interpreter: a request then waits about 1 ms for it, not 5."""
BLOCKED_AFTER = 0.25
"""The same, after which another lane is started where there is no other, and attempts that have not begun go there."""
SPARE_LANES = 32
"""How many lanes may be started beside blocked ones; then attempts wait in line until a lane goes on."""
PATROL = 0.1
"""Seconds between looks at attempts that have not begun; there are none when all have."""


class Executable(LoadedAgent, Protocol):
    """A loaded agent that lanes can execute."""

    def begin(self, start: Start, end: AgentEnd) -> None:
        """Begins an attempt: called in the lane's loop, must not block nor raise. Its code begins with `end.take()`,
        and only when that is true; then it sees to it that `end.finish` is called exactly once."""
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
        "_ticket",
        "_to_engine",
        "_waiting",
        "crew",
        "direct",
        "disturbed_by",
        "index",
        "loop",
        "mailbox",
        "on_stop",
        "run_id",
        "stopped",
        "threads",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        crew: Crew,
        engine: Bridge,
        to_engine: Callable[[FromAgent], None],
        run_id: str,
        index: Index | None = None,
    ) -> None:
        self.loop = loop
        self.index = index
        """What makes vectors of texts, where the store has an index of meanings."""
        self.crew = crew
        self.run_id = run_id
        self.disturbed_by = ""
        """The run whose code cancelled a task of this one; empty where none did."""
        self.threads: set[Future[Any]] = set()
        """What its code has given to other threads and is not done."""
        self.mailbox = Mailbox()
        """Messages that were put into the run and that its code has not taken."""
        self.direct = False
        """Whether the code waits in a thread of its own: the engine's loop then calls `deliver`, so that a lane which
        other code blocks does not matter to it."""
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
        self._replies: dict[int, Callable[[Any], None]] = {}
        self._calls = 0
        self._ticket = [True]
        """Whoever takes it, in one step, says what comes of the attempt: its code that begins, or the engine."""

    # who begins

    def take(self) -> bool:
        """Says that the code begins now; False when the attempt has been taken to another lane meanwhile."""
        try:
            return self._ticket.pop()
        except IndexError:
            return False

    @property
    def begun(self) -> bool:
        return not self._ticket

    def retract(self) -> bool:
        """Sees to it that the code does not begin here; False when it has begun."""
        if not self.take():
            return False
        with self._lock:
            self._ended = True
            self._to_engine = _drop
            self.on_stop = None
        return True

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
        """Sends the last message; a second call does nothing. Who of the code still waits for a reply gets none."""
        for answer in self._finish(ended):
            answer(None)
        self.mailbox.rouse()

    def _finish(self, ended: Ended) -> list[Callable[[Any], None]]:
        with self._lock:
            if self._ended:
                return []
            self._ended = True
            self._engine.post(self._to_engine, ended)
            # The two ends, and the code's task, would else hold each other until a collection.
            self._to_engine = _drop
            self.on_stop = None
            answers = list(self._replies.values())
            self._replies.clear()
        return answers

    def lose(self, ended: Ended) -> None:
        """Ends the attempt from the engine's side, and whatever of its code still waits."""
        try:
            self.finish(ended)
            self._stop(Stop("lost"))
        except RuntimeError:
            say("code waits in a closed event loop", run_id=self.run_id)

    # what the code waits for

    async def threads_end(self) -> None:
        """Waits until no thread does anything for the code any more."""
        while self.threads:
            await asyncio.wait([asyncio.wrap_future(call) for call in tuple(self.threads)])

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

    @overload
    def when_replied(self, call: StoreCall, wake: Callable[[StoreReply | None], None]) -> None: ...
    @overload
    def when_replied(self, call: StateCall, wake: Callable[[StateReply | None], None]) -> None: ...
    def when_replied(self, call: StoreCall | StateCall, wake: Callable[[Any], None]) -> None:
        """Sends a call numbered by `next_call`, and has `wake` called with its reply; with None where a `Stop` or the
        attempt's end comes first."""
        with self._lock:
            dropped = self._ended or self.stopped == "lost"
            if not dropped:
                self._replies[call.call] = wake
        if dropped:
            wake(None)
        else:
            self._engine.post(self._to_engine, call)

    def next_call(self) -> int:
        """The number for another call."""
        with self._lock:
            self._calls += 1
            return self._calls

    # what the engine sends

    def deliver(self, message: ToAgent) -> None:
        """Takes a message of the engine; called in the lane's loop, or (`direct`) in the engine's."""
        if isinstance(message, Stored):
            for wake in self._now_stored(message.count):
                wake()
        elif isinstance(message, StoreReply | StateReply):
            with self._lock:
                answer = self._replies.pop(message.call, None)
            if answer is not None:
                answer(message)
        elif isinstance(message, Injected):
            self.mailbox.put([message])
        elif not self._ended:
            self._stop(message)

    def note_stored(self, count: int) -> bool:
        """Takes so many writes as durable; whether somebody waits for that, and is to be woken by `deliver`. Safe from
        the engine's thread: a lane need not be woken for what nobody there waits for."""
        with self._lock:
            self._count_stored(count)
            return bool(self._waiting) and self._waiting[0][0] <= self._stored

    def _count_stored(self, count: int) -> None:
        self._stored += count
        for _ in range(min(count, len(self._sizes))):
            self._bytes -= self._sizes.popleft()

    def _now_stored(self, count: int) -> list[Callable[[], None]]:
        woken: list[Callable[[], None]] = []
        with self._lock:
            self._count_stored(count)
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
        self.mailbox.rouse()
        if first and self.on_stop is not None:
            self.on_stop()


def _drop(_: FromAgent) -> None:
    """Where messages of code go that has ended."""


class ThreadInvocation(Inbox):
    """The engine's end of one attempt. Used in the engine's loop only."""

    __slots__ = ("_agent", "_engine", "_gone", "_heard", "_index", "_injected", "_start", "_stop", "end", "lane")

    def __init__(
        self,
        agent: Executable,
        start: Start,
        engine: Bridge,
        gone: Callable[[ThreadInvocation], None],
        heard: Callable[[FromAgent], None] | None,
        index: Index | None,
    ) -> None:
        super().__init__()
        self._index = index
        self.lane: Lane | None = None
        """Where it executes, or is to begin; None while it waits in line."""
        self.end: AgentEnd | None = None
        self._agent = agent
        self._start = start
        self._engine = engine
        self._gone = gone
        self._heard = heard
        """None: what comes is put into the inbox. A method of its own would hold it until a collection."""
        self._stop: Stop | None = None
        self._injected: list[Injected] = []
        """Those that came before its code began: where it begins is not certain till then."""

    def send(self, message: ToAgent) -> None:
        """Never blocks; a message to code that has ended is dropped."""
        if isinstance(message, Stop):
            self._stop = message
        elif isinstance(message, Injected) and not self.begun:
            self._injected.append(message)
        if self.lane is None or self.end is None:
            if self._stop is not None:
                self._arrive(Ended("stopped"))
        elif self.end.direct:
            self.end.deliver(message)
        elif isinstance(message, Stored):
            if self.end.note_stored(message.count):
                self.lane.bridge.post(self.end.deliver, Stored(0))
        else:
            self.lane.bridge.post(self.end.deliver, message)

    async def placed(self) -> None:
        """Returns at once: a lane is never far."""

    @property
    def stopped(self) -> bool:
        """Whether a `Stop` has been sent."""
        return self._stop is not None

    # where it executes

    def place(self, lane: Lane) -> None:
        """Has it begin on a lane."""
        lane.load += 1
        self.lane = lane
        self.end = AgentEnd(lane.loop, lane.crew, self._engine, self._arrive, self._start.run.run_id, self._index)
        lane.bridge.post(self._begin, self.end)
        for message in self._injected:
            lane.bridge.post(self.end.deliver, message)
        if self._stop is not None:
            lane.bridge.post(self.end.deliver, self._stop)

    def _begin(self, end: AgentEnd) -> None:
        self._agent.begin(self._start, end)

    def withdraw(self) -> bool:
        """Takes it from its lane, unless its code has begun; whether it did."""
        if self.lane is None or self.end is None or not self.end.retract():
            return False
        self.lane.load -= 1
        self.lane = self.end = None
        return True

    @property
    def begun(self) -> bool:
        """Whether its code has begun, or will never."""
        return self.end is not None and self.end.begun

    def lose(self, ended: Ended) -> None:
        """Ends it without its code, which nothing can reach any more."""
        if self.end is not None:
            self.end.lose(ended)

    def _arrive(self, message: FromAgent) -> None:
        if self._heard is None:
            self.put(message)
        else:
            self._heard(message)
        if isinstance(message, Ended):
            self._gone(self)


class ThreadHost:
    """Runs agents on `threads` lanes of this process. The lanes start with the first run; more are started where code
    blocks them, and ended when they are not needed any more.

    The engine's loop is the one in which `run` is called.
    """

    def __init__(self, threads: int = 2) -> None:
        if threads < 1:
            raise ValueError(f"threads is {threads}: must be 1 or more")
        self._threads = threads
        self._lanes: list[Lane] = []
        self._crew = Crew()
        self._turn = 0
        self._started = 0
        self._beginning: deque[ThreadInvocation] = deque()
        """Attempts that had not begun at the last look."""
        self._line: deque[ThreadInvocation] = deque()
        """Attempts for which there is no lane."""
        self._patrol: asyncio.TimerHandle | None = None
        self._engine: tuple[asyncio.AbstractEventLoop, Bridge] | None = None
        self._running: set[ThreadInvocation] = set()
        self._idle: asyncio.Event | None = None
        self._switch_interval: float | None = None
        self._index: Index | None = None
        self._closed = False

    def attach(self, answer: StoreAnswer, index: Index | None) -> None:
        """Gives code what makes vectors for its calls of the store; those are answered by its attempts."""
        self._index = index

    def start(self) -> None:
        """Does nothing: lanes start quickly enough with the first run."""

    @property
    def trouble(self) -> str | None:
        """None: there is always a lane, or one will be started."""
        return None

    def run(
        self, agent: LoadedAgent, start: Start, heard: Callable[[FromAgent], None] | None = None
    ) -> ThreadInvocation:
        """Begins an attempt. Never raises for what the agent's code does: that arrives as `Ended`.

        Where there is `heard`, that is called with each message in the engine's loop, and `receive` gives none.
        """
        if not self._lanes:
            self._start()
        loop = asyncio.get_running_loop()
        if self._engine is None or self._engine[0] is not loop:
            self._engine = (loop, Bridge(loop))
        invocation = ThreadInvocation(cast(Executable, agent), start, self._engine[1], self._gone, heard, self._index)
        self._running.add(invocation)
        self._place(invocation)
        return invocation

    async def close(self, grace: float) -> bool:
        """Asks all code to stop and ends the threads; whether all code had ended within `grace` seconds.

        Threads whose code does not end stay: they are daemons and go with the process.
        """
        self._closed = True
        for invocation in tuple(self._running):
            if not invocation.stopped:
                invocation.send(Stop("drain"))
        if self._running:
            self._idle = asyncio.Event()
            try:
                await asyncio.wait_for(self._idle.wait(), grace)
            except TimeoutError:
                say("agents have not stopped", attempts=len(self._running), grace=grace)
        if self._patrol is not None:
            self._patrol.cancel()
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
        for _ in range(self._threads):
            self._last = self._start_lane()

    def _start_lane(self) -> Lane:
        self._started += 1
        lane = Lane(f"runyard-agents-{self._started}", self._crew, self._died)
        self._lanes.append(lane)
        return lane

    # where attempts execute

    def _place(self, invocation: ThreadInvocation) -> None:
        lane = self._freest()
        if lane is None:
            self._line.append(invocation)
        else:
            invocation.place(lane)
            self._beginning.append(invocation)
        if self._patrol is None and not self._closed:
            self._patrol = asyncio.get_running_loop().call_later(PATROL, self._look_round)

    def _freest(self) -> Lane | None:
        """The lane with the least load, in turn among equals; one that may be blocked only if all may, a new one if all
        are; None when no more may be started.

        Runs that begin together go to one lane, at one wake-up: the last one, while it has not come round yet.
        """
        waits = self._last.bridge.waits_for()
        if 0.0 < waits < STUCK_AFTER:
            return self._last
        self._turn += 1
        turn = self._turn % len(self._lanes)
        lanes = self._lanes[turn:] + self._lanes[:turn]
        free = [lane for lane in lanes if lane.bridge.waits_for() <= STUCK_AFTER]
        free = free or [lane for lane in lanes if lane.bridge.waits_for() <= BLOCKED_AFTER]
        if free:
            self._last = min(free, key=_load)
        elif len(self._lanes) < self._threads + SPARE_LANES and not self._closed:
            self._last = self._start_lane()
        else:
            return None
        return self._last

    def _look_round(self) -> None:
        """Takes attempts that have not begun from lanes that are blocked, and those in line to lanes that are not."""
        self._patrol = None
        for lane in self._lanes:
            self._tell_blocked(lane, lane.bridge.waits_for() > BLOCKED_AFTER)
        waiting, self._line = self._line, deque()
        beginning, self._beginning = self._beginning, deque()
        for invocation in beginning:
            lane = invocation.lane
            if invocation.begun or lane is None:
                continue
            if lane.told_blocked and invocation.withdraw():
                waiting.append(invocation)
            else:
                # A lane may have taken it up and be blocked since: what is posted now would show that.
                lane.bridge.post(_do_nothing, None)
                self._beginning.append(invocation)
        for invocation in waiting:
            if invocation in self._running:
                self._place(invocation)
        self._end_spare_lanes()
        if self._patrol is None and (self._beginning or len(self._lanes) > self._threads) and not self._closed:
            self._patrol = asyncio.get_running_loop().call_later(PATROL, self._look_round)

    def _tell_blocked(self, lane: Lane, blocked: bool) -> None:
        if blocked and not lane.told_blocked:
            say("lane blocked", lane=lane.name, by=lane.occupied_by())
            others = [other for other in self._lanes if other is not lane and not other.told_blocked]
            if not others and len(self._lanes) >= self._threads + SPARE_LANES:
                say("all lanes blocked", lanes=len(self._lanes))
        elif lane.told_blocked and not blocked:
            say("lane goes on", lane=lane.name)
        lane.told_blocked = blocked

    def _end_spare_lanes(self) -> None:
        open_ = [lane for lane in self._lanes if not lane.told_blocked]
        for lane in [lane for lane in open_ if lane.load == 0][: max(0, len(open_) - self._threads)]:
            lane.close()
            self._lanes.remove(lane)
            if lane is self._last:
                self._last = self._lanes[0]

    # ends

    def _gone(self, invocation: ThreadInvocation) -> None:
        if invocation.lane is not None:
            invocation.lane.load -= 1
        self._running.discard(invocation)
        if self._idle is not None and not self._running:
            self._idle.set()

    def _died(self, lane: Lane) -> None:
        """Called in the thread of a lane whose loop cannot go on."""
        if self._engine is not None:
            self._engine[1].post(self._bury, lane)

    def _bury(self, lane: Lane) -> None:
        """Ends what executed on a lane that is no more, and puts another in its place."""
        self._lanes.remove(lane)
        if not self._closed and len(self._lanes) < self._threads:
            self._start_lane()
        if lane is self._last and self._lanes:
            self._last = self._lanes[0]
        lost = Ended(
            "failed",
            code=LANE_LOST,
            message=f"the event loop on which the code ran ({lane.name}) was closed under it, by code of this agent or "
            "of another",
        )
        for invocation in [running for running in self._running if running.lane is lane]:
            if not self._closed and invocation.withdraw():
                self._place(invocation)
            else:
                invocation.lose(lost)


def _load(lane: Lane) -> int:
    return lane.load


def _do_nothing(_: None) -> None:
    """What is posted to see whether a lane comes round."""
