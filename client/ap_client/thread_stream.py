"""The sync shell of a watched thread: the async one, in a thread of its own."""

import functools
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from ap_client import steering, watch
from ap_client.assembly import MessageState
from ap_client.inbox import Inbox
from ap_client.steering import Steering
from ap_client.thread_core import ThreadStreamCore, shown_as
from ap_client.thread_events import Missed
from ap_client.thread_message import MessageView
from ap_client.watch import Asked, QuestionView, Watch

if TYPE_CHECKING:
    from ap_client.api_client import ApiClient

A = TypeVar("A")
E = TypeVar("E")
T = TypeVar("T")
P = ParamSpec("P")


def does(
    flow: Callable[Concatenate[Watch, P], Steering[A]],
) -> Callable[Concatenate["ThreadStream", P], A]:
    """A method that says what a command says."""

    @functools.wraps(flow)
    def method(self: "ThreadStream", *args: P.args, **kwargs: P.kwargs) -> A:
        return self.watching.perform(flow(self.watch, *args, **kwargs))

    shown_as(method, flow, lambda result: result)
    return method


def opens(
    subscribed: Callable[Concatenate[Watch, P], Inbox[E]],
) -> Callable[Concatenate["ThreadStream", P], "ThreadSubscription[E]"]:
    """A method that subscribes."""

    @functools.wraps(subscribed)
    def method(self: "ThreadStream", *args: P.args, **kwargs: P.kwargs) -> "ThreadSubscription[E]":
        inbox = self.watching.subscribed(lambda: subscribed(self.watch, *args, **kwargs))
        return ThreadSubscription(self, inbox, lambda event: event)

    shown_as(method, subscribed, lambda event: ThreadSubscription[event])
    return method


def opens_messages(
    subscribed: Callable[Concatenate[Watch, P], Inbox[MessageState]],
) -> Callable[Concatenate["ThreadStream", P], "ThreadSubscription[ThreadMessage]"]:
    """A method that subscribes to messages."""

    @functools.wraps(subscribed)
    def method(self: "ThreadStream", *args: P.args, **kwargs: P.kwargs) -> "ThreadSubscription[ThreadMessage]":
        inbox = self.watching.subscribed(lambda: subscribed(self.watch, *args, **kwargs))
        return ThreadSubscription(self, inbox, lambda state: ThreadMessage(self, inbox, state))

    shown_as(method, subscribed, lambda _: ThreadSubscription[ThreadMessage])
    return method


class Question(QuestionView):
    """An open question of a thread."""

    def __init__(self, stream: "ThreadStream", asked: Asked) -> None:
        super().__init__(asked)
        self._stream = stream

    def answer(self, value: Any, *, update: dict[str, Any] | None = None, goto: Any = None) -> str | None:
        """Answer it: the id of the run that goes on, if the server names it. See `ThreadStream.respond`."""
        return self._stream.respond(self, value, update=update, goto=goto)


class ThreadMessage(MessageView):
    """A message of a thread. Iterating yields the pieces of its text as they come, until it is whole."""

    def __init__(self, stream: "ThreadStream", inbox: Inbox[MessageState], state: MessageState) -> None:
        super().__init__(state)
        self._stream = stream
        self._inbox = inbox

    def __iter__(self) -> Iterator[str]:
        taken = 0
        while pieces := self._stream.watching.grown(self._inbox, self._state, taken):
            taken += len(pieces)
            yield from pieces

    def read(self) -> Self:
        """Wait until it is whole, or will not become so: see `status`."""
        self._stream.watching.settled(self._inbox, self._state)
        return self


class ThreadSubscription(Iterator[T], Generic[T]):
    """What a thread tells, one by one. Closing it (or leaving it as a context manager) ends it; the stream goes on."""

    def __init__(self, stream: "ThreadStream", inbox: Inbox[Any], made: Callable[[Any], T]) -> None:
        self._stream = stream
        self._inbox = inbox
        self._made = made
        self._waiting: deque[Any] = deque()

    def __next__(self) -> T:
        while True:
            if not self._waiting:
                self._waiting.extend(self._stream.watching.take(self._inbox))
            if not self._waiting:
                raise StopIteration
            item = self._waiting.popleft()
            if not isinstance(item, Missed):
                return self._made(item)
            self._stream.watch.met(item)

    def close(self) -> None:
        """End it. What it holds is dropped."""
        self._waiting.clear()
        self._stream.watching.drop(self._inbox)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ThreadStream(ThreadStreamCore):
    __doc__ = ThreadStreamCore.__doc__

    def _connect(self, api_client: "ApiClient", transport: str) -> None:
        # Whoever watches no thread does not wait for asyncio to be imported.
        from ap_client.watching import Watching

        self.watching = Watching(api_client, self.watch, transport)

    subscribe = opens(watch.subscribe)
    events = opens(watch.events)
    messages = opens_messages(watch.messages)
    values = opens(watch.values)
    updates = opens(watch.updates)
    tools = opens(watch.tools)
    lifecycle = opens(watch.lifecycle)
    inputs = opens(watch.inputs)
    checkpoints = opens(watch.checkpoints)
    custom = opens(watch.custom)

    start = does(steering.start)
    respond = does(steering.respond)
    inject = does(steering.inject)
    state = does(steering.state)
    list_checkpoints = does(steering.list_checkpoints)
    fork = does(steering.fork)
    tree = does(steering.tree)

    @property
    def questions(self) -> list[Question]:
        """The questions that are open, as far as the events have told."""
        return [Question(self, asked) for asked in self.watch.questions]

    def close(self) -> None:
        """End all subscriptions and close the connection."""
        self.watching.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Whoever forgot to close it has no use for the thread either.
        if hasattr(self, "watching"):
            self.watching.abandon()
