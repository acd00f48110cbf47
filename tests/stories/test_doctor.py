"""`runyard doctor` says what is configured and what is wrong; `runyard migrate` brings a database up to date."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from server_process import EXAMPLES, Serve, free_port

ECHO = str(EXAMPLES / "echo.py")


def runyard(folder: Path, *arguments: str, code: int, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RUNYARD_")}
    command = [sys.executable, "-m", "runyard", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=folder, env={**clean, **env})
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended


def diagnosis(folder: Path, *arguments: str, code: int = 0, **env: str) -> dict[str, Any]:
    free = () if "--port" in arguments else ("--port", str(free_port()))
    return json.loads(runyard(folder, "doctor", "--json", *free, *arguments, code=code, **env).stdout)


def found(told: dict[str, Any], subject: str) -> list[tuple[str, str]]:
    """Verdicts and texts about a subject."""
    return [(each["verdict"], each["text"]) for each in told["findings"] if each["subject"] == subject]


def test_where_all_is_well_it_says_what_would_be_served(tmp_path: Path) -> None:
    told = diagnosis(tmp_path, ECHO, RUNYARD_MAX_RUNS="7")
    assert {finding["verdict"] for finding in told["findings"]} == {"ok"}
    assert told["settings"]["max_runs"] == {"value": "7", "source": "RUNYARD_MAX_RUNS"}
    assert told["settings"]["heartbeat"] == {"value": "15.0", "source": "default"}
    assert found(told, "agents") == [("ok", "echo")]
    assert list(tmp_path.iterdir()) == [], "it changes nothing"
    printed = runyard(tmp_path, "doctor", ECHO, "--port", str(free_port()), code=0, RUNYARD_MAX_RUNS="7").stdout
    assert "max_runs" in printed
    assert "agents: echo" in printed


def test_retention_and_traces_are_told(tmp_path: Path) -> None:
    ages = {"RUNYARD_RUN_RETENTION": "604800", "RUNYARD_STATELESS_RETENTION": "90"}
    cut = {"RUNYARD_THREAD_RETENTION": "172800", "RUNYARD_THREAD_RETENTION_STRATEGY": "keep_latest"}
    told = diagnosis(tmp_path, ECHO, "--traces", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", **ages, **cut)
    assert found(told, "retention") == [
        (
            "ok",
            "kept are finished runs 7 days, their events 7 days, histories of idle threads 2 days; "
            "runs without a thread 90 seconds",
        )
    ]
    assert found(told, "traces") == [("ok", "sent to http://collector:4318")]


def test_a_wrong_setting_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "runyard.toml").write_text("porrt = 1")
    told = diagnosis(tmp_path, ECHO, code=1)
    assert found(told, "settings") == [("problem", "'porrt' (from runyard.toml) is not a setting: did you mean port?")]


def test_agents_that_do_not_load_are_a_problem(tmp_path: Path) -> None:
    ((verdict, text),) = found(diagnosis(tmp_path, "absent.py", code=1), "agents")
    assert verdict == "problem"
    assert "absent.py" in text
    assert found(diagnosis(tmp_path, code=1), "agents")[0][0] == "problem"
    told = diagnosis(tmp_path, ECHO, "--default-agent", "other", code=1)
    assert found(told, "agents")[-1][0] == "problem"


def test_a_variable_that_means_nothing_is_a_warning(tmp_path: Path) -> None:
    told = diagnosis(tmp_path, ECHO, RUNYARD_MAX_RUN="3")
    assert found(told, "environment") == [
        ("warning", "RUNYARD_MAX_RUN means nothing to Runyard; did you mean RUNYARD_MAX_RUNS?")
    ]


def test_access_is_told_and_keys_are_not(tmp_path: Path) -> None:
    open_to_all = diagnosis(tmp_path, ECHO, "--host", "0.0.0.0", code=1)
    assert found(open_to_all, "access")[0][0] == "problem"
    assert found(diagnosis(tmp_path, ECHO, "--host", "0.0.0.0", "--insecure"), "access")[0][0] == "warning"
    with_keys = diagnosis(tmp_path, ECHO, "--host", "0.0.0.0", RUNYARD_API_KEYS="s3cret=mia:read")
    assert [verdict for verdict, _ in found(with_keys, "access")] == ["ok", "warning"]
    assert with_keys["settings"]["api_keys"]["value"] == "mia:read"
    assert "s3cret" not in json.dumps(with_keys)


def test_whether_webhooks_are_signed_is_told_and_with_what_is_not(tmp_path: Path) -> None:
    open_to_all = diagnosis(tmp_path, ECHO, "--host", "0.0.0.0", "--insecure")
    ((verdict, text),) = found(open_to_all, "webhooks")
    assert verdict == "warning"
    assert text.startswith("they go to public addresses, and are not signed")
    secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    variables = {"RUNYARD_WEBHOOK_SECRETS": f"whsec_{secret}", "RUNYARD_WEBHOOK_ALLOW": "10.0.0.0/8,a.internal"}
    told = diagnosis(tmp_path, ECHO, **variables)
    assert found(told, "webhooks") == [("ok", "they are signed, and go to public addresses and 10.0.0.0/8, a.internal")]
    assert told["settings"]["webhook_secrets"]["value"] == "1 of them"
    assert secret not in json.dumps(told)


def test_a_database_that_is_being_served_is_told(serve: Serve) -> None:
    server = serve(ECHO)
    here = ("--database", f"sqlite:///{server.database}", "--port", str(server.port))
    told = diagnosis(server.folder, ECHO, *here)
    assert server.process is not None
    assert str(server.process.pid) in found(told, "database")[0][1]
    assert found(told, "port")[0][0] == "ok"
    elsewhere = diagnosis(server.folder, ECHO, "--port", str(server.port), code=1)
    assert found(elsewhere, "port")[0][0] == "problem"


def test_a_file_that_is_no_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database at all, but long enough to be looked at" * 50)
    told = diagnosis(tmp_path, ECHO, "--database", "sqlite:///notes.txt", code=1)
    ((verdict, text),) = found(told, "database")
    assert verdict == "problem"
    assert "notes.txt" in text


def test_migrate_makes_the_layout_of_this_version(tmp_path: Path) -> None:
    said = runyard(tmp_path, "migrate", "--database", "sqlite:///data/my.db", code=0)
    assert "my.db has the layout of this version" in said.stderr
    told = diagnosis(tmp_path, ECHO, "--database", "sqlite:///data/my.db")
    assert "has this version's layout" in found(told, "database")[0][1]


def test_migrate_is_refused_while_a_server_holds_the_database(serve: Serve) -> None:
    server = serve(ECHO)
    said = runyard(server.folder, "migrate", "--database", f"sqlite:///{server.database}", code=1)
    assert str(server.database) in said.stderr


def test_what_langgraph_json_asks_for_is_told_key_by_key(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from starlette.applications import Starlette\n\napp = Starlette()\n")
    manifest = {
        "http": {"app": "app.py:app", "disable_store": True, "cors": {"allow_origins": ["https://a.example"]}},
        "checkpointer": {"ttl": {"default_ttl": 2, "strategy": "keep_latest"}}, "encryption": {},
        "store": {"ttl": {"default_ttl": 5}, "index": {"embed": "embed.py:embed", "dims": 3}},
        "python_version": "3.12", "webhooks": {"headers": {"X-Team": "red"}},
    }  # fmt: skip
    (tmp_path / "embed.py").write_text("def embed(texts):\n    return [[1, 2, 3] for _ in texts]\n")
    manifest["http"]["configurable_headers"] = {"includes": ["x-user-id"]}
    (tmp_path / "langgraph.json").write_text(json.dumps(manifest))
    told = found(diagnosis(tmp_path, ECHO, "langgraph.json", RUNYARD_THREAD_RETENTION="7"), "langgraph.json")
    weights = {text.partition(":")[0]: weight for weight, text in told}
    assert weights == {
        "http.app": "ok", "http.disable_*": "ok", "http.cors": "ok", "checkpointer.ttl": "ok", "store.ttl": "ok",
        "encryption": "warning", "python_version": "ok", "webhooks.headers": "warning",
        "http.configurable_headers": "ok", "store.index": "ok",
    }  # fmt: skip
    wins = "thread_retention is 7 seconds, and then histories are cut; the setting thread_retention wins over 120"
    assert f"checkpointer.ttl: {wins}" in [text for _, text in told]
    (tmp_path / "langgraph.json").write_text('{"http": {"app": "gone.py:app"}}')
    (problem,) = found(diagnosis(tmp_path, ECHO, "langgraph.json", code=1), "langgraph.json")
    assert problem[0] == "problem"
    assert "gone.py does not exist" in problem[1]


def test_a_server_whose_rules_say_who_may_do_what_may_be_reached_by_others(tmp_path: Path) -> None:
    rules = "from langgraph_sdk import Auth\n\nauth = Auth()\nauth.authenticate(lambda authorization: 'x')\n"
    (tmp_path / "auth.py").write_text(rules)
    (tmp_path / "langgraph.json").write_text('{"auth": {"path": "auth.py:auth"}}')
    told = diagnosis(tmp_path, ECHO, "langgraph.json", "--host", "0.0.0.0")
    assert found(told, "access") == [
        ("ok", "other machines can reach 0.0.0.0, as far as auth of langgraph.json lets them")
    ]
    (tmp_path / "auth.py").write_text("auth = 5\n")
    (problem,) = found(diagnosis(tmp_path, ECHO, "langgraph.json", code=1), "langgraph.json")
    assert problem == ("problem", "auth auth.py:auth is int, no Auth object of langgraph_sdk")
