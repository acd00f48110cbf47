"""What a client of a thread's stream should be told: the log, filtered by rules that are written down here once more;
and clients that follow a thread over as many connections as it takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from asgi_client import Connection, Socket, connect, speak
from live_server import Server
from streaming_frames import Frame, check_event, place

OPEN_ENDED = 10**18


@dataclass(frozen=True)
class Wish:
    """A subscription."""

    channels: tuple[str, ...]
    namespaces: tuple[tuple[str, ...], ...] | None = None
    depth: int | None = None

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {"channels": list(self.channels)}
        if self.namespaces is not None:
            body["namespaces"] = [list(prefix) for prefix in self.namespaces]
        if self.depth is not None:
            body["depth"] = self.depth
        return body

    def shows(self, frame: Frame) -> bool:
        method, data = frame["method"], frame["params"]["data"]
        names = {method, "input"} if method in ("input.requested", "input.answered") else {method}
        if method == "custom" and data.get("name"):
            names.add(f"custom:{data['name']}")
        return bool(names & set(self.channels)) and self.covers(tuple(frame["params"]["namespace"]))

    def covers(self, namespace: tuple[str, ...]) -> bool:
        for prefix in self.namespaces or ((),):
            below = len(namespace) - len(prefix)
            fits = all(
                part == asked or (":" not in asked and part.split(":")[0] == asked)
                for part, asked in zip(namespace, prefix, strict=False)
            )
            if fits and below >= 0 and (self.depth is None or below <= self.depth):
                return True
        return False


@dataclass
class Follower:
    """A client, with what it was told over all of its connections; what it had over an earlier one it drops."""

    server: Server
    thread: str
    wish: Wish
    transport: str
    by_number: bool
    """It comes back by the largest number that it has seen, else by the last id."""
    since: int | None
    """Where it began; None: without a cursor."""
    begins: int = 0
    """It is to see what is behind this number."""
    got: list[Frame] = field(default_factory=list)
    connection: Connection | Socket | None = None
    came_back: bool = False
    _taken: int = 0
    _had: set[str] = field(default_factory=set[str])

    @property
    def attached(self) -> bool:
        return self.connection is not None and not self.connection.over

    def cursor(self) -> dict[str, Any] | None:
        """From where it goes on; None where it has to begin anew."""
        numbers = [frame["seq"] for frame in self.got if "seq" in frame]
        ids = [frame["eventId"] for frame in self.got if not frame["eventId"].startswith("snap:")]
        if self.by_number and numbers:
            return {"since": max(numbers)}
        if not self.by_number and ids:
            return {"sinceEventId": ids[-1]}
        return None if self.since is None else {"since": self.since}

    def open(self) -> None:
        """Opens a socket, and subscribes to nothing yet."""
        self.connection = speak(self.server, self.thread)

    def attach(self) -> None:
        cursor = self.cursor()
        if cursor is None:
            self.got.clear()
        self.came_back = bool(self.got)
        body = {**self.wish.body(), **(cursor or {})}
        self._taken = 0
        self._had = {frame["eventId"] for frame in self.got}
        if self.transport == "sse":
            self.connection = connect(self.server, "POST", f"/threads/{self.thread}/stream", body)
            return
        if not isinstance(self.connection, Socket) or self.connection.over:
            self.open()
        assert isinstance(self.connection, Socket)
        self.connection.command("subscription.subscribe", body)

    def take(self) -> None:
        """Takes what has come, and drops what it has had."""
        if self.connection is None:
            return
        if isinstance(self.connection, Socket):
            frames = self.connection.events
        else:
            frames = [event.data for event in self.connection.events]
        for frame in frames[self._taken :]:
            check_event(frame)
            if frame["eventId"] not in self._had:
                self.got.append(frame)
        self._taken = len(frames)

    async def drop(self, unseen: int = 0) -> None:
        """The connection breaks, and the client has not seen the last of what was sent to it."""
        if self.connection is not None:
            self.take()
            del self.got[max(len(self.got) - unseen, 1) :]
            await self.connection.leave()
            self.connection = None

    @property
    def ready(self) -> bool:
        """Its subscription has begun."""
        if isinstance(self.connection, Socket):
            return bool(self.connection.received)
        return self.connection is not None and bool(self.connection.received)


def covered_by(baseline: str, log: list[Frame]) -> tuple[int, int]:
    """Up to which place of the log states are in the one that a baseline tells."""
    of = baseline.removeprefix("snap:")
    made = [frame for frame in log if frame["method"] == "checkpoints" and frame["params"]["data"]["id"] == of]
    assert len(made) == 1, f"no step has made {of}"
    at = place(made[0]["eventId"])
    assert at is not None  # it is of the log
    return at[0], OPEN_ENDED  # the state comes right behind it


def compared(follower: Follower, log: list[Frame]) -> tuple[list[Frame], list[str]]:
    """What it was told of the log, and the ids of what it should have been told.

    States that its baseline covers are left out of both: it is not to be told them, but who was cut between a step and
    its state comes back for that.
    """
    got, covered = follower.got, (0, 0)
    if got and got[0]["eventId"].startswith("snap:"):
        covered = covered_by(got[0]["eventId"], log)
        got = got[1:]

    def counts(frame: Frame) -> bool:
        at = place(frame["eventId"])
        if at is None:
            return True
        return not (frame["method"] == "values" and not frame["params"]["namespace"] and at <= covered)

    if not follower.came_back:
        assert all(map(counts, got)), "a state was told that the first one covers"
    should = [frame for frame in log if behind(frame, follower.begins) and follower.wish.shows(frame)]
    return list(filter(counts, got)), [frame["eventId"] for frame in should if counts(frame)]


def behind(frame: Frame, number: int) -> bool:
    at = place(frame["eventId"])
    return at is not None and at[0] > number


def text_of(frame: Frame) -> str:
    return json.dumps(frame, sort_keys=True)
