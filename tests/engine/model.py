"""The engine in plain Python: the life of runs, the lines of threads, questions and rollback, as docs/lifecycle.md has
them. It knows no database, no attempt at speed and no concurrency; it is what the real one is compared with.

A state is a checkpoint's values. A thread's log is a list of `(seq, run, what)`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

ACTIVE = ("pending", "running")
STATUS = {
    "completed": "success", "failed": "error", "lost": "error", "timed_out": "timeout", "asked": "interrupted",
    "cancelled": "interrupted", "rolled_back": "interrupted", "abandoned": "interrupted",
}  # fmt: skip
EVENT = {"success": "completed", "error": "failed", "timeout": "failed", "interrupted": "interrupted"}
SUSPECT = 2


class Refused(Exception):
    """A verb that the present state forbids; its text is the code."""


HELD_FOR = 3_600_000_000
"""Microseconds after which retention looks again at a run that has to stay."""


@dataclass
class Point:
    """A checkpoint."""

    id: str
    thread: str
    parent: Point | None
    values: dict[str, int]
    run: str | None = None
    asks: bool = False
    undone: bool = False

    def lineage(self) -> list[Point]:
        """It and those it came from, newest first."""
        return [self, *(self.parent.lineage() if self.parent else ())]


@dataclass
class Run:
    id: str
    thread: str
    number: int
    made: int
    strategy: str = "enqueue"
    resumes: bool = False
    stateless: bool = False
    max_attempts: int = 3
    base: Point | None = None
    due: int | None = None
    status: str = "pending"
    outcome: str | None = None
    cancel: str | None = None
    attempt: int = 0
    joined: int = 0
    started: bool = False
    prior_head: Point | None = None
    last: Point | None = None
    losses: int = 0
    removed: bool = False
    expires: int | None = None
    reason: str | None = None
    invocation: str = ""

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def in_line(self) -> bool:
        """A delayed run that never began holds no place."""
        return self.active and (self.due is None or self.attempt > 0)

    @property
    def suspect(self) -> bool:
        return self.losses >= SUSPECT


@dataclass
class Thread:
    id: str
    hidden: bool = False
    removed: bool = False
    head: Point | None = None
    asking: bool = False
    last_outcome: str | None = None
    origin: Point | None = None
    points: list[Point] = field(default_factory=list[Point])
    seq: int = 0
    floor: int = 0
    log: list[tuple[int, str | None, str]] = field(default_factory=list[tuple[int, str, str]])

    def tell(self, run: str | None, *what: str) -> None:
        for each in what:
            self.seq += 1
            self.log.append((self.seq, run, each))

    @property
    def history(self) -> list[Point]:
        """Newest first: its own revisions, then those of the thread that it was copied from."""
        own = sorted((point for point in self.points if not point.undone), key=lambda point: point.id, reverse=True)
        return own + (self.origin.lineage() if self.origin else [])


class Engine:
    """All threads and runs, and the verbs on them. `now` is whatever the caller says it is."""

    def __init__(self) -> None:
        self.threads: dict[str, Thread] = {}
        self.runs: dict[str, Run] = {}
        self._numbers = count(1)

    # looking

    def thread(self, thread_id: str) -> Thread:
        thread = self.threads.get(thread_id)
        if thread is None or thread.removed or thread.hidden:
            raise Refused("thread_not_found")
        return thread

    def run(self, run_id: str) -> Run:
        run = self.runs.get(run_id)
        if run is None or run.removed:
            raise Refused("run_not_found")
        return run

    def line(self, thread_id: str) -> list[Run]:
        found = [run for run in self.runs.values() if run.thread == thread_id and run.in_line]
        return sorted(found, key=lambda run: (run.joined, run.number))

    def status(self, thread: Thread) -> str:
        """Derived, always."""
        if self.line(thread.id):
            return "busy"
        if thread.asking:
            return "interrupted"
        return "error" if thread.last_outcome in ("failed", "lost", "timed_out") else "idle"

    def next(self, thread_id: str) -> Run | None:
        """Who may be claimed on a thread: the first in line, once nothing executes; while a question is open, only a
        run that answers it."""
        line, thread = self.line(thread_id), self.threads[thread_id]
        if any(run.status == "running" for run in line):
            return None
        first = next((run for run in line if run.resumes or not thread.asking), None)
        return first if first is not None and first.due is None else None

    # creating

    def create_thread(self, thread_id: str) -> Thread:
        thread = self.threads.get(thread_id)
        if thread is not None and not thread.removed:
            raise Refused("thread_exists")
        before = 0 if thread is None else thread.seq
        self.threads[thread_id] = Thread(thread_id, seq=before, floor=before)
        return self.threads[thread_id]

    def create_run(self, run: Run, now: int, *, claim: bool) -> tuple[list[str], str | None, bool]:
        """Who was ended, who was asked to stop, and whether it executes at once."""
        run.number, run.made, run.joined = next(self._numbers), now, now if run.due is None else run.due
        if run.stateless:
            self.threads[run.thread] = Thread(run.thread, hidden=True)
        thread = self.threads[run.thread] if run.stateless else self.thread(run.thread)
        if run.resumes and not thread.asking:
            raise Refused("not_interrupted")
        run.invocation = run.id if not run.resumes or thread.head is None else thread.head.run or ""
        line = self.line(thread.id)
        ended: list[str] = []
        stopping = None
        if run.due is None and line:
            if run.strategy == "reject":
                goes_first = run.resumes and not any(other.status == "running" or other.resumes for other in line)
                if not goes_first:
                    raise Refused("thread_busy")
            elif run.strategy != "enqueue":
                ended, stopping = self._clear(line, run.strategy, now)
        waiting = [other for other in line if other.active]
        free = not any(other.status == "running" for other in waiting) and (run.resumes or not waiting)
        self.runs[run.id] = run
        thread.tell(run.id, "input")
        executes = claim and free and run.due is None
        if executes:
            self._begin(run)
        return ended, stopping, executes

    def _clear(self, line: list[Run], strategy: str, now: int) -> tuple[list[str], str | None]:
        action = "rollback" if strategy == "rollback" else "interrupt"
        ended: list[str] = []
        stopping = None
        for run in reversed(line):
            if run.status == "running":
                if run.cancel != "rollback":
                    run.cancel = action
                stopping = run.id
            else:
                self._end_waiting(run, action, now, None)
                ended.append(run.id)
        return ended, stopping

    # executing

    def claim(self, limit: int, now: int) -> list[tuple[str, int, bool]]:
        """Run, attempt and whether it executes apart; delayed runs join the line first."""
        due = [run for run in self.runs.values() if run.status == "pending" and run.due is not None and run.due <= now]
        for run in sorted(due, key=lambda run: run.due or 0):
            if not run.active:
                continue  # a run that joined before it has ended it
            others = [other for other in self.line(run.thread) if other is not run]
            if run.attempt == 0:
                if run.strategy in ("interrupt", "rollback"):
                    self._clear(others, run.strategy, now)
                run.joined = run.due or 0
            run.due = None
        ready = [run for thread in self.threads for run in (self.next(thread),) if run is not None]
        claimed: list[tuple[str, int, bool]] = []
        suspects = sorted((run for run in ready if run.suspect), key=lambda run: (run.losses, run.joined, run.number))
        if suspects and not any(run.suspect and run.status == "running" for run in self.runs.values()):
            self._begin(suspects[0])
            claimed.append((suspects[0].id, suspects[0].attempt, True))
        for run in sorted((run for run in ready if not run.suspect), key=lambda run: (run.joined, run.number)):
            if len(claimed) < limit:
                self._begin(run)
                claimed.append((run.id, run.attempt, False))
        return claimed

    def _begin(self, run: Run) -> None:
        thread = self.threads[run.thread]
        run.status, run.attempt = "running", run.attempt + 1
        if not run.started:
            run.started, run.prior_head = True, thread.head
            run.base = run.base or thread.head
        thread.asking = False
        thread.tell(run.id, f"running {run.attempt}")

    def write(self, run: Run, point: Point | None, entries: int) -> None:
        """What an attempt appends."""
        thread = self.threads[run.thread]
        thread.tell(run.id, *["custom"] * entries)
        if point is not None:
            thread.tell(run.id, f"values {point.id}")
            thread.points.append(point)
            thread.head, thread.asking, run.last = point, False, point

    def finish(
        self, run: Run, outcome: str, cancel: str | None, point: Point | None, entries: int, expires: int
    ) -> None:
        if run.cancel is not None and run.cancel != cancel:
            raise Refused("cancel_requested")
        if outcome == "rolled_back":
            self._roll_back(run, expires)
            return
        self.write(run, point, entries)
        thread = self.threads[run.thread]
        thread.asking = point.asks if point is not None else self._still_asked(run, thread, outcome)
        if outcome == "asked" and run.stateless:
            thread.hidden = False
        thread.last_outcome = outcome
        self._end(run, outcome, expires if run.stateless and outcome != "asked" else None)

    def requeue(self, run: Run, point: Point | None, entries: int, due: int | None, *, refund: bool) -> None:
        self.write(run, point, entries)
        thread = self.threads[run.thread]
        thread.asking = self._still_asked(run, thread, "requeued")
        run.status, run.due, run.attempt = "pending", due, run.attempt - refund

    def acquit(self, run: Run) -> None:
        if run.status == "running":
            run.losses = 0

    def abandon(self, run: Run, expires: int) -> None:
        if run.status != "running":
            return
        if run.cancel == "rollback":
            self._roll_back(run, expires)
        else:
            self._stop(run, "abandoned", expires)

    def recover(self, expires: int) -> tuple[list[str], list[str]]:
        """The server died and is started again: who goes on, and who was lost."""
        executing = sorted((run for run in self.runs.values() if run.status == "running"), key=lambda run: run.number)
        suspected = any(run.suspect for run in executing)
        requeued: list[str] = []
        lost: list[str] = []
        for run in executing:
            thread = self.threads[run.thread]
            innocent = suspected and not run.suspect and run.max_attempts > 1
            if run.cancel == "rollback":
                self._roll_back(run, expires)
            elif run.cancel == "interrupt":
                self._stop(run, "cancelled", expires)
            elif run.attempt >= run.max_attempts and not innocent:
                thread.tell(run.id, "error attempts_exhausted")
                self._stop(run, "lost", expires)
                lost.append(run.id)
            else:
                thread.asking = self._still_asked(run, thread, "requeued")
                run.losses += SUSPECT if run.max_attempts <= SUSPECT and not innocent else 1
                run.status, run.attempt = "pending", run.attempt - innocent
                requeued.append(run.id)
        return requeued, lost

    # ending

    def _still_asked(self, run: Run, thread: Thread, outcome: str) -> bool:
        """A resume that did not succeed has not answered the question; a plain run has given it up."""
        return run.resumes and outcome != "completed" and thread.head is not None and thread.head.asks

    def _stop(self, run: Run, outcome: str, expires: int) -> None:
        thread = self.threads[run.thread]
        thread.asking = self._still_asked(run, thread, outcome)
        thread.last_outcome = outcome
        self._end(run, outcome, expires if run.stateless else None)

    def _end(self, run: Run, outcome: str, expires: int | None) -> None:
        run.outcome, run.status = outcome, STATUS[outcome]
        run.due, run.expires = None, expires
        if outcome == "failed":
            self.threads[run.thread].tell(run.id, "error agent_error")
        self.threads[run.thread].tell(run.id, EVENT[run.status])

    def _end_waiting(self, run: Run, action: str, now: int, expires: int | None) -> None:
        if action == "rollback":
            self._roll_back(run, now if expires is None else expires)
        else:
            self._end(run, "cancelled", expires if run.stateless else None)

    def _roll_back(self, run: Run, expires: int) -> None:
        """The thread is as if the run had never been, but for its numbers and its log."""
        thread = self.threads[run.thread]
        if run.started:
            thread.head = run.prior_head
            thread.asking = run.prior_head is not None and run.prior_head.asks
            thread.last_outcome = "cancelled"
            for point in thread.points:
                point.undone = point.undone or point.run == run.id
        if run.active:
            self._end(run, "rolled_back", expires)
        run.removed, run.expires = True, expires

    def cancel(self, run_id: str, action: str, now: int, expires: int) -> str:
        run = self.run(run_id)
        if run.status == "pending":
            self._end_waiting(run, action, now, expires)
            return "ended"
        if run.status == "running":
            if run.cancel != "rollback":
                run.cancel = action
            return "stopping"
        thread = self.threads[run.thread]
        if action == "rollback":
            executing = any(other.status == "running" for other in self.line(run.thread))
            moved_on = run.last is not None and thread.head is not run.last
            later = any(
                other.thread == run.thread and other.started and not other.removed and other.number > run.number
                for other in self.runs.values()
            )
            if thread.removed or executing or moved_on or later:
                raise Refused("rollback_not_latest")
            self._roll_back(run, expires)
        elif run.outcome == "asked" and thread.head is run.last:
            thread.asking = False
        return "finished"

    # removing and changing

    def delete_run(self, run_id: str, now: int) -> None:
        run = self.run(run_id)
        if run.active:
            raise Refused("run_active")
        run.removed, run.expires = True, now

    def delete_thread(self, thread_id: str, now: int) -> list[str]:
        """Whose code has to be told to stop."""
        thread = self.thread(thread_id)
        active = [run for run in self.runs.values() if run.thread == thread_id and run.active]
        executing = [run.id for run in active if run.status == "running"]
        for run in sorted(active, key=lambda run: (run.joined, run.number)):
            self._end(run, "cancelled", now)
        for run in self.runs.values():
            if run.thread == thread_id and not run.removed:
                run.removed, run.expires = True, now
        for point in thread.points:
            point.undone = True
        thread.removed = True
        return executing

    def copy_thread(self, thread_id: str, copy_id: str) -> Thread:
        thread = self.thread(thread_id)
        copy = Thread(copy_id, head=thread.head, asking=thread.asking, origin=thread.head)
        self.threads[copy_id] = copy
        return copy

    def patch_thread(self, thread_id: str, point: Point) -> None:
        thread = self.thread(thread_id)
        if self.line(thread_id):
            raise Refused("thread_busy")
        thread.asking = thread.asking and point.asks
        thread.points.append(point)
        thread.head = point
        thread.tell(None, "values")

    def _held(self, run: Run) -> bool:
        """What a run has recorded is needed as long as its invocation may go on."""
        thread = self.threads[run.thread]
        beside = (other for other in self.runs.values() if other.thread == run.thread and other.active)
        goes_on = any(other.invocation == run.invocation for other in beside)
        asking = thread.asking and not thread.removed
        return (run.outcome == "asked" or run.invocation != run.id) and (asking or goes_on)

    def expire(self, now: int) -> int:
        """Retention; how many runs' records went."""
        due = [run for run in self.runs.values() if not run.active and run.expires is not None and run.expires <= now]
        gone = [run for run in due if not self._held(run)]
        for run in due:
            if run not in gone:
                run.expires = now + HELD_FOR
        for run in gone:
            del self.runs[run.id]
            thread = self.threads[run.thread]
            thread.log = [entry for entry in thread.log if entry[1] != run.id]
            if run.stateless and thread.hidden:
                del self.threads[run.thread]
            else:
                thread.floor = max(thread.floor, thread.log[0][0] - 1 if thread.log else thread.seq)
        return len(gone)
