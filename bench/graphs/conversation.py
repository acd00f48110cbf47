"""A long conversation on one thread: what a turn costs at its end as at its beginning, beside LangGraph's SQLite saver.

`python -m bench.graphs.conversation TURNS` in a process of its own.
"""

from __future__ import annotations

import asyncio
import copy
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
import msgspec

from bench.graphs import agents
from runyard import graph
from runyard.checkpoints import parse, render
from runyard.lifecycle import CreateRun
from runyard.runtime.langgraph.codec import Codec
from runyard.server import create_app
from runyard.settings import Settings

QUESTION = "what was that about again, and could you say it in other words? "
READS = 30


def _turn(number: int) -> dict[str, Any]:
    return {"role": "user", "content": f"{number}: {QUESTION}", "id": f"q{number}"}


async def ours(folder: Path, turns: int) -> dict[str, float]:
    """Through the engine of a server in this process."""
    app = create_app(Settings(database=f"sqlite:///{folder}/runyard.db"), agents=[graph(agents.chat, id="chat")])
    await app.engine.start()
    verbs, storage = app.engine.verbs, app.engine.storage
    thread = (await verbs.create_thread("", None, {}, "raise")).thread_id
    took: list[float] = []
    for number in range(turns):
        begun = time.perf_counter()
        messages = msgspec.Raw(msgspec.json.encode([_turn(number)]))
        created = await verbs.create_run("", CreateRun(agent_id="chat", thread_id=thread, messages=messages))
        await verbs.wait_run("", created.run.run_id)
        took.append(time.perf_counter() - begun)
    head = (await storage.thread("", thread)).head
    assert head is not None
    snapshot = await storage.snapshot("", thread, head)
    whole = render(snapshot.state)
    codec, reads, decodes = Codec(), list[float](), list[float]()
    for _ in range(READS):
        begun = time.perf_counter()
        read = await storage.snapshot("", thread, head, undone=False)
        codec.decode(read.state)
        reads.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        codec.decode(parse(whole))
        decodes.append(time.perf_counter() - begun)
    await app.engine.close()
    file = apsw.Connection(f"{folder}/runyard.db", flags=apsw.SQLITE_OPEN_READONLY)
    kept = file.execute("SELECT sum(length(body)) FROM checkpoints").get
    kept += file.execute("SELECT coalesce(sum(length(value)), 0) FROM pending_writes").get
    return {
        "state_bytes": len(whole),
        "kept_bytes": kept,
        "first_ms": statistics.median(took[5:25]) * 1e3,
        "last_ms": statistics.median(took[-20:]) * 1e3,
        "read_ms": statistics.median(reads) * 1e3,
        "decode_ms": statistics.median(decodes) * 1e3,
    }


async def _timed(work: Any) -> float:
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def theirs(folder: Path, turns: int) -> dict[str, float]:
    """LangGraph's SQLite saver under the graph itself."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    path = folder / "graph.db"
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        called = copy.copy(agents.chat)
        called.checkpointer = saver
        config: Any = {"configurable": {"thread_id": "t"}}
        took = [await _timed(called.ainvoke({"messages": [_turn(number)]}, config)) for number in range(turns)]
        reads = [await _timed(saver.aget_tuple(config)) for _ in range(READS)]
    file = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    kept = file.execute("SELECT sum(length(checkpoint)) FROM checkpoints").get
    kept += file.execute("SELECT coalesce(sum(length(value)), 0) FROM writes").get
    return {
        "kept_bytes": kept,
        "first_ms": statistics.median(took[5:25]) * 1e3,
        "last_ms": statistics.median(took[-20:]) * 1e3,
        "read_ms": statistics.median(reads) * 1e3,
    }


async def main(turns: int) -> dict[str, dict[str, float]]:
    """Both, in folders of their own."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        return {"ours": await ours(Path(one), turns), "theirs": await theirs(Path(other), turns)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
