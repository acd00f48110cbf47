"""What a run is made of: calls of tools and sub-agents, as they are told and recorded.

A tool is a step that is told. A sub-agent is a stretch of the agent's code with a namespace of its own: the names of
its records begin with its place, so that several may do the same calls side by side.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import uuid
from collections.abc import Callable, Generator
from typing import Any, cast

import msgspec

from runyard.events import Entry, Nested
from runyard.runtime.contract import Record
from runyard.runtime.describe import described
from runyard.runtime.execution import Execution, Scope, Step, key_of
from runyard.runtime.journal import WITHIN
from runyard.runtime.plain import check_name
from runyard.runtime.signals import RunSignal

_encode = msgspec.json.Encoder().encode
_CALL: contextvars.ContextVar[str | None] = contextvars.ContextVar("runyard_tool_call", default=None)
"""The call of a tool of which the function is being called."""


class Tool:
    """One call of a tool."""

    __slots__ = ("_execution", "_pieces", "_scope", "call_id", "step")

    def __init__(
        self,
        execution: Execution,
        scope: Scope,
        name: str,
        call_id: str | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Begins it, and tells that it does, unless it was done before.

        Raises:
            NotSerialisable, ValueTooLarge: of its name, its id or its arguments.
            RunSignal.
        """
        if call_id is not None:
            call_id = check_name(call_id, "the id of a call")
        self._execution = execution
        self._scope = scope
        self._pieces: list[str] = []
        self.step: Step = execution.step_begins(scope, name)
        self.call_id = call_id or _same_id(execution, "tool", self.step.key, self.step.nth)
        if self.step.record is None:
            try:
                self._show("tool-started", toolName=name, input=_input_of(fn, args, kwargs))
            except BaseException:
                execution.step_fails(self.step)
                raise

    @property
    def result(self) -> Any:
        """What an earlier attempt has recorded."""
        assert self.step.record is not None
        return msgspec.json.decode(self.step.record.body)

    @contextlib.contextmanager
    def inside(self) -> Generator[None]:
        """While its function is called."""
        token = _CALL.set(self.call_id)
        try:
            with self._execution.inside(self.step):
                yield
        finally:
            _CALL.reset(token)

    def piece(self, text: Any) -> None:
        """Tells a piece of what it gives.

        Raises:
            TypeError: it is no text.
            NotSerialisable, ValueTooLarge.
        """
        if not isinstance(text, str):
            raise TypeError(f"a tool that yields gives pieces of text, not {type(text).__name__}")
        if text:
            self._show("tool-output-delta", delta=text)
            self._pieces.append(text)

    @property
    def output(self) -> str:
        """The pieces as a whole."""
        return "".join(self._pieces)

    def ends(self, result: Any) -> tuple[int, Any]:
        """Records what it gave and tells it: the number of the write that holds it, and the result as a replay gives
        it.

        Raises:
            NotSerialisable, ValueTooLarge.
        """
        head = b'{"event":"tool-finished","toolCallId":%b,"output":' % _encode(self.call_id)
        return self._execution.step_ends(
            self.step, result, lambda body: [Entry("tools", msgspec.Raw(head + body + b"}"), self._scope.path)]
        )

    def fails(self, error: BaseException) -> None:
        """Forgets it, and tells why; not of a question, which it goes on behind."""
        self._execution.step_fails(self.step)
        if not isinstance(error, RunSignal):
            self._show("tool-error", message=described(error))

    def _show(self, event: str, **data: Any) -> None:
        self._execution.tell("tools", {"event": event, "toolCallId": self.call_id, **data}, self._scope)


def _input_of(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments of a call by their names."""
    if not args:
        return kwargs
    try:
        return dict(inspect.signature(fn).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return {"args": args, **kwargs}


class SubAgent:
    """One sub-agent, from the beginning of its block to the end."""

    __slots__ = ("_execution", "_key", "_known", "_nth", "scope")

    def __init__(self, execution: Execution, scope: Scope, name: str, call_id: str | None) -> None:
        """Begins it below `scope`, and tells that it does, unless it came to its end before. `call_id` is the call of a
        tool that it answers.

        Raises:
            NotSerialisable: of its name or the id.
            ValueError: its name could not stand in a namespace.
        """
        if not check_name(name, "the name of a sub-agent") or any(mark in name for mark in "|:" + WITHIN):
            raise ValueError(f"a sub-agent is named {name[:40]!r}: its name is part of a namespace, without | and :")
        cause = _CALL.get() if call_id is None else check_name(call_id, "the id of a call")
        self._execution = execution
        self._key = key_of(scope, name)
        self._nth, record = execution.part_begins("agent", self._key)
        self._known = record is not None
        place = f"{name}:{_same_id(execution, 'agent', self._key, self._nth)}"
        self.scope = Scope(
            f"{scope.path}|{place}" if scope.path else place, f"{scope.records}{name}:{self._nth}{WITHIN}"
        )
        if not self._known:
            self._show(Nested("started", name, None if cause is None else {"type": "toolCall", "toolCallId": cause}))

    def ends(self, error: BaseException | None) -> None:
        """Tells how its block ended, and records that it came to its end: one that raised is done again by a later
        attempt, and told again.

        Raises:
            Nondeterministic.
        """
        if error is None:
            if not self._execution.part_ends("agent", self._key, self._nth):
                self._show(Nested("completed"), Record("agent", self._key, self._nth, b"null"))
        elif not self._known:
            failed = isinstance(error, Exception)
            self._show(Nested("failed", error=described(error)) if failed else Nested("interrupted"))

    def _show(self, event: Nested, *records: Record) -> None:
        data = cast("dict[str, Any]", msgspec.to_builtins(event))
        self._execution.tell("nested", data, self.scope, records)


def _same_id(execution: Execution, kind: str, key: str, nth: int) -> str:
    """An id of its own for a call, the same in each attempt and behind each answer."""
    run = execution.run
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run.invocation or run.run_id}:{kind}:{key}:{nth}"))
