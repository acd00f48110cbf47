"""A server on a port of its own in a thread of the test's process, and LangGraph's SDK as its client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dialect_agents
import httpx2
import uvicorn
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient

from runyard.clock import Clock
from runyard.server import App, create_app
from runyard.settings import Settings


class Dialect:
    """What a test talks to. `root` is the server, `url` its dialect."""

    def __init__(self, app: App, root: str, loop: asyncio.AbstractEventLoop, prefix: str) -> None:
        self.app = app
        self.root = root
        self.url = root + prefix
        self.loop = loop
        self.sync: SyncLangGraphClient = get_sync_client(url=self.url, api_key=None)
        self.http = httpx2.Client(base_url=self.url, timeout=20)
        self.native = httpx2.Client(base_url=root, timeout=20)
        """The Agent Protocol of the same server."""

    def client(self) -> LangGraphClient:
        """An async client, for one test's loop."""
        return get_client(url=self.url, api_key=None)

    def thread(self, **fields: Any) -> str:
        return self.sync.threads.create(**fields)["thread_id"]

    def on_server(self, waits: Any) -> Any:
        """What a coroutine of the server's loop gives."""
        return asyncio.run_coroutine_threadsafe(waits, self.loop).result(20)


class _Runner(uvicorn.Server):
    """Ends at once, and does not look every now and then whether it should."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    async def main_loop(self) -> None:
        await self.over.wait()

    async def shutdown(self, sockets: Any = None) -> None:
        for each in self.servers:
            each.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()


@contextmanager
def dialect_server(
    folder: Path,
    prefix: str = "/langgraph",
    agents: Any = None,
    clock: Clock | None = None,
    targets: tuple[str, ...] = (),
    **settings: Any,
) -> Iterator[Dialect]:
    """Serves until the block ends."""
    given: dict[str, Any] = {
        "database": f"sqlite:///{folder}/runyard.db", "synchronous": "normal", "disconnect_grace": 0.0,
        "webhook_allow": ("127.0.0.1",), "agents": targets, **settings,
    }  # fmt: skip
    app = create_app(Settings(**given), agents=agents or dialect_agents.AGENTS, clock=clock)
    ready = threading.Event()
    found: list[Dialect] = []
    enders: list[Any] = []

    async def serve() -> None:
        config = uvicorn.Config(
            app, port=0, log_config=None, log_level="critical", lifespan="off", ws="websockets-sansio"
        )
        runner = _Runner(config)
        await app.engine.start()
        serving = asyncio.create_task(runner.serve())
        while not runner.started:
            await asyncio.sleep(0.001)
        port = runner.servers[0].sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        found.append(Dialect(app, f"http://127.0.0.1:{port}", loop, prefix))
        enders.append(lambda: loop.call_soon_threadsafe(runner.over.set))
        ready.set()
        await serving
        await app.engine.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait(20)
    try:
        yield found[0]
    finally:
        enders[0]()
        thread.join(20)
