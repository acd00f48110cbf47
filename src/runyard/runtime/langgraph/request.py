"""What a graph is entered with: a run's start in LangGraph's words."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command, Send

from runyard.checkpoints import name_of
from runyard.runtime.contract import RunInfo, Start
from runyard.runtime.langgraph.breakpoints import is_breakpoint
from runyard.runtime.langgraph.messages import from_protocol
from runyard.runtime.state import MESSAGES
from runyard.users import USER, User

_decode = msgspec.json.Decoder().decode
_ID = re.compile("[0-9a-f]{32}")
"""What the id of a question looks like."""


def config_of(start: Start) -> RunnableConfig:
    """The configuration: the request's, with the thread and what callbacks and traces go by."""
    run = start.run
    asked = run.config
    configurable: dict[str, Any] = {
        **configurable_of(start),
        "thread_id": run.thread_id,
        "checkpoint_ns": "",
    }
    name = name_of(start.head)
    if start.addressed and name is not None:
        configurable["checkpoint_id"] = name
    config = RunnableConfig(
        configurable=configurable,
        metadata={
            # In LangGraph's words, too: code that has itself called back goes by them.
            "assistant_id": run.assistant_id or run.agent_id,
            "graph_id": run.agent_id,
            **run.metadata,
            "run_id": run.run_id,
            "agent_id": run.agent_id,
            "attempt": run.attempt,
        },
        run_id=_as_uuid(run),
        tags=list(asked.get("tags") or ()),
    )
    if start.steps_left is not None:
        config["recursion_limit"] = start.steps_left
    return config


def configurable_of(start: Start) -> dict[str, Any]:
    """The request's own part of it; LangGraph's runtime has a user by its attributes."""
    configurable: dict[str, Any] = dict(start.run.config.get("configurable") or {})
    if USER in configurable:
        configurable[USER] = User(configurable[USER])
    return configurable


def _as_uuid(run: RunInfo) -> uuid.UUID:
    try:
        return uuid.UUID(run.run_id)
    except ValueError:
        return uuid.uuid5(uuid.NAMESPACE_OID, run.run_id)


def input_of(start: Start, *, begun: bool, answered: Sequence[str], asked: Sequence[str]) -> Any:
    """What the graph is given; None has it go on where its state stands.

    `begun`: an attempt of this run has put a checkpoint, which holds the input. `answered`: the questions whose answers
    an attempt of this run has stored already. `asked`: those that the tasks of this state have asked.
    """
    if begun:
        return None
    answers = {
        question: _decode(answer)
        for question, answer in start.answers.items()
        if question not in answered and not is_breakpoint(question)
    }
    update = None if start.command_update is None else with_messages(_decode(start.command_update))
    goto = () if start.goto is None else _goto(_decode(start.goto))
    if answers or update is not None or goto:
        resume: Any = answers or None
        if len(answers) == 1 and len(asked) < 2:
            # The state, or that of a subgraph, may have been changed since it asked, and its tasks are others then:
            # whichever asks first is answered.
            (answer,) = answers.values()
            resume = resume if _is_no_plain_answer(answer) else answer
        return Command(resume=resume, update=update, goto=cast(Any, goto))
    if start.answers:
        return None
    return _plain(start)


def _is_no_plain_answer(answer: Any) -> bool:
    """Whether LangGraph would take an answer for something else: for none, or for answers by the ids of questions."""
    if not isinstance(answer, dict):
        return answer is None
    return all(map(_ID.fullmatch, cast("dict[str, Any]", answer)))


def _plain(start: Start) -> Any:
    value: Any = None if start.input is None else _decode(start.input)
    if start.messages is None:
        return value
    messages = [from_protocol(message) for message in cast("list[dict[str, Any]]", _decode(start.messages))]
    if not isinstance(value, dict):
        return {MESSAGES: messages}
    given = cast("dict[str, Any]", value)
    before: Any = given.get(MESSAGES, [])
    return {**given, MESSAGES: [*(cast("list[Any]", before) if isinstance(before, list) else [before]), *messages]}


def with_messages(update: Any) -> Any:
    """An update's messages as objects, where they are in the protocol's form."""
    if isinstance(update, dict) and isinstance(cast("dict[str, Any]", update).get(MESSAGES), list):
        changes = cast("dict[str, Any]", update)
        return {**changes, MESSAGES: [_message(item) for item in changes[MESSAGES]]}
    return cast(Any, update)


def _message(item: Any) -> Any:
    return from_protocol(cast("dict[str, Any]", item)) if isinstance(item, dict) and "role" in item else cast(Any, item)


def _goto(goto: Any) -> list[str | Send]:
    targets = cast("list[Any]", goto) if isinstance(goto, list) else [goto]
    return [target if isinstance(target, str) else Send(target["node"], target.get("input")) for target in targets]
