"""Scripts for the database: what a thread's life asks of it, verb by verb, with what each verb is to leave behind.

A script is written by rehearsing it on a sound disk: each next verb is a throw of the dice among those that make sense,
and after each one everything that can be seen of the script's threads, runs and items is written down. So whatever
happens to the disk later, the rule is simple: what is seen is what was seen after the last acknowledged verb, or after
the one that was being done.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from runyard import checkpoints
from runyard.checkpoints import Asked, Checkpoint, Question, Snapshot, State, set_to
from runyard.errors import NotFound, RunyardError, StorageError, Unavailable
from runyard.events import ValuesPointer, entry
from runyard.items import ItemSearch
from runyard.runs import Attempt, NewRun
from runyard.runtime.contract import Record
from runyard.storage.contract import Batch, Created, Ending, Requeue, Storage

View = dict[str, Any]

EVER = 10**9


class Verb(msgspec.Struct, frozen=True):
    """A call of the storage contract."""

    name: str
    args: tuple[Any, ...] = ()
    more: dict[str, Any] = {}

    def __str__(self) -> str:
        return f"{self.name}{self.args!r:.300}"


@dataclass
class Script:
    """Verbs in their order; `answers[i]` is what verb i answers, `views[i]` what is seen before it; the last view is
    what is seen at the end."""

    name: str
    threads: list[str] = field(default_factory=list[str])
    runs: list[str] = field(default_factory=list[str])
    verbs: list[Verb] = field(default_factory=list[Verb])
    answers: list[Any] = field(default_factory=list[Any])
    views: list[View] = field(default_factory=list[View])


async def play(storage: Storage, verb: Verb) -> Any:
    """What a verb answers; a refusal by the rules is an answer too.

    Raises:
        StorageError, Unavailable: the disk's fault.
    """
    try:
        return await getattr(storage, verb.name)(*verb.args, **verb.more)
    except (StorageError, Unavailable):
        raise
    except RunyardError as error:
        return f"{type(error).__name__} {error.reason}"


async def look(storage: Storage, script: Script) -> View:
    """Everything that can be seen of a script's world."""
    seen: View = {}
    for thread_id in script.threads:
        try:
            thread = await storage.thread("", thread_id)
        except NotFound:
            thread = None
        seen[thread_id] = thread
        seen[f"{thread_id} events"] = await storage.events("", thread_id, after=0, run_id=None, limit=EVER)
        if thread is not None:
            history = await storage.history("", thread_id, before=None, limit=EVER)
            seen[f"{thread_id} history"] = history
            if thread.head is not None:
                seen[f"{thread_id} state"] = (await storage.snapshot("", thread_id, thread.head)).state
    for run_id in script.runs:
        try:
            seen[run_id] = await storage.run("", run_id)
        except NotFound:
            seen[run_id] = None
        seen[f"{run_id} records"] = await storage.records(run_id)
    seen["items"] = await storage.search_items("", ItemSearch(prefix=(script.name,), limit=EVER), 0)
    return seen


async def rehearse(storage: Storage, name: str, dice: random.Random, length: int) -> Script:
    """Writes a script of so many verbs by doing it."""
    script = Script(name)
    author = _Author(script, dice)
    while len(script.verbs) < length:
        verb = author.next_verb()
        script.views.append(await look(storage, script))
        answer = await play(storage, verb)
        script.verbs.append(verb)
        script.answers.append(answer)
        await author.learn(storage, verb, answer)
    script.views.append(await look(storage, script))
    # What a view holds of threads and runs that were made later is that they are absent.
    for view in script.views:
        for thread_id in script.threads:
            view.setdefault(thread_id, None)
            view.setdefault(f"{thread_id} events", [])
        for run_id in script.runs:
            view.setdefault(run_id, None)
            view.setdefault(f"{run_id} records", [])
    return script


@dataclass
class _Executing:
    attempt: Attempt
    records: int = 0
    cancel: str | None = None


