"""What the client costs over bare use of the HTTP library beneath it: the same call, in turn, on one connection each.

A script of its own: `python bench/client.py URL SECONDS` prints one JSON object, medians in microseconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import ap_client
import httpx2

BLOCK = 20


def per_call(call: Callable[[], object]) -> float:
    """Seconds a call takes, over a block of them."""
    begun = time.perf_counter()
    for _ in range(BLOCK):
        call()
    return (time.perf_counter() - begun) / BLOCK


def main(url: str, seconds: float) -> dict[str, float]:
    with httpx2.Client(base_url=url) as http, ap_client.ApiClient(ap_client.Configuration(url)) as client:
        runs = ap_client.BackgroundRunsApi(client)
        thread = ap_client.ThreadsApi(client).create_thread({})
        made = runs.create_run({"agent_id": "noop", "input": {"message": "hello"}, "thread_id": thread.thread_id})
        runs.wait_run(made.run_id)
        run_id = made.run_id

        def bare() -> object:
            return http.get(f"/runs/{run_id}").raise_for_status().json()

        def ours() -> object:
            return runs.get_run(run_id)

        per_call(bare), per_call(ours)
        pairs: list[tuple[float, float]] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(pairs) < 5:
            pairs.append((per_call(bare), per_call(ours)))
    return {
        "bare_us": statistics.median(one for one, _ in pairs) * 1e6,
        "client_us": statistics.median(other for _, other in pairs) * 1e6,
        "of_bare": statistics.median(other / one for one, other in pairs),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]))))
