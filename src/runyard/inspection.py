"""Looking at threads and agents as a graph sees them, and changing a state as one of its nodes would.

Graphs are asked themselves, outside of any run (see `chores`). A function agent has no nodes to tell of: what is known
of its threads is told without its code. So are the states of a graph whose code only other servers have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from msgspec import Raw

from runyard.checkpoints import (
    Asked,
    Checkpoint,
    Snapshot,
    Source,
    apply,
    check_channels,
    plan,
    render,
    set_to,
    shown,
)
from runyard.chores import Chores, Done
from runyard.clock import Clock
from runyard.errors import (
    AgentElsewhere,
    Conflict,
    InvalidInput,
    NotFound,
    agent_not_found,
    checkpoint_not_found,
)
from runyard.events import entry, point_to
from runyard.runtime.chores import (
    Change,
    CheckpointName,
    Draw,
    Drawing,
    InterruptView,
    ListSubgraphs,
    ReadHistory,
    ReadState,
    StateView,
    SubgraphView,
    TaskView,
    Updated,
    UpdateState,
)
from runyard.runtime.contract import LoadedAgent
from runyard.runtime.state import MESSAGES
from runyard.storage.contract import Storage
from runyard.streams import Streams
from runyard.threads import Thread, upsert_messages

TRIES = 5
"""How often an update is done again because the thread changed meanwhile."""
PAGE = 20
"""States per read of a history."""
GRAPH_ID = "graph_id"
"""The key of a thread's metadata under which clients of LangGraph's API find the agent that the thread is for."""
_SOURCES: dict[Source, str] = {"step": "loop", "interrupt": "loop"}
"""Our words for where a state comes from that are not LangGraph's."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_VIEW = msgspec.json.Decoder(StateView).decode
_VIEWS = msgspec.json.Decoder(list[StateView]).decode
_UPDATED = msgspec.json.Decoder(Updated).decode
_DRAWING = msgspec.json.Decoder(Drawing).decode
_SUBGRAPHS = msgspec.json.Decoder(dict[str, SubgraphView]).decode


