"""The real storage beside the model of the engine: any verbs in any order, and both look the same after each."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import model
import msgspec
import pytest
from at_rest import opened
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model import Engine, Point, Refused
from postgres_server import Postgres

from runyard import checkpoints
from runyard.checkpoints import Asked, Checkpoint, Question, Snapshot, set_to
from runyard.errors import LeaseLost, NotFound, RunyardError
from runyard.events import Chunk, Entry, Event, ValuesPointer, entry, lifecycle
from runyard.runs import Attempt, Failure, NewRun, RunFilter
from runyard.storage.contract import Batch, Ending, Requeue

T = TypeVar("T")

AGENT = "a"
EVER = 10**9
RETENTION = 50
EXAMPLES = int(os.environ.get("RUNYARD_MODEL_EXAMPLES", "25"))

PROFILE = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    derandomize=EXAMPLES == 25,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


class EngineMachine(RuleBasedStateMachine):
    """Every rule is a verb, done on both."""

    shared: Postgres | None = None

    def __init__(self) -> None:
        super().__init__()
        self.model = Engine()
        self.now = 1000
        self.ids = 0
        self.attempts: dict[str, Attempt] = {}
        self.stale: list[Attempt] = []
        self.told: list[Chunk] = []
        self.loop = asyncio.new_event_loop()
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = tempfile.TemporaryDirectory(prefix="runyard-model-", dir=fast)

    def do(self, verb: Awaitable[T]) -> T:
        return self.loop.run_until_complete(verb)  # type: ignore[arg-type]

    def outcome(self, verb: Awaitable[T]) -> T | str:
        """What a verb gives; the code of a refusal."""
        try:
            return self.do(verb)
        except RunyardError as error:
            return error.reason

    def open(self, *, again: bool = False) -> None:
        self.storage = self.do(opened(Path(self.folder.name), self.shared, again=again))
        self.storage.on_commit = self.told.extend

    def teardown(self) -> None:
        if hasattr(self, "storage"):
            self.do(self.storage.close())
        self.loop.close()
        self.folder.cleanup()

    def new(self, letter: str) -> str:
        self.ids += 1
        return f"{letter}{self.ids:04}"

    def expires(self) -> int:
        return self.now + RETENTION

    # what there is

    def visible(self) -> list[str]:
        return [thread.id for thread in self.model.threads.values() if not thread.hidden and not thread.removed]

    def executing(self) -> list[str]:
        return [run.id for run in self.model.runs.values() if run.status == "running"]

    def free(self) -> list[str]:
        """Threads with nothing in line."""
        return [thread_id for thread_id in self.visible() if not self.model.line(thread_id)]

    def asking(self) -> list[str]:
        return [thread_id for thread_id in self.visible() if self.model.thread(thread_id).asking]

    # threads

    def expected(self, verb: Callable[[], T]) -> T | str:
        """What the model's verb gives; the code of a refusal."""
        try:
            return verb()
        except Refused as refused:
            return str(refused)

    @initialize()
    def two_threads(self) -> None:
        self.open()
        self.create_thread()
        self.create_thread()

    @rule(
        data=st.data(),
        verb=st.sampled_from(["create", "create again", "copy", "delete", "patch", "patch", "patch"]),
    )
    def change_threads(self, data: st.DataObject, verb: str) -> None:
        removed = sorted(thread.id for thread in self.model.threads.values() if thread.removed)
        if verb == "create" and len(self.model.threads) < 6:
            self.create_thread()
        elif verb == "create again" and removed:
            self.create_thread(data.draw(st.sampled_from(removed)))
        elif verb == "copy" and self.visible() and len(self.model.threads) < 8:
            self.copy_thread(data.draw(st.sampled_from(self.visible())))
        elif verb == "delete" and len(self.visible()) > 1:
            self.delete_thread(data.draw(st.sampled_from(self.visible())))
        elif verb == "patch" and self.visible():
            self.patch_thread(data.draw(st.sampled_from(self.visible())))

    def create_thread(self, thread_id: str | None = None) -> None:
        thread_id = thread_id or self.new("t")
        self.model.create_thread(thread_id)
        self.do(self.storage.create_thread("", thread_id, b"{}", self.now, if_exists="raise"))

    def copy_thread(self, thread_id: str) -> None:
        copy_id = self.new("t")
        self.model.copy_thread(thread_id, copy_id)
        self.do(self.storage.copy_thread("", thread_id, copy_id, self.now))

    def delete_thread(self, thread_id: str) -> None:
        stopping = self.model.delete_thread(thread_id, self.now)
        assert sorted(self.do(self.storage.delete_thread("", thread_id, self.now))) == sorted(stopping)
        self.drop_ended()

    def patch_thread(self, thread_id: str) -> None:
        thread = self.model.thread(thread_id)
        point, stored, _ = self.plan(thread_id, None, asks=thread.asking)
        expected = None if thread.head is None else thread.head.id
        given = self.outcome(
            self.storage.patch_thread("", thread_id, self.now, checkpoint=stored, expected_head=expected)
        )
        refused = self.expected(lambda: self.model.patch_thread(thread_id, point))
        assert given == (refused or self.do(self.storage.thread("", thread_id)))

    # runs

    @rule(
        data=st.data(),
        strategy=st.sampled_from(["reject", "enqueue", "enqueue", "interrupt", "rollback"]),
        claim=st.booleans(),
        delay=st.sampled_from([None, None, None, 5, 20]),
        max_attempts=st.sampled_from([1, 2, 3, 3, 3]),
        stateless=st.sampled_from([False, False, False, True]),
    )
    def create_run(
        self, data: st.DataObject, strategy: Any, claim: bool, delay: int | None, max_attempts: int, stateless: bool
    ) -> None:
        threads = self.visible()
        if not stateless and not threads:
            return
        thread_id = self.new("h") if stateless else data.draw(st.sampled_from(threads))
        history = [] if stateless else self.model.thread(thread_id).history
        run = model.Run(
            self.new("r"), thread_id, 0, 0, strategy,
            stateless=stateless,
            max_attempts=max_attempts,
            base=data.draw(st.sampled_from([None, None, None, *history])),
            due=None if delay is None else self.now + delay,
        )  # fmt: skip
        self.create(run, claim=claim)

    @precondition(lambda self: self.free())
    @rule(data=st.data(), max_attempts=st.sampled_from([2, 3, 3, 9]))
    def begin(self, data: st.DataObject, max_attempts: int) -> None:
        """A run that executes at once."""
        thread_id = data.draw(st.sampled_from(self.free()))
        self.create(model.Run(self.new("r"), thread_id, 0, 0, "reject", max_attempts=max_attempts), claim=True)

    @precondition(lambda self: self.asking())
    @rule(
        data=st.data(),
        claim=st.booleans(),
        strategy=st.sampled_from(["reject", "reject", "enqueue", "interrupt", "rollback"]),
        delay=st.sampled_from([None, None, None, 5]),
    )
    def resume(self, data: st.DataObject, claim: bool, strategy: str, delay: int | None) -> None:
        thread_id = data.draw(st.sampled_from(self.asking()))
        due = None if delay is None else self.now + delay
        self.create(model.Run(self.new("r"), thread_id, 0, 0, strategy, resumes=True, due=due), claim=claim)

    @precondition(lambda self: self.asking())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """A resume that executes at once, where it can."""
        thread_id = data.draw(st.sampled_from(self.asking()))
        self.create(model.Run(self.new("r"), thread_id, 0, 0, "reject", resumes=True), claim=True)

    def create(self, run: model.Run, *, claim: bool) -> None:
        request = {"command": {"resume": "yes"}} if run.resumes else {}
        new = NewRun(
            run_id=run.id, owner="", agent_id=AGENT, request=msgspec.json.encode(request), metadata=b"{}",
            created_at=self.now, thread_id=run.thread, stateless=run.stateless, create_thread=False,
            strategy=run.strategy, max_attempts=run.max_attempts, resumes=run.resumes,
            base=None if run.base is None else run.base.id, due_at=run.due, claim=claim,
        )  # fmt: skip
        given = self.outcome(self.storage.create_run(new))
        expected = self.expected(lambda: self.model.create_run(run, self.now, claim=claim))
        if isinstance(given, str) or isinstance(expected, str):
            assert given == expected
            return
        ended, stopping, executes = expected
        assert (sorted(given.ended), given.stopping, given.claim is not None) == (sorted(ended), stopping, executes)
        if given.claim is not None:
            self.attempts[run.id] = given.claim.attempt

    @precondition(lambda self: any(run.status == "pending" for run in self.model.runs.values()))
    @rule(limit=st.integers(1, 4), wait=st.sampled_from([0, 0, 6]))
    def claim(self, limit: int, wait: int) -> None:
        self.now += wait
        given = self.do(self.storage.claim({AGENT: None}, limit, self.now))
        expected = self.model.claim(limit, self.now)
        assert [(claim.run.run_id, claim.attempt.number, claim.apart) for claim in given] == expected
        for claim in given:
            self.attempts[claim.run.run_id] = claim.attempt

    @precondition(lambda self: self.executing())
    @rule(data=st.data(), entries=st.integers(0, 3), steps=st.booleans())
    def write(self, data: st.DataObject, entries: int, steps: bool) -> None:
        run = self.model.run(data.draw(st.sampled_from(self.executing())))
        if not entries and not steps:
            return
        batch, point = self.batch(run, entries, steps=steps)
        self.model.write(run, point, entries)
        last = self.do(self.storage.append(self.attempts[run.id], batch, self.now))
        assert last == self.model.threads[run.thread].seq

    @precondition(lambda self: self.executing())
    @rule(
        data=st.data(),
        outcome=st.sampled_from(["completed", "failed", "asked"]),
        knows=st.booleans(),
        steps=st.booleans(),
        entries=st.integers(0, 2),
    )
    def finish(self, data: st.DataObject, outcome: str, knows: bool, steps: bool, entries: int) -> None:
        run = self.model.run(data.draw(st.sampled_from(self.executing())))
        self.end(run, outcome, knows=knows, steps=steps, entries=entries)

    @precondition(lambda self: self.executing())
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        run = self.model.run(data.draw(st.sampled_from(self.executing())))
        self.end(run, "asked", knows=True, steps=False, entries=0)

    def end(self, run: model.Run, outcome: Any, *, knows: bool, steps: bool, entries: int) -> None:
        cancel = run.cancel if knows else None
        if cancel is not None:
            outcome = "rolled_back" if cancel == "rollback" else "cancelled"
        asks = outcome == "asked"
        wrote = (steps or asks) and outcome != "rolled_back"
        entries = 0 if outcome == "rolled_back" else entries
        batch, point = self.batch(run, entries, steps=wrote, asks=asks)
        failure = Failure("agent_error", "it raised") if outcome == "failed" else None
        expires = self.expires() if (run.stateless and not asks) or outcome == "rolled_back" else None
        ending = Ending(outcome, cancel=cancel, failure=failure, expires_at=expires)
        given = self.outcome(self.storage.finish(self.attempts[run.id], batch, ending, self.now))
        refused = self.expected(lambda: self.model.finish(run, outcome, cancel, point, entries, self.expires()))
        assert refused == (given if isinstance(given, str) else None)
        self.drop_ended()

    @precondition(lambda self: self.executing())
    @rule(data=st.data(), steps=st.booleans(), delay=st.sampled_from([None, 5]), refund=st.booleans())
    def requeue(self, data: st.DataObject, steps: bool, delay: int | None, refund: bool) -> None:
        """A drain, or the agent's retry policy."""
        run = self.model.run(data.draw(st.sampled_from(self.executing())))
        batch, point = self.batch(run, 0, steps=steps)
        due = None if delay is None or refund else self.now + delay
        self.model.requeue(run, point, 0, due, refund=refund)
        how = Requeue(due_at=due, refund=refund)
        self.do(self.storage.requeue(self.attempts[run.id], batch, how, self.now))
        self.drop_ended()

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), action=st.sampled_from(["interrupt", "rollback"]), active=st.booleans())
    def cancel(self, data: st.DataObject, action: Any, active: bool) -> None:
        runs = [run.id for run in self.model.runs.values() if run.active or not active]
        if not runs:
            return
        run_id = data.draw(st.sampled_from(runs))
        given = self.outcome(self.storage.cancel("", run_id, action, self.now, self.expires()))
        expected = self.expected(lambda: self.model.cancel(run_id, action, self.now, self.expires()))
        assert expected == (given if isinstance(given, str) else given.how)

    @precondition(lambda self: self.executing())
    @rule(data=st.data(), verb=st.sampled_from(["abandon", "acquit"]))
    def give_up_or_acquit(self, data: st.DataObject, verb: str) -> None:
        """Code that does not stop is fenced off; a suspect that did no harm is acquitted."""
        run = self.model.run(data.draw(st.sampled_from(self.executing())))
        if verb == "abandon":
            self.model.abandon(run, self.expires())
            claim = self.do(self.storage.claim_of(run.id))
            assert claim is not None
            self.do(self.storage.abandon(claim.attempt, self.now, self.expires()))
            self.drop_ended()
        else:
            self.model.acquit(run)
            self.do(self.storage.acquit(run.id))

    @precondition(lambda self: self.executing())
    @rule()
    def crash(self) -> None:
        """The process dies, and another one opens the file."""
        self.do(self.storage.close())
        self.open(again=True)
        found = self.do(self.storage.recover(self.now, self.expires()))
        assert (list(found.requeued), list(found.lost)) == self.model.recover(self.expires())
        self.drop_ended()

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), wait=st.sampled_from([0, 10, 60]), delete=st.booleans())
    def delete_and_expire(self, data: st.DataObject, wait: int, delete: bool) -> None:
        if delete:
            run_id = data.draw(st.sampled_from(sorted(self.model.runs)))
            given = self.outcome(self.storage.delete_run("", run_id, self.now))
            assert given == self.expected(lambda: self.model.delete_run(run_id, self.now))
        self.now += wait
        removed = self.do(self.storage.purge(self.now, keys_before=0))
        assert removed.runs == self.model.expire(self.now)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def write_without_the_lease(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(self.stale))
        with pytest.raises(LeaseLost):
            self.do(self.storage.append(attempt, Batch([entry("custom", 1)]), self.now))
        with pytest.raises(LeaseLost):
            self.do(self.storage.put_item("", ("a",), "k", b"{}", self.now, attempt=attempt))

    # helpers

    def drop_ended(self) -> None:
        """Attempts of runs that execute no more have lost their leases."""
        executing = set(self.executing())
        for run_id in [run_id for run_id in self.attempts if run_id not in executing]:
            self.stale.append(self.attempts.pop(run_id))

    def plan(self, thread_id: str, run_id: str | None, *, asks: bool) -> tuple[Point, Checkpoint, dict[str, bytes]]:
        """The next checkpoint on a thread's head."""
        head = self.model.threads[thread_id].head
        above: Snapshot | None = None
        if head is not None:
            above = self.do(self.storage.snapshot("", head.thread, head.id))
        change = {f"channel{self.ids % 3}": self.ids}
        values = {**({} if head is None else head.values), **change}
        point = Point(self.new("c"), thread_id, head, values, run_id, asks)
        changes = {channel: set_to(b"%d" % value) for channel, value in change.items()}
        state = {channel: b"%d" % value for channel, value in values.items()}
        asked = Asked(run_id or "", AGENT, None, [Question("q", msgspec.Raw(b'"sure?"'))]) if asks else None
        stored = checkpoints.plan(
            checkpoint_id=point.id, thread_id=thread_id, parent=None if above is None else above.checkpoint,
            changes=changes, state=state, run_id=run_id, created_at=self.now, source="step", asked=asked,
        )  # fmt: skip
        return point, stored, state

    def batch(
        self, run: model.Run, customs: int, *, steps: bool = False, asks: bool = False
    ) -> tuple[Batch, Point | None]:
        entries: list[Entry] = [entry("custom", {"payload": number}) for number in range(customs)]
        if not steps and not asks:
            return Batch(entries), None
        point, stored, state = self.plan(run.thread, run.id, asks=asks)
        states = {len(entries): state}
        entries.append(entry("values", ValuesPointer(stored.checkpoint_id)))
        return Batch(entries, states, [stored]), point

    # what both look like

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "storage"):
            return
        for thread in self.model.threads.values():
            self.check_thread(thread)
        for run in self.model.runs.values():
            self.check_run(run)
        for thread_id in {run.thread for run in self.model.runs.values()}:
            assert sum(run.status == "running" for run in self.model.line(thread_id)) <= 1
        newest = [run for run in self.model.runs.values() if not run.removed]
        found = self.do(self.storage.search_runs("", RunFilter(limit=EVER)))
        assert [run.run_id for run in found] == [
            run.id for run in sorted(newest, key=lambda run: run.number, reverse=True)
        ]
        self.check_what_was_told()

    def check_thread(self, thread: model.Thread) -> None:
        if thread.removed or thread.hidden:
            with pytest.raises(NotFound):
                self.do(self.storage.thread("", thread.id))
            if thread.removed:
                return
        else:
            seen = self.do(self.storage.thread("", thread.id))
            head = None if thread.head is None else thread.head.id
            assert (seen.status, seen.head, seen.asking, seen.last_seq, seen.floor_seq) == (
                self.model.status(thread), head, thread.asking, thread.seq, thread.floor,
            )  # fmt: skip
            history = self.do(self.storage.history("", thread.id, before=None, limit=EVER))
            assert [(snapshot.checkpoint.checkpoint_id, plain(snapshot)) for snapshot in history] == [
                (point.id, point.values) for point in thread.history
            ]
            if thread.head is not None:
                assert plain(self.do(self.storage.snapshot("", thread.id, thread.head.id))) == thread.head.values
        events = self.do(self.storage.events("", thread.id, after=thread.floor, run_id=None, limit=EVER))
        assert len({event.seq for event in events}) == len(events)
        assert [(event.seq, event.run_id, kind(event)) for event in events] == [
            (seq, run, what.split(" ")[0]) for seq, run, what in thread.log
        ]

    def check_run(self, run: model.Run) -> None:
        if run.removed:
            with pytest.raises(NotFound):
                self.do(self.storage.run("", run.id))
            return
        seen = self.do(self.storage.run("", run.id))
        at = run.last or run.base
        assert (seen.status, seen.outcome, seen.attempt, seen.cancel, seen.values_at) == (
            run.status, run.outcome, run.attempt, run.cancel, None if at is None else at.id,
        )  # fmt: skip
        thread = self.model.threads[run.thread]
        ends = [what for _, owner, what in thread.log if owner == run.id and what in model.EVENT.values()]
        assert len(ends) == (0 if run.active else 1)

    def check_what_was_told(self) -> None:
        """Live readers are told what the log holds, in its order."""
        for chunk in self.told:
            thread = self.model.threads.get(chunk.thread_id)
            if thread is None or thread.removed or chunk.first_seq <= thread.floor:
                continue
            logged = {seq: (run, what.split(" ")[0]) for seq, run, what in thread.log}
            for place, told in enumerate(chunk.entries):
                seq = chunk.first_seq + place
                if seq in logged:
                    event = Event(seq, chunk.run_id, told.kind, 0, bytes(told.data))
                    assert logged[seq] == (chunk.run_id, kind(event))
        numbers = [(chunk.thread_id, chunk.first_seq) for chunk in self.told]
        assert len(set(numbers)) == len(numbers)
        self.told.clear()


def plain(snapshot: Snapshot) -> dict[str, int]:
    return {channel: msgspec.json.decode(value) for channel, value in snapshot.state.items()}


def kind(event: Event) -> str:
    return lifecycle(event.data).event if event.kind == "lifecycle" else event.kind


@pytest.fixture(autouse=True)
def chosen(shared: Postgres | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EngineMachine, "shared", shared)


EngineMachine.TestCase.settings = PROFILE
TestEngine = pytest.mark.timeout(300)(EngineMachine.TestCase)
