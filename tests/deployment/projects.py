"""Projects with a `langgraph.json`, and whole servers of them in the test's process."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live_server import Server

from runyard import Context, agent
from runyard.clock import Clock
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


@agent
async def who(ctx: Context) -> dict[str, Any]:
    """Tells for whom it executes."""
    return {"known": ctx.config}


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
    async def start(*targets: str, clock: Clock | None = None, **settings: Any) -> AsyncGenerator[Server]:
        given = {"database": f"sqlite:///{tmp_path}/runyard.db", "default_agent": "echo", "agents": targets, **settings}
        app = create_app(Settings(**given), agents=[echo, who], clock=clock)
        async with app.running():
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as http:
                yield Server(app, http)

    return start


RULES_FILE = (Path(__file__).parent / "auth_rules.py").read_text()


def module_in(folder: Path, name: str) -> Any:
    """A module of a project, as a server has imported it."""
    file = str(folder / name)
    return next(module for module in sys.modules.values() if getattr(module, "__file__", None) == file)


class Guarded:
    """A server with the rules of `auth_rules.py`, and how to speak to it as somebody."""

    def __init__(self, server: Server, rules: Any) -> None:
        self.server = server
        self.rules = rules
        """The module of the rules."""

    def module(self, file: str) -> Any:
        """A module of the project, as the server has imported it."""
        return module_in(Path(self.rules.__file__).parent, file)

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(resource, action) that the handlers were asked since this was read last."""
        found = [(resource, action) for _, resource, action, _ in self.rules.ASKED]
        self.rules.ASKED.clear()
        return found

    @property
    def values(self) -> list[dict[str, Any]]:
        """The values that they were asked with, likewise."""
        found = [value for _, _, _, value in self.rules.ASKED]
        self.rules.ASKED.clear()
        return found

    async def ask(self, who: str, method: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {who}", **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        return await self.server.http.request(method, path, headers=headers, timeout=20, **more)

    async def get(self, who: str, path: str, **more: Any) -> httpx2.Response:
        return await self.ask(who, "GET", path, **more)

    async def post(self, who: str, path: str, body: Any = None, **more: Any) -> httpx2.Response:
        return await self.ask(who, "POST", path, {} if body is None else body, **more)

    async def thread(self, who: str, **body: Any) -> str:
        made = await self.post(who, "/threads", body)
        assert made.status_code == 200, made.text
        return made.json()["thread_id"]


Guard = Callable[..., AbstractAsyncContextManager[Guarded]]


@pytest.fixture
def guard(write: Write, serve: Serve, tmp_path: Path) -> Guard:
    """`async with guard({"threads.read": False, ...}) as s`: a server with these rules; `own` stands for the rule of
    that name."""

    @asynccontextmanager
    async def start(rules: dict[str, Any] | str | None = None, **settings: Any) -> AsyncGenerator[Guarded]:
        manifest = {"auth": {"path": "./auth_rules.py:auth"}, **settings.pop("manifest", {})}
        target = write(manifest, **{"auth_rules.py": RULES_FILE})
        async with serve(target, **settings) as s:
            module = module_in(tmp_path, "auth_rules.py")
            given = {"*": rules} if isinstance(rules, str) else rules or {}
            module.RULES.update({key: module.own if rule == "own" else rule for key, rule in given.items()})
            yield Guarded(s, module)

    return start
