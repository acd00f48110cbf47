"""Those who watch a thread while its server dies again and again: all see the same, which is the log."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

from server_process import STORY_AGENTS, Serve, ServerProcess, wait_until
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from tests.streaming_frames import Frame, check_event, check_order, check_whole

CHANNELS = ["values", "updates", "messages", "tools", "lifecycle", "input", "checkpoints", "custom"]
RUNS = 3


class Watcher(threading.Thread):
    """A client that comes back, by the last id or by the largest number, until it has seen so many runs end."""

    def __init__(self, server: ServerProcess, thread_id: str, transport: str, *, by_number: bool) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.path = f"/threads/{thread_id}/stream"
        self.transport = transport
        self.by_number = by_number
        self.frames: list[Frame] = []
        self.connections = 0
        self.stopped = False

    def run(self) -> None:
        while not self.over and not self.stopped:
            try:
                self._watch_over_socket() if self.transport == "websocket" else self._watch_over_sse()
            except (OSError, http.client.HTTPException, WebSocketException):
                pass
            time.sleep(0.01)  # between attempts: another process is away

    @property
    def over(self) -> bool:
        return self.ends == RUNS

    @property
    def ends(self) -> int:
        return sum(
            frame["method"] == "lifecycle"
            and not frame["params"]["namespace"]
            and frame["params"]["data"]["event"] in ("completed", "failed", "interrupted")
            for frame in tuple(self.frames)
        )

    def _wish(self) -> dict[str, Any]:
        numbers = [frame["seq"] for frame in self.frames if "seq" in frame]
        if self.by_number:
            return {"channels": CHANNELS, "since": numbers[-1] if numbers else 0}
        if self.frames:
            return {"channels": CHANNELS, "sinceEventId": self.frames[-1]["eventId"]}
        return {"channels": CHANNELS, "since": 0}

    def _take(self, frame: Frame, had: set[str]) -> None:
        if frame["eventId"] not in had:  # an earlier connection told it
            self.frames.append(frame)

    def _watch_over_sse(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        had = {frame["eventId"] for frame in self.frames}
        try:
            body = json.dumps(self._wish())
            connection.request("POST", self.path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            if answer.status == 503:
                return  # it has come back, and takes nothing yet
            assert answer.status == 200
            self.connections += 1
            while line := answer.readline():
                if line.startswith(b"data: ") and line.endswith(b"\n"):
                    self._take(json.loads(line.removeprefix(b"data: ")), had)
                if self.over:
                    return
        finally:
            connection.close()

    def _watch_over_socket(self) -> None:
        had = {frame["eventId"] for frame in self.frames}
        with connect(f"ws://127.0.0.1:{self.server.port}{self.path}", max_size=None) as socket:
            self.connections += 1
            socket.send(json.dumps({"id": 1, "method": "subscription.subscribe", "params": self._wish()}))
            for message in socket:
                told = json.loads(message)
                if told["type"] == "event":
                    self._take(told, had)
                if self.over:
                    return


def start(server: ServerProcess, thread_id: str, **input: Any) -> str:
    body = {"id": 1, "method": "run.start", "params": {"assistantId": "talk", "input": input}}
    request = urllib.request.Request(
        f"{server.url}/threads/{thread_id}/commands", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        told = json.load(answer)
    assert told["type"] == "success", told
    return told["result"]["runId"]


def test_all_who_watch_see_the_log_through_kill_9(serve: Serve, tmp_path: Path) -> None:
    server, thread_id = serve(STORY_AGENTS), str(uuid4())
    watchers = [
        Watcher(server, thread_id, transport, by_number=by_number)
        for transport in ("sse", "websocket")
        for by_number in (False, True)
    ]
    for watcher in watchers:
        watcher.start()
    runs: list[str] = []
    for number in range(RUNS):
        door = tmp_path / f"door-{number}"
        runs.append(start(server, thread_id, count=3, hold=1, path=str(door)))
        if number:  # two die in the middle of a message; the first has watchers that came before the thread
            wait_until(lambda: all(half_told(watcher, runs[-1]) for watcher in watchers), "half a message is told")
            server.kill9()
            server.restart()
        door.touch()
        server.background.wait_run(runs[-1])
    wait_until(lambda: all(watcher.over for watcher in watchers), "all have seen all runs end", server.log_text)
    for watcher in watchers:
        watcher.join(20)
    late = Watcher(server, thread_id, "sse", by_number=False)
    late.start()
    late.join(20)
    for frame in late.frames:
        check_event(frame)
    check_whole(late.frames)
    for watcher in watchers:
        check_order(watcher.frames)
        assert [frame["eventId"] for frame in watcher.frames] == [frame["eventId"] for frame in late.frames]
        assert watcher.frames == late.frames
        assert watcher.connections >= RUNS
    attempts = [
        sum(frame["runId"] == run and frame["params"]["data"].get("event") == "running" for frame in late.frames)
        for run in runs
    ]
    assert attempts == [1, 2, 2]
    texts = [
        frame["params"]["data"]["content"]["text"]
        for frame in late.frames
        if frame["params"]["data"].get("event") == "content-block-finish"
    ]
    assert texts.count("one two three ") == 9


def half_told(watcher: Watcher, run: str) -> bool:
    """The run has told the first half of the message in whose middle it is held."""
    pieces = [
        frame["params"]["data"]["delta"].get("text")
        for frame in tuple(watcher.frames)
        if frame.get("runId") == run and frame["params"]["data"].get("event") == "content-block-delta"
    ]
    return pieces == ["one ", "two ", "three ", "one ", "two "]
