"""The client's reference pages: up to date is a matter of `make check`; here every example runs, against a server."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import ap_client
import protocol_documents as documents
import pytest
from server_process import EXAMPLES, ServerProcess

PAGES = Path(__file__).parents[2] / "docs" / "client"
SECTIONS = [
    (path.stem, *found)
    for path in sorted(PAGES.glob("*.md"))
    for found in re.findall(r"^## \*\*(\w+)\*\*$(.*?)(?=^## |\Z)", path.read_text(), re.MULTILINE | re.DOTALL)
]
IDS = [f"{api}.{name}" for api, name, _ in SECTIONS]


@pytest.mark.parametrize(("api", "name", "section"), SECTIONS, ids=IDS)
def test_every_example_runs(
    api: str, name: str, section: str, examples_server: ServerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(compile(block.replace("http://localhost", examples_server.url), name, "exec"), {})
    printed = capsys.readouterr().out
    answered = printed.startswith(f"The response of {api}->{name}:\n")
    refused = re.match(rf"Exception when calling {api}->{name}: \((\d+)\)", printed)
    status = refused[1] if refused else "200" if answered else "204"
    codes = re.findall(r"^\*\*(\d+)\*\* ", section, re.MULTILINE)
    assert status in codes, printed


@pytest.mark.parametrize(("api", "name", "section"), SECTIONS, ids=IDS)
def test_a_page_names_the_documented_status_codes(api: str, name: str, section: str) -> None:
    codes = {int(code) for code in re.findall(r"^\*\*(\d+)\*\* ", section, re.MULTILINE)}
    for version in documents.VERSIONS:
        operation = documents.operations(version).get(name)
        # A search that finds nothing is no 404, whatever the documents say.
        if operation is not None and name not in ("search_agents", "search_runs"):
            assert set(operation.errors) <= codes


def test_a_literal_example_works_on_the_default_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`http://localhost` is port 80: served there where the user may, else the default host is another."""

    server = ServerProcess(tmp_path, EXAMPLES / "echo.py")
    try:
        with socket.create_server(("127.0.0.1", 80)):
            pass
        at = server.command.index("--port") + 1
        server.command[at], server.url = "80", "http://127.0.0.1:80"
    except OSError:
        settings: Any = [{"url": server.url, "description": "where it is served"}]
        monkeypatch.setattr(ap_client.Configuration, "get_host_settings", lambda self: settings)
    try:
        server.start()
        run = ap_client.BackgroundRunsApi(ap_client.ApiClient(ap_client.Configuration())).create_run({"input": "hi"})
        assert run.agent_id == "echo"
    finally:
        server.end()
