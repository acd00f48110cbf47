"""Steering a thread: what the commands of the streaming protocol do, in terms of the other verbs.

`start` is the one entry for input, and what it does follows from the thread:

| the thread | `start` |
|---|---|
| has an open question, and the input is not null | answers it |
| executes a run of the same agent, which has an inbox, and the input is messages and nothing else | injects them |
| anything else | begins a run, behind those that there are |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runyard.checkpoints import Snapshot, State, shown
from runyard.errors import Conflict, InvalidInput, NotFound, RunyardError, Unsupported, run_not_found
from runyard.events import lifecycle
from runyard.lifecycle import CreateRun, Lifecycle
from runyard.protocol.filters import namespace_of
from runyard.readers import PAGE
from runyard.runs import Command, Config, Dialect, Run, Strategy, lifecycle_of
from runyard.streams import Streams
from runyard.threads import Thread

Namespace = tuple[str, ...]
Status = Literal["started", "running", "completed", "failed", "interrupted"]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_LONGEST_HISTORY = 1000


class NoSuchInterrupt(RunyardError):
    """An answer to a question that is not open (any more)."""

    code = "no_such_interrupt"


class NoActiveRun(RunyardError):
    """A message for a run, on a thread that executes none."""

    code = "no_active_run"


class NoSuchNamespace(RunyardError):
    """A namespace in which the thread has no state."""

    code = "no_such_namespace"


class Given(msgspec.Struct, frozen=True):
    """The input of a command: the whole of it, and for an agent that takes messages apart from it the two of them."""

    whole: Any = UNSET
    messages: list[dict[str, Any]] | None = None
    rest: Any = UNSET

    @property
    def can_be_injected(self) -> bool:
        """Whether it is messages of people or of the program around them, and nothing else."""
        return (
            bool(self.messages)
            and self.rest is UNSET
            and all(message.get("role") in ("user", "system") for message in self.messages or ())
        )


class Wish(msgspec.Struct, frozen=True):
    """What a command may say about the run that it begins. `checkpoint_id` names the state to build on."""

    config: Config | UnsetType = UNSET
    metadata: dict[str, Any] = {}
    strategy: Strategy | None = None
    checkpoint_id: str | None = None
    context: Raw | UnsetType = UNSET
    langgraph: Dialect | UnsetType = UNSET
    thread_metadata: dict[str, Any] = {}
    """Of the thread, where it is made with the run."""

    @property
    def empty(self) -> bool:
        """Whether it says nothing: only then there may be no new run."""
        return msgspec.structs.replace(self, langgraph=UNSET, thread_metadata={}) == Wish()


class Answer(msgspec.Struct, frozen=True):
    """What a human gives: one answer for each question by its id, and what changes with it in the same step."""

    answers: dict[str, Any]
    update: dict[str, Any] | None = None
    goto: Any = None
    namespaces: dict[str, Namespace] = {}
    """Where those of the questions were asked of which the client says so."""


class Node(msgspec.Struct, omit_defaults=True):
    """A run, or what executes below it: where it stands, and what is below that."""

    namespace: Namespace
    status: Status
    name: str
    children: list[Node] = []

    def walk(self) -> Iterator[Node]:
        """It, and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


