"""Clients that are slow, leave half-way, close one side or speak no HTTP: each is answered or let go, nothing is kept.

Raw sockets on a real port. A test waits for the server's answer and for the end of the connection, never for a time.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import STORY_AGENTS, Serve, ServerProcess, wait_until

PATIENCE = 0.3
"""The server's `body_timeout`."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with little patience; every test leaves it without runs."""
    folder = tmp_path_factory.mktemp("slow")
    made = ServerProcess(folder, STORY_AGENTS, settings={"body_timeout": PATIENCE, "heartbeat": 0.1})
    yield made.start()
    made.end()


def connected(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def rest(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection."""
    text = b""
    while piece := connection.recv(65536):
        text += piece
    return text


def answer(text: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of the one answer in a text."""
    head, _, body = text.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = dict(header.lower().split(": ", 1) for header in lines)
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(chunk for chunk in body.split(b"\r\n")[1::2])
    return int(line.split()[1]), headers, json.loads(body)


def refused(text: bytes, status: int, code: str) -> dict[str, str]:
    """Checks the one refusal in a text; its headers."""
    found, headers, told = answer(text)
    assert (found, told["code"], set(told)) == (status, code, {"code", "message", "metadata"}), text
    assert headers["content-type"] == "application/json"
    return headers


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json", *headers]
    lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def nothing_stored(server: ServerProcess) -> None:
    assert server.background.search_runs({}) == []
    assert server.threads.search_threads({}) == []


BODY = b'{"agent_id":"count","input":0}'


@pytest.mark.parametrize("path", ["/runs", "/runs/wait", "/runs/stream", "/threads", "/store/items/search"])
@pytest.mark.parametrize("begun", [b"", BODY[:10]], ids=["no byte of it", "a part of it"])
def test_a_body_that_does_not_come_is_answered_408(server: ServerProcess, path: str, begun: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(post(path, begun, length=len(BODY)))
        headers = refused(rest(connection), 408, "request_timeout")
    assert headers["connection"] == "close"
    nothing_stored(server)


def test_a_chunked_body_that_has_no_end_is_answered_408(server: ServerProcess) -> None:
    head = post("/runs", b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    with connected(server) as connection:
        connection.sendall(head + b"%x\r\n%b\r\n" % (len(BODY), BODY))
        refused(rest(connection), 408, "request_timeout")
    nothing_stored(server)


@pytest.mark.parametrize("begun", [b"GET /ok", b"GET /ok HTTP/1.1\r\nhost: a\r\n", b"\r\n"])
def test_a_request_whose_head_does_not_come_is_answered_408(server: ServerProcess, begun: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(begun)
        refused(rest(connection), 408, "request_timeout")


def test_a_second_request_whose_head_does_not_come_is_answered_408(server: ServerProcess) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\nGET /ok HTT")
        first, _, second = rest(connection).partition(b'{"ok":true}')
    assert first.startswith(b"HTTP/1.1 200")
    refused(second, 408, "request_timeout")


def test_a_connection_on_which_nothing_is_asked_is_closed(server: ServerProcess) -> None:
    with connected(server) as connection:
        assert rest(connection) == b""


def test_a_body_that_nobody_reads_cannot_hold_a_connection(server: ServerProcess) -> None:
    with connected(server) as connection:
        connection.sendall(post("/nowhere", b"{", length=1000))
        refused(rest(connection), 404, "not_found")


def test_a_slow_body_that_comes_in_time_is_taken(server: ServerProcess) -> None:
    with connected(server) as connection:
        request = post("/store/items/search", b"{}", "connection: close")
        for index in range(len(request)):
            connection.sendall(request[index : index + 1])
        assert answer(rest(connection))[0] == 200


@pytest.mark.parametrize("kept", [0, 10])
def test_a_client_that_leaves_within_its_body_stores_nothing(server: ServerProcess, kept: int) -> None:
    with connected(server) as connection:
        connection.sendall(post("/runs", BODY[:kept], length=len(BODY)))
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
    nothing_stored(server)


@pytest.fixture
def patient(serve: Serve) -> ServerProcess:
    """A server of one test, that runs may be left on."""
    return serve(STORY_AGENTS, settings={"disconnect_grace": 0.1})


def ask(path: str, door: Path, **more: Any) -> bytes:
    return post(path, json.dumps({"agent_id": "gate", "input": {"path": str(door)}, **more}).encode())


def test_a_client_that_has_closed_its_sending_side_gets_its_answer(patient: ServerProcess, tmp_path: Path) -> None:
    with connected(patient) as connection:
        connection.sendall(ask("/runs", tmp_path / "door"))
        connection.shutdown(socket.SHUT_WR)
        status, headers, run = answer(rest(connection))
    assert (status, run["status"], headers["connection"]) == (200, "pending", "close")


def test_a_client_that_has_closed_its_sending_side_waits_for_its_run(patient: ServerProcess, tmp_path: Path) -> None:
    door = tmp_path / "door"
    with connected(patient) as connection:
        connection.sendall(ask("/runs/wait", door))
        connection.shutdown(socket.SHUT_WR)
        first = connection.recv(1)  # the newlines of a wait that lasts
        door.touch()
        status, headers, told = answer(first + rest(connection))
    assert (status, told["status"], headers["connection"]) == (200, "success", "close")


@pytest.mark.parametrize("when", ["at once", "while it streams"])
def test_a_client_that_has_closed_its_sending_side_streams_its_run(
    patient: ServerProcess, tmp_path: Path, when: str
) -> None:
    door = tmp_path / "door"
    with connected(patient) as connection:
        connection.sendall(ask("/runs/stream", door, stream_mode=["custom", "updates"]))
        text = b""
        if when == "at once":
            connection.shutdown(socket.SHUT_WR)
        while b"event: custom" not in text:
            text += connection.recv(65536)
        if when != "at once":
            connection.shutdown(socket.SHUT_WR)
        while text.count(b"1\r\n\n\r\n") < 2:  # the server has looked whether somebody still reads
            text += connection.recv(65536)
        door.touch()
        text += rest(connection)
    assert text.index(b"event: metadata") < text.index(b"event: custom") < text.index(b"event: end")
    assert text.endswith(b"\r\n0\r\n\r\n")
    assert patient.background.search_runs({})[0].outcome == "completed"


def test_a_client_that_has_closed_both_sides_has_left(patient: ServerProcess, tmp_path: Path) -> None:
    with connected(patient) as connection:
        connection.sendall(ask("/runs/stream", tmp_path / "door", stream_mode="custom"))
        text = b""
        while b"event: custom" not in text:
            text += connection.recv(65536)

    def cancelled() -> bool:
        return patient.background.search_runs({})[0].outcome == "cancelled"

    wait_until(cancelled, "the run of the client that left is cancelled", patient.log_text)


def test_requests_in_one_go_are_all_answered_before_the_closing(server: ServerProcess) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /ok HTTP/1.1\r\nhost: a\r\n\r\n" * 3)
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection).count(b'{"ok":true}') == 3


NO_HTTP = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"hello\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"get / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /" + b"x" * 66_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    b"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: 1e3\r\n\r\n",
    b"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n{}",
    b"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
    b"POST /runs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
]


@pytest.mark.parametrize("request_", NO_HTTP, ids=lambda text: repr(text)[:40])
def test_what_is_no_http_is_answered_400(server: ServerProcess, request_: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(request_)
        refused(rest(connection), 400, "malformed_request")
    nothing_stored(server)


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"GET /ok HTTP/1.1\r\nbad header\r\n\r\n"])
def test_a_request_before_garbage_gets_its_answer(patient: ServerProcess, tmp_path: Path, garbage: bytes) -> None:
    door = tmp_path / "door"
    with connected(patient) as connection:
        connection.sendall(ask("/runs/stream", door, stream_mode="custom") + garbage)
        text = b""
        while b"event: custom" not in text:
            text += connection.recv(65536)
        door.touch()
        text += rest(connection)
    assert text.count(b"HTTP/1.1") == 1
    assert text.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("bad", ["transfer-encoding: gzip", "content-length: 3", "transfer-encoding: chunked"])
def test_a_request_whose_length_is_unclear_is_refused_once_and_changes_nothing(server: ServerProcess, bad: str) -> None:
    with connected(server) as connection:
        connection.sendall(post("/runs", BODY, bad))
        refused(rest(connection), 400, "malformed_request")
    nothing_stored(server)
    assert "Exception" not in server.log_text()


def test_headers_without_end_are_answered_431(server: ServerProcess) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET /ok HTTP/1.1\r\nhost: a\r\n")
        line = b"x-padding: " + b"y" * 1000 + b"\r\n"
        text = b""
        try:
            for _ in range(600):  # more than is taken in at once, so that it is refused before it ends
                connection.sendall(line)
            text = rest(connection)
        except (ConnectionResetError, BrokenPipeError):
            pytest.fail("the connection was reset before the refusal could be read")
        refused(text, 431, "headers_too_large")


def test_a_body_over_the_limit_is_answered_413_before_it_has_come(server: ServerProcess) -> None:
    with connected(server) as connection:
        connection.sendall(post("/runs", b"", length=4_000_001))
        assert connection.recv(12) == b"HTTP/1.1 413"
    head = post("/runs", b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    with connected(server) as connection:
        piece = b"f4240\r\n" + b" " * 1_000_000 + b"\r\n"
        connection.sendall(head + piece * 5)
        assert connection.recv(12) == b"HTTP/1.1 413"
    nothing_stored(server)
