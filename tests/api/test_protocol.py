"""The Agent Protocol as published: every operation of both versions is served, and the journeys of its page work."""

from __future__ import annotations

from typing import Any

import pytest
from live_server import Server, Starter, play

from runyard import Context, agent

OPERATIONS = {
    # in the documents of April 2025 and of today
    "search_agents": ("POST", "/agents/search"),
    "get_agent": ("GET", "/agents/{agent_id}"),
    "get_agent_schemas": ("GET", "/agents/{agent_id}/schemas"),
    "create_thread": ("POST", "/threads"),
    "search_threads": ("POST", "/threads/search"),
    "get_thread": ("GET", "/threads/{thread_id}"),
    "patch_thread": ("PATCH", "/threads/{thread_id}"),
    "delete_thread": ("DELETE", "/threads/{thread_id}"),
    "get_thread_history": ("GET", "/threads/{thread_id}/history"),
    "copy_thread": ("POST", "/threads/{thread_id}/copy"),
    "create_run": ("POST", "/runs"),
    "create_and_wait_run": ("POST", "/runs/wait"),
    "create_and_stream_run": ("POST", "/runs/stream"),
    "get_run": ("GET", "/runs/{run_id}"),
    "delete_run": ("DELETE", "/runs/{run_id}"),
    "wait_run": ("GET", "/runs/{run_id}/wait"),
    "stream_run": ("GET", "/runs/{run_id}/stream"),
    "cancel_run": ("POST", "/runs/{run_id}/cancel"),
    "put_item": ("PUT", "/store/items"),
    "get_item": ("GET", "/store/items"),
    "delete_item": ("DELETE", "/store/items"),
    "search_items": ("POST", "/store/items/search"),
    "list_namespaces": ("POST", "/store/namespaces"),
    # only in that of April 2025, and only in today's
    "search_thread_runs": ("GET", "/threads/{thread_id}/runs"),
    "search_runs": ("POST", "/runs/search"),
    # of the page's journeys, and proposed
    "create_thread_run": ("POST", "/threads/{thread_id}/runs"),
    "wait_thread_run": ("GET", "/threads/{thread_id}/runs/{run_id}/wait"),
    "resume_run": ("PATCH", "/runs/resume"),
    "resume_and_wait_run": ("PATCH", "/runs/resume/wait"),
    "resume_and_stream_run": ("PATCH", "/runs/resume/stream"),
}
THREAD = "229c1834-bc04-4d90-8fd6-77f6b9ef1462"
HOOK = "http://127.0.0.1:9/done"
ABSENT = "01a20c2f-0000-7000-8000-000000000000"


@agent
async def answer(input: Any = None) -> dict[str, Any]:
    return {"answer": input}


@agent
async def ask(ctx: Context, input: Any = None) -> dict[str, Any]:
    first = await ctx.interrupt("sure?")
    return {"answer": first, "of": input}


def test_every_operation_is_served_and_described(server: Starter) -> None:
    async def story() -> None:
        async with server(answer) as s:
            described = (await s.get("/openapi.json")).json()["paths"]
            served = {
                operation["operationId"]: (method.upper(), path)
                for path, methods in described.items()
                for method, operation in methods.items()
            }
            assert {id: served.get(id) for id in OPERATIONS} == OPERATIONS

    play(story())


def test_a_run_on_a_thread(server: Starter) -> None:
    async def story() -> None:
        async with server(answer) as s:
            made = (await s.post("/threads", {"thread_id": THREAD})).json()
            assert made["thread_id"] == THREAD
            assert (await s.get(f"/threads/{THREAD}")).json()["status"] == "idle"
            run = (await s.post(f"/threads/{THREAD}/runs", {"input": {"message": "Hello?"}})).json()
            assert run["status"] == "pending"
            done = (await s.get(f"/threads/{THREAD}/runs/{run['run_id']}/wait")).json()
            assert (done["status"], done["values"]) == ("success", {"answer": {"message": "Hello?"}})

    play(story())


