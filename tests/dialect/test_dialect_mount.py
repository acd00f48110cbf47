"""Where the two faces are, and how the gate and errors of HTTP itself speak under each."""

from __future__ import annotations

from typing import Any

import pytest
from live_fixtures import server
from live_server import Starter, play

from runyard import agent
from runyard.settings import ApiKey

__all__ = ["server"]


@agent
async def echoes(input: Any) -> Any:
    return {"echo": input}


def test_either_face_is_at_the_root(server: Starter) -> None:
    async def story() -> None:
        for root, dialect, native in (("agent-protocol", "/langgraph", ""), ("langgraph", "", "/agent-protocol")):
            async with server(echoes, root=root) as s:
                assert (await s.get(f"{dialect}/info")).json()["host"]["kind"] == "runyard"
                assert (await s.get(f"{native}/info")).json()["name"] == "runyard"
                assert [(await s.get(f"{face}/ready")).json()["ready"] for face in (native, dialect)] == [True, True]
                waited = await s.post(f"{dialect}/runs/wait", {"assistant_id": "echoes", "input": 1})
                assert waited.json() == {"echo": 1}
                waited = await s.post(f"{native}/runs/wait", {"agent_id": "echoes", "input": 1})
                assert waited.json()["values"] == {"echo": 1}
                created = await s.post(f"{native}/runs", {"agent_id": "echoes", "input": 1})
                assert created.headers["location"].startswith(f"{native}/runs/")

    play(story())


def test_refusals_are_in_the_words_of_their_face(server: Starter) -> None:
    async def story() -> None:
        async with server(echoes, api_keys=(ApiKey("k", "mia", "read"),), allowed_hosts=("testserver",)) as s:
            for path, keys in (("", {"code", "message", "metadata"}), ("/langgraph", {"detail", "code"})):
                key = {"x-api-key": "k"}
                for answer, status in (
                    (await s.get(f"{path}/none"), 404),
                    (await s.http.put(f"{path}/runs", headers=key), 405),
                    (await s.post(f"{path}/runs", {}), 401),
                    (await s.post(f"{path}/runs", {}, headers=key), 403),
                    (await s.http.get(f"{path}/runs", headers={"host": "evil"}), 403),
                    (await s.http.get(f"{path}/runs", headers={"origin": "http://evil"}), 403),
                ):
                    assert answer.status_code == status, answer.text
                    assert set(answer.json()) == keys
                assert (await s.http.get(f"{path}/ok", headers={"host": "10.0.0.1"})).status_code == 200

    play(story())


def test_whoever_may_read_may_join_and_ends_nothing_by_leaving(server: Starter) -> None:
    async def story() -> None:
        keys = (ApiKey("w", "mia"), ApiKey("r", "mia", "read"))
        async with server(echoes, api_keys=keys) as s:
            writes, reads = {"x-api-key": "w"}, {"x-api-key": "r"}
            thread = (await s.post("/langgraph/threads", headers=writes)).json()["thread_id"]
            body = {"assistant_id": "echoes", "input": 1}
            run = (await s.post(f"/langgraph/threads/{thread}/runs", body, headers=writes)).json()["run_id"]
            for path in ("join", "stream"):
                place = f"/langgraph/threads/{thread}/runs/{run}/{path}"
                assert (await s.http.get(place, headers=reads)).status_code == 200
                refused = await s.http.get(place, headers=reads, params={"cancel_on_disconnect": 1})
                assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")

    play(story())


def test_pages_from_listed_origins_may_send_and_read_what_its_clients_do(server: Starter) -> None:
    async def story() -> None:
        async with server(echoes, cors_origins=("https://app.example",)) as s:
            asked = await s.http.options(
                "/langgraph/runs/stream",
                headers={
                    "origin": "https://app.example", "access-control-request-method": "POST",
                    "access-control-request-headers": "content-type,x-api-key,x-auth-scheme",
                },
            )  # fmt: skip
            assert asked.status_code == 204
            allowed = asked.headers["access-control-allow-headers"].lower()
            assert all(name in allowed for name in ("content-type", "x-api-key", "x-auth-scheme", "last-event-id"))
            answer = await s.http.get("/langgraph/ok", headers={"origin": "https://app.example"})
            exposed = answer.headers["access-control-expose-headers"].lower()
            assert all(name in exposed for name in ("content-location", "x-pagination-next", "x-pagination-total"))

    play(story())


@pytest.mark.parametrize("path", ["/langgraphs/ok", "/langgraph/langgraph/ok", "//langgraph/ok"])
def test_a_mount_is_a_whole_piece_of_a_path(server: Starter, path: str) -> None:
    async def story() -> None:
        async with server(echoes) as s:
            assert (await s.http.get(f"http://testserver{path}")).status_code == 404

    play(story())