class _Author:
    """Thinks of the next verb."""

    def __init__(self, script: Script, dice: random.Random) -> None:
        self._script = script
        self._dice = dice
        self._now = 1_000
        self._number = 0
        self._executing: dict[str, _Executing] = {}
        self._heads: dict[str, Snapshot | None] = {}
        self._keys: list[tuple[str, NewRun]] = []
        self._agent = f"agent-{script.name}"

    def next_verb(self) -> Verb:
        self._now += 1
        choices: list[tuple[int, Any]] = [(2, self._create_thread), (3, self._create_stateless), (2, self._put)]
        if self._heads:
            choices += [
                (5, self._create_run), (3, self._claim), (1, self._patch), (1, self._copy), (1, self._delete_thread),
            ]  # fmt: skip
        if self._executing:
            choices += [(9, self._append), (7, self._finish), (1, self._requeue), (1, self._abandon)]
        if self._script.runs:
            choices += [(2, self._cancel), (1, self._delete_run)]
        if self._keys:
            choices += [(1, self._repeat)]
        weights = [weight for weight, _ in choices]
        return self._dice.choices([make for _, make in choices], weights)[0]()

    async def learn(self, storage: Storage, verb: Verb, answer: Any) -> None:
        """What the answer means for the verbs to come."""
        refused = isinstance(answer, str)
        if isinstance(answer, Created):
            if answer.claim is not None:
                self._executing[answer.run.run_id] = _Executing(answer.claim.attempt)
            self._asked_to_stop(answer.stopping, verb.args[0].strategy)
        elif verb.name == "claim":
            for claim in answer:
                self._executing[claim.run.run_id] = _Executing(claim.attempt)
        elif verb.name in ("finish", "requeue", "abandon") or (verb.name == "append" and refused):
            self._executing.pop(verb.args[0].run_id, None)
        elif verb.name == "cancel" and not refused and answer.how == "stopping":
            self._asked_to_stop(verb.args[1], verb.args[2])
        for thread_id in self._script.threads:
            try:
                head = (await storage.thread("", thread_id)).head
            except NotFound:
                self._heads.pop(thread_id, None)
            else:
                self._heads[thread_id] = None if head is None else await storage.snapshot("", thread_id, head)

    def _asked_to_stop(self, run_id: str | None, how: str) -> None:
        executing = self._executing.get(run_id or "")
        if executing is not None and executing.cancel != "rollback":
            executing.cancel = "rollback" if how == "rollback" else "interrupt"

    def _new(self, letter: str) -> str:
        self._number += 1
        return f"{self._script.name}-{letter}{self._number:03}"

    def _text(self, longest: int) -> str:
        return self._dice.choice("abcdef") * self._dice.randrange(1, longest)

    # the verbs

    def _create_thread(self) -> Verb:
        thread_id = self._new("t")
        self._script.threads.append(thread_id)
        metadata = msgspec.json.encode({"of": self._script.name})
        return Verb("create_thread", ("", thread_id, metadata, self._now), {"if_exists": "raise"})

    def _new_run(self, thread_id: str, **more: Any) -> NewRun:
        run_id = self._new("r")
        self._script.runs.append(run_id)
        key = None
        if self._dice.random() < 0.3:
            key = ("create_run", self._new("k"), "digest")
        new = NewRun(
            run_id=run_id, owner="", agent_id=self._agent, request=b"{}", metadata=b"{}", created_at=self._now,
            thread_id=thread_id, max_attempts=3, resumes=False, idempotency=key,
            input_event=msgspec.json.encode({"input": self._text(200)}), **more,
        )  # fmt: skip
        if key is not None:
            self._keys.append((run_id, new))
        return new

    def _create_stateless(self) -> Verb:
        thread_id = self._new("h")
        self._script.threads.append(thread_id)
        new = self._new_run(thread_id, stateless=True, create_thread=False, strategy="reject", claim=True)
        return Verb("create_run", (new,))

    def _create_run(self) -> Verb:
        strategy = self._dice.choice(("enqueue", "enqueue", "enqueue", "reject", "interrupt", "rollback"))
        claim = self._dice.random() < 0.7
        new = self._new_run(
            self._some(self._heads), stateless=False, create_thread=False, strategy=strategy, claim=claim
        )
        return Verb("create_run", (new,))

    def _repeat(self) -> Verb:
        _, new = self._dice.choice(self._keys)
        run_id = self._new("r")
        self._script.runs.append(run_id)
        return Verb("create_run", (msgspec.structs.replace(new, run_id=run_id, created_at=self._now),))

    def _claim(self) -> Verb:
        return Verb("claim", ({self._agent: None}, self._dice.randrange(1, 3), self._now))

    def _append(self) -> Verb:
        executing = self._executing[self._some(self._executing)]
        return Verb("append", (executing.attempt, self._batch(executing), self._now))

    def _finish(self) -> Verb:
        executing = self._executing[self._some(self._executing)]
        outcome = self._dice.choice(("completed", "completed", "failed", "asked", "cancelled", "timed_out"))
        if executing.cancel is not None:
            outcome = "rolled_back" if executing.cancel == "rollback" else "cancelled"
        batch = self._batch(executing, asks=outcome == "asked") if outcome != "rolled_back" else Batch()
        return Verb("finish", (executing.attempt, batch, Ending(outcome, cancel=executing.cancel), self._now))

    def _requeue(self) -> Verb:
        executing = self._executing[self._some(self._executing)]
        how = Requeue(refund=self._dice.random() < 0.5)
        return Verb("requeue", (executing.attempt, self._batch(executing), how, self._now))

    def _abandon(self) -> Verb:
        executing = self._executing[self._some(self._executing)]
        return Verb("abandon", (executing.attempt, self._now, None))

    def _cancel(self) -> Verb:
        action = self._dice.choice(("interrupt", "rollback"))
        return Verb("cancel", ("", self._dice.choice(self._script.runs), action, self._now, None))

    def _delete_run(self) -> Verb:
        return Verb("delete_run", ("", self._dice.choice(self._script.runs), self._now))

    def _patch(self) -> Verb:
        thread_id = self._some(self._heads)
        head = self._heads[thread_id]
        expected = None if head is None else head.checkpoint.checkpoint_id
        more = {
            "metadata": {"at": self._now},
            "checkpoint": self._checkpoint(thread_id, None)[0],
            "expected_head": expected,
        }
        return Verb("patch_thread", ("", thread_id, self._now), more)

    def _copy(self) -> Verb:
        copy = self._new("t")
        self._script.threads.append(copy)
        return Verb("copy_thread", ("", self._some(self._heads), copy, self._now))

    def _delete_thread(self) -> Verb:
        return Verb("delete_thread", ("", self._some(self._heads), self._now))

    def _put(self) -> Verb:
        place = ("", (self._script.name, self._dice.choice("xyz")), self._dice.choice("kl"))
        if self._dice.random() < 0.2:
            return Verb("delete_item", (*place, self._now))
        # Now and then something large, so that the WAL grows and is folded into the file meanwhile.
        value = {"text": self._text(80_000 if self._dice.random() < 0.2 else 500)}
        return Verb("put_item", (*place, msgspec.json.encode(value), self._now))

    def _some(self, known: dict[str, Any]) -> str:
        return self._dice.choice(sorted(known))

    def _batch(self, executing: _Executing, *, asks: bool = False) -> Batch:
        entries = [
            entry("custom", {"payload": self._text(400)}) for _ in range(self._dice.randrange(1 if not asks else 0, 4))
        ]
        states: dict[int, Any] = {}
        planned: list[Checkpoint] = []
        records: list[Record] = []
        if asks or self._dice.random() < 0.4:
            attempt = executing.attempt
            checkpoint, state = self._checkpoint(attempt.thread_id, attempt.run_id, asks=asks)
            planned.append(checkpoint)
            states[len(entries)] = state
            entries.append(entry("values", ValuesPointer(checkpoint.checkpoint_id)))
        if self._dice.random() < 0.4:
            executing.records += 1
            body = msgspec.json.encode(self._text(300))
            number = executing.records
            records.append(Record("step", f"step-{executing.attempt.lease}-{number}", 1, body, number))
        return Batch(entries, states, planned, records)

    def _checkpoint(self, thread_id: str, run_id: str | None, *, asks: bool = False) -> tuple[Checkpoint, State]:
        """The next one on a thread's head, with its state."""
        head = self._heads.get(thread_id)
        changes = {self._dice.choice("uvw"): set_to(msgspec.json.encode(self._text(400)))}
        state = checkpoints.apply({} if head is None else head.state, changes)
        asked = Asked(run_id or "", self._agent, None, [Question("q", msgspec.Raw(b'"sure?"'))]) if asks else None
        checkpoint = checkpoints.plan(
            checkpoint_id=self._new("c"), thread_id=thread_id, parent=None if head is None else head.checkpoint,
            changes=changes, state=state, run_id=run_id, created_at=self._now, source="step", asked=asked,
        )  # fmt: skip
        return checkpoint, state
