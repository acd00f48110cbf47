"""`auth` of a `langgraph.json`: who asks, what `authenticate` is given, and what becomes of what it raises."""

from __future__ import annotations

from typing import Any

import pytest
from live_server import play
from postgres_server import Postgres
from projects import Guard, Serve, Write

from runyard.errors import InvalidInput

HEAD = """
from types import SimpleNamespace
from langgraph_sdk import Auth

auth = Auth()
SEEN = []
"""


async def told(serve: Serve, write: Write, text: str, path: str = "/threads", **settings: Any) -> Any:
    """The answer to one request for which a file's `authenticate` was asked."""
    async with serve(write({"auth": {"path": "auth.py:auth"}}, **{"auth.py": HEAD + text}), **settings) as s:
        return await s.http.post(path, json={"metadata": {"a": 1}}, headers={"Authorization": "Bearer x"})


@pytest.mark.parametrize(
    "gives",
    [
        "'mia'", "{'identity': 'mia'}", "{'identity': 'mia', 'permissions': ('a',), 'team': 'red'}",
        "SimpleNamespace(identity='mia', permissions=['a'], team='red')",
    ],
)  # fmt: skip
def test_a_user_is_a_text_a_mapping_or_an_object(serve: Serve, write: Write, gives: str) -> None:
    text = f"""
@auth.authenticate
async def authenticate(authorization):
    return {gives}

@auth.on.threads.create
async def create(ctx, value):
    user = ctx.user
    assert user.identity == user["identity"] == user.display_name == "mia", repr(user)
    assert user.is_authenticated and "identity" in user and user.get("absent") is None
    if "team" in user:
        assert user.team == user["team"] == "red"
        assert ctx.permissions == user.permissions == ["a"]
    value["metadata"]["seen"] = repr(user)
"""
    answer = None

    async def story() -> None:
        nonlocal answer
        answer = await told(serve, write, text)

    play(story())
    assert answer.status_code == 200, answer.text
    assert answer.json()["metadata"] == {"a": 1, "seen": "User(identity='mia')"}


def test_it_is_given_what_it_asks_for_by_name(serve: Serve, write: Write) -> None:
    text = """
@auth.authenticate
def authenticate(request, body, path, method, path_params, query_params, headers, authorization, more=5):
    assert more == 5
    return {"identity": "mia", "told": [
        body, path, method, path_params, query_params, headers[b"x-mine"].decode(), authorization, request.url.path,
    ]}

@auth.on
async def everything(ctx, value):
    value.setdefault("metadata", {})["told"] = ctx.user.told
"""

    async def story() -> None:
        async with serve(write({"auth": {"path": "auth.py:auth"}}, **{"auth.py": HEAD + text})) as s:
            thread_id = await _thread(s)
            for base in ("", "/langgraph"):
                path = f"/threads/{thread_id}"
                headers = {"Authorization": "Bearer x", "X-Mine": "y"}
                answer = await s.http.patch(f"{base}{path}?q=1", json={"metadata": {"b": 2}}, headers=headers)
                assert answer.status_code == 200, answer.text
                assert answer.json()["metadata"]["told"] == [
                    {"metadata": {"b": 2}}, path, "PATCH", {"thread_id": thread_id}, {"q": "1"}, "y", "Bearer x",
                    base + path,
                ]  # fmt: skip
                assert answer.json()["metadata"]["b"] == 2, "the body was read twice"

    play(story())


async def _thread(s: Any) -> str:
    return (await s.http.post("/threads", json={}, headers={"x-mine": "y"})).json()["thread_id"]


