"""What Runyard on PostgreSQL is compared with: the same web stack and the rows of a run, with no engine around them.

Whatever waits goes into the next statement or two: one that begins runs, one that ends them; with both, a transaction.
No rules, no agents, no readers, no other servers, and `asyncpg` as it comes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
import msgspec
import uuid_utils
import uvicorn

from bench.baselines import Body, stream

BEGIN = """
WITH wanted AS (SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[]) AS w (run_id, thread_id, body)), thread AS (
    INSERT INTO threads (owner, thread_id, created_at, updated_at, metadata, status, hidden, last_seq, lease)
    SELECT '', thread_id, 1, 1, '{}', 'busy', 1, 2, 1 FROM wanted
), log AS (
    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    SELECT '', thread_id, 2, 1, run_id, 1, body FROM wanted
)
INSERT INTO runs (run_id, thread_id, owner, agent_id, status, created_at, updated_at, metadata, request, attempt,
                  max_attempts, invocation, first_seq, stateless, line, started_at, strategy)
SELECT run_id, thread_id, '', 'noop', 'running', 1, 1, '{}', body, 1, 3, run_id, 0, 1, 1, 1, 'reject' FROM wanted
"""
END = """
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS w (run_id, thread_id, body, checkpoint_id)
), log AS (
    INSERT INTO events (owner, thread_id, last_seq, first_seq, run_id, at, body)
    SELECT '', thread_id, 5, 3, run_id, 1, body FROM wanted
), state AS (
    INSERT INTO checkpoints (owner, checkpoint_id, thread_id, run_id, created_at, step, source, kind, body, full_size,
                             chain_size)
    SELECT '', checkpoint_id, thread_id, run_id, 1, 0, 'loop', 'full', body, 50, 50 FROM wanted
), run AS (
    UPDATE runs
    SET status = 'success', outcome = 'completed', last_seq = 5, ended_at = 1, updated_at = 1, expires_at = 9999,
        last_checkpoint = w.checkpoint_id
    FROM wanted AS w WHERE runs.run_id = w.run_id
)
UPDATE threads SET status = 'idle', last_seq = 5, head = w.checkpoint_id, lease = 2, last_outcome = 'completed'
FROM wanted AS w WHERE threads.owner = '' AND threads.thread_id = w.thread_id
"""
SETTINGS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "enable_hashjoin": "off",
            "enable_mergejoin": "off", "enable_bitmapscan": "off", "jit": "off"}  # fmt: skip
"""So that the plans are right on empty tables."""


class Store:
    """One connection with group commit."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: list[tuple[str, tuple[Any, ...], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._write())

    def do(self, statement: str, row: tuple[Any, ...]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((statement, row, future))
        self._wake.set()
        return future

    async def _write(self) -> None:
        connection: Any = await asyncpg.connect(self._url, server_settings=SETTINGS)
        while True:
            await self._wake.wait()
            self._wake.clear()
            group, self._waiting = self._waiting, []
            rows = {statement: [row for of, row, _ in group if of == statement] for statement in (BEGIN, END)}
            both = all(rows.values())
            if both:
                await connection.execute("BEGIN")
            for statement, those in rows.items():
                if those:
                    await connection.execute(statement, *map(list, zip(*those, strict=True)))
            if both:
                await connection.execute("COMMIT")
            for _, _, future in group:
                future.set_result(None)


def app(url: str) -> Any:
    """As `bench.baselines.app`, on PostgreSQL."""
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
                store.append(Store(url))
            run, thread = str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
            await store[0].do(BEGIN, (run, thread, raw))
            if scope["path"] == "/wait":
                await store[0].do(END, (run, thread, raw, str(uuid_utils.uuid7())))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return application


if __name__ == "__main__":
    uvicorn.run(app(sys.argv[1]), port=int(sys.argv[2]), lifespan="off", log_level="error", access_log=False, ws="none")
