"""The examples of the protocol's own page on background runs, word for word, against nothing and against a server."""

from __future__ import annotations

from typing import Any

import ap_client
import pytest

from .fake import FakeServer

BEFORE = """
import ap_client
{imports}from ap_client.rest import ApiException
from pprint import pprint

# Defining the host is optional and defaults to http://localhost
# See configuration.py for a list of all supported configuration parameters.
configuration = ap_client.Configuration(
    host = "http://localhost"
)


# Enter a context with an instance of the API client
with ap_client.ApiClient(configuration) as api_client:
    # Create an instance of the API class
    api_instance = ap_client.BackgroundRunsApi(api_client)
"""

# operation: (imports, arguments, call)
BLOCKS = {
    "cancel_run": (
        "",
        """
    run_id = 'run_id_example' # str | The ID of the run.
    wait = False # bool |  (optional) (default to False)
    action = interrupt # str | Action to take when cancelling the run. (optional) (default to interrupt)
""",
        "api_instance.cancel_run(run_id, wait=wait, action=action)",
    ),
    "create_run": (
        "from ap_client.models.run_create import RunCreate\n",
        "    run_create = ap_client.RunCreate() # RunCreate | \n",
        "api_instance.create_run(run_create)",
    ),
    "delete_run": ("", "    run_id = 'run_id_example' # str\n", "api_instance.delete_run(run_id)"),
    "get_run": (
        "from ap_client.models.run import Run\n",
        "    run_id = 'run_id_example' # str | The ID of the run.\n",
        "api_instance.get_run(run_id)",
    ),
    "search_thread_runs": (
        "from ap_client.models.run import Run\n",
        """
    thread_id = 'thread_id_example' # str | The ID of the thread.
    limit = 10 # int |  (optional) (default to 10)
    offset = 0 # int |  (optional) (default to 0)
""",
        "api_instance.search_thread_runs(thread_id, limit=limit, offset=offset)",
    ),
    "stream_run": ("", "    run_id = 'run_id_example' # str\n", "api_instance.stream_run(run_id)"),
    "wait_run": (
        "from ap_client.models.run_wait_response import RunWaitResponse\n",
        "    run_id = 'run_id_example' # str | The ID of the run.\n",
        "api_instance.wait_run(run_id)",
    ),
}
AFTER = """
    try:
        api_response = {call}
        print("The response of BackgroundRunsApi->{name}:\\n")
        pprint(api_response)
    except Exception as e:
        print("Exception when calling BackgroundRunsApi->{name}: %s\\n" % e)
"""


def run_block(name: str) -> None:
    imports, arguments, call = BLOCKS[name]
    block = BEFORE.format(imports=imports) + arguments + AFTER.format(call=call, name=name)
    # The page forgets the quotes of this one word.
    exec(compile(block, f"<{name}>", "exec"), {"interrupt": "interrupt"})


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_runs_where_no_server_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ap_client.Configuration, "host_at", lambda self, index: "http://127.0.0.1:9")
    run_block(name)
    assert f"Exception when calling BackgroundRunsApi->{name}: (0)\nReason: " in capsys.readouterr().out


@pytest.mark.parametrize("name", BLOCKS)
def test_every_block_runs_against_a_server(
    name: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ap_client, "ApiClient", lambda configuration: server.client(configuration))
    run_block(name)
    assert f"The response of BackgroundRunsApi->{name}" in capsys.readouterr().out
    assert len(server.requests) == 1
    assert server.last.url.host == "localhost"


def test_the_created_run_reads_like_the_dict_that_it_was(server: FakeServer) -> None:
    created: Any = ap_client.BackgroundRunsApi(server.client()).create_run(ap_client.RunCreate())
    assert created["run_id"] == created.run_id == created.get("run_id")
