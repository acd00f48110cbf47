"""Projects with a `langgraph.json`, and whole servers of them in the test's process."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live_server import Server

from runyard import Context, agent
from runyard.server import create_app
from runyard.settings import Settings

Write = Callable[..., str]
Serve = Callable[..., AbstractAsyncContextManager[Server]]


@agent
async def echo(ctx: Context, input: Any) -> dict[str, Any]:
    """Gives its input back, and keeps some of it where it is told to."""
    if isinstance(input, dict) and "put" in input:
        await ctx.store.put(["kept"], "item", {"n": 1}, input.get("ttl"))
    return {"heard": input}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write({...}, **{"app.py": text})`: a `langgraph.json` and files beside it; the target that names it."""

    def put(manifest: Any, name: str = "langgraph.json", /, **files: str) -> str:
        for file, text in files.items():
            (tmp_path / file).write_text(text)
        path = tmp_path / name
        path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
        return str(path)

    return put


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """`async with serve(target, **settings) as s`: a server of `echo` that obeys a `langgraph.json`."""

    @asynccontextmanager
    async def start(*targets: str, **settings: Any) -> AsyncGenerator[Server]:
        given = {"database": f"sqlite:///{tmp_path}/runyard.db", "default_agent": "echo", "agents": targets, **settings}
        app = create_app(Settings(**given), agents=[echo])
        async with app.running():
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                yield Server(app, http)

    return start
