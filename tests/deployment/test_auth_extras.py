"""`auth.cache` and `auth.openapi` of a `langgraph.json`."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from live_server import Server, play
from projects import Serve, Write

from runyard.api.authorization.remembered import Remembered
from runyard.clock import Clock
from runyard.settings import ApiKey
from runyard.users import User

RULES = """
from langgraph_sdk import Auth

auth = Auth()
ASKED = [0]

@auth.authenticate
async def authenticate(authorization):
    ASKED[0] += 1
    if authorization == "Bearer nobody":
        raise Auth.exceptions.HTTPException(status_code=401, detail="no")
    identity = (authorization or "Bearer guest").removeprefix("Bearer ")
    return {"identity": identity, "permissions": ["talk"], "number": ASKED[0]}

@auth.on
async def everything(ctx, value):
    ctx.user.permissions.append("more")
    value.setdefault("metadata", {}).update(asked=ctx.user.number, who=ctx.user.identity, may=ctx.user.permissions)
"""


class Shifted(Clock):
    """The time, and as much more as a test says."""

    def __init__(self) -> None:
        self.more = 0

    def now(self) -> int:
        return super().now() + self.more


async def seen(s: Server, **headers: str) -> Any:
    """What the handlers know when a thread is made, or the status of a refusal."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer: httpx2.Response = await s.post("/threads", {}, headers=sent)
    if answer.status_code != 200:
        return answer.status_code
    told = answer.json()["metadata"]
    return told["asked"], told["who"], told["may"]


def test_who_was_let_in_is_known_by_the_named_headers_for_a_while(write: Write, serve: Serve) -> None:
    cache = {"cache_keys": ["Authorization", "x-org"], "ttl_seconds": 60, "max_size": 2}
    target = write({"auth": {"path": "rules.py:auth", "cache": cache}}, **{"rules.py": RULES})
    may = ["talk", "more"]

    async def story() -> None:
        clock = Shifted()
        async with serve(target, clock=clock) as s:
            mia = {"authorization": "Bearer mia"}
            assert await seen(s, **mia) == (1, "mia", may)
            assert await seen(s, **mia) == (1, "mia", may), "and what a handler changed is forgotten"
            assert await seen(s, **mia, x_other="1") == (1, "mia", may)
            assert await seen(s, **mia, x_org="1") == (2, "mia", may)
            assert await seen(s, authorization="Bearer bob") == (3, "bob", may), "the first has to go"
            assert await seen(s, **mia) == (4, "mia", may)
            clock.more += 59_000_000
            assert await seen(s, **mia) == (4, "mia", may)
            clock.more += 2_000_000
            assert await seen(s, **mia) == (5, "mia", may)
            for asked in (7, 9):
                assert await seen(s, authorization="Bearer nobody") == 401
                assert await seen(s) == (asked, "guest", may), "refusals are not known, nor who sends nothing"
            assert await seen(s, **mia) == (5, "mia", may)

    play(story())


def test_requests_with_none_of_the_headers_are_asked_each_time() -> None:
    known = Remembered(["authorization"], 60, 5, lambda: 0)
    assert known.key_of({b"x": b"1"}) is None
    both = Remembered(["a", "b"], 60, 5, lambda: 0)
    keys = [both.key_of(headers) for headers in ({b"a": b"1"}, {b"b": b"1"}, {b"a": b"1", b"b": b""}, {b"a": b"-1"})]
    assert None not in keys
    assert len(set(keys)) == 4


@pytest.mark.parametrize("bound", [1, 3])
def test_no_more_are_remembered_than_may_be(bound: int) -> None:
    known = Remembered(["a"], 60, bound, lambda: 0)
    keys = [known.key_of({b"a": b"%d" % number}) or b"" for number in range(5)]
    for key in keys:
        known.remember(key, User({"identity": "x"}))
    assert [known.user(key) is not None for key in keys] == [number >= 5 - bound for number in range(5)]


def test_a_body_is_there_whether_somebody_was_asked_or_not(write: Write, serve: Serve) -> None:
    rules = RULES.replace("authenticate(authorization)", "authenticate(authorization, body)")
    cache = {"cache_keys": ["authorization"], "ttl_seconds": 60}
    target = write({"auth": {"path": "rules.py:auth", "cache": cache}}, **{"rules.py": rules})

    async def story() -> None:
        async with serve(target) as s:
            for number in (1, 2):
                headers = {"authorization": "Bearer mia"}
                answer = await s.post("/threads", {"metadata": {"n": number}}, headers=headers)
                assert answer.json()["metadata"] == {"n": number, "asked": 1, "who": "mia", "may": ["talk", "more"]}

    play(story())


OPENAPI = {
    "securitySchemes": {"OAuth2": {"type": "oauth2", "flows": {"password": {"tokenUrl": "/token", "scopes": {}}}}},
    "security": [{"OAuth2": ["read"]}],
    "paths": {"/threads/{thread_id}": {"GET": [{"OAuth2": []}], "delete": []}, "/gone": {"get": []}},
}


def test_the_served_documents_say_who_may_ask(write: Write, serve: Serve) -> None:
    def target(**openapi: Any) -> str:
        return write({"auth": {"path": "rules.py:auth", "openapi": openapi}}, **{"rules.py": RULES})

    async def documents(s: Server) -> list[Any]:
        assert (await s.get("/docs")).status_code == 200
        return [(await s.get(path)).json() for path in ("/openapi.json", "/langgraph/openapi.json")]

    async def story() -> None:
        async with serve(target(**OPENAPI)) as s:
            for found in await documents(s):
                assert found["components"]["securitySchemes"]["OAuth2"] == OPENAPI["securitySchemes"]["OAuth2"]
                assert found["security"] == [{"OAuth2": ["read"]}]
                assert found["paths"]["/threads/{thread_id}"]["get"]["security"] == [{"OAuth2": []}]
                assert found["paths"]["/threads/{thread_id}"]["delete"]["security"] == []
                assert "security" not in found["paths"]["/threads"]["post"]
                assert found["paths"]["/ok"]["get"]["security"] == []
                assert "/gone" not in found["paths"]
        keys = (ApiKey("k" * 32, "mia", "write"),)
        async with serve(target(**OPENAPI), api_keys=keys) as s:
            assert (await documents(s))[0]["security"] == [{"OAuth2": ["read"], "key": []}], "a key is needed beside it"
        async with serve(target(securitySchemes=OPENAPI["securitySchemes"])) as s:
            (found, _) = await documents(s)
            assert "security" not in found
            assert "security" not in found["paths"]["/ok"]["get"]
            assert {"bearer": []} in found["paths"]["/threads"]["post"]["security"]

    play(story())
