"""`python -m bench.large`: what operations cost on a file with a million finished runs, beside one with a thousand.

On the storage itself, with no server around it, so that nothing dilutes the ratio; the two files take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.large import fill as history
from runyard.items import ItemSearch, NamespaceQuery
from runyard.runs import NewRun, RunFilter
from runyard.storage.contract import Batch, Ending
from runyard.storage.sqlite import SqliteStorage
from runyard.threads import ThreadFilter

SMALL = 1000
TARGET = 1.2
NOW = 1_800_000_000_000_000
Step = Callable[["Subject"], Awaitable[object]]


class Subject:
    """One storage, and what the operations need to know of it."""

    def __init__(self, path: Path, runs: int) -> None:
        self.storage = SqliteStorage(path)
        self.runs = runs
        self.made = 0
        self.waiting: list[Any] = []

    def wish(self, **more: Any) -> NewRun:
        """A new run, as the server would ask for it."""
        self.made += 1
        fields: dict[str, Any] = {
            "run_id": f"11111111-0000-7000-8000-{self.made:012x}", "owner": "", "agent_id": "noop", "request": b"{}",
            "metadata": b'{"user":"user-7"}', "created_at": NOW + self.made,
            "thread_id": f"11111111-0000-7000-9000-{self.made:012x}", "stateless": True, "create_thread": False,
            "strategy": "reject", "max_attempts": 3, "resumes": False,
        }  # fmt: skip
        return NewRun(**{**fields, **more})

    def some(self) -> int:
        """The number of a run somewhere in the history, another each time."""
        self.made += 1
        return self.made * 7919 % self.runs


async def create(subject: Subject) -> None:
    await subject.storage.create_run(subject.wish())


async def create_on_a_thread(subject: Subject) -> None:
    thread = history.thread_id(subject.some() // history.RUNS_PER_THREAD)
    wish = subject.wish(thread_id=thread, stateless=False, strategy="enqueue", due_at=NOW * 2)
    await subject.storage.create_run(wish)


async def claim(subject: Subject) -> None:
    subject.waiting += await subject.storage.claim({"noop": None}, 1, NOW)


async def finish(subject: Subject) -> None:
    attempt = subject.waiting.pop().attempt
    await subject.storage.finish(attempt, Batch(), Ending("completed", expires_at=NOW * 2), NOW)


async def get(subject: Subject) -> None:
    subject.storage.run("", history.run_id(subject.some()))


async def replay(subject: Subject) -> None:
    number = subject.some()
    thread = history.thread_id(number // history.RUNS_PER_THREAD)
    after = number % history.RUNS_PER_THREAD * history.EVENTS_PER_RUN
    found = await subject.storage.events("", thread, after=after, run_id=history.run_id(number), limit=500)
    assert len(found) == history.EVENTS_PER_RUN


async def get_thread(subject: Subject) -> None:
    thread = subject.storage.thread("", history.thread_id(subject.some() // history.RUNS_PER_THREAD))
    assert thread.head is not None
    await subject.storage.snapshot("", thread.thread_id, thread.head)


async def thread_history(subject: Subject) -> None:
    thread = history.thread_id(subject.some() // history.RUNS_PER_THREAD)
    assert len(await subject.storage.history("", thread, before=None, limit=10)) == 10


def listing(**fields: Any) -> Step:
    async def search(subject: Subject) -> None:
        assert await subject.storage.search_runs("", RunFilter(**fields))

    return search


async def runs_of_a_thread(subject: Subject) -> None:
    thread = history.thread_id(subject.some() // history.RUNS_PER_THREAD)
    assert await subject.storage.search_runs("", RunFilter(thread_id=thread))


def threads(**fields: Any) -> Step:
    async def search(subject: Subject) -> None:
        assert await subject.storage.search_threads("", ThreadFilter(**fields))

    return search


async def get_item(subject: Subject) -> None:
    number = subject.some()
    namespace = ("users", f"user-{number // 20:08d}")
    await subject.storage.get_item("", namespace, f"key-{number % 20}", NOW)


async def search_items(subject: Subject) -> None:
    namespace = ("users", f"user-{subject.some() // 20:08d}")
    assert len(await subject.storage.search_items("", ItemSearch(prefix=namespace, filter={"kind": "note"}), NOW)) == 10


async def newest_items(subject: Subject) -> None:
    assert len(await subject.storage.search_items("", ItemSearch(filter={"kind": "note"}), NOW)) == 10


async def namespaces(subject: Subject) -> None:
    label = f"user-{subject.some() // 20:08d}"
    assert len(await subject.storage.namespaces("", NamespaceQuery(prefix=("users", label)), NOW)) == 1


async def pending(subject: Subject) -> None:
    await subject.storage.pending(None)


OPERATIONS: dict[str, Step] = {
    "create": create,
    "create on a thread with a history": create_on_a_thread,
    "claim": claim,
    "finish": finish,
    "get run": get,
    "replay its events": replay,
    "list runs, newest": listing(),
    "list runs of an agent": listing(agent_id="noop"),
    "list runs that failed": listing(statuses=("error",)),
    "list runs of a thread": runs_of_a_thread,
    "search runs by metadata": listing(metadata={"user": "user-7"}),
    "get thread with its state": get_thread,
    "history of a thread": thread_history,
    "list threads, newest": threads(),
    "search threads by metadata": threads(metadata={"user": "user-7"}),
    "get item": get_item,
    "search items of a namespace": search_items,
    "search items, newest": newest_items,
    "list namespaces below a prefix": namespaces,
    "count what waits": pending,
}


async def measure(
    small: Subject, large: Subject, times: int, progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Milliseconds of each operation, medians: on the small file and on the large one."""
    await small.storage.open()
    await large.storage.open()
    table: dict[str, list[float]] = {}
    try:
        for name, step in OPERATIONS.items():
            progress(name)
            took: dict[Subject, list[float]] = {small: [], large: []}
            for turn in range(times):
                for subject in (small, large) if turn % 2 else (large, small):
                    begun = time.perf_counter()
                    await step(subject)
                    took[subject].append((time.perf_counter() - begun) * 1e3)
            table[name] = [statistics.median(took[small][times // 10 :]), statistics.median(took[large][times // 10 :])]
    finally:
        await small.storage.close()
        await large.storage.close()
    return table


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.large", description=__doc__, epilog="example: python -m bench.large --runs 100000"
    )
    parser.add_argument("--runs", type=int, default=1_000_000, help="finished runs in the large file")
    parser.add_argument("--times", type=int, default=400, help="how often each operation is done on each file")
    parser.add_argument("--keep", type=Path, help="a folder for the two files; they are made where they are missing")
    options = parser.parse_args()

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="runyard-large-") as temporary:
        folder: Path = options.keep or Path(temporary)
        subjects: list[Subject] = []
        for runs in (SMALL, options.runs):
            path = folder / f"{runs}.db"
            if not path.exists():
                history.fill(path, runs, progress)
            subjects.append(Subject(path, runs))
        size = (folder / f"{options.runs}.db").stat().st_size / 1e9
        small, large = subjects
        table = asyncio.run(measure(small, large, options.times, progress))
    progress("")
    events, items = options.runs * history.EVENTS_PER_RUN, options.runs
    print(
        f"{options.runs:,} finished runs on {options.runs // history.RUNS_PER_THREAD:,} threads, {events:,} events, "
        f"{items:,} items: {size:.1f} GB; beside {SMALL:,} runs. Medians of {options.times}."
    )
    print()
    print(f"| operation | with {SMALL:,} runs, ms | with {options.runs:,}, ms | ratio | target |")
    print("|---|--:|--:|--:|--:|")
    for name, (short, long) in table.items():
        print(f"| {name} | {short:.3f} | {long:.3f} | {long / short:.2f} | <= {TARGET} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
