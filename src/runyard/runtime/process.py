"""A process in which agents run, as the engine's process sees it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal, NamedTuple

from runyard.runtime.link import Link, framed
from runyard.runtime.packets import Close, FromProcess, Setup, ToProcess, Unable, read_from_process

CHILD = "runyard.runtime.child"
EXIT_GRACE = 5.0
"""Seconds in which a process that is told to end may do so in order."""
BUFFER = 1_000_000
"""Bytes that the system holds for either end to read."""


class Spawned(NamedTuple):
    """A process that has been started, and our end of its socket. It ends when that is closed."""

    process: subprocess.Popen[bytes]
    sock: socket.socket


def spawn(setup: Setup) -> Spawned:
    """Starts a process, which begins to load its agents.

    Raises:
        OSError: the system does not let it start.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            command = [sys.executable, "-m", CHILD, str(theirs.fileno())]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),))
        ours.sendall(framed(setup))
    except OSError:
        ours.close()
        raise
    return Spawned(process, ours)


class AgentProcess:
    """One such process, from its start to its end. Used in the engine's loop only."""

    def __init__(
        self,
        name: str,
        spawned: Spawned,
        loop: asyncio.AbstractEventLoop,
        heard: Callable[[AgentProcess, FromProcess], None],
        ended: Callable[[AgentProcess], None],
    ) -> None:
        """`ended` is called when it is no more and all that it has sent was heard."""
        self.name = name
        self.state: Literal["starting", "ready", "closing"] = "starting"
        self.why = ""
        """Why its agents cannot be loaded, where it has said so."""
        self.started_at = time.monotonic()
        self.over = asyncio.Event()
        self._killing: asyncio.TimerHandle | None = None
        self._loop = loop
        self._heard = heard
        self._ended = ended
        self._process = spawned.process
        self._link: Link[ToProcess, FromProcess] = Link(spawned.sock, read_from_process, self._hear, self._cut)
        self._link.attach(loop)
        threading.Thread(target=self._wait, name=f"{name}-wait", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As `subprocess` tells it: negative for a signal; None while it lives."""
        return self._process.returncode

    def send(self, packet: ToProcess) -> None:
        """Never blocks; a packet to a process that has ended is dropped."""
        self._link.send(packet)

    def close(self) -> None:
        """Has it end in order, or be killed after a while; no attempt may execute there."""
        self.state = "closing"
        self._link.send(Close())
        self._killing = self._loop.call_later(EXIT_GRACE, self._process.kill)

    def kill(self) -> None:
        """Has it end now, whatever it does."""
        self.state = "closing"
        self._process.kill()

    def _hear(self, packet: FromProcess) -> None:
        if isinstance(packet, Unable):
            self.why = packet.why
        else:
            self._heard(self, packet)

    def _cut(self) -> None:
        """It closed its end, or sends nonsense: nothing can come of it any more."""
        if self.state != "closing":
            self._process.kill()

    def _wait(self) -> None:
        """In a thread of its own: the socket alone does not tell, since processes that it has made may hold it open."""
        self._process.wait()
        try:
            self._loop.call_soon_threadsafe(self._gone)
        except RuntimeError:
            pass  # the loop is closed: nobody is left to care

    def _gone(self) -> None:
        if self._killing is not None:
            self._killing.cancel()
        self._link.drain()
        self.over.set()
        self._ended(self)


def how_it_ended(process: AgentProcess) -> str:
    """In words, for people."""
    if process.why:
        return process.why
    code = process.exit_code
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {-code}"
