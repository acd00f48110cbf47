"""A process in which agents run: `python -m runyard.runtime.child FD`, started by the engine's process alone.

It hears of everything by the socket that it was given as FD, and lives no longer than whoever holds the other end.
Signals that a terminal or a service manager sends to all processes are left to the engine, which drains first.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

from runyard.errors import RunyardError, Unavailable
from runyard.logs import configure_logging
from runyard.runtime import packets
from runyard.runtime.channel import ThreadHost, ThreadInvocation
from runyard.runtime.contract import (
    Ended,
    FromAgent,
    LoadedAgent,
    StateCall,
    StateReply,
    Stop,
    StoreCall,
    StoreReply,
    UsesStore,
)
from runyard.runtime.index import Index
from runyard.runtime.inside import ServerPiece, ServerRequest, UsesServer
from runyard.runtime.lane import new_event_loop
from runyard.runtime.link import HEAD, Link, framed
from runyard.runtime.load import load_index, load_targets
from runyard.runtime.packets import (
    Begin,
    Close,
    FromProcess,
    Ready,
    ServerGave,
    ServerStoreAsked,
    ServerStoreGave,
    ServerUnwanted,
    ServerWanted,
    Setup,
    ToProcess,
    Unable,
    read_to_process,
)

_SIGKILL_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux."""


