"""From the body of a request for a run to the wish that the engine knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

import msgspec
from msgspec import UNSET, Raw, UnsetType

from runyard import runs
from runyard.agents import Agent
from runyard.api.context import ApiContext
from runyard.api.langgraph import assistants, labels
from runyard.api.langgraph.assistants import Assistant
from runyard.api.langgraph.messages import from_dialect
from runyard.api.langgraph.wire import (
    Checkpoint,
    Config,
    LangSmithTracer,
    RunCommand,
    StatelessRun,
    StreamMode,
    ThreadRun,
)
from runyard.api.validation import canonical_uuid
from runyard.errors import InvalidInput, NotFound, Unsupported
from runyard.graphs import TRACE_EXAMPLE, TRACE_PROJECT
from runyard.lifecycle import CreateRun
from runyard.runs import Dialect, Durability

_encode = msgspec.json.Encoder().encode
_MODES: tuple[str, ...] = get_args(StreamMode)
_RECORDED: Mapping[str, runs.StreamMode] = {
    "values": "values", "updates": "updates", "messages": "messages", "messages-tuple": "messages",
    "custom": "custom", "tasks": "tasks", "checkpoints": "checkpoints", "debug": "debug",
}  # fmt: skip
"""What the log has for each mode."""
_UNTIL_THEN: Mapping[bool | None, Durability] = {True: "async", False: "exit"}
"""What `checkpoint_during` was before there was `durability`."""
_PLACES = ("thread_id", "checkpoint_id", "checkpoint_ns")
"""Keys of `config.configurable` that have a field of their own here."""


async def wish(
    api: ApiContext,
    owner: str,
    body: StatelessRun,
    thread_id: str | None,
    idempotency: tuple[str, str, str] | None = None,
) -> tuple[CreateRun, Assistant]:
    """What the engine is asked for, and the assistant that it is asked of.

    Raises:
        InvalidInput: fields that do not fit, or cannot be obeyed; an unknown assistant.
    """
    refuse(body)
    assistant = await chosen(api, owner, body.assistant_id)
    agent = api.verbs.agent(assistant.agent_id)
    config, base = _config(body, assistant, thread_id)
    config = _traced(config, body.langsmith_tracer, agent)
    given = _given(agent, body)
    context = _context(body, assistant)
    durability = body.durability or _UNTIL_THEN.get(body.checkpoint_during)
    asked = listed(body.stream_mode)
    recorded = list[runs.StreamMode](dict.fromkeys(_RECORDED[mode] for mode in asked))
    created = CreateRun(
        agent_id=assistant.agent_id,
        thread_id=thread_id,
        input=given[0],
        messages=given[1],
        metadata={**((body.config.metadata if body.config else None) or {}), **(body.metadata or {})},
        config=config,
        command=UNSET if body.command is None else _command(body.command, agent),
        checkpoint=UNSET if base is None else {"checkpoint_id": base},
        webhook=_or_unset(body.webhook),
        stream_mode=recorded or UNSET,
        on_completion=_or_unset(body.on_completion),
        on_disconnect=_or_unset(body.on_disconnect),
        after_seconds=_or_unset(body.after_seconds),
        context=UNSET if context is None else Raw(_encode(context)),
        interrupt_before=_or_unset(body.interrupt_before),
        interrupt_after=_or_unset(body.interrupt_after),
        durability=_or_unset(durability),
        stream_subgraphs=_or_unset(body.stream_subgraphs),
        langgraph=Dialect(assistant.assistant_id, asked, body.stream_resumable),
        idempotency=idempotency,
    )
    if thread_id is not None or body.on_completion == "keep":
        created = msgspec.structs.replace(
            created, thread_metadata=labels.of(assistant.agent_id, assistant.assistant_id)
        )
    if isinstance(body, ThreadRun):
        created = msgspec.structs.replace(
            created,
            multitask_strategy=body.multitask_strategy or "enqueue",
            if_not_exists=_or_unset(body.if_not_exists),
        )
    return created, assistant


async def chosen(api: ApiContext, owner: str, assistant_id: str) -> Assistant:
    """The assistant that a body names.

    Raises:
        NotFound: assistant_not_found, of an id.
        InvalidInput: the same, of what is neither an id nor an agent's name.
    """
    try:
        return await assistants.find(api, owner, assistant_id)
    except NotFound as error:
        if _is_uuid(assistant_id):
            raise
        raise InvalidInput(error.message, code=error.reason, field="assistant_id") from None


def _is_uuid(text: str) -> bool:
    try:
        canonical_uuid("assistant_id", text)
    except InvalidInput:
        return False
    return True


def refuse(body: StatelessRun) -> None:
    """Refuses what cannot be obeyed.

    Raises:
        Unsupported: naming the field.
    """
    if body.feedback_keys:
        raise Unsupported("feedback_keys: there is no service here that collects feedback", field="feedback_keys")
    if body.strict_resume is False:
        raise Unsupported(
            "strict_resume is false; an answer to a question that is not open is always refused here: leave it out",
            field="strict_resume",
        )


def listed(asked: str | list[StreamMode] | list[str] | None) -> list[str]:
    """The stream modes that were asked for, as one or as a list.

    Raises:
        Unsupported: events.
        InvalidInput: one is unknown.
    """
    modes = [] if asked is None else [asked] if isinstance(asked, str) else [*asked]
    for mode in modes:
        if mode == "events":
            raise Unsupported(
                "stream_mode events: what LangChain's callbacks tell is not recorded; the streaming protocol "
                "(/threads/{thread_id}/stream/events) tells of tools, models and subgraphs",
                field="stream_mode",
            )
        if mode not in _MODES:
            raise InvalidInput(f"stream_mode is {mode[:40]!r}; allowed: {', '.join(_MODES)}", field="stream_mode")
    return modes


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value


def _given(agent: Agent, body: StatelessRun) -> tuple[Raw | UnsetType, Raw | UnsetType]:
    """The input, and apart from it the messages in it for an agent that takes those so."""
    if body.input is None:
        return (UNSET if body.command is not None else Raw(b"null")), UNSET
    whole: Any = body.input
    if agent.graph or not agent.messages or type(whole) is not dict:
        return Raw(_encode(whole)), UNSET
    given = cast("dict[str, Any]", whole)
    if type(given.get("messages")) is not list:
        return Raw(_encode(given)), UNSET
    messages = _messages("input.messages", given["messages"])
    rest = {key: value for key, value in given.items() if key != "messages"}
    return (Raw(_encode(rest)) if rest else UNSET), Raw(_encode(messages))


def _messages(field: str, messages: list[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        one: Any = {"role": "user", "content": message} if isinstance(message, str) else message
        try:
            if type(one) is not dict:
                raise ValueError(f"{type(one).__name__} is no message")
            found.append(from_dialect(cast("dict[str, Any]", one)))
        except ValueError as error:
            raise InvalidInput(f"{field}[{index}]: {error}", field=f"{field}[{index}]") from None
    return found


def _context(body: StatelessRun, assistant: Assistant) -> dict[str, Any] | None:
    if body.context is None:
        return assistant.context
    return {**(assistant.context or {}), **body.context}


def _config(
    body: StatelessRun, assistant: Assistant, thread_id: str | None
) -> tuple[runs.Config | UnsetType, str | None]:
    """The assistant's configuration with that of the request on top, and the state to begin from."""
    own = msgspec.convert(assistant.config, Config)
    asked = body.config or Config()
    configurable = {**(own.configurable or {}), **(asked.configurable or {})}
    _check_place("config.configurable", configurable.get("thread_id"), configurable.get("checkpoint_ns"), thread_id)
    base = _base(body, configurable.get("checkpoint_id"), thread_id)
    kept = {key: value for key, value in configurable.items() if key not in _PLACES}
    tags = [*(own.tags or ()), *(asked.tags or ())]
    limit = asked.recursion_limit or own.recursion_limit
    if not (kept or tags or limit):
        return UNSET, base
    return runs.Config(tags or UNSET, _or_unset(limit), kept or UNSET), base