class Inspection:
    """The verbs. `agent_id` says whose eyes see a thread; None: those of the agent that made the state, or else ran on
    the thread last, or that its metadata name. All raise what `Chores.do` does, and `NotFound` for agent, thread and
    checkpoint. `agents` are all that there are, `loaded` those whose code executes here."""

    def __init__(
        self,
        *,
        storage: Storage,
        streams: Streams,
        chores: Chores,
        clock: Clock,
        agents: Mapping[str, LoadedAgent],
        loaded: Mapping[str, LoadedAgent],
    ) -> None:
        self._storage = storage
        self._streams = streams
        self._chores = chores
        self._clock = clock
        self._agents = agents
        self._loaded = loaded

    # states

    async def state(
        self,
        owner: str,
        thread_id: str,
        *,
        agent_id: str | None = None,
        checkpoint_id: str | None = None,
        namespace: str = "",
        subgraphs: bool = False,
    ) -> StateView:
        """A state: the newest of a namespace, or the one that is named. What a graph does next there is not told where
        its code is not here, beyond the questions that it waits for."""
        thread, snapshot = await self._at(owner, thread_id, checkpoint_id, namespace)
        seen_by = await self._seen_by(thread, agent_id, snapshot)
        if seen_by is None or not self._asks_code(seen_by):
            if snapshot is None:
                return StateView(values=Raw(b"{}"))
            return self._plain(thread, snapshot, await self._built_on(thread, snapshot.checkpoint, seen_by, {}))
        chore = ReadState(checkpoint_id, namespace, subgraphs)
        return _VIEW((await self._chores.do(owner, seen_by, chore, thread_id=thread_id)).result)

    async def agent_of(self, owner: str, thread_id: str) -> str | None:
        """The agent by whose eyes a thread is seen where none is named; None where there is none."""
        thread, snapshot = await self._at(owner, thread_id, None, "")
        return await self._seen_by(thread, None, snapshot)

    async def history(
        self,
        owner: str,
        thread_id: str,
        *,
        agent_id: str | None = None,
        limit: int = 10,
        before: str | None = None,
        namespace: str = "",
        metadata: dict[str, Any] | None = None,
    ) -> list[StateView]:
        """The states of a namespace, newest first, whose metadata contain these; `before` is exclusive."""
        thread, snapshot = await self._at(owner, thread_id, None, namespace)
        seen_by = await self._seen_by(thread, agent_id, snapshot)
        if seen_by is None or not self._asks_code(seen_by):
            return await self._plain_history(thread, seen_by, limit, before, namespace, metadata or {})
        chore = ReadHistory(limit, before, namespace, metadata or {})
        return _VIEWS((await self._chores.do(owner, seen_by, chore, thread_id=thread_id)).result)

    async def update(
        self,
        owner: str,
        thread_id: str,
        steps: Sequence[Sequence[Change]],
        *,
        agent_id: str | None = None,
        checkpoint_id: str | None = None,
        namespace: str = "",
    ) -> CheckpointName:
        """Changes a state, as if nodes had: the changes of one step together, each step on top of the one before; all
        of them or none. The checkpoint that is the thread's state then (or that of the namespace).

        An open question stays open where the nodes that asked are to execute still.

        Raises:
            Conflict: thread_busy; thread_changed, where others changed the thread again and again.
            InvalidInput: no agent has run on the thread and none is named; the agent refuses the changes.
            AgentElsewhere: it is a graph whose code is not here.
        """
        for _ in range(TRIES):
            thread, snapshot = await self._at(owner, thread_id, checkpoint_id, namespace)
            seen_by = await self._seen_by(thread, agent_id, snapshot)
            if seen_by is None:
                raise InvalidInput(
                    f"no agent has run on thread {thread_id}, and none is named: whose state is changed is not known",
                    field="assistant_id",
                )
            if self._has_code(seen_by):
                name, done = await self._changed_by_graph(thread, snapshot, seen_by, steps, checkpoint_id, namespace)
            else:
                name, done = self._changed(thread, snapshot, steps, checkpoint_id)
            stored = await self._storage.revise_thread(
                owner, thread_id, done.checkpoints, done.writes, done.entries, thread.head, self._clock.now()
            )
            if stored is not None:
                return name
        raise Conflict(
            f"thread {thread_id} was changed by others while its state was; try again",
            code="thread_changed",
            thread_id=thread_id,
        )

    # agents

    async def drawing(self, owner: str, agent_id: str, *, xray: bool | int = False) -> Drawing:
        """The nodes and edges of an agent; `xray` opens subgraphs, all or so many levels.

        Raises:
            AgentElsewhere: it is a graph whose code is not here.
        """
        if self._has_code(agent_id):
            return _DRAWING((await self._chores.do(owner, agent_id, Draw(xray))).result)
        ends = ("__start__", "__end__")
        nodes: list[dict[str, Any]] = [{"id": end, "type": "schema", "data": end} for end in ends]
        nodes.insert(1, {"id": agent_id, "type": "runnable", "data": {"id": [agent_id], "name": agent_id}})
        edges = [{"source": ends[0], "target": agent_id}, {"source": agent_id, "target": ends[1]}]
        return Drawing(nodes, edges)

    async def subgraphs(
        self, owner: str, agent_id: str, *, namespace: str | None = None, recurse: bool = False
    ) -> dict[str, SubgraphView]:
        """The subgraphs of an agent by namespace, or one of them. Raises as `drawing`."""
        if not self._has_code(agent_id):
            return {}
        return _SUBGRAPHS((await self._chores.do(owner, agent_id, ListSubgraphs(namespace, recurse))).result)

    # inside

    def _agent(self, agent_id: str) -> LoadedAgent:
        loaded = self._agents.get(agent_id)
        if loaded is None:
            raise agent_not_found(agent_id, sorted(self._agents))
        return loaded

    def _asks_code(self, agent_id: str) -> bool:
        """Whether an agent's code can be asked what only code knows: it is a graph, and here."""
        return self._agents[agent_id].agent.graph and agent_id in self._loaded

    def _has_code(self, agent_id: str) -> bool:
        """Whether an agent's code has to be asked. Raises `AgentElsewhere` where it cannot be."""
        if not self._agent(agent_id).agent.graph:
            return False
        if agent_id not in self._loaded:
            raise AgentElsewhere(
                f"this takes the code of agent {agent_id!r}, and this server executes no runs of it: ask one that does",
                agent_id=agent_id,
            )
        return True

    async def _at(
        self, owner: str, thread_id: str, checkpoint_id: str | None, namespace: str
    ) -> tuple[Thread, Snapshot | None]:
        thread = await self._storage.thread(owner, thread_id)
        if checkpoint_id is not None:
            named = await self._storage.snapshot(owner, thread_id, checkpoint_id)
            if named.checkpoint.namespace != namespace:
                raise checkpoint_not_found(checkpoint_id, thread_id)
            return thread, named
        if namespace:
            return thread, await self._storage.newest(owner, thread_id, namespace)
        return thread, None if thread.head is None else await self._storage.snapshot(owner, thread_id, thread.head)

    async def _seen_by(self, thread: Thread, agent_id: str | None, snapshot: Snapshot | None) -> str | None:
        if agent_id is not None:
            return self._agent(agent_id).agent.agent_id
        found: str | None = None
        maker = None if snapshot is None else snapshot.checkpoint.run_id
        if maker is not None:
            try:
                found = (await self._storage.run(thread.owner, maker)).agent_id
            except NotFound:
                pass  # retention was faster, or it was made on the thread of which this one is a copy
        if found is None:
            newest = await self._streams.newest_begun(thread.owner, thread.thread_id)
            found = None if newest is None else newest.agent_id
        if found is None and snapshot is not None and snapshot.checkpoint.asked is not None:
            found = snapshot.checkpoint.asked.agent_id
        if found is None:
            found = _decode(thread.metadata).get(GRAPH_ID)
        return found if found in self._agents else None

    # graphs

    async def _changed_by_graph(
        self,
        thread: Thread,
        snapshot: Snapshot | None,
        agent_id: str,
        steps: Sequence[Sequence[Change]],
        checkpoint_id: str | None,
        namespace: str,
    ) -> tuple[CheckpointName, Done]:
        asked = _open_question(thread, snapshot)
        chore = UpdateState(steps, checkpoint_id, namespace, asking=asked is not None)
        done = await self._chores.do(thread.owner, agent_id, chore, thread_id=thread.thread_id)
        updated = _UPDATED(done.result)
        if asked is not None and updated.asks and done.checkpoints:
            last = msgspec.structs.replace(done.checkpoints[-1], asked=asked)
            done = msgspec.structs.replace(done, checkpoints=[*done.checkpoints[:-1], last])
        return updated.checkpoint, done

    # without code

    def _plain(self, thread: Thread, snapshot: Snapshot, built_on: str | None) -> StateView:
        checkpoint = snapshot.checkpoint
        asked = _open_question(thread, snapshot)
        questions = [] if asked is None else [InterruptView(one.id, one.value) for one in asked.questions]
        source = _SOURCES.get(checkpoint.source, checkpoint.source)
        about = {"source": source, "step": checkpoint.step, "run_id": checkpoint.run_id}
        return StateView(
            values=Raw(render(shown(snapshot.state))),
            next=[] if asked is None else [asked.agent_id],
            tasks=[] if asked is None else [TaskView(asked.invocation, asked.agent_id, interrupts=questions)],
            metadata=Raw(_encode(about)),
            created_at=datetime.fromtimestamp(checkpoint.created_at / 1e6, UTC).isoformat(timespec="microseconds"),
            checkpoint=_name(thread, checkpoint.checkpoint_id),
            parent_checkpoint=None if built_on is None else _name(thread, built_on),
            interrupts=questions,
        )

    async def _plain_history(
        self,
        thread: Thread,
        agent_id: str | None,
        limit: int,
        before: str | None,
        namespace: str,
        metadata: dict[str, Any],
    ) -> list[StateView]:
        found: list[StateView] = []
        stood_for: set[str | None] = set()
        while len(found) < limit:
            page = await self._storage.history(
                thread.owner, thread.thread_id, before=before, limit=PAGE, namespace=namespace
            )
            near = {one.checkpoint.checkpoint_id: one.checkpoint for one in page}
            for one in page:
                if self._stands_in(one.checkpoint, agent_id):
                    stood_for.add(one.checkpoint.parent_id)
                if one.checkpoint.checkpoint_id in stood_for:
                    continue
                view = self._plain(thread, one, await self._built_on(thread, one.checkpoint, agent_id, near))
                if metadata.items() <= _decode(view.metadata).items():
                    found.append(view)
            if len(page) < PAGE:
                break
            before = page[-1].checkpoint.checkpoint_id
        return found[:limit]

    def _stands_in(self, checkpoint: Checkpoint, agent_id: str | None) -> bool:
        """Whether a checkpoint is the question that stands for the graph's own below it."""
        return checkpoint.source == "interrupt" and agent_id is not None and self._agents[agent_id].agent.graph

    async def _built_on(
        self, thread: Thread, checkpoint: Checkpoint, agent_id: str | None, near: Mapping[str, Checkpoint]
    ) -> str | None:
        """The checkpoint before, as a history tells it."""
        while checkpoint.parent_id is not None and self._stands_in(checkpoint, agent_id):
            below = near.get(checkpoint.parent_id)
            if below is None:
                below = (await self._storage.snapshot(thread.owner, thread.thread_id, checkpoint.parent_id)).checkpoint
            checkpoint = below
        return checkpoint.parent_id

    def _changed(
        self,
        thread: Thread,
        snapshot: Snapshot | None,
        steps: Sequence[Sequence[Change]],
        checkpoint_id: str | None,
    ) -> tuple[CheckpointName, Done]:
        """As PATCH does: values take the place of those there are, messages join theirs."""
        parent, state = (None, {}) if snapshot is None else (snapshot.checkpoint, snapshot.state)
        made: list[Checkpoint] = []
        for step in steps:
            values: dict[str, Any] = {}
            for one in step:
                values.update(_object(one.values))
            changes = {name: set_to(_encode(value)) for name, value in values.items()}
            if isinstance(values.get(MESSAGES), list):
                old = _decode(state.get(MESSAGES, b"[]"))
                named = [one if one.get("id") else {**one, "id": self._clock.new_id()} for one in values[MESSAGES]]
                changes[MESSAGES] = set_to(_encode(upsert_messages(old, named)))
            state = apply(state, changes)
            parent = plan(
                checkpoint_id=self._clock.new_id(),
                thread_id=thread.thread_id,
                parent=parent,
                changes=changes,
                state=state,
                run_id=None,
                created_at=self._clock.now(),
                source="update" if checkpoint_id is None else "fork",
                asked=_open_question(thread, snapshot),
            )
            made.append(parent)
        if parent is None:
            raise InvalidInput("there is nothing to change: no step", field="supersteps")
        entries = [entry("values", point_to(checkpoint)) for checkpoint in made]
        return _name(thread, parent.checkpoint_id), Done(b"", made, entries=entries)


def _open_question(thread: Thread, snapshot: Snapshot | None) -> Asked | None:
    """What a state of the thread asks: only its head can."""
    if snapshot is None or not thread.asking or snapshot.checkpoint.checkpoint_id != thread.head:
        return None
    return snapshot.checkpoint.asked


def _name(thread: Thread, checkpoint_id: str) -> CheckpointName:
    return CheckpointName(thread.thread_id, checkpoint_id=checkpoint_id)


def _object(text: bytes | None) -> dict[str, Any]:
    found: Any = {} if text is None else _decode(text)
    if not isinstance(found, dict):
        raise InvalidInput("values must be an object: a function agent's state has channels by name", field="values")
    values = cast("dict[str, Any]", found)
    check_channels("values", values)
    return values
