"""Assistants, by the real SDK: created, listed, changed in versions; and what a run takes of its assistant."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import APIStatusError
from live_server import MovableClock, Server, Starter, play

from runyard import agent
from runyard.settings import ApiKey


@agent
async def echo(input: Any = None) -> dict[str, Any]:
    return {"input": input}


@agent(id="other", name="The other", description="does other things", metadata={"team": "x"})
async def other(input: Any = None) -> dict[str, Any]:
    return {"other": True}


def sdk(server: Server, key: str | None = None) -> LangGraphClient:
    """The SDK's client, on the app in this process."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(server.app), base_url="http://testserver/langgraph", headers=headers
    )
    return LangGraphClient(http)


async def refused(reading: Any) -> tuple[int, str]:
    """The status and the words of a refusal."""
    with pytest.raises(APIStatusError) as error:
        await reading
    return error.value.status_code, error.value.response.json()["detail"]


def test_an_assistant_lives_through_its_versions(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, other, clock=clock) as s:
            assistants = sdk(s).assistants
            made = await assistants.create(
                "echo", {"tags": ["t"], "configurable": {"a": 1}}, context={"c": 1}, metadata={"m": 1, "n": 1},
                name="Mine", description="d",
            )  # fmt: skip
            id = made["assistant_id"]
            assert made == await assistants.get(id)
            assert made["config"] == {"tags": ["t"], "configurable": {"a": 1}}
            assert (made["graph_id"], made["version"], made["name"], made["description"]) == ("echo", 1, "Mine", "d")
            assert (made["context"], made["metadata"]) == ({"c": 1}, {"m": 1, "n": 1})
            assert made["created_at"] == made["updated_at"] == "2027-01-15T08:00:00.000000+00:00"
            clock.move(60)
            second = await assistants.update(id, graph_id="other", metadata={"n": 2}, name="Ours")
            assert (second["version"], second["graph_id"], second["name"]) == (2, "other", "Ours")
            assert (second["metadata"], second["config"]) == ({"m": 1, "n": 2}, made["config"])
            assert second["updated_at"] == "2027-01-15T08:01:00.000000+00:00"
            versions = await assistants.get_versions(id)
            assert [version["version"] for version in versions] == [2, 1]
            assert {**versions[1], "updated_at": None} == {**made, "updated_at": None}
            assert [one["version"] for one in await assistants.get_versions(id, metadata={"n": 1}, limit=1)] == [1]
            back = await assistants.set_latest(id, 1)
            assert {**back, "updated_at": None} == {**made, "updated_at": None}
            assert await refused(assistants.set_latest(id, 3)) == (404, f"assistant {id} has no version 3")
            await assistants.delete(id)
            assert (await refused(assistants.get(id)))[0] == 404
            assert (await refused(assistants.delete(id)))[0] == 404

    play(story())


def test_every_agent_has_a_default_assistant(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, other, clock=clock) as s:
            assistants = sdk(s).assistants
            default = await assistants.get("other")
            id = default["assistant_id"]
            assert default == await assistants.get(id) == await assistants.get(id.upper())
            assert (default["name"], default["description"]) == ("The other", "does other things")
            assert default["metadata"] == {"team": "x", "created_by": "system"}
            assert (default["version"], default["config"], default["context"]) == (1, {}, {})
            assert [one["version"] for one in await assistants.get_versions("other")] == [1]
            assert await assistants.get_versions(id, metadata={"team": "y"}) == []
            status, detail = await refused(assistants.delete(id))
            assert (status, "default" in detail) == (409, True)
            assert (await refused(assistants.create("echo", assistant_id=id)))[0] == 409
            assert (await assistants.create("echo", assistant_id=id, if_exists="do_nothing")) == default
            clock.move(1)
            changed = await assistants.update("other", context={"c": 1})
            assert (changed["assistant_id"], changed["version"], changed["name"]) == (id, 2, "The other")
            assert await assistants.get("other") == changed
            assert [one["assistant_id"] for one in await assistants.search(graph_id="other")] == [id]
            assert await assistants.count(graph_id="other") == 1
            assert (await refused(assistants.delete(id)))[0] == 409
            again = await assistants.set_latest("other", 1)
            assert {**again, "updated_at": None} == {**default, "updated_at": None}
        clock.move(1000)
        async with server(echo, other, clock=clock) as s:
            assert (await sdk(s).assistants.get("echo"))["created_at"] == default["created_at"]

    play(story())


def test_what_one_owner_changes_is_none_of_anothers(server: Starter) -> None:
    async def story() -> None:
        keys = (ApiKey("ka", "a"), ApiKey("kb", "b"))
        async with server(echo, api_keys=keys) as s:
            one, two = sdk(s, "ka").assistants, sdk(s, "kb").assistants
            await one.update("echo", name="Changed")
            assert (await one.get("echo"))["name"] == "Changed"
            assert (await two.get("echo"))["name"] == "echo"
            made = await one.create("echo")
            assert (await refused(two.get(made["assistant_id"])))[0] == 404
            assert (await refused(two.update(made["assistant_id"], name="x")))[0] == 404
            assert (await two.count(), await one.count()) == (1, 2)

    play(story())


