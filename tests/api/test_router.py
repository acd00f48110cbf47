"""Which endpoint a path leads to, and what of it varies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from runyard.api.router import Router

PATHS = (
    "/runs",
    "/runs/{run_id}",
    "/runs/search",
    "/runs/{run_id}/wait",
    "/threads/{thread_id}",
    "/threads/{thread_id}/runs/{run_id}",
)


def led(path: str, root: str = "", kind: str = "http") -> tuple[str, dict[str, str]]:
    """The path of the table that a request is led to, and the parts that vary."""
    seen: list[tuple[str, dict[str, str]]] = []

    def endpoint(name: str) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append((name, scope["path_params"]))

        return app

    router = Router({name: endpoint(name) for name in PATHS}, endpoint("nothing there"))
    scope: Any = {"type": kind, "path": path, "root_path": root}
    asyncio.run(router(scope, None, None))  # type: ignore[arg-type]
    [found] = seen
    return found


@pytest.mark.parametrize(
    ("path", "found", "params"),
    [
        ("/runs", "/runs", {}),
        ("/runs/search", "/runs/search", {}),
        ("/runs/7", "/runs/{run_id}", {"run_id": "7"}),
        ("/runs/7/wait", "/runs/{run_id}/wait", {"run_id": "7"}),
        ("/runs/search/wait", "/runs/{run_id}/wait", {"run_id": "search"}),
        ("/threads/a b/runs/\u00e9", "/threads/{thread_id}/runs/{run_id}", {"thread_id": "a b", "run_id": "\u00e9"}),
        ("/runs/7\n", "/runs/{run_id}", {"run_id": "7\n"}),
    ],
)
def test_a_path_leads_to_its_endpoint(path: str, found: str, params: dict[str, str]) -> None:
    assert led(path) == (found, params)


@pytest.mark.parametrize(
    "path", ["", "/", "runs", "//runs", "/runs/", "/runs\n", "/runs//wait", "/runs/7/wait/", "/runs/7/8", "/Runs", "*"]
)
def test_what_is_not_in_the_table_leads_nowhere(path: str) -> None:
    assert led(path) == ("nothing there", {})


def test_a_mounted_api_has_its_paths_below_where_it_is() -> None:
    assert led("/api/runs/7", "/api") == ("/runs/{run_id}", {"run_id": "7"})
    assert led("/runs/7", "/api") == ("/runs/{run_id}", {"run_id": "7"})  # a server that strips the prefix itself
    assert led("/apiruns", "/api")[0] == "nothing there"
    assert led("/api", "/api")[0] == "nothing there"


def test_a_websocket_leads_where_a_request_would() -> None:
    assert led("/runs", kind="websocket")[0] == led("/runs")[0]
