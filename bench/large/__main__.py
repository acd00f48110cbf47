"""`python -m bench.large`: what operations cost on a file with a million finished runs, beside one with a thousand.

Two servers, one on each file, take turns at each request of one connection. The claim and the end of a run, which no
single request shows, are measured on the storage itself, with nothing around it that would dilute the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.large import fill as history
from bench.large import postgres
from bench.servers import runyard
from runyard.runs import NewRun
from runyard.storage.contract import Batch, Claim, Ending, Storage
from runyard.storage.sqlite import SqliteStorage

SMALL = 1000
PLACES = 100
TARGET = 1.2


class Subject:
    """One file, and the server on it while there is one."""

    def __init__(self, path: Path, runs: int) -> None:
        self.path = path
        self.runs = runs
        self._turn = 0
        self._connection: http.client.HTTPConnection | None = None

    def connect(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def some(self) -> int:
        """The number of a run: a hundred places all over the history take turns, on either file."""
        self._turn += 1
        return self._turn * 37 % PLACES * (self.runs // PLACES)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request; what it answers, parsed where that is JSON."""
        assert self._connection is not None
        payload = None if body is None else json.dumps(body)
        self._connection.request(method, path, payload, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return text if answer.getheader("content-type", "").startswith("text/") else json.loads(text)


def _thread(subject: Subject) -> str:
    return history.thread_id(subject.some() // history.RUNS_PER_THREAD)


def create(subject: Subject) -> None:
    subject.ask("POST", "/runs", {"agent_id": "noop", "after_seconds": 9_999_999})


def create_and_wait(subject: Subject) -> None:
    assert subject.ask("POST", "/runs/wait", {"agent_id": "noop"})["status"] == "success"


def create_and_wait_on_a_thread(subject: Subject) -> None:
    done = subject.ask("POST", "/runs/wait", {"agent_id": "noop", "thread_id": _thread(subject)})
    assert done["status"] == "success"


def get_run(subject: Subject) -> None:
    subject.ask("GET", f"/runs/{history.run_id(subject.some())}")


def replay(subject: Subject) -> None:
    text = subject.ask(
        "GET", f"/runs/{history.run_id(subject.some())}/stream?since=0&stream_mode=custom,values,updates"
    )
    assert text.count(b"\nid: ") == history.EVENTS_PER_RUN - 1  # the input is not shown


def get_thread(subject: Subject) -> None:
    assert subject.ask("GET", f"/threads/{_thread(subject)}")["values"]


def thread_history(subject: Subject) -> None:
    assert len(subject.ask("GET", f"/threads/{_thread(subject)}/history")) == 10


def runs_of_a_thread(subject: Subject) -> None:
    assert len(subject.ask("GET", f"/threads/{_thread(subject)}/runs")) == 10


def search(path: str, **body: Any) -> Callable[[Subject], None]:
    def step(subject: Subject) -> None:
        assert subject.ask("POST", path, body)

    return step


def run_by_label(subject: Subject) -> None:
    found = subject.ask("POST", "/runs/search", {"metadata": {"order": f"order-{subject.some()}"}})
    assert len(found) == 1


def thread_by_label(subject: Subject) -> None:
    room = subject.some() // history.RUNS_PER_THREAD
    assert len(subject.ask("POST", "/threads/search", {"metadata": {"room": f"room-{room}"}})) == 1


def get_item(subject: Subject) -> None:
    number = subject.some()
    place = f"namespace=users&namespace=user-{number // 20:08d}"
    subject.ask("GET", f"/store/items?key=key-{number % 20}&{place}")


def search_items(subject: Subject) -> None:
    prefix = ["users", f"user-{subject.some() // 20:08d}"]
    found = subject.ask("POST", "/store/items/search", {"namespace_prefix": prefix, "filter": {"kind": "note"}})
    assert len(found["items"]) == 10


def namespaces(subject: Subject) -> None:
    prefix = ["users", f"user-{subject.some() // 20:08d}"]
    assert subject.ask("POST", "/store/namespaces", {"prefix": prefix}) == [prefix]


REQUESTS: dict[str, Callable[[Subject], None]] = {
    "create": create,
    "create, execute and wait": create_and_wait,
    "the same on a thread with a history": create_and_wait_on_a_thread,
    "get run": get_run,
    "replay its events": replay,
    "list runs, newest": search("/runs/search"),
    "list runs of an agent": search("/runs/search", agent_id="noop"),
    "list runs that failed": search("/runs/search", status="error", limit=1),
    "list runs of a thread": runs_of_a_thread,
    "search runs by metadata": search("/runs/search", metadata={"user": "user-7"}),
    "find one run by metadata": run_by_label,
    "get thread with its state": get_thread,
    "history of a thread": thread_history,
    "list threads, newest": search("/threads/search"),
    "search threads by metadata": search("/threads/search", metadata={"user": "user-7"}, limit=2),
    "find one thread by metadata": thread_by_label,
    "get item": get_item,
    "search items of a namespace": search_items,
    "search items, newest": search("/store/items/search", filter={"kind": "note"}),
    "list namespaces below a prefix": namespaces,
}

Table = dict[str, tuple[float, float]]
"""Milliseconds of an operation, medians: on the small file and on the large one."""


def requests(subjects: Sequence[Subject], times: int, progress: Callable[[str], None]) -> Table:
    """What requests cost, the two servers taking turns."""
    small, large = subjects
    table: Table = {}
    with runyard(small.path.parent, "--database", f"sqlite:///{small.path}") as first:
        with runyard(large.path.parent, "--database", f"sqlite:///{large.path}") as second:
            small.connect(first.port)
            large.connect(second.port)
            for name, step in REQUESTS.items():
                progress(name)
                took: dict[Subject, list[float]] = {small: [], large: []}
                for turn in range(times):
                    for subject in (small, large) if turn % 2 else (large, small):
                        begun = time.perf_counter()
                        step(subject)
                        took[subject].append((time.perf_counter() - begun) * 1e3)
                table[name] = (statistics.median(took[small]), statistics.median(took[large]))
    return table


async def lives(storages: Sequence[Storage], times: int) -> Table:
    """Create, claim and finish, verb by verb on the storages, which take turns."""
    took: dict[str, tuple[list[float], list[float]]] = {
        name: ([], []) for name in ("create (storage)", "claim (storage)", "finish (storage)")
    }
    now = time.time_ns() // 1000
    for storage in storages:
        await storage.open()
    for turn in range(times):
        for place in (0, 1) if turn % 2 else (1, 0):
            storage = storages[place]
            moments = [time.perf_counter()]
            await storage.create_run(_wish(now + turn, turn))
            moments.append(time.perf_counter())
            claims: list[Claim] = await storage.claim({"measured": None}, 1, now + turn)
            moments.append(time.perf_counter())
            await storage.finish(claims[0].attempt, Batch(), Ending("completed", expires_at=now), now + turn)
            moments.append(time.perf_counter())
            for name, begun, ended in zip(took, moments, moments[1:], strict=False):
                took[name][place].append((ended - begun) * 1e3)
    for storage in storages:
        await storage.purge(now + times, keys_before=0)
        await storage.close()
    return {name: (statistics.median(short), statistics.median(long)) for name, (short, long) in took.items()}


def _wish(at: int, number: int) -> NewRun:
    return NewRun(
        run_id=f"{at:016x}-run-{number}", owner="", agent_id="measured", request=b"{}", metadata=b"{}", created_at=at,
        thread_id=f"{at:016x}-thread-{number}", stateless=True, create_thread=False, strategy="reject", max_attempts=3,
        resumes=False,
    )  # fmt: skip


def _print(table: Table, runs: int) -> None:
    print(f"| operation | with {SMALL:,} runs, ms | with {runs:,}, ms | ratio | target |")
    print("|---|--:|--:|--:|--:|")
    for name, (short, long) in table.items():
        print(f"| {name} | {short:.2f} | {long:.2f} | {long / short:.2f} | <= {TARGET} |")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.large", description=__doc__, epilog="example: python -m bench.large --runs 100000"
    )
    parser.add_argument("--runs", type=int, default=1_000_000, help="finished runs in the large file")
    parser.add_argument("--times", type=int, default=400, help="how often each operation is done on each file")
    parser.add_argument("--keep", type=Path, help="a folder for the two files; they are made where they are missing")
    parser.add_argument("--postgres", action="store_true", help="the storage on PostgreSQL instead")
    options = parser.parse_args()

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)

    if options.postgres:
        table = postgres.measured(
            (SMALL, options.runs), lambda storages: asyncio.run(lives(storages, options.times)), progress
        )
        progress("")
        print(f"PostgreSQL, {options.runs:,} finished runs beside {SMALL:,}. Medians of {options.times}.\n")
        _print(table, options.runs)
        return 0
    with tempfile.TemporaryDirectory(prefix="runyard-large-") as temporary:
        folder: Path = (options.keep or Path(temporary)).resolve()
        subjects: list[Subject] = []
        for runs in (SMALL, options.runs):
            path = folder / f"{runs}.db"
            if not path.exists():
                history.fill(path, runs, progress)
            subjects.append(Subject(path, runs))
        size = subjects[1].path.stat().st_size / 1e9
        progress("create, claim and finish")
        table = asyncio.run(lives([SqliteStorage(subject.path) for subject in subjects], options.times)) | requests(
            subjects, options.times, progress
        )
    progress("")
    events, items = options.runs * history.EVENTS_PER_RUN, options.runs
    print(
        f"{options.runs:,} finished runs on {options.runs // history.RUNS_PER_THREAD:,} threads, {events:,} events, "
        f"{items:,} items: {size:.1f} GB; beside {SMALL:,} runs. Medians of {options.times}, concurrency 1."
    )
    print()
    _print(table, options.runs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
