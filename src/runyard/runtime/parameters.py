"""What an agent's function takes and gives, found once from its signature."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, Literal, NamedTuple

import msgspec

from runyard.agents import Schemas
from runyard.checkpoints import State, render
from runyard.errors import InvalidInput
from runyard.runtime.blocking import SyncContext
from runyard.runtime.context import Context
from runyard.runtime.schemas import Shape, as_values, fields_of, hints_of
from runyard.runtime.state import MESSAGES
from runyard.runtime.taking import Inbox, SyncInbox

Role = Literal["input", "messages", "state", "config", "ctx", "inbox"]
ROLES: tuple[Role, ...] = typing.get_args(Role)

_YIELDING = (Iterator, Iterable, Generator, AsyncIterator, AsyncIterable, AsyncGenerator)
_NULL = b"null"


class Provided(NamedTuple):
    """What there is to fill parameters from."""

    input: bytes | None
    state: State
    config: dict[str, Any]
    ctx: Context | SyncContext
    inbox: Inbox | SyncInbox


class Parameters:
    """The parameters of a function by their roles, and the shapes of what it takes and gives.

    A parameter is found by its name (`input`, `messages`, `state`, `config`, `ctx`, `inbox`), by the type `Context`,
    `SyncContext`, `Inbox` or `SyncInbox`, or, the first with another hint, is the input. `problems` are hints that no
    schema comes from.
    """

    def __init__(self, function: Callable[..., Any], *, yields: bool) -> None:
        """Raises TypeError for a parameter that has no default and that nothing fits."""
        hints, self.problems = hints_of(function)
        self._by_position: list[Role] = []
        self._by_name: list[tuple[str, Role]] = []
        self._shapes: dict[Role, Shape] = {}
        self._defaults: dict[Role, Any] = {}
        for parameter, role in _roles(function, hints):
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self._by_position.append(role)
            else:
                self._by_name.append((parameter.name, role))
            if parameter.default is not parameter.empty:
                self._defaults[role] = parameter.default
            if role not in ("ctx", "inbox"):
                self._shapes[role] = self._shape(parameter.name, hints.get(parameter.name, Any))
        given = hints.get("return", Any)
        output = self._shape("return", _yielded(given) if yields else given)
        self._state_is_dict = typing.is_typeddict(_unwrapped(self._shapes.get("state")))
        self.schemas = Schemas(
            input=self._schema("input") or {},
            output=as_values(output.schema),
            state=self._schema("state"),
            config=self._schema("config"),
        )
        roles = {*self._by_position, *(role for _, role in self._by_name)}
        self.injects = "inbox" in roles
        self.messages = (
            self.injects
            or MESSAGES in self._shapes
            or MESSAGES in fields_of(output.hint)
            or ("state" in self._shapes and MESSAGES in fields_of(self._shapes["state"].hint))
        )

    def _shape(self, name: str, hint: Any) -> Shape:
        shape = Shape(hint)
        if shape.problem is not None:
            self.problems.append(f"{name}: {shape.problem}")
        return shape

    def _schema(self, role: Role) -> dict[str, Any] | None:
        shape = self._shapes.get(role)
        return None if shape is None or not shape.schema else shape.schema

    def fill(self, provided: Provided) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of one call.

        Raises:
            InvalidInput: input, config or state do not fit their types.
        """
        return (
            [self._value(role, provided) for role in self._by_position],
            {name: self._value(role, provided) for name, role in self._by_name},
        )

    def read_input(self, text: bytes | None) -> Any:
        """The input as the function gets it.

        An absent one is the parameter's default; without that None, or a record of defaults, where the type has them.

        Raises:
            InvalidInput: naming the field below `input`.
        """
        shape = self._shapes.get("input")
        if shape is None:
            return None
        if text is not None:
            return shape.read(text, "input")
        if "input" in self._defaults:
            return self._defaults["input"]
        missing = "input"
        for stand_in in (_NULL, b"{}"):
            try:
                return shape.read(stand_in, "input")
            except InvalidInput as error:
                missing = error.metadata["field"]
        needed = f": {missing} is required" if missing != "input" else ""
        raise InvalidInput(f"input is absent{needed}", field=missing)

    def read_config(self, configurable: dict[str, Any]) -> Any:
        """The config as the function gets it.

        Raises:
            InvalidInput: naming the field below `config.configurable`.
        """
        shape = self._shapes.get("config")
        if shape is None or shape.open:
            return dict(configurable)
        return shape.convert(configurable, "config.configurable")

    def _value(self, role: Role, provided: Provided) -> Any:
        match role:
            case "input":
                return self.read_input(provided.input)
            case "ctx":
                return provided.ctx
            case "inbox":
                return provided.inbox
            case "config":
                return self.read_config(provided.config)
            case "messages":
                return self._shapes[role].read(provided.state.get(MESSAGES, b"[]"), "messages")
            case "state":
                text = render(provided.state)
                # A TypedDict is a plain dict, and a young thread has not all of its keys.
                return msgspec.json.decode(text) if self._state_is_dict else self._shapes[role].read(text, "state")


def _roles(function: Callable[..., Any], hints: Mapping[str, Any]) -> list[tuple[inspect.Parameter, Role]]:
    found: list[tuple[inspect.Parameter, Role]] = []
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    names = {parameter.name for parameter in parameters}
    taken: set[Role] = {role for role in ROLES if role in names}
    for parameter in parameters:
        hint = hints.get(parameter.name)
        role: Role | None = next((known for known in ROLES if known == parameter.name), None)
        if role is None and _is_one_of(hint, (Context, SyncContext)):
            role = "ctx"
        elif role is None and _is_one_of(hint, (Inbox, SyncInbox)):
            role = "inbox"
        elif role is None and parameter.name in hints and "input" not in taken:
            role = "input"
        if role is None and parameter.default is parameter.empty:
            raise TypeError(
                f"agent {getattr(function, '__name__', function)!r} has the parameter {parameter.name!r}, which "
                f"nothing fits: name it {', '.join(ROLES)}, or give one parameter a type hint, which is the input"
            )
        if role is not None:
            taken.add(role)
            found.append((parameter, role))
    return found


def _is_one_of(hint: Any, kinds: tuple[type, ...]) -> bool:
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return any(isinstance(option, type) and issubclass(option, kinds) for option in options)


def _yielded(hint: Any) -> Any:
    """The type of what a generator with this return hint yields."""
    if typing.get_origin(hint) in _YIELDING:
        return typing.get_args(hint)[0]
    return Any if hint in _YIELDING else hint


def _unwrapped(shape: Shape | None) -> Any:
    if shape is None:
        return None
    options = [option for option in typing.get_args(shape.hint) if option is not type(None)]
    return options[0] if len(options) == 1 else shape.hint
