"""The event stream as `curl -N` sees it: bytes on a socket, there as soon as they exist."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from server_process import STORY_AGENTS, Serve


def read_until(connection: socket.socket, mark: bytes, so_far: bytes) -> bytes:
    while mark not in so_far:
        piece = connection.recv(65536)
        assert piece, f"the connection ended before {mark!r} came: {so_far!r}"
        so_far += piece
    return so_far


def test_events_arrive_while_the_run_goes_on(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS)
    door = tmp_path / "door"
    wish = {"agent_id": "gate", "input": {"path": str(door)}, "stream_mode": ["updates", "custom"]}
    body = json.dumps(wish).encode()
    head = (
        f"POST /runs/stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAccept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + body)
        # The agent is held: what comes now was not kept back until the end of the run.
        text = read_until(connection, b"event: custom", b"")
        headers, _, _ = text.partition(b"\r\n\r\n")
        lines = headers.decode().lower().split("\r\n")
        assert lines[0].startswith("http/1.1 200")
        assert any(line.startswith("content-type: text/event-stream") for line in lines)
        assert any(line.startswith("content-location: ") for line in lines)
        assert b"event: updates" in text
        assert b"event: end" not in text
        door.touch()
        # The last chunk of a chunked answer: the stream ends in order.
        text = read_until(connection, b"\r\n0\r\n\r\n", text)
    assert text.index(b"event: metadata") < text.index(b"event: custom") < text.index(b"event: end")
    ids = [int(line.split(b":")[1]) for line in text.splitlines() if line.startswith(b"id:")]
    assert ids == sorted(set(ids)) != []


def test_a_silent_stream_is_kept_alive_by_comments(serve: Serve, tmp_path: Path) -> None:
    server = serve(STORY_AGENTS, settings={"heartbeat": 0.05})
    door = tmp_path / "door"
    run = server.background.create_run({"agent_id": "gate", "input": {"path": str(door)}})
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        request = f"GET /runs/{run.run_id}/stream HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n"
        connection.sendall(request.encode())
        text = read_until(connection, b"\n:", read_until(connection, b"\r\n\r\n", b""))
        door.touch()
        read_until(connection, b"event: end", text)
