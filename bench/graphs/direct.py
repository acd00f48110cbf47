"""A graph called directly, with no server: `python -m bench.graphs.direct GRAPH SAVER CONCURRENCY SECONDS`."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from bench.graphs import agents


@contextlib.asynccontextmanager
async def saver(kind: str) -> AsyncGenerator[Any]:
    """LangGraph's own: `memory`, `sqlite` (a file), or `none`."""
    if kind == "memory":
        from langgraph.checkpoint.memory import InMemorySaver

        yield InMemorySaver()
    elif kind == "sqlite":
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

        with tempfile.TemporaryDirectory() as folder:
            async with AsyncSqliteSaver.from_conn_string(str(Path(folder) / "graph.db")) as made:
                yield made
    else:
        yield None


async def main(name: str, kind: str, concurrency: int, seconds: float) -> dict[str, float]:
    """Runs per second of `graph.ainvoke`, each on a thread of its own."""
    graph = copy.copy(getattr(agents, name))
    async with saver(kind) as graph.checkpointer:
        done = 0
        begun = time.perf_counter()

        async def call() -> None:
            nonlocal done
            while time.perf_counter() < begun + seconds:
                await graph.ainvoke({"n": 1}, {"configurable": {"thread_id": str(uuid.uuid4())}, "recursion_limit": 99})
                done += 1

        await asyncio.gather(*(call() for _ in range(concurrency)))
        return {"per_second": done / (time.perf_counter() - begun)}


if __name__ == "__main__":
    import uvloop

    name, kind, concurrency, seconds = sys.argv[1:]
    print(json.dumps(uvloop.run(main(name, kind, int(concurrency), float(seconds)))))