def _traced(config: runs.Config | UnsetType, asked: LangSmithTracer | None, agent: Agent) -> runs.Config | UnsetType:
    """The configuration with what is said of the run's trace, as those who make traces look for it."""
    if asked is None or not (asked.project_name or asked.example_id):
        return config
    if not agent.graph:
        raise Unsupported(
            "langsmith_tracer: graphs are traced by LangSmith; what a function tells of itself is not",
            field="langsmith_tracer",
        )
    example = asked.example_id and canonical_uuid("langsmith_tracer.example_id", asked.example_id)
    said = {TRACE_PROJECT: asked.project_name, TRACE_EXAMPLE: example}
    before = {} if config is UNSET or config.configurable is UNSET else config.configurable
    configurable = {**before, **{name: value for name, value in said.items() if value}}
    return msgspec.structs.replace(runs.Config() if config is UNSET else config, configurable=configurable)


def _base(body: StatelessRun, configured: Any, thread_id: str | None) -> str | None:
    named: list[tuple[str, Any]] = [("config.configurable.checkpoint_id", configured)]
    if isinstance(body, ThreadRun):
        named.append(("checkpoint_id", body.checkpoint_id))
        if body.checkpoint is not None:
            check_checkpoint(body.checkpoint, thread_id)
            named.append(("checkpoint.checkpoint_id", body.checkpoint.checkpoint_id))
    found = {canonical_uuid(field, str(value)) for field, value in named if value}
    if len(found) > 1:
        raise InvalidInput(
            "checkpoint, checkpoint_id and config.configurable.checkpoint_id name different states", field="checkpoint"
        )
    return found.pop() if found else None


