"""Call a server through the `ap_client` that is importable, and print as JSON what it reads.

Run twice by the oracle: with the generated client, and with ours.

Arguments: the server's URL, a thread and its run, a thread to copy, a label.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import ap_client


def plain(value: Any) -> Any:
    """JSON values, whatever classes a client reads them into."""
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(getattr(value, "value", value))


def calls(url: str, thread_id: str, run_id: str, other_id: str, label: str) -> dict[str, Callable[[], Any]]:
    """Each call by a name. Those that make something come with what they make masked by the oracle."""
    client = ap_client.ApiClient(ap_client.Configuration(host=url))
    agents, store = ap_client.AgentsApi(client), ap_client.StoreApi(client)
    background, runs, threads = (
        ap_client.BackgroundRunsApi(client), ap_client.RunsApi(client), ap_client.ThreadsApi(client),
    )  # fmt: skip
    wish = {"agent_id": "echo", "thread_id": thread_id, "input": ap_client.Input("hello"), "metadata": {"a": 1}}
    wishes = getattr(ap_client, "RunStream", ap_client.RunCreate)
    found: dict[str, Callable[[], Any]] = {
        "get_agent": lambda: agents.get_agent("echo"),
        "get_agent_schemas": lambda: agents.get_agent_schemas("echo"),
        "search_agents": lambda: agents.search_agents(ap_client.SearchAgentsRequest(name="echo")),
        "create_thread": lambda: threads.create_thread(ap_client.ThreadCreate(metadata={"a": 1})),
        "get_thread": lambda: threads.get_thread(thread_id),
        "get_thread_history": lambda: threads.get_thread_history(thread_id, limit=5),
        "search_threads": lambda: threads.search_threads(ap_client.ThreadSearchRequest(metadata={"of": label})),
        "copy_thread": lambda: threads.copy_thread(other_id),
        "patch_thread": lambda: threads.patch_thread(other_id, ap_client.ThreadPatch(metadata={"b": label})),
        "delete_thread": lambda: threads.delete_thread(made(threads.create_thread(ap_client.ThreadCreate()))),
        "delete_run": lambda: background.delete_run(ended(background, wishes(**{**wish, "thread_id": None}))),
        "create_and_stream_run": lambda: runs.create_and_stream_run(wishes(**{**wish, "thread_id": None})),
        "get_run": lambda: background.get_run(run_id),
        "wait_run": lambda: background.wait_run(run_id),
        "cancel_run": lambda: background.cancel_run(run_id, wait=True),
        "create_run": lambda: background.create_run(wishes(**{**wish, "thread_id": None})),
        "create_and_wait_run": lambda: runs.create_and_wait_run(ap_client.RunCreate(**{**wish, "thread_id": None})),
        "put_item": lambda: store.put_item(ap_client.StorePutRequest(namespace=["o"], key="k", value={"a": [1]})),
        "get_item": lambda: store.get_item("k", namespace=["o"]),
        "search_items": lambda: store.search_items(ap_client.StoreSearchRequest(namespace_prefix=["o"])),
        "list_namespaces": lambda: store.list_namespaces(ap_client.StoreListNamespacesRequest(prefix=["o"])),
        "delete_item": lambda: store.delete_item(ap_client.StoreDeleteRequest(namespace=["o"], key="k")),
        "unknown run": lambda: background.get_run("01a20c2f-0000-7000-8000-000000000000"),
    }
    if hasattr(background, "search_thread_runs"):
        found["search_thread_runs"] = lambda: background.search_thread_runs(thread_id, limit=5)
    if hasattr(background, "search_runs"):
        found["search_runs"] = lambda: background.search_runs(ap_client.RunSearchRequest(thread_id=thread_id))
    return found


def made(thread: Any) -> str:
    return str(plain(thread)["thread_id"])


def ended(background: Any, wish: Any) -> str:
    """The id of a run that has ended."""
    run_id = str(plain(background.create_run(wish))["run_id"])
    background.wait_run(run_id)
    return run_id


def outcome(call: Callable[[], Any]) -> Any:
    """What it returned, or the status code it raised."""
    try:
        return plain(call())
    except ap_client.ApiException as error:
        return {"status": error.status}


if __name__ == "__main__":
    print(json.dumps({name: outcome(call) for name, call in calls(*sys.argv[1:6]).items()}))
