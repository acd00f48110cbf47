"""Looking at threads and agents as a graph sees them, and changing a state as one of its nodes would.

Graphs are asked themselves, outside of any run (see `chores`). A function agent has no nodes to tell of: what is known
of its threads is told without its code. So are the states of a graph whose code only other servers have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw

from runyard.checkpoints import Checkpoint, Snapshot, apply, check_channels, plan, set_to
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
from runyard.plain_states import PlainStates, name_of, open_question
from runyard.runs import Run
from runyard.runtime.chores import (
    Change,
    CheckpointName,
    Chore,
    Draw,
    Drawing,
    ListSubgraphs,
    ReadHistory,
    ReadState,
    StateView,
    SubgraphView,
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
GRAPH_ID = "graph_id"
"""The key of a thread's metadata under which clients of LangGraph's API find the agent that the thread is for."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_VIEW = msgspec.json.Decoder(StateView).decode
_VIEWS = msgspec.json.Decoder(list[StateView]).decode
_UPDATED = msgspec.json.Decoder(Updated).decode
_DRAWING = msgspec.json.Decoder(Drawing).decode
_SUBGRAPHS = msgspec.json.Decoder(dict[str, SubgraphView]).decode


class _Eyes(msgspec.Struct, frozen=True):
    """By what a thread is seen: an agent, with the configuration of the run that tells which."""

    agent_id: str
    configurable: dict[str, Any] = {}


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
        eyes = await self._seen_by(thread, agent_id, snapshot)
        if eyes is None or not self._asks_code(eyes.agent_id):
            if snapshot is None:
                return StateView(values=Raw(b"{}"))
            return await self._plain(thread, eyes).state(snapshot)
        return _VIEW(await self._ask(thread, eyes, ReadState(checkpoint_id, namespace, subgraphs)))

    async def agent_of(self, owner: str, thread_id: str) -> str | None:
        """The agent by whose eyes a thread is seen where none is named; None where there is none."""
        thread, snapshot = await self._at(owner, thread_id, None, "")
        eyes = await self._seen_by(thread, None, snapshot)
        return None if eyes is None else eyes.agent_id

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
        eyes = await self._seen_by(thread, agent_id, snapshot)
        if eyes is None or not self._asks_code(eyes.agent_id):
            return await self._plain(thread, eyes).history(limit, before, namespace, metadata or {})
        return _VIEWS(await self._ask(thread, eyes, ReadHistory(limit, before, namespace, metadata or {})))

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
            eyes = await self._seen_by(thread, agent_id, snapshot)
            if eyes is None:
                raise InvalidInput(
                    f"no agent has run on thread {thread_id}, and none is named: whose state is changed is not known",
                    field="assistant_id",
                )
            if self._has_code(eyes.agent_id):
                name, done = await self._changed_by_graph(thread, snapshot, eyes, steps, checkpoint_id, namespace)
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

    async def drawing(
        self, owner: str, agent_id: str, *, xray: bool | int = False, configurable: dict[str, Any] | None = None
    ) -> Drawing:
        """The nodes and edges of an agent; `xray` opens subgraphs, all or so many levels. `configurable` is for a
        factory.

        Raises:
            AgentElsewhere: it is a graph whose code is not here.
        """
        if self._has_code(agent_id):
            return _DRAWING((await self._chores.do(owner, agent_id, Draw(xray), configurable=configurable)).result)
        ends = ("__start__", "__end__")
        nodes: list[dict[str, Any]] = [{"id": end, "type": "schema", "data": end} for end in ends]
        nodes.insert(1, {"id": agent_id, "type": "runnable", "data": {"id": [agent_id], "name": agent_id}})
        edges = [{"source": ends[0], "target": agent_id}, {"source": agent_id, "target": ends[1]}]
        return Drawing(nodes, edges)

    async def subgraphs(
        self,
        owner: str,
        agent_id: str,
        *,
        namespace: str | None = None,
        recurse: bool = False,
        configurable: dict[str, Any] | None = None,
    ) -> dict[str, SubgraphView]:
        """The subgraphs of an agent by namespace, or one of them. Raises as `drawing`."""
        if not self._has_code(agent_id):
            return {}
        chore = ListSubgraphs(namespace, recurse)
        return _SUBGRAPHS((await self._chores.do(owner, agent_id, chore, configurable=configurable)).result)

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

    async def _seen_by(self, thread: Thread, agent_id: str | None, snapshot: Snapshot | None) -> _Eyes | None:
        if agent_id is not None:
            self._agent(agent_id)
        run = await self._maker(thread, snapshot)
        if run is not None and agent_id in (None, run.agent_id):
            config = run.asked_for().config
            configurable = {} if config is UNSET or config.configurable is UNSET else config.configurable
            return _Eyes(run.agent_id, configurable) if run.agent_id in self._agents else None
        if agent_id is None and snapshot is not None and snapshot.checkpoint.asked is not None:
            agent_id = snapshot.checkpoint.asked.agent_id
        if agent_id is None:
            agent_id = _decode(thread.metadata).get(GRAPH_ID)
        return None if agent_id is None or agent_id not in self._agents else _Eyes(agent_id)

    async def _maker(self, thread: Thread, snapshot: Snapshot | None) -> Run | None:
        """The run that made a state, or else the newest of the thread."""
        maker = None if snapshot is None else snapshot.checkpoint.run_id
        if maker is not None:
            try:
                return await self._storage.run(thread.owner, maker)
            except NotFound:
                pass  # retention was faster, or it was made on the thread of which this one is a copy
        return await self._streams.newest_begun(thread.owner, thread.thread_id)

    # graphs

    async def _do(self, thread: Thread, eyes: _Eyes, chore: Chore) -> Done:
        return await self._chores.do(
            thread.owner, eyes.agent_id, chore, thread_id=thread.thread_id, configurable=eyes.configurable
        )

    async def _ask(self, thread: Thread, eyes: _Eyes, chore: Chore) -> bytes:
        return (await self._do(thread, eyes, chore)).result

    async def _changed_by_graph(
        self,
        thread: Thread,
        snapshot: Snapshot | None,
        eyes: _Eyes,
        steps: Sequence[Sequence[Change]],
        checkpoint_id: str | None,
        namespace: str,
    ) -> tuple[CheckpointName, Done]:
        asked = open_question(thread, snapshot)
        chore = UpdateState(steps, checkpoint_id, namespace, asking=asked is not None)
        done = await self._do(thread, eyes, chore)
        updated = _UPDATED(done.result)
        if asked is not None and updated.asks and done.checkpoints:
            last = msgspec.structs.replace(done.checkpoints[-1], asked=asked)
            done = msgspec.structs.replace(done, checkpoints=[*done.checkpoints[:-1], last])
        return updated.checkpoint, done

    # without code

    def _plain(self, thread: Thread, eyes: _Eyes | None) -> PlainStates:
        graph = eyes is not None and self._agents[eyes.agent_id].agent.graph
        return PlainStates(self._storage, thread, graph=graph)

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
                asked=open_question(thread, snapshot),
            )
            made.append(parent)
        if parent is None:
            raise InvalidInput("there is nothing to change: no step", field="supersteps")
        entries = [entry("values", point_to(checkpoint)) for checkpoint in made]
        return name_of(thread, parent.checkpoint_id), Done(b"", made, entries=entries)


def _object(text: bytes | None) -> dict[str, Any]:
    found: Any = {} if text is None else _decode(text)
    if not isinstance(found, dict):
        raise InvalidInput("values must be an object: a function agent's state has channels by name", field="values")
    values = cast("dict[str, Any]", found)
    check_channels("values", values)
    return values
