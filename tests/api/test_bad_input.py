"""Bad input gets a clear error that names the field; nothing is stored, nothing fails on the server's side."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from live_server import Starter, play

from runyard import agent

ABSENT = "01a20c2f-0000-7000-8000-000000000000"


@dataclasses.dataclass
class Question:
    question: str
    urgency: int = 1


@agent
async def answer(input: Question | None = None) -> dict[str, Any]:
    return {"ok": True}


BODIES: list[tuple[bytes, int, str]] = [
    (b"", 422, "body"),
    (b"null", 422, "body"),
    (b"[]", 422, "body"),
    (b"{", 422, "body"),
    (b'{"input": NaN}', 422, "input"),
    (b'{"input": [0, -Infinity]}', 422, "input[1]"),
    (b'{"input": 1e999}', 422, "input"),
    (b'{"input": {"a": -1e400}}', 422, "input.a"),
    (b'{"a":' * 200 + b"1" + b"}" * 200, 422, "body"),
    (b'{"input":"\\ud800"}', 422, "input"),
    (b'{"metadata":{"\\udc00":1}}', 422, "metadata.?"),
    (b'{"input":"\xff"}', 422, "input"),
    (b'{"input":"\xed\xa0\x80"}', 422, "input"),
    (b"\xef\xbb\xbf{}", 422, "body"),
    (b'{"input":1,"input":1}', 422, "input"),
    (b'{"input":{"a":[{"b":1,"\\u0062":2}]}}', 422, "input.a[0].b"),
    (b'{"input":":", "metadata":{"x":"\\u003a\\u003A", "x":2}}', 422, "metadata.x"),
    (b'{"input":18446744073709551616}', 422, "input"),
    (b'{"metadata":{"n":[-9223372036854775809]}}', 422, "metadata.n[0]"),
    (b'{"input":1' + b"0" * 4301 + b"}", 422, "input"),
    (b'{"after_seconds":1' + b"0" * 400 + b"}", 422, "after_seconds"),
    (b'{"input":{"a":"x\\u0000"}}', 422, "input.a"),
    (b'{"metadata":{"\\u0000":1}}', 422, "metadata.\0"),
    (b'{"agent_id":"answer\\u0000"}', 422, "agent_id"),
    (b'{"input":"\0"}', 422, "body"),
    (b'{"input":1}{}', 422, "body"),
    (b'{"input":01}', 422, "body"),
    (b'{"input":1,}', 422, "body"),
    (b"[" * 200_000, 422, "body"),
    (b'{"input":{"question":1}}', 422, "input.question"),
    (b'{"input":{"question":"a","urgency":"high"}}', 422, "input.urgency"),
    (b'{"metadata":null}', 422, "metadata"),
    (b'{"after_seconds":-1}', 422, "after_seconds"),
    (b'{"thread_id":"x"}', 422, "thread_id"),
    (b'{"config":{"recursion_limit":0}}', 422, "config.recursion_limit"),
    (b'{"config":{"tags":"a"}}', 422, "config.tags"),
    (b'{"stream_mode":"bad"}', 422, "stream_mode"),
    (b'{"messages":[{"role":"user","content":null}]}', 422, "messages[0].content"),
    (b'{"messages":[{"role":"user","content":"hi"}]}', 422, "messages"),
    (b'{"command":{"resume":1}}', 422, "thread_id"),
    (b'{"command":{"goto":"node"}}', 422, "command.goto"),
    (b'{"checkpoint":{"checkpoint_id":"z"}}', 422, "checkpoint.checkpoint_id"),
    (b'{"on_completion":"never"}', 422, "on_completion"),
    (b'{"on_disconnect":1}', 422, "on_disconnect"),
    (b'{"if_not_exists":"maybe"}', 422, "if_not_exists"),
    (b'{"multitask_strategy":"x"}', 422, "multitask_strategy"),
    (b'{"webhook":"http://localhost/"}', 422, "webhook"),
    (b'{"assistant_id":"x"}', 422, "assistant_id"),
]


@pytest.mark.parametrize(("body", "status", "field"), BODIES, ids=lambda value: str(value)[:30])
def test_a_wish_that_does_not_fit_is_refused_by_field(server: Starter, body: bytes, status: int, field: str) -> None:
    async def story() -> None:
        async with server(answer) as s:
            for path in ("/runs", "/runs/wait", "/runs/stream"):
                refused = await s.http.post(path, content=body, headers={"content-type": "application/json"})
                assert refused.status_code == status, refused.text
                told = refused.json()
                assert set(told) >= {"code", "message", "metadata"}
                assert told["metadata"]["field"] == field
            assert (await s.post("/runs/search")).json() == []

    play(story())


REQUESTS: list[tuple[str, str, int, str]] = [
    ("PUT", "/runs", 405, "method_not_allowed"),
    ("GET", "/nope", 404, "not_found"),
    ("GET", "/runs/x", 422, "validation_error"),
    ("GET", f"/runs/{ABSENT}", 404, "run_not_found"),
    ("GET", f"/runs/{ABSENT}/wait", 404, "run_not_found"),
    ("GET", f"/runs/{ABSENT}/stream", 404, "run_not_found"),
    ("GET", f"/runs/{ABSENT}/stream?since=abc", 422, "validation_error"),
    ("DELETE", f"/runs/{ABSENT}", 404, "run_not_found"),
    ("POST", f"/runs/{ABSENT}/cancel", 404, "run_not_found"),
    ("POST", f"/runs/{ABSENT}/cancel?action=x", 422, "validation_error"),
    ("POST", f"/runs/{ABSENT}/cancel?wait=maybe", 422, "validation_error"),
    ("GET", f"/threads/{ABSENT}", 404, "thread_not_found"),
    ("GET", f"/threads/{ABSENT}/runs", 404, "thread_not_found"),
    ("GET", f"/threads/{ABSENT}/runs?limit=0", 422, "validation_error"),
    ("GET", f"/threads/{ABSENT}/history?limit=1001", 422, "validation_error"),
    ("POST", f"/threads/{ABSENT}/copy", 404, "thread_not_found"),
    ("DELETE", f"/threads/{ABSENT}", 404, "thread_not_found"),
    ("GET", "/store/items?key=a&namespace=", 400, "malformed_namespace"),
    ("GET", "/store/items?key=a", 404, "item_not_found"),
    ("GET", "/store/items", 422, "validation_error"),
    ("GET", "/agents/none", 404, "agent_not_found"),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), REQUESTS)
def test_a_request_that_makes_no_sense_has_its_code(
    server: Starter, method: str, path: str, status: int, code: str
) -> None:
    async def story() -> None:
        async with server(answer) as s:
            refused = await s.http.request(method, path)
            assert (refused.status_code, refused.json()["code"]) == (status, code)
            assert (refused.headers.get("allow") is not None) == (status == 405)

    play(story())


def test_a_body_over_the_limit_and_one_of_another_type_are_refused(server: Starter) -> None:
    async def story() -> None:
        async with server(answer, max_body_bytes=2000) as s:
            large = await s.post("/runs", {"metadata": {"a": "x" * 3000}})
            assert (large.status_code, large.json()["code"]) == (413, "too_large")
            other = await s.http.post("/runs", content=b"{}", headers={"content-type": "text/plain"})
            assert other.status_code == 415

    play(story())


def test_hosts_and_origins_from_elsewhere_are_refused(server: Starter) -> None:
    async def story() -> None:
        async with server(answer, cors_origins=("https://ours.example",)) as s:
            assert (await s.http.get("/info", headers={"host": "evil.example"})).status_code in (400, 403, 421)
            foreign = await s.http.get("/info", headers={"origin": "https://evil.example"})
            assert foreign.status_code == 403
            ours = await s.http.get("/info", headers={"origin": "https://ours.example"})
            assert ours.headers["access-control-allow-origin"] == "https://ours.example"

    play(story())


def test_a_key_that_reads_may_not_write(server: Starter) -> None:
    from runyard.settings import ApiKey

    async def story() -> None:
        keys = (ApiKey("r", "ada", "read"), ApiKey("w", "ada", "write"))
        async with server(answer, api_keys=keys) as s:
            reader, writer = ({"authorization": f"Bearer {key}"} for key in "rw")
            assert (await s.post("/runs/wait", {}, headers=reader)).status_code == 403
            assert (await s.post("/runs/wait", {}, headers=writer)).status_code == 200
            assert len((await s.post("/runs/search", {}, headers=reader)).json()) == 1
            assert (await s.post("/runs/search", {}, headers={"authorization": "Bearer nope"})).status_code == 401

    play(story())
