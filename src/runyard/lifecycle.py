"""Whatever has rules across rows: creating, waiting for, cancelling and deleting runs; changing threads.

The verbs here are what the API calls. They speak nouns, raise `RunyardError`s and know no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, cast

import msgspec

from runyard import agents, checkpoints, graphs
from runyard.admission import Admission
from runyard.agents import Agent
from runyard.checkpoints import Changes, Checkpoint, Question, Snapshot, State, answers_of
from runyard.clock import Clock
from runyard.crons import Firing
from runyard.directory import RemoteAgent
from runyard.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    RunyardError,
    StillStopping,
    StorageError,
    Unavailable,
    checkpoint_not_found,
)
from runyard.events import Chunk, InputEvent, Mode, lifecycle
from runyard.hints.contract import Hints
from runyard.readers import PAGE
from runyard.runs import (
    Acting,
    CancelAction,
    Command,
    Config,
    Dialect,
    Durability,
    Failure,
    NewRun,
    Request,
    Run,
    RunFilter,
    Strategy,
)
from runyard.runtime.contract import LoadedAgent
from runyard.storage.contract import STORAGE_PATIENCE, Claim, Created, Storage
from runyard.streams import Ending, Streams
from runyard.telemetry import Spans
from runyard.threads import Thread, ThreadFilter, Ttl, upsert_messages

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_UNSET = msgspec.UNSET


class Slots(Protocol):
    """The places for executing runs on this server."""

    def reserve(self, agent_id: str) -> bool:
        """Takes a place for a run of that agent, if one is free."""
        ...

    def release(self, agent_id: str) -> None:
        """Gives a reserved place back."""
        ...

    def execute(self, claim: Claim) -> None:
        """Begins the attempt on the place that was reserved for it."""
        ...

    def executes(self, run_id: str) -> bool:
        """Whether an attempt of the run has a place here."""
        ...

    async def stopped(self, run_id: str, seconds: float) -> bool:
        """Waits until no code of the run executes here; whether that came within the time."""
        ...

    async def stopped_elsewhere(self, run_ids: Sequence[str], seconds: float) -> None:
        """Tells other servers to stop code of these runs, and waits until it is said to have stopped, at most so
        long."""
        ...


class CreateRun(msgspec.Struct, frozen=True):
    """A client's wish for a run, its shape validated. `input` and `messages` are JSON text."""

    agent_id: str | None = None
    thread_id: str | None = None
    input: msgspec.Raw | msgspec.UnsetType = _UNSET
    messages: msgspec.Raw | msgspec.UnsetType = _UNSET
    metadata: dict[str, Any] = {}
    config: Config | msgspec.UnsetType = _UNSET
    command: Command | msgspec.UnsetType = _UNSET
    checkpoint: dict[str, Any] | msgspec.UnsetType = _UNSET
    webhook: str | msgspec.UnsetType = _UNSET
    stream_mode: Mode | list[Mode] | msgspec.UnsetType = _UNSET
    multitask_strategy: Strategy | msgspec.UnsetType = _UNSET
    on_completion: Literal["delete", "keep"] | msgspec.UnsetType = _UNSET
    on_disconnect: Literal["cancel", "continue"] | msgspec.UnsetType = _UNSET
    if_not_exists: Literal["create", "reject"] | msgspec.UnsetType = _UNSET
    after_seconds: float | msgspec.UnsetType = _UNSET
    context: msgspec.Raw | msgspec.UnsetType = _UNSET
    interrupt_before: list[str] | Literal["*"] | msgspec.UnsetType = _UNSET
    interrupt_after: list[str] | Literal["*"] | msgspec.UnsetType = _UNSET
    durability: Durability | msgspec.UnsetType = _UNSET
    stream_subgraphs: bool | msgspec.UnsetType = _UNSET
    langgraph: Dialect | msgspec.UnsetType = _UNSET
    idempotency: tuple[str, str, str] | None = None
    firing: Firing | None = None
    """The firing of a cron that wishes it."""
    acting: Acting | msgspec.UnsetType = _UNSET
    """For whom it is wished, where the deployment says who may do what."""
    thread_metadata: dict[str, Any] = {}
    """Of a thread that is created with it."""
    within: dict[str, Any] | None = None
    """What the metadata of a thread that is there have to contain."""