def test_a_status_that_is_raised_is_the_answer_in_the_words_of_the_face(guard: Guard) -> None:
    async def story() -> None:
        async with guard() as s:
            refused = await s.server.http.get("/threads/" + "0" * 36)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
            assert refused.json()["message"] == "who are you?"
            assert refused.headers["x-hint"] == "Bearer NAME"
            refused = await s.server.http.post("/langgraph/threads/search", json={})
            assert (refused.status_code, refused.json()["detail"]) == (401, "who are you?")
            for path in ("/ok", "/ready", "/info", "/docs", "/openapi.json", "/langgraph/ok", "/langgraph/info"):
                assert (await s.server.http.get(path)).status_code == 200, "these say nothing of anybody"
            assert (await s.server.http.get("/metrics")).status_code == 401
            assert (await s.get("mia", "/metrics")).status_code == 200
            assert s.asked == [], "nobody is asked who may do what is refused"

    play(story())


@pytest.mark.parametrize(
    ("raises", "status", "said", "logged"),
    [
        ("Auth.exceptions.HTTPException(status_code=418, detail='teapot')", 418, "teapot", False),
        ("Auth.exceptions.HTTPException(status_code=503, detail='no directory')", 503, "no directory", False),
        ("AssertionError('not today')", 401, "not today", False),
        ("KeyError('token')", 403, "its log says why", True),
    ],
)
def test_what_authenticate_raises(
    serve: Serve, write: Write, caplog: pytest.LogCaptureFixture, raises: str, status: int, said: str, logged: bool
) -> None:
    text = f"\n@auth.authenticate\nasync def authenticate():\n    raise {raises}\n"

    async def story() -> None:
        answer = await told(serve, write, text)
        assert answer.status_code == status
        assert said in answer.json()["message"]
        assert ("auth handler failed" in caplog.text) is logged
        assert not logged or "authenticate" in caplog.text

    play(story())


@pytest.mark.parametrize(
    ("raises", "status", "said", "logged"),
    [
        ("raise Auth.exceptions.HTTPException(status_code=402, detail='pay first')", 402, "pay first", False),
        ("raise AssertionError('not yours')", 403, "not yours", False),
        ("raise KeyError('team')", 403, "its log says why", True),
        ("return False", 403, "threads.create is not allowed to mia", False),
        ("return 5", 403, "threads.create is not allowed", True),
        ("return {'metadata': {'owner': 'x'}}", 403, "operator 'owner'", True),
        ("return {'owner': {'$regex': 'x'}}", 403, "operator '$regex'", True),
        ("value['metadata'] = 5", 403, "metadata that cannot be kept", False),
    ],
)
def test_what_a_handler_does_that_allows_nothing(
    serve: Serve, write: Write, caplog: pytest.LogCaptureFixture, raises: str, status: int, said: str, logged: bool
) -> None:
    text = f"""
@auth.authenticate
async def authenticate():
    return "mia"

@auth.on.threads.create
async def create(ctx, value):
    {raises}
"""

    async def story() -> None:
        answer = await told(serve, write, text)
        assert answer.status_code == status, answer.text
        assert said in answer.json()["message"]
        assert ("auth handler" in caplog.text) is logged

    play(story())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auth = 5", "is int, no Auth object"),
        ("", "no function under @authenticate"),
        ("@auth.authenticate\nasync def f(token):\n    return token\n", "a parameter 'token'"),
    ],
)
def test_what_is_no_auth_stops_the_start(serve: Serve, write: Write, text: str, said: str) -> None:
    async def story() -> None:
        with pytest.raises(InvalidInput, match=said):
            await told(serve, write, text)

    play(story())


def test_the_most_specific_handler_is_asked(serve: Serve, write: Write) -> None:
    text = """
@auth.authenticate
async def authenticate():
    return "mia"

def says(name):
    async def handler(ctx, value):
        raise Auth.exceptions.HTTPException(status_code=403, detail=name)
    return handler

auth.on.threads.create(says("threads.create"))
auth.on.threads(says("threads"))
auth.on(actions="delete")(says("*.delete"))
auth.on.store.put(says("store.put"))
auth.on(says("*"))
"""

    async def story() -> None:
        async with serve(write({"auth": {"path": "auth.py:auth"}}, **{"auth.py": HEAD + text})) as s:
            item = {"namespace": ["a"], "key": "b"}
            for method, path, body, expected in (
                ("POST", "/threads", {}, "threads.create"), ("POST", "/threads/search", {}, "threads"),
                ("PUT", "/store/items", {**item, "value": {}}, "store.put"),
                ("DELETE", "/store/items", item, "*.delete"), ("POST", "/agents/search", {}, "*"),
            ):  # fmt: skip
                answer = await s.http.request(method, path, json=body)
                assert (answer.status_code, answer.json()["message"]) == (403, expected)

    play(story())


