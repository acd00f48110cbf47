"""A user's project that uses the client passes a strict type check."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio

import ap_client
from ap_client import Configuration, Message, RunCreate, RunStatus, aio
from ap_client.rest import ApiException


def watch() -> str:
    with ap_client.ApiClient(Configuration(host="http://localhost:8000", access_token="k")) as client:
        runs = ap_client.BackgroundRunsApi(client)
        try:
            run = runs.create_run(RunCreate(agent_id="a", input={"q": 1}, messages=[Message(role="user", content="x")]))
            key = {"Idempotency-Key": "k"}
            run = runs.create_run(run_stream={"agent_id": "a"}, _headers=key, _request_timeout=(1, 2.5))
        except ApiException as error:
            return f"{error.status} {error.reason}"
        for event in runs.stream_run_events(run.run_id, since=0):
            print(event.id, event.event, event.data)
        answer = runs.get_run_with_http_info(run.run_id)
        found: list[ap_client.Run] = runs.search_thread_runs("t", limit=3)
        with runs.get_run_without_preload_content(run.run_id) as raw:
            print(raw.status, raw.data)
        done = answer.data.status is RunStatus.SUCCESS
        command = ap_client.StreamingApi(client).send_thread_streaming_command("t", {"id": 1, "method": "m"})
        return f"{answer.status_code} {done} {len(found)} {command.to_json()}"


async def watch_too() -> ap_client.RunWaitResponse:
    async with aio.ApiClient() as client:
        api = aio.BackgroundRunsApi(client)
        async for event in await api.stream_run_events("r"):
            print(event.event)
        return await api.wait_run("r")


print(watch(), asyncio.run(watch_too()).values)
"""
WRONG = """
import ap_client

ap_client.RunCreate(inptu=1)
ap_client.BackgroundRunsApi().get_run()
ap_client.BackgroundRunsApi().get_run("r", timeout=3)
number: int = ap_client.BackgroundRunsApi().get_run("r").run_id
"""


def test_a_strict_type_check_passes_and_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    settings = {"typeCheckingMode": "strict", "include": ["."], "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=55).stdout)
    found = [(Path(each["file"]).name, each["range"]["start"]["line"]) for each in report["generalDiagnostics"]]
    assert [each for each in report["generalDiagnostics"] if each["file"].endswith("good.py")] == []
    assert {line for name, line in found if name == "wrong.py"} == {3, 4, 5, 6}
