"""`http.app` of a `langgraph.json`: the user's own routes, middleware and lifespan, in front of the API."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from live_server import Server, play
from projects import Serve, Write, module_in

from runyard.errors import Unavailable

APP = '''
import contextlib
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

LIFE = []

@contextlib.asynccontextmanager
async def lifespan(app):
    LIFE.append("begun")
    yield {"pool": "open"}
    LIFE.append("over")

async def hello(request):
    return JSONResponse({"pool": request.state.pool, "url": str(request.url_for("hello"))})

async def shout(request):
    return PlainTextResponse((await request.body()).upper())

async def info(request):
    return PlainTextResponse("mine")

async def talk(socket):
    await socket.accept()
    await socket.send_text("mine")
    await socket.close()

class Stamp:
    """Middleware: it marks answers, and tells a secret to what comes behind it."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"yes")]
            await send(message)
        if scope["type"] == "http":
            scope["headers"] = [*scope["headers"], (b"idempotency-key", b"of-the-middleware")]
        await self.app(scope, receive, stamped)

app = Starlette(
    routes=[
        Route("/hello", hello), Route("/shout", shout, methods=["POST"]), Route("/info", info), Route("/docs", info),
        Route("/openapi.json", info), WebSocketRoute("/talk", talk), Mount("/", PlainTextResponse("a page")),
    ],
    middleware=[Middleware(Stamp)],
    lifespan=lifespan,
)

async def plain(scope, receive, send):
    """An ASGI app of no framework, which speaks no lifespan."""
    assert scope["type"] == "http"
    await PlainTextResponse("plain " + scope["path"])(scope, receive, send)

@contextlib.asynccontextmanager
async def fails(app):
    raise OSError("no database there")
    yield

