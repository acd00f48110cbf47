"""`http.configurable_headers` of a `langgraph.json`: which headers of a request its runs know."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from live_server import Server, play
from projects import Guard, Serve, Write
from test_isolation import Talk

from runyard.deployment import deployment, sources
from runyard.headers import Copied
from runyard.runtime.langgraph.remarks import remarks

SENT = {
    "X-User-Id": "mia", "X-Other": "other", "X-User-Secret": "secret", "Cookie": "a=b", "X-Api-Key": "key",
    "Authorization": "Bearer token",
}  # fmt: skip
GIVEN = {"configurable": {"mine": 1, "x-user-id": "of the body"}}
KNOWN = {"mine": 1, "x-user-id": "mia"}
"""What a run knows of both: the header counts."""


def project(write: Write, **names: list[str]) -> str:
    return write({"http": {"configurable_headers": names or {"includes": ["x-user-*"], "excludes": ["*secret*"]}}})


def known(values: Any) -> dict[str, Any]:
    return {key: value for key, value in values["known"].items() if not key.startswith("langgraph_")}


def of(headers: dict[str, str], includes: tuple[str, ...], excludes: tuple[str, ...] = ()) -> dict[str, str]:
    return Copied(includes, excludes).of({name.lower().encode(): value.encode() for name, value in headers.items()})


@pytest.mark.parametrize(
    ("includes", "excludes", "names"),
    [
        ((), (), set()),
        (("x-user-id",), (), {"x-user-id"}),
        (("X-USER-ID",), (), {"x-user-id"}),
        (("x-user-*",), (), {"x-user-id", "x-user-secret"}),
        (("*-user-*",), ("*SECRET",), {"x-user-id"}),
        (("*",), (), {"x-user-id", "x-other", "x-user-secret"}),
        (("*",), ("*",), set()),
        (("x-user",), (), set()),
        (("x.user.id",), (), set()),
        (("cookie",), (), {"cookie"}),
        (("authorization", "x-api-key"), (), set()),
    ],
)
def test_names_and_patterns_say_what_is_copied(
    includes: tuple[str, ...], excludes: tuple[str, ...], names: set[str]
) -> None:
    assert set(of(SENT, includes, excludes)) == names


def test_what_only_the_server_says_of_a_run_is_not_copied() -> None:
    assert of({"thread_id": "x", "checkpoint_ns": "x", "__pregel_x": "x", "x_ok": "y"}, ("*",)) == {"x_ok": "y"}


def test_every_way_to_a_run_tells_it_of_the_headers(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(project(write)) as s:
            run = {"agent_id": "who", "config": GIVEN}
            assert known((await s.post("/runs/wait", run, headers=SENT)).json()["values"]) == KNOWN
            made = (await s.post("/runs", {"agent_id": "who"}, headers=SENT)).json()
            assert known((await s.wait(made["run_id"]))["values"]) == {"x-user-id": "mia"}
            asked = {"assistant_id": "who", "config": GIVEN}
            batch = (await s.post("/langgraph/runs/batch", [asked, asked], headers=SENT)).json()
            for one in batch:
                assert known((await s.wait(one["run_id"]))["values"]) == KNOWN
                assert one["kwargs"]["config"]["configurable"]["x-user-id"] == "mia"
            for face, named in (("", "assistantId"), ("/langgraph", "assistant_id")):
                thread_id = str(uuid4())
                start = {"id": 1, "method": "run.start", "params": {named: "who", "input": {}, "config": GIVEN}}
                answer = (await s.post(f"{face}/threads/{thread_id}/commands", start, headers=SENT)).json()
                assert answer["type"] == "success", answer
                (run,) = (await s.get(f"/threads/{thread_id}/runs")).json()
                assert known((await s.wait(run["run_id"]))["values"]) == KNOWN

    play(story())


def sdk(s: Server, headers: dict[str, str]) -> LangGraphClient:
    transport = httpx.ASGITransport(s.app)  # pyright: ignore[reportArgumentType]
    return LangGraphClient(
        httpx.AsyncClient(transport=transport, base_url="http://testserver/langgraph", headers=headers)
    )


def test_an_sdk_with_headers_of_its_own_gets_them_to_its_runs_and_not_to_its_crons(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(project(write)) as s:
            client = sdk(s, SENT)
            assistant = await client.assistants.create(
                "who", config={"configurable": {"x-user-id": "of the assistant"}}
            )
            thread = await client.threads.create()
            values: Any = await client.runs.wait(thread["thread_id"], assistant["assistant_id"], input={})
            assert known(values) == {"x-user-id": "mia"}
            values = await sdk(s, {}).runs.wait(None, assistant["assistant_id"], input={})
            assert known(values) == {"x-user-id": "of the assistant"}
            cron = await client.crons.create_for_thread(
                thread["thread_id"], "who", schedule="0 0 1 1 *", input={}, config={"configurable": {"mine": 1}}
            )
            assert cron["payload"]["config"] == {"configurable": {"mine": 1}}

    play(story())


def test_the_headers_of_a_web_socket_are_those_of_all_its_commands(guard: Guard) -> None:
    manifest = {"http": {"configurable_headers": {"includes": ["Host"]}}}

    async def story() -> None:
        async with guard("own", manifest=manifest) as s:
            thread_id = await s.thread("ada")
            talk = Talk(s, "ada", f"/threads/{thread_id}/stream")
            for id in (1, 2):
                answer = await talk.command(s, id, "run.start", assistantId="who", input={})
                assert answer["type"] == "success", answer
            for run in (await s.get("ada", f"/threads/{thread_id}/runs")).json():
                waited = (await s.get("ada", f"/runs/{run['run_id']}/wait")).json()
                assert known(waited["values"]) == {"host": "testserver"}
            kwargs = [value["kwargs"] for value in s.values if "kwargs" in value]
            assert [one["config"]["configurable"] for one in kwargs] == [{"host": "testserver"}] * 2
            await talk.leave()

    play(story())


def test_nothing_is_copied_unless_the_file_says_so(write: Write, serve: Serve) -> None:
    async def story() -> None:
        for http in ({}, {"configurable_headers": {"excludes": ["x-other"]}}):
            async with serve(write({"http": http})) as s:
                answer = await s.post("/runs/wait", {"agent_id": "who"}, headers=SENT)
                assert known(answer.json()["values"]) == {}

    play(story())


def test_the_older_spelling_means_the_same_and_what_is_never_copied_is_told(write: Write, tmp_path: Path) -> None:
    found = sources([project(write, include=["x-a", "Authorization"], exclude=["x-b"])], tmp_path)
    assert deployment(found).copied == Copied(("x-a", "Authorization"), ("x-b",))
    (told,) = found[0].remarks
    assert (told.key, told.weight) == ("http.configurable_headers.include", "warning")
    assert "Authorization is never copied" in told.why
    assert remarks({"http": {"configurable_headers": {"includes": ["x-a"], "colour": 1}}})[0].key.endswith(".colour")
