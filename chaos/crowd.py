"""A crowd of readers of event streams in one process: bare sockets behind one selector, no task for each of them.

Every reader looks at all that comes to it: events have to follow each other by their numbers and ids. It knows them by
the payload of the agent `stages`: a number that counts from 0, and the time at which it was emitted.
"""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from chaos.report import Broken

Pace = Literal["fast", "trickle", "still"]
"""How a reader reads: at once; a few bytes now and then; not at all."""

TRICKLE_BYTES = 512
TRICKLE_S = 0.25
SLOW_BUFFER = 4096
"""Bytes that the system keeps for a slow reader, so that the server notices its slowness."""
LOOK_S = 0.05
"""Seconds between two looks at what is waited for."""
TURN = 16
"""Readers that are served before those whose delays are measured have their turn again."""
SOURCES = 8
"""Addresses from which readers come: one has 28,000 ports for a server."""
SPARE_FILES = 500
"""Open files that both processes need beside the connections."""

_FRAME = re.compile(rb'event: (\w+)\n(?:id: (\d+)\n)?data: (?:\{"payload":\{"number":(\d+),"at":(\d+))?', re.MULTILINE)


def make_room(connections: int) -> None:
    """Raises the limit of open files as far as it goes, for this process and those that it starts.

    Raises:
        Broken: that is not far enough.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < connections + SPARE_FILES:
        raise Broken(
            f"overload needs {connections + SPARE_FILES:,} open files for {connections:,} connections, and the limit "
            f"of this machine is {most:,}: raise it (ulimit -Hn), or ask for fewer readers"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (connections + SPARE_FILES if most < 0 else most, most))


class Reader:
    """A client that follows one run, over as many connections as it takes."""

    __slots__ = (
        "after",
        "connections",
        "cut",
        "delays",
        "ended",
        "eof",
        "first",
        "left",
        "number",
        "opened",
        "pace",
        "raw",
        "run_id",
        "socket",
        "tail",
    )

    def __init__(self, run_id: str, *, after: int | None = None, pace: Pace = "fast", number: int | None = 0) -> None:
        self.run_id = run_id
        self.after = after
        """Its cursor: the id of the last event that it has seen; None: it joins live, without one."""
        self.pace: Pace = pace
        self.number = number
        """The number that comes next; None: whatever comes first."""
        self.first: int | None = None
        """The number that came first."""
        self.delays: list[float] | None = None
        """Seconds from an event's making to its arrival, where somebody wants to know."""
        self.socket: socket.socket | None = None
        self.opened = False
        """Whether this connection was answered."""
        self.eof = False
        """Whether this connection was ended by the server."""
        self.cut = False
        """Whether a connection of it was cut."""
        self.ended = False
        """Whether it has seen the end of its run."""
        self.connections = 0
        self.raw = b""
        """What came, and was not looked at yet."""
        self.left = 0
        """How much of a chunk is still to come."""
        self.tail = b""
        """The beginning of an event."""

    def request(self) -> bytes:
        cursor = "" if self.after is None else f"last-event-id: {self.after}\r\n"
        path = f"/runs/{self.run_id}/stream?stream_mode=custom"
        return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{cursor}\r\n".encode()

    def take(self, data: bytes) -> None:
        """Looks at what came.

        Raises:
            Broken: an event is missing, came twice or out of order; or the answer is no stream.
        """
        self.raw += data
        if not self.opened:
            head, found, self.raw = self.raw.partition(b"\r\n\r\n")
            if not found:
                self.raw = head
                return
            if not head.startswith(b"HTTP/1.1 200"):
                raise Broken(f"a reader was answered {(head + self.raw)[:500].decode(errors='replace')}")
            self.opened = True
        text = self.tail + self._body()
        whole = text.rfind(b"\n\n") + 2
        if whole < 2:
            self.tail = text
            return
        self.tail = text[whole:]
        if b"\n: too slow" in text:
            self.cut = True
        now = time.monotonic_ns()
        for name, seq, number, at in _FRAME.findall(text, 0, whole):
            self._event(name, int(seq or 0), number)
            if at and self.delays is not None:
                self.delays.append((now - int(at)) / 1e9)

    def _body(self) -> bytes:
        """What came of the answer's body, without the sizes of its chunks."""
        raw, at = self.raw, 0
        found: list[bytes] = []
        while True:
            if self.left:
                piece = raw[at : at + self.left]
                found.append(piece)
                at += len(piece)
                self.left -= len(piece)
                if self.left:
                    break
            start = at + 2 if raw[at : at + 2] == b"\r\n" else at
            end = raw.find(b"\r\n", start)
            if end < 0:
                break
            self.left = int(raw[start:end], 16)
            at = end + 2
            if not self.left:
                break
        self.raw = raw[at:]
        return found[0] if len(found) == 1 else b"".join(found)

    def _event(self, name: bytes, seq: int, number: bytes) -> None:
        if self.ended:
            raise Broken(f"a reader of run {self.run_id} saw {name.decode()} ({seq}) after the end")
        if seq:
            if self.after is not None and seq <= self.after:
                raise Broken(f"a reader of run {self.run_id} saw event {seq} after event {self.after}")
            self.after = seq
        if number:
            got = int(number)
            if self.number is not None and got != self.number:
                raise Broken(f"a reader of run {self.run_id} was to see number {self.number}, and saw {got}")
            if self.first is None:
                self.first = got
            self.number = got + 1
        elif name == b"end":
            self.ended = True