def test_keys_stay_beneath_it(guard: Guard) -> None:
    from runyard.settings import ApiKey

    keys = (ApiKey("secret", "team"), ApiKey("looking", "team", "read"), ApiKey("elsewhere", "other"))

    async def story() -> None:
        async with guard(api_keys=keys) as s:
            assert (await s.post("mia", "/threads")).status_code == 401, "a token is no key"
            key = {"headers": {"X-API-Key": "secret"}}
            made = await s.post("mia", "/threads", **key)
            assert made.status_code == 200
            assert (await s.post("mia", "/threads", headers={"X-API-Key": "looking"})).status_code == 403
            path = f"/threads/{made.json()['thread_id']}"
            assert (await s.get("bob", path, headers={"X-API-Key": "looking"})).status_code == 200
            assert (await s.get("mia", path, headers={"X-API-Key": "elsewhere"})).status_code == 404

    play(story())


def test_own_routes_are_open_unless_they_are_to_be_asked_for(serve: Serve, write: Write) -> None:
    app = """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def who(request):
    name = getattr(request.scope.get("user"), "identity", None)
    body = (await request.body()).decode()
    return JSONResponse([name, body, [*request.auth.scopes] if name else []])

app = Starlette(routes=[Route("/who", who, methods=["POST"])])
"""
    auth = """
from langgraph_sdk import Auth
auth = Auth()

@auth.authenticate
async def authenticate(authorization, body):
    assert authorization, "nobody"
    return {"identity": authorization + body["x"], "permissions": ["a"]}
"""
    files = {"app.py": app, "auth.py": auth}

    async def story() -> None:
        for flag in (False, True):
            http = {"app": "app.py:app", "enable_custom_route_auth": flag}
            async with serve(write({"http": http, "auth": {"path": "auth.py:auth"}}, **files)) as s:
                answer = await s.http.post("/who", json={"x": "y"})
                assert answer.status_code == (401 if flag else 200)
                named = await s.http.post("/who", json={"x": "y"}, headers={"Authorization": "mia"})
                expected = ["miay", '{"x":"y"}', ["authenticated", "a"]] if flag else [None, '{"x":"y"}', []]
                assert named.json() == expected

    play(story())


def test_a_server_that_executes_nothing_obeys_the_file_all_the_same(
    serve: Serve, write: Write, postgres: Postgres
) -> None:
    """Graphs are the workers'; who may do what, and the user's own routes, are every server's."""
    text = "\n@auth.authenticate\nasync def authenticate(authorization):\n    assert authorization\n    return 'mia'\n"
    app = "from starlette.applications import Starlette\nfrom starlette.responses import PlainTextResponse\n"
    app += "from starlette.routing import Route\n\napp = Starlette(routes=[Route('/own', PlainTextResponse('mine'))])\n"

    async def story() -> None:
        http = {"app": "app.py:app", "cors": {"allow_origins": ["https://a.example"]}}
        manifest = {"auth": {"path": "auth.py:auth"}, "http": http, "graphs": {"gone": "./gone.py:graph"}}
        target = write(manifest, **{"auth.py": HEAD + text, "app.py": app})
        async with serve(target, workers=0, database=await postgres.emptied(), default_agent=None) as s:
            assert (await s.http.post("/threads", json={})).status_code == 401
            assert (await s.http.post("/threads", json={}, headers={"Authorization": "x"})).status_code == 200
            shared = await s.http.get("/own", headers={"Origin": "https://a.example"})
            assert (shared.text, shared.headers["access-control-allow-origin"]) == ("mine", "https://a.example")

    play(story())
