"""Bad input gets a clear error that names the field; nothing is stored, nothing fails on the server's side."""

from __future__ import annotations

import dataclasses
import json
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
    (b'{"webhook":""}', 422, "webhook"),
    (b'{"webhook":null}', 422, "webhook"),
    (b'{"webhook":["https://a.example/"]}', 422, "webhook"),
    (b'{"webhook":"ftp://a.example/"}', 422, "webhook"),
    (b'{"webhook":"https://user:secret@a.example/"}', 422, "webhook"),
    (b'{"webhook":"https://a.example/\\u0000"}', 422, "webhook"),
    (b'{"webhook":"http://2130706433/"}', 422, "webhook"),
    (b'{"webhook":"http://169.254.169.254/latest/meta-data/"}', 422, "webhook"),
    (b'{"webhook":"http://[::ffff:10.0.0.1]:8000/"}', 422, "webhook"),
    (b'{"webhook":"https://a.example/' + b"x" * 65536 + b'"}', 422, "webhook"),
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
    ("GET", "/webhooks/msg_none", 404, "webhook_not_found"),
    ("POST", "/webhooks/msg_none/resend", 404, "webhook_not_found"),
    ("GET", "/webhooks/msg_none/resend", 405, "method_not_allowed"),
    ("GET", "/agents/%00", 404, "agent_not_found"),
    ("GET", "/agents/%ff", 404, "agent_not_found"),
    ("GET", "/agents/a%2Fb", 404, "not_found"),
    ("GET", "/runs/%00", 422, "validation_error"),
    ("GET", "/runs/%ff%fe", 422, "validation_error"),
    ("GET", "/threads/%2e%2e/runs", 422, "validation_error"),
    ("GET", "/threads/%2e%2e%2fruns", 422, "validation_error"),
    ("GET", "//ok", 404, "not_found"),
    ("GET", "/ok/", 404, "not_found"),
    ("GET", "/ok%0A", 404, "not_found"),
    ("POST", "/runs%0A", 404, "not_found"),
    ("GET", "/store/items?key=%00", 422, "validation_error"),
    ("GET", "/store/items?key=a&namespace=%00", 422, "validation_error"),
    ("GET", "/store/items?key=%ff", 422, "validation_error"),
    ("GET", "/store/items?key=a&x%00=1", 422, "validation_error"),
    ("GET", "/store/items?key=a" + "&b=c" * 1000, 422, "validation_error"),
    ("GET", f"/threads/{ABSENT}/history?before=x", 422, "validation_error"),
    ("GET", f"/threads/{ABSENT}/history?limit=1" + "0" * 4301, 422, "validation_error"),
    ("GET", f"/threads/{ABSENT}/runs?offset=9007199254740992", 422, "validation_error"),
    ("GET", f"/threads/{ABSENT}/runs?status=running", 422, "validation_error"),
    ("GET", f"/runs/{ABSENT}/stream?since=9223372036854775808", 422, "validation_error"),
    ("GET", f"/runs/{ABSENT}/stream?since=-2", 422, "validation_error"),
    ("GET", f"/runs/{ABSENT}/stream?since=%D9%A1", 422, "validation_error"),
    ("GET", f"/runs/{ABSENT}/stream?stream_mode=values,x", 422, "validation_error"),
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


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH"])
def test_a_method_that_a_path_has_not_is_told_those_that_it_has(server: Starter, method: str) -> None:
    async def story() -> None:
        async with server(answer) as s:
            described = (await s.get("/openapi.json")).json()["paths"]
            for path, methods in described.items():
                allowed = ", ".join(sorted(name.upper() for name in methods))
                if method.lower() in methods:
                    continue
                refused = await s.http.request(method, path.replace("{run_id}", ABSENT).replace("{thread_id}", ABSENT))
                assert (refused.status_code, refused.headers["allow"]) == (405, allowed), path
                assert method == "HEAD" or refused.json()["code"] == "method_not_allowed"

    play(story())


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (None, 200),
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/merge-patch+json", 200),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("json", 415),
    ],
)
def test_a_body_that_is_declared_as_something_else_is_refused(server: Starter, kind: str | None, status: int) -> None:
    async def story() -> None:
        async with server(answer) as s:
            headers = {} if kind is None else {"content-type": kind}
            told = await s.http.post("/runs/search", content=b"{}", headers=headers)
            assert told.status_code == status
            assert status == 200 or told.json()["code"] == "unsupported_media_type"

    play(story())


def test_a_whole_number_may_have_a_point(server: Starter) -> None:
    async def story() -> None:
        async with server(answer) as s:
            for _ in range(3):
                await s.post("/runs/wait", {"config": {"recursion_limit": 5.0}, "metadata": {"n": 1.0}})
            found = await s.post("/runs/search", {"limit": 2.0, "offset": 1.0})
            assert [(run["config"], run["metadata"]) for run in found.json()] == [
                ({"recursion_limit": 5}, {"n": 1.0})
            ] * 2
            for limit in (2.5, 1e300, "2", True):
                refused = await s.post("/runs/search", {"limit": limit})
                assert (refused.status_code, refused.json()["metadata"]["field"]) == (422, "limit")

    play(story())


def test_a_body_where_none_is_wanted_is_not_looked_at(server: Starter) -> None:
    async def story() -> None:
        async with server(answer) as s:
            assert (await s.http.request("GET", "/ok", content=b"{not JSON")).json() == {"ok": True}
            run = (await s.post("/runs/wait")).json()["run"]
            deleted = await s.http.request("DELETE", f"/runs/{run['run_id']}", content=b"\xff" * 1000)
            assert deleted.status_code == 204

    play(story())


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1, 5e-324, 1.7976931348623157e308])
def test_a_number_that_is_taken_comes_back_exactly(server: Starter, number: float) -> None:
    """From the state, the store, its filters, metadata and the stream."""

    @agent
    async def echo(input: Any) -> dict[str, Any]:
        return {"echo": input}

    async def story() -> None:
        async with server(echo) as s:
            thread = await s.thread(metadata={"n": number})
            done = (await s.post("/runs/wait", {"thread_id": thread, "input": number})).json()
            assert done["values"]["echo"] == done["run"]["input"] == number
            stream = await s.get(f"/runs/{done['run']['run_id']}/stream?since=0&stream_mode=updates,values")
            assert f'"echo":{json.dumps(number).replace("e+", "e")}' in stream.text
            found = (await s.post("/threads/search", {"metadata": {"n": number}})).json()
            assert (found[0]["metadata"]["n"], found[0]["values"]["echo"]) == (number, number)
            item = {"namespace": ["n"], "key": "k", "value": {"n": number}}
            assert (await s.http.put("/store/items", json=item)).status_code == 204
            for wanted in (number, {"$eq": number}, {"$gte": number}):
                items = (await s.post("/store/items/search", {"filter": {"n": wanted}})).json()["items"]
                assert [found["value"]["n"] for found in items] == [number]
            assert (await s.post("/store/items/search", {"filter": {"n": {"$gt": number}}})).json()["items"] == []

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
