"""The commands of the streaming protocol: what they take, what they answer, and which error is which code.

Source: the protocol's CDDL, sections 3 to 11. A command that fails is an answer, too: HTTP says 200.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from runyard import errors
from runyard.api.auth import Principal
from runyard.api.context import ApiContext
from runyard.api.streaming.requests import Command
from runyard.api.validation import Shape, canonical_uuid
from runyard.api.wire import JsonObject, RunConfig, Wire
from runyard.api.wire import Message as WireMessage
from runyard.checkpoints import Snapshot, render
from runyard.clock import rfc3339
from runyard.errors import Forbidden, InvalidInput, NotFound, RunyardError, Unsupported
from runyard.protocol.names import RESULTS, Case
from runyard.runs import Config, Run
from runyard.steering import (
    Answer,
    Given,
    Namespace,
    NoActiveRun,
    Node,
    NoSuchInterrupt,
    NoSuchNamespace,
    Steering,
    Wish,
)

_encode = msgspec.json.Encoder().encode
_LARGEST = 2**53 - 1
_ROLES = {"human": "user", "ai": "assistant"}
Strategy = Literal["reject", "enqueue", "interrupt", "rollback"]
Result = dict[str, Any]


class StreamingCommand(Wire, kw_only=True):
    """A command: which one, its parameters, and a number by which its response is told from others."""

    id: Annotated[int, Meta(ge=0, le=_LARGEST)]
    method: str
    params: JsonObject = msgspec.field(default_factory=dict[str, Any])


class StreamingCommandResponse(Wire, kw_only=True):
    """What became of a command: its result, or the code and the words of what is wrong with it."""

    type: Literal["success", "error"]
    id: int | None
    result: JsonObject | UnsetType = UNSET
    meta: JsonObject | UnsetType = UNSET
    error: str | UnsetType = UNSET
    message: str | UnsetType = UNSET


ENVELOPE = Shape(StreamingCommand)


class Params(Wire, kw_only=True, rename="camel"):
    """The parameters of a command."""


class RunStart(Params, kw_only=True):
    """Input for a thread."""

    assistant_id: str
    input: Any = UNSET
    config: JsonObject | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET
    multitask_strategy: Strategy | UnsetType = UNSET


class Entry(Params, kw_only=True):
    """An answer to a question."""

    interrupt_id: str
    namespace: list[str] = msgspec.field(default_factory=list[str])
    response: Any = None


class Respond(Params, kw_only=True):
    """An answer to one question (`interruptId`, `response`), or to several (`responses`)."""

    namespace: list[str] = msgspec.field(default_factory=list[str])
    interrupt_id: str | UnsetType = UNSET
    response: Any = UNSET
    responses: Annotated[list[Entry], Meta(min_length=1)] | UnsetType = UNSET
    update: JsonObject | UnsetType = UNSET
    goto: str | JsonObject | list[str | JsonObject] | UnsetType = UNSET
    config: JsonObject | UnsetType = UNSET
    metadata: JsonObject | UnsetType = UNSET


class InputMessage(Wire, kw_only=True):
    """What is put in."""

    role: Literal["user", "system"]
    content: str
    name: str | UnsetType = UNSET
    id: Annotated[str, Meta(min_length=1)] | UnsetType = UNSET


class Inject(Params, kw_only=True):
    """A message for what executes."""

    message: InputMessage
    namespace: list[str] = msgspec.field(default_factory=list[str])


class GetTree(Params, kw_only=True):
    """Whose tree; that of the run that began last where it is absent."""

    run_id: str | UnsetType = UNSET


class StateGet(Params, kw_only=True):
    """Which state, and which of its keys."""

    namespace: list[str] = msgspec.field(default_factory=list[str])
    keys: list[str] | UnsetType = UNSET


class ListCheckpoints(Params, kw_only=True):
    """Which states, newest first."""

    namespace: list[str] = msgspec.field(default_factory=list[str])
    limit: Annotated[int, Meta(ge=0, le=_LARGEST)] = 10
    before: str | UnsetType = UNSET


class Fork(Params, kw_only=True):
    """Where to begin anew."""

    checkpoint_id: str
    input: Any = UNSET
    config: JsonObject | UnsetType = UNSET


class _Creation(Wire, kw_only=True):
    """What of a command has to be as in the creation of a run."""

    messages: list[WireMessage] | UnsetType = UNSET
    config: RunConfig | UnsetType = UNSET


_START, _RESPOND, _INJECT, _TREE = Shape(RunStart), Shape(Respond), Shape(Inject), Shape(GetTree)
_STATE, _LIST, _FORK, _CREATE = Shape(StateGet), Shape(ListCheckpoints), Shape(Fork), Shape(_Creation)
_CONFIGURED = frozenset({"thread_id", "checkpoint_id"})
"""Keys of `config.configurable` that clients of LangGraph send, and that have a field of their own here."""
_READS = frozenset({"agent.getTree", "state.get", "state.listCheckpoints"})
_BEGINS = frozenset({"run.start", "input.respond", "state.fork"})

ERRORS: tuple[tuple[type[RunyardError], str], ...] = (
    (Unsupported, "not_supported"),
    (InvalidInput, "invalid_argument"),
    (Forbidden, "permission_denied"),
    (NoActiveRun, "no_such_run"),
    (NoSuchInterrupt, "no_such_interrupt"),
    (NoSuchNamespace, "no_such_namespace"),
    (errors.Conflict, "invalid_argument"),
)
_MISSING = {
    "agent_not_found": "invalid_argument",
    "run_not_found": "no_such_run",
    "thread_not_found": "no_such_run",
    "checkpoint_not_found": "no_such_checkpoint",
    "subscription_not_found": "no_such_subscription",
    "unknown_command": "unknown_command",
}


class Commands:
    """The commands that both transports take, on one thread, for one caller."""

    def __init__(self, api: ApiContext, principal: Principal, thread_id: str) -> None:
        self.api = api
        self.owner = principal.owner
        self._principal = principal
        self._thread_id = thread_id
        self.steering = Steering(api.verbs, api.streams)
        self._known: Mapping[str, Callable[[Command], Awaitable[Result]]] = {
            "run.start": self._start,
            "input.respond": self._respond,
            "input.inject": self._inject,
            "agent.getTree": self._tree,
            "state.get": self._get,
            "state.listCheckpoints": self._list,
            "state.fork": self._fork,
        }

    async def do(self, command: Command) -> Result:
        """What a command gives, in camelCase.

        Raises:
            RunyardError: it failed (see `refusal`).
        """
        verb = self._known.get(command.method)
        if verb is None:
            raise NotFound(
                f"method is {command.method[:60]!r}; allowed: {', '.join(self._known)}",
                code="unknown_command",
                field="method",
            )
        if command.method not in _READS and self._principal.scope != "write":
            raise Forbidden(f"this key has the scope read; {command.method} needs write", scope="read")
        return await verb(command)

    async def respond(self, command: Command, case: Case) -> bytes:
        """Does a command; the response to it, with a number behind which a client misses nothing when it reads on from
        there: that of the last event that is in its result, or that was there before it began a run.

        Raises:
            RunyardError: it failed (see `refusal`).
        """
        # A run may be over before its client is told of it.
        begins = command.method in _BEGINS
        before = await self.api.storage.last_seq(self.owner, self._thread_id) if begins else 0
        result = await self.do(command)
        through = before if begins else await self.api.storage.last_seq(self.owner, self._thread_id)
        return success(command, result, case, through, ignored(command))

    # runs

    async def _start(self, command: Command) -> Result:
        params = _START.parse(command.params)
        wish = self._wish(params.config, params.metadata)
        if params.multitask_strategy is not UNSET:
            wish = msgspec.structs.replace(wish, strategy=params.multitask_strategy)
        agent_id, wish = await self.chosen(params.assistant_id, wish)
        given = self._given(agent_id, params.input)
        run = await self.steering.start(self.owner, self._thread_id, agent_id, given, wish)
        await self.begun(run)
        return {"runId": run.run_id}

    async def chosen(self, assistant_id: str, wish: Wish) -> tuple[str, Wish]:
        """The agent that a client means, and what it wants of that. Raises `NotFound`."""
        return assistant_id, wish

    async def begun(self, run: Run) -> None:
        """A run has the input of a `run.start`."""

    async def _respond(self, command: Command) -> Result:
        params = _RESPOND.parse(command.params)
        answers: dict[str, Any] = {}
        namespaces: dict[str, Namespace] = {}
        if params.responses is not UNSET:
            if params.interrupt_id is not UNSET:
                raise InvalidInput("interruptId and responses cannot be sent together", field="interruptId")
            answers = {entry.interrupt_id: entry.response for entry in params.responses}
            namespaces = {entry.interrupt_id: tuple(entry.namespace) for entry in params.responses}
        elif params.interrupt_id is UNSET:
            raise InvalidInput("interruptId is missing (or responses, for several)", field="interruptId")
        elif params.response is UNSET:
            raise InvalidInput("response is missing", field="response")
        else:
            answers[params.interrupt_id] = params.response
            namespaces[params.interrupt_id] = tuple(params.namespace)
        answer = Answer(answers, _or_none(params.update), _or_none(params.goto), namespaces)
        await self.steering.respond(self.owner, self._thread_id, answer, self._wish(params.config, params.metadata))
        return {}

    async def _inject(self, command: Command) -> Result:
        params = _INJECT.parse(command.params)
        if params.namespace:
            raise Unsupported("input.inject: it is the agent that takes messages, no sub-agent; leave namespace empty")
        # As it was sent, for more may be in it.
        message = cast("JsonObject", command.params["message"])
        _CREATE.parse({"messages": [message]})
        await self.steering.inject(self.owner, self._thread_id, dict(message))
        return {}

    # looking

    async def _tree(self, command: Command) -> Result:
        params = _TREE.parse(command.params)
        run_id = None if params.run_id is UNSET else canonical_uuid("runId", params.run_id)
        run, root = await self.steering.tree(self.owner, self._thread_id, run_id)
        return {"tree": {**_node(root), "metadata": {"run_id": run.run_id, "attempt": run.attempt}}}

    async def _get(self, command: Command) -> Result:
        params = _STATE.parse(command.params)
        head, path, state = await self.steering.state(self.owner, self._thread_id, tuple(params.namespace))
        if params.keys is not UNSET:
            state = {key: state[key] for key in params.keys if key in state}
        result: Result = {"values": msgspec.Raw(render(state))}
        if head is not None:
            result["checkpoint"] = {"id": head, "ns": path} if path else {"id": head}
        return result

    async def _list(self, command: Command) -> Result:
        params = _LIST.parse(command.params)
        before = None if params.before is UNSET else canonical_uuid("before", params.before)
        namespace = tuple(params.namespace)
        found = await self.steering.checkpoints(self.owner, self._thread_id, namespace, params.limit, before)
        return {"checkpoints": [_summary(snapshot) for snapshot in found]}

    async def _fork(self, command: Command) -> Result:
        params = _FORK.parse(command.params)
        checkpoint_id = canonical_uuid("checkpointId", params.checkpoint_id)
        agent_id = await self.steering.maker(self.owner, self._thread_id, checkpoint_id)
        wish = msgspec.structs.replace(self._wish(params.config, UNSET), checkpoint_id=checkpoint_id)
        given = self._given(agent_id, params.input)
        run = await self.steering.fork(self.owner, self._thread_id, agent_id, given, wish)
        return {"runId": run.run_id, "threadId": self._thread_id}

    # parameters

    def _given(self, agent_id: str, input: Any) -> Given:
        """The input, and the messages in it for an agent that takes those apart from it."""
        agent = self.api.verbs.agent(agent_id)
        if agent.graph or not agent.messages or type(input) is not dict:
            return Given(input)
        whole = cast("dict[str, Any]", input)
        if type(whole.get("messages")) is not list:
            return Given(whole)
        messages = [_message(message) for message in cast("list[Any]", whole["messages"])]
        try:
            _CREATE.parse({"messages": messages})
        except InvalidInput as error:
            raise InvalidInput(f"input.{error.message}", field=f"input.{error.metadata.get('field')}") from None
        rest = {key: value for key, value in whole.items() if key != "messages"}
        return Given(whole, messages, rest or UNSET)

    def _wish(self, config: JsonObject | UnsetType, metadata: JsonObject | UnsetType) -> Wish:
        """A run's configuration. `config.configurable.thread_id` may only say which thread this is anyway;
        `checkpoint_id` there names the state to begin from."""
        asked: Config | UnsetType = UNSET
        checkpoint_id: str | None = None
        if config is not UNSET:
            parsed = cast("RunConfig", _CREATE.parse({"config": dict(config)}).config)
            configurable = parsed.configurable
            if configurable is not UNSET:
                checkpoint_id = self._place(configurable)
                configurable = {key: value for key, value in configurable.items() if key not in _CONFIGURED} or UNSET
            asked = Config(parsed.tags, parsed.recursion_limit, configurable)
        return Wish(asked, {} if metadata is UNSET else metadata, None, checkpoint_id)

    def _place(self, configurable: JsonObject) -> str | None:
        for name in _CONFIGURED & configurable.keys():
            if type(configurable[name]) is not str:
                field = f"config.configurable.{name}"
                raise InvalidInput(f"{field} must be a text", field=field)
        thread_id = configurable.get("thread_id", self._thread_id)
        if canonical_uuid("config.configurable.thread_id", thread_id) != self._thread_id:
            raise InvalidInput(
                f"config.configurable.thread_id is {thread_id}, and this is thread {self._thread_id}; leave it out",
                field="config.configurable.thread_id",
            )
        given = configurable.get("checkpoint_id")
        return None if given is None else canonical_uuid("config.configurable.checkpoint_id", given)


def only_websocket(method: str) -> Unsupported:
    """What a command is refused with that means nothing over HTTP."""
    return Unsupported(f"{method} is for WebSockets: over HTTP each stream is a subscription of its own")


def ignored(command: Command) -> list[str]:
    """The parameters of a command that it does not know; the protocol asks that they be passed over."""
    shapes: dict[str, Shape[Any]] = {
        "run.start": _START, "input.respond": _RESPOND, "input.inject": _INJECT, "agent.getTree": _TREE,
        "state.get": _STATE, "state.listCheckpoints": _LIST, "state.fork": _FORK,
    }  # fmt: skip
    shape = shapes.get(command.method)
    names = [] if shape is None else shape.unknown(command.params)
    config = command.params.get("config")
    if type(config) is dict:
        names += [f"config.{key}" for key in cast("JsonObject", config) if key not in RunConfig.__struct_fields__]
    return names


def success(command: Command, result: Result, case: Case, applied_through: int, passed_over: list[str]) -> bytes:
    """The response to a command that was done."""
    spelled = RESULTS[command.method].spell(result, case) if command.method in RESULTS else result
    meta: Result = {"appliedThroughSeq" if case == "camel" else "applied_through_seq": applied_through}
    if passed_over:
        meta["ignored"] = passed_over
    return _encode({"type": "success", "id": command.id, "result": spelled, "meta": meta})


def refusal(id: int | None, error: RunyardError) -> bytes:
    """The response to a command that failed: the protocol's code and the server's own, and what it is about."""
    return msgspec.json.encode(
        {
            "type": "error", "id": id, "error": code_of(error), "message": error.message,
            "code": error.reason, "metadata": error.metadata,
        },
        enc_hook=repr,
    )  # fmt: skip


def code_of(error: RunyardError) -> str:
    """The protocol's code for an error."""
    if isinstance(error, NotFound):
        return _MISSING.get(error.reason, "unknown_error")
    return next((code for kind, code in ERRORS if isinstance(error, kind)), "unknown_error")


def _or_none(value: Any) -> Any:
    return None if value is UNSET else value


def _message(message: Any) -> Any:
    """A message with the word that the Agent Protocol has for its role."""
    if type(message) is not dict:
        return message
    given = cast("JsonObject", message)
    role = given.get("role", given.get("type"))
    rest = {key: value for key, value in given.items() if key != "type" or "role" in given}
    return {**rest, "role": _ROLES.get(role, role) if type(role) is str else role}


def _node(node: Node) -> Result:
    told: Result = {"namespace": list(node.namespace), "status": node.status, "graphName": node.name}
    return {**told, "children": [_node(child) for child in node.children]} if node.children else told


def _summary(snapshot: Snapshot) -> Result:
    point = snapshot.checkpoint
    metadata = {
        "source": point.source, "step": point.step, "run_id": point.run_id, "parent_id": point.parent_id,
    }  # fmt: skip
    return {
        "id": point.checkpoint_id, "timestamp": rfc3339(point.created_at), "step": max(point.step, 0),
        "metadata": metadata,
    }  # fmt: skip
