"""What both shells of a watched thread have in common. No input and output in here."""

import inspect
from collections.abc import Callable
from typing import Any, TypedDict, get_args

from ap_client.call import Id
from ap_client.thread_events import Missed
from ap_client.watch import HELD, Watch


class StreamOptions(TypedDict, total=False):
    """The keywords of `ThreadStream`."""

    transport: str
    since: int | None
    depth: int | None
    held: int
    on_missed: Callable[[Missed], object] | None


def shown_as(method: Any, function: Callable[..., Any], returns: Callable[[Any], Any]) -> None:
    """Have `help` show a method with the parameters of the function that it is made of, and with what it returns.

    `returns` is given the last argument of the function's own return type.
    """
    signature = inspect.signature(function)
    _, *parameters = signature.parameters.values()
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    result = returns(get_args(signature.return_annotation)[-1])
    method.__signature__ = inspect.Signature([itself, *parameters], return_annotation=result)


class ThreadStreamCore:
    """A thread, watched and steered over one connection.

    `thread_id` is which; a new one where none is given: the first `start` makes it. `agent_id` is the agent that
    `start` runs unless it names another. `transport` is sse or websocket (which needs `runyard-client[websocket]`).
    `since`: a number of the thread's log, behind which all subscriptions begin (0 is its start); not given, they begin
    with the run under way. `depth`: how far below the root anything is asked for. `held`: so many events a subscription
    may hold that nobody has read. `on_missed` is told what the server's log no longer holds; without it the iteration
    raises EventsMissed there.

    The connection is made when the first event or command needs it, and again whenever it breaks. As a context manager
    it closes it at the end. The runs go on.

    Raises ApiValueError for another transport, ImportError where the transport needs a library that is not there.
    """

    def __init__(
        self,
        api_client: Any,
        thread_id: Id | None = None,
        agent_id: str | None = None,
        *,
        transport: str = "sse",
        since: int | None = None,
        depth: int | None = None,
        held: int = HELD,
        on_missed: Callable[[Missed], object] | None = None,
    ) -> None:
        self.watch = Watch(thread_id, agent_id, since, depth, held, on_missed)
        self._connect(api_client, transport)

    def _connect(self, api_client: Any, transport: str) -> None:
        raise NotImplementedError

    @property
    def thread_id(self) -> str:
        """The thread that is watched."""
        return self.watch.thread_id

    @property
    def agent_id(self) -> str | None:
        """The agent that `start` runs unless it names another."""
        return self.watch.agent_id

    @property
    def run_id(self) -> str | None:
        """The run that it has started last; None where it has started none, or does not know it yet."""
        return None if self.watch.run is None else self.watch.run.run_id

    def __repr__(self) -> str:
        return f"<stream of thread {self.thread_id}>"