class Steering:
    """The verbs behind the commands. All raise `NotFound` for a thread that is not there, unless they say otherwise."""

    def __init__(self, verbs: Lifecycle, streams: Streams) -> None:
        self._verbs = verbs
        self._streams = streams
        self._storage = verbs.storage

    async def start(self, owner: str, thread_id: str, agent_id: str, given: Given, wish: Wish) -> Run:
        """Takes input for a thread, and makes the thread where it is not there; the run that has it.

        Raises:
            NotFound: the agent, or the checkpoint.
            InvalidInput: input that does not fit the agent, or does not say which of several questions it answers.
        """
        injects = given.can_be_injected and wish.empty
        answers = given.whole is not None and given.whole is not UNSET and wish.checkpoint_id is None
        while True:
            thread = await self._thread(owner, thread_id)
            if thread is not None and thread.status == "busy" and injects:
                run = await self._put_into(owner, thread_id, agent_id, given.messages or [])
                if run is not None:
                    return run
            if thread is None or not thread.asking or not answers:
                return await self._begin(owner, thread_id, agent_id, given, wish)
            try:
                return await self._resume(owner, thread, given.whole, wish)
            except Conflict as conflict:
                if conflict.reason != "not_interrupted":
                    raise  # else another was faster, and the thread is another by now

    async def inject(self, owner: str, thread_id: str, message: dict[str, Any]) -> None:
        """Puts a message into the run that executes on a thread, for its code to take.

        Raises:
            NoActiveRun: none does.
            Unsupported: its agent takes none.
            Conflict: inbox_full.
        """
        await self._storage.thread(owner, thread_id)
        run = await self._executing(owner, thread_id)
        if not self._verbs.agent(run.agent_id).injects:
            raise Unsupported(
                f"agent {run.agent_id!r} takes no messages while it executes (it has no inbox); send run.start instead",
                agent_id=run.agent_id,
                run_id=run.run_id,
            )
        await self._deliver(owner, run, [message])

    async def _put_into(self, owner: str, thread_id: str, agent_id: str, messages: list[dict[str, Any]]) -> Run | None:
        """The run that has the messages now; None where there is none that takes them."""
        try:
            run = await self._executing(owner, thread_id)
            if run.agent_id != agent_id or not self._verbs.agent(agent_id).injects:
                return None
            await self._deliver(owner, run, messages)
        except NoActiveRun:
            return None
        return run

    async def _executing(self, owner: str, thread_id: str) -> Run:
        """The run that executes, or will as soon as there is a place."""
        run = await self._storage.active_run(owner, thread_id)
        if run is None:
            raise NoActiveRun(f"no run executes on thread {thread_id}; send run.start instead", thread_id=thread_id)
        return run

    async def _deliver(self, owner: str, run: Run, messages: list[dict[str, Any]]) -> None:
        named = [
            message if message.get("id") else {**message, "id": self._verbs.clock.new_id()} for message in messages
        ]
        try:
            await self._verbs.inject(owner, run.run_id, [_encode(message) for message in named])
        except NotFound as gone:
            raise NoActiveRun(gone.message, thread_id=run.thread_id) from None
        except Conflict as conflict:
            if conflict.reason != "no_active_run":
                raise
            raise NoActiveRun(conflict.message, thread_id=run.thread_id) from None

    async def _begin(self, owner: str, thread_id: str, agent_id: str, given: Given, wish: Wish) -> Run:
        rest = given.whole if given.messages is None else given.rest
        return await self._create(
            owner,
            CreateRun(
                agent_id=agent_id,
                thread_id=thread_id,
                input=UNSET if rest is UNSET else Raw(_encode(rest)),
                messages=UNSET if given.messages is None else Raw(_encode(given.messages)),
            ),
            wish,
        )

    async def _resume(self, owner: str, thread: Thread, answer: Any, wish: Wish) -> Run:
        command = Command(resume=Raw(_encode(answer)))
        return await self._create(owner, CreateRun(thread_id=thread.thread_id, command=command), wish)

    async def _create(self, owner: str, run: CreateRun, wish: Wish) -> Run:
        assert run.thread_id is not None  # commands are a thread's
        asked_for = UNSET
        if self._streams.listen_for(owner, run.thread_id, "tasks") and await self._takes_tasks(owner, run):
            asked_for = ["values", "tasks"]
        checkpoint = UNSET if wish.checkpoint_id is None else {"checkpoint_id": wish.checkpoint_id}
        created = await self._verbs.create_run(
            owner,
            msgspec.structs.replace(
                run,
                config=wish.config,
                metadata=wish.metadata,
                checkpoint=checkpoint,
                multitask_strategy=wish.strategy or "enqueue",
                stream_mode=asked_for,
                on_disconnect="continue",
                if_not_exists="create",
                context=wish.context,
                langgraph=wish.langgraph,
                thread_metadata=wish.thread_metadata,
            ),
        )
        return created.run

    async def _takes_tasks(self, owner: str, run: CreateRun) -> bool:
        """Whether the run will be one of a graph: of the agent that asked, where it answers."""
        agent_id = run.agent_id
        if agent_id is None and run.thread_id is not None:
            thread = await self._thread(owner, run.thread_id)
            if thread is not None and thread.head is not None:
                asked = (await self._storage.snapshot(owner, thread.thread_id, thread.head)).checkpoint.asked
                agent_id = None if asked is None else asked.agent_id
        loaded = None if agent_id is None else self._verbs.agents.get(agent_id)
        return loaded is not None and loaded.agent.graph

    async def respond(self, owner: str, thread_id: str, answer: Answer, wish: Wish) -> Run:
        """Answers open questions, one or several, by one run.

        Raises:
            NoSuchInterrupt: one of them is not open.
            NoSuchNamespace: one was asked under another.
        """
        thread, _, questions = await self._verbs.get_thread(owner, thread_id)
        places = {question.id: question.namespace for question in questions}
        for id in answer.answers:
            if id not in places:
                raise NoSuchInterrupt(
                    f"question {id!r} is not open on thread {thread_id}; open: {', '.join(sorted(places)) or 'none'}",
                    interrupt_id=id,
                    questions=sorted(places),
                )
            place = answer.namespaces.get(id)
            if place and place != namespace_of(places[id]):
                raise NoSuchNamespace(
                    f"question {id!r} was asked under {list(namespace_of(places[id]))!r}, not under {list(place)!r}; "
                    "leave namespace empty, or send that of the event",
                    interrupt_id=id,
                    namespace=list(place),
                )
        command = Command(
            resume=Raw(_encode(answer.answers)),
            update=UNSET if answer.update is None else Raw(_encode(answer.update)),
            goto=UNSET if answer.goto is None else Raw(_encode(answer.goto)),
        )
        try:
            return await self._create(owner, CreateRun(thread_id=thread.thread_id, command=command), wish)
        except Conflict as conflict:
            if conflict.reason != "not_interrupted":
                raise
            raise NoSuchInterrupt(f"the questions of thread {thread_id} have been answered since") from None

    async def maker(self, owner: str, thread_id: str, checkpoint_id: str) -> str:
        """The agent that made a state of the thread, or else the one that ran there last.

        Raises:
            NotFound: thread or checkpoint.
            InvalidInput: nobody did.
        """
        await self._storage.thread(owner, thread_id)
        snapshot = await self._storage.snapshot(owner, thread_id, checkpoint_id)
        agent_id = await self._agent_of(owner, thread_id, snapshot)
        if agent_id is None:
            raise InvalidInput(
                f"no run has made checkpoint {checkpoint_id}, and none has begun on its thread; begin one with "
                "run.start and config.configurable.checkpoint_id",
                field="checkpointId",
            )
        return agent_id

    async def fork(self, owner: str, thread_id: str, agent_id: str, given: Given, wish: Wish) -> Run:
        """Begins a run from the earlier state of the thread that the wish names."""
        return await self._begin(owner, thread_id, agent_id, given, wish)

    async def _agent_of(self, owner: str, thread_id: str, snapshot: Snapshot) -> str | None:
        maker = snapshot.checkpoint.run_id
        if maker is not None:
            try:
                return (await self._storage.run(owner, maker)).agent_id
            except NotFound:
                pass  # retention was faster, or it was made on the thread of which this one is a copy
        newest = await self._streams.newest_begun(owner, thread_id)
        return None if newest is None else newest.agent_id

    # looking

    async def tree(self, owner: str, thread_id: str, run_id: str | None) -> tuple[Run, Node]:
        """A run, by default the one that began last, with what executes or executed below it.

        Raises:
            NotFound: no such run on this thread.
        """
        await self._storage.thread(owner, thread_id)
        run = await self._run(owner, thread_id, run_id)
        root = Node((), _status(run), run.agent_id)
        nodes: dict[Namespace, Node] = {(): root}
        after = run.first_seq
        while events := await self._storage.events(
            owner, thread_id, after=after, run_id=run.run_id, limit=PAGE, states=False
        ):
            after = events[-1].seq
            for event in events:
                if event.kind == "nested":
                    _grow(nodes, tuple(event.namespace.split("|")), _decode(event.data))
                elif event.kind == "lifecycle" and not lifecycle(event.data).terminal:
                    root.children.clear()
                    nodes = {(): root}
        return run, root

    async def _run(self, owner: str, thread_id: str, run_id: str | None) -> Run:
        if run_id is not None:
            run = await self._storage.run(owner, run_id)
            if run.thread_id != thread_id:
                raise run_not_found(run_id)
            return run
        newest = await self._streams.newest_begun(owner, thread_id)
        if newest is None:
            raise NotFound(f"no run has begun on thread {thread_id}", code="run_not_found", thread_id=thread_id)
        return newest

    async def state(self, owner: str, thread_id: str, namespace: Namespace) -> tuple[str | None, str, State]:
        """The state of a namespace: its checkpoint and its full name (none where there is no state yet), its channels.

        Raises:
            NoSuchNamespace: the thread has no state there.
        """
        thread, state, _ = await self._verbs.get_thread(owner, thread_id)
        if not namespace:
            return thread.head, "", shown(state)
        path = await self._path_of(owner, thread_id, namespace)
        newest = await self._storage.newest(owner, thread_id, path)
        if newest is None:
            raise _no_such_namespace(namespace, thread_id)
        return newest.checkpoint.checkpoint_id, path, shown(newest.state)

    async def checkpoints(
        self, owner: str, thread_id: str, namespace: Namespace, limit: int, before: str | None
    ) -> list[Snapshot]:
        """The states of a namespace, newest first; `before` is exclusive.

        Raises:
            NoSuchNamespace: the thread has no state there.
            NotFound: thread, or `before`.
        """
        await self._storage.thread(owner, thread_id)
        path = await self._path_of(owner, thread_id, namespace) if namespace else ""
        limit = min(limit, _LONGEST_HISTORY)
        return await self._storage.history(owner, thread_id, before=before, limit=limit, namespace=path)

    async def _path_of(self, owner: str, thread_id: str, namespace: Namespace) -> str:
        """The newest namespace that fits: a segment without a `:` stands for that node's tasks."""
        found = [
            path for path in await self._storage.inner_namespaces(owner, thread_id)
            if _fits(tuple(path.split("|")), namespace)
        ]  # fmt: skip
        if not found:
            raise _no_such_namespace(namespace, thread_id)
        if len(found) == 1:
            return found[0]
        newest = [(await self._storage.newest(owner, thread_id, path), path) for path in found]
        return max((one.checkpoint.created_at, path) for one, path in newest if one is not None)[1]

    async def _thread(self, owner: str, thread_id: str) -> Thread | None:
        try:
            return await self._storage.thread(owner, thread_id)
        except NotFound:
            return None


def _status(run: Run) -> Status:
    if run.outcome is not None:
        return lifecycle_of(run.outcome)
    return "running" if run.status == "running" else "started"


def _grow(nodes: dict[Namespace, Node], namespace: Namespace, told: dict[str, Any]) -> None:
    node = nodes.get(namespace)
    if node is None:
        name = told.get("graphName") or namespace[-1].partition(":")[0]
        node = nodes[namespace] = Node(namespace, told["event"], name)
        above = (namespace[:size] for size in range(len(namespace) - 1, -1, -1))
        next(nodes[one] for one in above if one in nodes).children.append(node)
    node.status = told["event"]


def _fits(namespace: Sequence[str], asked: Sequence[str]) -> bool:
    return len(namespace) == len(asked) and all(
        segment == wanted or (":" not in wanted and segment.partition(":")[0] == wanted)
        for segment, wanted in zip(namespace, asked, strict=True)
    )


def _no_such_namespace(namespace: Namespace, thread_id: str) -> NoSuchNamespace:
    return NoSuchNamespace(f"thread {thread_id} has no state under {list(namespace)!r}", namespace=list(namespace))