def check_checkpoint(checkpoint: Checkpoint, thread_id: str | None) -> None:
    """Refuses a state of another thread, or of a subgraph, to begin a run from.

    Raises:
        InvalidInput: naming the field.
    """
    _check_place("checkpoint", checkpoint.thread_id, checkpoint.checkpoint_ns, thread_id)


def _check_place(field: str, thread: Any, namespace: Any, thread_id: str | None) -> None:
    if thread and thread_id is not None and canonical_uuid(f"{field}.thread_id", str(thread)) != thread_id:
        raise InvalidInput(
            f"{field}.thread_id is {thread}, and this is thread {thread_id}; leave it out", field=f"{field}.thread_id"
        )
    if namespace:
        raise Unsupported(
            f"{field}.checkpoint_ns is {str(namespace)[:80]!r}: a run begins at a state of the thread, not at one of a "
            "subgraph",
            field=f"{field}.checkpoint_ns",
        )


def _command(command: RunCommand, agent: Agent) -> runs.Command:
    update, goto, resume = command.update, command.goto, command.resume
    if resume is None and (update is not None or goto is not None):
        resume = UNSET  # clients write null for what they leave out
    return runs.Command(
        UNSET if resume is UNSET else Raw(_encode(resume)),
        UNSET if update is None else Raw(_encode(_update(update, agent))),
        UNSET if goto is None else Raw(_encode(goto)),
    )


def _update(update: dict[str, Any] | list[list[Any]], agent: Agent) -> dict[str, Any]:
    """An update as an object; one may be a list of pairs."""
    if isinstance(update, list):
        pairs: dict[str, Any] = {}
        for index, pair in enumerate(update):
            if len(pair) != 2 or not isinstance(pair[0], str) or pair[0] in pairs:
                raise InvalidInput(
                    f"command.update[{index}] must be a pair of a name and a value, each name once",
                    field=f"command.update[{index}]",
                )
            pairs[pair[0]] = pair[1]
        update = pairs
    if agent.graph or type(update.get("messages")) is not list:
        return update
    return {**update, "messages": _messages("command.update.messages", update["messages"])}
