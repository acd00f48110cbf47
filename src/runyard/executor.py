"""One attempt, as named steps that end in one outcome.

    prepare -> begin -> follow (store what the code does, obey stops) -> decide -> record

While a write is being committed, what the code does next gathers and goes into the following one: a chatty run makes
few large commits, a short one makes a single commit that holds its events, its checkpoint and its outcome.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from runyard import checkpoints
from runyard.checkpoints import Asked, Checkpoint, PendingWrite, Snapshot, State, answers_of, name_of
from runyard.clock import Clock
from runyard.errors import CancelRequested, LeaseLost, NotFound, RunyardError, StorageError, Unavailable
from runyard.events import EXTRA_MODES, AskedEvent, Entry, close_nested, entry, note_nested, point_to
from runyard.graphs import modes_of
from runyard.hints.contract import Hints
from runyard.items import Lasting
from runyard.runs import CancelAction, Failure, Outcome, Request
from runyard.runtime.contract import (
    LOST,
    PROCESS_LOST,
    CheckpointWrite,
    Ended,
    Host,
    Injected,
    Invocation,
    LoadedAgent,
    Record,
    RunInfo,
    Start,
    StateCall,
    StateReply,
    Stop,
    StopReason,
    StoreCall,
    Stored,
    StoreReply,
    Write,
)
from runyard.storage.calls import answer
from runyard.storage.contract import STORAGE_PATIENCE, Batch, Claim, Ending, Requeue, Storage
from runyard.telemetry import AttemptEnd, AttemptSpan, Spans, Telemetry
from runyard.users import with_user

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_UNSET = msgspec.UNSET

T = TypeVar("T")
Key = tuple[str, str, str, int]
"""What tells pending writes apart."""

PROBATION = 10.0
"""Seconds that the server has to outlive a run which is suspected of ending it, before the next such run executes."""


class Executor:
    """Executes attempts: the engine's side of every run. Times are seconds."""

    def __init__(
        self,
        *,
        storage: Storage,
        host: Host,
        hints: Hints,
        clock: Clock,
        telemetry: Telemetry,
        retention: float,
        cancel_grace: float,
        spans: Spans | None = None,
        max_value_bytes: int,
        lasting: Lasting,
    ) -> None:
        self.storage = storage
        self.host = host
        self.hints = hints
        self.clock = clock
        self.telemetry = telemetry
        self.retention = int(retention * 1e6)
        self.cancel_grace = cancel_grace
        self.spans = spans
        self.max_value_bytes = max_value_bytes
        self.lasting = lasting

    def begin(self, claim: Claim, loaded: LoadedAgent) -> Execution:
        """A new execution of a claimed run; `await` its `run()`."""
        return Execution(self, claim, loaded)


