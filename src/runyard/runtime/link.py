"""One end of the socket between the engine's process and one in which agents run."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from runyard.runtime.packets import pack

Sent = TypeVar("Sent")
Received = TypeVar("Received")

HEAD = 4
"""Bytes before each packet, which tell its length."""
PIECE = 262_144
"""Bytes that are read at a time."""


class Link(Generic[Sent, Received]):
    """Sends and receives packets, in order. What is sent in one turn of the loop goes in one write.

    What waits to be written is bounded by who sends: an attempt sends no more than its credit, and the engine answers.
    """

    def __init__(
        self,
        sock: socket.socket,
        read: Callable[[memoryview], Received],
        heard: Callable[[Received], None],
        lost: Callable[[], None],
    ) -> None:
        """`heard` is called with each packet, `lost` once when no more can come: the other end has been closed, or what
        comes is nonsense. Neither is called before `attach`."""
        self._sock = sock
        self._read = read
        self._heard = heard
        self._lost = lost
        self._loop: asyncio.AbstractEventLoop | None = None
        self._packets: list[bytes] = []
        self._unsent: deque[memoryview] = deque()
        self._rest = bytearray()
        self._writing = False
        """Whether the loop says when more can be written."""
        self._open = True

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to work, in that loop, in which everything else is called."""
        self._loop = loop
        self._sock.setblocking(False)
        loop.add_reader(self._sock, self._readable)
        if self._packets:
            self._flush()

    def send(self, packet: Sent) -> None:
        """Never blocks; dropped where the other end is gone.

        Raises:
            TypeError, ValueError: the packet holds what cannot be sent.
        """
        data = pack(packet)
        if not self._open:
            return
        self._packets.append(len(data).to_bytes(HEAD, "big"))
        self._packets.append(data)
        if len(self._packets) == 2 and self._loop is not None:
            self._loop.call_soon(self._flush)

    def drain(self) -> None:
        """Takes what has come and was not read, when the other end is known to be gone."""
        while self._open and self._readable():
            pass
        self._end()

    def close(self) -> None:
        """Ends it; `lost` is not called."""
        self._lost = _nothing
        self._end()

    def _flush(self) -> None:
        packets, self._packets = self._packets, []
        if self._open and packets:
            self._unsent.append(memoryview(b"".join(packets)))
            if not self._writing:
                self._write()

    def _write(self) -> None:
        assert self._loop is not None
        while self._unsent:
            data = self._unsent[0]
            try:
                sent = self._sock.send(data)
            except (BlockingIOError, InterruptedError):
                if not self._writing:
                    self._writing = True
                    self._loop.add_writer(self._sock, self._write)
                return
            except OSError:
                # Whoever was there is gone; what it sent before is still read.
                self._unsent.clear()
                break
            if sent < len(data):
                self._unsent[0] = data[sent:]
            else:
                self._unsent.popleft()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._sock)

    def _readable(self) -> bool:
        """Reads a piece; whether there was one."""
        try:
            data = self._sock.recv(PIECE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        self._take(data)
        return True

    def _take(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            if len(self._rest) < HEAD + int.from_bytes(self._rest[:HEAD], "big"):
                return
            data = bytes(self._rest)
            self._rest = bytearray()
        view, begin, end = memoryview(data), 0, len(data)
        while self._open and begin + HEAD <= end:
            until = begin + HEAD + int.from_bytes(data[begin : begin + HEAD], "big")
            if until > end:
                break
            try:
                packet = self._read(view[begin + HEAD : until])
            except (msgspec.MsgspecError, ValueError):  # what the other end sends is not what it should
                self._end()
                return
            begin = until
            self._heard(packet)
        if begin < end:
            self._rest = bytearray(view[begin:])

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._sock)
            if self._writing:
                self._loop.remove_writer(self._sock)
        self._sock.close()
        self._packets.clear()
        self._unsent.clear()
        self._lost()


def framed(packet: object) -> bytes:
    """A packet with its length, for who writes without a link."""
    data = pack(packet)
    return len(data).to_bytes(HEAD, "big") + data


def _nothing() -> None:
    """What is called when a link ends that was closed here."""
