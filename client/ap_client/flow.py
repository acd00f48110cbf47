"""What takes more than one request, as data: a flow says what to do next, and is told what came of it.

A flow is a generator. It yields steps (send this, wait so long, what time is it) and gets their results; a call that
failed is thrown into it. A client performs flows: `ApiClient.perform`, sync or async. No input and output in here.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast

from ap_client.api_response import ApiResponse
from ap_client.call import Call
from ap_client.subscription import Subscription

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send a call and read its answer, an ApiResponse; `seconds` from now the answer must be there as a whole."""

    call: Call[Any]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """The time in seconds, of a clock that only goes forward."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Read the events of a run to their end. They are told to the subscription's observer."""

    subscription: Subscription


Step: TypeAlias = Exchange | Pause | Now | Follow
Flow: TypeAlias = Generator[Step, Any, A]


def exchange(call: Call[A], seconds: float | None = None) -> Flow[ApiResponse[A]]:
    """One request and its answer. Raises ApiException."""
    return cast("ApiResponse[A]", (yield Exchange(call, seconds)))


def now() -> Flow[float]:
    """The time in seconds, of a clock that only goes forward."""
    return cast("float", (yield Now()))


def then(flow: Callable[Concatenate[C, P], Flow[A]], made: Callable[[C, A], B]) -> Callable[Concatenate[C, P], Flow[B]]:
    """The flow, with its result made into something else."""

    def longer(self: C, *args: P.args, **kwargs: P.kwargs) -> Flow[B]:
        return made(self, (yield from flow(self, *args, **kwargs)))

    # Only what a reader sees: `functools.wraps` would have it taken for the flow itself.
    longer.__name__, longer.__doc__ = flow.__name__, flow.__doc__
    longer.__wrapped__ = flow  # type: ignore[attr-defined]
    return longer