class Asker:
    """A client that asks something else meanwhile, one request after the other, and notes how long each took."""

    REQUESTS: Sequence[tuple[str, str, Any]] = (
        ("GET", "/info", None),
        ("POST", "/runs/wait", {"agent_id": "echo", "input": 1}),
        ("POST", "/runs/search", {"limit": 5}),
        ("POST", "/threads/search", {"limit": 5}),
    )
    PAUSE_S = 0.02

    def __init__(self) -> None:
        self.took: list[float] = []
        self.socket: socket.socket | None = None
        self.turn = 0
        self.since = 0.0
        self.due = 0.0
        self.text = b""

    def request(self) -> bytes:
        method, path, body = self.REQUESTS[self.turn % len(self.REQUESTS)]
        self.turn += 1
        text = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(text)}\r\n\r\n".encode() + text

    def take(self, data: bytes) -> bool:
        """Whether that was all of the answer.

        Raises:
            Broken: it was refused.
        """
        self.text += data
        head, found, body = self.text.partition(b"\r\n\r\n")
        if not found:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise Broken(f"a request beside the readers was answered {self.text[:500].decode(errors='replace')}")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if length is None or len(body) < int(length[1]):
            return False
        self.text = b""
        return True


class Crowd:
    """All readers of one server, and one client beside them. A `with` block that leaves no connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asker: Asker | None = None
        self._all = selectors.DefaultSelector()
        self._measured = selectors.DefaultSelector()
        self._all.register(self._measured, selectors.EVENT_READ)
        self._here: set[Reader] = set()
        """Readers that have a connection."""
        self._trickling: deque[Reader] = deque()
        self._next_trickle = 0.0
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ask(False)
        self.leave(tuple(self._here))
        self._measured.close()
        self._all.close()

    def join(self, readers: Iterable[Reader]) -> None:
        """Connects them, all at once."""
        for reader in readers:
            self._connect(reader)

    def leave(self, readers: Iterable[Reader]) -> None:
        """They drop their connections."""
        for reader in readers:
            self._leave(reader)

    def hurry(self, readers: Iterable[Reader]) -> None:
        """From now on they read as fast as they can."""
        self._trickling.clear()
        for reader in readers:
            slow, reader.pace = reader.pace != "fast", "fast"
            if slow and reader.opened and reader.socket is not None:
                self._all.register(reader.socket, selectors.EVENT_READ, reader)

    def ask(self, begin: bool) -> None:
        """Begins or ends asking something else meanwhile."""
        if begin:
            self.asker = Asker()
            self.asker.socket = socket.create_connection(("127.0.0.1", self.port))
            self.asker.socket.setblocking(False)
            self._measured.register(self.asker.socket, selectors.EVENT_READ, self.asker)
        elif self.asker is not None and self.asker.socket is not None:
            self._measured.unregister(self.asker.socket)
            self.asker.socket.close()
            self.asker.socket = None

    def until(self, reached: Callable[[], bool], seconds: float, what: str) -> None:
        """Reads until something is reached.

        Raises:
            Broken: it was not reached within so many seconds, or a reader saw something wrong.
        """
        begun = look = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= look:
                if reached():
                    return
                if now - begun > seconds:
                    raise Broken(f"within {seconds:g} s it did not happen that {what}")
                look = now + LOOK_S
            self._turn(now)

    def _turn(self, now: float) -> None:
        served = 0
        for key, _ in self._all.select(min(LOOK_S, Asker.PAUSE_S)):
            if key.data is None:
                self._serve_measured()
            else:
                self._serve(key)
                served += 1
                if served % TURN == 0:
                    self._serve_measured()
        self._ask(now)
        if self._trickling and now >= self._next_trickle:
            self._next_trickle = now + TRICKLE_S
            for number, reader in enumerate(tuple(self._trickling)):
                self._read(reader, TRICKLE_BYTES)
                if reader.eof:
                    self._trickling.remove(reader)
                if number % TURN == 0:
                    self._serve_measured()

    def _serve_measured(self) -> None:
        for key, _ in self._measured.select(0):
            self._serve(key)
        self._ask(time.monotonic())

    def _ask(self, now: float) -> None:
        asker = self.asker
        if asker is not None and asker.socket is not None and not asker.since and now >= asker.due:
            asker.since = time.monotonic()
            asker.socket.sendall(asker.request())

    def _serve(self, key: selectors.SelectorKey) -> None:
        if isinstance(key.data, Asker):
            self._answered(key.data)
        elif key.events == selectors.EVENT_WRITE:
            self._connected(key.data)
        else:
            reader: Reader = key.data
            self._read(reader, 65536)
            if reader.pace != "fast" and reader.opened and reader.socket is not None:
                # It has been answered; what comes from now on it reads at its own pace.
                self._all.unregister(reader.socket)
                if reader.pace == "trickle":
                    self._trickling.append(reader)

    def _answered(self, asker: Asker) -> None:
        assert asker.socket is not None
        data = asker.socket.recv(65536)
        if not data:
            raise Broken("a request beside the readers was not answered: the connection was closed")
        if asker.take(data):
            now = time.monotonic()
            asker.took.append(now - asker.since)
            asker.since, asker.due = 0.0, now + asker.PAUSE_S

    def _connect(self, reader: Reader) -> None:
        connection = socket.socket()
        connection.setblocking(False)
        if sys.platform == "linux":
            connection.bind((f"127.0.0.{2 + self._made % SOURCES}", 0))
        self._made += 1
        if reader.pace != "fast":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        connection.connect_ex(("127.0.0.1", self.port))
        reader.socket, reader.opened, reader.eof = connection, False, False
        reader.raw, reader.left, reader.tail = b"", 0, b""
        reader.connections += 1
        self._here.add(reader)
        self._selector(reader).register(connection, selectors.EVENT_WRITE, reader)

    def _connected(self, reader: Reader) -> None:
        assert reader.socket is not None
        error = reader.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise Broken(f"a reader was refused: {os.strerror(error)}")
        reader.socket.sendall(reader.request())
        self._selector(reader).modify(reader.socket, selectors.EVENT_READ, reader)

    def _read(self, reader: Reader, most: int) -> None:
        assert reader.socket is not None
        try:
            data = reader.socket.recv(most)
        except BlockingIOError:
            return
        except OSError as error:
            raise Broken(f"the connection of a reader broke: {error}") from None
        if data:
            reader.take(data)
        if not data or reader.ended:
            if not data and not reader.opened:
                raise Broken("a reader's connection was closed without an answer")
            reader.eof = True
            self._leave(reader)

    def _leave(self, reader: Reader) -> None:
        if reader.socket is not None:
            selector = self._selector(reader)
            if reader.socket in selector.get_map():
                selector.unregister(reader.socket)
            reader.socket.close()
            reader.socket = None
            self._here.discard(reader)

    def _selector(self, reader: Reader) -> selectors.BaseSelector:
        return self._all if reader.delays is None else self._measured
