"""What can be done with a server, a thread and a run, in a word each: the core of `Runyard`, sync and async.

Everything here is a flow, or plain data. The two shells (`ap_client.runyard` and `ap_client.aio.runyard`) make methods
of the flows. No input and output in here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from ap_client.call import Id
from ap_client.exceptions import NotFoundException, TransportException
from ap_client.flow import Flow, Follow
from ap_client.models.agent import Agent
from ap_client.models.item import Item
from ap_client.models.run import Run
from ap_client.models.run_create import RunCreate
from ap_client.models.run_wait_response import RunWaitResponse
from ap_client.models.thread import Thread
from ap_client.models.thread_state import ThreadState
from ap_client.operations import agents, background_runs, store, threads
from ap_client.operations.events import stream_run_events
from ap_client.outcomes import WaitTimeout, raise_unless_completed
from ap_client.progress import Progress, Screen
from ap_client.sending import sending, waiting
from ap_client.sse import ServerEvent
from ap_client.subscription import Subscription

SHOWN = ("updates", "messages", "custom")
"""The modes of events that a run is watched with unless it is said otherwise."""


class Core:
    """Something at a server. `api_client` is the client that the lower-level API classes take."""

    def __init__(self, api_client: Any) -> None:
        self.api_client: Any = api_client


class RunCore(Core):
    """A run. `info` is what was last heard of it; `wait`, `result`, `refresh` and the end of its events renew it."""

    def __init__(self, api_client: Any, info: Run, modes: Sequence[str] = SHOWN) -> None:
        super().__init__(api_client)
        self.info = info
        self.modes = tuple(modes)
        self.questions: list[dict[str, Any]] = []
        """The open questions, each `{"id", "value"}`, once a wait has seen that it asks."""
        self._status = str(info.status)

    @property
    def run_id(self) -> str:
        return self.info.run_id

    @property
    def thread_id(self) -> str | None:
        return self.info.thread_id

    @property
    def agent_id(self) -> str | None:
        return self.info.agent_id

    @property
    def status(self) -> str:
        """Its status when it was last heard of: pending, success, error, timeout, interrupted."""
        return self._status

    @property
    def done(self) -> bool:
        """Whether it had ended when it was last heard of."""
        return self._status not in ("pending", "running")

    def __repr__(self) -> str:
        return f"<run {self.run_id} of {self.agent_id}: {self._status}>"

    def subscription(
        self,
        since: int | str | None = 0,
        modes: Iterable[str] | str | None = None,
        screen: Screen | None = None,
    ) -> Subscription:
        """Its events from an event id on (0 is the start); shown on a screen where there is one."""
        chosen = self.modes if modes is None else modes
        made = stream_run_events(self.run_id, since=since, modes=chosen)
        progress = None if screen is None else Progress(screen)

        def observe(event: ServerEvent) -> None:
            self._heard(event)
            if progress is not None:
                progress.show(event)

        def epilogue() -> Flow[None]:
            if progress is not None:
                progress.end((yield from wait(self)))

        made.watched_by(observe, epilogue)
        return made

    def _heard(self, event: ServerEvent) -> None:
        data: Any = event.data
        if event.event == "end" and isinstance(data, Mapping):
            self._status = str(cast("Mapping[str, Any]", data).get("status", self._status))

    def renew(self, info: Run) -> None:
        """What the server says of it now."""
        self.info, self._status = info, str(info.status)


class ThreadCore(Core):
    """A thread. `info` is what was last heard of it: its state, status and metadata."""

    def __init__(self, api_client: Any, info: Thread) -> None:
        super().__init__(api_client)
        self.info = info

    @property
    def thread_id(self) -> str:
        return self.info.thread_id

    @property
    def values(self) -> dict[str, Any]:
        """Its state when it was last heard of; `refresh` asks again."""
        return self.info.values or {}

    def __repr__(self) -> str:
        return f"<thread {self.thread_id}: {self.info.status}>"


def wait(run: RunCore, timeout: float | None = None) -> Flow[RunWaitResponse]:
    """Wait until it has ended, for at most so many seconds: its final state, whatever became of it.

    Broken connections, proxies' limits and restarts of the server do not end the wait.

    Raises WaitTimeout when the time is over (the run goes on), NotFoundException when it was deleted.
    """
    call = background_runs.wait_run(run.run_id)
    try:
        answer = yield from waiting(call, run.api_client.configuration, seconds=timeout, known=True)
    except TransportException as error:
        if timeout is None or not error.timed_out:
            raise
        raise WaitTimeout(f"run {run.run_id} has not ended within {timeout:g} s; it goes on", run) from error
    if answer.data.run is not None:
        run.renew(answer.data.run)
    run.questions = answer.data.interrupts or []
    return answer.data


def result(run: RunCore, timeout: float | None = None) -> Flow[dict[str, Any]]:
    """Wait as `wait` does: the values that it ended with.

    Raises RunFailed, RunLost, RunTimedOut, RunCancelled or RunAsks (all RunError) when it ended otherwise.
    """
    waited = yield from wait(run, timeout)
    raise_unless_completed(run, waited)
    return waited.values or {}


def refresh(run: RunCore) -> Flow[str]:
    """Ask the server how it stands: its status."""
    run.renew((yield from send(run, background_runs.get_run(run.run_id))))
    return run.status


def cancel(run: RunCore, *, wait: bool = True, rollback: bool = False) -> Flow[None]:
    """Cancel it, and with `wait` return when its code has stopped; with `rollback` undo what it did and delete it.

    Raises ServiceException (code `still_stopping`) when the code does not stop.
    """
    action = "rollback" if rollback else None
    yield from send(run, background_runs.cancel_run(run.run_id, wait=wait, action=action))
    if not rollback:
        yield from refresh(run)


def delete(run: RunCore) -> Flow[None]:
    """Delete its record. Raises ConflictException when it has not ended."""
    yield from send(run, background_runs.delete_run(run.run_id))


def answer(run: RunCore, value: Any, question_id: str | None = None) -> Flow[Run]:
    """Answer the question that it asks: the run that goes on from there. With several questions name one by its id.

    Raises ConflictException when nothing is asked.
    """
    resume: Any = value if question_id is None else {question_id: value}
    wish = RunCreate(
        agent_id=run.agent_id,
        thread_id=run.thread_id,
        command={"resume": resume},
        multitask_strategy="enqueue",
        stream_mode=list(run.modes),
    )
    return (yield from send(run, background_runs.create_run(wish)))


def show(run: RunCore, screen: Screen) -> Flow[None]:
    """Show what it does until it has ended."""
    yield Follow(run.subscription(screen=screen))


def create_run(
    server: Core,
    agent: str | None = None,
    input: Any = None,
    *,
    messages: Sequence[Any] | None = None,
    thread: ThreadCore | Id | None = None,
    metadata: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    webhook: str | None = None,
    after_seconds: float | None = None,
    if_busy: str | None = None,
    modes: Sequence[str] = SHOWN,
    context: dict[str, Any] | None = None,
    interrupt_before: Sequence[str] | None = None,
    interrupt_after: Sequence[str] | None = None,
    durability: str | None = None,
    subgraphs: bool | None = None,
    idempotency_key: str | None = None,
) -> Flow[Run]:
    """Run an agent in the background (the server's default agent where none is named).

    `thread`: on this thread, or the one of this id, which is made where it is new. `if_busy`: what to do when the
    thread is busy: reject, enqueue, interrupt, rollback. `config`: the `configurable` of the agent. `modes`: the
    events to watch it with. `subgraphs`: what those of a graph tell is among them. The other words are those of
    `RunCreate`.

    Raises NotFoundException when there is no such agent, UnprocessableEntityException when the input does not fit.
    """
    given: dict[str, Any] = {
        "agent_id": agent,
        "messages": None if messages is None else list(messages),
        "thread_id": thread.thread_id if isinstance(thread, ThreadCore) else thread,
        "if_not_exists": None if thread is None else "create",
        "metadata": metadata,
        "config": None if config is None else {"configurable": config},
        "webhook": webhook,
        "after_seconds": after_seconds,
        "multitask_strategy": if_busy,
        "stream_mode": list(modes),
        "context": context,
        "interrupt_before": interrupt_before
        if interrupt_before is None or interrupt_before == "*"
        else [*interrupt_before],
        "interrupt_after": interrupt_after if interrupt_after is None or interrupt_after == "*" else [*interrupt_after],
        "durability": durability,
        "stream_subgraphs": subgraphs,
    }
    wish = RunCreate(**{name: value for name, value in given.items() if value is not None})
    if input is not None:
        wish.input = input
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return (yield from send(server, background_runs.create_run(wish, _headers=headers)))


def get_run(server: Core, run_id: Id) -> Flow[Run]:
    """A run by its id. Raises NotFoundException when there is none."""
    return (yield from send(server, background_runs.get_run(run_id)))


def search_runs(
    server: Core,
    *,
    agent: str | None = None,
    thread: ThreadCore | Id | None = None,
    status: str | None = None,
    metadata: dict[str, Any] | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[list[Run]]:
    """The runs that match, newest first; 10 unless `limit` says otherwise."""
    found = _given(
        agent_id=agent,
        thread_id=thread.thread_id if isinstance(thread, ThreadCore) else thread,
        status=status,
        metadata=metadata,
        limit=limit,
        offset=offset,
    )
    return (yield from send(server, background_runs.search_runs(found)))


def open_thread(server: Core, thread_id: Id | None = None, *, metadata: dict[str, Any] | None = None) -> Flow[Thread]:
    """A new thread; or the one of this id, which is made where it is new."""
    wish = _given(thread_id=thread_id, metadata=metadata, if_exists=None if thread_id is None else "do_nothing")
    return (yield from send(server, threads.create_thread(wish)))


def search_threads(
    server: Core,
    *,
    status: str | None = None,
    metadata: dict[str, Any] | None = None,
    values: dict[str, Any] | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[list[Thread]]:
    """The threads that match, newest first; 10 unless `limit` says otherwise."""
    found = _given(status=status, metadata=metadata, values=values, limit=limit, offset=offset)
    return (yield from send(server, threads.search_threads(found)))


def list_agents(
    server: Core, *, name: str | None = None, limit: int = 1000, offset: int | None = None
) -> Flow[list[Agent]]:
    """What can be run."""
    return (yield from send(server, agents.search_agents(_given(name=name, limit=limit, offset=offset))))


def refresh_thread(thread: ThreadCore) -> Flow[dict[str, Any]]:
    """Ask the server how it stands: its values."""
    thread.info = yield from send(thread, threads.get_thread(thread.thread_id))
    return thread.values


def run_on_thread(thread: ThreadCore, agent: str | None = None, input: Any = None, **wish: Any) -> Flow[Run]:
    """Run an agent on this thread. See `Runyard.run` for the keywords."""
    return (yield from create_run(thread, agent, input, thread=thread, **wish))


def runs_of_thread(
    thread: ThreadCore, *, status: str | None = None, limit: int | None = None, offset: int | None = None
) -> Flow[list[Run]]:
    """Its runs, newest first; 10 unless `limit` says otherwise."""
    return (yield from search_runs(thread, thread=thread, status=status, limit=limit, offset=offset))


def history(thread: ThreadCore, limit: int | None = None, before: str | None = None) -> Flow[list[ThreadState]]:
    """Its states, newest first; `before` a checkpoint id where given."""
    return (yield from send(thread, threads.get_thread_history(thread.thread_id, limit, before)))


def update_thread(
    thread: ThreadCore,
    values: dict[str, Any] | None = None,
    *,
    messages: Sequence[Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Flow[dict[str, Any]]:
    """Merge values, messages or metadata into it: its values."""
    patch = _given(values=values, messages=None if messages is None else list(messages), metadata=metadata)
    thread.info = yield from send(thread, threads.patch_thread(thread.thread_id, patch))
    return thread.values


def copy_thread(thread: ThreadCore) -> Flow[Thread]:
    """A new thread with its state and history."""
    return (yield from send(thread, threads.copy_thread(thread.thread_id)))


def delete_thread(thread: ThreadCore) -> Flow[None]:
    """Delete it with its history and runs."""
    yield from send(thread, threads.delete_thread(thread.thread_id))


def put_item(place: Core, namespace: Sequence[str], key: str, value: dict[str, Any]) -> Flow[None]:
    """Put a value; it replaces the one under the same namespace and key."""
    yield from send(place, store.put_item({"namespace": labels(namespace), "key": key, "value": value}))


def get_item(place: Core, namespace: Sequence[str], key: str) -> Flow[dict[str, Any] | None]:
    """The value under a namespace and a key; None where there is none."""
    try:
        return (yield from send(place, store.get_item(key, labels(namespace)))).value
    except NotFoundException:
        return None


def delete_item(place: Core, namespace: Sequence[str], key: str) -> Flow[None]:
    """Delete a value. Raises NotFoundException when there is none."""
    yield from send(place, store.delete_item({"namespace": labels(namespace), "key": key}))


def search_items(
    place: Core,
    namespace: Sequence[str] = (),
    *,
    filter: dict[str, Any] | None = None,
    query: str | None = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Flow[list[Item]]:
    """The items below a namespace whose values match; 10 unless `limit` says otherwise. With a `query`, those whose
    meaning is nearest to it come first, with their `score`; that takes a server with an index of meanings."""
    found = _given(namespace_prefix=labels(namespace), filter=filter, query=query, limit=limit, offset=offset)
    return (yield from send(place, store.search_items(found))).items


def list_namespaces(place: Core, prefix: Sequence[str] = (), *, limit: int | None = None) -> Flow[list[list[str]]]:
    """The namespaces below another; 100 unless `limit` says otherwise."""
    return (yield from send(place, store.list_namespaces(_given(prefix=labels(prefix), limit=limit))))


def labels(namespace: Sequence[str]) -> list[str]:
    """A namespace as it is sent: one label may stand for a list of one."""
    return [namespace] if isinstance(namespace, str) else list(namespace)


def send(place: Core, call: Any) -> Flow[Any]:
    """What a call is answered with."""
    answered = yield from sending(call, place.api_client.configuration)
    return answered.data


def _given(**words: Any) -> dict[str, Any]:
    return {name: str(value) if name == "thread_id" else value for name, value in words.items() if value is not None}
