"""Which handler is asked about which operation, and with what. This table is that of docs/auth.md."""

from __future__ import annotations

from typing import Any

import pytest
from auth_attempts import FACES, Attempt, attempts, things_of, tried
from live_server import play
from projects import Guard

READ, SEARCH, RUN = ["threads.read"], ["threads.search"], ["threads.create_run"]
DELETES, CANCELS = ["threads.read", "threads.delete"], ["threads.read", "threads.update"]
AGENT, COPIES = ["assistants.read"], ["threads.read", "threads.create"]
EXISTING = ["threads.create", "threads.read"]

STORE = {
    "get_item": ["store.get"], "put_item": ["store.put"], "delete_item": ["store.delete"],
    "search_items": ["store.search"], "list_namespaces": ["store.list_namespaces"],
}  # fmt: skip
THREADS = {
    "create_thread": EXISTING, "search_threads": SEARCH, "get_thread": READ, "patch_thread": ["threads.update"],
    "delete_thread": ["threads.delete"], "copy_thread": COPIES,
}  # fmt: skip
EXPECTED: dict[str, dict[str, list[str]]] = {
    "": {
        **STORE, **THREADS,
        "create_run": RUN, "create_and_wait_run": RUN, "create_and_stream_run": RUN, "resume_run": RUN,
        "resume_and_wait_run": RUN, "resume_and_stream_run": RUN, "create_thread_run": RUN,
        "create_and_wait_thread_run": RUN, "create_and_stream_thread_run": RUN,
        "search_runs": SEARCH, "search_thread_runs": SEARCH, "get_run": READ, "wait_run": READ, "stream_run": READ,
        "get_thread_run": READ, "wait_thread_run": READ, "stream_thread_run": READ,
        "delete_run": DELETES, "delete_thread_run": DELETES, "cancel_run": CANCELS, "cancel_thread_run": CANCELS,
        "get_thread_history": READ, "open_thread_sse_stream": READ, "send_thread_streaming_command": READ,
        "search_webhooks": SEARCH, "get_webhook": READ, "resend_webhook": ["threads.update"],
        "search_agents": ["assistants.search"], "get_agent": AGENT, "get_agent_schemas": AGENT,
    },
    "/langgraph": {
        **STORE, **THREADS,
        "create_assistant": ["assistants.create", "assistants.read"], "search_assistants": ["assistants.search"],
        "count_assistants": ["assistants.search"], "get_assistant": AGENT, "patch_assistant": ["assistants.update"],
        "delete_assistant": ["assistants.delete"], "get_assistant_graph": AGENT, "get_assistant_subgraphs": AGENT,
        "get_assistant_subgraph": AGENT, "get_assistant_schemas": AGENT, "list_assistant_versions": AGENT,
        "set_latest_assistant_version": ["assistants.update"],
        "count_threads": SEARCH, "prune_threads": ["threads.search", *CANCELS], "get_thread_storage": READ,
        "get_state": READ,
        "update_state": CANCELS, "post_state_at": READ, "get_state_at": READ, "get_history": READ, "post_history": READ,
        "join_thread_stream": READ, "open_thread_event_stream": READ, "send_thread_command": READ,
        "create_thread_run": RUN, "wait_thread_run": RUN, "stream_thread_run": RUN, "create_run": RUN, "wait_run": RUN,
        "stream_run": RUN, "create_runs": RUN,
        "create_thread_cron": ["crons.create", *RUN], "create_cron": ["crons.create"],
        "search_crons": ["crons.search"], "count_crons": ["crons.search"], "get_cron": ["crons.read"],
        "patch_cron": ["crons.update"], "delete_cron": ["crons.delete"],
        "list_runs": SEARCH, "get_run": READ, "join_run": READ, "join_run_stream": READ, "delete_run": DELETES,
        "cancel_run": READ, "cancel_runs": READ,
        "get_stateless_run": READ, "join_stateless_run": READ, "join_stateless_run_stream": READ,
        "delete_stateless_run": DELETES, "cancel_stateless_run": READ,
    },
}  # fmt: skip
"""Operation -> what is asked. A run that has ended is not cancelled by the dialect's operations, and so not asked
about."""


@pytest.mark.parametrize("face", FACES)
def test_each_operation_asks_its_handlers_once(guard: Guard, face: str) -> None:
    async def story() -> None:
        async with guard() as s:
            things = await things_of(s, "ada")
            every = list(attempts(face, things))
            assert {attempt.operation for attempt in every} == EXPECTED[face].keys()
            for place, attempt in enumerate(every):
                if attempt.method == "DELETE":
                    attempt = list(attempts(face, await things_of(s, "ada")))[place]
                s.rules.ASKED.clear()
                status, text = await tried(s, "ada", attempt)
                asked = [f"{resource}.{action}" for _, resource, action, _ in s.rules.ASKED]
                assert asked == EXPECTED[face][attempt.operation], f"{attempt.operation}: {status} {text[:200]}"

    play(story())


