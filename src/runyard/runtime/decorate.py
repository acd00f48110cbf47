"""`@agent`: the decorator that makes an agent of a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

import msgspec

from runyard.agents import Limits, Retry
from runyard.runtime.function import FunctionAgent
from runyard.runtime.state import Reducer

P = ParamSpec("P")
R = TypeVar("R")

_ID = re.compile(r"[\w.~:@-]{1,200}")


@overload
def agent(function: Callable[P, R], /) -> FunctionAgent[P, R]: ...


@overload
def agent(
    *,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    max_attempts: int = 3,
    retry: Retry | Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    reducers: Mapping[str, Reducer] | None = None,
    messages: bool | None = None,
) -> Callable[[Callable[P, R]], FunctionAgent[P, R]]: ...


def agent(
    function: Callable[..., Any] | None = None,
    /,
    *,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    max_attempts: int = 3,
    retry: Retry | Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    reducers: Mapping[str, Reducer] | None = None,
    messages: bool | None = None,
) -> Any:
    """Makes an agent of a function: plain, `async`, or a generator of either kind.

    Args:
        id: How requests name it; the function's name by default.
        name, description, metadata: For people and searches; by default the id and the docstring's first line.
        timeout: Seconds of wall clock for one attempt.
        max_attempts: How often a run may be tried, after crashes and errors that `retry` names.
        retry: `Retry`, or its fields as a mapping; `on` takes exception classes too.
        concurrency: How many runs of it may execute at once, in the whole cluster.
        reducers: Channel -> (old value or None, new value) -> what to keep. Other channels are replaced.
        messages: Whether it reads or writes the `messages` channel; by default told by its signature.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: what is decorated is not a function.
    """

    limits = limits_of(timeout, max_attempts, retry, concurrency)

    def make(function: Callable[..., Any]) -> FunctionAgent[..., Any]:
        if not callable(function) or inspect.isclass(function):
            raise TypeError(f"{function!r} cannot be an agent: must be a function")
        own_name = getattr(function, "__name__", "")
        agent_id = check_id(own_name if id is None else id)
        doc = inspect.getdoc(function)
        return FunctionAgent(
            function,
            id=agent_id,
            name=name or agent_id,
            description=description or (doc.partition("\n")[0] if doc else None),
            metadata=metadata or {},
            limits=limits,
            reducers=reducers or {},
            messages=messages,
        )

    return make if function is None else make(function)


def check_id(id: str) -> str:
    """An agent's id.

    Raises:
        ValueError: it cannot be one.
    """
    if not _ID.fullmatch(id):
        raise ValueError(f"id is {id!r}: must be 1 to 200 letters, digits or any of _ . ~ : @ -")
    return id


def limits_of(
    timeout: float | None,
    max_attempts: int,
    retry: Retry | Mapping[str, Any] | None,
    concurrency: int | None,
) -> Limits:
    """What bounds an agent.

    Raises:
        ValueError: an argument is out of its range.
    """
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout}: must be more than 0 seconds")
    if max_attempts < 1:
        raise ValueError(f"max_attempts is {max_attempts}: must be 1 or more")
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}: must be 1 or more")
    return Limits(timeout, max_attempts, concurrency, _retry(retry))


def _retry(given: Retry | Mapping[str, Any] | None) -> Retry:
    if given is None:
        return Retry()
    fields: dict[str, Any] = msgspec.structs.asdict(given) if isinstance(given, Retry) else dict(given)
    unknown = sorted(set(fields) - set(Retry.__struct_fields__))
    if unknown:
        raise ValueError(f"retry has no field {unknown[0]!r}; it has {', '.join(Retry.__struct_fields__)}")
    on = fields.get("on", ())
    fields["on"] = tuple(_class_name(error) for error in ([on] if isinstance(on, str | type) else on))
    try:
        return msgspec.convert(fields, Retry)
    except msgspec.ValidationError as error:
        raise ValueError(f"retry does not fit: {error}") from error


def _class_name(error: str | type[BaseException]) -> str:
    return error if isinstance(error, str) else f"{error.__module__}.{error.__qualname__}"
