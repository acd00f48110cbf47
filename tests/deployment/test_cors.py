"""`http.cors` of a `langgraph.json`: whose pages may call, and what a browser is told."""

from __future__ import annotations

from typing import Any

from live_server import Server, play
from projects import Serve, Write

HERE = {"Host": "testserver"}


async def preflight(s: Server, origin: str, **headers: str) -> Any:
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return await s.http.options("/threads", headers=asks)


def test_listed_and_fitting_origins_may_call_and_others_may_not(write: Write, serve: Serve) -> None:
    cors = {"allow_origins": ["https://a.example"], "allow_origin_regex": r"https://\w+\.b\.example"}

    async def story() -> None:
        async with serve(write({"http": {"cors": cors}}), cors_origins=("https://set.example",)) as s:
            for origin in ("https://a.example", "https://x.b.example", "https://set.example"):
                answer = await s.http.get("/ok", headers={"Origin": origin})
                assert answer.headers["access-control-allow-origin"] == origin
            for origin in ("https://a.example.evil", "https://x.b.example.evil", "https://b.example"):
                answer = await s.http.get("/ok", headers={"Origin": origin})
                assert answer.status_code == 403
                assert "access-control-allow-origin" not in answer.headers

    play(story())


def test_a_preflight_is_answered_as_the_file_says(write: Write, serve: Serve) -> None:
    cors = {
        "allow_origins": ["*"], "allow_methods": ["GET", "POST"], "allow_headers": ["X-Mine"], "max_age": 7,
        "allow_credentials": True, "expose_headers": ["X-Told"],
    }  # fmt: skip

    async def story() -> None:
        async with serve(write({"http": {"cors": cors}})) as s:
            told = (await preflight(s, "https://any.example")).headers
            assert told["access-control-allow-origin"] == "https://any.example"
            assert told["access-control-allow-methods"] == "GET, POST"
            assert told["access-control-allow-headers"] == "X-Mine"
            assert told["access-control-max-age"] == "7"
            assert told["access-control-allow-credentials"] == "true"
            told = (await s.http.get("/ok", headers={"Origin": "https://any.example"})).headers
            assert told["access-control-allow-credentials"] == "true"
            exposed = told["access-control-expose-headers"].split(", ")
            assert {"X-Told", "Content-Location", "Location"} <= set(exposed), "what clients need stays"

    play(story())


def test_any_headers_and_methods_are_those_that_are_asked_for(write: Write, serve: Serve) -> None:
    cors = {"allow_origins": ["*"], "allow_methods": ["*"], "allow_headers": ["*"]}

    async def story() -> None:
        async with serve(write({"http": {"cors": cors}})) as s:
            asks = {"Access-Control-Request-Headers": "authorization, x-odd"}
            told = (await preflight(s, "https://any.example", **asks)).headers
            assert told["access-control-allow-headers"] == "authorization, x-odd"
            assert told["access-control-allow-methods"] == "POST"
            assert "access-control-allow-credentials" not in told

    play(story())


def test_each_face_refuses_a_foreign_origin_in_its_own_words(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"mount_prefix": "/api"}})) as s:
            foreign = {"Origin": "https://evil.example"}
            assert "message" in (await s.http.get("/api/ok", headers=foreign)).json()
            assert "detail" in (await s.http.get("/api/langgraph/ok", headers=foreign)).json()

    play(story())
