"""A thread over real WebSockets: what many are sent is made once, and is whole for each of them."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from server_process import STORY_AGENTS, Serve, ServerProcess
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TOO_SLOW = 1013
LENGTHS = [0, 1, 200, 66_000, 3, 300_000, 2]

Frame = dict[str, Any]


@contextmanager
def joined(server: ServerProcess, thread: str, *, small: bool = False, **wish: Any) -> Iterator[ClientConnection]:
    """A client that has subscribed; a small one takes little before it is read."""
    end = socket.socket()
    if small:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    end.connect(("127.0.0.1", server.port))
    url = f"ws://127.0.0.1:{server.port}/threads/{thread}/stream"
    with connect(url, sock=end, max_size=None, compression=None, max_queue=1 if small else None) as client:
        client.send(json.dumps({"id": 1, "method": "subscription.subscribe", "params": wish}))
        assert received(client)["type"] == "success"
        yield client


def received(client: ClientConnection) -> Frame:
    return json.loads(client.recv(timeout=20))


def read_on(client: ClientConnection, frames: list[Frame]) -> None:
    while True:
        frames.append(received(client))


def until_the_end(client: ClientConnection) -> list[Frame]:
    frames: list[Frame] = []
    while not frames or frames[-1].get("params", {}).get("data") != {"event": "completed"}:
        frames.append(received(client))
    return frames


def lengths_of(frames: list[Frame]) -> list[int]:
    return [len(frame["params"]["data"]["payload"]) for frame in frames if frame["method"] == "custom"]


def test_everybody_is_told_the_same_and_whole(serve: Serve) -> None:
    server = serve(STORY_AGENTS)
    thread = str(uuid.uuid4())
    wish = {"channels": ["custom", "lifecycle"]}
    with joined(server, thread, **wish) as one, joined(server, thread, **wish) as other:
        params = {"assistantId": "speak", "input": LENGTHS}
        one.send(json.dumps({"id": 2, "method": "run.start", "params": params}))
        told = [frame for frame in until_the_end(one) if frame["type"] == "event"]
        assert lengths_of(told) == LENGTHS
        assert until_the_end(other) == told
        # What is said to one of them goes between the frames that all are sent.
        other.send(json.dumps({"id": 3, "method": "agent.getTree"}))
        assert received(other)["id"] == 3


def test_who_does_not_keep_up_is_cut_and_comes_back(serve: Serve) -> None:
    server = serve(STORY_AGENTS, settings={"reader_queue_bytes": 300_000})
    thread = str(uuid.uuid4())
    lengths = [200_000] * 60
    seen: list[Frame] = []
    with joined(server, thread, small=True, channels=["custom"]) as slow:
        wish = {"agent_id": "speak", "input": lengths, "thread_id": thread, "if_not_exists": "create"}
        server.background.wait_run(server.background.create_run(wish).run_id)
        with pytest.raises(ConnectionClosed) as end:
            read_on(slow, seen)
    assert end.value.rcvd is not None
    assert end.value.rcvd.code == TOO_SLOW
    assert "too slow" in end.value.rcvd.reason
    assert 0 < len(seen) < len(lengths)
    with joined(server, thread, channels=["custom"], sinceEventId=seen[-1]["eventId"]) as back:
        while len(seen) < len(lengths):
            seen.append(received(back))
    assert [frame["seq"] for frame in seen] == sorted({frame["seq"] for frame in seen})
    assert lengths_of(seen) == lengths
