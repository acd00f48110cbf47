"""What a real server writes to standard error: whose run it was, no secret, no forged line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from server_process import Serve, ServerProcess

AGENTS = Path(__file__).with_name("operations_agents.py")
KEY, WRONG, FOREIGN = "canary-key-that-is-right", "canary-key-that-is-wrong", "canary-of-another-header"
FORGED = "oops\n2026-01-01 00:00:00,000 ERROR runyard: forged"


def asked(server: ServerProcess, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of an answer; in the names of `headers` an underscore stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, content, {"content-type": "application/json", **named})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_log_tells_runs_and_no_secrets(serve: Serve, form: str) -> None:
    server = serve(AGENTS, env={"RUNYARD_API_KEYS": f"{KEY}=mia"}, settings={"log_format": form, "log_level": "debug"})
    right = {"authorization": f"Bearer {KEY}"}
    assert asked(server, "/runs/wait", {"agent_id": "mutter"}, authorization=f"Bearer {WRONG}")[0] == 401
    assert asked(server, "/runs/wait", {"agent_id": "mutter"}, x_api_key=WRONG)[0] == 401
    assert asked(server, f"/runs/search?token={WRONG}", {"limit": "many"}, cookie=FOREIGN, **right)[0] == 422
    status, muttered = asked(server, "/runs/wait", {"agent_id": "mutter", "input": "x"}, cookie=FOREIGN, **right)
    assert (status, muttered["status"]) == (200, "success")
    _, failed = asked(server, "/runs/wait", {"agent_id": "complain", "input": FORGED}, x_api_key=KEY)
    assert failed["error"]["message"] == f"ValueError: {FORGED}"
    server.terminate()
    assert server.wait() == 0, server.log_text()
    log = server.log_text()
    assert "canary" not in log
    assert "forged" in log
    if form == "json":
        lines = [json.loads(line) for line in log.splitlines()]
        assert any(
            line["event"] == "serving" and line["fields"]["url"] == server.url for line in lines if "event" in line
        )
        of_code = [line["fields"] for line in lines if line["logger"] == "complaints"]
        ids = [of["run_id"] for of in of_code]
        assert ids == [muttered["run"]["run_id"]] * 2 + [failed["run"]["run_id"]]
        assert of_code[0]["thread_id"] == muttered["run"]["thread_id"]
        told = {line["event"]: line["fields"] for line in lines if "event" in line}
        assert told["agent failed"] == {**of_code[2], "why": f"ValueError: {FORGED}"}
        assert told["run ended"]["outcome"] == "failed"
        assert told["run ended"]["thread_id"] == failed["run"]["thread_id"]
    else:
        assert not any(line.startswith("2026-01-01") for line in log.splitlines())
        (line,) = (line for line in log.splitlines() if "muttering x" in line)
        assert f"run_id={muttered['run']['run_id']} thread_id={muttered['run']['thread_id']}" in line