broken = Starlette(lifespan=fails)
'''


def test_own_routes_win_but_for_pages_about_the_api(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"app": "./app.py:app"}}, **{"app.py": APP})) as s:
            assert (await s.get("/hello")).json() == {"pool": "open", "url": "http://testserver/hello"}
            assert (await s.http.post("/shout", content=b"abc")).text == "ABC"
            assert (await s.get("/info")).text == "mine"
            assert (await s.get("/openapi.json")).json()["openapi"]
            assert "<html" in (await s.get("/docs")).text
            assert (await s.get("/whatever")).text == "a page", "what the API has not is below the app's root"
            assert (await s.post("/runs/wait", {"input": 1})).json()["values"] == {"heard": 1}

    play(story())


def test_own_routes_are_below_each_face_as_below_the_root(write: Write, serve: Serve) -> None:
    async def story() -> None:
        target = write({"http": {"app": "app.py:app", "mount_prefix": "/api"}}, **{"app.py": APP})
        async with serve(target) as s:
            for base in ("/api", "/api/langgraph"):
                told = (await s.get(f"{base}/hello")).json()
                assert told["url"] == f"http://testserver{base}/hello"
            assert (await s.get("/hello")).status_code == 404

    play(story())


def test_middleware_sees_every_request_and_may_change_it(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"app": "app.py:app"}}, **{"app.py": APP})) as s:
            assert (await s.get("/hello")).headers["x-stamp"] == "yes"
            first, again = await s.post("/runs", {"input": 1}), await s.post("/runs", {"input": 1})
            assert first.headers["x-stamp"] == again.headers["x-stamp"] == "yes"
            assert first.json()["run_id"] == again.json()["run_id"], "the key that the middleware added counts"
            assert (await s.get("/langgraph/ok")).headers["x-stamp"] == "yes"

    play(story())


def test_a_stream_goes_through_the_app_piece_by_piece(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"app": "app.py:app"}}, **{"app.py": APP})) as s:
            async with s.http.stream("POST", "/runs/stream", json={"input": 1}) as answer:
                text = "".join([piece async for piece in answer.aiter_text()])
            assert answer.headers["x-stamp"] == "yes"
            assert text.count("event: end") == 1

    play(story())


def test_web_sockets_reach_the_app_and_the_api(write: Write, serve: Serve) -> None:
    async def spoken(s: Server, path: str) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []
        asked = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

        async def receive() -> dict[str, Any]:
            return next(asked)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"testserver")], "scheme": "ws", "server": ("testserver", 80),
        }  # fmt: skip
        await s.app(scope, receive, send)
        return sent

    async def story() -> None:
        async with serve(write({"http": {"app": "app.py:app"}}, **{"app.py": APP})) as s:
            assert [message.get("text") for message in await spoken(s, "/talk")][1] == "mine"
            (accepted, *_) = await spoken(s, f"/threads/{await s.thread()}/stream")
            assert accepted["type"] == "websocket.accept"

    play(story())


def test_the_app_lives_as_long_as_the_server(write: Write, serve: Serve, tmp_path: Path) -> None:
    async def story() -> None:
        async with serve(write({"http": {"app": "app.py:app"}}, **{"app.py": APP})) as s:
            life = module_in(tmp_path, "app.py").LIFE
            assert life[-1] == "begun"
            assert (await s.get("/ready")).json()["ready"]
        assert life[-1] == "over"

    play(story())


def test_an_app_may_be_in_two_servers(write: Write, serve: Serve, tmp_path: Path) -> None:
    async def story() -> None:
        target = write({"http": {"app": "app.py:app"}}, **{"app.py": APP})
        async with serve(target) as one, serve(target, database=f"sqlite:///{tmp_path}/other.db") as other:
            run = await one.run(input=1)
            assert (await one.get(f"/runs/{run['run_id']}")).status_code == 200
            assert (await other.get(f"/runs/{run['run_id']}")).status_code == 404
            assert (await other.get("/hello")).status_code == 200

    play(story())


def test_an_app_of_no_framework_has_what_the_api_has_not(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"app": "app.py:plain"}}, **{"app.py": APP})) as s:
            assert (await s.get("/anything")).text == "plain /anything"
            assert (await s.get("/ok")).json() == {"ok": True}

    play(story())


def test_an_app_that_does_not_start_stops_the_server_and_says_why(write: Write, serve: Serve) -> None:
    async def story() -> None:
        with pytest.raises(Unavailable, match=r"http\.app app\.py:broken does not start: OSError: no database there"):
            async with serve(write({"http": {"app": "app.py:broken"}}, **{"app.py": APP})):
                pass

    play(story())


def test_a_foreign_page_may_not_call_own_routes_either(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"app": "app.py:app"}}, **{"app.py": APP})) as s:
            assert (await s.http.get("/hello", headers={"Origin": "https://evil.example"})).status_code == 403

    play(story())


def test_it_is_started_and_stopped_by_the_command_line_too(write: Write, tmp_path: Path) -> None:
    async def story() -> None:
        process = await _command(write, tmp_path)
        try:
            assert process.stderr is not None
            while b"is ready on" not in (line := await process.stderr.readline()):
                assert line, "it ended"
        finally:
            process.terminate()
        _, rest = await process.communicate()
        assert process.returncode == 0, rest
        assert (tmp_path / "life.txt").read_text() == "begun over "

    play(story())


async def _command(write: Write, folder: Path) -> asyncio.subprocess.Process:
    life = "import contextlib\nfrom starlette.applications import Starlette\n\n@contextlib.asynccontextmanager\n"
    life += "async def lifespan(app):\n    with open('life.txt', 'a') as file:\n        file.write('begun ')\n"
    life += "    yield\n    with open('life.txt', 'a') as file:\n        file.write('over ')\n\n"
    life += "app = Starlette(lifespan=lifespan)\n"
    agent = "from runyard import agent\n\n\n@agent\ndef plain():\n    pass\n"
    write(json.dumps({"http": {"app": "app.py:app"}}), **{"app.py": life, "plain.py": agent})
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runyard", "serve", "plain.py", "langgraph.json", "--port", "0",
        cwd=folder, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
