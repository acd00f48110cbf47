"""One attempt on the agent's side: what its code does becomes writes, what it did before is given back.

Nothing here waits. `Context` and `SyncContext` are two shells around this that wait in their own ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import msgspec

from runyard.checkpoints import Changes, Question, Source, State, apply, shown
from runyard.events import Entry, Kind
from runyard.runtime.channel import AgentEnd
from runyard.runtime.contract import CheckpointWrite, Record, RecordKind, RunInfo, Start, Write
from runyard.runtime.journal import WITHIN, Journal
from runyard.runtime.plain import check_name, encode, encode_stable, fingerprint, too_large
from runyard.runtime.signals import Asked, EndedRun, Nondeterministic, RecursionLimit, RunSignal
from runyard.runtime.state import MESSAGES, Channels, Given, Merged, Reducer, StateView

STORE = "ctx.store"
"""The name under which writes to the store are recorded, as steps."""
REQUEST_MESSAGES = "__messages__"
REQUEST_UPDATE = "__command__"

TURNS = 8
"""Turns of the loop in which other tasks may ask too, after the first question."""
PATIENCE = 20
"""Rounds of 50 ms that a question waits for tasks that have not come by all their records."""

_ENCODER = msgspec.json.Encoder()


class Body(msgspec.Struct, omit_defaults=True):
    """The body of a record of what changes the state or was answered. `of` is the payload's fingerprint."""

    of: str = ""
    changes: Changes = {}
    id: str = ""
    """The id of a message."""
    answer: msgspec.Raw = msgspec.Raw(b"null")
    run: str = ""
    """For what a request brought: its run."""
    first: bool = False
    """Whether that was the run that began the invocation."""
    taken: list[int] = []
    """The numbers of messages that were taken from the inbox."""


_BODY = msgspec.json.Decoder(Body)


class Scope(NamedTuple):
    """Whose calls they are: the agent's own, or a sub-agent's."""

    path: str = ""
    """The namespace under which they are told, as entries of the log have it."""
    records: str = ""
    """What the names of their records begin with."""


class Step(NamedTuple):
    """A step that has begun. `record` is what an earlier attempt has kept of it."""

    name: str
    key: str
    """Its name among the records."""
    nth: int
    record: Record | None

    @property
    def inside(self) -> str:
        """What the names of records begin with that its function makes."""
        return f"{self.key}::{self.nth}{WITHIN}"


OWN = Scope()
_ENCLOSING: contextvars.ContextVar[str] = contextvars.ContextVar("runyard_enclosing_steps", default="")
"""What the names of records begin with that the code makes now, because it does so inside of steps."""