class AgentSide:
    """What the engine's process talks to."""

    def __init__(
        self, sock: socket.socket, agents: dict[str, LoadedAgent], threads: int, index: Index | None = None
    ) -> None:
        self._agents = agents
        self._index = index
        self._host = ThreadHost(threads)
        self._attempts: dict[int, ThreadInvocation] = {}
        self._link: Link[FromProcess, ToProcess] = Link(sock, read_to_process, self._hear, _end_now)
        self._calls: dict[int, asyncio.Future[StoreReply]] = {}
        self._requests: dict[int, Callable[[ServerPiece], None]] = {}
        """Who hears of the answers to requests to the server."""
        self._requested = 0
        self._closed = asyncio.Event()

    async def serve(self) -> None:
        """Executes attempts until the engine says that there are no more."""
        self._host.attach(self._ask_server, self._index)
        for loaded in self._agents.values():
            if isinstance(loaded, UsesStore):
                loaded.attach(self._ask_server, self._index)
            if isinstance(loaded, UsesServer):
                loaded.attach_server(self._request)
        self._link.send(Ready({agent_id: loaded.agent.version for agent_id, loaded in self._agents.items()}))
        self._link.attach(asyncio.get_running_loop())
        await self._closed.wait()
        await self._host.close(0)

    def _hear(self, packet: ToProcess) -> None:
        if isinstance(packet, Begin):
            self._begin(packet)
        elif isinstance(packet, ServerStoreGave):
            waiting = self._calls.pop(packet.call, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(packet.reply)
        elif isinstance(packet, ServerGave):
            tell = self._requests.get(packet.call)
            if tell is not None:
                tell(packet.piece)
        elif isinstance(packet, Close):
            self._closed.set()
        elif not isinstance(packet, Setup):
            invocation = self._attempts.get(packet.number)
            if invocation is not None:
                invocation.send(packets.message_to_agent(packet))

    def _begin(self, packet: Begin) -> None:
        number, start = packet.number, packets.start_of(packet)
        loaded = self._agents.get(start.run.agent_id)
        if loaded is None:
            why = f"agent {start.run.agent_id!r} is not among those that its process has loaded: its code has changed"
            self._link.send(packets.from_agent(number, Ended("failed", code="agent_not_found", message=why)))
            return
        self._attempts[number] = self._host.run(loaded, start, lambda message: self._tell(number, message))

    def _tell(self, number: int, message: FromAgent) -> None:
        """Passes on what an attempt's code tells."""
        try:
            self._link.send(packets.from_agent(number, message))
        except Exception as error:  # a value of the code's that is no plain data
            self._refuse(number, message, f"{type(error).__name__}: {error}")
        if isinstance(message, Ended):
            # Of one that ends while `run` has not returned yet there is nothing to forget: nobody is told of it later.
            self._attempts.pop(number, None)

    def _refuse(self, number: int, message: FromAgent, why: str) -> None:
        invocation = self._attempts.get(number)
        if isinstance(message, StoreCall | StateCall):
            refuse = StoreReply if isinstance(message, StoreCall) else StateReply
            if invocation is not None:
                invocation.send(refuse(message.call, error=("not_serialisable", why)))
            return
        self._link.send(packets.from_agent(number, Ended("failed", code="internal_error", message=why)))
        if invocation is not None:
            invocation.send(Stop("lost"))

    async def _ask_server(self, owner: str, call: StoreCall) -> StoreReply:
        if self._closed.is_set():
            raise Unavailable("the server has stopped, and its store with it")
        number = len(self._calls) + 1
        while number in self._calls:
            number += 1
        reply = self._calls[number] = asyncio.get_running_loop().create_future()
        self._link.send(ServerStoreAsked(number, owner, call))
        return await reply

    async def _request(self, owner: str, request: ServerRequest, tell: Callable[[ServerPiece], None]) -> None:
        """As `ServerAnswer`."""
        self._requested += 1
        number, over = self._requested, asyncio.Event()

        def hear(piece: ServerPiece) -> None:
            tell(piece)
            if piece.last:
                over.set()

        self._requests[number] = hear
        try:
            self._link.send(ServerWanted(number, owner, request))
            await over.wait()
        finally:
            del self._requests[number]
            if not over.is_set():
                self._link.send(ServerUnwanted(number))


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    # Handlers, since what is ignored stays ignored in whatever the code starts.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _left_to_the_engine)
    _die_with_parent(sock)
    setup = _read_setup(sock)
    sys.path[:] = setup.path
    faulthandler.enable()  # where native code crashes, the log shows what called it
    configure_logging(cast(Literal["text", "json"], setup.log_format), setup.log_level)
    close_traces = _traces(setup)
    try:
        agents = {loaded.agent.agent_id: loaded for loaded in load_targets(setup.targets, Path(setup.folder))}
        index = load_index(setup.targets, Path(setup.folder))
    except RunyardError as error:
        sock.sendall(framed(Unable(error.message)))
        return
    # As in a server: what was made until now lives as long as the process.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(AgentSide(sock, agents, setup.threads, index).serve())
    close_traces()


def _left_to_the_engine(number: int, frame: Any) -> None:
    """Signals to the group are no wish that the agents end."""


def _die_with_parent(sock: socket.socket) -> None:
    """Has the process end when the engine's does, whatever the code is doing."""
    threading.Thread(target=_watch, args=(sock.fileno(),), name="runyard-watch", daemon=True).start()
    if sys.platform == "linux":
        import ctypes

        # The thread needs the interpreter's lock, which native code may hold for long.
        ctypes.CDLL(None).prctl(_SIGKILL_WITH_PARENT, signal.SIGKILL)


def _watch(descriptor: int) -> None:
    closed = select.poll()
    closed.register(descriptor, getattr(select, "POLLRDHUP", 0))
    while not any(happened & ~select.POLLIN for _, happened in closed.poll()):
        pass
    _end_now()


def _end_now() -> None:
    """Nobody is left to whom anything could be told."""
    os._exit(1)


def _read_setup(sock: socket.socket) -> Setup:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = sock.recv(count - len(data))
            if not piece:
                _end_now()
            data += piece
        return data

    packet = read_to_process(exactly(int.from_bytes(exactly(HEAD), "big")))
    assert isinstance(packet, Setup)
    return packet


def _traces(setup: Setup) -> Callable[[], None]:
    """Has spans of the code sent to where the engine's go; gives what sends the last ones."""
    if not setup.traces:
        return _nothing
    from runyard.traces import Traces

    return Traces(setup.version).close


def _nothing() -> None:
    """What ends traces where there are none."""


if __name__ == "__main__":
    main()
