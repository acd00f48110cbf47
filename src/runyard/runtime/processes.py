"""The Channel between the engine and agents that run in processes of their own.

    engine's process                                     agents' process (child.py)
      ProcessHost -- ProcessInvocation.send -- Link ----> ThreadHost: lanes, as in the engine's own process
      ProcessInvocation.receive <------------- Link ----- what their code tells

Code that ends its process (a crash of native code, the system that is out of memory, `os._exit`) ends what executes
there and nothing else: those attempts are lost, and another process takes its place. A process whose engine has gone
ends at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping

from runyard.errors import Unavailable
from runyard.runtime import packets
from runyard.runtime.contract import (
    PROCESS_LOST,
    Ended,
    FromAgent,
    Injected,
    LoadedAgent,
    Start,
    Stop,
    StoreAnswer,
    ToAgent,
)
from runyard.runtime.inbox import Inbox
from runyard.runtime.index import Index
from runyard.runtime.inside import ServerAnswer, ServerPiece
from runyard.runtime.packets import (
    FromProcess,
    Ready,
    ServerGave,
    ServerStoreAsked,
    ServerStoreGave,
    ServerUnwanted,
    ServerWanted,
    Setup,
    Unable,
)
from runyard.runtime.process import AgentProcess, Spawned, how_it_ended, spawn
from runyard.telemetry import say

STEADY = 10.0
"""Seconds after which a process that ends has not ended at once."""
FIRST_PAUSE = 0.1
"""Seconds before another one is started where two in a row have ended at once; doubled with each more."""
LONGEST_PAUSE = 10.0
MOST_APART = 4
"""Processes that may be started beside the others, each for one attempt that is to have one to itself."""


class ProcessInvocation(Inbox):
    """The engine's end of one attempt. Used in the engine's loop only."""

    __slots__ = (
        "_host", "_injected", "_placing", "_stop", "agent_id", "ended", "number", "process", "start", "written_off",
    )  # fmt: skip

    def __init__(self, host: ProcessHost, number: int, agent_id: str, start: Start) -> None:
        super().__init__()
        self.number = number
        self.agent_id = agent_id
        self.start: Start | None = start
        """What it begins with; None when that has been sent."""
        self.process: AgentProcess | None = None
        """Where it executes; None while it waits in line."""
        self.ended = False
        self.written_off = False
        """Whether the engine has given it up, since its code did not stop when it was told to."""
        self._host = host
        self._stop: Stop | None = None
        self._injected: list[Injected] = []
        """Those that came before it had a process."""
        self._placing: asyncio.Future[None] | None = None

    def send(self, message: ToAgent) -> None:
        """Never blocks; a message to code that has ended is dropped."""
        if self.ended:
            return
        if isinstance(message, Stop):
            self.written_off = self._stop is not None and message.reason == "lost"
            self._stop = message
        if self.process is not None:
            self.process.send(packets.to_agent(self.number, message))
            if self.written_off:
                self._host.free(self.process)
        elif self._stop is not None:
            self.arrive(Ended("stopped"))
        elif isinstance(message, Injected):
            self._injected.append(message)

    async def placed(self) -> None:
        """Returns when it has a process, or has ended without one."""
        if self.process is None and not self.ended:
            self._placing = asyncio.get_running_loop().create_future()
            await self._placing

    @property
    def stopped(self) -> bool:
        """Whether a `Stop` has been sent."""
        return self._stop is not None

    def begin(self, process: AgentProcess) -> None:
        """Has it begin there."""
        assert self.start is not None
        self.process = process
        start, self.start = self.start, None
        self._now_placed()
        try:
            process.send(packets.begin(self.number, start))
            for message in self._injected:
                process.send(packets.to_agent(self.number, message))
        except Exception as error:  # a value in it that msgpack does not have
            self.arrive(Ended("failed", code="internal_error", message=f"{type(error).__name__}: {error}"))

    def arrive(self, message: FromAgent) -> None:
        """Its code tells something."""
        if self.ended:
            return
        self.put(message)
        if isinstance(message, Ended):
            self.ended = True
            self._now_placed()
            self._host.over(self)

    def lose(self, why: str) -> None:
        """Its process is no more, and its code with it."""
        if self.stopped:
            self.arrive(Ended("stopped"))
            return
        message = f"the process in which the code ran ended ({why}), by code of this agent or of another"
        self.arrive(Ended("failed", code=PROCESS_LOST, message=message))

    def _now_placed(self) -> None:
        if self._placing is not None and not self._placing.done():
            self._placing.set_result(None)


def pause_after(quick: int) -> float:
    """Seconds before another process is started where so many in a row have ended at once."""
    return 0.0 if quick < 2 else min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (min(quick, 20) - 2))


class ProcessHost:
    """Runs agents in so many child processes, which load them from the same targets.

    They start with `start` or the first run. The engine's loop is the one of that call.
    """

    def __init__(self, processes: int, setup: Setup) -> None:
        if processes < 1:
            raise ValueError(f"processes is {processes}: must be 1 or more")
        self._wanted = processes
        self._setup = setup
        self._agents: Mapping[str, str] | None = None
        self._spawned: deque[Spawned] = deque()
        self._answer: StoreAnswer | None = None
        self._answering: set[asyncio.Task[None]] = set()
        self._serve: ServerAnswer | None = None
        self._serving: dict[tuple[AgentProcess, int], asyncio.Task[None]] = {}
        """The requests of code that are being answered, by the process and its number for each."""
        self._on: dict[AgentProcess, set[ProcessInvocation]] = {}
        """The processes, with what executes on each."""
        self._attempts: dict[int, ProcessInvocation] = {}
        self._line: deque[ProcessInvocation] = deque()
        """Attempts for which there is no process yet."""
        self._apart: dict[AgentProcess, ProcessInvocation] = {}
        """Processes that are there for one attempt."""
        self._number = 0
        self._started = 0
        self._quick = 0
        """Processes in a row that have ended at once."""
        self._why = ""
        """How the last of them ended."""
        self._pauses: set[asyncio.TimerHandle] = set()
        self._idle: asyncio.Event | None = None
        self._closed = False

    def spawn(self) -> None:
        """Starts the processes before there is a loop: they load their agents while the server loads its own."""
        with contextlib.suppress(OSError):  # `start` tries again, and says it
            while len(self._spawned) < self._wanted:
                self._spawned.append(spawn(self._setup))

    def expect(self, agents: Mapping[str, str]) -> None:
        """Says which agents, by ids and versions, the engine goes by."""
        self._agents = agents

    def attach(self, answer: StoreAnswer, index: Index | None) -> None:
        """Gives it what answers calls of stores that belong to no attempt. Its processes have an index of their own."""
        self._answer = answer

    def attach_server(self, answer: ServerAnswer) -> None:
        """Gives it what answers requests of code to the server."""
        self._serve = answer

    def start(self) -> None:
        """Starts the processes; attempts wait for them."""
        while not self._closed and len(self._on) - len(self._apart) + len(self._pauses) < self._wanted:
            if self._launch() is None:
                self._launch_later()

    @property
    def trouble(self) -> str | None:
        """Why no attempt can begin now; None where one can."""
        if self._freest() is not None:
            return None
        if self._quick > 1:
            return f"no process of agents stays: the last one ended ({self._why})"
        return "the processes of agents are starting"

    def run(self, agent: LoadedAgent, start: Start) -> ProcessInvocation:
        """Begins an attempt. Never raises for what the agent's code does: that arrives as `Ended`."""
        if self._closed:
            raise RuntimeError("this host has been closed")
        self.start()
        self._number += 1
        invocation = ProcessInvocation(self, self._number, agent.agent.agent_id, start)
        self._attempts[invocation.number] = invocation
        apart = self._launch() if start.apart and len(self._apart) < MOST_APART else None
        if apart is None:
            self._place(invocation)
        else:
            self._apart[apart] = invocation
        return invocation

    async def close(self, grace: float) -> bool:
        """Asks all code to stop and ends the processes; whether all code had ended within `grace` seconds.

        A process whose code does not end is killed.
        """
        self._closed = True
        for pause in self._pauses:
            pause.cancel()
        for invocation in tuple(self._attempts.values()):
            if not invocation.stopped:
                invocation.send(Stop("drain"))
        if self._attempts:
            self._idle = asyncio.Event()
            try:
                await asyncio.wait_for(self._idle.wait(), grace)
            except TimeoutError:
                say("agents have not stopped", attempts=len(self._attempts), grace=grace)
        ended = not self._attempts
        processes = list(self._on)
        for process in processes:
            if process.state == "ready" and not self._on[process]:
                process.close()
            elif process.state != "closing":
                process.kill()
        for process in processes:
            await process.over.wait()
        return ended

    # where attempts execute

    def _place(self, invocation: ProcessInvocation) -> None:
        process = self._freest()
        if process is None:
            self._line.append(invocation)
        else:
            self._begin(invocation, process)

    def _freest(self) -> AgentProcess | None:
        ready = [process for process in self._on if process.state == "ready" and process not in self._apart]
        return min(ready, key=lambda process: len(self._on[process]), default=None)

    def _begin(self, invocation: ProcessInvocation, process: AgentProcess) -> None:
        if not invocation.ended:
            self._on[process].add(invocation)
            invocation.begin(process)

    def over(self, invocation: ProcessInvocation) -> None:
        """An attempt has ended."""
        self._attempts.pop(invocation.number, None)
        process = invocation.process
        if process is not None and process in self._on:
            self._on[process].discard(invocation)
            if process in self._apart:
                process.close()
            else:
                self.free(process)
        if self._idle is not None and not self._attempts:
            self._idle.set()

    def free(self, process: AgentProcess) -> None:
        """Ends a process in which nothing executes any more but code that was given up."""
        running = self._on[process]
        if process.state == "ready" and running and all(invocation.written_off for invocation in running):
            say("process killed", process=process.name, pid=process.pid, attempts=len(running))
            process.kill()

    # the processes

    def _launch(self) -> AgentProcess | None:
        self._started += 1
        name = f"runyard-agents-{self._started}"
        try:
            spawned = self._spawned.popleft() if self._spawned else spawn(self._setup)
        except OSError as error:
            self._quick += 1
            self._why = str(error)
            say("process does not start", process=name, why=self._why)
            return None
        process = AgentProcess(name, spawned, asyncio.get_running_loop(), self._heard, self._ended)
        self._on[process] = set()
        return process

    def _launch_later(self) -> None:
        """After a pause, where processes end at once."""
        if self._closed:
            return
        pause: asyncio.TimerHandle

        def launch() -> None:
            self._pauses.discard(pause)
            self.start()

        pause = asyncio.get_running_loop().call_later(pause_after(self._quick), launch)
        self._pauses.add(pause)

    def _heard(self, process: AgentProcess, packet: FromProcess) -> None:
        if isinstance(packet, Ready):
            self._now_ready(process, packet)
        elif isinstance(packet, ServerStoreAsked):
            task = asyncio.get_running_loop().create_task(self._serve_store(process, packet))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif isinstance(packet, ServerWanted):
            self._begin_serving(process, packet)
        elif isinstance(packet, ServerUnwanted):
            serving = self._serving.get((process, packet.call))
            if serving is not None:
                serving.cancel()
        elif not isinstance(packet, Unable):
            invocation = self._attempts.get(packet.number)
            if invocation is not None and invocation.process is process:
                invocation.arrive(packets.message_from_agent(packet))

    def _now_ready(self, process: AgentProcess, packet: Ready) -> None:
        if process.state != "starting":
            return
        process.state = "ready"
        say("process ready", process=process.name, pid=process.pid)
        if self._agents is not None and packet.agents != self._agents:
            known = {agent_id for agent_id, version in self._agents.items() if packet.agents.get(agent_id) == version}
            changed = sorted((self._agents.keys() | packet.agents.keys()) - known)
            say("process has other agents", process=process.name, agents=changed)
        if process in self._apart:
            self._begin_apart(process)
            return
        line, self._line = self._line, deque()
        for invocation in line:
            self._place(invocation)

    def _begin_apart(self, process: AgentProcess) -> None:
        self._begin(self._apart[process], process)
        if not self._on[process]:
            process.close()

    def _ended(self, process: AgentProcess) -> None:
        lost, apart = self._on.pop(process), self._apart.pop(process, None)
        for (asker, _), serving in tuple(self._serving.items()):
            if asker is process:
                serving.cancel()
        closing, why = process.state == "closing", how_it_ended(process)
        if not closing:
            say("process ended", process=process.name, pid=process.pid, why=why, attempts=len(lost))
        for invocation in lost:
            invocation.lose("it was killed" if closing else why)
        if apart is not None:
            if not apart.ended:  # it had not begun: let it begin elsewhere
                self._place(apart)
            return
        if not closing:
            at_once = process.state == "starting" or time.monotonic() - process.started_at < STEADY
            self._quick, self._why = self._quick + 1 if at_once else 0, why
        self._launch_later()

    # the server

    def _begin_serving(self, process: AgentProcess, packet: ServerWanted) -> None:
        key = process, packet.call

        def tell(piece: ServerPiece) -> None:
            process.send(ServerGave(packet.call, piece))

        async def serve() -> None:
            try:
                if self._serve is None:
                    raise Unavailable("this server answers no requests")
                await self._serve(packet.owner, packet.request, tell)
            except Exception as error:  # without a last piece the code would wait for ever
                tell(ServerPiece(last=True, error=f"{type(error).__name__}: {error}"))
            finally:
                self._serving.pop(key, None)

        self._serving[key] = asyncio.get_running_loop().create_task(serve())

    # the server's store

    async def _serve_store(self, process: AgentProcess, packet: ServerStoreAsked) -> None:
        assert self._answer is not None, "the host of an engine is given its store"
        process.send(ServerStoreGave(packet.call, await self._answer(packet.owner, packet.wanted)))