class PatchThread(msgspec.Struct, frozen=True):
    """A change of a thread from outside. `values` and `messages` make a revision, from `checkpoint_id` where given."""

    metadata: dict[str, Any] | None = None
    values: dict[str, msgspec.Raw] | None = None
    messages: msgspec.Raw | None = None
    checkpoint_id: str | None = None
    ttl: Ttl | msgspec.UnsetType | None = _UNSET
    """A time to live of its own; None takes it away."""


class Result(msgspec.Struct, frozen=True):
    """A run that has ended, with its values and the questions that it left open."""

    run: Run
    state: State
    questions: list[Question]


class Attachment:
    """A connection that a run may depend on, for the duration of a `with`. Ten thousand idle readers each have one."""

    __slots__ = ("_run_id", "_verbs")

    def __init__(self, verbs: Lifecycle, run_id: str) -> None:
        self._verbs = verbs
        self._run_id = run_id

    def __enter__(self) -> None:
        self._verbs.attached(self._run_id)

    def __exit__(self, *_: object) -> None:
        self._verbs.detached(self._run_id)


class Lifecycle:
    """The verbs. `agents` are those that runs can be created of: those with code in this process (`loaded`), and those
    that other servers publish; `retention` is in seconds; `check_webhook` raises `InvalidInput` for a URL that is no
    webhook; without `webhooks` no run has one."""

    def __init__(
        self,
        *,
        storage: Storage,
        streams: Streams,
        hints: Hints,
        clock: Clock,
        slots: Slots,
        check_webhook: Callable[[str], None],
        loaded: Mapping[str, LoadedAgent],
        default_agent: str | None,
        retention: float,
        cancel_grace: float,
        disconnect_grace: float,
        admission: Admission,
        spans: Spans | None = None,
        webhooks: bool = True,
    ) -> None:
        self.storage = storage
        self.streams = streams
        self.clock = clock
        self.agents: dict[str, LoadedAgent] = {**loaded}
        self._loaded = loaded
        self.default_agent = default_agent
        self._published: dict[str, Agent] = {name: agent.agent for name, agent in loaded.items()}
        self._hints = hints
        self._slots = slots
        self._check_webhook = check_webhook
        self._webhooks = webhooks
        self._retention = int(retention * 1e6)
        self._cancel_grace = cancel_grace
        self._disconnect_grace = disconnect_grace
        self._admission = admission
        self._spans = spans
        self._closed = False
        self._waits = 0
        self._answered = asyncio.Event()
        self._attached: dict[str, int] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._adopting: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Takes no more runs: the server stops."""
        self._closed = True

    async def answered(self, seconds: float) -> None:
        """Returns when nobody waits for a run's end any more, at most after so long: the run may execute elsewhere."""
        if self._waits:
            self._answered.clear()
            waiting = asyncio.ensure_future(self._answered.wait())
            timer = asyncio.ensure_future(self.clock.sleep(seconds))
            try:
                await asyncio.wait((waiting, timer), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                timer.cancel()

    @contextmanager
    def _wait(self) -> Generator[None]:
        self._waits += 1
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits:
                self._answered.set()

    # agents

    def learn(self, published: Sequence[Agent]) -> None:
        """What is published, whoever has its code. What has code here is as it is here."""
        for agent in published:
            if agent.agent_id not in self._loaded and self._published.get(agent.agent_id) != agent:
                self.agents[agent.agent_id] = RemoteAgent(agent)
                self._published[agent.agent_id] = agent

    def agent(self, agent_id: str) -> Agent:
        """Raises `NotFound` agent_not_found."""
        return agents.choose(agent_id, None, self._published)

    def search_agents(self, name: str | None, metadata: dict[str, Any] | None, limit: int, offset: int) -> list[Agent]:
        """By id; `name` is a case-insensitive part of the agent's name."""
        found = [agent for _, agent in sorted(self._published.items()) if agents.matches(agent, name, metadata)]
        return found[offset : offset + limit]

    @property
    def published(self) -> Mapping[str, Agent]:
        """The agents that runs can be created of, by id."""
        return self._published

    # runs

    def check_run(self, wish: CreateRun) -> None:
        """Raises what `create_run` does, as far as the wish alone tells."""
        self._request(wish, agents.choose(wish.agent_id, self.default_agent, self._published))

    async def create_run(self, owner: str, wish: CreateRun) -> Created:
        """Makes a run durable, and executes it at once where a place is free.

        Raises:
            NotFound: agent, thread or checkpoint.
            Conflict: thread_busy, not_interrupted, firing_gone.
            InvalidInput: input that does not fit the agent, fields that it cannot obey.
            TooManyRuns: it would have to wait, and as many wait as may.
            Unavailable: the server stops.
        """
        if self._closed:
            raise Unavailable("the server is stopping and takes no more runs; send the request again soon")
        if wish.idempotency is not None:
            # What was right when the key was first used need not be so now: its question is answered since.
            known = await self.storage.known_run(owner, wish.idempotency)
            if known is not None:
                if self._spans is not None:
                    with self._spans.creation(known.agent_id) as span:
                        span.made(known, repeated=True)
                return Created(known, repeated=True)
        agent_id, answers = await self._agent_asked(owner, wish)
        agent = agents.choose(agent_id, self.default_agent, self._published)
        request = self._request(wish, agent)
        new = self._new_run(owner, wish, agent, request, answers)
        reserved = new.due_at is None and self._slots.reserve(agent.agent_id)
        if reserved:
            new = msgspec.structs.replace(new, claim=True)
        try:
            created = await self._admitted(new)
        except asyncio.CancelledError:
            # Whoever asked is gone, but what was asked for is on its way to the disk, perhaps with the place.
            if reserved:
                self._adopting.add(adoption := asyncio.ensure_future(self._adopt(new)))
                adoption.add_done_callback(self._adopting.discard)
            raise
        except BaseException:
            if reserved:
                self._slots.release(agent.agent_id)
            raise
        if created.claim is not None:
            self._slots.execute(created.claim)
        elif reserved:
            self._slots.release(agent.agent_id)
        if new.due_at is not None:
            self._hints.publish("ready")
        if created.stopping is not None:
            self._hints.publish(f"run:{created.stopping}")
        return created

    async def _adopt(self, new: NewRun) -> None:
        """Executes a run whose creation was interrupted, where it was claimed; else gives its place back."""
        claim: Claim | None = None
        try:
            claim = await self._claim_of(new.run_id)
            if self._slots.executes(new.run_id):
                claim = None  # it had to wait, and was claimed since like any other
        finally:
            if claim is None:
                self._slots.release(new.agent_id)
        if claim is not None:
            self._slots.execute(claim)

    async def _claim_of(self, run_id: str) -> Claim | None:
        """Asks until the database answers: nobody else would ever execute the run."""
        while True:
            try:
                return await self.storage.claim_of(run_id)
            except (StorageError, Unavailable):
                if self._closed:
                    raise
                await self.clock.sleep(STORAGE_PATIENCE)

    async def _admitted(self, new: NewRun) -> Created:
        """Creates a run, if it may wait in case that it has to; one on a new thread with a place has not to."""
        if new.claim and new.stateless and new.concurrency is None:
            return await self._store_run(new)
        settle = await self._admission.admit(new.owner)
        waits = True  # for all that is known of a creation that was interrupted
        try:
            created = await self._store_run(new)
            waits = created.claim is None and not created.repeated
        except RunyardError:
            waits = False
            raise
        finally:
            settle(waits)
        return created

    async def _store_run(self, new: NewRun) -> Created:
        if self._spans is None:
            return await self.storage.create_run(new)
        with self._spans.creation(new.agent_id) as span:
            created = await self.storage.create_run(msgspec.structs.replace(new, trace=span.context))
            span.made(created.run, repeated=created.repeated)
            return created

    async def _agent_asked(self, owner: str, wish: CreateRun) -> tuple[str | None, list[str]]:
        """The agent that the run is for, and the questions that it answers: a resume goes to the agent that asked.

        Raises:
            Conflict: not_interrupted.
            InvalidInput: another agent was named, or the answer does not say which of several questions it is for.
        """
        if wish.command is _UNSET or wish.command.resume is _UNSET or wish.thread_id is None:
            return wish.agent_id, []
        thread = await self.storage.thread(owner, wish.thread_id)
        at = thread.head if wish.checkpoint is _UNSET else wish.checkpoint["checkpoint_id"]
        asked = None
        if at is not None and (thread.asking or wish.checkpoint is not _UNSET):
            asked = (await self.storage.snapshot(owner, wish.thread_id, at)).checkpoint.asked
        if asked is None:
            raise Conflict(
                f"thread {wish.thread_id} has no open question that command.resume could answer",
                code="not_interrupted",
                thread_id=wish.thread_id,
            )
        if wish.agent_id not in (None, asked.agent_id):
            raise InvalidInput(
                f"agent_id is {wish.agent_id!r}, but the open question was asked by {asked.agent_id!r}",
                field="agent_id",
            )
        return asked.agent_id, sorted(answers_of(asked, bytes(wish.command.resume)))

    def _request(self, wish: CreateRun, agent: Agent) -> Request:
        loaded = self.agents[agent.agent_id]
        command = wish.command
        resumes = command is not _UNSET and command.resume is not _UNSET
        if wish.webhook is not _UNSET:
            self._check_webhook(wish.webhook)
        if command is not _UNSET:
            self._check_command(command, wish)
        if wish.messages is not _UNSET and not agent.messages:
            raise InvalidInput(
                f"messages: agent {agent.agent_id!r} does not support messages (capability ap.io.messages); "
                "send input instead",
                field="messages",
                agent_id=agent.agent_id,
            )
        if not resumes:
            loaded.check_input(None if wish.input is _UNSET else bytes(wish.input))
        if wish.config is not _UNSET and wish.config.configurable is not _UNSET:
            loaded.check_config(wish.config.configurable)
        request = Request(
            input=wish.input,
            messages=_UNSET if wish.messages is _UNSET else msgspec.Raw(self._with_ids(wish.messages)),
            config=wish.config,
            command=command,
            checkpoint=wish.checkpoint,
            webhook=wish.webhook if self._webhooks else _UNSET,
            stream_mode=wish.stream_mode,
            multitask_strategy=wish.multitask_strategy,
            on_completion=wish.on_completion,
            on_disconnect=wish.on_disconnect,
            if_not_exists=wish.if_not_exists,
            after_seconds=wish.after_seconds,
            context=wish.context,
            interrupt_before=wish.interrupt_before,
            interrupt_after=wish.interrupt_after,
            durability=wish.durability,
            stream_subgraphs=wish.stream_subgraphs,
            langgraph=wish.langgraph,
            acting=wish.acting,
        )
        graphs.check_request(request, agent)
        if wish.context is not _UNSET:
            loaded.check_context(_decode(wish.context))
        return request

    def _check_command(self, command: Command, wish: CreateRun) -> None:
        if wish.thread_id is None and command.resume is not _UNSET:
            raise InvalidInput(
                "command.resume needs thread_id: the thread whose question it answers", field="thread_id"
            )
        if command.resume is not _UNSET and wish.input is not _UNSET and bytes(wish.input) != b"null":
            raise InvalidInput(
                "input and command.resume cannot be sent together: a resume goes on with the original input",
                field="input",
            )
        if command.update is not _UNSET:
            update = _decode(command.update)
            if not isinstance(update, dict):
                raise InvalidInput("command.update must be an object of state values", field="command.update")
            checkpoints.check_channels("command.update", cast("dict[str, Any]", update))

    def _with_ids(self, messages: msgspec.Raw) -> bytes:
        """Ids make messages upserts, so that an attempt that repeats them changes nothing."""
        return _encode(
            [message if message.get("id") else {**message, "id": self.clock.new_id()} for message in _decode(messages)]
        )

    def _new_run(self, owner: str, wish: CreateRun, agent: Agent, request: Request, answers: list[str]) -> NewRun:
        now = self.clock.now()
        keeps = wish.on_completion == "keep"
        stateless = wish.thread_id is None and not keeps
        delay = 0.0 if wish.after_seconds is _UNSET else wish.after_seconds
        base = None
        if wish.checkpoint is not _UNSET:
            base = wish.checkpoint["checkpoint_id"]
            if wish.thread_id is None:
                raise InvalidInput("checkpoint needs thread_id: the thread that it belongs to", field="thread_id")
        return NewRun(
            run_id=self.clock.new_id() if wish.firing is None else wish.firing.run_id,
            owner=owner,
            agent_id=agent.agent_id,
            request=_encode(request),
            metadata=_encode(wish.metadata),
            created_at=now,
            thread_id=wish.thread_id or self.clock.new_id(),
            stateless=stateless,
            create_thread=wish.if_not_exists == "create" or (wish.thread_id is None and keeps),
            strategy="reject" if wish.multitask_strategy is _UNSET else wish.multitask_strategy,
            max_attempts=agent.limits.max_attempts,
            resumes=request.resumes,
            base=base,
            due_at=now + int(delay * 1e6) if delay > 0 else None,
            idempotency=wish.idempotency,
            firing=wish.firing,
            thread_metadata=_encode(wish.thread_metadata),
            within=wish.within,
            concurrency=agent.limits.concurrency,
            input_event=_encode(InputEvent(request.input, request.messages, request.command, answers)),
        )

    async def get_run(self, owner: str, run_id: str) -> Run:
        """Raises `NotFound`."""
        return await self.storage.run(owner, run_id)

    async def search_runs(self, owner: str, query: RunFilter) -> list[Run]:
        """Newest first; an unknown thread or agent finds nothing."""
        return await self.storage.search_runs(owner, query)

    async def thread_runs(self, owner: str, thread_id: str, query: RunFilter) -> list[Run]:
        """The runs of a thread, newest first. Raises `NotFound` for an unknown thread."""
        await self.storage.thread(owner, thread_id)
        return await self.storage.search_runs(owner, msgspec.structs.replace(query, thread_id=thread_id))

    async def wait_run(self, owner: str, run_id: str, *, begun: Run | None = None) -> Result:
        """Waits for a run's end; a finished one answers at once. Raises `NotFound`.

        `begun` is the run itself where it executes since just now, so that it cannot have ended yet.
        """
        with self._wait():
            ending = self.streams.ending(run_id)
            chunk: Chunk | None = None
            try:
                run = await self.storage.run(owner, run_id) if begun is None else begun
                while not run.finished:
                    chunk = await ending
                    if chunk is not None and chunk.ended is not None:
                        run = chunk.ended
                        break
                    ending = self.streams.ending(run_id)
                    try:
                        run = await self.storage.run(owner, run_id)
                    except NotFound:
                        run = _undone(run)
                    if self.streams.draining and not run.finished:
                        raise Unavailable(
                            f"the server is stopping; run {run_id} goes on when it is started again", run_id=run_id
                        )
            finally:
                self.streams.forget(run_id, ending)
            return await self._result(run, chunk)

    async def _result(self, run: Run, chunk: Chunk | None) -> Result:
        if chunk is not None and chunk.final is not None and run.outcome != "asked":
            return Result(run, chunk.final, [])
        at = run.prior_head if run.outcome == "rolled_back" else run.values_at
        if at is None:
            return Result(run, {}, [])
        try:
            snapshot = await self.storage.snapshot(run.owner, run.thread_id, at)
        except NotFound:
            return Result(run, {}, [])
        asked = snapshot.checkpoint.asked if run.outcome == "asked" else None
        return Result(run, snapshot.state, [] if asked is None else asked.questions)

    async def cancel_run(
        self, owner: str, run_id: str, action: CancelAction, wait: bool, reason: str | None = None
    ) -> None:
        """Asks a run to stop; `wait` returns only when its code has stopped. `reason` is kept with the run.

        Raises:
            NotFound: no such run.
            Conflict: rollback_not_latest.
            StillStopping: its code did not stop within the grace period.
        """
        now = self.clock.now()
        ending = self.streams.ending(run_id)
        try:
            done = await self.storage.cancel(owner, run_id, action, now, now + self._retention, reason)
            if done.how == "stopping":
                self._hints.publish(f"run:{run_id}")
                if wait:
                    with self._wait():
                        await self._wait_end(done.run, ending)
            if wait and not await self._slots.stopped(run_id, self._cancel_grace):
                raise still_stopping(run_id, self._cancel_grace)
        finally:
            self.streams.forget(run_id, ending)

    async def inject(self, owner: str, run_id: str, messages: Sequence[bytes]) -> None:
        """Puts messages (JSON objects with an `id`) into a run, for its code to take while it executes.

        Raises:
            NotFound.
            Conflict: no_active_run, inbox_full.
        """
        await self.storage.inject(owner, run_id, messages, self.clock.now())
        self._hints.publish(f"run:{run_id}")

    async def _wait_end(self, asked: Run, ending: Ending) -> None:
        run_id = asked.run_id
        try:
            while True:
                chunk = await ending
                if chunk is not None:
                    if lifecycle(chunk.entries[-1].data).reason == "still_stopping":
                        raise still_stopping(run_id, self._cancel_grace)
                    return
                ending = self.streams.ending(run_id)
                if await self._has_ended(asked):
                    return
                if self.streams.draining:
                    raise Unavailable(f"the server is stopping; run {run_id} is asked to stop all the same")
        finally:
            self.streams.forget(run_id, ending)

    async def _has_ended(self, asked: Run) -> bool:
        """Raises `StillStopping`: it has, but not its code."""
        try:
            run = await self.storage.run(asked.owner, asked.run_id)
            ended, abandoned = run.finished, run.outcome == "abandoned"
        except NotFound:
            # Rolled back: only its log still says how.
            ended, abandoned = True, await self._was_abandoned(asked)
        if abandoned:
            raise still_stopping(asked.run_id, self._cancel_grace)
        return ended

    async def _was_abandoned(self, run: Run) -> bool:
        """Whether the last event of a run that is over says that its code had not stopped."""
        after, last = run.first_seq, None
        while events := await self.storage.events(
            run.owner, run.thread_id, after=after, run_id=run.run_id, limit=PAGE, states=False
        ):
            after, last = events[-1].seq, events[-1]
        return last is not None and last.kind == "lifecycle" and lifecycle(last.data).reason == "still_stopping"

    async def delete_run(self, owner: str, run_id: str) -> None:
        """Removes a finished run. Raises `NotFound`, `Conflict` run_active."""
        await self.storage.delete_run(owner, run_id, self.clock.now())

    # connections that a run may depend on

    def attach(self, run_id: str) -> Attachment:
        """A `with` block for the time in which a reader or waiter of the run is connected."""
        return Attachment(self, run_id)

    def attached(self, run_id: str) -> None:
        """One more is connected to the run."""
        self._attached[run_id] = self._attached.get(run_id, 0) + 1
        leaving = self._leaving.pop(run_id, None)
        if leaving is not None:
            leaving.cancel()

    def detached(self, run_id: str) -> None:
        """One less is."""
        left = self._attached[run_id] - 1
        if left:
            self._attached[run_id] = left
        else:
            del self._attached[run_id]

    def disconnected(self, owner: str, run_id: str) -> None:
        """The client dropped the connection that created a run with `on_disconnect=cancel`: after the grace period the
        run is cancelled, unless somebody is connected to it by then."""
        if run_id in self._leaving or run_id in self._attached:
            return

        async def cancel_later() -> None:
            await self.clock.sleep(self._disconnect_grace)
            while run_id not in self._attached:
                try:
                    await self.cancel_run(owner, run_id, "interrupt", wait=False)
                    break
                except (NotFound, Conflict):
                    break  # it ended meanwhile, and was deleted
                except (StorageError, Unavailable):
                    await self.clock.sleep(STORAGE_PATIENCE)
            self._leaving.pop(run_id, None)

        self._leaving[run_id] = asyncio.get_running_loop().create_task(cancel_later())

    # threads

    async def create_thread(
        self,
        owner: str,
        thread_id: str | None,
        metadata: dict[str, Any],
        if_exists: Literal["raise", "do_nothing"],
        ttl: Ttl | None = None,
    ) -> Thread:
        """Raises `Conflict` thread_exists."""
        return await self.storage.create_thread(
            owner, thread_id or self.clock.new_id(), _encode(metadata), self.clock.now(), if_exists=if_exists, ttl=ttl
        )

    async def get_thread(self, owner: str, thread_id: str) -> tuple[Thread, State, list[Question]]:
        """The thread with its state and its open questions. Raises `NotFound`."""
        return await self._with_state(await self.storage.thread(owner, thread_id))

    async def _with_state(self, thread: Thread) -> tuple[Thread, State, list[Question]]:
        if thread.head is None:
            return thread, {}, []
        snapshot = await self.storage.snapshot(thread.owner, thread.thread_id, thread.head)
        asked = snapshot.checkpoint.asked if thread.asking else None
        return thread, snapshot.state, [] if asked is None else asked.questions

    async def questions(self, thread: Thread) -> list[Question]:
        """The open questions of a thread."""
        return (await self._with_state(thread))[2]

    async def last_failure(self, thread: Thread) -> Failure | None:
        """How the last run of a thread failed that did."""
        query = RunFilter(thread_id=thread.thread_id, statuses=("error", "timeout"), limit=1)
        found = await self.storage.search_runs(thread.owner, query)
        return found[0].failure if found else None

    async def search_threads(self, owner: str, query: ThreadFilter) -> list[tuple[Thread, State]]:
        """Newest first."""
        return await self.storage.search_threads(owner, query)

    async def patch_thread(
        self, owner: str, thread_id: str, patch: PatchThread
    ) -> tuple[Thread, State, list[Question]]:
        """Merges metadata; values and messages make a revision that becomes the head.

        Raises:
            NotFound: thread or checkpoint.
            Conflict: thread_busy, where the state would change.
        """
        revises = patch.values is not None or patch.messages is not None or patch.checkpoint_id is not None
        if patch.checkpoint_id is not None and patch.values is None and patch.messages is None:
            revises = patch.metadata is None
        checkpoints.check_channels("values", patch.values or {})
        while True:
            thread = await self.storage.thread(owner, thread_id)
            checkpoint = await self._revision(thread, patch) if revises else None
            changed = await self.storage.patch_thread(
                owner,
                thread_id,
                self.clock.now(),
                metadata=patch.metadata,
                checkpoint=checkpoint,
                expected_head=thread.head,
                ttl=patch.ttl,
            )
            if changed is not None:
                return await self._with_state(changed)

    async def _revision(self, thread: Thread, patch: PatchThread) -> Checkpoint:
        parent_id = patch.checkpoint_id or thread.head
        parent: Checkpoint | None = None
        state: State = {}
        if parent_id is not None:
            try:
                found = await self.storage.snapshot(thread.owner, thread.thread_id, parent_id)
            except NotFound:
                raise checkpoint_not_found(parent_id, thread.thread_id) from None
            if found.checkpoint.namespace:  # a subgraph's state is none of the thread's
                raise checkpoint_not_found(parent_id, thread.thread_id)
            parent, state = found.checkpoint, found.state
        changes: Changes = {}
        for channel, value in (patch.values or {}).items():
            changes[channel] = checkpoints.set_to(bytes(value))
        if patch.messages is not None:
            old = _decode(bytes(changes["messages"].value) if "messages" in changes else state.get("messages", b"[]"))
            new = _decode(self._with_ids(patch.messages))
            changes["messages"] = checkpoints.set_to(_encode(upsert_messages(old, new)))
        return checkpoints.plan(
            checkpoint_id=self.clock.new_id(),
            thread_id=thread.thread_id,
            parent=parent,
            changes=changes,
            state=checkpoints.apply(state, changes),
            run_id=None,
            created_at=self.clock.now(),
            source="fork" if patch.checkpoint_id is not None else "update",
            asked=parent.asked if parent is not None and thread.asking and parent_id == thread.head else None,
        )

    async def delete_thread(self, owner: str, thread_id: str) -> None:
        """Removes a thread with everything on it; returns when the code of its runs has stopped, or was given up."""
        executing = await self.storage.delete_thread(owner, thread_id, self.clock.now())
        here = [run_id for run_id in executing if self._slots.executes(run_id) or not self.storage.shared]
        elsewhere = [run_id for run_id in executing if run_id not in here]
        for run_id in here:
            self._hints.publish(f"run:{run_id}")
        if elsewhere:
            await self._slots.stopped_elsewhere(elsewhere, self._cancel_grace)
        for run_id in here:
            await self._slots.stopped(run_id, self._cancel_grace)

    async def copy_thread(
        self, owner: str, thread_id: str, metadata: dict[str, Any] | None = None
    ) -> tuple[Thread, State, list[Question]]:
        """A new thread with the same state and history, and the same metadata or those that are given."""
        given = None if metadata is None else _encode(metadata)
        copy = await self.storage.copy_thread(owner, thread_id, self.clock.new_id(), self.clock.now(), given)
        return await self._with_state(copy)

    async def history(self, owner: str, thread_id: str, before: str | None, limit: int) -> list[Snapshot]:
        """Newest first; `before` is exclusive. Raises `NotFound`."""
        await self.storage.thread(owner, thread_id)
        return await self.storage.history(owner, thread_id, before=before, limit=limit)


def still_stopping(run_id: str, grace: float) -> StillStopping:
    return StillStopping(
        f"run {run_id} was asked to stop, and its code has not stopped within {grace:g} s; nothing that it does from "
        "now on is kept",
        run_id=run_id,
    )


def _undone(run: Run) -> Run:
    """What those who wait for a run learn when it was rolled back under them (its record is gone)."""
    return msgspec.structs.replace(run, status="interrupted", outcome="rolled_back")
