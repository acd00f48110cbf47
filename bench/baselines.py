"""What Runyard is compared with: the same web stack with no engine, as a bare echo, a bare store and a bare stream.

The store does the rows of a run (thread, run, events; then events, checkpoint, run, thread) in the tables that Runyard
has, in two group commits with `synchronous=FULL`, and nothing else: no rules, no agents, no readers.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
import uuid_utils
import uvicorn

from runyard.storage.sqlite.connection import connect, migrate

Step = Callable[[Any], None]
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
        self._database: Any = connect(path)
        migrate(self._database)
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

    def step(database: Any) -> None:
        database.execute(
            "INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden, last_seq, lease) "
            "VALUES ('', ?, 1, 1, x'7b7d', 'busy', 1, 2, 1)",
            (thread,),
        )
        database.execute(
            "INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, "
            "attempt, max_attempts, invocation, first_seq, stateless, line, started_at, strategy) "
            "VALUES (?, ?, '', 'noop', 'running', 1, 1, x'7b7d', ?, 1, 3, ?, 0, 1, 1, 1, 'reject')",
            (run, thread, body, run),
        )
        database.execute(
            "INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) "
            "VALUES ('', ?, 2, 1, ?, 1, ?)",
            (thread, run, body),
        )

    return step


def end(run: str, thread: str, checkpoint: str, body: bytes) -> Step:
    """The rows that its end makes."""

    def step(database: Any) -> None:
        database.execute(
            "INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body) "
            "VALUES ('', ?, 5, 3, ?, 1, ?)",
            (thread, run, body),
        )
        database.execute(
            "INSERT INTO checkpoints (owner, checkpoint_id, thread_id, run_id, created_at, step, source, kind, body, "
            "full_size, chain_size) VALUES ('', ?, ?, ?, 1, 0, 'loop', 'full', ?, 50, 50)",
            (checkpoint, thread, run, body),
        )
        database.execute(
            "UPDATE runs SET status = 'success', outcome = 'completed', last_seq = 5, ended_at = 1, updated_at = 1, "
            "expires_at = 9999, last_checkpoint = ? WHERE run_id = ?",
            (checkpoint, run),
        )
        database.execute(
            "UPDATE threads SET status = 'idle', last_seq = 5, head = ?, lease = 2, last_outcome = 'completed' "
            "WHERE owner = '' AND thread_id = ?",
            (checkpoint, thread),
        )

    return step


FRAME = b'event: custom\nid: 12345\ndata: {"payload":{"n":12345,"text":"a token or two of some answer"}}\n\n'


async def stream(send: Any, events: int) -> None:
    """So many server-sent events."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(events):
        await send({"type": "http.response.body", "body": FRAME, "more_body": True})
    await send({"type": "http.response.body", "body": b"event: end\ndata: {}\n\n"})


def app(path: Path) -> Any:
    """`/echo` answers what it was sent; `/wait` stores a run and its end; `/create` stores a run; `/events` sends as
    many events as it was told to, each by itself."""
    decode = msgspec.json.Decoder(Body).decode
    encode = msgspec.json.Encoder().encode
    store: list[Store] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raw = (await receive())["body"]
        if scope["path"] == "/events":
            await stream(send, msgspec.json.decode(raw)["events"])
            return
        answer = encode(decode(raw))
        if scope["path"] != "/echo":
            if not store:
                store.append(Store(path, asyncio.get_running_loop()))
            run, thread = str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
            await store[0].do(begin(run, thread, raw))
            if scope["path"] == "/wait":
                await store[0].do(end(run, thread, str(uuid_utils.uuid7()), raw))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return application


if __name__ == "__main__":
    uvicorn.run(
        app(Path(sys.argv[1])), port=int(sys.argv[2]), lifespan="off", log_level="error", access_log=False, ws="none"
    )