class Execution:
    """One attempt of one run. Used by one thread at a time."""

    def __init__(
        self,
        start: Start,
        end: AgentEnd,
        actor: object,
        reducers: Mapping[str, Reducer],
        new_id: Callable[[], str],
    ) -> None:
        """`actor` is the task or thread that executes the function itself."""
        self.start = start
        self.end = end
        self.new_id = new_id
        self.signal: RunSignal | None = None
        """Why the run ends here, whatever the code makes of it."""
        self.questions: list[Question] = []
        self._actor = actor
        self.limit = start.max_value_bytes
        """The most bytes that a value of the code may take as JSON text."""
        self.ttl = start.lasting.minutes
        """Minutes for which items are kept of which nobody says so."""
        self._channels = Channels(shown(start.head), reducers, new_id, self.limit)
        self._steps_left = start.steps_left
        self._steps: set[str] = set()
        """Those that have begun and not ended, by what is inside of them."""
        self._asking: set[str] = set()
        """Those of them whose functions wait for an answer."""
        self._parked: list[asyncio.Future[None]] = []
        self._frozen = False
        self._brought: list[tuple[Record, Body]] = []
        """What requests brought and is still to be replayed, in order."""
        self._replayed: State = shown(start.base)
        self._injected = {message.number: message for message in start.injected}
        taken = {number for r in start.records if r.kind == "take" for number in _BODY.decode(r.body).taken}
        end.mailbox.put([message for message in start.injected if message.number not in taken])
        self._live = not start.records and not start.questions
        if self._live:
            self._journal = Journal(())
        else:
            self._replay(start)
        if start.messages is not None or start.command_update is not None:
            self._take_request(start)

    def _replay(self, start: Start) -> None:
        done: list[Record] = []
        for record in sorted(start.records, key=lambda record: record.order):
            if record.kind == "update" and record.name in (REQUEST_MESSAGES, REQUEST_UPDATE):
                body = _BODY.decode(record.body)
                if body.first:
                    self._replayed = apply(self._replayed, body.changes)
                else:
                    self._brought.append((record, body))
            else:
                done.append(record)
        self._journal = Journal(done)

    def _take_request(self, start: Start) -> None:
        """Applies what the request brought, unless an attempt of this run has done so."""
        brought = [r for r in start.records if r.name in (REQUEST_MESSAGES, REQUEST_UPDATE)]
        bodies = {(r.name, _BODY.decode(r.body).run) for r in brought}
        first = not start.questions and len(brought) == len(start.records)
        if start.messages is not None and (REQUEST_MESSAGES, start.run.run_id) not in bodies:
            given = Given({MESSAGES: msgspec.json.decode(start.messages)}, "messages")
            self._apply_request(given, REQUEST_MESSAGES, "input", first, len(brought) + 1)
        if start.command_update is not None and (REQUEST_UPDATE, start.run.run_id) not in bodies:
            given = Given(msgspec.json.decode(start.command_update), "command.update")
            self._apply_request(given, REQUEST_UPDATE, "update", first, len(brought) + 1)

    def _apply_request(self, given: Given, name: str, source: Source, first: bool, nth: int) -> None:
        merged = self._channels.merge(given)
        if first and not self._live:
            self._replayed = apply(self._replayed, merged.changes)
        body = Body(changes=merged.changes, run=self.start.run.run_id, first=first)
        record = Record("update", name, nth, _ENCODER.encode(body))
        entries = self._entries(merged)
        if name == REQUEST_MESSAGES:
            entries = entries[1:]
        self._write(Write(entries, CheckpointWrite(merged.changes, source), (record,)), len(merged.delta))

    # what the code may read

    @property
    def run(self) -> RunInfo:
        return self.start.run

    @property
    def config(self) -> dict[str, Any]:
        """`config.configurable` of the request."""
        return self.start.run.config.get("configurable", {})

    @property
    def state(self) -> State:
        """The state as the code should see it: as it was at this place before, until the code does something new."""
        return self._channels.state if self._live else self._replayed

    def view(self) -> StateView:
        return StateView(self.state)

    # before every call

    def enter(self, actor: object) -> None:
        """Says that a call comes from `actor`, a task or a thread.

        Raises:
            RunSignal: the run ends here.
            EndedRun: the run is over.
        """
        if self.signal is not None:
            raise self.signal
        if self.end.ended:
            raise EndedRun(f"run {self.run.run_id} has ended: its ctx does nothing any more")
        if actor != self._actor:
            self._journal.ordered = False

    # calls that change the state

    def update(self, kind: RecordKind, value: Any, place: str) -> None:
        """Merges what an `update` or a `yield` gives, as a step.

        Raises:
            NotSerialisable, ValueTooLarge, RunSignal.
        """
        given = Given(value, place, self.limit)
        of, key = given.fingerprint(), key_of(OWN)
        nth, record = self._match(kind, key, of)
        if record is not None:
            self._pass_by(record)
            return
        self._live = True
        self._take_step()
        merged = self._channels.merge(given)
        body = _ENCODER.encode(Body(of=of, changes=merged.changes))
        write = Write(self._entries(merged), CheckpointWrite(merged.changes), (Record(kind, key, nth, body),))
        self._write(write, len(merged.delta) + len(body))

    def last(self, value: Any) -> Write | None:
        """The write for what the code returned.

        Raises:
            NotSerialisable, ValueTooLarge.
            Nondeterministic: it returned before it came by all its records.
        """
        self._finish("ended")
        self._live = True
        if value is None:
            return None
        merged = self._channels.merge(Given(value, "the returned value", self.limit))
        return Write(self._entries(merged), CheckpointWrite(merged.changes))

    def _entries(self, merged: Merged) -> list[Entry]:
        agent = _ENCODER.encode(self.run.agent_id)
        entries = [Entry("updates", msgspec.Raw(b"{" + agent + b":" + merged.delta + b"}"))]
        if merged.messages is not None:
            entries.append(Entry("messages", msgspec.Raw(merged.messages)))
        return entries

    # messages in pieces

    def message_begins(self, scope: Scope, id: str | None) -> tuple[int, str, bool]:
        """The number and id of a message, and whether its pieces are new.

        Raises:
            NotSerialisable: the id is none.
        """
        if id is not None:
            id = check_name(id, "the id of a message")
        key = key_of(scope)
        nth = self._journal.number("message", key)
        known = self._journal.peek("message", key, nth)
        if known is not None:
            return nth, id or _BODY.decode(known.body).id, False
        # In order, what comes before a record that is left was shown before.
        return nth, id or self.new_id(), self._journal.exhausted or not self._journal.ordered

    def piece(self, scope: Scope, data: bytes, told: msgspec.Raw) -> None:
        """Shows a piece of a message, given as JSON text; `told` is what the streaming protocol tells of it.

        Raises:
            ValueTooLarge.
        """
        if len(data) > self.limit:
            raise too_large("message", len(data), self.limit)
        self._write(Write((Entry("messages", msgspec.Raw(data), scope.path, told),)), len(data) + len(bytes(told)))

    def message_ends(self, scope: Scope, nth: int, message: dict[str, Any], told: msgspec.Raw) -> None:
        """Upserts the whole message, as a step; that of a sub-agent is shown, and no part of the thread's state.

        Raises:
            NotSerialisable, ValueTooLarge, RunSignal.
        """
        key = key_of(scope)
        record = self._find("message", key, nth)
        if record is not None:
            self._pass_by(record)
            return
        if scope.path:
            text = encode([message], "message", self.limit)
            entries = [Entry("messages", msgspec.Raw(text), scope.path, told)]
            body = _ENCODER.encode(Body(id=message["id"]))
            self._write(Write(entries, None, (Record("message", key, nth, body),)), len(text) + len(bytes(told)))
            return
        given = Given({MESSAGES: [message]}, "message", self.limit)
        self._live = True
        self._take_step()
        merged = self._channels.merge(given)
        body = _ENCODER.encode(Body(changes=merged.changes, id=message["id"]))
        entries = [
            msgspec.structs.replace(entry, told=told) if entry.kind == "messages" else entry
            for entry in self._entries(merged)
        ]
        write = Write(entries, CheckpointWrite(merged.changes), (Record("message", key, nth, body),))
        self._write(write, len(merged.delta) + len(body))

    def message_fails(self, scope: Scope, nth: int, told: Sequence[Any]) -> None:
        """Forgets a message whose block raised; `told` is what the streaming protocol tells of that."""
        self._journal.give_back("message", key_of(scope), nth)
        if told:
            self.tell("blocks", told, scope)

    # calls that do not change the state

    def tell(self, kind: Kind, data: Any, scope: Scope, records: Sequence[Record] = ()) -> None:
        """Adds an entry of plain data to the log.

        Raises:
            NotSerialisable, ValueTooLarge.
        """
        text = encode(data, kind, self.limit)
        self._write(Write((Entry(kind, msgspec.Raw(text), scope.path),), None, records), len(text))

    def emit(self, scope: Scope, payload: Any, name: str | None) -> None:
        """Shows a custom event.

        Raises:
            NotSerialisable, ValueTooLarge.
        """
        if name is not None:
            name = check_name(name, "the name of an event")
        data = encode({"payload": payload} if name is None else {"name": name, "payload": payload}, "event", self.limit)
        key = key_of(scope, name or "")
        nth = self._journal.emits(key)
        if nth is not None:
            record = Record("emit", key, nth, b"null")
            self._write(Write((Entry("custom", msgspec.Raw(data), scope.path),), None, (record,)), len(data))

    def step_begins(self, scope: Scope, name: str) -> Step:
        """A step, with its record if it was done before."""
        if check_name(name, "the name of a step") == STORE:
            raise ValueError(f"the step name {STORE!r} is reserved for the store's own records")
        return self._begin_step(scope, name)

    def _begin_step(self, scope: Scope, name: str) -> Step:
        key = key_of(scope, name)
        nth = self._journal.number("step", key)
        if self._journal.peek("step", key, nth) is not None:
            # Its function is not called again, and does not come by what was recorded inside of it.
            for record in self._journal.skip(Step(name, key, nth, None).inside):
                self._pass_by(record)
        record = self._find("step", key, nth)
        step = Step(name, key, nth, record)
        if record is not None:
            self._pass_by(record)
        else:
            self._steps.add(step.inside)
            self._journal.enter(step.inside)
            if self._journal.exhausted:
                self._live = True
        return step

    @contextlib.contextmanager
    def inside(self, step: Step) -> Generator[None]:
        """While a step's function is called: what it records is the step's."""
        token = _ENCLOSING.set(step.inside)
        try:
            yield
        finally:
            _ENCLOSING.reset(token)

    def step_ends(
        self, step: Step, result: Any, entries: Callable[[bytes], Sequence[Entry]] | None = None
    ) -> tuple[int, Any]:
        """Records a step's result: the number of the write that holds it, and the result as a replay gives it.
        `entries` makes what is told of it from its JSON text.

        Raises:
            NotSerialisable, ValueTooLarge.
        """
        try:
            body = encode(result, f"the result of step {step.name!r}", self.limit)
        except BaseException:
            self.step_fails(step)
            raise
        self._journal.succeeded()
        told = () if entries is None else entries(body)
        number = self._write(Write(told, None, (Record("step", step.key, step.nth, body),)), len(body))
        self._step_over(step)
        return number, msgspec.json.decode(body)

    def step_fails(self, step: Step) -> None:
        """Forgets a step that raised."""
        self._journal.give_back("step", step.key, step.nth)
        self._step_over(step)

    def _step_over(self, step: Step) -> None:
        self._steps.discard(step.inside)
        self._asking.discard(step.inside)
        if self._frozen:
            self._let_asked_end()

    def part_begins(self, kind: RecordKind, key: str) -> tuple[int, Record | None]:
        """The number of a part of the run that is recorded as it ends, and its record if it did before."""
        nth = self._journal.number(kind, key)
        self._journal.enter(f"{key}:{nth}{WITHIN}")
        return nth, self._journal.peek(kind, key, nth)

    def part_ends(self, kind: RecordKind, key: str, nth: int) -> bool:
        """Whether it had ended before.

        Raises:
            Nondeterministic.
        """
        return self._find(kind, key, nth) is not None

    def store_begins(self, scope: Scope) -> Step:
        """A write to the store, with its record if it was done before."""
        return self._begin_step(scope, STORE)

    # messages that were put into the run

    def taken_before(self, *, waits: bool) -> list[dict[str, Any]] | None:
        """What the next taking took in an earlier attempt; None where it is a new one. One that `waits` for a message
        has taken one.

        Raises:
            RunSignal.
        """
        known, record = self._journal.taking(key_of(OWN), waits=waits)
        if record is None:
            return [] if known else None
        self._pass_by(record)
        return [msgspec.json.decode(self._injected[number].body) for number in _BODY.decode(record.body).taken]

    def take(self, most: int | None) -> list[dict[str, Any]]:
        """Takes up to so many messages that are there (None: all), as a step: they become part of the thread's.

        Raises:
            ValueTooLarge: the state would be. Nothing is taken then.
        """
        messages = self.end.mailbox.take(most)
        if not messages:
            return []
        taken = [msgspec.json.decode(message.body) for message in messages]
        try:
            merged = self._channels.merge(Given({MESSAGES: taken}, "inbox", self.limit))
        except BaseException:
            self.end.mailbox.put(messages)
            raise
        self._live = True
        key = key_of(OWN)
        body = _ENCODER.encode(Body(changes=merged.changes, taken=[message.number for message in messages]))
        record = Record("take", key, self._journal.number("take", key), body)
        # That they have come was told when they were accepted.
        entries = [entry for entry in self._entries(merged) if entry.kind != "messages"]
        self._write(Write(entries, CheckpointWrite(merged.changes, "input"), (record,)), len(merged.delta) + len(body))
        return taken

    def took_nothing(self) -> None:
        """Records that there was nothing to take."""
        self._live = self._live or self._journal.exhausted
        key = key_of(OWN)
        record = Record("look", key, self._journal.number("take", key), b"null")
        self._write(Write(records=(record,)), 0)

    # questions

    def question(self, scope: Scope, payload: Any, name: str) -> tuple[Any, bool]:
        """The answer to a question, and whether there is one; without it the question is open.

        Raises:
            NotSerialisable, ValueTooLarge, RunSignal.
        """
        name = key_of(scope, check_name(name, "the name of a question"))
        text, stable = encode_stable(payload, "the question", self.limit)
        of = fingerprint(stable)
        nth, record = self._match("interrupt", name, of)
        if record is not None:
            self._pass_by(record)
            return msgspec.json.decode(_BODY.decode(record.body).answer), True
        self._live = True
        question = next((q for q in self.start.questions if q.name == name and q.nth == nth), None)
        if question is None:
            # Unique to this asking, and the same in each attempt at it.
            namespace = uuid.uuid5(uuid.NAMESPACE_OID, self.run.thread_id)
            id = str(uuid.uuid5(namespace, f"{self.run.run_id}:{name}:{nth}:{of}"))
            question = Question(id, msgspec.Raw(text), name, nth, scope.path)
        elif msgspec.json.decode(question.value) != msgspec.json.decode(text):
            self._end_by(
                Nondeterministic(
                    f"interrupt {name!r} (use {nth}) now asks something else than the open question; "
                    "values that change from attempt to attempt must come from ctx.step"
                )
            )
        answered = self.start.answers.get(question.id)
        if answered is None:
            self.questions.append(question)
            return None, False
        body = _ENCODER.encode(Body(of=of, answer=msgspec.Raw(answered)))
        self._write(Write(records=(Record("interrupt", name, nth, body),)), len(body))
        return msgspec.json.decode(answered), True

    @property
    def frozen(self) -> bool:
        """Whether a question is open and nothing new may begin: a call then parks."""
        return self._frozen

    def park(self) -> asyncio.Future[None]:
        """What a task waits for that cannot go on while a question is open: it raises `Asked`.

        Other tasks get a few turns of the loop, so that questions asked side by side are asked together, and steps
        that have begun end, so that they need not be done again.
        """
        future: asyncio.Future[None] = self.end.loop.create_future()
        self._parked.append(future)
        within = _ENCLOSING.get()
        if within:
            # A step whose function waits for the answer does not end by itself.
            self._asking.update(step for step in self._steps if within.startswith(step))
        if len(self._parked) == 1:
            self.end.loop.call_soon(self._collect, 1)
        elif self._frozen:
            self.end.loop.call_soon(self._let_asked_end)
        return future

    def _collect(self, turn: int) -> None:
        if turn < TURNS:
            self.end.loop.call_soon(self._collect, turn + 1)
        elif not self._journal.exhausted and turn < TURNS + PATIENCE:
            self.end.loop.call_later(0.05, self._collect, turn + 1)
        else:
            self._frozen = True
            self._let_asked_end()

    def _let_asked_end(self) -> None:
        """Once the steps that began have ended."""
        if not self._steps <= self._asking or not self._parked:
            return
        signal = self.ask()
        parked, self._parked = self._parked, []
        for future in parked:
            if not future.done():
                future.set_exception(signal)

    def ask(self) -> RunSignal:
        """Ends the run because of its open questions; what to raise in the code."""
        if self.signal is None:
            try:
                self._finish("asks")
            except Nondeterministic as signal:
                return signal
            self.signal = Asked("the run waits for an answer")
            self.end.mailbox.rouse()
        return self.signal

    # records

    def _match(self, kind: RecordKind, name: str, of: str) -> tuple[int, Record | None]:
        try:
            return self._journal.match(kind, name, of)
        except Nondeterministic as signal:
            self._end_by(signal)

    def _find(self, kind: RecordKind, name: str, nth: int) -> Record | None:
        try:
            return self._journal.find(kind, name, nth)
        except Nondeterministic as signal:
            self._end_by(signal)

    def _finish(self, how: str) -> None:
        try:
            self._journal.finish(how)
        except Nondeterministic as signal:
            self._end_by(signal)

    def _end_by(self, signal: RunSignal) -> NoReturn:
        self.signal = signal
        raise signal

    def _pass_by(self, record: Record) -> None:
        """Lets the state go along with a call that was done before."""
        if self._live:
            return
        while self._brought and self._brought[0][0].order < record.order:
            self._replayed = apply(self._replayed, self._brought.pop(0)[1].changes)
        if record.kind in ("update", "yield", "message", "take"):
            self._replayed = apply(self._replayed, _BODY.decode(record.body).changes)

    def _take_step(self) -> None:
        if self._steps_left is not None:
            if self._steps_left <= 0:
                self._end_by(RecursionLimit("the run has made as many steps as config.recursion_limit allows"))
            self._steps_left -= 1

    def _write(self, write: Write, size: int) -> int:
        return self.end.write(write, size)


def key_of(scope: Scope, name: str = "") -> str:
    """The name of a call among the records."""
    return f"{_ENCLOSING.get()}{scope.records}{name}"
