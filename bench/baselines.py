"""What Runyard is compared with: the same web stack with no engine, as a bare echo and as a bare store.

The store does the rows of a run (thread, run, events; then events, checkpoint, run, thread) in two group commits with
`synchronous=FULL`, and nothing else: no rules, no agents, no readers.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import apsw
import msgspec
import uuid_utils
import uvicorn

SCHEMA = """
CREATE TABLE threads (id TEXT PRIMARY KEY, at INTEGER, status TEXT, last_seq INTEGER, head TEXT) WITHOUT ROWID;
CREATE TABLE runs (n INTEGER PRIMARY KEY, id TEXT UNIQUE, thread TEXT, status TEXT, request BLOB);
CREATE INDEX runs_thread ON runs (thread);
CREATE TABLE events (thread TEXT, seq INTEGER, body BLOB, PRIMARY KEY (thread, seq)) WITHOUT ROWID;
CREATE TABLE checkpoints (id TEXT UNIQUE, thread TEXT, body BLOB);
"""

Step = Callable[[apsw.Connection], None]
Job = tuple[Step, asyncio.Future[None]]


class Body(msgspec.Struct):
    """The body that is sent."""

    input: Any = None
    agent_id: str = ""
    after_seconds: float = 0


class Store:
    """One writer thread with group commit."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self._loop = loop
        self._database = apsw.Connection(str(path))
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._database.execute(f"PRAGMA {pragma}").fetchall()
        self._database.execute(SCHEMA).fetchall()
        threading.Thread(target=self._write, daemon=True).start()

    def do(self, step: Step) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((step, future))
        return future

    def _write(self) -> None:
        while True:
            group = [self._queue.get()]
            try:
                while True:
                    group.append(self._queue.get_nowait())
            except Empty:
                pass
            self._database.execute("BEGIN IMMEDIATE")
            for step, _ in group:
                step(self._database)
            self._database.execute("COMMIT")
            self._loop.call_soon_threadsafe(lambda done: [future.set_result(None) for _, future in done], group)


def begin(run: str, thread: str, body: bytes) -> Step:
    """The rows that a new run makes."""

    def step(database: apsw.Connection) -> None:
        database.execute("INSERT INTO threads VALUES (?, 1, 'busy', 2, NULL)", (thread,))
        database.execute(
            "INSERT INTO runs (id, thread, status, request) VALUES (?, ?, 'running', ?)", (run, thread, body)
        )
        database.execute("INSERT INTO events VALUES (?, 2, ?)", (thread, body))

    return step


def end(run: str, thread: str, body: bytes) -> Step:
    """The rows that its end makes."""

    def step(database: apsw.Connection) -> None:
        database.execute("INSERT INTO events VALUES (?, 5, ?)", (thread, body))
        database.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (run, thread, body))
        database.execute("UPDATE runs SET status = 'success' WHERE id = ?", (run,))
        database.execute("UPDATE threads SET status = 'idle', last_seq = 5, head = ? WHERE id = ?", (run, thread))

    return step


def app(path: Path) -> Any:
    """`/echo` answers what it was sent; `/wait` stores a run and its end; `/create` stores a run."""
    decode = msgspec.json.Decoder(Body).decode
    encode = msgspec.json.Encoder().encode
    store: list[Store] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raw = (await receive())["body"]
        answer = encode(decode(raw))
        if scope["path"] != "/echo":
            if not store:
                store.append(Store(path, asyncio.get_running_loop()))
            run, thread = str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
            await store[0].do(begin(run, thread, raw))
            if scope["path"] == "/wait":
                await store[0].do(end(run, thread, raw))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return application


if __name__ == "__main__":
    uvicorn.run(
        app(Path(sys.argv[1])), port=int(sys.argv[2]), lifespan="off", log_level="error", access_log=False, ws="none"
    )
