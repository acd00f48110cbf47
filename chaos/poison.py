"""A run that ends the whole server each time it is executed, beside runs that do no harm: it stops, they do not.

A supervisor starts the server whenever it has ended, as service managers do.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from chaos.caller import Caller
from chaos.report import Broken, Progress, Rows, silent
from chaos.server import Server

ATTEMPTS = 3
PATIENCE_S = 60.0


def run(*, beside: int = 6, progress: Progress = silent) -> Rows:
    """Creates one poison run among so many others.

    Raises:
        Broken: it did not stop, or took another run with it.
    """
    with tempfile.TemporaryDirectory(prefix="runyard-poison-") as folder:
        server = Server(Path(folder))
        try:
            progress("poison: a run that ends the server each time")
            return asyncio.run(_tell(server, beside))
        except Exception as error:
            again = "again: make chaos ARGS='poison'"
            raise Broken(f"poison: {type(error).__name__}: {error}\n{again}\n{server.log_end()}") from error
        finally:
            server.end()


async def _tell(server: Server, others: int) -> Rows:
    await server.start()
    supervisor = asyncio.ensure_future(_supervise(server))
    try:
        async with Caller(server.url, Random(1)) as caller:
            beside = [await _create(caller, "patient", f"beside-{number}") for number in range(others)]
            for run_id in beside:
                await _begun(caller, run_id)
            poison = await _create(caller, "poison", "poison")
            ended = (await asyncio.wait_for(caller.call("GET", f"/runs/{poison}/wait"), PATIENCE_S)).body
            run = ended["run"]
            if (run["status"], run["attempt"], run["error"]["code"]) != ("error", ATTEMPTS, "attempts_exhausted"):
                raise Broken(f"the poison run ended as {run}")
            starts = server.starts
            before = time.monotonic()
            for run_id in beside:
                done = (await asyncio.wait_for(caller.call("GET", f"/runs/{run_id}/wait"), PATIENCE_S)).body
                if done["status"] != "success" or done["values"]["seen"] != "end":
                    raise Broken(f"a run beside the poison ended as {done}")
            late = await caller.call("POST", "/runs/wait", {"agent_id": "echo", "input": "after"})
            if late.body["status"] != "success" or server.starts != starts or not server.running:
                raise Broken(f"the server did not stay up: {server.starts} starts, then {late}")
            return [
                ("attempts that ended the server, then no more", f"{run['attempt']}"),
                ("reason on the run", run["error"]["message"]),
                ("runs that executed beside it, all succeeded", f"{len(beside)}"),
                ("they ended after it within", f"{time.monotonic() - before:.1f} s"),
                ("starts of the server", f"{starts}"),
            ]
    finally:
        supervisor.cancel()


async def _create(caller: Caller, agent_id: str, key: str) -> str:
    body: dict[str, Any] = {"agent_id": agent_id}
    return (await caller.call("POST", "/runs", body, key=key)).body["run_id"]


async def _begun(caller: Caller, run_id: str) -> None:
    while (await caller.call("GET", f"/runs/{run_id}")).body["attempt"] == 0:
        await asyncio.sleep(0.01)


async def _supervise(server: Server) -> None:
    while True:
        if not server.running:
            await server.start()
        await asyncio.sleep(0.02)
