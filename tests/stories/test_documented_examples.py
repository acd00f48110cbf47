"""Every example of the protocol's page about background runs works against this server, as it stands there."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import EXAMPLES, ServerProcess

PAGE = Path(__file__).with_name("background_runs_examples.md").read_text()
EXAMPLE = dict(re.findall(r"^## (\w+)\n\n```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One agent only, so that it is the default: the examples name none."""
    made = ServerProcess(tmp_path_factory.mktemp("documented"), EXAMPLES / "echo.py")
    yield made.start()
    made.end()


def run_example(name: str, server: ServerProcess, **replacements: str) -> str:
    """What an example prints, with these texts of it replaced. The page forgot the quotes of "interrupt"."""
    code = EXAMPLE[name].replace("http://localhost", server.url)
    for old, new in replacements.items():
        assert old in code
        code = code.replace(old, new)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, name, "exec"), {"interrupt": "interrupt", "__name__": "__main__"})
    return printed.getvalue()


def test_the_page_has_seven_examples() -> None:
    assert sorted(EXAMPLE) == [
        "cancel_run",
        "create_run",
        "delete_run",
        "get_run",
        "search_thread_runs",
        "stream_run",
        "wait_run",
    ]


def test_create_run_as_it_stands_there(server: ServerProcess) -> None:
    printed = run_example("create_run", server)
    assert printed.startswith("The response of BackgroundRunsApi->create_run:\n")
    assert "agent_id='echo'" in printed


@pytest.mark.parametrize("name", sorted(set(EXAMPLE) - {"create_run"}))
def test_as_it_stands_there_an_id_that_is_none_is_refused(name: str, server: ServerProcess) -> None:
    printed = run_example(name, server)
    assert printed.startswith(f"Exception when calling BackgroundRunsApi->{name}: (422)")
    assert "example" in printed, "the error repeats the value"


@pytest.mark.parametrize("name", ["get_run", "wait_run", "stream_run"])
def test_with_the_id_of_a_run(name: str, server: ServerProcess) -> None:
    run = server.background.create_run({"input": "hello"})
    server.background.wait_run(run.run_id)
    printed = run_example(name, server, run_id_example=run.run_id)
    assert printed.startswith(f"The response of BackgroundRunsApi->{name}:\n")
    assert "success" in printed


def test_with_the_id_of_a_thread(server: ServerProcess) -> None:
    thread = server.threads.create_thread({})
    run = server.runs.create_and_wait_run({"thread_id": thread.thread_id, "input": "hello"}).run
    printed = run_example("search_thread_runs", server, thread_id_example=thread.thread_id)
    assert run.run_id in printed


@pytest.mark.parametrize("name", ["cancel_run", "delete_run"])
def test_what_answers_nothing_prints_nothing(name: str, server: ServerProcess) -> None:
    run = server.background.create_run({"input": "hello"})
    server.background.wait_run(run.run_id)
    assert run_example(name, server, run_id_example=run.run_id) == ""
