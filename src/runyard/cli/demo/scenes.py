"""The scenes of the tour. Each drives real runs through the server and checks what it claims."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

from ap_client import (
    ApiException,
    BackgroundRunsApi,
    EventStream,
    RunsApi,
    RunWaitResponse,
    StoreApi,
    ThreadsApi,
)

from runyard.cli.demo.child import ChildServer
from runyard.cli.demo.screen import Bars, Screen

NUMBERS_PER_ITEM = 20_000
"""What one item of the example `long_job` searches for primes."""


class ClaimFailed(Exception):
    """Something that the tour claims does not hold; the message says what came instead."""


class Stage:
    """What a scene has: a server, its client, the examples, a screen, and the list of what was proven."""

    def __init__(self, server: ChildServer, examples: Path, screen: Screen) -> None:
        self.server = server
        self.examples = examples
        self.screen = screen
        self.proven: list[tuple[str, str]] = []
        self._scene = ""

    def begin(self, number: int, scene: str) -> None:
        """A new scene; its name stands beside what it proves."""
        self._scene = scene
        self.screen.title(f"{number}. {scene}")

    def check(self, claim: str, holds: bool, instead: object) -> None:
        """A claim that was put to the test. Raises ClaimFailed, with what came instead, where it fails."""
        if not holds:
            raise ClaimFailed(f'"{claim}" does not hold. What came instead: {instead!r}')
        self.proven.append((self._scene, claim))
        self.screen.claim(claim)

    @property
    def runs(self) -> RunsApi:
        return RunsApi(self.server.client)

    @property
    def background(self) -> BackgroundRunsApi:
        return BackgroundRunsApi(self.server.client)

    @property
    def threads(self) -> ThreadsApi:
        return ThreadsApi(self.server.client)


def streamed_run(stage: Stage) -> None:
    """An agent summarises a folder of texts; its words arrive while it writes them."""
    folder = stage.examples / "texts"
    files = sorted(path.name for path in folder.glob("*.txt"))
    wish = {
        "agent_id": "summarize",
        "input": {"folder": str(folder), "sentences": len(files)},
        "stream_mode": ["messages", "values"],
    }
    stage.screen.say(f"agent summarize reads {len(files)} texts and quotes from them, streamed:")

    ids: list[int] = []
    names: list[str] = []
    summary: list[dict[str, Any]] = []
    for event in stage.runs.create_and_stream_run_events(wish):
        ids.append(int(event.id or 0))
        names.append(event.event)
        match event.event:
            case "messages":
                for message in event.data:
                    if message.get("delta"):
                        stage.screen.say(str(message["content"]).strip(), "dim")
            case "values":
                summary = event.data.get("summary", summary)
            case _:
                pass
    stage.check(
        f"{len(names)} events came in order, from metadata to end",
        (names[0], names[-1]) == ("metadata", "end") and all(a < b for a, b in pairwise(ids)),
        list(zip(ids, names, strict=True)),
    )
    wrong = [quote for quote in summary if not _stands_there(folder, quote)]
    stage.check(
        f"all {len(summary)} quotes stand in the file and line that they name",
        sorted({quote["file"] for quote in summary}) == files and not wrong,
        wrong or summary,
    )


def ten_at_once(stage: Stage) -> None:
    """Ten background runs of different length, followed by their own progress events."""
    sizes = list(range(6, 16))
    seconds = 0.12
    stage.screen.say("agent long_job counts primes, ten runs in the background:")
    begun = time.monotonic()
    started = [stage.background.create_run(_long_job(size, seconds)) for size in sizes]
    creating = time.monotonic() - begun
    labels = [f"primes below {size * NUMBERS_PER_ITEM:>7,}" for size in sizes]
    with stage.screen.bars(labels, sizes) as bars, ThreadPoolExecutor(len(sizes)) as pool:
        followed = [
            pool.submit(_follow, stage.background.stream_run_events(run.run_id), bars, number)
            for number, run in enumerate(started)
        ]
        progress = [each.result() for each in followed]
    took = time.monotonic() - begun
    one_by_one = sum(sizes) * seconds

    stage.check(f"ten runs were accepted in {creating * 1000:.0f} ms, each answered at once", creating < 2.0, creating)
    stage.check(
        f"they ran at the same time: {took:.1f} s for {one_by_one:.1f} s of work",
        took < one_by_one / 2,
        f"{took:.1f} s",
    )
    stage.check(
        "every step of every run was reported once, in order",
        progress == [list(range(1, size + 1)) for size in sizes],
        progress,
    )
    ends = [stage.background.wait_run(run.run_id) for run in started]
    found = [(end.values or {}).get("primes") for end in ends]
    expected = [_primes_below(size * NUMBERS_PER_ITEM) for size in sizes]
    stage.check("all ten counts are right", found == expected, found)


def human_approval(stage: Stage) -> None:
    """An agent stops to ask a person, and goes on with the answer."""
    thread = stage.threads.create_thread({})
    order = {"order": "A-1004", "reason": "damaged", "returned": "2025-03-01"}
    wish = {"agent_id": "refund", "thread_id": thread.thread_id}
    asked = stage.runs.create_and_wait_run({**wish, "input": order})
    questions = asked.interrupts or []
    question: dict[str, Any] = questions[0]["value"] if questions else {}
    stage.check(
        "the run stopped to ask, and its thread keeps the question",
        _status(asked) == stage.threads.get_thread(thread.thread_id).status == "interrupted" and bool(question),
        asked,
    )
    stage.screen.say(f"agent refund asks: {question['question']}")
    stage.screen.say("answer: approve")
    done = stage.runs.create_and_wait_run({**wish, "command": {"resume": "approve"}})
    refund = (done.values or {}).get("refund")
    expected = {"order": "A-1004", "amount": question["amount"], "decided_by": "person"}
    stage.check(
        "the answer was taken, and the run went on where it had stopped",
        _status(done) == "success" and refund == expected,
        done,
    )
    kept = StoreApi(stage.server.client).get_item("A-1004", namespace=["refunds"])
    stage.check("the decision is in the store", kept.value == expected, kept)


def rollback(stage: Stage) -> None:
    """A run is cancelled with rollback: what it did to its thread is taken back."""
    thread_id = stage.threads.create_thread({}).thread_id
    stage.runs.create_and_wait_run(
        {"agent_id": "word_count", "thread_id": thread_id, "input": {"text": "to be or not to be"}}
    )
    before = stage.threads.get_thread(thread_id)
    run = stage.background.create_run(
        {
            "agent_id": "countdown",
            "thread_id": thread_id,
            "input": {"start": 1000, "seconds": 0.05},
            "stream_mode": "updates",
        }
    )
    with stage.background.stream_run_events(run.run_id) as events:
        seen = 0
        for event in events:
            seen += event.event == "updates"
            if seen == 3:
                break
    during = stage.threads.get_thread(thread_id)
    stage.screen.say(f"the thread holds {json.dumps(before.values)}")
    stage.check(
        "the run was at work on the thread",
        during.status == "busy" and "count" in (during.values or {}),
        during,
    )
    begun = time.monotonic()
    stage.background.cancel_run(run.run_id, wait=True, action="rollback")
    stage.screen.say(f"cancelled with rollback; its code stopped after {(time.monotonic() - begun) * 1000:.0f} ms")
    after = stage.threads.get_thread(thread_id)
    stage.check(
        "the thread is as it was before",
        (after.values, after.status) == (before.values, before.status) == (before.values, "idle"),
        after,
    )
    stage.check("the run is gone", _is_gone(stage, run.run_id), run.run_id)


def killed_server(stage: Stage) -> None:
    """The server is killed in the middle of a run; a new one finishes the run."""
    items, kill_after = 12, 5
    journal = stage.server.folder / "journal.jsonl"
    run = stage.background.create_run(_long_job(items, 0.25, journal))
    old_pid = stage.server.pid
    stage.screen.say(f"agent long_job works in the server with process id {old_pid}")

    attempts: list[int] = []
    progress: list[int] = []
    end: dict[str, Any] = {}
    with stage.screen.bars(["steps done"], [items]) as bars:
        for event in stage.background.stream_run_events(run.run_id):
            match event.event:
                case "metadata":
                    attempts.append(event.data["attempt"])
                case "custom":
                    progress.append(event.data["payload"]["done"])
                    bars.show(0, progress[-1])
                    if len(progress) == kill_after:
                        _kill_and_restart(stage, old_pid)
                case "end":
                    end = event.data
                case _:
                    pass

    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    done = [line["item"] for line in lines]
    stage.check(
        f"the run went on in the new server and succeeded at attempt {attempts[-1]}",
        attempts == [1, 2] and end.get("status") == "success",
        (attempts, end),
    )
    stage.check(
        f"none of the {items} steps ran twice (the job's own journal says so)",
        done == list(range(items)) and [line["pid"] for line in lines[:kill_after]] == [old_pid] * kill_after,
        lines,
    )
    stage.check(
        "the stream went on by itself, without a gap or a repetition", progress == [*range(1, items + 1)], progress
    )
    found = (stage.background.wait_run(run.run_id).values or {}).get("primes")
    stage.check("the count is right", found == _primes_below(items * NUMBERS_PER_ITEM), found)


def _long_job(items: int, seconds: float, journal: Path | None = None) -> dict[str, Any]:
    job: dict[str, Any] = {"items": items, "seconds_per_item": seconds}
    if journal is not None:
        job["journal"] = str(journal)
    return {"agent_id": "long_job", "input": job, "stream_mode": "custom"}


def _kill_and_restart(stage: Stage, old_pid: int) -> None:
    stage.server.kill()
    stage.screen.say(f"kill -9 {old_pid}", "bold red")
    seconds = stage.server.start()
    stage.screen.say(f"a new server, process id {stage.server.pid}, answered after {seconds:.1f} s")


def _follow(events: EventStream, bars: Bars, number: int) -> list[int]:
    """The progress that a run of long_job reports, shown as it comes."""
    return [done for done in _progress(events) if bars.show(number, done) is None]


def _progress(events: EventStream) -> Iterator[int]:
    for event in events:
        if event.event == "custom":
            yield event.data["payload"]["done"]


def _stands_there(folder: Path, quote: dict[str, Any]) -> bool:
    lines = (folder / quote["file"]).read_text(encoding="utf-8").splitlines()
    return quote["text"] in " ".join(" ".join(lines[quote["line"] - 1 :]).split())


def _status(answer: RunWaitResponse) -> str | None:
    return answer.run.status if answer.run is not None else None


def _is_gone(stage: Stage, run_id: str) -> bool:
    try:
        stage.background.get_run(run_id)
    except ApiException as error:
        return error.status == 404
    return False


def _primes_below(limit: int) -> int:
    """How many primes there are below a limit: the sieve of Eratosthenes, apart from the one under test."""
    composite = bytearray(limit)
    for number in range(2, int(limit**0.5) + 1):
        if not composite[number]:
            composite[number * number :: number] = b"\x01" * len(range(number * number, limit, number))
    return limit - 2 - sum(composite)
