"""The commands of the streaming protocol: what to say to a thread that is watched. No input and output in here.

A command is a flow: it yields what to send and gets the result. The two shells make methods of these.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar, cast

from ap_client.call import JSON, Call
from ap_client.exceptions import ApiTypeError, ApiValueError, CommandError
from ap_client.filters import segments
from ap_client.inbox import RunToCome
from ap_client.models.streaming_command import StreamingCommand
from ap_client.operations.streaming import send_thread_streaming_command
from ap_client.thread_events import InputRequested, said
from ap_client.watch import QuestionView, Watch

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Command:
    """What to say. `repeatable`: saying it twice is the same as saying it once."""

    method: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    repeatable: bool = False

    def numbered(self, number: int) -> StreamingCommand:
        """The body that is sent; its answer has the same number."""
        return StreamingCommand(id=number, method=self.method, params=self.params)

    def call(self, thread_id: str, number: int) -> Call[Any]:
        """The request that says it."""
        call: Call[Any] = send_thread_streaming_command(thread_id, self.numbered(number))
        return replace(call, returns=object, accept=JSON, idempotent=self.repeatable)


Steering: TypeAlias = Generator[Command, Mapping[str, Any], A]


@dataclass(frozen=True, slots=True)
class StateSnapshot:
    """The state of a thread, or of a part of it, and the checkpoint that holds it."""

    values: dict[str, Any]
    checkpoint_id: str | None = None


@dataclass(frozen=True, slots=True)
class CheckpointSummary:
    """A state that was saved: `step` of its run, `node` that made it; `timestamp` in RFC 3339."""

    id: str
    timestamp: str | None = None
    step: int | None = None
    node: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class AgentNode:
    """A run, or something below it: started, running, completed, failed or interrupted."""

    namespace: tuple[str, ...]
    status: str
    graph_name: str | None = None
    children: "tuple[AgentNode, ...]" = ()
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Fork:
    """A run that went off from an earlier state, and its thread."""

    run_id: str
    thread_id: str


def result_of(answer: Any) -> Mapping[str, Any]:
    """What a command is answered with. Raises CommandError where it is refused."""
    if said(answer, "type") == "error":
        raise CommandError(str(said(answer, "error") or "unknown_error"), str(said(answer, "message") or ""), answer)
    result = said(answer, "result")
    return cast("Mapping[str, Any]", result) if isinstance(result, Mapping) else {}


def start(
    watch: Watch,
    input: Any = None,
    *,
    agent_id: str | None = None,
    config: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    multitask_strategy: str | None = None,
) -> Steering[str]:
    """Start a run: its id. Subscriptions that are made from now on are about it.

    `input` is that of the agent (by default the stream's own); where the thread asks a question it is the answer.
    `config` is as in `RunCreate`, such as `{"configurable": {...}}`. `multitask_strategy` says what to do where a run
    is under way: reject, enqueue, interrupt or rollback. Without it, input of messages and nothing else goes into that
    run, where its agent takes them: the id is that run's.

    Raises CommandError when the server refuses it, ApiValueError when no agent is named.
    """
    agent = agent_id or watch.agent_id
    if agent is None:
        raise ApiValueError("agent_id must be given, here or to the stream", ["agent_id"])
    more = _given(config=config, metadata=metadata, multitaskStrategy=multitask_strategy)
    return (yield from _running(watch, Command("run.start", {"assistantId": agent, "input": input, **more})))


def respond(
    watch: Watch,
    answers: Any,
    value: Any = None,
    *,
    update: dict[str, Any] | None = None,
    goto: Any = None,
    config: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Steering[str | None]:
    """Answer one question with a value: `respond(question, value)`; or several at once: `respond({question: value})`.

    A question is one of `stream.questions`, an `InputRequested` event or an id. All that are answered go on in one
    run; subscriptions that are made from now on are about it. It returns that run's id, or None where the server does
    not name it: `run_id` of the stream is it, once its first event has come. `update` changes the state, `goto` names
    where to go on, both in the same step.

    Raises CommandError (code `no_such_interrupt`) when nothing of that id is asked.
    """
    if isinstance(answers, Mapping):
        pairs = cast("Mapping[Any, Any]", answers).items()
        params: dict[str, Any] = {"responses": [_answer(watch, question, each) for question, each in pairs]}
    else:
        params = _answer(watch, answers, value)
    more = _given(update=update, goto=goto, config=config, metadata=metadata)
    return (yield from _running(watch, Command("input.respond", params | more))) or None


def inject(
    watch: Watch, text: str, role: str = "user", namespace: str | Sequence[str] = (), *, name: str | None = None
) -> Steering[None]:
    """Say something to what is running, unasked: as the user, or (`role`) the system.

    Raises CommandError when nothing there listens.
    """
    message = {"role": role, "content": text, **_given(name=name)}
    yield Command("input.inject", {"namespace": list(segments(namespace)), "message": message})


def state(
    watch: Watch, keys: Sequence[str] | None = None, namespace: str | Sequence[str] = ()
) -> Steering[StateSnapshot]:
    """The state now, whole or these keys of it. Raises CommandError (code `no_such_namespace`)."""
    wish = {"namespace": list(segments(namespace)), **_given(keys=None if keys is None else list(keys))}
    result = yield Command("state.get", wish, repeatable=True)
    return StateSnapshot(dict(said(result, "values") or {}), said(said(result, "checkpoint"), "id"))


def list_checkpoints(
    watch: Watch,
    limit: int | None = None,
    before: str | None = None,
    namespace: str | Sequence[str] | None = None,
) -> Steering[list[CheckpointSummary]]:
    """The saved states, newest first; `before` one of their ids where given."""
    place = None if namespace is None else list(segments(namespace))
    result = yield Command(
        "state.listCheckpoints", _given(namespace=place, limit=limit, before=before), repeatable=True
    )
    return [
        CheckpointSummary(
            str(said(each, "id")),
            said(each, "timestamp"),
            said(each, "step"),
            said(each, "nodeName"),
            dict(said(each, "metadata") or {}),
        )
        for each in said(result, "checkpoints") or ()
    ]


def fork(watch: Watch, checkpoint_id: str, input: Any = None, config: dict[str, Any] | None = None) -> Steering[Fork]:
    """Start a run from an earlier state. Subscriptions that are made from now on are about it.

    Raises CommandError (code `no_such_checkpoint`).
    """
    result = yield Command("state.fork", {"checkpointId": checkpoint_id, **_given(input=input, config=config)})
    made = Fork(str(said(result, "runId") or ""), str(said(result, "threadId") or watch.thread_id))
    if made.thread_id == watch.thread_id:
        watch.run = RunToCome(made.run_id or None, watch.runs.known)
    return made


def tree(watch: Watch, run_id: str | None = None) -> Steering[AgentNode]:
    """A run (the last one where none is named) and what is below it. Raises CommandError (code `no_such_run`)."""
    result = yield Command("agent.getTree", _given(runId=run_id), repeatable=True)
    return _node(said(result, "tree"))


def _running(watch: Watch, command: Command) -> Steering[str]:
    """A command that begins a run: its id."""
    known = watch.runs.known
    result = yield command
    run_id = str(said(result, "runId") or "")
    watch.run = RunToCome(run_id or None, known)
    return run_id


def _answer(watch: Watch, question: Any, value: Any) -> dict[str, Any]:
    """The fields that answer one question."""
    if isinstance(question, InputRequested):
        question_id, namespace = question.interrupt_id, question.namespace
    elif isinstance(question, QuestionView):
        question_id, namespace = question.id, question.namespace
    elif isinstance(question, str):
        question_id = question
        namespace = next((each.namespace for each in watch.questions if each.id == question_id), ())
    else:
        raise ApiTypeError(f"a question is one of stream.questions, an InputRequested or an id, not {question!r}")
    return {"namespace": list(namespace), "interruptId": question_id, "response": value}


def _node(told: Any) -> AgentNode:
    namespace: Any = said(told, "namespace")
    return AgentNode(
        tuple(str(each) for each in namespace or ()),
        str(said(told, "status")),
        said(told, "graphName"),
        tuple(_node(each) for each in said(told, "children") or ()),
        dict(said(told, "metadata") or {}),
    )


def _given(**words: Any) -> dict[str, Any]:
    return {name: value for name, value in words.items() if value is not None}