def test_searches_go_over_defaults_and_others_alike(server: Starter, clock: MovableClock) -> None:
    async def story() -> None:
        async with server(echo, other, clock=clock) as s:
            client = sdk(s)
            for number in range(4):
                clock.move(1)
                await client.assistants.create("echo", name=f"No {number}", metadata={"even": number % 2 == 0})

            async def names(**query: Any) -> list[str]:
                return [one["name"] for one in await client.assistants.search(**query)]

            assert await names() == ["No 3", "No 2", "No 1", "No 0", *await names(metadata={"created_by": "system"})]
            assert await names(sort_by="name", sort_order="asc", limit=3) == ["No 0", "No 1", "No 2"]
            assert await names(sort_by="name", sort_order="desc", limit=2) == ["echo", "The other"]
            assert await names(sort_by="created_at", sort_order="asc", offset=2, limit=1) == ["No 0"]
            assert await names(name="no ") == ["No 3", "No 2", "No 1", "No 0"]
            assert await names(name="OTHER") == ["The other"]
            assert await names(metadata={"even": True}, graph_id="echo") == ["No 2", "No 0"]
            assert await names(graph_id="nobody") == []
            assert [await client.assistants.count(**query) for query in ({}, {"name": "no"}, {"graph_id": "echo"})] == [
                6, 4, 5,
            ]  # fmt: skip
            page = await client.assistants.search(
                limit=4, offset=1, select=["name", "version"], response_format="object"
            )
            assert (page["assistants"][0], page["next"]) == ({"name": "No 2", "version": 1}, "5")
            page = await client.assistants.search(limit=4, offset=2, response_format="object")
            assert (len(page["assistants"]), page["next"]) == (4, None)
            whole = await s.post("/langgraph/assistants/search", {"limit": 2})
            assert whole.headers["x-pagination-total"] == "6"
            status, detail = await refused(client.assistants.search(select=["secret"]))  # pyright: ignore
            assert (status, "select has 'secret'" in detail) == (422, True)

    play(story())


def test_what_does_not_fit_is_refused_by_name(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            for path, body, field in (
                ("/assistants", {}, "graph_id"),
                ("/assistants", {"graph_id": "echo", "assistant_id": "x"}, "assistant_id"),
                ("/assistants", {"graph_id": "echo", "config": {"tags": "x"}}, "config.tags"),
                ("/assistants", {"graph_id": "echo", "context": 1}, "context"),
                ("/assistants", {"graph_id": "echo", "if_exists": "replace"}, "if_exists"),
                ("/assistants/search", {"sort_by": "secret"}, "sort_by"),
                ("/assistants/search", {"limit": 0}, "limit"),
                ("/assistants/echo/latest", {}, "version"),
            ):
                answer = await s.post(f"/langgraph{path}", body)
                assert (answer.status_code, field in answer.json()["detail"]) == (422, True), answer.text
            nobody = await s.post("/langgraph/assistants", {"graph_id": "nobody"})
            assert (nobody.status_code, "nobody" in nobody.json()["detail"]) == (404, True)
            missing = await s.get("/langgraph/assistants/0190a6f0-5c3e-7b1a-9b0e-3f6f1c2d4e5f")
            assert (missing.status_code, "agents: echo" in missing.json()["detail"]) == (404, True)
            odd = await s.get("/langgraph/assistants/echo/graph?xray=deep")
            assert (odd.status_code, "xray" in odd.json()["detail"]) == (422, True)

    play(story())


def test_its_agent_is_drawn_and_described(server: Starter) -> None:
    async def story() -> None:
        async with server(echo, other) as s:
            assistants = sdk(s).assistants
            made = await assistants.create("echo")
            graph = await assistants.get_graph(made["assistant_id"], xray=True)
            assert [node["id"] for node in graph["nodes"]] == ["__start__", "echo", "__end__"]
            assert [(edge["source"], edge["target"]) for edge in graph["edges"]] == [
                ("__start__", "echo"), ("echo", "__end__"),
            ]  # fmt: skip
            assert await assistants.get_subgraphs("echo") == {}
            assert await assistants.get_subgraphs("echo", "inner", recurse=True) == {}
            schemas = await assistants.get_schemas(made["assistant_id"])
            published = (await s.get("/agents/echo/schemas")).json()
            assert (schemas["graph_id"], schemas["input_schema"]) == ("echo", published["input_schema"])
            assert schemas["context_schema"] is None

    play(story())


def test_threads_go_with_their_assistant_where_that_is_asked_for(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            assistants = sdk(s).assistants
            made = [(await assistants.create("echo"))["assistant_id"] for _ in range(2)]
            threads = [await s.thread(metadata={"assistant_id": id}) for id in (*made, *made)]
            await assistants.delete(made[0])
            await assistants.delete(made[1], delete_threads=True)
            answers = [(await s.get(f"/threads/{thread}")).status_code for thread in threads]
            assert answers == [200, 404, 200, 404]

    play(story())


def test_changes_at_the_same_time_each_make_a_version(server: Starter) -> None:
    async def story() -> None:
        async with server(echo) as s:
            assistants = sdk(s).assistants
            await asyncio.gather(*[assistants.update("echo", metadata={f"k{n}": n}) for n in range(5)])
            found = await assistants.get("echo")
            assert found["version"] == 6
            assert {f"k{n}" for n in range(5)} <= found["metadata"].keys()

    play(story())
