"""A real receiver of webhooks: a port on loopback that answers as it is told, and keeps what came."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Answer = Callable[["Receiver", socket.socket], None]
"""What is done with a connection whose request has been read."""


@dataclass(frozen=True)
class Message:
    """One request as it came; header names are in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes
    server_name: str | None = None
    """The name that TLS asked for."""

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


class Receiver:
    """Answers the messages one after the other with `answers`, then each with 200. Connections are served side by
    side; `close` ends all of them."""

    def __init__(self, *answers: Answer, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.messages: list[Message] = []
        self.connections = 0
        self.flooded = 0
        """Bytes of endless bodies that were taken, by the sender or by what is in between."""
        self.closing = threading.Event()
        self._answers = deque(answers)
        self._tls = tls
        self._names: dict[ssl.SSLObject, str | None] = {}
        if tls is not None:
            tls.sni_callback = lambda connection, name, _: self._names.__setitem__(connection, name)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family)
        self.address, self.port = address, self._listening.getsockname()[1]
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http{'' if self._tls is None else 's'}://{self.address}:{self.port}/hook"

    def then(self, *answers: Answer) -> None:
        """More answers, after those that are still to be given."""
        self._answers.extend(answers)

    def wait(self, count: int, seconds: float = 10.0) -> list[Message]:
        """The messages, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, seconds), self.messages
            return list(self.messages)

    def close(self) -> None:
        self.closing.set()
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls is not None:
                with self._tls.wrap_socket(connection, server_side=True) as secured:
                    self._converse(secured)
            else:
                self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        message = self._read(connection)
        if message is None:
            return
        with self._changed:
            self.messages.append(message)
            answer = self._answers.popleft() if self._answers else status(200)
            self._changed.notify_all()
        answer(self, connection)

    def _read(self, connection: socket.socket) -> Message | None:
        received = b""
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                return None
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        line, *rest = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in rest)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65536)
        return Message(line, headers, body, self._names.get(connection))  # type: ignore[call-overload]


@contextlib.contextmanager
def receiving(*answers: Answer, **more: Any) -> Iterator[Receiver]:
    """A receiver that is closed at the end."""
    receiver = Receiver(*answers, **more)
    try:
        yield receiver
    finally:
        receiver.close()


# how it may answer


def raw(text: bytes) -> Answer:
    """These bytes, and the end of the connection."""
    return lambda _, connection: connection.sendall(text)


def status(code: int, **headers: str) -> Answer:
    """An ordinary answer; in header names an underscore stands for a hyphen."""
    lines = [f"HTTP/1.1 {code} Whatever", "content-length: 2", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", "ok"]).encode())


def redirect(location: str, code: int = 307) -> Answer:
    return status(code, location=location)


def hang(receiver: Receiver, connection: socket.socket) -> None:
    """No answer at all, until the sender leaves or the receiver is closed."""
    connection.settimeout(0.05)
    while not receiver.closing.is_set():
        try:
            if connection.recv(1) == b"":
                return
        except TimeoutError:
            continue


def drip(receiver: Receiver, connection: socket.socket) -> None:
    """A status line that never comes to its end, a byte now and then."""
    for byte in b"HTTP/1.1 200 " + b"O" * 100_000:
        connection.sendall(bytes([byte]))
        if receiver.closing.wait(0.02):
            return


def drip_body(receiver: Receiver, connection: socket.socket) -> None:
    """Success at once, and then a body that never comes to its end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while not receiver.closing.wait(0.02):
        connection.sendall(b"x")


def flood(receiver: Receiver, connection: socket.socket) -> None:
    """Success at once, and then a body without end, as fast as it is taken."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while not receiver.closing.is_set():
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        receiver.flooded += 65536


def flood_headers(receiver: Receiver, connection: socket.socket) -> None:
    """Headers without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not receiver.closing.is_set():
        connection.sendall(b"x-more: " + b"x" * 8000 + b"\r\n")


too_short = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nonly this")
too_long = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and much more than it said")
nothing = raw(b"")
cut_short = raw(b"HTTP/1.1 200 OK\r\ncontent-le")
no_http = raw(b"SSH-2.0-OpenSSH_9.2\r\n")
