"""Lanes: threads with an event loop each, on which the code of many attempts takes turns."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from runyard.runtime.bridge import Bridge
from runyard.runtime.crew import Crew
from runyard.telemetry import say

T = TypeVar("T")

BLOCKING_CALLS = 64
"""Threads per lane for `asyncio.to_thread` in users' code."""


class Owner(Protocol):
    """The attempt whose code made a task."""

    run_id: str
    disturbed_by: str
    """The run whose code cancelled a task of this one; empty where none did."""
    threads: set[Future[Any]]
    """What its code has given to other threads and is not done."""


OWNER: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("runyard_owner", default=None)
"""The attempt whose code is executing."""


class BlockingCalls(ThreadPoolExecutor):
    """The threads for blocking calls of the code on a lane, which know whose calls they are."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Has a function called in a thread, on behalf of the run whose code is executing."""
        call = super().submit(fn, *args, **kwargs)
        owner = OWNER.get()
        if owner is not None:
            owner.threads.add(call)
            call.add_done_callback(owner.threads.discard)
        return call


class RunTask(asyncio.Task[Any]):
    """A task on a lane, which knows whose it is.

    `asyncio.all_tasks()` gives the code of one run the tasks of all that share its lane. One that executes another
    run cannot be cancelled by it; one that another run's code made can (they may share a connection), and then that
    run says who did it.
    """

    # Set on the class, not in a constructor: tasks are made by the dozen for each step of a graph.
    owner: Owner | None = None
    executes_run = False

    def cancel(self, msg: Any = None) -> bool:
        """Asks the task to stop; what it gives back says whether it will."""
        by = OWNER.get()
        if by is not None and self.owner is not None and by is not self.owner:
            if self.executes_run:
                say("cancel by another run's code refused", run_id=self.owner.run_id, by=by.run_id)
                return False
            self.owner.disturbed_by = by.run_id
        return super().cancel(msg)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The fastest there is: carrying calls between threads takes half the time in it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _run_task(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> RunTask:
    task = RunTask(coro, loop=loop, **options)
    context: contextvars.Context | None = options.get("context")
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        task.owner = owner
    return task


class Lane:
    """One such thread."""

    def __init__(self, name: str, crew: Crew, died: Callable[[Lane], None]) -> None:
        """`died` is called in the lane's thread when its loop cannot go on."""
        self.loop = new_event_loop()
        self.loop.set_task_factory(_run_task)
        self.bridge = Bridge(self.loop)
        self.crew = crew
        self.name = name
        self.load = 0
        """Attempts that execute here; counted in the engine's loop."""
        self.told_blocked = False
        """Whether the log says that it is blocked; kept in the engine's loop."""
        self._died = died
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        blocking = BlockingCalls(BLOCKING_CALLS, thread_name_prefix=f"{self.name}-blocking")
        self.loop.set_default_executor(blocking)
        while not self._closing:
            try:
                self.loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A task that user code made may raise SystemExit: asyncio lets it through the loop. It ends
                # whoever awaits that task, not the other runs of this lane.
                say("exit raised in a task of an agent", kind=type(error).__name__)
            except BaseException as error:
                # Nothing else comes through a loop that works: this one has been closed, or its selector has.
                say("lane died", error=error, lane=self.name)
                blocking.shutdown(wait=False)
                self._died(self)
                return
        blocking.shutdown(wait=False)
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def close(self) -> None:
        """Ends the thread after what it is doing."""
        self.bridge.post(self._close, None)

    def _close(self, _: None) -> None:
        self._closing = True
        self.loop.stop()

    def join(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def occupied_by(self) -> str:
        """What the lane is doing now, for the log: the run, and the line of its code."""
        task = asyncio.current_task(self.loop)
        owner = task.owner if isinstance(task, RunTask) else None
        frame = sys._current_frames().get(self._thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
        if frame is None or owner is None:
            return "code that cannot be named"
        last = traceback.extract_stack(frame, limit=1)[-1]
        return f"run {owner.run_id} ({last.filename}:{last.lineno} in {last.name})"