class Execution:
    """One attempt while it executes."""

    def __init__(self, executor: Executor, claim: Claim, loaded: LoadedAgent) -> None:
        self.run_id = claim.run.run_id
        self.agent_id = claim.run.agent_id
        self._executor = executor
        self._storage = executor.storage
        self._clock = executor.clock
        self._run = claim.run
        self._attempt = claim.attempt
        self._apart = claim.apart
        self._loaded = loaded
        self._request: Request = claim.run.asked_for()
        self._invocation: Invocation | None = None
        self._stop: StopReason | None = None
        self._cancel: CancelAction | None = None
        self._gave_up = False
        self._broken: Exception | None = None
        self._code_ended = False
        self._asked: Asked | None = None
        self._state: State = {}
        self._head: Checkpoint | None = None
        self._inner: dict[str, tuple[Checkpoint, State]] = {}
        """The newest known state of each subgraph's namespace: what the next changes there are against."""
        self._pending = _Pending()
        self._open: dict[str, None] = {}
        """Namespaces of subgraphs and sub-agents that the log leaves open."""
        self._flushing: asyncio.Task[None] | None = None
        self._helpers: set[asyncio.Task[None]] = set()
        self._records = 0
        self._injected = 0
        """The number of the last message from outside that its code has been given."""
        self._hinted = False
        """Whether the run was to be looked at before its code began."""
        self._span: AttemptSpan | None = None
        self._waited = claim.waited

    # the steps

    async def run_attempt(self) -> None:
        """From the claim to the recorded outcome; ends when the agent's code has ended."""
        unsubscribe = self._executor.hints.subscribe(f"run:{self.run_id}", self.look)
        try:
            start = await self._insist("attempt not begun yet", self._prepare)
            self._invocation = self._executor.host.run(self._loaded, start)
            if self._hinted and self._loaded.agent.injects:
                self._help(self._hand_over())
            if self._stop is not None:
                self._invocation.send(Stop(self._stop))
            self._watch_clock()
            if self._apart:
                self._help(self._acquit_later())
            ended = await self._follow(self._invocation)
            if ended.code in LOST:
                self._tell("attempt lost", reason=ended.code)
            await self._record(ended)
        except LeaseLost:
            self._tell("lease lost")
            self._end_span("lease_lost")
        except Exception as error:
            self._tell("attempt broke", why=repr(error))
            await self._break_off()
        finally:
            unsubscribe()
            self._end_span("lease_lost" if self._gave_up else "broke")  # unless it has been told how
            for helper in tuple(self._helpers):
                helper.cancel()

    async def _prepare(self) -> Start:
        """Reads what the attempt begins with. A plain first attempt on an empty thread reads nothing."""
        if self._span is None and self._executor.spans is not None:
            self._span = await self._begin_span(self._executor.spans)
        run, request = self._run, self._request
        base: State = {}
        input_ = None if request.input is _UNSET else bytes(request.input)
        answers: dict[str, bytes] = {}
        if run.base is not None:
            found = await self._storage.snapshot(run.owner, run.thread_id, run.base, held=True)
            self._head, self._state = found.checkpoint, found.state
            base = found.state
            self._asked = found.checkpoint.asked if request.resumes else None
        if self._asked is not None:
            asked = self._asked
            assert request.command is not _UNSET
            assert request.command.resume is not _UNSET
            answers = answers_of(asked, bytes(request.command.resume))
            input_ = None if asked.input is _UNSET else bytes(asked.input)
            base = {}
            if asked.base is not None:
                base = (await self._storage.snapshot(run.owner, run.thread_id, asked.base, held=True)).state
        if run.last_checkpoint is not None:
            found = await self._storage.snapshot(run.owner, run.thread_id, run.last_checkpoint, held=True)
            self._head, self._state = found.checkpoint, found.state
        records: list[Record] = []
        injected: list[Injected] = []
        again = run.started_at != run.updated_at or self._asked is not None  # as is what a drain gave back
        if again or self._loaded.agent.injects:
            found_records = await self._storage.records(run.invocation)
            records = [record for record in found_records if record.kind != "injected"]
            injected = [Injected(record.nth, record.body) for record in found_records if record.kind == "injected"]
            self._records = len(records)
            self._injected = max((message.number for message in injected), default=0)
        writes: Sequence[PendingWrite] = ()
        inner = False
        if self._loaded.agent.graph:
            writes = await self._writes_on(self._state)
            inner = await self._storage.has_inner(run.owner, run.thread_id)
        return self._start(base, input_, records, answers, injected, writes, inner)

    def _start(
        self,
        base: State,
        input_: bytes | None,
        records: list[Record],
        answers: dict[str, bytes],
        injected: list[Injected],
        writes: Sequence[PendingWrite],
        inner: bool,
    ) -> Start:
        run, request = self._run, self._request
        config: dict[str, Any] = {} if request.config is _UNSET else msgspec.to_builtins(request.config)
        config = with_user(config, None if request.acting is _UNSET else request.acting)
        command = request.command
        return Start(
            run=RunInfo(
                run_id=run.run_id,
                thread_id=run.thread_id,
                agent_id=run.agent_id,
                owner=run.owner,
                attempt=run.attempt,
                metadata=_decode(run.metadata),
                config=config,
                invocation=run.invocation,
                assistant_id="" if request.langgraph is _UNSET else request.langgraph.assistant_id,
            ),
            input=input_,
            base=base,
            head=self._state,
            records=records,
            questions=() if self._asked is None else self._asked.questions,
            answers=answers,
            command_update=None if command is _UNSET or command.update is _UNSET else bytes(command.update),
            messages=None if request.messages is _UNSET else bytes(request.messages),
            goto=None if command is _UNSET or command.goto is _UNSET else bytes(command.goto),
            steps_left=config.get("recursion_limit"),
            trace=None if self._span is None else self._span.context,
            durability="async" if request.durability is _UNSET else request.durability,
            context=None if request.context is _UNSET else bytes(request.context),
            interrupt_before=() if request.interrupt_before is _UNSET else request.interrupt_before,
            interrupt_after=() if request.interrupt_after is _UNSET else request.interrupt_after,
            modes=[mode for mode in EXTRA_MODES if mode in modes_of(request)],
            addressed=request.checkpoint is not _UNSET and run.last_checkpoint is None,
            begun=run.last_checkpoint is not None,
            writes=writes,
            inner=inner,
            apart=self._apart,
            max_value_bytes=self._executor.max_value_bytes,
            lasting=self._executor.lasting,
            injected=injected,
        )

    async def _follow(self, invocation: Invocation) -> Ended:
        """Stores what the code does until it has ended."""
        while True:
            for message in await invocation.receive():
                if isinstance(message, Ended):
                    self._code_ended = True
                    if self._flushing is not None:
                        await self._flushing
                    if self._broken is not None:
                        raise self._broken
                    return message
                if isinstance(message, StoreCall | StateCall):
                    self._help(self._answer(message))
                else:
                    self._gather(message)
            if self._pending and self._flushing is None:
                self._flushing = asyncio.get_running_loop().create_task(self._flush(invocation))

    async def _record(self, ended: Ended) -> None:
        """Decides the outcome and makes it durable."""
        if self._gave_up:
            return
        while True:
            try:
                await self._insist("outcome not stored yet", lambda: self._record_once(ended))
                return
            except CancelRequested as request:
                self._cancel = request.metadata["action"]
                self._stop = self._stop or "cancel"

    async def _break_off(self) -> None:
        """Ends a run that cannot go on for a reason that is not its own, and waits for its code to stop."""
        self.stop("lost")
        failure = Failure("internal_error", "the server failed while it executed this run; its log says why")
        while not self._gave_up:
            ending = Ending(
                "failed", self._cancel, failure, expires_at=self._expiry("failed"), injects=self._loaded.agent.injects
            )
            last = Batch(close_nested(self._open, "failed", failure.message))
            try:
                await self._insist(
                    "outcome not stored yet",
                    lambda last=last, ending=ending: self._storage.finish(
                        self._attempt, last, ending, self._clock.now()
                    ),
                )
                break
            except CancelRequested as request:
                self._cancel = request.metadata["action"]
            except LeaseLost:
                break
        while self._invocation is not None and not self._code_ended:
            self._code_ended = any(isinstance(message, Ended) for message in await self._invocation.receive())

    async def _insist(self, told: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries until the database does it; a row that it refuses it will refuse again."""
        while True:
            try:
                return await attempt()
            except (StorageError, Unavailable) as error:
                if error.reason == "row_refused":
                    raise
                self._tell(told, why=error.message)
                await self._clock.sleep(STORAGE_PATIENCE)

    async def _record_once(self, ended: Ended) -> None:
        kept = self._pending.copy(), self._state, self._head, self._records, dict(self._inner)
        retry = self._retry_at(ended)
        outcome, failure = self._decide(ended)
        try:
            if ended.last is not None and outcome != "rolled_back":
                self._gather(ended.last)
            if outcome == "asked":
                self._ask(ended)
            batch = self._pending.take()
            now = self._clock.now()
            if self._stop == "drain" and ended.how == "stopped":
                await self._storage.requeue(self._attempt, batch, Requeue(refund=True), now)
                self._end_span("drained")
            elif retry is not None and self._cancel is None:
                lost = ended.code == PROCESS_LOST
                await self._storage.requeue(self._attempt, batch, Requeue(due_at=retry, lost=lost), now)
                self._executor.hints.publish("ready")
                self._tell("attempt tried again", after=(retry - now) / 1e6, why=ended.message)
                self._end_span("tried_again", ended=ended)
            else:
                batch = self._closing(batch, outcome, failure)
                await self._storage.finish(self._attempt, batch, self._ending(outcome, failure), now)
                self._end_span(outcome, failure, ended)
        except BaseException:
            self._pending, self._state, self._head, self._records, self._inner = kept
            raise

    # deciding

    def _decide(self, ended: Ended) -> tuple[Outcome, Failure | None]:
        """Whatever happened becomes one word."""
        if self._cancel == "rollback":
            return "rolled_back", None
        match ended.how:
            case "completed":
                return "completed", None
            case "asked":
                return ("cancelled", None) if self._cancel is not None else ("asked", None)
            case "failed":
                return "failed", Failure(ended.code, ended.message)
            case "stopped":
                if self._stop == "timeout":
                    limit = self._loaded.agent.limits.timeout
                    return "timed_out", Failure("timeout", f"the agent did not end within its timeout of {limit:g} s")
                return "cancelled", None

    def _retry_at(self, ended: Ended) -> int | None:
        """When the agent's retry policy wants another attempt."""
        limits = self._loaded.agent.limits
        if ended.how != "failed" or self._run.attempt >= limits.max_attempts:
            return None
        if ended.code in LOST:  # as when a server is lost: it may not have been this run's doing
            return self._clock.now()
        if not set(limits.retry.on) & set(ended.exceptions):
            return None
        return self._clock.now() + int(limits.retry.delay(self._run.attempt, random.random()) * 1e6)

    def _closing(self, batch: Batch, outcome: Outcome, failure: Failure | None) -> Batch:
        """The last batch, which ends what the code has left open below the run."""
        opened = dict(self._open)
        note_nested(opened, batch.entries)
        if not opened:
            return batch
        closing = close_nested(opened, outcome, None if failure is None else failure.message)
        return msgspec.structs.replace(batch, entries=[*batch.entries, *closing])

    def _ending(self, outcome: Outcome, failure: Failure | None) -> Ending:
        return Ending(
            outcome=outcome,
            cancel=self._cancel,
            failure=failure,
            final=self._state,
            expires_at=self._expiry(outcome),
            delete_thread=self._deletes(outcome),
            injects=self._loaded.agent.injects,
        )

    def _deletes(self, outcome: Outcome) -> bool:
        return self._request.on_completion == "delete" and not self._run.stateless and outcome != "asked"

    def _expiry(self, outcome: Outcome) -> int | None:
        """When the run's record may go."""
        expires = (self._run.stateless and outcome != "asked") or self._deletes(outcome) or outcome == "rolled_back"
        return self._clock.now() + self._executor.retention if expires else None

    def _ask(self, ended: Ended) -> None:
        """The questions go onto the checkpoint that the asking leaves behind."""
        asked = Asked(
            invocation=self._run.invocation,
            agent_id=self._run.agent_id,
            base=self._run.base if self._asked is None else self._asked.base,
            input=self._asked.input if self._asked is not None else self._request.input,
            questions=list(ended.questions),
        )
        checkpoint = self._plan(CheckpointWrite({}, "interrupt"), asked)[0]
        self._pending.checkpoints.append(checkpoint)
        self._pending.entries.append(entry("asked", AskedEvent(point_to(checkpoint), asked.questions)))

    # storing

    def _gather(self, write: Write) -> None:
        pending = self._pending
        pending.writes += 1
        pending.entries.extend(write.entries)
        for record in write.records:
            self._records += 1
            pending.record(msgspec.structs.replace(record, order=self._records))
        if write.pending:
            pending.put(write.pending)
        if write.settled:
            pending.settle(write.settled)
        if write.checkpoint is not None:
            checkpoint, state = self._plan(write.checkpoint)
            pending.checkpoints.append(checkpoint)
            if write.checkpoint.shows:
                pending.states[len(pending.entries)] = state
                pending.entries.append(entry("values", point_to(checkpoint), checkpoint.namespace))

    def _plan(self, write: CheckpointWrite, asked: Asked | None = None) -> tuple[Checkpoint, State]:
        parent, state = self._head, self._state
        if write.namespace:
            known = self._inner.get(write.namespace)
            parent, state = (None, State()) if known is None else known
        if write.fresh:
            parent, state = None, {}
        state = checkpoints.apply(state, write.changes)
        checkpoint = checkpoints.plan(
            checkpoint_id=write.checkpoint_id or self._clock.new_id(),
            thread_id=self._run.thread_id,
            parent=parent,
            changes=write.changes,
            state=state,
            run_id=self.run_id,
            created_at=self._clock.now(),
            source=write.source,
            asked=asked,
            namespace=write.namespace,
        )
        if write.namespace:
            self._inner[write.namespace] = checkpoint, state
        else:
            self._head, self._state = checkpoint, state
        return checkpoint, state

    async def _flush(self, invocation: Invocation) -> None:
        """Commits what has gathered, again and again while more gathers."""
        try:
            while self._pending:
                batch, writes = self._pending.take(), self._pending.taken
                await self._store(batch)
                note_nested(self._open, batch.entries)
                invocation.send(Stored(writes))
        except LeaseLost:
            self._give_up("lost")
        except Exception as error:
            # The code may be waiting for this write: it is told to stop, and the run ends with it.
            self._broken = error
            self.stop("lost")
        finally:
            self._flushing = None

    async def _store(self, batch: Batch) -> None:
        await self._insist(
            "events not stored yet", lambda: self._storage.append(self._attempt, batch, self._clock.now())
        )

    async def _answer(self, call: StoreCall | StateCall) -> None:
        """Serves `ctx.store` and questions about checkpoints; what is written is fenced like everything else of the
        attempt."""
        assert self._invocation is not None
        refuse = StoreReply if isinstance(call, StoreCall) else StateReply
        try:
            reply = await (self._use_store(call) if isinstance(call, StoreCall) else self._look_up(call))
        except LeaseLost:
            self._give_up("lost")
            return
        except RunyardError as error:
            reply = refuse(call.call, error=(error.reason, error.message))
        except Exception as error:  # without a reply the code would wait for ever
            reply = refuse(call.call, error=("internal_error", f"{type(error).__name__}: {error}"))
        self._invocation.send(reply)

    async def _look_up(self, call: StateCall) -> StateReply:
        """What the attempt has put counts, durable or not: it is committed before anything that is told of it."""
        while self._pending or self._flushing is not None:
            await (self._flushing or asyncio.sleep(0))
            if self._broken is not None or self._gave_up:
                raise LeaseLost("the attempt has ended")
        storage, owner, thread_id, namespace = self._storage, self._run.owner, self._run.thread_id, call.namespace
        found: list[Snapshot] = []
        if call.method == "history":
            found = await storage.history(
                owner, thread_id, before=call.checkpoint_id, limit=call.limit, namespace=namespace
            )
        elif call.checkpoint_id is not None:
            try:
                found = [await storage.snapshot(owner, thread_id, call.checkpoint_id)]
            except NotFound:
                pass
        elif namespace:
            newest = await storage.newest(owner, thread_id, namespace)
            found = [] if newest is None else [newest]
        elif self._request.checkpoint is not _UNSET and self._head is not None and self._head.run_id != self.run_id:
            # The client named what the run builds on; the thread may have gone on from there.
            newest = await storage.newest(owner, thread_id, "")
            found = [] if newest is None else [newest]
        elif self._head is not None:
            found = [Snapshot(self._head, self._state)]
        if namespace and call.method == "get" and found:
            self._inner[namespace] = found[0].checkpoint, found[0].state
        writes = [await self._writes_on(one.state, namespace) for one in found]
        return StateReply(call.call, found, writes)

    async def _use_store(self, call: StoreCall) -> StoreReply:
        return await answer(self._storage, self._run.owner, call, self._clock.now(), self._attempt)

    async def _writes_on(self, state: State, namespace: str = "") -> list[PendingWrite]:
        name = name_of(state)
        if name is None:
            return []
        writes = await self._storage.pending_writes(self._run.owner, self._run.thread_id, namespace, name)
        self._pending.know(writes)
        return writes

    async def _hand_over(self) -> None:
        """Gives the code the messages that were put into the run and that it has not been given."""
        invocation = self._invocation
        if invocation is None:
            self._hinted = True
            return
        found = await self._insist(
            "injected messages not read yet", lambda: self._storage.injected(self._run.invocation, self._injected)
        )
        for message in found:
            if message.number > self._injected:  # else somebody was faster who was told at the same time
                self._injected = message.number
                invocation.send(message)

    # stopping

    def stop(self, reason: StopReason) -> None:
        """Tells the code to stop, once; the first reason stays."""
        if self._stop is not None:
            return
        self._stop = reason
        if self._invocation is not None:
            self._invocation.send(Stop(reason))
        if reason in ("cancel", "timeout"):
            self._help(self._abandon_later())

    async def release(self) -> None:
        """Gives the attempt back at no cost, whether its code has ended or not: the server stops."""
        if not self._gave_up:
            self._gave_up = True
            await self._storage.requeue(self._attempt, Batch(), Requeue(refund=True), self._clock.now())
            self._end_span("drained")

    def look(self, topic: str = "") -> None:
        """Something about the run may have changed: a request to cancel, a message for it, or the run is gone."""
        self._help(self._look())

    async def _look(self) -> None:
        try:
            run = await self._storage.run(self._run.owner, self.run_id)
            holds = not run.finished and await self._storage.holds(self._attempt)
        except NotFound:
            self._give_up("lost")
            return
        except (StorageError, Unavailable):
            self._help(self._look_again())
            return
        if not holds:
            self._give_up("lost")
        elif run.cancel is not None:
            self._cancel = run.cancel
            self.stop("cancel")
        elif self._loaded.agent.injects:
            self._help(self._hand_over())

    async def _look_again(self) -> None:
        await self._clock.sleep(STORAGE_PATIENCE)
        await self._look()

    @property
    def gave_up(self) -> bool:
        """Whether the run went on, or ended, without waiting for the code to stop."""
        return self._gave_up

    def _give_up(self, reason: StopReason) -> None:
        """The attempt may write no more; its code is told to stop."""
        self._gave_up = True
        self.stop(reason)

    async def _abandon_later(self) -> None:
        """Code that does not stop within the grace period is fenced off; its place stays taken until it ends."""
        await self._clock.sleep(self._executor.cancel_grace)
        try:
            await self._insist("outcome not stored yet", self._abandon)
        except LeaseLost:
            pass  # it is another's by now, or over
        self._gave_up = True
        if self._invocation is not None:
            self._invocation.send(Stop("lost"))

    async def _abandon(self) -> None:
        now = self._clock.now()
        await self._storage.abandon(self._attempt, now, now + self._executor.retention)
        self._end_span("abandoned")

    async def _acquit_later(self) -> None:
        await self._clock.sleep(PROBATION)
        await self._insist("outcome not stored yet", lambda: self._storage.acquit(self.run_id))

    def _watch_clock(self) -> None:
        timeout = self._loaded.agent.limits.timeout
        if timeout is not None:
            self._help(self._stop_after(timeout))

    async def _stop_after(self, seconds: float) -> None:
        assert self._invocation is not None
        await self._invocation.placed()
        await self._clock.sleep(seconds)
        self.stop("timeout")

    # telling

    async def _begin_span(self, spans: Spans) -> AttemptSpan:
        run, storage = self._run, self._storage
        asked = await storage.trace(run.invocation) if run.invocation != run.run_id else None
        return spans.attempt(run, await storage.trace(run.run_id), asked, self._waited)

    def _end_span(self, outcome: str, failure: Failure | None = None, ended: Ended | None = None) -> None:
        """The first end that is told is that of the span."""
        span, self._span = self._span, None
        if span is None:
            return
        end = AttemptEnd(outcome, message="" if failure is None else failure.message)
        if ended is not None and ended.exceptions:
            name, qualified = ended.exceptions[:2]
            text = ended.message.removeprefix(f"{name}: ")
            end = AttemptEnd(outcome, qualified.removeprefix("builtins."), text, ended.stacktrace)
        span.end(end)

    def _tell(self, event: str, **fields: Any) -> None:
        run, number = self._run, self._attempt.number
        self._executor.telemetry.tell(
            event, run_id=run.run_id, thread_id=run.thread_id, agent_id=run.agent_id, attempt=number, **fields
        )

    def _help(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)


class _Pending:
    """What the code did and is not being committed yet."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.states: dict[int, State] = {}
        self.checkpoints: list[Checkpoint] = []
        self.records: list[Record] = []
        self.counts: dict[tuple[str, str], int] = {}
        """The place of the last record of each name of those that only count: it stands for all before it."""
        self.pending: dict[Key, PendingWrite] = {}
        self.settled: dict[Key, PendingWrite] = {}
        self.stored: set[Key] = set()
        """The pending writes that the database may hold."""
        self.writes = 0
        self.taken = 0

    def __bool__(self) -> bool:
        return self.writes > 0

    def record(self, record: Record) -> None:
        """Keeps a record."""
        at = self.counts.get((record.kind, record.name))
        if at is not None:
            self.records[at] = record
            return
        if record.kind in ("emit", "look"):
            self.counts[record.kind, record.name] = len(self.records)
        self.records.append(record)

    def put(self, writes: Sequence[PendingWrite]) -> None:
        """Keeps what tasks of a graph gave."""
        for write in writes:
            self.pending[_key(write)] = write

    def settle(self, writes: Sequence[PendingWrite]) -> None:
        """Lets go of what a checkpoint now holds: a write that has not been stored yet never is."""
        for write in writes:
            key = _key(write)
            self.pending.pop(key, None)
            if key in self.stored:
                self.stored.discard(key)
                self.settled[key] = write

    def know(self, writes: Sequence[PendingWrite]) -> None:
        """Writes that were read from the database."""
        self.stored.update(map(_key, writes))

    def copy(self) -> _Pending:
        twin = _Pending()
        twin.entries, twin.states = list(self.entries), dict(self.states)
        twin.checkpoints, twin.records, twin.writes = list(self.checkpoints), list(self.records), self.writes
        twin.counts, twin.pending, twin.settled = dict(self.counts), dict(self.pending), dict(self.settled)
        twin.stored = set(self.stored)
        return twin

    def take(self) -> Batch:
        """All of it; `taken` says how many writes that were."""
        pending, settled = list(self.pending.values()), list(self.settled.values())
        batch = Batch(self.entries, self.states, self.checkpoints, self.records, pending, settled)
        self.taken = self.writes
        self.stored.update(self.pending)
        self.entries, self.states, self.checkpoints, self.records, self.writes = [], {}, [], [], 0
        self.counts, self.pending, self.settled = {}, {}, {}
        return batch


def _key(write: PendingWrite) -> Key:
    return write.namespace, write.on, write.task_id, write.index
