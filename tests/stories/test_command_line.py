"""The command line as people and programs use it: what it prints where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from server_process import EXAMPLES, ServerProcess, free_port

COMMANDS = (
    "agents",
    "backup",
    "demo",
    "doctor",
    "migrate",
    "run",
    "runs",
    "serve",
    "tail",
    "threads",
    "webhooks",
    "worker",
)


def runyard(*arguments: str, code: int = 0, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command line that must end with this code, and never with a traceback."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RUNYARD_")}
    ended = subprocess.run(
        [sys.executable, "-m", "runyard", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env={**clean, **env},
        stdin=subprocess.DEVNULL,
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def as_json(server: ServerProcess, *arguments: str, code: int = 0) -> Any:
    """The one JSON document that a command prints with --json."""
    return json.loads(runyard(*arguments, "--json", "--url", server.url, code=code).stdout)


def lines_of(server: ServerProcess, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    """The JSON lines that a streaming command prints with --json."""
    printed = runyard(*arguments, "--json", "--url", server.url, code=code).stdout
    return [json.loads(line) for line in printed.splitlines()]


def test_help_lists_every_command_without_importing_any() -> None:
    printed = runyard("--help").stdout
    assert re.findall(r"^  (\w+)   ? *[A-Z].*\.$", printed, re.MULTILINE) == list(COMMANDS)
    heavy = "; import sys; print([m for m in ('rich', 'uvicorn', 'apsw', 'httpx2', 'ap_client') if m in sys.modules])"
    code = "import runyard.cli; runyard.cli.run_command(['--help'])" + heavy
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str) -> None:
    printed = runyard(command, "--help").stdout
    assert re.search(rf"Examples:\n +runyard {command}", printed)


def test_serve_has_a_flag_for_every_setting_but_the_keys() -> None:
    from runyard.settings import describe

    printed = runyard("serve", "--help").stdout
    assert [row.flag for row in describe() if row.flag not in printed and row.name != "agents"] == []
    assert "--api-keys" not in printed
    assert "--webhook-secrets" not in printed


def test_without_a_server_it_says_how_to_start_one() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    said = runyard("runs", "--url", url, code=1)
    assert said.stdout == ""
    assert said.stderr.startswith(f"error: no server answers at {url}")
    assert "runyard serve examples/" in said.stderr


def test_nonsense_ends_with_code_2() -> None:
    assert "No such command" in runyard("dance", code=2).stderr
    assert "is not JSON" in runyard("run", "echo", "--input", "{", code=2).stderr
    assert "--resume needs --thread" in runyard("run", "refund", "--resume", "1", code=2).stderr
    assert "port is 'x' (from --port)" in runyard("serve", "--port", "x", code=2).stderr


def test_serve_refuses_to_be_reached_from_elsewhere_without_keys() -> None:
    assert "--insecure" in runyard("serve", "--host", "0.0.0.0", code=2).stderr


def test_serve_says_what_is_wrong_with_a_target(tmp_path: Path) -> None:
    said = runyard("serve", "absent.py", cwd=tmp_path, code=2)
    assert "absent.py" in said.stderr
    (tmp_path / "broken.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in runyard("serve", "broken.py", cwd=tmp_path, code=2).stderr


def test_run_waits_and_prints_the_values(examples_server: ServerProcess) -> None:
    said = runyard("run", "echo", "--input", '{"hello": 1}', "--url", examples_server.url)
    assert json.loads(said.stdout) == {"echo": {"hello": 1}}
    assert said.stderr.startswith("success  run ")
    assert as_json(examples_server, "run", "echo", "--input", "1")["values"] == {"echo": 1}


def test_the_server_can_be_named_by_the_environment(examples_server: ServerProcess) -> None:
    said = runyard("run", "echo", "--input", "[]", RUNYARD_URL=examples_server.url)
    assert json.loads(said.stdout) == {"echo": []}


def test_run_reads_its_input_from_a_file(examples_server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"text": "to be or not to be"}')
    answer = as_json(examples_server, "run", "word_count", "--input", f"@{tmp_path / 'input.json'}")
    assert answer["values"]["words"] == 6


def test_a_run_that_fails_ends_with_code_1_and_says_why(examples_server: ServerProcess) -> None:
    text = '{"folder": "absent"}'
    said = runyard("run", "summarize", "--input", text, "--url", examples_server.url, code=1)
    assert "ValueError" in said.stderr
    assert as_json(examples_server, "run", "summarize", "--input", text, code=1)["run"]["status"] == "error"
    assert lines_of(examples_server, "run", "summarize", "--input", text, "--stream", code=1)[-1]["event"] == "end"


def test_a_refused_run_repeats_the_words_of_the_server(examples_server: ServerProcess) -> None:
    said = runyard("run", "absent", "--url", examples_server.url, code=1)
    assert said.stderr.startswith("error: agent_id 'absent' is not an agent of this server; agents here: ")


def test_run_streams_for_people_and_for_programs(examples_server: ServerProcess) -> None:
    wish = ("run", "summarize", "--input", json.dumps({"folder": str(EXAMPLES / "texts")}), "--stream")
    said = runyard(*wish, "--url", examples_server.url)
    assert "assistant: " in said.stdout
    assert ".txt:" in said.stdout
    assert said.stderr.splitlines()[-1].startswith("success  run ")
    events = lines_of(examples_server, *wish)
    assert (events[0]["event"], events[-1]["event"]) == ("metadata", "end")
    assert {"messages", "updates"} <= {event["event"] for event in events}


def test_a_background_run_is_followed_shown_listed_and_deleted_by_rollback(examples_server: ServerProcess) -> None:
    wish = ("run", "countdown", "--input", '{"start": 2, "seconds": 0}', "--background")
    run_id = runyard(*wish, "--url", examples_server.url).stdout.strip()
    events = lines_of(examples_server, "runs", "tail", run_id)
    counts = [event["data"]["countdown"]["count"] for event in events if event["event"] == "updates"]
    assert counts == [2, 1, 0]
    later = lines_of(examples_server, "runs", "tail", run_id, "--since", events[1]["id"])
    assert later == events[2:]
    assert as_json(examples_server, "runs", "show", run_id)["status"] == "success"
    assert run_id in runyard("runs", "show", run_id, "--url", examples_server.url).stdout
    listed = as_json(examples_server, "runs", "--agent", "countdown", "--limit", "1")
    assert [run["run_id"] for run in listed] == [run_id]
    table = runyard("runs", "list", "--url", examples_server.url).stdout
    assert re.search(rf"^{run_id} +countdown +success ", table, re.MULTILINE)


def test_a_thread_is_tailed_in_a_pipe(examples_server: ServerProcess) -> None:
    thread_id = str(uuid4())
    question = json.dumps({"question": "how do bees agree?", "folder": str(EXAMPLES / "texts")})
    runyard("run", "research_team", "--input", question, "--thread", thread_id, "--url", examples_server.url)
    said = runyard("tail", thread_id, "--once", "--url", examples_server.url)
    assert said.stderr == ""
    lines = [line for line in said.stdout.splitlines() if not line.startswith(("    ⚙", "    assistant"))]
    assert lines[0] == "○ research_team started"
    assert {"  ○ reader started", "  ○ counter started", "  ✓ reader completed", "  ✓ counter completed"} <= set(lines)
    assert lines[-2] == "✓ research_team completed"
    assert lines[-1].startswith('state {"passages": [')
    assert "\x1b" not in said.stdout
    events = lines_of(examples_server, "tail", thread_id, "--once", "--since", "0", "--transport", "websocket")
    assert {event["method"] for event in events} == {"lifecycle", "messages", "tools", "values"}
    assert (events[0]["data"]["event"], events[-1]["data"]["event"]) == ("started", "completed")
    assert lines_of(examples_server, "tail", thread_id, "--once", "--since", "0") == events
    later = lines_of(examples_server, "tail", thread_id, "--once", "--since", str(events[-2]["seq"]))
    assert later == events[-1:]


def test_a_run_is_cancelled(examples_server: ServerProcess) -> None:
    wish = ("run", "countdown", "--input", '{"start": 100000, "seconds": 0.05}', "--background")
    run_id = as_json(examples_server, *wish)["run_id"]
    said = runyard("runs", "cancel", run_id, "--wait", "--url", examples_server.url)
    assert (said.stdout, said.stderr) == ("", f"run {run_id} has stopped\n")
    assert as_json(examples_server, "runs", "show", run_id)["outcome"] == "cancelled"
    tail = runyard("runs", "tail", run_id, "--url", examples_server.url, code=1)
    assert f"interrupted  run {run_id}" in tail.stderr


def test_a_question_is_answered(examples_server: ServerProcess) -> None:
    thread_id = str(uuid4())
    order = '{"order": "A-1004", "reason": "damaged", "returned": "2025-03-01"}'
    there = ("--thread", thread_id, "--url", examples_server.url)
    asked = runyard("run", "refund", "--input", order, *there)
    assert asked.stderr.startswith("interrupted  run ")
    assert "Refund EUR 645.00" in asked.stderr
    assert f"runyard run refund --thread {thread_id} --resume JSON" in asked.stderr
    waiting = as_json(examples_server, "threads", "--status", "interrupted")
    assert thread_id in [thread["thread_id"] for thread in waiting]
    done = runyard("run", "refund", "--resume", '"approve"', *there)
    assert json.loads(done.stdout)["refund"]["decided_by"] == "person"


def test_threads_are_listed_shown_and_have_a_history(examples_server: ServerProcess) -> None:
    thread_id = str(uuid4())
    wish = ("run", "countdown", "--input", '{"start": 1, "seconds": 0}', "--thread", thread_id)
    as_json(examples_server, *wish)
    assert as_json(examples_server, "threads", "show", thread_id)["values"] == {"count": 0}
    history = as_json(examples_server, "threads", "history", thread_id)
    assert [state["values"].get("count") for state in history][:2] == [0, 1]
    for arguments in ((), ("show", thread_id), ("history", thread_id)):
        printed = runyard("threads", *arguments, "--url", examples_server.url).stdout
        assert thread_id in printed or arguments[:1] == ("history",)
        assert "count" in printed


def test_agents_are_listed_and_shown(examples_server: ServerProcess) -> None:
    listed = as_json(examples_server, "agents")
    assert {"echo", "long_job", "refund", "summarize"} <= {agent["agent_id"] for agent in listed}
    assert "refund" in runyard("agents", "--url", examples_server.url).stdout
    shown = as_json(examples_server, "agents", "show", "refund")
    assert "order" in json.dumps(shown["input_schema"])
    assert "input_schema" in runyard("agents", "show", "refund", "--url", examples_server.url).stdout


def test_a_reader_that_goes_away_is_no_failure(examples_server: ServerProcess) -> None:
    command = [sys.executable, "-m", "runyard", "agents", "--url", examples_server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert b"Traceback" not in said
