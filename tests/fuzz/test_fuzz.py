"""`make fuzz` works, and a short round of it with a fixed seed finds nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROUNDS = {
    "grammar": ["--requests", "3000"],
    "schemathesis": ["--examples", "1", "--phases", "fuzzing"],
    "rows": ["--rows", "2000"],
}


@pytest.mark.parametrize("kind", ROUNDS)
def test_a_short_round_finds_nothing(kind: str) -> None:
    command = [sys.executable, "-m", "fuzz", "--only", kind, "--seed", "20261124", *ROUNDS[kind]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    if kind == "grammar":
        assert "3000 requests in" in done.stdout
        creations = re.findall(r"create_(?:and_\w+_)?(?:thread_)?run +200: (\d+)", done.stdout)
        assert len(creations) == 6
        assert int(re.findall(r"send_thread_streaming_command +200: (\d+)", done.stdout)[0]) > 50
        assert all(int(accepted) > 5 for accepted in creations)
    elif kind == "schemathesis":
        assert "generated" in done.stdout
    else:
        assert "2000 rows in" in done.stdout
        outcomes = dict(re.findall(r"^  (\w+ \w+: \w+) +(\d+)$", done.stdout, re.MULTILINE))
        assert outcomes.keys() == {
            f"{how} {what}: {end}"
            for how in ("broken", "forged")
            for what in ("state", "write")
            for end in ("read", "refused")
        }
        assert all(int(count) > 20 for count in outcomes.values())


def test_the_fuzzer_of_rows_sees_what_is_executed() -> None:
    # In a process of its own: an audit hook cannot be taken out again.
    code = """
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from fuzz.rows import drive
from runyard.runtime.langgraph.typed import Typed
reader = JsonPlusSerializer()
Typed._unpacked = lambda self, data, depth: reader.loads_typed(("msgpack", data))
findings = drive(1, 500)
assert any("executed" in outcome for outcome in findings.outcomes), findings.outcomes
assert findings.failures
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_oracle_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    from fuzz.oracle import Oracle
    from fuzz.wire import Answer, Request

    responses = {"200": {"content": {"application/json": {}}}, "422": {"content": {"application/json": {}}}}
    oracle = Oracle({"paths": {"/runs": {"post": {"operationId": "create_run", "responses": responses}}}})
    request = Request("create_run", "POST", "/runs")
    json_ = {"content-type": "application/json"}

    def faults(status: int, body: bytes, headers: dict[str, str] = json_) -> list[str]:
        return oracle.faults(request, Answer(status, headers, body, complete=True))

    named = b'{"code":"validation_error","message":"","metadata":{"field":"a"}}'
    assert faults(200, b"{}") == []
    assert faults(422, named) == []
    assert faults(200, b"NaN")
    assert faults(200, b"{}", {"content-type": "text/plain"})
    assert faults(422, named.replace(b'"field":"a"', b""))
    assert faults(422, named.replace(b"validation", b"other"))
    assert faults(422, b"{}")
    assert faults(409, named)
    assert faults(500, named)
