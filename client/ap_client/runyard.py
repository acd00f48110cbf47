"""The client for daily use: `with Runyard("http://localhost:8000") as ry: ry.run("research", {...}).result()`."""

import functools
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TextIO, TypeVar, Unpack

from ap_client import handles
from ap_client.address import configuration_of
from ap_client.api_client import ApiClient
from ap_client.call import Id
from ap_client.display import screen_for
from ap_client.event_stream import EventStream
from ap_client.flow import Flow, then
from ap_client.handles import Core, RunCore, ThreadCore
from ap_client.models.run import Run
from ap_client.models.thread import Thread
from ap_client.sse import ServerEvent
from ap_client.thread_core import StreamOptions
from ap_client.thread_stream import ThreadStream

C = TypeVar("C", bound=Core)
R = TypeVar("R")
P = ParamSpec("P")


def does(flow: Callable[Concatenate[C, P], Flow[R]]) -> Callable[Concatenate[C, P], R]:
    """A method that does what a flow says."""

    @functools.wraps(flow)
    def method(self: C, *args: P.args, **kwargs: P.kwargs) -> R:
        client: ApiClient = self.api_client
        return client.perform(flow(self, *args, **kwargs))

    return method


def _run(place: Core, info: Run) -> "RunHandle":
    # The run is watched with the modes that it was made with.
    modes = info.get("stream_mode") or getattr(place, "modes", handles.SHOWN)
    return RunHandle(place.api_client, info, [modes] if isinstance(modes, str) else modes)


def _runs(place: Core, found: list[Run]) -> "list[RunHandle]":
    return [_run(place, info) for info in found]


def _thread(place: Core, info: Thread) -> "ThreadHandle":
    return ThreadHandle(place.api_client, info)


def _threads(place: Core, found: list[Thread]) -> "list[ThreadHandle]":
    return [_thread(place, info) for info in found]


class RunHandle(RunCore):
    """A run of a server. Iterating yields its events from the first one on, until it has ended."""

    wait = does(handles.wait)
    result = does(handles.result)
    refresh = does(handles.refresh)
    cancel = does(handles.cancel)
    delete = does(handles.delete)
    answer = does(then(handles.answer, _run))

    def events(self, since: int | str | None = 0, modes: Iterable[str] | str | None = None) -> EventStream:
        """Its events after an event id (0: all, None: from now on), until it has ended, over broken connections."""
        return EventStream(self.api_client, self.subscription(since, modes))

    def __iter__(self) -> Iterator[ServerEvent]:
        return self.events()

    def show(self, file: TextIO | None = None) -> None:
        """Show what it does until it has ended: in a terminal or a notebook, else nothing; or in `file`."""
        self.api_client.perform(handles.show(self, screen_for(file)))


class ThreadHandle(ThreadCore):
    """A thread of a server."""

    run = does(then(handles.run_on_thread, _run))
    runs = does(then(handles.runs_of_thread, _runs))
    refresh = does(handles.refresh_thread)
    update = does(handles.update_thread)
    history = does(handles.history)
    copy = does(then(handles.copy_thread, _thread))
    delete = does(handles.delete_thread)

    def stream(self, agent_id: str | None = None, **options: Unpack[StreamOptions]) -> ThreadStream:
        """Watch and steer it over one connection. See `ThreadStream` for the keywords."""
        return ThreadStream(self.api_client, self.thread_id, agent_id, **options)


class StoreHandle(Core):
    """The documents of a server, under namespaces and keys."""

    put = does(handles.put_item)
    get = does(handles.get_item)
    delete = does(handles.delete_item)
    search = does(handles.search_items)
    namespaces = does(handles.list_namespaces)


class Runyard(Core):
    """A server of the Agent Protocol, for daily use.

    `url` is where it is (`RUNYARD_URL`, else http://127.0.0.1:8000), `api_key` whom to call as (`RUNYARD_API_KEY`,
    else nobody). `api_client` is a client to use instead; it is what the classes of the protocol take, too.
    As a context manager it closes its connections at the end. The runs go on.
    """

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, api_client: ApiClient | None = None
    ) -> None:
        super().__init__(api_client or ApiClient(configuration_of(url, api_key)))
        self.store = StoreHandle(self.api_client)

    run = does(then(handles.create_run, _run))
    get_run = does(then(handles.get_run, _run))
    runs = does(then(handles.search_runs, _runs))
    thread = does(then(handles.open_thread, _thread))
    threads = does(then(handles.search_threads, _threads))
    agents = does(handles.list_agents)

    def stream(
        self, thread_id: Id | None = None, agent_id: str | None = None, **options: Unpack[StreamOptions]
    ) -> ThreadStream:
        """Watch and steer a thread over one connection; one that is new is made when its first run is started.

        See `ThreadStream` for the keywords.
        """
        return ThreadStream(self.api_client, thread_id, agent_id, **options)

    def watch(self, run: RunHandle, file: TextIO | None = None) -> EventStream:
        """The events of a run, each shown as `run.show()` would before it is yielded."""
        return EventStream(self.api_client, run.subscription(screen=screen_for(file)))

    def close(self) -> None:
        """Close the connections."""
        self.api_client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