def test_a_denial_of_each_action_refuses_all_operations_that_ask_it(guard: Guard) -> None:
    async def story() -> None:
        async with guard() as s:
            things = await things_of(s, "ada")
            for face in FACES:
                for attempt in attempts(face, things):
                    (first, *_) = EXPECTED[face][attempt.operation]
                    s.rules.RULES.clear()
                    s.rules.RULES[first] = False
                    status, text = await tried(s, "ada", attempt)
                    refused = status == 403 or '"permission_denied"' in text
                    assert refused, f"{attempt.operation}: {status} {text[:200]}"

    play(story())


def test_values_say_what_is_asked_for(guard: Guard) -> None:
    async def story() -> None:
        async with guard() as s:
            things = await things_of(s, "ada")
            thread_id, default = things.thread_id, s.rules.plain(_default())
            run = {
                "thread_id": thread_id, "assistant_id": default, "graph_id": "echo", "run_id": None, "action": None,
                "status": "pending", "metadata": {"m": 1}, "multitask_strategy": "enqueue",
                "prevent_insert_if_inflight": False, "if_not_exists": "reject", "after_seconds": 0,
            }  # fmt: skip
            at = f"/threads/{thread_id}"
            page = {"limit": 3, "offset": 1}
            cases: list[tuple[Attempt, dict[str, Any]]] = [
                (_try("POST", f"{at}/runs", {"input": 5, "metadata": {"m": 1}, "multitask_strategy": "enqueue"}),
                 {**run, "kwargs": {"input": 5}}),
                (_try("POST", f"/langgraph{at}/runs", {
                    "assistant_id": "echo", "input": 5, "metadata": {"m": 1}, "config": {"configurable": {"a": 1}},
                }), {**run, "kwargs": {"input": 5, "config": {"configurable": {"a": 1}}}}),
                (_try("PATCH", at, {"metadata": {"n": 2}}), {
                    "thread_id": thread_id, "metadata": {"n": 2}, "action": None,
                }),
                (_try("POST", "/langgraph/threads", {"thread_id": _default(), "ttl": 1.5}), {
                    "thread_id": default, "metadata": {}, "if_exists": "raise",
                    "ttl": {"strategy": "delete", "ttl": 1.5},
                }),
                (_try("POST", f"/runs/{things.run_id}/cancel?action=interrupt"), {
                    "thread_id": thread_id, "run_id": things.run_id, "action": "interrupt",
                }),
                (_try("POST", "/threads/search", {"metadata": {"a": 1}, "status": "idle", **page}), {
                    "metadata": {"a": 1}, "values": {}, "status": "idle", "ids": None, **page,
                }),
                (_try("PUT", "/store/items", {"namespace": ["a", "b"], "key": "k", "value": {"v": 1}}), {
                    "namespace": ("a", "b"), "key": "k", "value": {"v": 1}, "index": None,
                }),
                (_try("POST", "/store/namespaces", {"prefix": ["a"], "max_depth": 2, **page}), {
                    "namespace": ("a",), "suffix": None, "max_depth": 2, **page,
                }),
                (_try("POST", "/store/items/search", {"namespace_prefix": ["a"], "filter": {"v": 1}, **page}), {
                    "namespace": ("a",), "filter": {"v": 1}, "query": None, **page,
                }),
                (_try("POST", "/langgraph/assistants", {"graph_id": "echo", "name": "n", "metadata": {"a": 1}}), {
                    "assistant_id": None, "graph_id": "echo", "name": "n", "config": {}, "context": {},
                    "metadata": {"a": 1}, "if_exists": "raise",
                }),
                (_try("POST", "/langgraph/runs/crons", {
                    "assistant_id": "echo", "schedule": "0 0 1 1 *", "input": 5, "metadata": {"a": 1},
                }), {
                    "schedule": "0 0 1 1 *", "cron_id": None, "thread_id": None, "user_id": "ada", "end_time": None,
                    "metadata": {"a": 1}, "payload": {"input": 5, "assistant_id": default, "metadata": {"a": 1}},
                }),
            ]  # fmt: skip
            for attempt, expected in cases:
                s.rules.ASKED.clear()
                status, text = await tried(s, "ada", attempt)
                assert status < 400, text
                assert s.values[-1] == expected

    play(story())


def _default() -> str:
    from runyard.assistants import default_id

    return default_id("echo")


def _try(method: str, path: str, body: Any = None) -> Attempt:
    return Attempt("", method, path, {} if body is None and method == "POST" else body, {})


def test_ids_are_uuids_as_the_sdk_says(guard: Guard) -> None:
    from uuid import UUID

    async def story() -> None:
        seen: list[Any] = []
        async with guard({"threads.read": lambda ctx, value: seen.append(value["thread_id"])}) as s:
            thread_id = await s.thread("ada")
            await s.get("ada", f"/threads/{thread_id}")
            assert seen == [UUID(thread_id)]

    play(story())