def test_a_run_without_a_thread(server: Starter) -> None:
    async def story() -> None:
        async with server(answer) as s:
            done = (await s.post("/runs/wait", {"input": {"message": "Hello?"}})).json()
            assert (done["status"], done["values"]) == ("success", {"answer": {"message": "Hello?"}})

    play(story())


def test_items_in_the_store(server: Starter) -> None:
    async def story() -> None:
        async with server(answer) as s:
            item = {"namespace": ["user_profiles"], "key": "profile", "value": {"name": "Ada"}}
            assert (await s.http.put("/store/items", json=item)).status_code == 204
            where = "/store/items?key=profile&namespace=user_profiles"
            assert (await s.get(where)).json()["value"] == {"name": "Ada"}
            named = {"namespace": ["user_profiles"], "key": "profile"}
            assert (await s.http.request("DELETE", "/store/items", json=named)).status_code == 204
            assert (await s.get(where)).status_code == 404

    play(story())


async def asked(s: Server) -> str:
    """A thread with an open question."""
    thread = await s.thread()
    assert (await s.post("/runs/wait", {"thread_id": thread, "input": 1})).json()["status"] == "interrupted"
    return thread


@pytest.mark.parametrize("path", ["/runs/resume", "/runs/resume/wait", "/runs/resume/stream"])
def test_an_interrupted_thread_is_resumed_by_patch(server: Starter, path: str) -> None:
    async def story() -> None:
        async with server(ask, webhook_allow=("127.0.0.1",)) as s:
            thread = await asked(s)
            resumed = await s.http.patch(
                path, json={"thread_id": thread, "input": "yes", "metadata": {"m": 1}, "webhook": HOOK}
            )
            assert resumed.status_code == 200, resumed.text
            run_id = (resumed.headers.get("location") or resumed.headers["content-location"]).rpartition("/")[2]
            done = await s.wait(run_id)
            assert (done["status"], done["values"]) == ("success", {"answer": "yes", "of": 1})
            assert done["run"]["metadata"] == {"m": 1}
            assert done["run"]["command"] == {"resume": "yes"}
            assert done["run"]["webhook"] == HOOK
            if path.endswith("/wait"):
                assert resumed.json()["values"] == done["values"]
            if path.endswith("/stream"):
                assert '{"answer":"yes","of":1}' in resumed.text
            again = await s.http.patch(path, json={"thread_id": thread, "input": "yes"})
            assert (again.status_code, again.json()["code"]) == (409, "not_interrupted")

    play(story())


def test_what_a_resume_refuses(server: Starter) -> None:
    async def story() -> None:
        async with server(ask) as s:
            thread = await asked(s)
            for body, status, field in (
                ({"input": 1}, 422, "thread_id"),
                ({"thread_id": thread}, 422, "input"),
                ({"thread_id": "x", "input": 1}, 422, "thread_id"),
            ):
                refused = await s.http.patch("/runs/resume", json=body)
                assert (refused.status_code, refused.json()["metadata"]["field"]) == (status, field)
            absent = await s.http.patch("/runs/resume", json={"thread_id": ABSENT, "input": 1})
            assert (absent.status_code, absent.json()["code"]) == (404, "thread_not_found")
            assert (await s.get(f"/threads/{thread}")).json()["status"] == "interrupted"

    play(story())


def test_a_resume_with_a_key_is_the_same_run(server: Starter) -> None:
    async def story() -> None:
        async with server(ask) as s:
            body, key = {"thread_id": await asked(s), "input": "yes"}, {"idempotency-key": "k"}
            first = await s.http.patch("/runs/resume", json=body, headers=key)
            await s.wait(first.json()["run_id"])
            second = await s.http.patch("/runs/resume", json=body, headers=key)
            assert second.json()["run_id"] == first.json()["run_id"]
            assert second.headers["idempotent-replayed"] == "true"

    play(story())
